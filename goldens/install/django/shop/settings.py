SECRET_KEY = "not a secret"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth"]
DATABASES = {}
ROOT_URLCONF = "shop.urls"
USE_TZ = True

# >>> mailglass settings: changes inside are kept; remove the marks to own it
INSTALLED_APPS = [*INSTALLED_APPS, "mailglass.contrib.django"]
EMAIL_BACKEND = "mailglass.contrib.django.EmailBackend"
# Names as in MAILGLASS_… variables, in small letters; variables fill what is not given here.
MAILGLASS: dict[str, object] = {}
MAILGLASS_THEME = {"name": "Shop"}
# <<< mailglass settings
