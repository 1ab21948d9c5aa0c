"""Wake-up: what tells workers of queued mail, where the settings name a broker for it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Protocol
from uuid import UUID

from mailglass.settings import Settings
from mailglass.tenancy import Tenancy


class BrokerWakeUp(Protocol):
    """A wake-up that is bound to its Mailglass and closed with it."""

    def __call__(self, message_ids: Sequence[UUID]) -> None:
        """Tell workers of committed messages."""

    def bind(self, mail: Any) -> None:
        """Name the Mailglass that it serves."""

    def close(self) -> None:
        """Tell what waits, and stop."""


def wake_up_of(settings: Settings, tenancy: Tenancy | None) -> BrokerWakeUp | None:
    """Return the wake-up that ``broker_url`` asks for; None: Postgres has a doorbell of its own.

    It stands some floors higher and needs an extra, so it is loaded by its name where it is asked for.

    Raises:
        ConfigError: ``invalid`` or ``optional_dep_missing``.

    """
    if settings.broker_url is None:
        return None
    made: BrokerWakeUp = import_module("mailglass.worker.wake").wake_from(settings, tenancy=tenancy)
    return made
