"""The webhook routes, over ASGI as a server speaks it, down to the database."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from front_desk import count, note
from mailglass.web import webhooks
from mailglass.web.webhooks import webhook_app
from mailglass.webhook import WebhookRequest
from mailglass.webhooks.answers import Answer, answered
from webhook_requests import BASIC, NOW, delivered, hooked

_HEADERS = {"Authorization": BASIC}


def test_a_posted_webhook_is_recorded(database_url: str) -> None:
    """With and without the endpoint's name."""
    with hooked(database_url) as mail:
        client = TestClient(webhook_app(mail.ingest, clock=lambda: NOW))
        sent = mail.deliver(note())
        first = client.post("/webhooks/postmark", json=delivered(sent.id), headers=_HEADERS)
        again = client.post("/webhooks/postmark/main", json=delivered(sent.id), headers=_HEADERS)
        assert len(mail.events(sent.id)) == 4
    assert (first.status_code, again.status_code) == (200, 200)
    assert count(database_url, "webhook_receipts") == 1


def test_refusals_reach_the_provider_with_their_headers(database_url: str) -> None:
    """Whatever the endpoint says is what the server answers."""
    with hooked(database_url) as mail:
        client = TestClient(webhook_app(mail.ingest))
        asked = client.post("/webhooks/sendgrid", json=[])
        assert asked.status_code == 401
        assert asked.headers["WWW-Authenticate"].startswith("Basic")
        assert client.post("/webhooks/nobody", json=[]).status_code == 404
        assert client.post("/webhooks/postmark/", json=[]).status_code == 404
        assert client.get("/webhooks/postmark").status_code == 200
        assert client.put("/webhooks/postmark").status_code == 405


def _seen() -> tuple[list[tuple[str, WebhookRequest]], Any]:
    seen: list[tuple[str, WebhookRequest]] = []

    def take(endpoint: str, request: WebhookRequest) -> Answer:
        seen.append((endpoint, request))
        return Answer(status=200)

    return seen, take


def test_the_request_is_handed_on_as_it_came() -> None:
    """Raw body, query and every header, also one that stands twice."""
    seen, take = _seen()
    client = TestClient(webhook_app(take, clock=lambda: NOW), base_url="https://hooks.example")
    client.post(
        "/webhooks/mandrill/eu?key=1",
        content=b"a=%C3%A9",
        headers=[("X-Twice", "1"), ("X-Twice", "2")],
    )
    endpoint, request = seen[0]
    assert endpoint == "mandrill/eu"
    assert request.body == b"a=%C3%A9"
    assert request.url == "https://hooks.example/webhooks/mandrill/eu?key=1"
    assert request.headers.all("x-twice") == ("1", "2")
    assert (request.method, request.remote_ip, request.now) == ("POST", "testclient", NOW)


def test_an_endpoint_has_a_bound_of_its_own() -> None:
    """As Mailglass.webhook_bytes_max finds it: received mail is larger than reports are."""
    seen, take = _seen()
    bounds = {"postmark/inbound": 20, "postmark/main": 10}
    client = TestClient(webhook_app(take, body_bytes_max=bounds.__getitem__))
    for path in bounds:
        client.post(f"/webhooks/{path}", content=b"x" * 20)
    assert [endpoint for endpoint, _ in seen] == ["postmark/inbound"]


def test_a_body_that_is_too_long_is_not_read_to_its_end() -> None:
    """413 as soon as it is known, and nothing is taken in."""
    seen, take = _seen()
    sent: list[dict[str, Any]] = []
    chunks = 0

    async def receive() -> dict[str, Any]:
        nonlocal chunks
        chunks += 1
        return {"type": "http.request", "body": b"x" * 1_000_000, "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": "http", "method": "POST", "path": "/webhooks/postmark", "raw_path": b"", "query_string": b"",
        "headers": [], "root_path": "", "scheme": "https", "server": ("hooks.example", 443), "client": None,
        "http_version": "1.1", "asgi": {"version": "3.0"},
    }  # fmt: skip
    asyncio.run(webhook_app(take)(scope, receive, send))
    assert sent[0]["status"] == 413
    assert chunks < 13
    assert seen == []


@pytest.mark.parametrize(
    ("path", "status"), [("brevo/main", 429), ("brevo", 429), ("postmark", 503)]
)
def test_a_slow_request_may_come_again(
    monkeypatch: pytest.MonkeyPatch, path: str, status: int
) -> None:
    """Brevo throws an event away after any other refusal, 408 too."""
    monkeypatch.setattr(webhooks, "BODY_TIMEOUT_S", 0.0)
    seen, take = _seen()
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": "http", "method": "POST", "path": f"/webhooks/{path}", "raw_path": b"", "query_string": b"",
        "headers": [], "root_path": "", "scheme": "https", "server": ("hooks.example", 443), "client": None,
        "http_version": "1.1", "asgi": {"version": "3.0"},
    }  # fmt: skip
    asyncio.run(webhook_app(take)(scope, receive, send))
    assert sent[0]["status"] == status
    assert (b"retry-after", b"60") in sent[0]["headers"]
    assert seen == []


def test_any_framework_can_ask_with_plain_values() -> None:
    """The function behind the routes, for Django and Flask."""
    seen, take = _seen()
    answer = answered(
        take, "postmark", method="post", url="https://hooks.example/", headers=[("A", "b")],
        body=json.dumps({}).encode(), remote_ip="192.0.2.1", now=NOW,
    )  # fmt: skip
    assert answer.status == 200
    assert seen[0][1].method == "POST"
