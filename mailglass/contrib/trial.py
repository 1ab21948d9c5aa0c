"""A trial of settings when an application is put together, so that no request is the first to fail."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final

from mailglass.adapters.fake import FakeAdapter
from mailglass.app import Mailglass
from mailglass.errors import ConfigError, ConfigErrorType
from mailglass.ledger.database import DatabaseChoice
from mailglass.ledger.opening import chosen
from mailglass.settings import PREFIX, Settings, load_settings

_NO_SETTINGS: Final = ("adapters", "tenancy", "endpoints", "embedded_folder")
"""What ``Mailglass.from_env`` takes beside settings."""


def refuse_wrong_settings(given: Mapping[str, Any]) -> None:
    """Make what ``Mailglass.from_env`` makes, and close it again; nothing connects.

    Raises:
        ConfigError: for settings that are missing, wrong or contradict each other.

    """
    settings = load_settings(
        **{name: one for name, one in given.items() if name not in _NO_SETTINGS}
    )
    adapters = given.get("adapters")
    Mailglass(
        settings,
        database=_database(settings),
        # The application's own stay open.
        adapters=None if adapters is None else {name: FakeAdapter() for name in adapters},
        tenancy=given.get("tenancy"),
    ).close()


def refuse_unknown_keys(config: Mapping[str, Any]) -> None:
    """Refuse a configuration with a ``MAILGLASS_…`` key that is no setting.

    Raises:
        ConfigError: ``invalid``, with the likely name where there is one.

    """
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    for key in config:
        if not key.startswith(PREFIX) or key in known:
            continue
        near = get_close_matches(key, known, n=1)
        raise ConfigError(
            f"{key} is not a setting of mailglass",
            type=ConfigErrorType.INVALID,
            key=key,
            hint=f"Did you mean {near[0]}?" if near else "Remove it, or look for its new name.",
        )


def _database(settings: Settings) -> DatabaseChoice:
    given = settings.database_url
    return chosen(None if given is None else given.get_secret_value(), settings)
