"""The events of Mailjet: an array of records, or one record where they are not grouped.

https://dev.mailjet.com/email/guides/webhooks/.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Final

from mailglass.errors import SignatureError
from mailglass.events import EventType, RejectReason
from mailglass.webhook import (
    TOKEN_KEY,
    ProviderEvent,
    event_id_from,
    from_unix,
    labels,
    parse_json,
    text,
    texts,
    token_in,
    url_hash,
    without_token,
)

PROVIDER: Final = "mailjet"
_BATCH_MAX: Final = 10_000
_PAYLOAD: Final = "Payload"
_EVENTS: Final = MappingProxyType(
    {
        "sent": EventType.DELIVERED,
        "open": EventType.OPENED,
        "click": EventType.CLICKED,
        "bounce": EventType.BOUNCED,
        "blocked": EventType.REJECTED,
        "spam": EventType.COMPLAINED,
        "unsub": EventType.UNSUBSCRIBED,
    }
)
"""Mailjet's ``sent`` means that the receiving server took the mail."""
_REASONS: Final = MappingProxyType(
    {
        "user unknown": RejectReason.BOUNCED,
        "mailbox inactive": RejectReason.BOUNCED,
        "quota exceeded": RejectReason.BOUNCED,
        "invalid domain": RejectReason.BOUNCED,
        "no mail host": RejectReason.BOUNCED,
        "relay/access denied": RejectReason.BOUNCED,
        "blacklisted": RejectReason.BLOCKED,
        "sender blocked": RejectReason.BLOCKED,
        "content blocked": RejectReason.BLOCKED,
        "policy issue": RejectReason.BLOCKED,
        "preblocked": RejectReason.BLOCKED,
        "spam reporter": RejectReason.SPAM,
        "typofix": RejectReason.INVALID,
    }
)
_NOT_THE_ADDRESS: Final = ("spam", "system", "content")
"""What an error is related to that says nothing of whether the address exists."""
_GREYLISTED: Final = "greylisted"


def events_of(parsed: Any) -> tuple[ProviderEvent, ...]:
    """Return the events of a body."""
    batch = parsed if isinstance(parsed, list) else [parsed]
    return tuple(_event(one) for one in batch[:_BATCH_MAX] if isinstance(one, dict))


def _event(record: dict[str, Any]) -> ProviderEvent:
    word, error = text(record.get("event")) or "", text(record.get("error"))
    is_hard = record.get("hard_bounce") is True
    kind = _EVENTS.get(word, EventType.UNKNOWN)
    if error == _GREYLISTED and not is_hard:
        kind = EventType.DEFERRED
    metadata, token = _metadata(record), text(record.get("CustomID")) or ""
    recipient, moment = text(record.get("email")), record.get("time")
    clicked = record.get("url") if kind is EventType.CLICKED else None
    own = record.get("MessageID") or record.get("mj_message_id")
    ids = texts([own, record.get("Message_GUID")])
    return ProviderEvent(
        type=kind,
        occurred_at=from_unix(moment),
        provider=PROVIDER,
        provider_event_id=event_id_from(PROVIDER, word, *ids[:1], recipient, moment, clicked),
        provider_message_ids=ids,
        recipient=recipient,
        reject_reason=_REASONS.get(error, RejectReason.OTHER) if error else None,
        is_permanent=kind is EventType.COMPLAINED
        or (kind is EventType.BOUNCED and is_hard and _is_of_the_address(record)),
        word=f"{word}:{error}" if error else word or None,
        description=text(record.get("comment")),
        mta_response=text(record.get("smtp_reply")),
        tags=texts(record.get("customcampaign")),
        metadata=without_token(metadata),
        delivery_token=token_in({TOKEN_KEY: token}) or token_in(metadata),
        click_url=text(clicked),
        click_url_sha256=url_hash(clicked),
        user_agent=text(record.get("agent")),
    )


def _is_of_the_address(record: dict[str, Any]) -> bool:
    """Tell whether a hard bounce speaks of the recipient, whom Mailjet blocks from now on if so."""
    return record.get("blocked") is True or record.get("error_related_to") not in _NOT_THE_ADDRESS


def _metadata(record: dict[str, Any]) -> dict[str, str]:
    """Return what was sent as the event payload; text that is no JSON object stays the text it is."""
    shown = record.get(_PAYLOAD)
    if not isinstance(shown, str):
        return labels(shown)
    try:
        parsed = parse_json(shown, provider=PROVIDER)
    except SignatureError:
        parsed = None
    if isinstance(parsed, dict):
        return labels(parsed)
    return labels({_PAYLOAD: shown}) if shown else {}
