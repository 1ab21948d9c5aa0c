"""Signals: what can be reported, the fields that it can have, and the log record that it becomes."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Mapping
from enum import StrEnum, unique
from typing import Final
from uuid import UUID

from mailglass.telemetry.observers import Fields, Value, observers

logger: Final = logging.getLogger("mailglass")
"""It has no handler: where logging is not set up, Python itself writes warnings to standard error."""

FIELDS: Final = (
    "run_id",
    "tenant_id",
    "message_id",
    "stream",
    "provider",
    "adapter",
    "state",
    "attempt",
    "error_type",
    "count",
    "duration_ms",
)
"""All that a record, a counter or a span can hold."""
_ALWAYS: Final = ("run_id", "attempt", "error_type")
"""Stand on every line, so that lines can be searched by them; ``-`` where there is nothing to say."""


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
    CLAIM_REFUSED = "attempt.claim_refused"
    VERDICT_REFUSED = "attempt.verdict_refused"
    ROUTED = "attempt.routed"
    BREAKER_OPENED = "breaker.opened"
    BREAKER_PROBED = "breaker.probed"
    BREAKER_CLOSED = "breaker.closed"
    BREAKER_UNREACHED = "breaker.unreached"
    SEARCH_FAILED = "sweep.search_failed"
    MOVE_REFUSED = "sweep.move_refused"
    WAKE_UP_FAILED = "message.wake_up_failed"
    UNSUBSCRIBE_FAILED = "unsubscribe.write_failed"
    TRACKING_FAILED = "tracking.write_failed"
    WEBHOOK_REFUSED = "webhook.refused"
    WEBHOOK_FAILED = "webhook.failed"
    WEBHOOK_DEAD = "webhook.dead"
    LIMIT_PAUSED = "limit.paused"
    LIMIT_SLOWED = "limit.slowed"
    LIMIT_NOT_SHARED = "limit.not_shared"
    LIMIT_STORE_AWAY = "limit.store_away"
    DATABASE_AWAY = "worker.database_away"
    PROCESS_DIED = "worker.process_died"
    COUNTS_FAILED = "worker.counts_failed"
    OBSERVER_RAISED = "telemetry.observer_raised"


class _Run:
    """The id of this process; a forked child has another one."""

    def __init__(self) -> None:
        self.begin()
        os.register_at_fork(after_in_child=self.begin)

    def begin(self) -> None:
        self.id = secrets.token_hex(8)


_run: Final = _Run()


def run_id() -> str:
    """Return the id that all lines of this process carry."""
    return _run.id


def report(  # noqa: PLR0913 - the closed list of fields, each of them optional
    signal: Signal,
    *,
    level: int = logging.INFO,
    tenant_id: str | None = None,
    message_id: UUID | None = None,
    stream: str | None = None,
    provider: str | None = None,
    adapter: str | None = None,
    state: str | None = None,
    attempt: int | None = None,
    error_type: str | None = None,
) -> None:
    """Write one record and count it; the fields are its ``extra`` too, for handlers that write JSON."""
    if not (observers() or logger.isEnabledFor(level)):
        return
    known = known_fields(
        {
            "tenant_id": tenant_id,
            "message_id": str(message_id) if message_id else None,
            "stream": stream,
            "provider": provider,
            "adapter": adapter,
            "state": state,
            "attempt": attempt,
            "error_type": error_type,
        }
    )
    write(signal.value, known, level=level)
    for one in observers():
        try:
            one.counted(signal.value, known)
        except Exception as error:  # noqa: BLE001 - whoever looks on must not stop the mail
            observer_raised(error)


def known_fields(fields: Mapping[str, Value | None]) -> dict[str, Value]:
    """Return those fields that say something."""
    return {name: value for name, value in fields.items() if value is not None}


def write(name: str, known: Fields, *, level: int) -> None:
    """Write one log record."""
    if not logger.isEnabledFor(level):
        return
    line = dict.fromkeys(_ALWAYS, "-") | {"run_id": run_id()} | dict(known)
    shown = " ".join(f"{key}={value}" for key, value in line.items())
    logger.log(level, "%s %s", name, shown, extra={"mailglass": dict(known) | {"run_id": run_id()}})


def observer_raised(error: Exception) -> None:
    """Say that an observer failed, by the kind of its error."""
    known = {"error_type": type(error).__name__}
    write(Signal.OBSERVER_RAISED.value, known, level=logging.ERROR)
