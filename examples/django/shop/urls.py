"""The addresses."""

from __future__ import annotations

from django.urls import include, path

from . import views

urlpatterns = [
    path("orders", views.order),
    path("deliveries/<uuid:delivery_id>", views.history),
    # POST /webhooks/<provider> for what providers report, and /unsubscribe/… for who leaves.
    path("", include("mailglass.contrib.django.urls")),
]
