"""Refused: what a provider's refusal of one recipient is kept as, so that the next mail need not ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from mailglass.address import parse_address
from mailglass.message import Stream
from mailglass.suppression import Suppression, SuppressionReason, SuppressionScope


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """How far a refusal reaches, and why it stands."""

    scope: SuppressionScope
    reason: SuppressionReason

    def entry(self, address: str, stream: Stream, *, source: str) -> Suppression:
        """Return the suppression of an address that was refused on a stream."""
        return Suppression(
            scope=self.scope,
            value=parse_address(address).key,
            reason=self.reason,
            source=source,
            stream=stream if self.scope is SuppressionScope.ADDRESS_STREAM else None,
        )


_GONE: Final = Kept(scope=SuppressionScope.ADDRESS, reason=SuppressionReason.INVALID_RECIPIENT)
_BOUNCED: Final = Kept(scope=SuppressionScope.ADDRESS, reason=SuppressionReason.HARD_BOUNCE)
_COMPLAINED: Final = Kept(scope=SuppressionScope.ADDRESS, reason=SuppressionReason.COMPLAINT)
_LEFT: Final = Kept(scope=SuppressionScope.ADDRESS_STREAM, reason=SuppressionReason.UNSUBSCRIBE)
_LISTED: Final = Kept(scope=SuppressionScope.ADDRESS_STREAM, reason=SuppressionReason.POLICY)

_WORDS: Final[Mapping[str, Kept | None]] = MappingProxyType(
    {
        "5.1.1": _GONE,
        "5.1.10": _GONE,
        "5.2.1": _GONE,
        "permanent_unavailable": _GONE,
        "hard-bounce": _BOUNCED,
        "hard_bounced": _BOUNCED,
        "spam": _COMPLAINED,
        "spam_complaint": _COMPLAINED,
        "unsub": _LEFT,
        "unsubscribed": _LEFT,
        "soft-bounce": None,
        "soft_bounced": None,
    }
)
"""The words of codes: enhanced status (RFC 3463), Mandrill's, MailerSend's and Unisender Go's reasons."""


def kept_of(code: str | None) -> Kept | None:
    """Return what a refusal with a code is kept as; None where it is one for now.

    A list of which nothing is known, such as Postmark's of each message stream, ends no mail of other
    streams.
    """
    known = (word for word in (code or "").split() if word in _WORDS)
    return _WORDS.get(next(known, ""), _LISTED)
