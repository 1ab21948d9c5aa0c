"""Normalise: a provider's event becomes the document that is recorded, pure and without an address kept."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Final
from uuid import UUID

from mailglass.address import parse_address
from mailglass.deliveries import Outcome
from mailglass.delivery.record import Report
from mailglass.errors import Json, SendError
from mailglass.events import EventType, RejectReason
from mailglass.headers import refuse
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
_DIGEST_CHARS: Final = 32
"""16 octets: enough, since only the reports on one delivery have to differ."""
_OF_THE_REPORT: Final = frozenset({"reject_reason", "suppress"})
_KINDS_CACHED_MAX: Final = 1_024
_NOBODY: Final = UUID(int=0)
_LONG_AGO: Final = datetime.fromtimestamp(0, tz=UTC)
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_WORD: Final = re.compile(r"[\w.:/ -]{1,64}")


def document_of(event: ProviderEvent, *, place: int, received_at: datetime) -> Document:
    """Return an event as it is recorded; where it names no time, it happened when it was received.

    The address stands in ``address_key`` alone, by which the delivery is found and which no event
    keeps.

    Raises:
        SendError: ``serialization_failed`` for what the ledger could not keep.

    """
    common = _common_part(
        event.provider,
        event.type,
        event.reject_reason,
        event.word,
        is_permanent=event.is_permanent,
        is_machine=event.is_machine,
    )
    document: dict[str, Json] = {
        **common,
        "place": place,
        "ids": list(event.provider_message_ids),
        "occurred_at": _moment(event.occurred_at or received_at),
        "key": _key(event),
    }
    if event.delivery_token is not None:
        document["token"] = event.delivery_token.hex
    if event.recipient:
        document["address_key"] = address_key(event.recipient)
    if event.click_url_sha256 is not None:
        document["payload"] = _with_link(event.click_url_sha256, common)
    own_id = _own_id(event.provider_event_id)
    if own_id is not None:
        document["provider_event_id"] = own_id
    return document


@lru_cache(maxsize=_KINDS_CACHED_MAX)
def _common_part(  # noqa: PLR0913 - what events of one kind have in common, and nothing else
    provider: str,
    kind: EventType,
    reason: RejectReason | None,
    word: str | None,
    *,
    is_permanent: bool,
    is_machine: bool,
) -> Document:
    """Return what the documents of all events of a kind share; nobody changes it."""
    event = ProviderEvent(
        type=kind,
        occurred_at=_LONG_AGO,
        provider=provider,
        provider_event_id="any",
        reject_reason=reason,
        is_permanent=is_permanent,
    )
    report = Report(
        delivery_id=_NOBODY,
        provider=provider,
        type=kind,
        key=event.provider_event_id,
        occurred_at=_LONG_AGO,
        is_permanent=is_permanent,
        is_machine=is_machine,
        word=_word(word),
        reject_reason=reason,
    )
    outcome = outcome_of(event)
    suppress = suppression_of(event)
    shared: dict[str, Json] = {
        "type": kind.value,
        "outcome": outcome.value,
        "outcome_rank": outcome.rank,
        "payload": report.payload(),
    }
    if reason is not None:
        shared["reject_reason"] = reason.value
    if suppress is not None:
        shared["suppress"] = suppress.value
    return shared


def _moment(at: datetime) -> str:
    if at.tzinfo is None:
        raise refuse("a report cannot be recorded: its time has no zone", code="report_invalid")
    return at.isoformat()


def _with_link(url_sha256: str, common: Document) -> Json:
    if _SHA256.fullmatch(url_sha256) is None:
        raise refuse("a report cannot be recorded: its link is no hash", code="report_invalid")
    payload = common["payload"]
    return {**payload, "url_sha256": url_sha256} if isinstance(payload, Mapping) else payload


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
    if text.isascii() and not text.endswith(">"):
        return text.strip().lower()  # what the key of an ASCII address without a name is, too
    try:
        return parse_address(text).key
    except SendError:
        return text.strip().lower()


def linked(document: Document) -> Document:
    """Return the event that says when a report that came too early was linked."""
    kept = {name: one for name, one in document.items() if name not in _OF_THE_REPORT}
    return {
        **kept,
        "type": EventType.RECONCILED.value,
        "outcome": Outcome.NONE.value,
        "outcome_rank": Outcome.NONE.rank,
        "payload": {"by": "orphan", "type": document["type"]},
        "key": _digest(f"linked {document['key']}"),
    }


def _key(event: ProviderEvent) -> str:
    """Return what makes an event count once; its delivery, and so its recipient, is added to it.

    It is a digest since a key is never deleted, and a provider's own id may hold anything.
    """
    return _digest(f"{event.provider} {event.type.value} {event.provider_event_id}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:_DIGEST_CHARS]


def _own_id(text: str) -> str | None:
    is_fit = 0 < len(text) <= _EVENT_ID_CHARS_MAX and text.isprintable() and "@" not in text
    return text if is_fit else None


def _word(text: str | None) -> str | None:
    """Return a provider's word where the ledger may keep it: a word, and nothing like an address."""
    return text if text is not None and _WORD.fullmatch(text) else None
