"""Close: what is still queued of a message ends without an attempt, cancelled or expired."""

from __future__ import annotations

from uuid import UUID

from mailglass.deliveries import DispatchState
from mailglass.events import EventType
from mailglass.ledger.rows import Move, Pending
from mailglass.ledger.store import Store

_EVENT = {
    DispatchState.CANCELLED: EventType.CANCELLED,
    DispatchState.EXPIRED: EventType.EXPIRED,
}


def close_queued(
    store: Store, tenant_id: str, message_id: UUID, state: DispatchState
) -> DispatchState | None:
    """End what is queued of a message; None when nothing is, or when it has not expired."""
    move = Move(
        from_state=DispatchState.QUEUED,
        to_state=state,
        event=_EVENT[state],
        payload={"by": "application"},
        code=state.value,
        tenant_id=tenant_id,
        when_expired=state is DispatchState.EXPIRED,
    )
    return store.move_messages([Pending(id=message_id)], move).get(message_id)
