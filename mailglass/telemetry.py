"""Telemetry: log records from a closed list of names and fields; none can hold an address."""

from __future__ import annotations

import logging
from enum import StrEnum, unique
from typing import Final
from uuid import UUID

logger: Final = logging.getLogger("mailglass")
logger.addHandler(logging.NullHandler())  # without logging set up, a library says nothing


@unique
class Signal(StrEnum):
    """What can be reported."""

    QUEUED = "message.queued"
    REFUSED = "message.refused"
    SETTLED = "attempt.settled"
    FENCED = "attempt.fenced"
    ADAPTER_RAISED = "attempt.adapter_raised"
    CHECK_RAISED = "attempt.check_raised"
    DISPATCH_RAISED = "attempt.dispatch_raised"
    SEARCH_FAILED = "sweep.search_failed"
    WAKE_UP_FAILED = "message.wake_up_failed"
    UNSUBSCRIBE_FAILED = "unsubscribe.write_failed"
    TRACKING_FAILED = "tracking.write_failed"
    DATABASE_AWAY = "worker.database_away"


def report(  # noqa: PLR0913 - the closed list of fields, each of them optional
    signal: Signal,
    *,
    level: int = logging.INFO,
    tenant_id: str | None = None,
    message_id: UUID | None = None,
    stream: str | None = None,
    provider: str | None = None,
    state: str | None = None,
    attempt: int | None = None,
    error_type: str | None = None,
) -> None:
    """Write one record; the fields are its ``extra`` too, for handlers that write JSON."""
    fields = {
        "tenant_id": tenant_id,
        "message_id": str(message_id) if message_id else None,
        "stream": stream,
        "provider": provider,
        "state": state,
        "attempt": attempt,
        "error_type": error_type,
    }
    known = {name: value for name, value in fields.items() if value is not None}
    shown = " ".join(f"{name}={value}" for name, value in known.items())
    logger.log(level, "%s %s", signal.value, shown, extra={"mailglass": known})
