"""Received mail in the database: what became of each, beside the receipt that holds it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mailglass.ledger.store import Store
from mailglass.ledger.webhooks import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Handling:
    """What became of one received mail; ``runs`` counts how often it was handled."""

    place: int
    route: str | None
    outcome: str
    reason: str | None
    runs: int
    handled_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundStore:
    """Runs the queries on ``inbound_messages``."""

    store: Store

    def record(
        self, source: Source, place: int, *, route: str | None, outcome: str, reason: str | None
    ) -> int:
        """Write what became of a mail; how often it was handled by now."""
        rows = self.store.rows(
            "record_inbound",
            {
                "receipt_id": source.receipt_id,
                "place": place,
                "tenant_id": source.tenant_id,
                "provider": source.provider,
                "endpoint": source.endpoint,
                "route": route,
                "outcome": outcome,
                "reason": reason,
            },
        )
        return int(rows[0]["runs"])

    def of_receipt(self, source: Source) -> tuple[Handling, ...]:
        """Return what became of the mails of one receipt, in their order."""
        rows = self.store.rows("inbound_of_receipt", {"receipt_id": source.receipt_id})
        return tuple(Handling(**row) for row in rows)
