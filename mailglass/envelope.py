"""What travels between dispatch and an adapter: the envelope out, one verdict a recipient back."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from mailglass.address import Address
from mailglass.errors import FailureClass
from mailglass.message import Message, RecipientKind, Stream

_UNFIT: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_CODE_CHARS_MAX: Final = 64
_ID_CHARS_MAX: Final = 512
_WAIT_S_MAX: Final = 24 * 3600.0
"""A provider that asks for more than a day is asked again after a day."""


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

    def __post_init__(self) -> None:
        """Keep what a provider says within what may be stored and shown.

        Raises:
            ValueError, TypeError: an adapter made it of what is no failure class, code, id or time.

        """
        if self.failure_class is not None:
            object.__setattr__(self, "failure_class", FailureClass(self.failure_class))
        if self.code is not None:
            plain = _UNFIT.sub("?", self.code)[:_CODE_CHARS_MAX]
            object.__setattr__(self, "code", "withheld" if "@" in plain else plain)
        if self.provider_message_id is not None:
            known = _UNFIT.sub("?", self.provider_message_id)[:_ID_CHARS_MAX]
            object.__setattr__(self, "provider_message_id", known)
        if self.retry_after_s is not None:
            is_finite = math.isfinite(self.retry_after_s)
            wait_s = min(max(self.retry_after_s, 0.0), _WAIT_S_MAX) if is_finite else _WAIT_S_MAX
            object.__setattr__(self, "retry_after_s", wait_s)

    @property
    def is_accepted(self) -> bool:
        """Tell whether the provider took responsibility for this recipient."""
        return self.failure_class is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The answer to one provider call: a verdict for every recipient of the envelope."""

    provider: str
    verdicts: tuple[Verdict, ...]
