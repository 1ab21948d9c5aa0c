"""The store: a pool of connections, one method a query, rows parsed at the border."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from itertools import chain, zip_longest
from typing import Final, Self, TypeAlias
from uuid import UUID

from psycopg.errors import UniqueViolation
from psycopg.rows import DictRow

from mailglass.clock import boot_seconds
from mailglass.deliveries import Delivery, DispatchState
from mailglass.errors import Json
from mailglass.events import Event
from mailglass.ledger.columns import MAILS, RECIPIENTS, MailRow, RecipientRow, columns
from mailglass.ledger.doorbell import Doorbell
from mailglass.ledger.faults import repeatedly
from mailglass.ledger.owner import OwnerSession
from mailglass.ledger.pool import Connection, Pool
from mailglass.ledger.rows import (
    Appended,
    BrokenLink,
    Claim,
    Keyed,
    Move,
    Pending,
    parse_claim,
    parse_delivery,
    parse_event,
    parse_pending,
    parse_suppression,
)
from mailglass.ledger.sql import query
from mailglass.message import Stream
from mailglass.suppression import Suppression, unknown_erasure_key

Parameters = Mapping[str, object]

KeyPlace: TypeAlias = tuple[str, str]
"""A tenant and an ordering key, after which keys are looked at."""
FIRST_KEY: Final[KeyPlace] = ("", "")
DUE_IN_ORDER_MAX: Final = 500
"""Due messages that are looked at for the first ones of their ordering keys."""
KEYS_MAX: Final = 500
"""Ordering keys that are looked at where more messages are due."""
CLAIM_BYTES_MAX: Final = 16 * 1_048_576
"""Payloads in one claim, but for the first: a claim that does not fit the memory is lost with its mail."""


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
        self._doorbell = Doorbell(self._pool)
        self.ring = self._doorbell.ring
        self.listen = self._doorbell.listen

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

    def rows(self, name: str, parameters: Parameters) -> list[DictRow]:
        """Run one named query; for the stores of single subjects beside this one."""
        with self.connection() as connection:
            return repeatedly(lambda: connection.execute(query(name), parameters).fetchall())

    def queue_message(self, parameters: Parameters) -> tuple[Delivery, ...]:
        """Queue a message; its deliveries, or none when its idempotency key is taken."""
        return tuple(parse_delivery(row) for row in self.rows("queue_message", parameters))

    def queue_messages(
        self,
        commons: Sequence[Mapping[str, Json]],
        mails: Sequence[MailRow],
        recipients: Sequence[RecipientRow],
    ) -> tuple[frozenset[int], datetime]:
        """Queue many messages, at least one; the places of those that are new, and when they were made.

        Each mail names one of ``commons`` by its ``place``.
        """
        rows = self.rows(
            "queue_messages",
            {
                "commons": json.dumps(list(commons)),
                **columns(MAILS, mails),
                **columns(RECIPIENTS, recipients),
            },
        )
        return frozenset(rows[0]["places"]), rows[0]["created_at"]

    def deliveries_of_keys(self, tenant_id: str, keys: Sequence[str]) -> Mapping[str, Keyed]:
        """Return what each of a caller's idempotency keys made, for those that were used."""
        if not keys:
            return {}
        rows = self.rows("deliveries_of_keys", {"tenant_id": tenant_id, "keys": list(keys)})
        return {
            row["key"]: Keyed(
                message_id=row["message_id"],
                delivery_id=row["delivery_id"],
                content_sha256=bytes(row["content_sha256"]),
            )
            for row in rows
        }

    def claim_message(
        self, tenant_id: str, message_id: UUID, *, lease_s: float, wait_s: float = 0.0
    ) -> Claim | None:
        """Claim a due message; None when somebody else has it or nothing is to be done now.

        The lease is ``lease_s`` for each recipient, and ``wait_s`` before the first.
        """
        asked: dict[str, object] = {
            "tenant_id": tenant_id,
            "message_ids": [message_id],
            "stream": None,
            "limit": 0,
        }
        try:
            found = self._claims(asked | {"lease_s": lease_s, "wait_s": wait_s})
        except UniqueViolation as error:
            if error.diag.constraint_name != "messages_one_in_flight":
                raise
            return None  # another message with its ordering key is on its way
        return found[0] if found else None

    def claim_due(
        self, stream: Stream, *, limit: int, lease_s: float, wait_s: float = 0.0
    ) -> tuple[Claim, ...]:
        """Claim up to ``limit`` due messages of a stream that need no order, the longest waiting first.

        Of large ones it claims fewer: what comes back has to fit the memory.
        """
        asked: dict[str, object] = {
            "tenant_id": None,
            "message_ids": [],
            "stream": stream.value,
            "limit": limit,
        }
        return self._claims(asked | {"lease_s": lease_s, "wait_s": wait_s})

    def _claims(self, parameters: Parameters) -> tuple[Claim, ...]:
        taken_at = boot_seconds()
        asked = dict(parameters) | {"bytes_max": CLAIM_BYTES_MAX}
        rows = self._owner.rows(query("claim_messages").encode(), asked)
        return tuple(parse_claim(row, taken_at) for row in rows)

    def finalize_attempts(
        self, attempts: Sequence[Mapping[str, Json]]
    ) -> Mapping[UUID, DispatchState]:
        """Write the verdicts of attempts; each message's state, but for those whose token is lost."""
        rows = self.rows("finalize_attempts", {"attempts": json.dumps(list(attempts))})
        return {row["id"]: DispatchState(row["state"]) for row in rows}

    def move_messages(
        self, messages: Sequence[Pending], move: Move
    ) -> Mapping[UUID, DispatchState]:
        """Move deliveries without an attempt; each message of one that moved, as it is then.

        A message is left alone when it is not as the caller saw it any more.
        """
        rows = self.rows(
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
                "whatever_else": move.whatever_else,
                "skips_locked": move.skips_locked,
                "found": _found(move.found),
            },
        )
        return {row["id"]: DispatchState(row["state"]) for row in rows}

    def expired_messages(self, *, limit: int) -> tuple[Pending, ...]:
        """Return queued messages whose time is over."""
        return parse_pending(self.rows("expired_messages", {"limit": limit}))

    def abandoned_messages(self, *, limit: int) -> tuple[Pending, ...]:
        """Return claimed messages whose lease is over."""
        return parse_pending(self.rows("abandoned_messages", {"limit": limit}))

    def unknown_messages(self, *, limit: int) -> tuple[Pending, ...]:
        """Return unknown messages with what the rule for them asks."""
        return parse_pending(self.rows("unknown_messages", {"limit": limit}))

    def reported_messages(self, *, limit: int) -> tuple[Pending, ...]:
        """Return messages that are unknown to us though their provider has reported on them."""
        return parse_pending(self.rows("reported_messages", {"limit": limit}))

    def due_in_order(
        self, stream: Stream, *, limit: int, after: KeyPlace = FIRST_KEY
    ) -> tuple[tuple[tuple[str, UUID], ...], KeyPlace]:
        """Return tenant and id of due messages that are next of their ordering keys, longest due first.

        What it costs is bounded, whatever waits. Where very many are due, not all of them are looked at,
        and the keys are asked from the one after ``after`` on: with the answer comes where to go on.
        """
        asked: dict[str, object] = {"stream": stream.value, "limit": limit}
        (row,) = self.rows("due_in_order", asked | {"window": DUE_IN_ORDER_MAX})
        found = dict(zip(row["ids"], row["tenant_ids"], strict=True))
        if len(found) < limit and row["seen"] >= DUE_IN_ORDER_MAX:
            place = {"after_tenant_id": after[0], "after_key": after[1], "keys": KEYS_MAX}
            (row,) = self.rows("due_of_keys", asked | place)
            found |= dict(zip(row["ids"], row["tenant_ids"], strict=True))
            is_end = row["walked"] < KEYS_MAX
            after = FIRST_KEY if is_end else (row["last_tenant_id"], row["last_key"])
        return tuple((tenant_id, one) for one, tenant_id in list(found.items())[:limit]), after

    def due_messages(self, *, limit: int) -> tuple[tuple[str, UUID], ...]:
        """Return tenant and id of messages whose time has come, transactional ones first.

        Of mail with an ordering key the first of each key is there, in turns with the rest of its stream.
        """
        rows = self.rows("due_messages", {"limit": limit, "streams": [one.value for one in Stream]})
        found: list[tuple[str, UUID]] = []
        for stream in Stream:
            rest = [(one["tenant_id"], one["id"]) for one in rows if one["stream"] == stream.value]
            first, _ = self.due_in_order(stream, limit=limit)
            in_turns = chain.from_iterable(zip_longest(first, rest))
            found += (one for one in in_turns if one is not None)
        return tuple(found[:limit])

    def due_of(self, stream: Stream, *, limit: int) -> tuple[tuple[str, UUID], ...]:
        """Return tenant and id of due messages of a stream that need no order, longest waiting first."""
        rows = self.rows("due_messages", {"limit": limit, "streams": [stream.value]})
        return tuple((one["tenant_id"], one["id"]) for one in rows)

    def put_off(self, tenant_id: str, message_id: UUID, *, s: float) -> None:
        """Let a message be due in so many seconds, where it is still queued."""
        self.rows("put_off_message", {"tenant_id": tenant_id, "message_id": message_id, "s": s})

    def delivery(self, tenant_id: str | None, delivery_id: UUID) -> Delivery | None:
        """Return one delivery; None for another tenant's as for one that is not there."""
        rows = self.rows("delivery_by_id", {"tenant_id": tenant_id, "delivery_id": delivery_id})
        return parse_delivery(rows[0]) if rows else None

    def deliveries_of_message(self, tenant_id: str, message_id: UUID) -> tuple[Delivery, ...]:
        """Return the deliveries of one message, in the order of its recipients."""
        rows = self.rows(
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
        rows = self.rows(
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

    def recipient_of(self, delivery_id: UUID) -> tuple[str, str, Stream] | None:
        """Return tenant, address key and stream of a delivery; None for one that is not there."""
        rows = self.rows("recipient_of_delivery", {"delivery_id": delivery_id})
        if not rows:
            return None
        return rows[0]["tenant_id"], rows[0]["address_key"], Stream(rows[0]["stream"])

    def frozen_payload(self, tenant_id: str, message_id: UUID) -> tuple[bytes | None, bytes] | None:
        """Return a message's frozen bytes (None once scrubbed) and their SHA-256."""
        rows = self.rows("frozen_payload", {"tenant_id": tenant_id, "message_id": message_id})
        if not rows:
            return None
        payload = rows[0]["payload"]
        return (None if payload is None else bytes(payload), bytes(rows[0]["payload_sha256"]))

    def append_event(self, parameters: Parameters) -> Appended | None:
        """Append one event and fold it; None when its key was used before."""
        rows = self.rows("append_event", parameters)
        if not rows:
            return None
        return Appended(
            event=parse_event(rows[0]),
            message_id=rows[0]["message_id"],
            state=DispatchState(rows[0]["state"]),
        )

    def events_of_delivery(self, tenant_id: str | None, delivery_id: UUID) -> tuple[Event, ...]:
        """Return a delivery's events, the first first."""
        rows = self.rows("events_of_delivery", {"tenant_id": tenant_id, "delivery_id": delivery_id})
        return tuple(parse_event(row) for row in rows)

    def broken_chains(
        self, delivery_id: UUID | None = None, *, limit: int = 100
    ) -> tuple[BrokenLink, ...]:
        """Recompute the hash chain of one delivery, or of all, and return where it is broken."""
        rows = self.rows("broken_chains", {"delivery_id": delivery_id, "limit": limit})
        return tuple(BrokenLink(**row) for row in rows)

    def matching_suppressions(
        self, tenant_id: str, values: Sequence[str], stream: Stream
    ) -> tuple[Suppression, ...]:
        """Return the refusals that hold now for any of the values, as ``asked_values`` makes them.

        Raises:
            ConfigError: ``missing`` or ``conflicting`` where erased people are refused under hashes
                of an erasure key that is not at hand: they would be mailed again.

        """
        rows = self.rows(
            "matching_suppressions",
            {"tenant_id": tenant_id, "values": json.dumps(list(values)), "stream": stream.value},
        )
        if rows and rows[0]["scope"] == "erasure_key":
            raise unknown_erasure_key(values)
        return tuple(parse_suppression(row) for row in rows)


def _found(found: Mapping[UUID, str | None] | None) -> str | None:
    return None if found is None else json.dumps({str(key): one for key, one in found.items()})
