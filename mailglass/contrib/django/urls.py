"""The mail's addresses: ``path("", include("mailglass.contrib.django.urls"))`` in your URLconf.

``/webhooks/<provider>[/<name>]`` is what you tell a provider, ``/unsubscribe`` what
``MAILGLASS_UNSUBSCRIBE_URL`` ends with, both below the path that you include them at.
"""

from __future__ import annotations

from django.urls import path

from mailglass.contrib.django import views
from mailglass.contrib.pages import UNSUBSCRIBE_PATH, WEBHOOKS_PATH

app_name = "mailglass"
urlpatterns = [
    path(f"{WEBHOOKS_PATH[1:]}/<path:endpoint>", views.webhook, name="webhook"),
    path(f"{UNSUBSCRIBE_PATH[1:]}/<path:token>", views.unsubscribe, name="unsubscribe"),
]
