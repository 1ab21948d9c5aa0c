"""Requests as Postmark and SendGrid make them, and a desk that takes them in."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from mailglass import Mailglass
from mailglass.adapters import Adapter
from mailglass.adapters.fake import FakeAdapter
from mailglass.adapters.postmark import PostmarkAdapter
from mailglass.adapters.sendgrid import SendGridAdapter
from mailglass.adapters.signatures import WebhookAuth
from mailglass.ledger.database import DatabaseChoice
from mailglass.settings import load_settings
from mailglass.webhook import TOKEN_KEY, HeaderMap, WebhookRequest
from mailglass.webhooks.endpoint import Endpoint

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CREDENTIALS = "hook:a-long-password"
ALLOWED = WebhookAuth(credentials=[CREDENTIALS])
BASIC = "Basic " + base64.b64encode(CREDENTIALS.encode()).decode()


def postmark() -> PostmarkAdapter:
    """Return an adapter whose webhooks come with credentials."""
    return PostmarkAdapter(server_token="token", webhooks=ALLOWED)


def sendgrid() -> SendGridAdapter:
    """Return an adapter whose webhooks come with credentials, as without a signing key."""
    return SendGridAdapter(api_key="key", webhooks=ALLOWED)


@contextmanager
def hooked(
    database_url: str,
    *,
    adapter: Adapter | None = None,
    endpoints: Sequence[Endpoint] | None = None,
    **settings: Any,
) -> Iterator[Mailglass]:
    """Yield a desk with one endpoint each for Postmark and SendGrid, of the default tenant."""
    given = endpoints or (
        Endpoint(name="main", adapter=postmark(), tenant_id="default"),
        Endpoint(name="main", adapter=sendgrid(), tenant_id="default"),
    )
    desk = Mailglass(
        load_settings(database_role="mailglass_app", **settings),
        database=DatabaseChoice(url=database_url, source="test", is_embedded=False),
        adapters={"default": adapter or FakeAdapter()},
        jitter=lambda _bound: 0.0,
        endpoints=given,
    )
    try:
        yield desk
    finally:
        desk.close()


def request(
    body: bytes | object, *, extra: Sequence[tuple[str, str]] = (), **more: Any
) -> WebhookRequest:
    """Return a POST with the right credentials; a body that is no bytes is written as JSON."""
    fields: dict[str, Any] = {
        "url": "https://hooks.example/webhooks",
        "headers": HeaderMap(
            [("Authorization", BASIC), ("Content-Type", "application/json"), *extra]
        ),
        "body": body if isinstance(body, bytes) else json.dumps(body).encode(),
        "now": NOW,
    }
    return WebhookRequest(**(fields | more))


def delivered(delivery_id: UUID | None, address: str = "zoe@mail.example", **more: Any) -> Any:
    """Return Postmark's report of a delivery; keywords change it."""
    token = {TOKEN_KEY: str(delivery_id)} if delivery_id else {}
    return {
        "RecordType": "Delivery",
        "MessageID": "pm-1",
        "Recipient": address,
        "DeliveredAt": "2026-03-01T11:00:00Z",
        "Metadata": token,
    } | more


def bounced(delivery_id: UUID | None, address: str = "zoe@mail.example", **more: Any) -> Any:
    """Return Postmark's report of a hard bounce; keywords change it."""
    token = {TOKEN_KEY: str(delivery_id)} if delivery_id else {}
    return {
        "RecordType": "Bounce",
        "ID": 4711,
        "Type": "HardBounce",
        "MessageID": "pm-1",
        "Email": address,
        "BouncedAt": "2026-03-01T11:00:00Z",
        "Metadata": token,
    } | more


def sendgrid_event(
    delivery_id: UUID | None, word: str, address: str = "zoe@mail.example", **more: Any
) -> Any:
    """Return one event of SendGrid; keywords change it."""
    token = {TOKEN_KEY: str(delivery_id)} if delivery_id else {}
    return {
        "email": address,
        "timestamp": 1772360000,
        "event": word,
        "sg_event_id": f"{word}-{delivery_id}",
        "sg_message_id": "abc.filter001.1.0",
        **token,
    } | more
