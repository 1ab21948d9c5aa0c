"""Suppressions: standing refusals to send to an address, a domain, or an address on one stream."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, unique

from mailglass.address import parse_address
from mailglass.headers import refuse
from mailglass.message import Stream


@unique
class SuppressionScope(StrEnum):
    """How far a refusal reaches."""

    ADDRESS = "address"
    DOMAIN = "domain"
    ADDRESS_STREAM = "address_stream"


@unique
class SuppressionReason(StrEnum):
    """Why the refusal stands; a complaint never expires."""

    HARD_BOUNCE = "hard_bounce"
    COMPLAINT = "complaint"
    UNSUBSCRIBE = "unsubscribe"
    MANUAL = "manual"
    POLICY = "policy"
    INVALID_RECIPIENT = "invalid_recipient"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """One refusal.

    ``value`` is an address or a domain, as typed: it is kept as the key under which recipients are
    compared. ``stream`` is set for ``address_stream`` alone. ``expires_at`` None means that it stands
    until it is removed.

    Raises:
        SendError: ``serialization_failed`` for a value that is no address or domain, a stream that is
            missing or too many, and a time without a zone.

    """

    scope: SuppressionScope
    value: str
    reason: SuppressionReason
    source: str
    stream: Stream | None = None
    expires_at: datetime | None = None

    def __post_init__(self) -> None:
        """Bring the value into its key, so that no way of typing it suppresses nobody."""
        if self.scope is SuppressionScope.DOMAIN:
            key = parse_address(f"postmaster@{self.value.strip()}").domain_key
        else:
            key = parse_address(self.value.strip()).key
        object.__setattr__(self, "value", key)
        if (self.scope is SuppressionScope.ADDRESS_STREAM) != (self.stream is not None):
            raise refuse("a stream goes with address_stream alone", code="suppression_stream")
        if self.expires_at is not None and self.expires_at.tzinfo is None:
            raise refuse("expires_at has no time zone", code="naive_datetime")
