"""Breakers and routes in the database: what all workers share, on its clock."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, unique
from typing import Final
from uuid import UUID

from mailglass.errors import Json
from mailglass.ledger.store import Store

KNOWN_MAX: Final = 10_000
"""Breakers that one reading returns, the open ones first."""


@unique
class BreakerState(StrEnum):
    """Whether mail of one tenant may go by one adapter.

    ``closed``: it may. ``open``: it may not. ``half_open``: one mail is a probe, the others wait.
    """

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restless:
    """A breaker that is not simply closed; ``retry_in_s`` counts from when it was read."""

    tenant_id: str
    adapter_ref: str
    state: BreakerState
    wait_s: float
    retry_in_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerChange:
    """A breaker that went from one state to another."""

    tenant_id: str
    adapter_ref: str
    state_before: BreakerState
    state: BreakerState


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerStatus:
    """A breaker as operators see it; ``waiting`` counts the messages that wait for it.

    ``failures`` are those since the last success. ``changed_by`` is ``dispatch`` or an actor.
    """

    tenant_id: str
    adapter_ref: str
    state: BreakerState
    failures: int
    reason: str | None
    changed_by: str
    changed_at: datetime
    retry_in_s: float | None
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerStep:
    """One change of a breaker in its history, and who made it."""

    tenant_id: str
    from_state: BreakerState
    to_state: BreakerState
    reason: str | None
    changed_by: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerStore:
    """Runs the queries of ``routing.sql``, each of them a transaction of its own."""

    store: Store

    def route(self, choices: Sequence[Mapping[str, Json]]) -> frozenset[UUID]:
        """Write down which adapters attempts go by; the ids of those that still hold their claim."""
        rows = self.store.rows("route_messages", {"choices": json.dumps(list(choices))})
        return frozenset(row["id"] for row in rows)

    def restless(self, *, window_s: float) -> tuple[Restless, ...]:
        """Return the breakers that are not simply closed."""
        rows = self.store.rows("restless_breakers", {"window_s": window_s, "limit": KNOWN_MAX})
        return tuple(
            Restless(
                tenant_id=row["tenant_id"],
                adapter_ref=row["adapter_ref"],
                state=BreakerState(row["state"]),
                wait_s=row["wait_s"],
                retry_in_s=row["retry_in_s"] or 0.0,
            )
            for row in rows
        )

    def begin_probe(self, tenant_id: str, adapter_ref: str, *, lease_s: float) -> bool:
        """Take the right to send the one probe, for so many seconds; False when another has it."""
        asked = {"tenant_id": tenant_id, "adapter_ref": adapter_ref, "lease_s": lease_s}
        return bool(self.store.rows("begin_probe", asked))

    def note_calls(
        self, reports: Sequence[Mapping[str, Json]], limits: Mapping[str, Json]
    ) -> tuple[BreakerChange, ...]:
        """Count what came of calls; the breakers that changed by it."""
        asked = {"reports": json.dumps(list(reports)), "limits": json.dumps(dict(limits))}
        return tuple(
            BreakerChange(
                tenant_id=row["tenant_id"],
                adapter_ref=row["adapter_ref"],
                state_before=BreakerState(row["state_before"]),
                state=BreakerState(row["state"]),
            )
            for row in self.store.rows("note_calls", asked)
        )

    def close(self, adapter_ref: str, tenant_id: str | None, *, actor: str) -> Mapping[str, int]:
        """Close breakers by hand; for each tenant how many messages are due again."""
        asked = {"adapter_ref": adapter_ref, "tenant_id": tenant_id, "actor": actor}
        return {
            row["tenant_id"]: row["let_through"] for row in self.store.rows("close_breakers", asked)
        }

    def status(self, tenant_id: str | None, *, limit: int = KNOWN_MAX) -> tuple[BreakerStatus, ...]:
        """Return every breaker that was ever moved, the troubled first."""
        rows = self.store.rows("breaker_status", {"tenant_id": tenant_id, "limit": limit})
        return tuple(
            BreakerStatus(**(dict(row) | {"state": BreakerState(row["state"])})) for row in rows
        )

    def history(
        self, adapter_ref: str, tenant_id: str | None, *, limit: int = 50
    ) -> tuple[BreakerStep, ...]:
        """Return what was done to the breakers of an adapter, the newest first."""
        asked = {"adapter_ref": adapter_ref, "tenant_id": tenant_id, "limit": limit}
        return tuple(
            BreakerStep(
                tenant_id=row["tenant_id"],
                from_state=BreakerState(row["from_state"]),
                to_state=BreakerState(row["to_state"]),
                reason=row["reason"],
                changed_by=row["changed_by"],
                at=row["at"],
            )
            for row in self.store.rows("breaker_history", asked)
        )
