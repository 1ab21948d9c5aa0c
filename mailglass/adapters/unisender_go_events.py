"""The events of Unisender Go: grouped by user, or one alone, as the webhook is set.

https://godocs.unisender.ru/web-api-ref#callback-format.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType
from typing import Any, Final

from mailglass.events import EventType, RejectReason
from mailglass.webhook import (
    ProviderEvent,
    event_id_from,
    from_iso,
    labels,
    malformed,
    mapping,
    sequence,
    text,
    texts,
    token_in,
    url_hash,
    without_token,
)

PROVIDER: Final = "unisender_go"
_BATCH_MAX: Final = 10_000
_ABOUT_A_DOMAIN: Final = "transactional_spam_block"
"""Tells that a receiving domain refuses or takes mail of the whole account."""
_ABOUT_MAIL: Final = "transactional_email_status"
_EVENTS: Final = MappingProxyType(
    {
        "sent": EventType.SENT,
        "delivered": EventType.DELIVERED,
        "opened": EventType.OPENED,
        "clicked": EventType.CLICKED,
        "unsubscribed": EventType.UNSUBSCRIBED,
        "subscribed": EventType.SUBSCRIBED,
        "spam": EventType.COMPLAINED,
        "soft_bounced": EventType.DEFERRED,
        "hard_bounced": EventType.BOUNCED,
    }
)
_REASONS: Final = MappingProxyType(
    {
        "err_user_unknown": RejectReason.BOUNCED,
        "err_user_inactive": RejectReason.BOUNCED,
        "err_mailbox_discarded": RejectReason.BOUNCED,
        "err_mailbox_full": RejectReason.BOUNCED,
        "err_too_large": RejectReason.BOUNCED,
        "err_unreachable": RejectReason.BOUNCED,
        "err_skip_letter": RejectReason.BOUNCED,
        "err_domain_inactive": RejectReason.BOUNCED,
        "err_destination_misconfigured": RejectReason.BOUNCED,
        "err_spam_rejected": RejectReason.SPAM,
        "err_spam_skipped": RejectReason.SPAM,
        "err_blacklisted": RejectReason.BLOCKED,
        "err_unsubscribed": RejectReason.UNSUBSCRIBED,
        "err_delivery_failed": RejectReason.OTHER,
        "err_lost": RejectReason.OTHER,
        "err_will_retry": None,
    }
)
_NOT_THE_ADDRESS: Final = frozenset(
    {
        "err_mailbox_full",
        "err_too_large",
        "err_unreachable",
        "err_spam_rejected",
        "err_spam_skipped",
        "err_blacklisted",
        "err_delivery_failed",
        "err_destination_misconfigured",
        "err_lost",
        "err_will_retry",
    }
)
"""Reasons that say nothing of whether the address exists, although the mail itself is given up."""
_LEFT_BEFORE: Final = "err_unsubscribed"
"""Nothing was sent, since the person had unsubscribed: no server has refused the address."""
_GIVEN_UP: Final = frozenset({EventType.BOUNCED, EventType.REJECTED})
_ERROR: Final = "err_"


def events_of(parsed: Any) -> tuple[ProviderEvent, ...]:
    """Return one event a record; a block of a whole domain is none.

    Raises:
        SignatureError: ``malformed_header`` when the body is no object.

    """
    if not isinstance(parsed, dict):
        raise malformed(PROVIDER, "body")
    return tuple(_event(name, record) for name, record in _records(parsed))


def _records(parsed: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    if "events_by_user" not in parsed:
        listed = [(parsed.get("event_name"), parsed)]
    else:
        users = map(mapping, sequence(parsed["events_by_user"]))
        items = [mapping(one) for user in users for one in sequence(user.get("events"))]
        listed = [(one.get("event_name"), mapping(one.get("event_data"))) for one in items]
    for name, record in listed[:_BATCH_MAX]:
        shown = text(name)
        if shown is not None and shown != _ABOUT_A_DOMAIN:
            yield shown, record


def _event(name: str, record: dict[str, Any]) -> ProviderEvent:
    status, info = text(record.get("status")) or "", mapping(record.get("delivery_info"))
    kind = _EVENTS.get(status, EventType.UNKNOWN) if name == _ABOUT_MAIL else EventType.UNKNOWN
    why = text(info.get("delivery_status"))
    if kind is EventType.BOUNCED and why == _LEFT_BEFORE:
        kind = EventType.REJECTED
    metadata = labels(record.get("metadata"))
    clicked = record.get("url") if kind is EventType.CLICKED else None
    return ProviderEvent(
        type=kind,
        occurred_at=from_iso(record.get("event_time")),
        provider=PROVIDER,
        provider_event_id=_id_of(record, name, status, why),
        provider_message_ids=texts(record.get("job_id")),
        recipient=text(record.get("email")),
        reject_reason=_reason(why),
        is_permanent=kind is EventType.COMPLAINED
        or (kind in _GIVEN_UP and why not in _NOT_THE_ADDRESS),
        word=_word(name, status, why),
        description=text(record.get("comment")) or why,
        mta_response=text(info.get("destination_response")),
        metadata=without_token(metadata),
        delivery_token=token_in(metadata),
        click_url=text(clicked),
        click_url_sha256=url_hash(clicked),
        user_agent=text(info.get("user_agent")),
    )


def _reason(why: str | None) -> RejectReason | None:
    if why is None or not why.startswith(_ERROR):
        return None
    return _REASONS.get(why, RejectReason.OTHER)


def _word(name: str, status: str, why: str | None) -> str:
    if name != _ABOUT_MAIL:
        return name
    return f"{status}:{why}" if why else status


def _id_of(record: dict[str, Any], name: str, status: str, why: str | None) -> str:
    known = (record.get(one) for one in ("job_id", "email", "event_time", "url"))
    return event_id_from(PROVIDER, name, status, why, *known)
