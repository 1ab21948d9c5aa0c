"""Sweep: what time alone decides — expired, abandoned, put back, given up — each a fenced step."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from mailglass.adapters import Adapter, Searchable
from mailglass.deliveries import DispatchState
from mailglass.delivery.record import REPORTED
from mailglass.errors import MailglassError
from mailglass.events import EventType
from mailglass.ledger.faults import is_of_a_row
from mailglass.ledger.outbox import OutboxStore
from mailglass.ledger.rows import Move, Pending
from mailglass.ledger.store import Store
from mailglass.message import OnUnknown
from mailglass.settings import Settings
from mailglass.telemetry import Signal, report

BATCH_MAX: Final = 200
"""Messages of each kind that one sweep looks at."""
_EXPIRE_ROUNDS_MAX: Final = 50
"""Batches of expired messages in one sweep."""
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
    found: int = 0
    requeued: int = 0
    quarantined: int = 0
    given_up: int = 0
    scrubbed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweeper:
    """Moves what waits in vain; any number may run at the same time, on any host."""

    store: Store
    adapters: Mapping[str, Adapter]
    settings: Settings

    def sweep(self) -> Swept:
        """Look once at each kind of waiting message.

        An unknown is put back where the provider honours the idempotency key that the message carries,
        inside the provider's window: a second attempt then cannot double it. It is also put back when
        its author would rather have it doubled than lost, nobody can be sending it any more, and the
        provider, asked late enough, does not have it. Elsewhere it waits for evidence, which a
        provider's report is, and is given up after 72 hours.
        """
        return Swept(
            expired=self._expire_all(),
            abandoned=len(self._abandon()),
            reconciled=len(self._move(self.store.reported_messages(limit=BATCH_MAX), REPORTED)),
            **self._settle_unknowns(),
            scrubbed=OutboxStore(store=self.store).scrub(
                settled_s=self.settings.payload_kept_s,
                unknown_s=self.settings.payload_unknown_kept_s,
                limit=BATCH_MAX,
            ),
        )

    def _expire_all(self) -> int:
        """Expire what has expired, a batch at a time, so that one old flood holds up no other mail."""
        expired = 0
        for _ in range(_EXPIRE_ROUNDS_MAX):
            found = self.store.expired_messages(limit=BATCH_MAX)
            moved = len(self._move(found, _EXPIRED))
            expired += moved
            if moved == 0 or len(found) < BATCH_MAX:
                break
        return expired

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
        moves: dict[str, list[Pending]] = {name: [] for name in _OUT_OF_UNKNOWN}
        found, ended = 0, []
        for one in self.store.unknown_messages(limit=BATCH_MAX):
            if one.abandoned >= ABANDONED_MAX:
                moves["quarantined"].append(one)
            elif self._provider_knows_the_key(one):
                moves["requeued"].append(one)
            elif self._may_be_put_back(one) and one.is_owner_gone and not one.is_attempt_over:
                ended.append(one)
            elif (known := self._accepted(one)) is not None:
                found += len(self._move([one], _found(known))) if known else 0
                moves["not_found"] += [] if known else [one]
            elif one.unknown_for_s >= PARK_AFTER_S:
                moves["given_up"].append(one)
        self._move(ended, _OWNER_GONE)
        moved = {
            name: len(self._move(waiting, _OUT_OF_UNKNOWN[name])) for name, waiting in moves.items()
        }
        moved["requeued"] += moved.pop("not_found")
        return {"found": found} | moved

    def _provider_knows_the_key(self, one: Pending) -> bool:
        """Tell whether a second attempt would get the provider's first answer."""
        adapter = self.adapters.get(one.adapter_ref)
        window_s = adapter.capabilities.idempotency_window_s if adapter else None
        if window_s is None or one.tried_for_s is None or one.is_expired:
            return False
        return one.tried_for_s < window_s * _WINDOW_MARGIN

    def _may_be_put_back(self, one: Pending) -> bool:
        return (
            one.on_unknown is OnUnknown.RESEND
            and not one.is_expired
            and isinstance(self.adapters.get(one.adapter_ref), Searchable)
        )

    def _accepted(self, one: Pending) -> Mapping[UUID, str | None] | None:
        """Ask the provider which of a message's unknown deliveries it has; None: nobody can tell.

        It is asked only where an empty answer would allow a second attempt: the mail is rather
        doubled than lost, its time is not over, nobody can be sending it any more, and the provider
        has had time to show what it accepted.
        """
        adapter = self.adapters.get(one.adapter_ref)
        lag_s = adapter.capabilities.search_lag_s if adapter else None
        is_asked = (
            self._may_be_put_back(one)
            and one.is_attempt_over
            and lag_s is not None
            and min(one.lease_over_for_s, one.unknown_for_s) >= lag_s
        )
        if not is_asked or not isinstance(adapter, Searchable):
            return None
        everyone = self.store.deliveries_of_message(one.tenant_id, one.id)
        unknown = [each.id for each in everyone if each.state is DispatchState.UNKNOWN]
        try:
            return adapter.find(one.tenant_id, one.id, unknown)
        except Exception as error:  # noqa: BLE001 - an adapter's bug must hold up no other mail
            report(
                Signal.SEARCH_FAILED,
                level=logging.WARNING,
                tenant_id=one.tenant_id,
                message_id=one.id,
                provider=adapter.name,
                error_type=_named(error),
            )
            return None

    def _move(self, messages: Sequence[Pending], move: Move) -> Mapping[UUID, DispatchState]:
        """Move messages, all in one statement; one whose rows the ledger refuses stays, and is reported.

        So does one that somebody's open transaction holds: to wait for it would hold up all mail.
        """
        if not messages:
            return {}
        try:
            return self.store.move_messages(messages, replace(move, skips_locked=True))
        except Exception as error:
            if not is_of_a_row(error):
                raise
            if len(messages) > 1:
                return {
                    message_id: state
                    for one in messages
                    for message_id, state in self._move([one], move).items()
                }
            report(
                Signal.MOVE_REFUSED,
                level=logging.ERROR,
                tenant_id=messages[0].tenant_id,
                message_id=messages[0].id,
                error_type=type(error).__name__,
            )
            return {}


def _named(error: Exception) -> str:
    name = type(error).__name__
    return f"{name}.{error.type.value}" if isinstance(error, MailglassError) else name


def _found(known: Mapping[UUID, str | None]) -> Move:
    return Move(
        from_state=DispatchState.UNKNOWN,
        to_state=DispatchState.SENT,
        event=EventType.RECONCILED,
        payload={"by": "provider_search"},
        code="found",
        found=known,
    )


def _out_of_unknown(state: DispatchState, event: EventType, reason: str) -> Move:
    return Move(
        from_state=DispatchState.UNKNOWN,
        to_state=state,
        event=event,
        payload={"by": "sweep", "code": reason},
        code=reason,
    )


_EXPIRED: Final = Move(
    from_state=DispatchState.QUEUED,
    to_state=DispatchState.EXPIRED,
    event=EventType.EXPIRED,
    payload={"by": "sweep"},
    code="expired",
    when_expired=True,
)
_OWNER_GONE: Final = Move(
    from_state=DispatchState.UNKNOWN,
    to_state=DispatchState.UNKNOWN,
    event=EventType.OUTCOME_UNKNOWN,
    payload={"by": "sweep", "code": "owner_gone", "failure_class": "unknown"},
    code="owner_gone",
)
"""Writes down when the owner was first seen to be gone: the provider's lag counts from then."""

_OUT_OF_UNKNOWN: Final = {
    "quarantined": _out_of_unknown(DispatchState.FAILED, EventType.QUARANTINED, "poison"),
    "requeued": _out_of_unknown(DispatchState.QUEUED, EventType.REQUEUED, "safe_to_repeat"),
    # Another word than above: that one holds inside the window of the provider's key and no longer.
    "not_found": _out_of_unknown(DispatchState.QUEUED, EventType.REQUEUED, "not_found"),
    "given_up": _out_of_unknown(
        DispatchState.UNKNOWN_FINAL, EventType.UNKNOWN_FINAL, "no_evidence"
    ),
}
