"""The Django app: its name, system checks, and the schema that ``manage.py migrate`` brings up to date."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004 - Django's own name
from django.db.models.signals import post_migrate

from mailglass.errors import ConfigError

MIGRATES: Final = "MAILGLASS_MIGRATES"


class MailglassConfig(AppConfig):  # type: ignore[misc]  # Django publishes no types
    """Connects to nothing when it is loaded.

    After ``manage.py migrate``, and where a test makes its database, mailglass' own migrations are
    applied to Django's database, if that is where the mails are. ``MAILGLASS_MIGRATES = False`` leaves
    them to ``manage.py mailglass migrate`` and a login with the rights for it.
    """

    name = "mailglass.contrib.django"
    label = "mailglass"
    verbose_name = "Mail"

    def ready(self) -> None:
        """Register the checks and the migration."""
        register(_settings_are_right)
        register(_page_is_reached)
        post_migrate.connect(_migrate, sender=self)


def _migrate(*, using: str, verbosity: int = 1, **_told: Any) -> None:
    from mailglass.contrib.django import desk  # noqa: PLC0415 - when apps are ready
    from mailglass.ledger.migrations import migrate  # noqa: PLC0415 - only here

    is_wanted = getattr(django_settings, MIGRATES, True)
    if not is_wanted or using != desk.ALIAS or not desk.takes_djangos_database():
        return
    applied = migrate(desk.database_url(using))
    if applied and verbosity:
        print(f"Applied the migrations of mailglass: {', '.join(applied)}")  # noqa: T201 - as manage.py migrate itself


def _settings_are_right(**_asked: Any) -> list[CheckMessage]:
    from mailglass.contrib.django.desk import given_settings  # noqa: PLC0415 - when apps are ready
    from mailglass.settings import load_settings  # noqa: PLC0415 - only for the check

    try:
        load_settings(**given_settings())
    except ConfigError as error:
        return [Error(error.message, hint=error.hint, id="mailglass.E001")]
    return []


def _page_is_reached(**_asked: Any) -> list[CheckMessage]:
    """Warn of links in mails whose page is not among the addresses of this site."""
    from django.urls import Resolver404, resolve  # noqa: PLC0415 - loads the URLconf

    from mailglass.contrib.django import desk, views  # noqa: PLC0415 - when apps are ready
    from mailglass.settings import load_settings  # noqa: PLC0415 - only for the check

    try:
        url = load_settings(**desk.given_settings()).unsubscribe_url
    except ConfigError:
        return []  # _settings_are_right tells
    if url is None:
        return []
    try:
        found = resolve(f"{urlsplit(url).path.rstrip('/')}/token").func
    except Resolver404:
        found = None
    if found is views.unsubscribe:
        return []
    hint = (
        'Include "mailglass.contrib.django.urls" so that the path of unsubscribe_url is its '
        "/unsubscribe, or silence this where another application serves the page."
    )
    return [
        Warning("unsubscribe_url leads to no page of this site", hint=hint, id="mailglass.W001")
    ]
