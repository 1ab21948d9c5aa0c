"""Suppressions: standing refusals to send to an address, a domain, or an address on one stream."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, unique

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

    ``value`` is an ``Address.key`` or a ``domain_key``, never a typed address; ``stream`` is set for
    ``address_stream`` alone. ``expires_at`` None means that it stands until it is removed.
    """

    scope: SuppressionScope
    value: str
    reason: SuppressionReason
    source: str
    stream: Stream | None = None
    expires_at: datetime | None = None
