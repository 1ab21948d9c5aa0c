"""Deliveries: one recipient of one message, on two axes that never overwrite each other."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, unique
from uuid import UUID

from mailglass.errors import MailglassError
from mailglass.message import RecipientKind, Stream


@unique
class DispatchState(StrEnum):
    """How far our own handing-over has come; only ``queued``, ``sending`` and ``unknown`` go on."""

    QUEUED = "queued"
    SENDING = "sending"
    UNKNOWN = "unknown"
    SENT = "sent"
    FAILED = "failed"
    SUPPRESSED = "suppressed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    UNKNOWN_FINAL = "unknown_final"

    @property
    def is_terminal(self) -> bool:
        """Tell whether nothing more will be done with the mail."""
        return self not in {self.QUEUED, self.SENDING, self.UNKNOWN}


@unique
class Outcome(StrEnum):
    """What the provider reports, a lattice: an outcome is only ever replaced by one of higher rank."""

    NONE = "none"
    ACCEPTED = "accepted"
    DEFERRED = "deferred"
    SOFT_BOUNCED = "soft_bounced"
    DELIVERED = "delivered"
    HARD_BOUNCED = "hard_bounced"
    COMPLAINED = "complained"

    @property
    def rank(self) -> int:
        """Return the place in the lattice; ``deferred`` and ``soft_bounced`` share one."""
        return _RANKS[self]


_RANKS = {
    Outcome.NONE: 0,
    Outcome.ACCEPTED: 10,
    Outcome.DEFERRED: 20,
    Outcome.SOFT_BOUNCED: 20,
    Outcome.DELIVERED: 30,
    Outcome.HARD_BOUNCED: 50,
    Outcome.COMPLAINED: 60,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One recipient of one message as the ledger's fold shows it now.

    ``state`` is our dispatch, ``outcome`` the provider's report: ``sent`` means that a provider
    said yes, never that the mail arrived. ``error`` is what refused or failed it.
    """

    id: UUID
    message_id: UUID
    tenant_id: str
    kind: RecipientKind
    stream: Stream
    state: DispatchState
    outcome: Outcome
    mailable: str | None
    provider: str | None
    provider_message_id: str | None
    failure_class: str | None
    code: str | None
    attempts: int
    run_at: datetime | None
    created_at: datetime
    updated_at: datetime
    payload_bytes: int
    payload_sha256: bytes
    error: MailglassError | None = None
