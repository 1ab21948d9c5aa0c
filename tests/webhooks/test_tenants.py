"""Whose mail a webhook reports on, and what happens where nobody knows; and a body that was read before."""

from __future__ import annotations

import json
from typing import Any

import pytest

from front_desk import count, note
from mailglass import ConfigError, TenancyError
from mailglass.errors import ConfigErrorType, TenancyErrorType
from mailglass.tenancy import tenant
from mailglass.webhook import WebhookRequest
from mailglass.webhooks.answers import answered
from mailglass.webhooks.endpoint import Endpoint
from webhook_requests import NOW, delivered, hooked, postmark, request


def _named(one: WebhookRequest) -> str | None:
    """Find the tenant by the address that was called."""
    return {"https://one.example/hooks": "one"}.get(one.url)


def _endpoint(tenant_id: Any = _named) -> Endpoint:
    return Endpoint(name="main", adapter=postmark(), tenant_id=tenant_id)


def test_a_function_finds_the_tenant_of_each_request(database_url: str) -> None:
    """And a replay keeps to the tenant that the receipt has."""
    with hooked(database_url, endpoints=[_endpoint()]) as mail:
        with tenant("one"):
            sent = mail.deliver(note())
        body = delivered(sent.id)
        answer = mail.ingest("postmark", request(body, url="https://one.example/hooks"))
        (receipt,) = mail.webhooks.webhooks.receipts()
        replayed = mail.replay(receipt.id)
    assert (answer.status, answer.recorded, receipt.tenant_id) == (200, 1, "one")
    assert replayed is not None
    assert replayed.counts == {"duplicate": 1}


def test_a_webhook_of_nobody_comes_again(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is written, and the log tells the operator why."""
    with hooked(database_url, endpoints=[_endpoint()]) as mail:
        answer = mail.ingest("postmark", request(delivered(None)))
    assert answer.status == 503
    assert "webhook_tenant_unresolved" in caplog.text
    assert count(database_url, "webhook_receipts") == 0


@pytest.mark.parametrize("found", ["", None, 7])
def test_an_endpoint_without_a_tenant_raises(found: Any) -> None:
    """The error names the endpoint and nothing of the request."""
    with pytest.raises(TenancyError) as caught:
        _endpoint(lambda _: found).tenant_of(request(b"{}"))
    assert caught.value.type is TenancyErrorType.WEBHOOK_TENANT_UNRESOLVED
    assert (caught.value.provider, caught.value.reason) == ("postmark", "postmark/main")


def test_a_function_that_fails_knows_nobody(database_url: str) -> None:
    """The provider sends the request again, as it does not after every server error."""

    def failing(_request: WebhookRequest) -> str:
        raise KeyError("account")

    with hooked(database_url, endpoints=[_endpoint(failing)]) as mail:
        assert mail.ingest("postmark", request(delivered(None))).status == 503


def test_nobody_is_asked_for_a_tenant_before_the_request_verifies() -> None:
    """A stranger's request never reaches the function."""
    asked: list[WebhookRequest] = []

    def find(one: WebhookRequest) -> str:
        asked.append(one)
        return "one"

    endpoint = _endpoint(find)
    with hooked("postgresql://nobody@127.0.0.1:1/none", endpoints=[endpoint]) as mail:
        forged = request(b"{}", headers=request(b"").headers.__class__())
        assert mail.ingest("postmark", forged).status == 403
    assert asked == []


@pytest.mark.parametrize("body", ["{}", {"RecordType": "Delivery"}, None, bytearray(b"{}")])
def test_a_parsed_body_is_a_mistake_of_the_application(body: Any) -> None:
    """Signatures are over the bytes; what a framework made of them proves nothing."""
    with pytest.raises(ConfigError) as caught:
        answered(
            lambda _path, _request: pytest.fail("it was handed on"),
            "postmark",
            method="POST",
            url="https://hooks.example/",
            headers=[],
            body=body,
            remote_ip=None,
            now=NOW,
        )
    assert caught.value.type is ConfigErrorType.WEBHOOK_RAW_BODY_MISSING
    assert "Delivery" not in json.dumps(caught.value.to_dict())


def test_a_body_that_was_read_before_is_asked_for_again(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A form parser has emptied it: the provider repeats it, and the log says what to repair."""
    with hooked(database_url, endpoints=[_endpoint("default")]) as mail:
        answer = mail.ingest("postmark", request(b"", extra=[("Content-Length", "900")]))
    assert answer.status == 503
    assert "webhook_raw_body_missing" in caplog.text
    assert count(database_url, "webhook_receipts") == 0
