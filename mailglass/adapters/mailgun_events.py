"""The events of Mailgun: one a request, as JSON or as the form that older webhooks post.

https://documentation.mailgun.com/docs/mailgun/user-manual/events/events.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Any, Final

from mailglass.errors import SignatureError
from mailglass.events import EventType, RejectReason
from mailglass.webhook import (
    LABELS_MAX,
    ProviderEvent,
    event_id_from,
    from_unix,
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

PROVIDER: Final = "mailgun"
Fields = tuple[tuple[str, str], ...]

_EVENTS: Final = MappingProxyType(
    {
        "accepted": (EventType.QUEUED, None),
        "rejected": (EventType.REJECTED, RejectReason.OTHER),
        "delivered": (EventType.DELIVERED, None),
        "failed": (EventType.BOUNCED, RejectReason.OTHER),
        "opened": (EventType.OPENED, None),
        "clicked": (EventType.CLICKED, None),
        "unsubscribed": (EventType.UNSUBSCRIBED, None),
        "complained": (EventType.COMPLAINED, None),
    }
)
_REASONS: Final = MappingProxyType(
    {
        "bounce": RejectReason.BOUNCED,
        "suppress-bounce": RejectReason.BOUNCED,
        "suppress-complaint": RejectReason.SPAM,
        "suppress-unsubscribe": RejectReason.UNSUBSCRIBED,
    }
)
_PERMANENT_REASONS: Final = frozenset(_REASONS)
_SUPPRESSED: Final = "suppress-"
"""Mailgun did not try: the address stands on its own list, which the rest of the reason names."""
_BOTS: Final = frozenset({"apple", "gmail", "generic"})

_LEGACY: Final = MappingProxyType(
    {
        "delivered": EventType.DELIVERED,
        "dropped": EventType.REJECTED,
        "bounced": EventType.BOUNCED,
        "complained": EventType.COMPLAINED,
        "unsubscribed": EventType.UNSUBSCRIBED,
        "opened": EventType.OPENED,
        "clicked": EventType.CLICKED,
    }
)
_LEGACY_CODES: Final = MappingProxyType(
    {
        "499": RejectReason.TIMED_OUT,
        "605": RejectReason.BOUNCED,
        "606": RejectReason.UNSUBSCRIBED,
        "607": RejectReason.SPAM,
    }
)
_LEGACY_REASONS: Final = MappingProxyType({"hardfail": RejectReason.BOUNCED})
_SMTP_CODE: Final = re.compile(r"[45](?:[0-9]{2}|\.[0-9]{1,3}\.[0-9]{1,3})", re.ASCII)
_LEGACY_FIELDS: Final = frozenset(
    {
        "attachment-count",
        "body-plain",
        "campaign-id",
        "campaign-name",
        "city",
        "client-name",
        "client-os",
        "client-type",
        "code",
        "country",
        "description",
        "device-type",
        "domain",
        "error",
        "event",
        "h",
        "ip",
        "mailing-list",
        "message-id",
        "Message-Id",
        "notification",
        "reason",
        "recipient",
        "region",
        "signature",
        "tag",
        "timestamp",
        "token",
        "url",
        "user-agent",
        "X-Mailgun-Sid",
        "X-Mailgun-Tag",
    }
)
"""The fields that are Mailgun's; each other one is a variable of the author's."""
_SIGNED: Final = ("timestamp", "token", "signature")
_HEADERS: Final = "message-headers"
_VARIABLES: Final = "X-Mailgun-Variables"


def json_event(record: dict[str, Any]) -> ProviderEvent:
    """Return the event of a JSON request."""
    signature, told = mapping(record.get("signature")), mapping(record.get("event-data"))
    word, said = text(told.get("event")) or "", text(told.get("reason"))
    kind, reason = _meaning(word, said, severity=told.get("severity"))
    status, client = mapping(told.get("delivery-status")), mapping(told.get("client-info"))
    refusal = mapping(told.get("reject"))
    headers = mapping(mapping(told.get("message")).get("headers"))
    metadata = labels(told.get("user-variables"))
    recipient, clicked = text(told.get("recipient")), told.get("url")
    return ProviderEvent(
        type=kind,
        occurred_at=from_unix(told.get("timestamp")),
        provider=PROVIDER,
        provider_event_id=text(signature.get("token"))
        or event_id_from(PROVIDER, word, told.get("id"), recipient, told.get("timestamp")),
        provider_message_ids=_ids(text(headers.get("message-id"))),
        recipient=recipient,
        reject_reason=reason,
        is_permanent=kind is EventType.COMPLAINED
        or (told.get("severity") == "permanent" and said in _PERMANENT_REASONS),
        word=f"{word}:{said}" if said else word or None,
        description=text(status.get("description"))
        or text(refusal.get("description"))
        or text(refusal.get("reason")),
        mta_response=text(status.get("message")),
        tags=texts(told.get("tags")),
        metadata=without_token(metadata),
        delivery_token=token_in(metadata),
        click_url=text(clicked),
        click_url_sha256=url_hash(clicked),
        user_agent=text(client.get("user-agent")),
        is_machine=text(client.get("bot")) in _BOTS,
    )


def _meaning(
    word: str, said: str | None, *, severity: object
) -> tuple[EventType, RejectReason | None]:
    kind, reason = _EVENTS.get(word, (EventType.UNKNOWN, None))
    if kind is not EventType.BOUNCED:
        return kind, reason
    known = _REASONS.get(said or "", RejectReason.OTHER)
    if severity == "temporary":
        return EventType.DEFERRED, known
    is_suppressed = said is not None and said.startswith(_SUPPRESSED)
    return EventType.REJECTED if is_suppressed else EventType.BOUNCED, known


def _ids(message_id: str | None) -> tuple[str, ...]:
    """Return the id with the brackets that sending returned and the event leaves out, and bare."""
    if message_id is None:
        return ()
    bare = message_id.removeprefix("<").removesuffix(">")
    return (f"<{bare}>", bare)


def signed_fields(fields: Fields) -> dict[str, str]:
    """Return timestamp, token and signature: Mailgun adds its own after the author's variables."""
    last = dict(fields)
    return {name: last[name] for name in _SIGNED if name in last}


def form_event(fields: Fields) -> ProviderEvent:
    """Return the event of a form: of a name given twice the first value is Mailgun's."""
    form = dict(reversed(fields)) | signed_fields(fields)
    word = form.get("event", "").lower()
    kind = _LEGACY.get(word, EventType.UNKNOWN)
    code = form.get("code", "")
    reason = _form_reason(form) if kind in {EventType.BOUNCED, EventType.REJECTED} else None
    metadata = _form_metadata(fields, form)
    return ProviderEvent(
        type=kind,
        occurred_at=from_unix(form.get("timestamp")),
        provider=PROVIDER,
        provider_event_id=text(form.get("token")) or event_id_from(PROVIDER, *sorted(fields)),
        provider_message_ids=_ids(text(form.get("message-id") or form.get("Message-Id"))),
        recipient=text(form.get("recipient")),
        reject_reason=reason,
        is_permanent=kind is EventType.COMPLAINED
        or (reason is RejectReason.BOUNCED and not code.startswith("4")),
        word=text(word),
        description=text(form.get("description")),
        mta_response=text(form.get("error") or form.get("notification")),
        tags=_form_tags(fields),
        metadata=without_token(metadata),
        delivery_token=token_in(metadata),
        click_url=text(form.get("url")),
        click_url_sha256=url_hash(form.get("url")),
        user_agent=text(form.get("user-agent")),
    )


def _form_reason(form: dict[str, str]) -> RejectReason:
    code = form.get("code", "")
    if code in _LEGACY_CODES:
        return _LEGACY_CODES[code]
    if _SMTP_CODE.fullmatch(code):
        return RejectReason.BOUNCED
    return _LEGACY_REASONS.get(form.get("reason", ""), RejectReason.OTHER)


def _form_tags(fields: Fields) -> tuple[str, ...]:
    for wanted in ("tag", "X-Mailgun-Tag"):
        found = [value for name, value in fields if name == wanted]
        if found:
            return texts(found)
    return ()


def _form_metadata(fields: Fields, form: dict[str, str]) -> dict[str, str]:
    """Return the author's variables: from the mail's own header, or what no field of Mailgun is."""
    if _HEADERS in form:
        return _header_variables(form[_HEADERS])
    found: dict[str, str] = {}
    for name, value in fields[: 2 * LABELS_MAX]:
        if name == "tag" or (name in _LEGACY_FIELDS and value == form.get(name)):
            continue
        found[text(name) or ""] = text(value) or ""
    return found


def _header_variables(headers: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in sequence(_json_or_none(headers)):
        match pair:
            case [str(name), str(value)] if name == _VARIABLES:
                found |= labels(_json_or_none(value))
            case _:
                continue
    return found


def _json_or_none(shown: str) -> Any:
    """Return what JSON says; None where the author's own text is none, which loses no event."""
    try:
        return parse_json(shown, provider=PROVIDER)
    except SignatureError:
        return None
