"""The events of MailerSend: one a request, under the id of the activity.

https://developers.mailersend.com/api/v1/webhooks.html.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from mailglass.events import EventType, RejectReason
from mailglass.webhook import (
    TOKEN_KEY,
    ProviderEvent,
    event_id_from,
    from_iso,
    mapping,
    text,
    texts,
    token_in,
    url_hash,
)

PROVIDER: Final = "mailersend"
PING: Final = "webhook.test"
OWN_TAG: Final = f"{TOKEN_KEY}-"
"""Before the id of a delivery: a mail of a batch has this tag, since MailerSend returns no id of it."""
_EVENTS: Final = MappingProxyType(
    {
        "sent": EventType.SENT,
        "delivered": EventType.DELIVERED,
        "soft_bounced": EventType.BOUNCED,
        "hard_bounced": EventType.BOUNCED,
        "deferred": EventType.DEFERRED,
        "on_hold": EventType.DEFERRED,
        "suppressed": EventType.REJECTED,
        "opened": EventType.OPENED,
        "opened_unique": EventType.OPENED,
        "clicked": EventType.CLICKED,
        "clicked_unique": EventType.CLICKED,
        "unsubscribed": EventType.UNSUBSCRIBED,
        "spam_complaint": EventType.COMPLAINED,
        "spam_complaints": EventType.COMPLAINED,
    }
)
_REASONS: Final = MappingProxyType(
    {
        "soft_bounced": RejectReason.BOUNCED,
        "hard_bounced": RejectReason.BOUNCED,
        "suppressed": RejectReason.BLOCKED,
        "unsubscribed": RejectReason.UNSUBSCRIBED,
        "spam_complaint": RejectReason.SPAM,
        "spam_complaints": RejectReason.SPAM,
    }
)
_OBJECTS: Final = MappingProxyType(
    {
        "recipient_bounce": RejectReason.BOUNCED,
        "spam_complaint": RejectReason.SPAM,
        "recipient_unsubscribe": RejectReason.UNSUBSCRIBED,
    }
)
"""What the first version names in place of a reason."""
_PERMANENT: Final = frozenset({"hard_bounced", "spam_complaint", "spam_complaints"})
_SAID: Final = ("bounce_reason", "reject_reason", "suppression_reason", "unsubscribe_reason")
_NOT_ABOUT_MAIL: Final = (
    "inbound.",
    "inbound_message.",
    "bulk_email.",
    "sender_identity.",
    "maintenance.",
)
"""What begins like this reports a received mail, a batch, a sender or the service."""
_ACTIVITY: Final = "activity."


def events_of(parsed: Any) -> tuple[ProviderEvent, ...]:
    """Return the one event of a request; a test and what is about no mail of ours have none.

    Both versions of MailerSend's webhooks are read: in the first the mail is an object of its own.
    """
    record = mapping(parsed)
    kind = text(record.get("type")) or ""
    if kind == PING or kind.startswith(_NOT_ABOUT_MAIL):
        return ()
    activity = mapping(record.get("data"))
    if "email" in activity:
        return (_known_by_tag(_first_version(activity, kind)),)
    return (_known_by_tag(_second_version(record, activity, kind)),)


def _first_version(activity: dict[str, Any], kind: str) -> ProviderEvent:
    mail, morph = mapping(activity.get("email")), mapping(activity.get("morph"))
    return _event(
        activity,
        kind,
        moment=activity.get("created_at"),
        message_id=text(mapping(mail.get("message")).get("id")),
        recipient=text(mapping(mail.get("recipient")).get("email")),
        reject_reason=_OBJECTS.get(text(morph.get("object")) or ""),
        description=text(morph.get("readable_reason")) or text(morph.get("reason")),
        tags=texts(mail.get("tags")),
        detail=morph,
    )


def _second_version(record: dict[str, Any], activity: dict[str, Any], kind: str) -> ProviderEvent:
    meta = mapping(activity.get("meta"))
    return _event(
        activity,
        kind,
        moment=record.get("created_at"),
        message_id=text(activity.get("message_id")),
        recipient=text(activity.get("recipient")),
        reject_reason=_REASONS.get(_word(activity, kind)),
        description=next((text(meta[name]) for name in _SAID if meta.get(name)), None),
        mta_response=text(meta.get("bounce_code")),
        tags=texts(activity.get("tags")),
        detail=meta,
    )


def _known_by_tag(event: ProviderEvent) -> ProviderEvent:
    """Return an event with our own id, which comes back as a tag, apart from the author's tags."""
    own = [tag for tag in event.tags if tag.startswith(OWN_TAG)]
    if not own:
        return event
    return replace(
        event,
        tags=tuple(tag for tag in event.tags if tag not in own),
        delivery_token=token_in({TOKEN_KEY: own[0].removeprefix(OWN_TAG)}),
    )


def _word(activity: dict[str, Any], kind: str) -> str:
    return text(activity.get("type")) or kind.removeprefix(_ACTIVITY)


def _event(  # noqa: PLR0913 - what the two versions keep in different places
    activity: dict[str, Any],
    kind: str,
    *,
    moment: Any,
    message_id: str | None,
    recipient: str | None,
    detail: dict[str, Any],
    **found: Any,
) -> ProviderEvent:
    word, clicked = _word(activity, kind), detail.get("url")
    return ProviderEvent(
        type=_EVENTS.get(word, EventType.UNKNOWN),
        occurred_at=from_iso(moment),
        provider=PROVIDER,
        provider_event_id=text(activity.get("id"))
        or event_id_from(PROVIDER, word, message_id, recipient, moment, clicked),
        provider_message_ids=texts(message_id),
        recipient=recipient,
        is_permanent=word in _PERMANENT,
        word=word or None,
        click_url=text(clicked),
        click_url_sha256=url_hash(clicked),
        user_agent=text(detail.get("user_agent")),
        **found,
    )
