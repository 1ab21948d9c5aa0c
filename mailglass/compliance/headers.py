"""The headers that a mail gets besides its own: what it is, who made it, how not to answer it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from mailglass.compliance.unsubscribe import UnsubscribeLinks, may_be_left, unsubscribe_headers
from mailglass.errors import ConfigError, ConfigErrorType
from mailglass.message import Message, Stream

_FEEDBACK_FIELD_CHARS_MAX: Final = 60
_FEEDBACK_REFUSED: Final = re.compile(r"[^A-Za-z0-9._-]+")
_FEEDBACK_SENDER: Final = re.compile(r"[A-Za-z0-9._-]{5,15}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What the headers of one mail are made from.

    ``feedback_sender`` names you in Feedback-ID, 5 to 15 characters, always the same one; None
    leaves the header out. ``opted_in`` is the mailable's ``unsubscribe``.

    Raises:
        ConfigError: ``invalid`` for a wrong ``feedback_sender``.

    """

    tenant_id: str
    delivery_id: UUID
    now: datetime
    feedback_sender: str | None = None
    unsubscribe: UnsubscribeLinks | None = None
    opted_in: bool = False

    def __post_init__(self) -> None:
        """Refuse a sender that Gmail would not count."""
        if self.feedback_sender is not None and not _FEEDBACK_SENDER.fullmatch(
            self.feedback_sender
        ):
            raise ConfigError(
                "feedback_sender is not 5 to 15 letters, digits, dots, hyphens or underscores",
                type=ConfigErrorType.INVALID,
                key="feedback_sender",
            )


Rule = Callable[[Message, Stamp], tuple[tuple[str, str], ...]]
"""Returns headers that a mail should have, or none."""


def names_its_mailable(message: Message, _stamp: Stamp) -> tuple[tuple[str, str], ...]:
    """Say which class made the mail, so that support finds it."""
    return () if message.mailable is None else (("Mailglass-Mailable", message.mailable),)


def feedback_id(message: Message, stamp: Stamp) -> tuple[tuple[str, str], ...]:
    """Group complaints by mailable, tenant and stream, the sender last, as Gmail reads it.

    https://support.google.com/a/answer/6254652
    """
    if stamp.feedback_sender is None:
        return ()
    kind = (message.mailable or "none").rpartition(".")[2]
    fields = (kind, stamp.tenant_id, message.stream.value)
    shown = [_FEEDBACK_REFUSED.sub("-", one)[:_FEEDBACK_FIELD_CHARS_MAX] or "-" for one in fields]
    return (("Feedback-ID", ":".join([*shown, stamp.feedback_sender])),)


def asks_for_no_automatic_answer(message: Message, _stamp: Stamp) -> tuple[tuple[str, str], ...]:
    """Keep holiday notices away: RFC 3834 §5, and Exchange's own header ([MS-OXCMAIL] 2.2.3.2.14)."""
    kind = "auto-generated"
    headers = (("Auto-Submitted", kind), ("X-Auto-Response-Suppress", "OOF, AutoReply"))
    if message.stream is Stream.BULK:
        # Old responders know this one alone (RFC 3834 §2).
        return (*headers, ("Precedence", "bulk"))
    return headers


def can_be_unsubscribed(message: Message, stamp: Stamp) -> tuple[tuple[str, str], ...]:
    """Give a way out in one click (RFC 8058) where the stream has one."""
    if stamp.unsubscribe is None or not may_be_left(message, opted_in=stamp.opted_in):
        return ()
    return unsubscribe_headers(
        stamp.delivery_id,
        links=stamp.unsubscribe,
        now=stamp.now,
        present=[name for name, _ in message.headers],
    )


RULES: Final[tuple[Rule, ...]] = (
    names_its_mailable,
    feedback_id,
    asks_for_no_automatic_answer,
    can_be_unsubscribed,
)


def compliance_headers(message: Message, stamp: Stamp) -> tuple[tuple[str, str], ...]:
    """Return the headers to add, in a fixed order; what the author set is never overwritten."""
    return tuple(_missing(message, stamp))


def _missing(message: Message, stamp: Stamp) -> Iterator[tuple[str, str]]:
    present = {name.lower() for name, _ in message.headers}
    for rule in RULES:
        for pair in rule(message, stamp):
            if not present or pair[0].lower() not in present:
                yield pair
