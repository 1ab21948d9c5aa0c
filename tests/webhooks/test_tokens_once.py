"""Mailgun signs a token and no body: a token that was seen is good for no other body, in no form."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import pytest

from front_desk import count, note
from mailglass.adapters.mailgun import MailgunAdapter
from mailglass.adapters.signatures import WebhookAuth
from mailglass.webhook import HeaderMap, WebhookRequest
from mailglass.webhooks.endpoint import Endpoint
from webhook_requests import hooked

KEY = "new-key"
NOW = datetime.now(UTC)


def _signed(token: str) -> dict[str, str]:
    stamp = str(int(NOW.timestamp()))
    mac = hmac.new(KEY.encode(), f"{stamp}{token}".encode(), hashlib.sha256).hexdigest()
    return {"timestamp": stamp, "token": token, "signature": mac}


def _asked(kind: str, body: bytes) -> WebhookRequest:
    headers = HeaderMap([("Content-Type", kind)])
    return WebhookRequest(url="https://hooks.example/", now=NOW, body=body, headers=headers)


def _json(signed: dict[str, str], word: str, delivery_id: UUID) -> WebhookRequest:
    event: dict[str, Any] = {
        "event": word,
        "id": f"id-{word}",
        "timestamp": NOW.timestamp(),
        "recipient": "zoe@mail.example",
        "user-variables": {"mailglass_delivery": str(delivery_id)},
    }
    told = {"signature": signed, "event-data": event}
    return _asked("application/json", json.dumps(told).encode())


def _fields(signed: dict[str, str], word: str, delivery_id: UUID) -> dict[str, str]:
    own = {"event": word, "recipient": "zoe@mail.example", "mailglass_delivery": str(delivery_id)}
    return own | signed


def _form(signed: dict[str, str], word: str, delivery_id: UUID) -> WebhookRequest:
    body = urlencode(_fields(signed, word, delivery_id)).encode()
    return _asked("application/x-www-form-urlencoded", body)


def _multipart(signed: dict[str, str], word: str, delivery_id: UUID) -> WebhookRequest:
    parts = "".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in _fields(signed, word, delivery_id).items()
    )
    return _asked("multipart/form-data; boundary=b", f"{parts}--b--\r\n".encode())


@pytest.mark.parametrize("forged", [_json, _form, _multipart])
@pytest.mark.parametrize("genuine", [_json, _form, _multipart])
def test_a_token_is_good_for_one_body(database_url: str, genuine: Any, forged: Any) -> None:
    """Whoever caught a request changes nothing with a complaint of their own under its token."""
    adapter = MailgunAdapter(api_key="key", domain="shop.example", webhooks=WebhookAuth(keys=[KEY]))
    end = Endpoint(name="main", adapter=adapter, tenant_id="default")
    with hooked(database_url, endpoints=[end]) as mail:
        sent = mail.deliver(note())
        signed = _signed("a" * 50)
        assert mail.ingest("mailgun", genuine(signed, "delivered", sent.id)).recorded == 1
        assert mail.ingest("mailgun", forged(signed, "complained", sent.id)).recorded == 0
    assert count(database_url, "suppressions") == 0
