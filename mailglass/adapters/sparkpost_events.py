"""The events of SparkPost: a batch of records, each under the class and type it belongs to.

https://developers.sparkpost.com/api/webhooks/ and, for the bounce classes,
https://support.sparkpost.com/docs/deliverability/bounce-classification-codes.
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

PROVIDER: Final = "sparkpost"
_BATCH_MAX: Final = 10_000
_EVENTS: Final = MappingProxyType(
    {
        "injection": EventType.QUEUED,
        "delivery": EventType.DELIVERED,
        "delay": EventType.DEFERRED,
        "bounce": EventType.BOUNCED,
        "out_of_band": EventType.BOUNCED,
        "policy_rejection": EventType.REJECTED,
        "spam_complaint": EventType.COMPLAINED,
        "generation_failure": EventType.FAILED,
        "generation_rejection": EventType.REJECTED,
        "click": EventType.CLICKED,
        "amp_click": EventType.CLICKED,
        "open": EventType.OPENED,
        "amp_open": EventType.OPENED,
        "list_unsubscribe": EventType.UNSUBSCRIBED,
        "link_unsubscribe": EventType.UNSUBSCRIBED,
    }
)
_FIRST_OPENS: Final = frozenset({"initial_open", "amp_initial_open"})
"""The first of two pixels; the last one brings ``open``, so these are opens only when asked for."""
_NOT_ABOUT_MAIL: Final = frozenset({"relay_message", "ab_test_event", "ingest_event"})
"""Classes that report a received mail, a test or an upload: no delivery is meant."""
_BOUNCED: Final = frozenset({EventType.BOUNCED})
_REASONS: Final = MappingProxyType(
    {
        "1": RejectReason.OTHER,
        "10": RejectReason.INVALID,
        "20": RejectReason.BOUNCED,
        "21": RejectReason.BOUNCED,
        "22": RejectReason.BOUNCED,
        "23": RejectReason.BOUNCED,
        "24": RejectReason.TIMED_OUT,
        "25": RejectReason.BLOCKED,
        "26": RejectReason.BLOCKED,
        "30": RejectReason.BOUNCED,
        "40": RejectReason.BOUNCED,
        "50": RejectReason.BLOCKED,
        "51": RejectReason.SPAM,
        "52": RejectReason.SPAM,
        "53": RejectReason.OTHER,
        "54": RejectReason.BLOCKED,
        "70": RejectReason.BOUNCED,
        "90": RejectReason.UNSUBSCRIBED,
    }
)
_NOT_BOUNCES: Final = MappingProxyType(
    {
        "60": EventType.AUTORESPONDED,
        "80": EventType.SUBSCRIBED,
        "90": EventType.UNSUBSCRIBED,
        "100": EventType.AUTORESPONDED,
    }
)
"""Mails that came back without being bounces: an automatic reply, a request to join or to leave."""
_HARD: Final = frozenset({"10", "30"})
"""The classes that SparkPost itself calls hard; all others are soft, blocks or its own policy."""


def events_of(batch: list[Any], *, first_open_is_open: bool) -> tuple[ProviderEvent, ...]:
    """Return the events of a batch; an empty record is SparkPost's ping and has none."""
    found = []
    for entry in batch[:_BATCH_MAX]:
        for group, record in mapping(mapping(entry).get("msys")).items():
            if isinstance(record, dict) and group not in _NOT_ABOUT_MAIL:
                found.append(_event(record, first_open_is_open=first_open_is_open))
    return tuple(found)


def _event(record: dict[str, Any], *, first_open_is_open: bool) -> ProviderEvent:
    word = text(record.get("type")) or ""
    bounce_class = text(record.get("bounce_class")) or ""
    kind = _EVENTS.get(word, EventType.UNKNOWN)
    if word in _FIRST_OPENS and first_open_is_open:
        kind = EventType.OPENED
    if kind in _BOUNCED:
        kind = _NOT_BOUNCES.get(bounce_class, kind)
    metadata = labels(record.get("rcpt_meta"))
    recipient = text(record.get("raw_rcpt_to")) or text(record.get("rcpt_to"))
    clicked = record.get("target_link_url") if kind is EventType.CLICKED else None
    return ProviderEvent(
        type=kind,
        occurred_at=from_unix(record.get("timestamp")),
        provider=PROVIDER,
        provider_event_id=text(record.get("event_id")) or _id_of(record, word, recipient),
        provider_message_ids=_message_ids(record),
        recipient=recipient,
        reject_reason=_REASONS.get(bounce_class),
        is_permanent=kind is EventType.COMPLAINED
        or (kind is EventType.BOUNCED and bounce_class in _HARD),
        word=f"{word}:{bounce_class}" if bounce_class else word or None,
        mta_response=text(record.get("raw_reason")) or text(record.get("reason")),
        tags=texts(record.get("campaign_id")),
        metadata=without_token(metadata),
        delivery_token=token_in(metadata),
        click_url=text(clicked),
        click_url_sha256=url_hash(clicked),
        user_agent=text(record.get("user_agent")),
        is_machine=record.get("is_prefetched") is True,
    )


def _message_ids(record: dict[str, Any]) -> tuple[str, ...]:
    """Return the id of the call that sent the mail, then that of this copy of it."""
    return texts([record.get("transmission_id"), record.get("message_id")])


def _id_of(record: dict[str, Any], word: str, recipient: str | None) -> str:
    known = (record.get(name) for name in ("transmission_id", "message_id", "timestamp"))
    return event_id_from(PROVIDER, word, recipient, *known, record.get("target_link_url"))


def batch_of(parsed: Any) -> list[Any]:
    """Return the records of a body: an array, or one record alone."""
    return parsed if isinstance(parsed, list) else sequence([parsed])
