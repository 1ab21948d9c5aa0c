"""Sending again: for whom a message may be, as the histories of its deliveries tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from mailglass.deliveries import Delivery, DispatchState
from mailglass.errors import SendError, SendErrorType
from mailglass.events import Event, EventType
from mailglass.ids import new_id
from mailglass.ledger.outbox import Again

History = tuple[Delivery, Sequence[Event]]

NOT_REACHED: Final = (
    DispatchState.FAILED,
    DispatchState.EXPIRED,
    DispatchState.CANCELLED,
    DispatchState.UNKNOWN_FINAL,
)
"""How the delivery of a mail ends that did not, or may not have, come through."""
_NOT_FOUND: Final = "not_found"
"""The code of a mail that was put back since its provider, asked, did not have it."""


def again_for(
    histories: Sequence[History], named: Delivery, *, is_confirmed: bool
) -> tuple[Again, ...]:
    """Return the deliveries that are sent again; ``is_confirmed`` takes in what may have arrived.

    Raises:
        SendError: ``invalid_transition`` where there is none, or the one that was named is none.

    """
    ended = [(one, events) for one, events in histories if one.state in NOT_REACHED]
    resent = {one.id: new for one, events in ended if (new := _sent_again_as(events))}
    unsure = {
        one.id
        for one, events in ended
        if one.id not in resent and not is_confirmed and _is_unsure(one, events)
    }
    again = tuple(
        Again(old_id=one.id, new_id=new_id(), seq=events[-1].seq)
        for one, events in ended
        if one.id not in resent and one.id not in unsure
    )
    if named.id in resent:
        raise _refusal("it was sent again already", "resent", resent[named.id])
    if named.id in unsure:
        raise _refusal("it may have arrived: confirm the risk", "may_have_arrived", named.id)
    if not again:
        raise not_in_a_state_for_it(named)
    return again


def may_have_arrived(events: Sequence[Event]) -> bool:
    """Tell whether an attempt at a delivery ended unknown and no evidence has settled it since.

    Evidence is the provider's word: its report, its search, or what it told an operator. That a
    repetition was harmless when a mail was put back is none.
    """
    unknown = [one.seq for one in events if one.type is EventType.OUTCOME_UNKNOWN]
    settled = [one.seq for one in events if _is_evidence(one)]
    return max(unknown, default=0) > max(settled, default=0)


def not_in_a_state_for_it(found: Delivery) -> SendError:
    """Return what is raised for a step that the state of a delivery does not allow."""
    state = found.state.value
    return _refusal(f"this delivery is {state}", state, found.id)


def expires_first(found: Delivery) -> SendError:
    """Return what is raised for a time to leave at which the message has expired."""
    return _refusal("it would have expired by then", "expires_first", found.id)


def _is_unsure(one: Delivery, events: Sequence[Event]) -> bool:
    return one.state is DispatchState.UNKNOWN_FINAL or may_have_arrived(events)


def _is_evidence(event: Event) -> bool:
    is_put_back = event.type is EventType.REQUEUED and event.payload.get("code") == _NOT_FOUND
    return is_put_back or event.type is EventType.RECONCILED


def _sent_again_as(events: Sequence[Event]) -> UUID | None:
    told = (one.payload["as"] for one in events if one.type is EventType.RESENT)
    return next((UUID(str(one)) for one in told), None)


def _refusal(why: str, code: str, delivery_id: UUID) -> SendError:
    return SendError(
        f"the message is not in a state for this step; {why}",
        type=SendErrorType.INVALID_TRANSITION,
        delivery_id=delivery_id,
        code=code,
    )
