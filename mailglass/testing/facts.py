"""What each provider writes when it reports a fact: its words and the shape of its webhooks.

Each adapter names the page of its provider that describes them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from mailglass.events import EventType
from mailglass.webhook import TOKEN_KEY


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """What a provider is to report: ``is_permanent`` tells a hard bounce, ``url`` what was clicked."""

    event: EventType
    recipient: str = field(repr=False)
    delivery_id: UUID | None
    message_id: str
    event_id: str
    at: datetime
    is_permanent: bool
    url: str = field(repr=False)

    @property
    def token(self) -> dict[str, str]:
        """Return the metadata by which the delivery is found again."""
        return {TOKEN_KEY: str(self.delivery_id)} if self.delivery_id else {}

    @property
    def seconds(self) -> int:
        """Return the time as whole seconds since 1970."""
        return int(self.at.timestamp())

    @property
    def iso(self) -> str:
        """Return the time as ISO 8601 in UTC."""
        return self.at.astimezone(UTC).isoformat()


_Words = Mapping[EventType, str]
_SOFT: Final = EventType.BOUNCED
"""A soft bounce has a word of its own with most providers."""


def _words(soft: str | None = None, **given: str) -> Callable[[Fact], str]:
    """Return what finds the provider's word for a fact; ``soft`` is that for a soft bounce."""
    known: _Words = MappingProxyType({EventType(name): word for name, word in given.items()})

    def word(fact: Fact) -> str:
        is_soft = fact.event is _SOFT and not fact.is_permanent
        found = soft if is_soft else known.get(fact.event)
        if found is None:
            raise ValueError(f"the provider reports no such {fact.event.value}")
        return found

    return word


_BREVO: Final = _words(
    "soft_bounce", delivered="delivered", bounced="hard_bounce", deferred="deferred",
    complained="spam", rejected="blocked", opened="opened", clicked="click",
    unsubscribed="unsubscribed", failed="error",
)  # fmt: skip


def _brevo(fact: Fact) -> object:
    return {
        "event": _BREVO(fact),
        "email": fact.recipient,
        "message-id": fact.message_id,
        "ts_epoch": fact.seconds * 1000,
        "X-Mailin-custom": json.dumps(fact.token),
        **_clicked(fact, "link"),
    }


_MAILERSEND: Final = _words(
    "soft_bounced", sent="sent", delivered="delivered", bounced="hard_bounced",
    deferred="deferred", complained="spam_complaint", rejected="suppressed", opened="opened",
    clicked="clicked", unsubscribed="unsubscribed",
)  # fmt: skip


def _mailersend(fact: Fact) -> object:
    word = _MAILERSEND(fact)
    mail = {"message": {"id": fact.message_id}, "recipient": {"email": fact.recipient}}
    return {
        "type": f"activity.{word}",
        "data": {
            "id": fact.event_id,
            "type": word,
            "created_at": fact.iso,
            "email": mail,
            "morph": _clicked(fact, "url"),
        },
    }


_MAILGUN: Final = _words(
    "failed", delivered="delivered", bounced="failed", deferred="failed",
    complained="complained", rejected="rejected", opened="opened", clicked="clicked",
    unsubscribed="unsubscribed",
)  # fmt: skip


def _mailgun(fact: Fact) -> dict[str, Any]:
    """Return the event alone; the signature beside it is made over its time and token."""
    told = {
        "event": _MAILGUN(fact),
        "id": fact.event_id,
        "timestamp": fact.seconds,
        "recipient": fact.recipient,
        "message": {"headers": {"message-id": fact.message_id}},
        "user-variables": fact.token,
        **_clicked(fact, "url"),
    }
    if fact.event is EventType.DEFERRED:
        return told | {"severity": "temporary", "reason": "generic"}
    if fact.event is EventType.BOUNCED:
        reason = "bounce" if fact.is_permanent else "generic"
        return told | {"severity": "permanent", "reason": reason}
    return told


_MAILJET: Final = _words(
    "bounce", delivered="sent", bounced="bounce", deferred="bounce", complained="spam",
    rejected="blocked", opened="open", clicked="click", unsubscribed="unsub",
)  # fmt: skip


def _mailjet(fact: Fact) -> object:
    told = {
        "event": _MAILJET(fact),
        "time": fact.seconds,
        "email": fact.recipient,
        "MessageID": fact.message_id,
        "CustomID": fact.token.get(TOKEN_KEY, ""),
        **_clicked(fact, "url"),
    }
    if fact.event is EventType.DEFERRED:
        return told | {"hard_bounce": False, "error": "greylisted"}
    if fact.event is EventType.BOUNCED:
        error = "user unknown" if fact.is_permanent else "quota exceeded"
        return told | {"hard_bounce": fact.is_permanent, "error": error}
    return told


_MAILTRAP: Final = _words(
    "bounce", delivered="delivery", bounced="bounce", deferred="soft bounce", complained="spam",
    rejected="reject", opened="open", clicked="click", unsubscribed="unsubscribe",
)  # fmt: skip


def _mailtrap(fact: Fact) -> object:
    event = {
        "event": _MAILTRAP(fact),
        "event_id": fact.event_id,
        "timestamp": fact.seconds,
        "email": fact.recipient,
        "message_id": fact.message_id,
        "custom_variables": fact.token,
        **_clicked(fact, "url"),
    }
    if fact.event is EventType.BOUNCED:
        said = "550 5.1.1 user unknown" if fact.is_permanent else "452 4.2.2 mailbox full"
        event["response"] = said
    return {"events": [event]}


_MANDRILL: Final = _words(
    "soft_bounce", sent="send", delivered="delivered", bounced="hard_bounce",
    deferred="deferral", complained="spam", rejected="reject", opened="open", clicked="click",
    unsubscribed="unsub",
)  # fmt: skip


def _mandrill(fact: Fact) -> object:
    sent = {"email": fact.recipient, "_id": fact.message_id, "metadata": fact.token}
    word = _MANDRILL(fact)
    return [
        {"event": word, "ts": fact.seconds, "_id": fact.message_id, "msg": sent}
        | _clicked(fact, "url")
    ]


_POSTAL: Final = _words(
    "MessageBounced", delivered="MessageSent", bounced="MessageBounced",
    deferred="MessageDelayed", failed="MessageDeliveryFailed", opened="MessageLoaded",
    clicked="MessageLinkClicked",
)  # fmt: skip
_POSTAL_STATUS: Final = MappingProxyType(
    {
        EventType.DELIVERED: {"status": "Sent"},
        EventType.DEFERRED: {"status": "SoftFail"},
        EventType.FAILED: {"status": "HardFail"},
    }
)


def _postal(fact: Fact) -> object:
    mail = {"id": fact.message_id, "to": fact.recipient, "direction": "outgoing"}
    payload: dict[str, Any] = {"message": mail, **_POSTAL_STATUS.get(fact.event, {})}
    if fact.event is EventType.BOUNCED:
        payload = {"original_message": mail, "bounce": {"direction": "incoming"}}
    return {
        "event": _POSTAL(fact),
        "timestamp": fact.seconds,
        "uuid": fact.event_id,
        "payload": payload | _clicked(fact, "url"),
    }


_POSTMARK: Final = _words(
    "SoftBounce", delivered="Delivery", bounced="HardBounce", deferred="Transient",
    complained="SpamComplaint", rejected="BadEmailAddress", opened="Open", clicked="Click",
    unsubscribed="SubscriptionChange",
)  # fmt: skip
_POSTMARK_BOUNCES: Final = frozenset({EventType.BOUNCED, EventType.DEFERRED, EventType.REJECTED})
_POSTMARK_TIMES: Final = MappingProxyType(
    {
        EventType.DELIVERED: "DeliveredAt",
        EventType.OPENED: "ReceivedAt",
        EventType.CLICKED: "ReceivedAt",
        EventType.UNSUBSCRIBED: "ChangedAt",
    }
)


def _postmark(fact: Fact) -> object:
    word, is_bounce = _POSTMARK(fact), fact.event in _POSTMARK_BOUNCES
    told = {
        "RecordType": "Bounce" if is_bounce else word,
        "MessageID": fact.message_id,
        "Email" if is_bounce else "Recipient": fact.recipient,
        _POSTMARK_TIMES.get(fact.event, "BouncedAt"): fact.iso,
        "Metadata": fact.token,
        **_clicked(fact, "OriginalLink"),
    }
    if is_bounce:
        return told | {"Type": word, "ID": fact.event_id}
    if fact.event is EventType.UNSUBSCRIBED:
        return told | {"SuppressSending": True, "SuppressionReason": "ManualSuppression"}
    return told


_RESEND: Final = _words(
    "email.bounced", sent="email.sent", delivered="email.delivered", bounced="email.bounced",
    deferred="email.delivery_delayed", complained="email.complained", opened="email.opened",
    clicked="email.clicked", failed="email.failed", rejected="email.suppressed",
)  # fmt: skip


def _resend(fact: Fact) -> object:
    mail: dict[str, Any] = {
        "email_id": fact.message_id,
        "to": [fact.recipient],
        "tags": fact.token,
        "click": _clicked(fact, "link"),
    }
    if fact.event is EventType.BOUNCED:
        kind = "Permanent" if fact.is_permanent else "Transient"
        mail["bounce"] = {"type": kind, "subType": "General"}
    return {"type": _RESEND(fact), "created_at": fact.iso, "data": mail}


_SCALEWAY: Final = _words(
    delivered="email_delivered", bounced="email_mailbox_not_found", deferred="email_deferred",
    rejected="email_blocklisted",
)  # fmt: skip


def _scaleway(fact: Fact) -> object:
    token = fact.token.get(TOKEN_KEY, "")
    return {
        "type": _SCALEWAY(fact),
        "id": fact.event_id,
        "created_at": fact.iso,
        "email_id": fact.message_id,
        "email_to": fact.recipient,
        "email_headers": [{"name": "X-Mailglass-Delivery", "value": token}],
    }


_SENDGRID: Final = _words(
    "bounce", delivered="delivered", bounced="bounce", deferred="deferred",
    complained="spamreport", rejected="dropped", opened="open", clicked="click",
    unsubscribed="unsubscribe",
)  # fmt: skip


def _sendgrid(fact: Fact) -> object:
    told: dict[str, Any] = {
        "event": _SENDGRID(fact),
        "email": fact.recipient,
        "timestamp": fact.seconds,
        "sg_event_id": fact.event_id,
        "sg_message_id": f"{fact.message_id}.recvd.1.0",
        **fact.token,
        **_clicked(fact, "url"),
    }
    if fact.event is EventType.BOUNCED:
        status = "5.1.1" if fact.is_permanent else "4.2.2"
        told |= {"type": "bounce", "status": status}
    if fact.event is EventType.REJECTED:
        told["reason"] = "Invalid"
    return [told]


_SES: Final = _words(
    "Bounce", sent="Send", delivered="Delivery", bounced="Bounce", deferred="DeliveryDelay",
    complained="Complaint", rejected="Reject", opened="Open", clicked="Click",
    failed="Rendering Failure", unsubscribed="Subscription",
)  # fmt: skip


def _amazon_ses(fact: Fact) -> object:
    about = [{"emailAddress": fact.recipient}]
    tags = {name: [value] for name, value in fact.token.items()}
    details: dict[EventType, dict[str, Any]] = {
        EventType.BOUNCED: {
            "bounce": {
                "bounceType": "Permanent" if fact.is_permanent else "Transient",
                "bouncedRecipients": about,
            }
        },
        EventType.COMPLAINED: {"complaint": {"complainedRecipients": about}},
        EventType.DEFERRED: {"deliveryDelay": {"delayedRecipients": about}},
        EventType.CLICKED: {"click": _clicked(fact, "link")},
        EventType.UNSUBSCRIBED: {"subscription": {"newTopicPreferences": {"unsubscribeAll": True}}},
    }
    mail = {"messageId": fact.message_id, "destination": [fact.recipient], "tags": tags}
    return {"eventType": _SES(fact), "mail": mail, **details.get(fact.event, {})}


_SPARKPOST: Final = _words(
    "bounce", delivered="delivery", bounced="bounce", deferred="delay",
    complained="spam_complaint", rejected="policy_rejection", opened="open", clicked="click",
    unsubscribed="list_unsubscribe", failed="generation_failure",
)  # fmt: skip


def _sparkpost(fact: Fact) -> object:
    told: dict[str, Any] = {
        "type": _SPARKPOST(fact),
        "event_id": fact.event_id,
        "timestamp": str(fact.seconds),
        "rcpt_to": fact.recipient,
        "transmission_id": fact.message_id,
        "rcpt_meta": fact.token,
        **_clicked(fact, "target_link_url"),
    }
    if fact.event is EventType.BOUNCED:
        told["bounce_class"] = "10" if fact.is_permanent else "20"
    return [{"msys": {"message_event": told}}]


_UNISENDER_GO: Final = _words(
    "hard_bounced", sent="sent", delivered="delivered", bounced="hard_bounced",
    deferred="soft_bounced", complained="spam", opened="opened", clicked="clicked",
    unsubscribed="unsubscribed",
)  # fmt: skip


def _unisender_go(fact: Fact) -> dict[str, Any]:
    """Return the body but for its signature, which stands in it."""
    told: dict[str, Any] = {
        "job_id": fact.message_id,
        "email": fact.recipient,
        "status": _UNISENDER_GO(fact),
        "event_time": fact.at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S"),
        "metadata": fact.token,
        **_clicked(fact, "url"),
    }
    if fact.event is EventType.BOUNCED:
        why = "err_user_unknown" if fact.is_permanent else "err_mailbox_full"
        told["delivery_info"] = {"delivery_status": why}
    name = "transactional_email_status"
    return {"events_by_user": [{"events": [{"event_name": name, "event_data": told}]}]}


FOUND_BY_MESSAGE: Final = frozenset({"mailersend", "postal"})
"""These bring no metadata back, so that their own id is all that leads to a delivery."""


def _clicked(fact: Fact, name: str) -> dict[str, str]:
    return {name: fact.url} if fact.event is EventType.CLICKED else {}


WRITERS: Final[Mapping[str, Callable[[Fact], object]]] = MappingProxyType(
    {
        "amazon_ses": _amazon_ses,
        "brevo": _brevo,
        "mailersend": _mailersend,
        "mailgun": _mailgun,
        "mailjet": _mailjet,
        "mailtrap": _mailtrap,
        "mandrill": _mandrill,
        "postal": _postal,
        "postmark": _postmark,
        "resend": _resend,
        "scaleway": _scaleway,
        "sendgrid": _sendgrid,
        "sparkpost": _sparkpost,
        "unisender_go": _unisender_go,
    }
)
"""Each returns what is written as JSON; it raises ValueError for what its provider does not report."""
