"""The outbox: what operators see of waiting mail, and the steps they take, each an event with its actor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from mailglass.deliveries import Delivery, DispatchState
from mailglass.delivery.freeze import expires_after_s
from mailglass.errors import Json, SendError, SendErrorType
from mailglass.events import EventType
from mailglass.headers import refuse
from mailglass.ids import new_id
from mailglass.ledger.breakers import BreakerStatus, BreakerStep, BreakerStore
from mailglass.ledger.outbox import Alteration, OutboxStore, Resend, Waiting
from mailglass.ledger.rows import Move, Pending
from mailglass.ledger.store import Store

ACTOR_CHARS_MAX: Final = 64
_NOT_SENT: Final = (DispatchState.FAILED, DispatchState.EXPIRED, DispatchState.CANCELLED)
_MAYBE_SENT: Final = (DispatchState.UNKNOWN_FINAL,)


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
        self._alter(delivery_id, EventType.HELD, actor, is_held=True)

    def release(self, delivery_id: UUID, *, actor: str) -> None:
        """Let a held message leave."""
        self._alter(delivery_id, EventType.RELEASED, actor, is_held=False)

    def reschedule(self, delivery_id: UUID, at: datetime, *, actor: str) -> None:
        """Give a queued message another time to leave; a time with a zone."""
        if at.tzinfo is None:
            raise refuse("a time to leave needs a zone", code="naive_time")
        self._alter(delivery_id, EventType.RESCHEDULED, actor, run_at=at)

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

        All its recipients that are unknown are settled alike.
        """
        found = self._found(delivery_id)
        state = DispatchState.SENT if was_sent else DispatchState.FAILED
        about = _actor(actor) | {"was_sent": was_sent}
        move = _by_hand(DispatchState.UNKNOWN, state, EventType.RECONCILED, about)
        if not self.store.move_messages([Pending(id=found.message_id)], move):
            raise _not_in_a_state_for_it(found)

    def retry(
        self,
        delivery_id: UUID,
        *,
        actor: str,
        confirm_duplicate_risk: bool = False,
        adapter_ref: str | None = None,
    ) -> Delivery:
        """Queue the same bytes again, for every recipient of the message whom they did not reach.

        It is a new delivery, linked to the old one in both histories. Mail that was given up as
        unknown may have arrived, so it needs ``confirm_duplicate_risk``. Suppression and policy are
        asked again when it leaves.

        Raises:
            SendError: ``invalid_transition``, or ``payload_missing`` when the bytes were scrubbed.

        """
        found = self._found(delivery_id)
        states = (*_NOT_SENT, *_MAYBE_SENT) if confirm_duplicate_risk else _NOT_SENT
        everyone = self.store.deliveries_of_message(found.tenant_id, found.message_id)
        again = {one.id: new_id() for one in everyone if one.state in states}
        if not again:
            raise _not_in_a_state_for_it(found)
        made = OutboxStore(store=self.store).resend(
            Resend(
                tenant_id=found.tenant_id,
                message_id=found.message_id,
                new_message_id=new_id(),
                recipients=again,
                states=states,
                payload=_actor(actor),
                expires_after_s=expires_after_s(found.stream, authenticates=False),
                auth_expires_after_s=expires_after_s(found.stream, authenticates=True),
                adapter_ref=adapter_ref,
            )
        )
        if not made:
            raise SendError(
                "the message's bytes were scrubbed, so it cannot be sent again",
                type=SendErrorType.PAYLOAD_MISSING,
                delivery_id=delivery_id,
            )
        return self._found(again.get(delivery_id, made[0]))

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

    def _alter(
        self,
        delivery_id: UUID,
        event: EventType,
        actor: str,
        *,
        is_held: bool | None = None,
        run_at: datetime | None = None,
    ) -> None:
        found = self._found(delivery_id)
        step = Alteration(event=event, payload=_actor(actor), is_held=is_held, run_at=run_at)
        if not OutboxStore(store=self.store).alter(found.tenant_id, [found.message_id], step):
            raise _not_in_a_state_for_it(found)

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
        event.type is EventType.OUTCOME_UNKNOWN
        for each in everyone
        for event in store.events_of_delivery(one.tenant_id, each.id)
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


def _not_in_a_state_for_it(found: Delivery) -> SendError:
    return SendError(
        f"the message is not in a state for this step; this delivery is {found.state.value}",
        type=SendErrorType.INVALID_TRANSITION,
        delivery_id=found.id,
        code=found.state.value,
    )
