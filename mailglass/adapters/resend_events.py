"""The events of Resend: one a request, about a mail and not about one of its recipients.

https://resend.com/docs/dashboard/webhooks/event-types.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from mailglass.address import parse_address
from mailglass.errors import SendError, SignatureError
from mailglass.events import EventType, RejectReason
from mailglass.webhook import (
    ProviderEvent,
    event_id_from,
    from_iso,
    labels,
    mapping,
    parse_json,
    sequence,
    text,
    texts,
    token_in,
    url_hash,
    without_token,
)

PROVIDER: Final = "resend"
_EVENTS: Final = MappingProxyType(
    {
        "email.scheduled": EventType.QUEUED,
        "email.sent": EventType.SENT,
        "email.delivered": EventType.DELIVERED,
        "email.delivery_delayed": EventType.DEFERRED,
        "email.bounced": EventType.BOUNCED,
        "email.complained": EventType.COMPLAINED,
        "email.opened": EventType.OPENED,
        "email.clicked": EventType.CLICKED,
        "email.failed": EventType.FAILED,
        "email.suppressed": EventType.REJECTED,
    }
)
_ABOUT_ALL: Final = frozenset({EventType.QUEUED, EventType.SENT})
"""What is true of every recipient of a mail, and so of the first."""
_COPIES: Final = ("cc", "bcc")
_RECEIVED: Final = "email.received"
_DETAILS: Final = MappingProxyType(
    {
        "email.bounced": "bounce",
        "email.failed": "failed",
        "email.suppressed": "suppressed",
        "email.opened": "open",
        "email.clicked": "click",
    }
)
"""Where an event keeps what only its kind has."""
_HARD: Final = "permanent"
_SUPPRESSED: Final = frozenset({"suppressed", "onaccountsuppressionlist"})
_PHRASES: Final = (
    ("suppressed sending", RejectReason.BLOCKED),
    ("bounce message", RejectReason.BOUNCED),
)
"""What the text of a bounce says where it has no type: an older form."""


def events_of(record: Any, known_as: str | None) -> tuple[ProviderEvent, ...]:
    """Return the one event of a request; a received mail is none."""
    found = mapping(record)
    word = text(found.get("type")) or ""
    return () if word == _RECEIVED else (_event(found, word, text(known_as)),)


def _event(record: dict[str, Any], word: str, known_as: str | None) -> ProviderEvent:
    mail = mapping(record.get("data"))
    detail = mapping(mail.get(_DETAILS.get(word, "")))
    kind = _EVENTS.get(word, EventType.UNKNOWN)
    headers = _headers(mail)
    metadata = labels(_parsed(headers.get("x-metadata")))
    message_id, moment = text(mail.get("email_id")), record.get("created_at")
    is_shared = kind not in _ABOUT_ALL and _are_several(mail, headers)
    recipient = None if is_shared else _recipient(mail)
    clicked = detail.get("link") if kind is EventType.CLICKED else None
    subtype = text(detail.get("subType"))
    return ProviderEvent(
        type=kind,
        occurred_at=from_iso(moment),
        provider=PROVIDER,
        provider_event_id=known_as
        or event_id_from(PROVIDER, word, message_id, moment, recipient, clicked),
        provider_message_ids=texts(message_id),
        recipient=recipient,
        reject_reason=_reason(kind, detail),
        is_permanent=not is_shared and (kind is EventType.COMPLAINED or _is_hard(kind, detail)),
        word=f"{word}:{subtype}" if subtype else word or None,
        description=text(detail.get("message")) or text(detail.get("reason")),
        mta_response=_mta_response(detail),
        tags=texts(_parsed(headers.get("x-tags"))),
        metadata=without_token(metadata),
        delivery_token=token_in(_native_tags(mail)) or token_in(metadata),
        click_url=text(clicked),
        click_url_sha256=url_hash(clicked),
        user_agent=text(detail.get("userAgent")),
    )


def _are_several(mail: dict[str, Any], headers: Mapping[str, str]) -> bool:
    """Tell whether the mail went to several: Resend does not say which of them an event is about.

    Copies are shown among the headers. https://resend.com/docs/webhooks/emails/bounced.
    """
    copied = [one for name in _COPIES for one in (*texts(mail.get(name)), headers.get(name))]
    return len(texts(mail.get("to"))) > 1 or any(copied)


def _recipient(mail: dict[str, Any]) -> str | None:
    """Return the address of the first To recipient."""
    shown = next(iter(texts(mail.get("to"))), None)
    if shown is None:
        return None
    try:
        return parse_address(shown).addr_spec
    except SendError:
        return shown


def _headers(mail: dict[str, Any]) -> dict[str, str]:
    """Return the author's headers by their names in small letters."""
    pairs = (mapping(one) for one in sequence(mail.get("headers")))
    return {
        (text(one.get("name")) or "").lower(): value
        for one in pairs
        if isinstance(value := one.get("value"), str)
    }


def _parsed(shown: str | None) -> Any:
    """Return the JSON of a header; None where it holds something else."""
    if shown is None:
        return None
    try:
        return parse_json(shown, provider=PROVIDER)
    except SignatureError:
        return None


def _native_tags(mail: dict[str, Any]) -> Mapping[str, str]:
    """Return Resend's own tags, of which ours is one: an object, or a list of names and values."""
    found = mail.get("tags")
    if isinstance(found, list):
        pairs = map(mapping, found)
        found = {text(one.get("name")) or "": one.get("value") for one in pairs}
    return labels(found)


def _is_suppression(detail: dict[str, Any]) -> bool:
    return (text(detail.get("subType")) or "").lower() in _SUPPRESSED


def _is_hard(kind: EventType, detail: dict[str, Any]) -> bool:
    """Tell a hard bounce; one on Resend's own list is no new one."""
    hard = (text(detail.get("type")) or "").lower() == _HARD
    return kind is EventType.BOUNCED and hard and not _is_suppression(detail)


def _reason(kind: EventType, detail: dict[str, Any]) -> RejectReason | None:
    if kind is EventType.REJECTED:
        return RejectReason.BLOCKED
    if kind is not EventType.BOUNCED:
        return None
    if text(detail.get("type")) is not None:
        return RejectReason.BLOCKED if _is_suppression(detail) else RejectReason.BOUNCED
    said = (text(detail.get("message")) or "").lower()
    return next((reason for phrase, reason in _PHRASES if phrase in said), RejectReason.OTHER)


def _mta_response(detail: dict[str, Any]) -> str | None:
    """Return the reply of the receiving server, of which there may be several."""
    said = texts(detail.get("diagnosticCode"))
    return text("\n".join(said)) if said else None
