"""Evidence in the ledger: what speaks against one more attempt at a delivery."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from mailglass.ledger.rows import Claim
from mailglass.ledger.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of one delivery of a claim.

    ``is_reported``: a provider has reported on it. ``is_keyed``: it was put back because its provider
    honours our idempotency key; ``tried_for_s`` is the time since its first attempt.
    """

    delivery_id: UUID
    is_reported: bool
    is_keyed: bool
    tried_for_s: float


def evidence_of(store: Store, claim: Claim) -> tuple[Evidence, ...]:
    """Return what speaks against trying the recipients of a claim; nothing for the others."""
    given = {"message_id": claim.message_id, "tenant_id": claim.tenant_id}
    return tuple(Evidence(**row) for row in store.rows("evidence_of_claim", given))
