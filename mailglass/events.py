"""Events: one observed fact about one delivery, in the past tense, never changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum, unique
from types import MappingProxyType
from typing import Final
from uuid import UUID

from mailglass.errors import Json


@unique
class EventType(StrEnum):
    """What happened.

    The first group is what providers report (the vocabulary that django-anymail made common), the
    second is what mailglass itself does.
    """

    QUEUED = "queued"
    SENT = "sent"
    REJECTED = "rejected"
    FAILED = "failed"
    BOUNCED = "bounced"
    DEFERRED = "deferred"
    DELIVERED = "delivered"
    AUTORESPONDED = "autoresponded"
    OPENED = "opened"
    CLICKED = "clicked"
    COMPLAINED = "complained"
    UNSUBSCRIBED = "unsubscribed"
    SUBSCRIBED = "subscribed"
    UNKNOWN = "unknown"

    ATTEMPT_STARTED = "attempt_started"
    ATTEMPT_FAILED = "attempt_failed"
    DISPATCHED = "dispatched"
    SUPPRESSED = "suppressed"
    OUTCOME_UNKNOWN = "outcome_unknown"
    UNKNOWN_FINAL = "unknown_final"
    RECONCILED = "reconciled"
    REQUEUED = "requeued"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    QUARANTINED = "quarantined"
    RESENT = "resent"
    HELD = "held"
    RELEASED = "released"
    RESCHEDULED = "rescheduled"
    ROUTED = "routed"


PROVIDER_TYPES: Final = frozenset(
    {
        EventType.QUEUED,
        EventType.SENT,
        EventType.REJECTED,
        EventType.FAILED,
        EventType.BOUNCED,
        EventType.DEFERRED,
        EventType.DELIVERED,
        EventType.AUTORESPONDED,
        EventType.OPENED,
        EventType.CLICKED,
        EventType.COMPLAINED,
        EventType.UNSUBSCRIBED,
        EventType.SUBSCRIBED,
        EventType.UNKNOWN,
    }
)
"""What a provider may report; the other types are mailglass' own words about its own acts."""


@unique
class RejectReason(StrEnum):
    """Why a recipient was rejected or bounced, in one vocabulary for all providers."""

    INVALID = "invalid"
    BOUNCED = "bounced"
    TIMED_OUT = "timed_out"
    BLOCKED = "blocked"
    SPAM = "spam"
    UNSUBSCRIBED = "unsubscribed"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One row of the ledger.

    ``seq`` counts 1, 2, 3 … within its delivery. ``occurred_at`` is the time that the source gives
    (the provider's for provider events), ``recorded_at`` the database's. ``payload`` holds no
    address, subject or body. ``hash`` covers the row and ``prev_hash``, so a changed or missing
    row breaks the delivery's chain.
    """

    tenant_id: str
    delivery_id: UUID
    seq: int
    type: EventType
    occurred_at: datetime
    recorded_at: datetime
    reject_reason: RejectReason | None = None
    payload: Mapping[str, Json] = field(default_factory=lambda: MappingProxyType({}))
    provider_event_id: str | None = None
    trace_id: str | None = None
    prev_hash: bytes = b""
    hash: bytes = b""
