"""The store: a pool of connections, one method a query, rows parsed at the border."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Self
from uuid import UUID

from psycopg.errors import UniqueViolation
from psycopg.rows import DictRow

from mailglass.deliveries import Delivery, DispatchState, Outcome
from mailglass.errors import Json
from mailglass.events import Event, EventType, RejectReason
from mailglass.ledger.owner import OwnerSession
from mailglass.ledger.pool import Connection, Pool
from mailglass.ledger.sql import query
from mailglass.message import OnUnknown, RecipientKind, Stream
from mailglass.suppression import Suppression, SuppressionReason, SuppressionScope

Row = Mapping[str, Any]
Parameters = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A message that this process may attempt once, until the lease ends."""

    message_id: UUID
    tenant_id: str
    stream: Stream
    mailable: str | None
    authenticates: bool
    mail_from: str
    payload: bytes | None
    payload_sha256: bytes
    settings: Mapping[str, Any]
    token: int
    attempt: int
    lease_s: float
    expires_in_s: float | None
    adapter_ref: str
    recipients: tuple[Row, ...]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A step of the dispatch machine that needs no attempt, and the event that it writes.

    ``when_…`` are conditions that must hold when it is taken: the message's time or its lease is
    over, or the provider has reported on the delivery. ``found`` moves only the deliveries that it
    names, and keeps the provider's ids of them.
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
    found: Mapping[UUID, str | None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenLink:
    """One place at which the ledger is not what was written."""

    delivery_id: UUID
    seq: int
    fault: str


class Store:
    """Runs the named queries, each of them a transaction of its own."""

    def __init__(
        self,
        database_url: str,
        *,
        role: str | None = None,
        connections_max: int = 10,
        connect_timeout_s: float = 10.0,
        statement_timeout_s: float = 30.0,
    ) -> None:
        self._pool = Pool(
            database_url,
            role=role,
            connections_max=connections_max,
            connect_timeout_s=connect_timeout_s,
            statement_timeout_s=statement_timeout_s,
        )
        self._owner = OwnerSession(self._pool)

    def close(self) -> None:
        """Close every connection; the store cannot be used afterwards."""
        self._owner.close()
        self._pool.close()

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(self, *_exc: object) -> None:
        """Close the pool."""
        self.close()

    def connection(self) -> AbstractContextManager[Connection]:
        """Lend an autocommit connection; errors about our own rules arrive as ours."""
        return self._pool.connection()

    def _rows(self, name: str, parameters: Parameters) -> list[DictRow]:
        with self.connection() as connection:
            return connection.execute(query(name), parameters).fetchall()

    def queue_message(self, parameters: Parameters) -> tuple[UUID, ...]:
        """Queue a message; the ids of its deliveries, or none when its idempotency key is taken."""
        return tuple(row["id"] for row in self._rows("queue_message", parameters))

    def queue_messages(self, documents: str, payloads: Sequence[object]) -> dict[UUID, UUID]:
        """Queue many messages; message id and first delivery's id of each that is new."""
        rows = self._rows("queue_messages", {"messages": documents, "payloads": payloads})
        return {row["message_id"]: row["id"] for row in rows}

    def deliveries_of_keys(self, tenant_id: str, keys: Sequence[str]) -> Mapping[str, Keyed]:
        """Return what each of a caller's idempotency keys made, for those that were used."""
        if not keys:
            return {}
        rows = self._rows("deliveries_of_keys", {"tenant_id": tenant_id, "keys": list(keys)})
        return {
            row["key"]: Keyed(
                message_id=row["message_id"],
                delivery_id=row["delivery_id"],
                content_sha256=bytes(row["content_sha256"]),
            )
            for row in rows
        }

    def claim_message(self, tenant_id: str, message_id: UUID, *, lease_s: float) -> Claim | None:
        """Claim a due message; None when somebody else has it or nothing is to be done now."""
        try:
            found = self._claims(tenant_id=tenant_id, message_ids=[message_id], lease_s=lease_s)
        except UniqueViolation as error:
            if error.diag.constraint_name != "messages_one_in_flight":
                raise
            return None  # another message with its ordering key is on its way
        return found[0] if found else None

    def claim_due(self, stream: Stream, *, limit: int, lease_s: float) -> tuple[Claim, ...]:
        """Claim up to ``limit`` due messages of a stream that need no order, the longest waiting first."""
        return self._claims(stream=stream, limit=limit, lease_s=lease_s)

    def _claims(
        self,
        *,
        lease_s: float,
        tenant_id: str | None = None,
        message_ids: Sequence[UUID] = (),
        stream: Stream | None = None,
        limit: int = 0,
    ) -> tuple[Claim, ...]:
        rows = self._owner.rows(
            query("claim_messages").encode(),
            {
                "tenant_id": tenant_id,
                "message_ids": list(message_ids),
                "stream": stream.value if stream else None,
                "limit": limit,
                "lease_s": lease_s,
            },
        )
        return tuple(_claim(row) for row in rows)

    def finalize_attempts(
        self, attempts: Sequence[Mapping[str, Json]]
    ) -> Mapping[UUID, DispatchState]:
        """Write the verdicts of attempts; each message's state, but for those whose token is lost."""
        rows = self._rows("finalize_attempts", {"attempts": json.dumps(list(attempts))})
        return {row["id"]: DispatchState(row["state"]) for row in rows}

    def move_messages(
        self, messages: Sequence[Pending], move: Move
    ) -> Mapping[UUID, DispatchState]:
        """Move deliveries without an attempt; each message of one that moved, as it is then.

        A message is left alone when it is not as the caller saw it any more.
        """
        rows = self._rows(
            "move_messages",
            {
                "messages": json.dumps(
                    [{"id": str(one.id), "token": one.token} for one in messages]
                ),
                "tenant_id": move.tenant_id,
                "from_state": move.from_state.value,
                "to_state": move.to_state.value,
                "type": move.event.value,
                "code": move.code,
                "payload": json.dumps(dict(move.payload)),
                "when_expired": move.when_expired,
                "when_lease_over": move.when_lease_over,
                "when_reported": move.when_reported,
                "found": _found(move.found),
            },
        )
        return {row["id"]: DispatchState(row["state"]) for row in rows}

    def expired_messages(self, *, limit: int) -> tuple[Pending, ...]:
        """Return queued messages whose time is over."""
        return _pending(self._rows("expired_messages", {"limit": limit}))

    def abandoned_messages(self, *, limit: int) -> tuple[Pending, ...]:
        """Return claimed messages whose lease is over."""
        return _pending(self._rows("abandoned_messages", {"limit": limit}))

    def unknown_messages(self, *, limit: int) -> tuple[Pending, ...]:
        """Return unknown messages with what the rule for them asks."""
        return _pending(self._rows("unknown_messages", {"limit": limit}))

    def reported_messages(self, *, limit: int) -> tuple[Pending, ...]:
        """Return messages that are unknown to us though their provider has reported on them."""
        return _pending(self._rows("reported_messages", {"limit": limit}))

    def due_in_order(self, *, limit: int) -> tuple[tuple[str, UUID], ...]:
        """Return tenant and id of the message of each ordering key that is next, if it is due."""
        rows = self._rows("due_in_order", {"limit": limit})
        return tuple((row["tenant_id"], row["id"]) for row in rows)

    def due_messages(self, *, limit: int) -> tuple[tuple[str, UUID], ...]:
        """Return tenant and id of messages whose time has come, transactional ones first."""
        rows = self._rows("due_messages", {"limit": limit})
        return tuple((row["tenant_id"], row["id"]) for row in rows)

    def delivery(self, tenant_id: str | None, delivery_id: UUID) -> Delivery | None:
        """Return one delivery; None for another tenant's as for one that is not there."""
        rows = self._rows("delivery_by_id", {"tenant_id": tenant_id, "delivery_id": delivery_id})
        return parse_delivery(rows[0]) if rows else None

    def deliveries_by_id(
        self, tenant_id: str, delivery_ids: Sequence[UUID]
    ) -> tuple[Delivery, ...]:
        """Return the tenant's deliveries among the ids, in no order."""
        rows = self._rows(
            "deliveries_by_id", {"tenant_id": tenant_id, "delivery_ids": list(delivery_ids)}
        )
        return tuple(parse_delivery(row) for row in rows)

    def deliveries_of_message(self, tenant_id: str, message_id: UUID) -> tuple[Delivery, ...]:
        """Return the deliveries of one message, in the order of its recipients."""
        rows = self._rows(
            "deliveries_of_message", {"tenant_id": tenant_id, "message_id": message_id}
        )
        return tuple(parse_delivery(row) for row in rows)

    def list_deliveries(
        self,
        *,
        tenant_id: str | None,
        state: DispatchState | None = None,
        address_key: str | None = None,
        before: UUID | None = None,
        limit: int = 50,
    ) -> tuple[Delivery, ...]:
        """Return deliveries, the newest first."""
        rows = self._rows(
            "list_deliveries",
            {
                "tenant_id": tenant_id,
                "state": state.value if state else None,
                "address_key": address_key,
                "before": before,
                "limit": limit,
            },
        )
        return tuple(parse_delivery(row) for row in rows)

    def frozen_payload(self, tenant_id: str, message_id: UUID) -> tuple[bytes | None, bytes] | None:
        """Return a message's frozen bytes (None once scrubbed) and their SHA-256."""
        rows = self._rows("frozen_payload", {"tenant_id": tenant_id, "message_id": message_id})
        if not rows:
            return None
        payload = rows[0]["payload"]
        return (None if payload is None else bytes(payload), bytes(rows[0]["payload_sha256"]))

    def append_event(self, parameters: Parameters) -> Appended | None:
        """Append one event and fold it; None when its key was used before."""
        rows = self._rows("append_event", parameters)
        if not rows:
            return None
        return Appended(
            event=parse_event(rows[0]),
            message_id=rows[0]["message_id"],
            state=DispatchState(rows[0]["state"]),
        )

    def events_of_delivery(self, tenant_id: str | None, delivery_id: UUID) -> tuple[Event, ...]:
        """Return a delivery's events, the first first."""
        rows = self._rows(
            "events_of_delivery", {"tenant_id": tenant_id, "delivery_id": delivery_id}
        )
        return tuple(parse_event(row) for row in rows)

    def broken_chains(
        self, delivery_id: UUID | None = None, *, limit: int = 100
    ) -> tuple[BrokenLink, ...]:
        """Recompute the hash chain of one delivery, or of all, and return where it is broken."""
        rows = self._rows("broken_chains", {"delivery_id": delivery_id, "limit": limit})
        return tuple(BrokenLink(**row) for row in rows)

    def matching_suppressions(
        self, tenant_id: str, values: Sequence[str], stream: Stream
    ) -> tuple[Suppression, ...]:
        """Return the refusals that hold now for any of the address keys and domains."""
        rows = self._rows(
            "matching_suppressions",
            {"tenant_id": tenant_id, "values": list(values), "stream": stream.value},
        )
        return tuple(_suppression(row) for row in rows)

    def add_suppression(self, suppression_id: UUID, tenant_id: str, entry: Suppression) -> None:
        """Record a refusal, or replace its reason; a complaint stays a complaint."""
        with self.connection() as connection:
            connection.execute(
                query("add_suppression"),
                {
                    "id": suppression_id,
                    "tenant_id": tenant_id,
                    "scope": entry.scope.value,
                    "value": entry.value,
                    "stream": entry.stream.value if entry.stream else None,
                    "reason": entry.reason.value,
                    "source": entry.source,
                    "expires_at": entry.expires_at,
                },
            )

    def take_tokens(
        self, tenant_id: str, buckets: Sequence[Mapping[str, Json]]
    ) -> tuple[tuple[str, int], ...]:
        """Take from every bucket or none; scope and wait in ms of those too short, longest first."""
        rows = self._rows(
            "take_tokens", {"tenant_id": tenant_id, "buckets": json.dumps(list(buckets))}
        )
        return tuple((row["scope"], row["wait_ms"]) for row in rows)


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


def _claim(row: Row) -> Claim:
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
        lease_s=row["lease_s"],
        expires_in_s=row["expires_in_s"],
        adapter_ref=row["adapter_ref"],
        recipients=tuple(row["recipients"] or ()),
    )


def _found(found: Mapping[UUID, str | None] | None) -> str | None:
    return None if found is None else json.dumps({str(key): one for key, one in found.items()})


def _pending(rows: Sequence[Row]) -> tuple[Pending, ...]:
    return tuple(_one_pending(row) for row in rows)


def _one_pending(row: Row) -> Pending:
    wish = row.get("on_unknown")
    return Pending(**(dict(row) | {"on_unknown": OnUnknown(wish)} if wish else row))


def _suppression(row: Row) -> Suppression:
    return Suppression(
        scope=SuppressionScope(row["scope"]),
        value=row["value"],
        stream=Stream(row["stream"]) if row["stream"] else None,
        reason=SuppressionReason(row["reason"]),
        source=row["source"],
        expires_at=row["expires_at"],
    )
