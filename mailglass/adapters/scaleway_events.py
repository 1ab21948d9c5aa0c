"""The events of Scaleway Transactional Email, each the message of one notification.

https://www.scaleway.com/en/docs/transactional-email/reference-content/webhook-events-payloads/.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Final

from mailglass.adapters.scaleway_sns import PROVIDER
from mailglass.errors import SignatureError
from mailglass.events import EventType, RejectReason
from mailglass.webhook import (
    TOKEN_KEY,
    ProviderEvent,
    event_id_from,
    from_iso,
    labels,
    malformed,
    mapping,
    parse_json,
    sequence,
    text,
    texts,
    token_in,
    without_token,
)

METADATA_HEADER: Final = "X-Metadata"
TAGS_HEADER: Final = "X-Tags"
TOKEN_HEADER: Final = "X-Mailglass-Delivery"  # noqa: S105 - the name of a field, not a secret
_HEADERS_MAX: Final = 200
_EVENTS: Final = MappingProxyType(
    {
        "email_queued": (EventType.QUEUED, None),
        "email_delivered": (EventType.DELIVERED, None),
        "email_deferred": (EventType.DEFERRED, None),
        "email_dropped": (EventType.BOUNCED, RejectReason.BOUNCED),
        "email_mailbox_not_found": (EventType.BOUNCED, RejectReason.BOUNCED),
        "email_spam": (EventType.REJECTED, RejectReason.SPAM),
        "email_blocklisted": (EventType.REJECTED, RejectReason.BLOCKED),
    }
)
"""``email_spam`` is a filter's opinion, Scaleway's or the other server's, and no reader's complaint."""
_NOT_ABOUT_MAIL: Final = frozenset({"blocklist_created"})


def events_of(record: dict[str, Any]) -> tuple[ProviderEvent, ...]:
    """Return the event of a topic's message.

    Raises:
        SignatureError: ``malformed_header`` when a notification does not hold an object.

    """
    if record.get("Type") != "Notification":
        return ()
    said = record.get("Message")
    event = parse_json(said, provider=PROVIDER) if isinstance(said, str) else None
    if not isinstance(event, dict):
        raise malformed(PROVIDER, "message")
    if event.get("type") in tuple(_NOT_ABOUT_MAIL):
        return ()
    return (_event(event, record),)


def _event(event: dict[str, Any], record: dict[str, Any]) -> ProviderEvent:
    word = text(event.get("type")) or ""
    kind, reason = _EVENTS.get(word, (EventType.UNKNOWN, None))
    headers = _headers(event)
    metadata = labels(_json(headers.get(METADATA_HEADER.lower())))
    own_id = text(event.get("id")) or text(record.get("MessageId"))
    return ProviderEvent(
        type=kind,
        occurred_at=from_iso(event.get("created_at")),
        provider=PROVIDER,
        provider_event_id=own_id or _id_of(event, word),
        provider_message_ids=texts(event.get("email_id")),
        recipient=text(event.get("email_to")),
        reject_reason=reason,
        is_permanent=kind is EventType.BOUNCED,
        word=word or None,
        mta_response=_reply(event),
        tags=texts(sequence(_json(headers.get(TAGS_HEADER.lower())))),
        metadata=without_token(metadata),
        delivery_token=token_in({TOKEN_KEY: text(headers.get(TOKEN_HEADER.lower())) or ""}),
    )


def _headers(event: dict[str, Any]) -> dict[str, Any]:
    fields = map(mapping, sequence(event.get("email_headers"))[:_HEADERS_MAX])
    return {str(text(one.get("name"))).lower(): one.get("value") for one in fields}


def _json(value: Any) -> Any:
    """Return what a header field says, or None: whoever sends by SMTP writes what he likes."""
    if not isinstance(value, str):
        return None
    try:
        return parse_json(value, provider=PROVIDER)
    except SignatureError:
        return None


def _reply(event: dict[str, Any]) -> str | None:
    code, said = (text(event.get(f"email_response_{part}")) for part in ("code", "message"))
    return " ".join(one for one in (code, said) if one) or text(event.get("email_error"))


def _id_of(event: dict[str, Any], word: str) -> str:
    known = (event.get(name) for name in ("email_id", "email_to", "created_at", "email_try_count"))
    return event_id_from(PROVIDER, word, *known)
