"""Received mail in the database: what became of each, beside the receipt that holds it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from mailglass.ledger.store import Store
from mailglass.ledger.webhooks import Source

LEASE_S: Final = 600.0
"""How long a received mail is its handler's; who takes longer may find it handled a second time."""


@dataclass(slots=True, kw_only=True)
class Lease:
    """A request whose mails nobody else hands to their handlers, until a time of the database."""

    store: Store
    receipt_id: UUID
    until: datetime

    def renewed(self) -> bool:
        """Hold the request for the next mail; False where the lease ended, and another may have it."""
        asked = {"id": self.receipt_id, "held_until": self.until, "lease_s": LEASE_S}
        rows = self.store.rows("renew_receipt", asked)
        if rows:
            self.until = rows[0]["lease_until"]
        return bool(rows)

    def release(self) -> None:
        """Give the request free; where the lease ended it is not ours to give."""
        asked = {"id": self.receipt_id, "held_until": self.until}
        self.store.rows("release_receipt", asked)


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

    @contextmanager
    def claimed(self, receipt_id: UUID) -> Iterator[Lease | None]:
        """Hold a request through the block; None where another process has it at this moment."""
        rows = self.store.rows("claim_receipt", {"id": receipt_id, "lease_s": LEASE_S})
        if not rows:
            yield None
            return
        lease = Lease(store=self.store, receipt_id=receipt_id, until=rows[0]["lease_until"])
        try:
            yield lease
        finally:
            lease.release()

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
