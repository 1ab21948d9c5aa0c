"""Rows: what the queries return as values, parsed at the border and never cast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum, unique
from types import MappingProxyType
from typing import Any
from uuid import UUID

from mailglass.deliveries import Delivery, DispatchState, Outcome
from mailglass.errors import Json
from mailglass.events import Event, EventType, RejectReason
from mailglass.message import OnUnknown, RecipientKind, Stream
from mailglass.suppression import Suppression, SuppressionReason, SuppressionScope

Row = Mapping[str, Any]


@unique
class Routing(StrEnum):
    """Which adapter has its turn with a message.

    ``free``: the first of its route. ``after``: the one after its own, which refused it. ``at``: its
    own. ``fixed``: its own and no other, because that one may have accepted it or an operator said so.
    """

    FREE = "free"
    AFTER = "after"
    AT = "at"
    FIXED = "fixed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A message that this process may attempt once, until the lease ends.

    ``taken_at`` is on the clock of ``boot_seconds``, just before the claim.
    """

    message_id: UUID
    tenant_id: str
    stream: Stream
    mailable: str | None
    authenticates: bool
    mail_from: str = field(repr=False)
    payload: bytes | None = field(repr=False)
    payload_sha256: bytes
    settings: Mapping[str, Any] = field(repr=False)
    token: int
    attempt: int
    taken_at: float
    expires_in_s: float | None
    adapter_ref: str
    recipients: tuple[Row, ...] = field(repr=False)
    routing: Routing = Routing.FREE


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyed:
    """What an idempotency key made when it was first used."""

    message_id: UUID
    delivery_id: UUID
    content_sha256: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """An event that was appended, and how its delivery stood at that moment."""

    event: Event
    message_id: UUID
    state: DispatchState


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A message that waits, as it was seen; ``token`` None means whatever token it has.

    What follows ``adapter_ref`` is set for unknown messages. ``is_owner_gone`` tells that the session
    which claimed it has ended while Postgres stayed up: False also where nobody can tell.
    ``is_attempt_over`` tells that the ledger says so, or that the attempt itself wrote its end.
    """

    id: UUID
    tenant_id: str = ""
    token: int | None = None
    adapter_ref: str = ""
    unknown_for_s: float = 0.0
    tried_for_s: float | None = None
    abandoned: int = 0
    is_expired: bool = False
    on_unknown: OnUnknown = OnUnknown.PARK
    lease_over_for_s: float = 0.0
    is_owner_gone: bool = False
    is_attempt_over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A step of the dispatch machine that needs no attempt, and the event that it writes.

    ``when_…`` are conditions that must hold when it is taken: the message's time or its lease is
    over, or the provider has reported on the delivery. ``found`` moves only the deliveries that it
    names, and keeps the provider's ids of them. ``whatever_else`` moves a delivery though others of its
    message are elsewhere; ``skips_locked`` passes over what somebody's transaction holds.
    """

    from_state: DispatchState
    to_state: DispatchState
    event: EventType
    payload: Mapping[str, Json]
    code: str | None = None
    tenant_id: str | None = None
    when_expired: bool = False
    when_lease_over: bool = False
    when_reported: bool = False
    whatever_else: bool = False
    skips_locked: bool = False
    found: Mapping[UUID, str | None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenLink:
    """One place at which the ledger is not what was written."""

    delivery_id: UUID
    seq: int
    fault: str


def parse_delivery(row: Row) -> Delivery:
    """Build a Delivery from a row of the ``deliveries.sql`` queries."""
    return Delivery(
        id=row["id"],
        message_id=row["message_id"],
        tenant_id=row["tenant_id"],
        kind=RecipientKind(row["kind"]),
        stream=Stream(row["stream"]),
        state=DispatchState(row["state"]),
        outcome=Outcome(row["outcome"]),
        mailable=row["mailable"],
        provider=row["provider"],
        provider_message_id=row["provider_message_id"],
        failure_class=row["failure_class"],
        code=row["code"],
        attempts=row["attempts"],
        run_at=row["run_at"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        payload_bytes=row["payload_bytes"],
        payload_sha256=bytes(row["payload_sha256"]),
    )


def parse_event(row: Row) -> Event:
    """Build an Event from a row of the ledger."""
    reason = row["reject_reason"]
    return Event(
        tenant_id=row["tenant_id"],
        delivery_id=row["delivery_id"],
        seq=row["seq"],
        type=EventType(row["type"]),
        occurred_at=row["occurred_at"],
        recorded_at=row["recorded_at"],
        reject_reason=RejectReason(reason) if reason else None,
        payload=MappingProxyType(row["payload"]),
        provider_event_id=row["provider_event_id"],
        trace_id=row["trace_id"],
        prev_hash=bytes(row["prev_hash"]),
        hash=bytes(row["hash"]),
    )


def parse_claim(row: Row, taken_at: float) -> Claim:
    """Build a Claim from a row of ``claim_messages``, taken at ``taken_at`` of the boot clock."""
    payload = row["payload"]
    return Claim(
        message_id=row["id"],
        tenant_id=row["tenant_id"],
        stream=Stream(row["stream"]),
        mailable=row["mailable"],
        authenticates=row["authenticates"],
        mail_from=row["mail_from"],
        payload=None if payload is None else bytes(payload),
        payload_sha256=bytes(row["payload_sha256"]),
        settings=row["settings"],
        token=row["token"],
        attempt=row["attempts"],
        taken_at=taken_at,
        expires_in_s=row["expires_in_s"],
        adapter_ref=row["adapter_ref"],
        recipients=tuple(row["recipients"] or ()),
        routing=Routing(row["routing"]),
    )


def parse_pending(rows: Sequence[Row]) -> tuple[Pending, ...]:
    """Build what waits from rows of the sweep's queries."""
    return tuple(_one_pending(row) for row in rows)


def _one_pending(row: Row) -> Pending:
    wish = row.get("on_unknown")
    return Pending(**(dict(row) | {"on_unknown": OnUnknown(wish)} if wish else row))


def parse_suppression(row: Row) -> Suppression:
    """Build a Suppression from a row of ``suppressions.sql``."""
    return Suppression(
        scope=SuppressionScope(row["scope"]),
        value=row["value"],
        stream=Stream(row["stream"]) if row["stream"] else None,
        reason=SuppressionReason(row["reason"]),
        source=row["source"],
        expires_at=row["expires_at"],
    )
