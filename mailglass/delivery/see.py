"""See: an open or a click that our own endpoint met becomes an event of its delivery."""

from __future__ import annotations

from mailglass.compliance.tracking import Seen
from mailglass.delivery.leave import PROVIDER
from mailglass.delivery.record import Report, record
from mailglass.ledger.store import Store


def see(store: Store, seen: Seen) -> bool:
    """Record an open or a click, whosever tenant the delivery is; False when there is no such delivery.

    The signed link that was used speaks for the delivery. The same moment counts once.
    """
    found = store.recipient_of(seen.delivery_id)
    if found is None:
        return False
    tenant_id, _, _ = found
    record(
        store,
        tenant_id,
        Report(
            delivery_id=seen.delivery_id,
            provider=PROVIDER,
            type=seen.type,
            key=f"{seen.type}:{seen.delivery_id}:{seen.occurred_at.isoformat()}",
            occurred_at=seen.occurred_at,
            is_machine=seen.machine is not None,
            url_sha256=seen.target_sha256,
        ),
    )
    return True
