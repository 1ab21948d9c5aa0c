"""Normalise: a provider's event becomes the document that is recorded, pure and without an address kept."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final
from uuid import UUID

from mailglass.address import parse_address
from mailglass.deliveries import Outcome
from mailglass.delivery.record import Report
from mailglass.errors import Json, SendError
from mailglass.events import EventType, RejectReason
from mailglass.ids import new_id
from mailglass.suppression import SuppressionReason
from mailglass.webhook import ProviderEvent

Document = Mapping[str, Json]

_OUTCOMES: Final = MappingProxyType(
    {
        EventType.SENT: Outcome.ACCEPTED,
        EventType.DEFERRED: Outcome.DEFERRED,
        EventType.DELIVERED: Outcome.DELIVERED,
        EventType.BOUNCED: Outcome.HARD_BOUNCED,
        EventType.REJECTED: Outcome.HARD_BOUNCED,
        EventType.COMPLAINED: Outcome.COMPLAINED,
    }
)
_SUPPRESSING: Final = MappingProxyType(
    {
        EventType.BOUNCED: SuppressionReason.HARD_BOUNCE,
        EventType.REJECTED: SuppressionReason.HARD_BOUNCE,
        EventType.COMPLAINED: SuppressionReason.COMPLAINT,
        EventType.UNSUBSCRIBED: SuppressionReason.UNSUBSCRIBE,
    }
)
_REJECTIONS: Final = MappingProxyType(
    {
        RejectReason.INVALID: SuppressionReason.INVALID_RECIPIENT,
        RejectReason.SPAM: SuppressionReason.COMPLAINT,
        RejectReason.UNSUBSCRIBED: SuppressionReason.UNSUBSCRIBE,
    }
)
"""A provider that refuses a recipient for good tells why it does."""
_FAILED_FOR_GOOD: Final = frozenset({EventType.BOUNCED, EventType.REJECTED})
_EVENT_ID_CHARS_MAX: Final = 512
_WORD: Final = re.compile(r"[\w.:/ -]{1,64}")


def document_of(event: ProviderEvent, *, place: int, received_at: datetime) -> Document:
    """Return an event as it is recorded; where it names no time, it happened when it was received.

    The address stands in ``address_key`` alone, by which the delivery is found and which no event
    keeps.

    Raises:
        SendError: ``serialization_failed`` for what the ledger could not keep.

    """
    report = Report(
        delivery_id=event.delivery_token or _NOBODY,
        provider=event.provider,
        type=event.type,
        key=_key(event),
        occurred_at=event.occurred_at or received_at,
        is_permanent=event.is_permanent,
        is_machine=event.is_machine,
        word=_word(event.word),
        url_sha256=event.click_url_sha256,
        reject_reason=event.reject_reason,
        provider_event_id=_own_id(event.provider_event_id),
    )
    outcome = outcome_of(event)
    suppress = suppression_of(event)
    return {
        "id": str(new_id()),
        "place": place,
        "token": str(event.delivery_token) if event.delivery_token else None,
        "ids": list(event.provider_message_ids),
        "address_key": address_key(event.recipient) if event.recipient else None,
        "type": report.type.value,
        "outcome": outcome.value,
        "outcome_rank": outcome.rank,
        "occurred_at": report.occurred_at.isoformat(),
        "reject_reason": report.reject_reason.value if report.reject_reason else None,
        "payload": report.payload(),
        "provider_event_id": report.provider_event_id,
        "key": report.key,
        "suppress": suppress.value if suppress else None,
    }


_NOBODY: Final = UUID(int=0)


def outcome_of(event: ProviderEvent) -> Outcome:
    """Return where an event takes its delivery; a soft bounce is not for good."""
    if event.type is EventType.BOUNCED and not event.is_permanent:
        return Outcome.SOFT_BOUNCED
    return _OUTCOMES.get(event.type, Outcome.NONE)


def suppression_of(event: ProviderEvent) -> SuppressionReason | None:
    """Return why the recipient gets no more mail; None where an event does not say so."""
    if event.type in _FAILED_FOR_GOOD and not event.is_permanent:
        return None
    told = event.reject_reason
    if event.type is EventType.REJECTED and told is not None and told in _REJECTIONS:
        return _REJECTIONS[told]
    return _SUPPRESSING.get(event.type)


def address_key(text: str) -> str:
    """Return the key under which a recipient is compared; of what is no address, its small letters."""
    try:
        return parse_address(text).key
    except SendError:
        return text.strip().lower()


def linked(document: Document) -> Document:
    """Return the event that says when a report that came too early was linked."""
    return {
        **document,
        "id": str(new_id()),
        "type": EventType.RECONCILED.value,
        "outcome": Outcome.NONE.value,
        "outcome_rank": 0,
        "reject_reason": None,
        "payload": {"by": "orphan", "type": document["type"]},
        "key": f"linked:{document['key']}",
        "suppress": None,
    }


def _key(event: ProviderEvent) -> str:
    """Return what makes an event count once; its delivery, and so its recipient, is added to it.

    It is a digest since a key is never deleted, and a provider's own id may hold anything.
    """
    shown = f"{event.type.value} {event.provider_event_id}".encode("utf-8", "replace")
    return hashlib.sha256(shown).hexdigest()[:40]


def _own_id(text: str) -> str | None:
    is_fit = 0 < len(text) <= _EVENT_ID_CHARS_MAX and text.isprintable() and "@" not in text
    return text if is_fit else None


def _word(text: str | None) -> str | None:
    """Return a provider's word where the ledger may keep it: a word, and nothing like an address."""
    return text if text is not None and _WORD.fullmatch(text) else None
