"""The events of Mandrill (Mailchimp Transactional): an array in one field of a form.

https://mailchimp.com/developer/transactional/docs/webhooks/.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Final

from mailglass.events import EventType, RejectReason
from mailglass.webhook import (
    ProviderEvent,
    event_id_from,
    from_unix,
    labels,
    mapping,
    sequence,
    text,
    texts,
    token_in,
    url_hash,
    without_token,
)

PROVIDER: Final = "mandrill"
_BATCH_MAX: Final = 10_000
"""Mandrill sends 1,000 at most."""
_EVENTS: Final = MappingProxyType(
    {
        "send": EventType.SENT,
        "delivered": EventType.DELIVERED,
        "deferral": EventType.DEFERRED,
        "hard_bounce": EventType.BOUNCED,
        "soft_bounce": EventType.BOUNCED,
        "open": EventType.OPENED,
        "click": EventType.CLICKED,
        "spam": EventType.COMPLAINED,
        "unsub": EventType.UNSUBSCRIBED,
        "reject": EventType.REJECTED,
    }
)
_INBOUND: Final = "inbound"
_PERMANENT: Final = frozenset({"hard_bounce", "spam"})
_REASONS: Final = MappingProxyType(
    {
        "hard-bounce": RejectReason.BOUNCED,
        "soft-bounce": RejectReason.BOUNCED,
        "spam": RejectReason.SPAM,
        "unsub": RejectReason.UNSUBSCRIBED,
        "custom": RejectReason.BLOCKED,
        "rule": RejectReason.BLOCKED,
        "unsigned": RejectReason.BLOCKED,
        "invalid-sender": RejectReason.OTHER,
        "test-mode-limit": RejectReason.OTHER,
        "invalid": RejectReason.INVALID,
    }
)


def events_of(batch: Any) -> tuple[ProviderEvent, ...]:
    """Return the events of a batch; a received mail is none of them."""
    records = [one for one in sequence(batch)[:_BATCH_MAX] if isinstance(one, dict)]
    return tuple(_event(one) for one in records if one.get("event") != _INBOUND)


def reason_of(word: str | None) -> RejectReason | None:
    """Return what Mandrill's word for a refusal means; an unknown word is ``other``."""
    return None if not word else _REASONS.get(word, RejectReason.OTHER)


def _event(record: dict[str, Any]) -> ProviderEvent:
    sent, reject = mapping(record.get("msg")), mapping(record.get("reject"))
    word = text(record.get("event")) or text(record.get("type")) or ""
    kind = _EVENTS.get(word, EventType.UNKNOWN)
    metadata = labels(sent.get("metadata"))
    recipient = text(sent.get("email")) or text(reject.get("email"))
    detail = text(sent.get("bounce_description"))
    clicked = record.get("url") if kind is EventType.CLICKED else None
    message_id = text(sent.get("_id")) or text(record.get("_id"))
    return ProviderEvent(
        type=kind,
        occurred_at=from_unix(record.get("ts")),
        provider=PROVIDER,
        provider_event_id=event_id_from(
            PROVIDER, word, record.get("action"), message_id, record.get("ts"), recipient, clicked
        ),
        provider_message_ids=texts(message_id),
        recipient=recipient,
        reject_reason=_reject_reason(kind, sent),
        is_permanent=word in _PERMANENT,
        word=f"{word}:{detail}" if detail else word or None,
        description=text(reject.get("reason")),
        mta_response=_mta_response(sent),
        tags=texts(sent.get("tags")),
        metadata=without_token(metadata),
        delivery_token=token_in(metadata),
        click_url=text(clicked),
        click_url_sha256=url_hash(clicked),
        user_agent=text(record.get("user_agent")),
        is_machine=_is_robot(record),
    )


def _reject_reason(kind: EventType, sent: dict[str, Any]) -> RejectReason | None:
    if kind is not EventType.REJECTED:
        return None
    reject = sent.get("reject")
    return reason_of(text(mapping(reject).get("reason")) or text(reject))


def _mta_response(sent: dict[str, Any]) -> str | None:
    """Return the last reply of the receiving server; a bounce has it apart from the others."""
    last = sequence(sent.get("smtp_events"))[-1:]
    return text(sent.get("diag")) or text(mapping(last[0]).get("diag") if last else None)


def _is_robot(record: dict[str, Any]) -> bool:
    kind = text(mapping(record.get("user_agent_parsed")).get("type")) or ""
    return kind.lower() == "robot"
