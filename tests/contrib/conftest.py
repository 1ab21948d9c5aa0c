"""Django, set up once; each test gets a connection to a database of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import django
import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from psycopg.conninfo import conninfo_to_dict

from mailglass.contrib.django import desk
from mailglass.testing import PrivateMailglass, private_mailglass


def pytest_configure() -> None:
    """Configure Django before a test module imports what needs it."""
    if settings.configured:
        return
    settings.configure(
        SECRET_KEY="not a secret",
        INSTALLED_APPS=[
            "django.contrib.contenttypes",
            "django.contrib.auth",
            "django.contrib.admin",  # has the templates of the password reset
            "django.contrib.messages",
            "django.contrib.sessions",
            "mailglass.contrib.django",
        ],
        DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "unset"}},
        EMAIL_BACKEND="mailglass.contrib.django.EmailBackend",
        DEFAULT_FROM_EMAIL="Shop <hello@shop.example>",
        TEMPLATES=[
            {"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}
        ],
        ROOT_URLCONF="django.contrib.auth.urls",
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
        MAILGLASS={"database_role": "mailglass_app"},
    )
    django.setup()


@pytest.fixture
def django_database(database_url: str) -> Iterator[Any]:
    """Return Django's connection to the test's own database, with the tables of its users."""
    known = conninfo_to_dict(database_url)
    kept = dict(connections.settings["default"])
    connections.settings["default"].update(
        NAME=known["dbname"], USER=known.get("user", ""), PASSWORD=known.get("password", ""),
        HOST=known.get("host", ""), PORT=str(known.get("port", "")),
    )  # fmt: skip
    connections["default"].close()
    del connections["default"]
    try:
        call_command("migrate", verbosity=0)
        yield connections["default"]
    finally:
        connections["default"].close()
        del connections["default"]
        connections.settings["default"].update(kept)


@pytest.fixture
def mailbox(database_url: str, django_database: Any) -> Iterator[PrivateMailglass]:
    """Return a Mailglass on the same database, which Django uses."""
    with private_mailglass(database_url) as mail, desk.using_mailglass(mail):
        yield mail
