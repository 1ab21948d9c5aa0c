"""Record: a provider's report becomes an event of the delivery and folds into its outcome."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Final
from uuid import UUID

from mailglass.deliveries import Outcome
from mailglass.errors import Json
from mailglass.events import Event, EventType, RejectReason
from mailglass.ledger.store import Store

_OUTCOME: Final = {
    EventType.SENT: Outcome.ACCEPTED,
    EventType.DEFERRED: Outcome.DEFERRED,
    EventType.DELIVERED: Outcome.DELIVERED,
    EventType.BOUNCED: Outcome.HARD_BOUNCED,
    EventType.REJECTED: Outcome.HARD_BOUNCED,
    EventType.COMPLAINED: Outcome.COMPLAINED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One fact that a provider reports about one delivery.

    ``key`` makes it count once: the provider's event id, or a hash of the event where it has none.
    ``occurred_at`` is the provider's time. ``is_permanent`` tells a hard bounce from a soft one.
    """

    delivery_id: UUID
    provider: str
    type: EventType
    key: str
    occurred_at: datetime
    is_permanent: bool = True
    reject_reason: RejectReason | None = None
    provider_event_id: str | None = None
    payload: Mapping[str, Json] = field(default_factory=lambda: MappingProxyType({}))


def record(store: Store, tenant_id: str, report: Report) -> Event | None:
    """Append the report to its delivery's ledger; None when it was recorded before.

    Order and repetition cannot matter: the outcome is a lattice that only rises.
    """
    outcome = _OUTCOME.get(report.type, Outcome.NONE)
    if report.type is EventType.BOUNCED and not report.is_permanent:
        outcome = Outcome.SOFT_BOUNCED
    return store.append_event(
        {
            "tenant_id": tenant_id,
            "delivery_id": report.delivery_id,
            "key_scope": f"event:{report.provider}",
            "key": report.key,
            "type": report.type.value,
            "occurred_at": report.occurred_at,
            "reject_reason": report.reject_reason.value if report.reject_reason else None,
            "payload": json.dumps({"provider": report.provider, **report.payload}),
            "provider_event_id": report.provider_event_id,
            "trace_id": None,
            "outcome": outcome.value,
            "outcome_rank": outcome.rank,
        }
    )
