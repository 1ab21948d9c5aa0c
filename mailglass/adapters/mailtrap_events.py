"""The events of Mailtrap: a list of records, or a record a line.

https://docs.mailtrap.io/developers/email-sending/webhooks.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Any, Final

from mailglass.errors import SignatureError
from mailglass.events import EventType, RejectReason
from mailglass.webhook import (
    ProviderEvent,
    event_id_from,
    from_unix,
    labels,
    malformed,
    parse_json,
    sequence,
    text,
    texts,
    token_in,
    url_hash,
    without_token,
)

PROVIDER: Final = "mailtrap"
_BATCH_MAX: Final = 10_000
_EVENTS: Final = MappingProxyType(
    {
        "delivery": EventType.DELIVERED,
        "open": EventType.OPENED,
        "click": EventType.CLICKED,
        "bounce": EventType.BOUNCED,
        "soft bounce": EventType.DEFERRED,
        "spam": EventType.COMPLAINED,
        "unsubscribe": EventType.UNSUBSCRIBED,
        "reject": EventType.REJECTED,
        "suspension": EventType.DEFERRED,
    }
)
"""A soft bounce is tried again and a suspension waits for the account: neither is final."""
_REASONS: Final = MappingProxyType(
    {
        "bounce": RejectReason.BOUNCED,
        "soft bounce": RejectReason.OTHER,
        "spam": RejectReason.SPAM,
        "unsubscribe": RejectReason.UNSUBSCRIBED,
        "reject": RejectReason.BLOCKED,
        "suspension": RejectReason.OTHER,
    }
)
_OF_RECEIVED_MAIL: Final = "inbound."
_BAD_ADDRESS: Final = frozenset(
    {
        "badaddress",
        "baddomain",
        "badmailbox",
        "badrecipient",
        "inactivemailbox",
        "invalidaddress",
        "invaliddomain",
        "invalidmailbox",
        "invalidrecipient",
        "unknownuser",
        "userunknown",
    }
)
"""Letters of a bounce's category that blame the address; Mailtrap lists none, and shows ``spam``.

A bounce may be a filter's verdict too, or what a soft one becomes after ten attempts:
https://docs.mailtrap.io/email-api-smtp/analytics/statuses-and-events.
"""
_NO_LETTER: Final = re.compile(r"[^a-z]+")
_BAD_STATUS: Final = re.compile(r"(?<![\d.])5\.1\.(?:10|[1236])(?![\d.]*\d)", re.ASCII)
"""No such mailbox or domain, or it takes no mail (RFC 3463 section 3.2, RFC 7505)."""


def records_of(body: bytes) -> list[Any]:
    """Return the records of a body, in JSON or in JSON Lines.

    Raises:
        SignatureError: ``malformed_header`` when it is neither, or more than 10,000 lines.

    """
    try:
        parsed = [parse_json(body, provider=PROVIDER)]
    except SignatureError:
        lines = [line for line in body.split(b"\n", _BATCH_MAX + 1) if line.strip()]
        if not 1 < len(lines) <= _BATCH_MAX:
            raise
        parsed = [parse_json(line, provider=PROVIDER) for line in lines]
    if not all(isinstance(one, dict) for one in parsed):
        raise malformed(PROVIDER, "body")
    return [record for one in parsed for record in _listed(one)][:_BATCH_MAX]


def _listed(parsed: dict[str, Any]) -> list[Any]:
    """Return the records of an object: those it lists, or itself when it is one."""
    return [parsed] if "event" in parsed else sequence(parsed.get("events"))


def events_in(records: list[Any]) -> tuple[ProviderEvent, ...]:
    """Return one event a record; a received mail is none, nor is what is no record at all."""
    mine = (one for one in records if isinstance(one, dict))
    return tuple(
        _event(one) for one in mine if not str(one.get("event")).startswith(_OF_RECEIVED_MAIL)
    )


def _event(record: dict[str, Any]) -> ProviderEvent:
    word = text(record.get("event")) or ""
    kind = _EVENTS.get(word, EventType.UNKNOWN)
    metadata = labels(record.get("custom_variables"))
    clicked = record.get("url") if kind is EventType.CLICKED else None
    return ProviderEvent(
        type=kind,
        occurred_at=from_unix(record.get("timestamp")),
        provider=PROVIDER,
        provider_event_id=text(record.get("event_id")) or _id_of(record, word),
        provider_message_ids=texts(record.get("message_id")),
        recipient=text(record.get("email")),
        reject_reason=_REASONS.get(word),
        is_permanent=kind is EventType.COMPLAINED
        or (kind is EventType.BOUNCED and _is_bad_address(record)),
        word=word or None,
        description=text(record.get("reason")),
        mta_response=text(record.get("response")),
        tags=texts(record.get("category")),
        metadata=without_token(metadata),
        delivery_token=token_in(metadata),
        click_url=text(clicked),
        click_url_sha256=url_hash(clicked),
        user_agent=text(record.get("user_agent")),
    )


def _is_bad_address(record: dict[str, Any]) -> bool:
    category = _NO_LETTER.sub("", (text(record.get("bounce_category")) or "").lower())
    said = text(record.get("response")) or ""
    return category in _BAD_ADDRESS or _BAD_STATUS.search(said) is not None


def _id_of(record: dict[str, Any], word: str) -> str:
    known = (record.get(name) for name in ("message_id", "email", "timestamp", "url"))
    return event_id_from(PROVIDER, word, *known)
