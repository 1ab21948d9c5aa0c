"""A provider's end of the wire for the tests of HTTP adapters: what it answers, and what it was asked."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from mailglass.adapters.http import Request, Response
from mailglass.envelope import Envelope, Recipient
from mailglass.ids import new_id
from mailglass.message import Message, Stream
from mailglass.webhook import HeaderMap, WebhookRequest

NOW: Final = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
SENDER: Final = "Shop <shop@sender.test>"
PAYLOAD: Final = (
    b"From: shop@sender.test\r\nTo: ada@recipient.test\r\nSubject: Hi\r\n\r\nThanks.\r\n"
)


class Wire:
    """Answers every request alike and keeps them."""

    def __init__(
        self,
        body: object = b"",
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Answer with JSON, or with the bytes that are given."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.answer = Response(status=status, headers=HeaderMap(headers or {}), body=raw)
        self.requests: list[Request] = []

    def __call__(self, request: Request) -> Response:
        """Keep the request and answer."""
        self.requests.append(request)
        return self.answer


def a_message(**given: Any) -> Message:
    """Return a message to ada, with what is given in place of the usual."""
    usual: dict[str, Any] = {
        "sender": SENDER,
        "to": "ada@recipient.test",
        "subject": "Your receipt",
        "text": "Thanks.",
    }
    return Message(**(usual | given))


def enveloped(message: Message, *, payload: bytes = PAYLOAD) -> Envelope:
    """Return the envelope that dispatch would hand over for every recipient of the message."""
    return Envelope(
        message_id=new_id(),
        tenant_id="t1",
        stream=Stream.TRANSACTIONAL,
        mail_from=message.sender,
        recipients=tuple(
            Recipient(delivery_id=new_id(), kind=kind, address=address)
            for kind, address in message.recipients
        ),
        payload=payload,
        token=1,
        attempt=1,
        idempotency_key="key-1",
        thaw=lambda: message,
    )


def body_of(request: Request) -> dict[str, Any]:
    """Return the JSON object of a request."""
    found: dict[str, Any] = json.loads(request.body)
    return found


def basic(user: str) -> dict[str, str]:
    """Return the header that Basic credentials travel in."""
    return {"Authorization": f"Basic {base64.b64encode(user.encode()).decode()}"}


def a_webhook(
    body: object,
    *,
    headers: Mapping[str, str] | None = None,
    url: str = "https://app.test/webhooks/provider",
    method: str = "POST",
    now: datetime = NOW,
) -> WebhookRequest:
    """Return a webhook request with JSON, or with the bytes that are given."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return WebhookRequest(
        method=method, url=url, headers=HeaderMap(headers or {}), body=raw, now=now
    )
