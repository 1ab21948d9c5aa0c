"""Record: a provider's report becomes an event of the delivery and folds into its outcome."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from mailglass.deliveries import DispatchState, Outcome
from mailglass.errors import Json
from mailglass.events import PROVIDER_TYPES, Event, EventType, RejectReason
from mailglass.headers import refuse
from mailglass.ledger.rows import Move, Pending
from mailglass.ledger.store import Store

_OUTCOME: Final = {
    EventType.SENT: Outcome.ACCEPTED,
    EventType.DEFERRED: Outcome.DEFERRED,
    EventType.DELIVERED: Outcome.DELIVERED,
    EventType.BOUNCED: Outcome.HARD_BOUNCED,
    EventType.REJECTED: Outcome.HARD_BOUNCED,
    EventType.COMPLAINED: Outcome.COMPLAINED,
}
_KEY_CHARS_MAX: Final = 512
_WORD: Final = re.compile(r"[\w.:/ -]{1,64}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")

REPORTED: Final = Move(
    from_state=DispatchState.UNKNOWN,
    to_state=DispatchState.SENT,
    event=EventType.RECONCILED,
    payload={"by": "provider_report"},
    code="reported",
    when_reported=True,
    whatever_else=True,
)
"""The step that settles an unknown: who reports on a mail has accepted it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One fact that a provider reports about one delivery.

    ``key`` makes it count once: the provider's event id, or a hash of the event where it has none.
    ``occurred_at`` is the provider's time, with a zone. ``is_permanent`` tells a hard bounce from a
    soft one, ``is_machine`` an open or click by a scanner. ``word`` is the provider's own word, up to
    64 letters, digits and ``_.:/ -``; ``url_sha256`` the hash of the link that was clicked. Nothing
    else goes into the ledger, so that no address can.

    Raises:
        SendError: ``serialization_failed`` for a type that is mailglass' own, a time without a
            zone, and whatever does not have the form that is told here.

    """

    delivery_id: UUID
    provider: str
    type: EventType
    key: str
    occurred_at: datetime
    is_permanent: bool = True
    is_machine: bool = False
    word: str | None = None
    url_sha256: str | None = None
    reject_reason: RejectReason | None = None
    provider_event_id: str | None = None

    def __post_init__(self) -> None:
        """Refuse what the ledger could not keep or should not hold."""
        fault = self._fault()
        if fault is not None:
            raise refuse(f"a report cannot be recorded: {fault}", code="report_invalid")

    def _fault(self) -> str | None:
        if self.type not in PROVIDER_TYPES:
            return f"{self.type!s} is no type that a provider reports"
        if self.occurred_at.tzinfo is None:
            return "occurred_at has no time zone"
        for name, value in (("provider", self.provider), ("word", self.word)):
            if value is not None and not _WORD.fullmatch(value):
                return f"its {name} is not a word"
        for name, value in (("key", self.key), ("provider_event_id", self.provider_event_id)):
            if value is not None and not (0 < len(value) <= _KEY_CHARS_MAX and value.isprintable()):
                return f"its {name} is empty, too long or not printable"
        if self.url_sha256 is not None and not _SHA256.fullmatch(self.url_sha256):
            return "url_sha256 is not a SHA-256 in hexadecimal"
        return None

    def payload(self) -> dict[str, Json]:
        """Return what the ledger keeps beside the type and the times."""
        found: dict[str, Json] = {"provider": self.provider}
        if self.word is not None:
            found["word"] = self.word
        if self.url_sha256 is not None:
            found["url_sha256"] = self.url_sha256
        if self.is_machine:
            found["machine"] = True
        if self.type is EventType.BOUNCED:
            found["permanent"] = self.is_permanent
        return found


def record(store: Store, tenant_id: str, report: Report) -> Event | None:
    """Append the report to its delivery's ledger; None when it was recorded before.

    Order and repetition cannot matter: the outcome is a lattice that only rises. A report that
    proves acceptance settles a delivery of which nobody knew whether it had left.
    """
    outcome = _outcome(report)
    appended = store.append_event(
        {
            "tenant_id": tenant_id,
            "delivery_id": report.delivery_id,
            "key_scope": f"event:{report.provider}",
            "key": report.key,
            "type": report.type.value,
            "occurred_at": report.occurred_at,
            "reject_reason": report.reject_reason.value if report.reject_reason else None,
            "payload": json.dumps(report.payload()),
            "provider_event_id": report.provider_event_id,
            "trace_id": None,
            "outcome": outcome.value,
            "outcome_rank": outcome.rank,
        }
    )
    if appended is None:
        return None
    if appended.state is DispatchState.UNKNOWN and outcome is not Outcome.NONE:
        store.move_messages([Pending(id=appended.message_id)], REPORTED)
    return appended.event


def _outcome(report: Report) -> Outcome:
    if report.type is EventType.BOUNCED and not report.is_permanent:
        return Outcome.SOFT_BOUNCED
    return _OUTCOME.get(report.type, Outcome.NONE)
