"""The events of Postal: one a request, told by its payload and, where that is silent, by its name.

https://docs.postalserver.io/developer/webhooks.
"""

from __future__ import annotations

import math
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from mailglass.events import EventType, RejectReason
from mailglass.webhook import (
    ProviderEvent,
    event_id_from,
    from_unix,
    malformed,
    mapping,
    text,
    texts,
    url_hash,
)

PROVIDER: Final = "postal"
_BY_STATUS: Final = MappingProxyType(
    {
        "Sent": EventType.DELIVERED,
        "SoftFail": EventType.DEFERRED,
        "HardFail": EventType.FAILED,
        "Held": EventType.QUEUED,
    }
)
"""Postal's own server hands over, so that its ``Sent`` is the other server's yes."""
_BY_NAME: Final = MappingProxyType(
    {
        "MessageSent": EventType.DELIVERED,
        "MessageDelayed": EventType.DEFERRED,
        "MessageDeliveryFailed": EventType.FAILED,
        "MessageHeld": EventType.QUEUED,
        "MessageBounced": EventType.BOUNCED,
        "MessageLinkClicked": EventType.CLICKED,
        "MessageLoaded": EventType.OPENED,
    }
)
_NOT_ABOUT_MAIL: Final = frozenset({"DomainDNSError", "SendLimitApproaching", "SendLimitExceeded"})


def events_of(parsed: Any) -> tuple[ProviderEvent, ...]:
    """Return the event of a webhook; a received mail, a domain and a limit have none.

    Raises:
        SignatureError: ``malformed_header`` when the body is no object.

    """
    if not isinstance(parsed, dict):
        raise malformed(PROVIDER, "body")
    name, payload = text(parsed.get("event")), mapping(parsed.get("payload"))
    message = mapping(payload.get("original_message")) or mapping(payload.get("message"))
    is_ours = message.get("direction") != "incoming"
    if name is None or name in _NOT_ABOUT_MAIL or not is_ours:
        return ()
    return (_event(parsed, name, payload, message),)


def _event(
    parsed: dict[str, Any], name: str, payload: dict[str, Any], message: dict[str, Any]
) -> ProviderEvent:
    status = text(payload.get("status"))
    kind = _kind(name, status, payload)
    clicked = payload.get("url") if kind is EventType.CLICKED else None
    recipient = text(message.get("to"))
    return ProviderEvent(
        type=kind,
        occurred_at=_whole_seconds(parsed.get("timestamp")),
        provider=PROVIDER,
        provider_event_id=text(parsed.get("uuid")) or _id_of(parsed, name, message, clicked),
        provider_message_ids=texts([message.get("id"), message.get("message_id")]),
        recipient=recipient,
        reject_reason=RejectReason.BOUNCED if kind is EventType.BOUNCED else None,
        word=f"{name}:{status}" if status else name,
        description=text(payload.get("details")),
        mta_response=text(payload.get("output")),
        tags=texts(message.get("tag")),
        click_url=text(clicked),
        click_url_sha256=url_hash(clicked),
        user_agent=text(payload.get("user_agent")),
    )


def _kind(name: str, status: str | None, payload: dict[str, Any]) -> EventType:
    """Return what happened; a bounce and a failure are not known to be for ever.

    Postal calls a bounce whatever mail came back to the return path, and a hard failure also what
    it gave up trying, so that neither may suppress an address by itself.
    """
    if "bounce" in payload and "original_message" in payload:
        return EventType.BOUNCED
    if "url" in payload:
        return EventType.CLICKED
    return _BY_STATUS.get(status or "", _BY_NAME.get(name, EventType.UNKNOWN))


def _whole_seconds(value: Any) -> datetime | None:
    """Return Postal's time, whose digits beyond the second are when it wrote the request."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return from_unix(math.floor(value)) if is_number else from_unix(value)


def _id_of(parsed: dict[str, Any], name: str, message: dict[str, Any], clicked: Any) -> str:
    known = (message.get("id"), message.get("to"), parsed.get("timestamp"))
    return event_id_from(PROVIDER, name, *known, clicked)
