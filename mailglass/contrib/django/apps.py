"""The Django app: its name, and a system check of the settings."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, register

from mailglass.errors import ConfigError


class MailglassConfig(AppConfig):  # type: ignore[misc]  # Django publishes no types
    """Connects to nothing when it is loaded."""

    name = "mailglass.contrib.django"
    label = "mailglass"
    verbose_name = "Mail"

    def ready(self) -> None:
        """Register the check."""
        register(_settings_are_right)


def _settings_are_right(**_asked: Any) -> list[CheckMessage]:
    from mailglass.contrib.django.desk import given_settings  # noqa: PLC0415 - when apps are ready
    from mailglass.settings import load_settings  # noqa: PLC0415 - only for the check

    try:
        load_settings(**given_settings())
    except ConfigError as error:
        return [Error(error.message, hint=error.hint, id="mailglass.E001")]
    return []
