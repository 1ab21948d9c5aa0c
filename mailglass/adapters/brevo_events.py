"""The events of Brevo: one a request, or several where the webhook is set to gather them.

https://developers.brevo.com/docs/transactional-webhooks.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Final

from mailglass.errors import SignatureError
from mailglass.events import EventType, RejectReason
from mailglass.webhook import (
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

PROVIDER: Final = "brevo"
METADATA: Final = "X-Mailin-custom"
_BATCH_MAX: Final = 10_000
"""Brevo gathers 500 at most."""
_EVENTS: Final = MappingProxyType(
    {
        "request": EventType.QUEUED,
        "sent": EventType.QUEUED,
        "delivered": EventType.DELIVERED,
        "hardbounce": EventType.BOUNCED,
        "softbounce": EventType.BOUNCED,
        "invalid": EventType.BOUNCED,
        "invalidemail": EventType.BOUNCED,
        "blocked": EventType.REJECTED,
        "spam": EventType.COMPLAINED,
        "complaint": EventType.COMPLAINED,
        "deferred": EventType.DEFERRED,
        "opened": EventType.OPENED,
        "uniqueopened": EventType.OPENED,
        "proxyopen": EventType.OPENED,
        "uniqueproxyopen": EventType.OPENED,
        "click": EventType.CLICKED,
        "unsubscribe": EventType.UNSUBSCRIBED,
        "unsubscribed": EventType.UNSUBSCRIBED,
        "listaddition": EventType.SUBSCRIBED,
        "error": EventType.FAILED,
    }
)
"""Brevo's words without their underscores and capitals: its pages write them in two ways."""
_REASONS: Final = MappingProxyType(
    {
        "hardbounce": RejectReason.BOUNCED,
        "softbounce": RejectReason.BOUNCED,
        "invalid": RejectReason.INVALID,
        "invalidemail": RejectReason.INVALID,
        "blocked": RejectReason.BLOCKED,
        "spam": RejectReason.SPAM,
        "complaint": RejectReason.SPAM,
    }
)
_PERMANENT: Final = frozenset({"hardbounce", "invalid", "invalidemail", "spam", "complaint"})
_BY_MACHINES: Final = frozenset({"proxyopen", "uniqueproxyopen"})
_UNSUBSCRIBED: Final = "unsubscribed user"


def events_of(parsed: Any) -> tuple[ProviderEvent, ...]:
    """Return the events of a body: one record, or an array of them."""
    batch = parsed if isinstance(parsed, list) else [parsed]
    records = [one for one in batch[:_BATCH_MAX] if isinstance(one, dict)]
    return tuple(_event(one) for one in records if "items" not in one)


def _event(record: dict[str, Any]) -> ProviderEvent:
    word = text(record.get("event")) or ""
    plain = word.replace("_", "").lower()
    kind = _EVENTS.get(plain, EventType.UNKNOWN)
    metadata = _metadata(record)
    recipient, message_id = text(record.get("email")), text(record.get("message-id"))
    reason, clicked = text(record.get("reason")), record.get("link")
    moment = record.get("ts_epoch")
    return ProviderEvent(
        type=kind,
        occurred_at=from_unix(moment, per_second=1000),
        provider=PROVIDER,
        provider_event_id=event_id_from(
            PROVIDER, word, message_id, recipient, moment, record.get("ts_event"), clicked
        ),
        provider_message_ids=texts(message_id),
        recipient=recipient,
        reject_reason=_reason(plain, reason),
        is_permanent=plain in _PERMANENT,
        word=word or None,
        mta_response=reason,
        tags=_tags(record),
        metadata=without_token(metadata),
        delivery_token=token_in(metadata),
        click_url=text(clicked),
        click_url_sha256=url_hash(clicked),
        user_agent=text(record.get("user_agent")),
        is_machine=plain in _BY_MACHINES,
    )


def _reason(plain: str, said: str | None) -> RejectReason | None:
    if plain == "blocked" and said is not None and _UNSUBSCRIBED in said.lower():
        return RejectReason.UNSUBSCRIBED
    return _REASONS.get(plain)


def _metadata(record: dict[str, Any]) -> dict[str, str]:
    """Return the author's metadata; a header that is no JSON object is kept as the text it is."""
    shown = record.get(METADATA)
    if not isinstance(shown, str):
        return labels(shown)
    try:
        parsed = parse_json(shown, provider=PROVIDER)
    except SignatureError:
        parsed = None
    if isinstance(parsed, dict):
        return labels(parsed)
    return labels({METADATA: shown}) if shown else {}


def _tags(record: dict[str, Any]) -> tuple[str, ...]:
    """Return the tags, which older events have as one text: a tag, or the JSON of several."""
    if record.get("tags"):
        return texts(record["tags"])
    one = record.get("tag")
    if isinstance(one, str) and one.startswith("["):
        try:
            return texts(parse_json(one, provider=PROVIDER))
        except SignatureError:
            return texts(one)
    return texts(one)
