"""The events of Amazon SES: one a recipient, in the words of event publishing and of notifications.

https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Final

from mailglass.adapters.amazon_ses_sns import PROVIDER
from mailglass.errors import SignatureError
from mailglass.events import EventType, RejectReason
from mailglass.webhook import (
    TOKEN_KEY,
    ProviderEvent,
    from_iso,
    labels,
    mapping,
    parse_json,
    sequence,
    text,
    texts,
    token_in,
    url_hash,
)

_EVENTS: Final = MappingProxyType(
    {
        "Send": (EventType.SENT, None, "send"),
        "Delivery": (EventType.DELIVERED, None, "delivery"),
        "Bounce": (EventType.BOUNCED, RejectReason.BOUNCED, "bounce"),
        "Complaint": (EventType.COMPLAINED, RejectReason.SPAM, "complaint"),
        "Reject": (EventType.REJECTED, RejectReason.BLOCKED, "reject"),
        "Open": (EventType.OPENED, None, "open"),
        "Click": (EventType.CLICKED, None, "click"),
        "Rendering Failure": (EventType.FAILED, None, "failure"),
        "DeliveryDelay": (EventType.DEFERRED, None, "deliveryDelay"),
        "Subscription": (EventType.UNSUBSCRIBED, RejectReason.UNSUBSCRIBED, "subscription"),
    }
)
"""Each word, what it means, and the key under which its details stand."""
_RECIPIENTS: Final = MappingProxyType(
    {
        "bounce": "bouncedRecipients",
        "complaint": "complainedRecipients",
        "deliveryDelay": "delayedRecipients",
    }
)
_NO_COMPLAINTS: Final = ("not-spam", "auth-failure")
"""Feedback reports (RFC 5965, RFC 6591) that come as complaints and in which no reader complains."""
_INBOUND: Final = "Received"
_OFF: Final = "OptOut"
_LISTS_MAX: Final = 1_000


def events_of(record: dict[str, Any]) -> tuple[ProviderEvent, ...]:
    """Return the events in an SNS message; a plain text, such as SES's first message, has none."""
    if record.get("Type") != "Notification":
        return ()
    inner = record.get("Message")
    if not isinstance(inner, str) or not inner.lstrip().startswith("{"):
        return ()
    try:
        notice = mapping(parse_json(inner, provider=PROVIDER))
    except SignatureError:
        return (_unreadable(record),)
    word = text(notice.get("eventType")) or text(notice.get("notificationType")) or ""
    if not word or word == _INBOUND:
        return ()
    kind, reason, key = _EVENTS.get(word, (EventType.UNKNOWN, None, ""))
    detail = mapping(notice.get(key))
    if word == "Subscription" and not _leaves(detail):
        kind, reason = EventType.SUBSCRIBED, None
    if word == "Complaint" and detail.get("complaintFeedbackType") in _NO_COMPLAINTS:
        kind, reason = EventType.UNKNOWN, None
    return tuple(
        _event(record, notice, detail, kind=kind, reason=reason, word=word, key=key, about=about)
        for about in _recipients(notice, detail, key)
    )


def _event(  # noqa: PLR0913 - what the notice says, taken apart once for all recipients
    record: dict[str, Any],
    notice: dict[str, Any],
    detail: dict[str, Any],
    *,
    kind: EventType,
    reason: RejectReason | None,
    word: str,
    key: str,
    about: dict[str, Any],
) -> ProviderEvent:
    """Return the event of one recipient."""
    mail = mapping(notice.get("mail"))
    tags, metadata = _labels(mail)
    token = token_in({TOKEN_KEY: next(iter(texts(mapping(mail.get("tags")).get(TOKEN_KEY))), "")})
    return ProviderEvent(
        type=kind,
        occurred_at=from_iso(record.get("Timestamp")),
        provider=PROVIDER,
        provider_event_id=text(record.get("MessageId")) or "",
        provider_message_ids=texts(mail.get("messageId")),
        recipient=text(about.get("emailAddress")),
        reject_reason=reason,
        is_permanent=kind is EventType.COMPLAINED
        or (key == "bounce" and detail.get("bounceType") == "Permanent"),
        word=word or None,
        description=_description(detail, key),
        mta_response=text(about.get("diagnosticCode")) or text(detail.get("smtpResponse")),
        tags=tags,
        metadata=MappingProxyType(metadata),
        delivery_token=token,
        click_url=text(detail.get("link")),
        click_url_sha256=url_hash(detail.get("link")),
        user_agent=text(detail.get("userAgent")),
    )


def _unreadable(record: dict[str, Any]) -> ProviderEvent:
    return ProviderEvent(
        type=EventType.UNKNOWN,
        occurred_at=from_iso(record.get("Timestamp")),
        provider=PROVIDER,
        provider_event_id=text(record.get("MessageId")) or "",
    )


def _recipients(notice: dict[str, Any], detail: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """Return whom the notice is about: opens and clicks do not say, so all whom the mail went to."""
    named = sequence(detail.get(_RECIPIENTS.get(key, "")))
    if named:
        return [mapping(one) for one in named[:_LISTS_MAX]]
    delivered = sequence(detail.get("recipients"))
    everyone = sequence(mapping(notice.get("mail")).get("destination"))
    found = [{"emailAddress": one} for one in (delivered or everyone)[:_LISTS_MAX]]
    return found or [{}]


def _labels(mail: dict[str, Any]) -> tuple[tuple[str, ...], dict[str, str]]:
    tags: list[str] = []
    metadata: dict[str, str] = {}
    for header in sequence(mail.get("headers"))[:_LISTS_MAX]:
        name = str(mapping(header).get("name")).lower()
        value = text(mapping(header).get("value"))
        if name == "x-tag" and value:
            tags.append(value)
        if name == "x-metadata" and value and not metadata:
            try:
                metadata = labels(parse_json(value, provider=PROVIDER))
            except SignatureError:
                metadata = {"X-Metadata": value}
    return tuple(tags), metadata


def _description(detail: dict[str, Any], key: str) -> str | None:
    match key:
        case "bounce":
            return text(": ".join(texts([detail.get("bounceType"), detail.get("bounceSubType")])))
        case "complaint":
            return text(detail.get("complaintFeedbackType"))
        case "reject":
            return text(detail.get("reason"))
        case "failure":
            return text(detail.get("errorMessage"))
        case "deliveryDelay":
            return text(detail.get("delayType"))
        case _:
            return None


def _leaves(detail: dict[str, Any]) -> bool:
    """Tell whether something is left that was not left before: both states list every topic."""
    now = mapping(detail.get("newTopicPreferences"))
    before = mapping(detail.get("oldTopicPreferences"))
    return now.get("unsubscribeAll") is True or bool(_left(now) - _left(before))


def _left(preferences: dict[str, Any]) -> set[str | None]:
    choices = map(mapping, sequence(preferences.get("topicSubscriptionStatus"))[:_LISTS_MAX])
    return {text(one.get("topicName")) for one in choices if one.get("subscriptionStatus") == _OFF}
