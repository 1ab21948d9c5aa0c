"""The outbox: what operators see of waiting mail, and the steps they take, each an event with its actor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from mailglass.deliveries import Delivery, DispatchState
from mailglass.delivery.again import (
    NOT_REACHED,
    History,
    again_for,
    expires_first,
    may_have_arrived,
    not_in_a_state_for_it,
)
from mailglass.delivery.freeze import expires_after_s
from mailglass.errors import Json, SendError, SendErrorType
from mailglass.events import EventType
from mailglass.headers import check_moment, refuse
from mailglass.ids import new_id
from mailglass.ledger.breakers import BreakerStatus, BreakerStep, BreakerStore
from mailglass.ledger.outbox import Again, Alteration, Altered, OutboxStore, Resend, Waiting
from mailglass.ledger.rows import Move, Pending
from mailglass.ledger.store import Store

ACTOR_CHARS_MAX: Final = 64
TRIES_MAX: Final = 5
"""How often a message is looked at again that something happened to just before it was resent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbox:
    """Shows and steers mail that has not left.

    ``actor`` is who takes a step, as the ledger will show it: a user name or ticket, up to 64
    printable characters and no address. Each step is refused with ``SendError(invalid_transition)``
    where the mail is not in a state for it.
    """

    store: Store

    def counts(self, tenant_id: str | None = None) -> tuple[Waiting, ...]:
        """Return what waits, by state and stream; of all tenants unless one is named."""
        return OutboxStore(store=self.store).counts(tenant_id)

    def last_dispatched_s(self, tenant_id: str | None = None) -> float | None:
        """Return how many seconds ago a provider last took a mail; None where none ever did."""
        return OutboxStore(store=self.store).last_dispatched_s(tenant_id)

    def hold(self, delivery_id: UUID, *, actor: str) -> None:
        """Keep a queued message from leaving until it is released; its expiry goes on."""
        step = Alteration(event=EventType.HELD, payload=_actor(actor), is_held=True)
        self._alter(delivery_id, step)

    def release(self, delivery_id: UUID, *, actor: str) -> None:
        """Let a held message leave."""
        step = Alteration(event=EventType.RELEASED, payload=_actor(actor), is_held=False)
        self._alter(delivery_id, step)

    def reschedule(
        self, delivery_id: UUID, at: datetime, *, actor: str, expires_at: datetime | None = None
    ) -> None:
        """Give a queued message another time to leave and, where given, another expiry.

        Both need a zone.

        Raises:
            SendError: ``invalid_transition`` with code ``expires_first`` when the message would have
                expired by then; ``serialization_failed`` for a time that is none (``naive_time``,
                ``year_out_of_range``).

        """
        if at.tzinfo is None or (expires_at is not None and expires_at.tzinfo is None):
            raise refuse("a time to leave and an expiry need a zone", code="naive_time")
        check_moment("a time to leave", at)
        check_moment("an expiry", expires_at or at)
        about = _actor(actor)
        if expires_at is not None:
            about["expires_at"] = expires_at.isoformat()
        step = Alteration(
            event=EventType.RESCHEDULED, payload=about, run_at=at, expires_at=expires_at
        )
        self._alter(delivery_id, step)

    def cancel(self, delivery_id: UUID, *, actor: str) -> bool:
        """Cancel what of the message has not left; True when this kept it from everybody."""
        found = self._found(delivery_id)
        move = _by_hand(
            DispatchState.QUEUED, DispatchState.CANCELLED, EventType.CANCELLED, _actor(actor)
        )
        state = self.store.move_messages([Pending(id=found.message_id)], move)
        return is_cancelled_for_all(self.store, found, state.get(found.message_id))

    def settle(self, delivery_id: UUID, *, was_sent: bool, actor: str) -> None:
        """Say what became of an unknown message: the provider has it, or it does not.

        All its recipients that are unknown are settled alike, whatever the others wait for.
        """
        found = self._found(delivery_id)
        state = DispatchState.SENT if was_sent else DispatchState.FAILED
        about = _actor(actor) | {"was_sent": was_sent}
        move = _by_hand(DispatchState.UNKNOWN, state, EventType.RECONCILED, about)
        move = replace(move, whatever_else=True)
        if not self.store.move_messages([Pending(id=found.message_id)], move):
            raise not_in_a_state_for_it(found)

    def retry(
        self,
        delivery_id: UUID,
        *,
        actor: str,
        confirm_duplicate_risk: bool = False,
        adapter_ref: str | None = None,
    ) -> Delivery:
        """Queue the same bytes again, for every recipient of the message whom they did not reach.

        It is a new delivery, linked to the old one in both histories. Mail that may have arrived (an
        attempt ended unknown, and no evidence has settled it since) needs
        ``confirm_duplicate_risk``, however it ended. A delivery is sent again once; from then on it
        is the new one that can be. Suppression and policy are asked again when it leaves.

        Raises:
            SendError: ``invalid_transition`` with code ``may_have_arrived``, ``resent`` (its
                ``delivery_id`` is then the new one) or the state that does not allow it;
                ``payload_missing`` when the bytes were scrubbed.

        """
        found, seen = self._found(delivery_id), None
        for _ in range(TRIES_MAX):
            histories = self._histories(found)
            if histories == seen:  # nothing came in between, so it was no other that took it
                break
            seen = histories
            again = again_for(histories, found, is_confirmed=confirm_duplicate_risk)
            made = OutboxStore(store=self.store).resend(_resend(found, again, actor, adapter_ref))
            if made:
                mine = [one.new_id for one in again if one.old_id == delivery_id]
                return self._found((mine or made)[0])
        raise SendError(
            "the message's bytes were scrubbed, so it cannot be sent again",
            type=SendErrorType.PAYLOAD_MISSING,
            delivery_id=delivery_id,
        )

    def breakers(self, tenant_id: str | None = None) -> tuple[BreakerStatus, ...]:
        """Return the breakers that were ever moved, the open ones first; of all tenants unless one is named."""
        return BreakerStore(store=self.store).status(tenant_id)

    def breaker_history(
        self, adapter_ref: str, tenant_id: str | None = None
    ) -> tuple[BreakerStep, ...]:
        """Return who changed the breakers of an adapter and why, the newest first, 50 at most."""
        return BreakerStore(store=self.store).history(adapter_ref, tenant_id)

    def close_breaker(
        self, adapter_ref: str, *, actor: str, tenant_id: str | None = None
    ) -> Mapping[str, int]:
        """Close the breakers of an adapter, of all tenants unless one is named, before their time.

        What waits for them is due at once: returns how many messages that are, for each tenant whose
        breaker was not closed. Workers hear of it within a second.
        """
        _actor(actor)
        return BreakerStore(store=self.store).close(adapter_ref, tenant_id, actor=actor)

    def _alter(self, delivery_id: UUID, step: Alteration) -> None:
        found = self._found(delivery_id)
        altered = OutboxStore(store=self.store).alter(found.tenant_id, [found.message_id], step)
        match altered.get(found.message_id):
            case Altered.DONE:
                return
            case Altered.EXPIRES_FIRST:
                raise expires_first(found)
            case None:
                raise not_in_a_state_for_it(found)

    def _histories(self, one: Delivery) -> list[History]:
        return [
            (each, self.store.events_of_delivery(one.tenant_id, each.id))
            for each in self.store.deliveries_of_message(one.tenant_id, one.message_id)
        ]

    def _found(self, delivery_id: UUID) -> Delivery:
        found = self.store.delivery(None, delivery_id)
        if found is None:
            raise SendError(
                "there is no such delivery",
                type=SendErrorType.PAYLOAD_MISSING,
                delivery_id=delivery_id,
            )
        return found


def is_cancelled_for_all(store: Store, one: Delivery, state: DispatchState | None) -> bool:
    """Tell whether a message that was just cancelled can have reached nobody.

    One that was put back after an attempt of unknown end may have arrived all the same.
    """
    if state is not DispatchState.CANCELLED:
        return False
    everyone = store.deliveries_of_message(one.tenant_id, one.message_id)
    return not any(
        may_have_arrived(store.events_of_delivery(one.tenant_id, each.id)) for each in everyone
    )


def _resend(found: Delivery, again: Sequence[Again], actor: str, adapter_ref: str | None) -> Resend:
    return Resend(
        tenant_id=found.tenant_id,
        message_id=found.message_id,
        new_message_id=new_id(),
        recipients=again,
        states=NOT_REACHED,
        payload=_actor(actor),
        expires_after_s=expires_after_s(found.stream, authenticates=False),
        auth_expires_after_s=expires_after_s(found.stream, authenticates=True),
        adapter_ref=adapter_ref,
    )


def _by_hand(
    from_state: DispatchState, to_state: DispatchState, event: EventType, about: dict[str, Json]
) -> Move:
    return Move(
        from_state=from_state,
        to_state=to_state,
        event=event,
        payload=about,
        code=f"{event.value}_by_hand",
    )


def _actor(actor: str) -> dict[str, Json]:
    if not 0 < len(actor) <= ACTOR_CHARS_MAX or not actor.isprintable() or "@" in actor:
        raise refuse(
            f"an actor has 1 to {ACTOR_CHARS_MAX} printable characters and is no address",
            code="actor_invalid",
        )
    return {"by": "operator", "actor": actor}
