from django.http import HttpResponse
from django.urls import path

urlpatterns = [path("", lambda request: HttpResponse("shop"))]

# >>> mailglass urls: changes inside are kept; remove the marks to own it
from django.urls import include, path

# POST /webhooks/<provider> for what providers report, and /unsubscribe/… for who leaves.
urlpatterns = [*urlpatterns, path("", include("mailglass.contrib.django.urls"))]
# <<< mailglass urls
