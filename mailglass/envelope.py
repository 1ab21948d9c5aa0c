"""What travels between dispatch and an adapter: the envelope out, one verdict a recipient back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from mailglass.address import Address
from mailglass.errors import FailureClass
from mailglass.message import Message, RecipientKind, Stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """One recipient that this attempt is for."""

    delivery_id: UUID
    kind: RecipientKind
    address: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """One attempt at one message: the frozen bytes and the recipients still to be served.

    ``payload`` is the MIME message (RFC 5322), the same at every attempt; Bcc is not in it.
    ``thaw`` reads it back into a Message for adapters that speak an API rather than SMTP.
    ``idempotency_key`` is the same at every attempt and unique to this message and its content.
    """

    message_id: UUID
    tenant_id: str
    stream: Stream
    mail_from: Address
    recipients: tuple[Recipient, ...]
    payload: bytes = field(repr=False)
    token: int
    attempt: int
    idempotency_key: str
    thaw: Callable[[], Message] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the provider said about one recipient; ``failure_class`` None means accepted.

    ``code`` is the provider's own, short and without addresses (``550 5.1.1``, ``http 422``).
    ``retry_after_s`` is what the provider asks to wait.
    """

    delivery_id: UUID
    failure_class: FailureClass | None = None
    code: str | None = None
    provider_message_id: str | None = None
    retry_after_s: float | None = None

    @property
    def is_accepted(self) -> bool:
        """Tell whether the provider took responsibility for this recipient."""
        return self.failure_class is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The answer to one provider call: a verdict for every recipient of the envelope."""

    provider: str
    verdicts: tuple[Verdict, ...]
