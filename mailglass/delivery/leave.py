"""Leave: a recipient who unsubscribes is suppressed on that stream, and the delivery says so."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from mailglass.delivery.record import Report, record
from mailglass.events import EventType
from mailglass.ledger.store import Store
from mailglass.ledger.suppressions import Suppressions
from mailglass.suppression import Suppression, SuppressionReason, SuppressionScope

PROVIDER = "mailglass"
"""Who reports it: our own page, and no provider."""


def unsubscribe(store: Store, delivery_id: UUID, now: datetime) -> bool:
    """Suppress the delivery's address on its stream; False when there is no such delivery.

    The refusal is written first: if the second statement is lost, nobody is mailed who has left, and a
    repetition adds what is missing.
    """
    found = store.recipient_of(delivery_id)
    if found is None:
        return False
    tenant_id, address_key, stream = found
    Suppressions(store=store, tenant_id=tenant_id, by=PROVIDER).add(
        Suppression(
            scope=SuppressionScope.ADDRESS_STREAM,
            value=address_key,
            stream=stream,
            reason=SuppressionReason.UNSUBSCRIBE,
            source="unsubscribe_page",
        )
    )
    record(
        store,
        tenant_id,
        Report(
            delivery_id=delivery_id,
            provider=PROVIDER,
            type=EventType.UNSUBSCRIBED,
            key=f"unsubscribed:{delivery_id}",
            occurred_at=now,
        ),
    )
    return True
