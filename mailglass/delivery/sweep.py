"""Sweep: what time alone decides — expired, abandoned, put back, given up — each a fenced step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from mailglass.adapters import Adapter
from mailglass.deliveries import DispatchState
from mailglass.delivery.record import REPORTED
from mailglass.events import EventType
from mailglass.ledger.store import Move, Pending, Store

BATCH_MAX: Final = 200
"""Messages of each kind that one sweep looks at."""
PARK_AFTER_S: Final = 72 * 3600.0
"""How long later evidence may still settle an unknown before it is given up."""
ABANDONED_MAX: Final = 3
"""Attempts that ended with nobody left to tell before a message counts as poison."""
_WINDOW_MARGIN: Final = 0.8
"""The part of a provider's idempotency window inside which a key is relied on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """How many messages a sweep moved."""

    expired: int = 0
    abandoned: int = 0
    reconciled: int = 0
    requeued: int = 0
    quarantined: int = 0
    given_up: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweeper:
    """Moves what waits in vain; any number may run at the same time, on any host."""

    store: Store
    adapters: Mapping[str, Adapter]

    def sweep(self) -> Swept:
        """Look once at each kind of waiting message.

        An unknown is put back only where the provider honours the idempotency key that the message
        carries, and inside the provider's window: a second attempt then cannot double it. Elsewhere
        it waits for evidence, which a provider's report is, and is given up after 72 hours.
        """
        return Swept(
            expired=len(self._expire()),
            abandoned=len(self._abandon()),
            reconciled=len(self._move(self.store.reported_messages(limit=BATCH_MAX), REPORTED)),
            **self._settle_unknowns(),
        )

    def _expire(self) -> Mapping[UUID, DispatchState]:
        return self._move(
            self.store.expired_messages(limit=BATCH_MAX),
            Move(
                from_state=DispatchState.QUEUED,
                to_state=DispatchState.EXPIRED,
                event=EventType.EXPIRED,
                payload={"by": "sweep"},
                code="expired",
                when_expired=True,
            ),
        )

    def _abandon(self) -> Mapping[UUID, DispatchState]:
        return self._move(
            self.store.abandoned_messages(limit=BATCH_MAX),
            Move(
                from_state=DispatchState.SENDING,
                to_state=DispatchState.UNKNOWN,
                event=EventType.OUTCOME_UNKNOWN,
                payload={"by": "sweep", "code": "lease_over", "failure_class": "unknown"},
                code="lease_over",
                when_lease_over=True,
            ),
        )

    def _settle_unknowns(self) -> dict[str, int]:
        unknowns = self.store.unknown_messages(limit=BATCH_MAX)
        poison = [one for one in unknowns if one.abandoned >= ABANDONED_MAX]
        others = [one for one in unknowns if one.abandoned < ABANDONED_MAX]
        safe = [one for one in others if self._may_be_put_back(one)]
        parked = [
            one
            for one in others
            if not self._may_be_put_back(one) and one.unknown_for_s >= PARK_AFTER_S
        ]
        return {
            "quarantined": len(
                self._move(
                    poison, _out_of_unknown(DispatchState.FAILED, EventType.QUARANTINED, "poison")
                )
            ),
            "requeued": len(
                self._move(
                    safe, _out_of_unknown(DispatchState.QUEUED, EventType.REQUEUED, "provider_key")
                )
            ),
            "given_up": len(
                self._move(
                    parked,
                    _out_of_unknown(
                        DispatchState.UNKNOWN_FINAL, EventType.UNKNOWN_FINAL, "no_evidence"
                    ),
                )
            ),
        }

    def _may_be_put_back(self, one: Pending) -> bool:
        adapter = self.adapters.get(one.adapter_ref)
        window_s = adapter.capabilities.idempotency_window_s if adapter else None
        if window_s is None or one.tried_for_s is None or one.is_expired:
            return False
        return one.tried_for_s < window_s * _WINDOW_MARGIN

    def _move(self, messages: Sequence[Pending], move: Move) -> Mapping[UUID, DispatchState]:
        return self.store.move_messages(messages, move) if messages else {}


def _out_of_unknown(state: DispatchState, event: EventType, reason: str) -> Move:
    return Move(
        from_state=DispatchState.UNKNOWN,
        to_state=state,
        event=event,
        payload={"by": "sweep", "code": reason},
        code=reason,
    )
