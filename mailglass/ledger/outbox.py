"""The outbox in the database: what waits, and the steps that operators take."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, unique
from uuid import UUID

from mailglass.deliveries import DispatchState
from mailglass.errors import Json
from mailglass.events import EventType
from mailglass.ledger.store import Store
from mailglass.message import Stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """How many messages of a stream are in one state, and how long the oldest has been.

    Of queued ones ``oldest_s`` counts from when they were first due; below 0, none is due yet.
    """

    state: DispatchState
    stream: Stream
    is_held: bool
    messages: int
    oldest_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Alteration:
    """A step that leaves a queued message queued: what changes, and the event that says so."""

    event: EventType
    payload: Mapping[str, Json]
    is_held: bool | None = None
    run_at: datetime | None = None
    expires_at: datetime | None = None


@unique
class Altered(StrEnum):
    """What became of a step with a queued message."""

    DONE = "done"
    EXPIRES_FIRST = "expires_first"


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """A delivery to be sent again, under a new id; ``seq`` is the last event of it that was seen."""

    old_id: UUID
    new_id: UUID
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Resend:
    """A message to be queued again for those of its deliveries that ended so."""

    tenant_id: str
    message_id: UUID
    new_message_id: UUID
    recipients: Sequence[Again]
    states: Sequence[DispatchState]
    payload: Mapping[str, Json]
    expires_after_s: float
    auth_expires_after_s: float
    adapter_ref: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxStore:
    """Runs the queries of ``outbox.sql``, each of them a transaction of its own."""

    store: Store

    def counts(self, tenant_id: str | None) -> tuple[Waiting, ...]:
        """Return what waits, by state and stream."""
        return tuple(
            Waiting(
                state=DispatchState(row["state"]),
                stream=Stream(row["stream"]),
                is_held=row["held"],
                messages=row["messages"],
                oldest_s=row["oldest_s"],
            )
            for row in self.store.rows("outbox_counts", {"tenant_id": tenant_id})
        )

    def last_dispatched_s(self, tenant_id: str | None) -> float | None:
        """Return how many seconds ago a provider last took a mail; None where none ever did."""
        rows = self.store.rows("last_dispatched", {"tenant_id": tenant_id})
        return float(rows[0]["ago_s"]) if rows else None

    def alter(
        self, tenant_id: str, message_ids: Sequence[UUID], step: Alteration
    ) -> Mapping[UUID, Altered]:
        """Take a step with queued messages; what became of each that was in a state for it."""
        rows = self.store.rows(
            "alter_queued",
            {
                "tenant_id": tenant_id,
                "message_ids": list(message_ids),
                "held": step.is_held,
                "run_at": step.run_at,
                "expires_at": step.expires_at,
                "type": step.event.value,
                "payload": json.dumps(dict(step.payload)),
            },
        )
        return {row["id"]: Altered(row["altered"]) for row in rows}

    def resend(self, again: Resend) -> tuple[UUID, ...]:
        """Queue a message again; the ids of the new deliveries.

        None: the bytes were scrubbed, or each delivery has had another event meanwhile.
        """
        wanted = [
            {"old_id": str(one.old_id), "new_id": str(one.new_id), "seq": one.seq}
            for one in again.recipients
        ]
        rows = self.store.rows(
            "resend_message",
            {
                "tenant_id": again.tenant_id,
                "message_id": again.message_id,
                "new_message_id": again.new_message_id,
                "recipients": json.dumps(wanted),
                "states": [one.value for one in again.states],
                "payload": json.dumps(dict(again.payload)),
                "expires_after_s": again.expires_after_s,
                "auth_expires_after_s": again.auth_expires_after_s,
                "adapter_ref": again.adapter_ref,
            },
        )
        return tuple(row["id"] for row in rows)

    def scrub(self, *, settled_s: float, unknown_s: float, limit: int) -> int:
        """Take the bytes of messages that ended longer ago than that; how many."""
        return len(
            self.store.rows(
                "scrub_payloads",
                {"settled_s": settled_s, "unknown_s": unknown_s, "limit": limit},
            )
        )
