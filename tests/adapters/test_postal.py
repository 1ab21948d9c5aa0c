"""Postal: what is asked of it, what its answers mean, and what its webhooks report."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from mailglass.adapters.api import WebhookAuth
from mailglass.adapters.postal import PostalAdapter
from mailglass.errors import (
    ConfigError,
    ConfigErrorType,
    FailureClass,
    SendError,
    SignatureError,
    SignatureErrorType,
)
from mailglass.events import EventType, RejectReason
from mailglass.message import Attachment, StoredTemplate, Tracking
from mailglass.webhook import ProviderEvent, WebhookRequest
from tests.adapters.wire import NOW, Wire, a_message, a_webhook, basic, body_of, enveloped

URL = "https://postal.test"
BODY = b'{"event": "MessageSent"}'
MESSAGE = {"id": 7, "message_id": "m@p.test", "to": "ada@r.test", "tag": None}


@cache
def a_key(name: str) -> rsa.RSAPrivateKey:
    """Return the key of that name, made once."""
    assert name
    return rsa.generate_private_key(65537, 2048)


def public(name: str) -> str:
    """Return the public key as Postal prints it for a DKIM record."""
    der = serialization.PublicFormat.SubjectPublicKeyInfo
    raw = a_key(name).public_key().public_bytes(serialization.Encoding.DER, der)
    return base64.b64encode(raw).decode()


def signature(name: str, body: bytes = BODY, *, is_old: bool = False) -> str:
    """Return a signature with SHA-256, or with SHA-1 as older servers make it."""
    digest = hashes.SHA1() if is_old else hashes.SHA256()  # noqa: S303 - what older servers sign with
    return base64.b64encode(a_key(name).sign(body, padding.PKCS1v15(), digest)).decode()


def an_adapter(wire: Wire | None = None, **given: Any) -> PostalAdapter:
    """Return an adapter of a server with an old and a new key."""
    usual: dict[str, Any] = {"webhooks": WebhookAuth(keys=[public("old"), public("new")])}
    known = wire or Wire(taken("ada@recipient.test"))
    return PostalAdapter(api_key="key", base_url=URL, transport=known, **(usual | given))


def taken(*addresses: str) -> dict[str, Any]:
    """Return the answer to a mail that Postal took."""
    messages = {one: {"id": 100 + place, "token": "t"} for place, one in enumerate(addresses)}
    return {"status": "success", "data": {"message_id": "m@p.test", "messages": messages}}


def asked(**given: Any) -> dict[str, Any]:
    """Return the body of the request for a message."""
    return body_of(an_adapter().request(enveloped(a_message(**given))))


def reported(payload: dict[str, Any], name: str = "MessageSent") -> ProviderEvent:
    """Return the one event of a webhook."""
    body = {"event": name, "payload": payload, "timestamp": NOW.timestamp() + 0.7, "uuid": "u-1"}
    (event,) = an_adapter().events(a_webhook(body))
    return event


def test_the_call_goes_to_the_server_with_its_key() -> None:
    """Every server has an address of its own."""
    request = an_adapter().request(enveloped(a_message()))
    assert request.url == "https://postal.test/api/v1/send/message"
    assert ("X-Server-API-Key", "key") in request.headers


def test_the_content_is_what_the_author_wrote() -> None:
    """Mailboxes are written as in a header."""
    body = asked(
        to="Ada <ada@r.test>",
        cc="cy@r.test",
        html="<p>Hi</p>",
        reply_to="help@s.test",
        headers={"X-A": "b"},
        tags=["receipt"],
        envelope_sender="bounces@s.test",
        attachments=[Attachment(filename="a.txt", content=b"a", content_type="text/plain")],
    )
    assert body == {
        "from": "Shop <shop@sender.test>",
        "sender": "bounces@s.test",
        "to": ["Ada <ada@r.test>"],
        "cc": ["cy@r.test"],
        "bcc": [],
        "subject": "Your receipt",
        "plain_body": "Thanks.",
        "html_body": "<p>Hi</p>",
        "reply_to": "help@s.test",
        "headers": {"X-A": "b"},
        "tag": "receipt",
        "attachments": [{"name": "a.txt", "content_type": "text/plain", "data": "YQ=="}],
    }


def test_options_of_the_provider_are_merged_into_the_request() -> None:
    """A mail can be marked as a bounce."""
    assert asked(provider_options={"bounce": True})["bounce"] is True


@pytest.mark.parametrize(
    "given",
    [
        {"tags": ["a", "b"]},
        {"metadata": {"a": "b"}},
        {"reply_to": ["a@s.test", "b@s.test"]},
        {"tracking": Tracking(clicks=True)},
        {"provider_send_at": NOW + timedelta(hours=1)},
        {"stored_template": StoredTemplate(id="t-1")},
        {"attachments": [Attachment(filename="a.png", content=b"a", content_id="logo")]},
        {"to": "ädä@r.test"},
    ],
)
def test_what_postal_lacks_is_refused(given: dict[str, Any]) -> None:
    """Nothing is dropped in silence."""
    with pytest.raises(SendError) as caught:
        an_adapter().check(a_message(**given))
    assert caught.value.code == "unsupported_feature"


def test_each_recipient_has_a_message_of_their_own() -> None:
    """Capitals of the answer do not matter."""
    wire = Wire(taken("Ada@r.test", "bob@r.test"))
    envelope = enveloped(a_message(to=["ada@r.test", "bob@r.test", "cy@r.test"]))
    ada, bob, cy = an_adapter(wire).send(envelope).verdicts
    assert (ada.provider_message_id, bob.provider_message_id) == ("100", "101")
    assert cy.failure_class is FailureClass.UNKNOWN


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"status": "error", "data": {"code": "NoContent"}}, FailureClass.PERMANENT),
        ({"status": "error", "data": {"code": "ValidationError"}}, FailureClass.PERMANENT),
        ({"status": "parameter-error", "data": {"message": "no"}}, FailureClass.PERMANENT),
        ({"status": "error", "data": {"code": "InternalServerError"}}, FailureClass.UNKNOWN),
        ({"status": "success", "data": {}}, FailureClass.UNKNOWN),
        ({"status": "of tomorrow"}, FailureClass.UNKNOWN),
        ([], FailureClass.UNKNOWN),
        (b"Ack! Bad proxy!", FailureClass.UNKNOWN),
    ],
)
def test_an_error_is_read_from_the_body(answer: object, expected: FailureClass) -> None:
    """Postal answers 200 to whatever it understands."""
    (verdict,) = an_adapter(Wire(answer)).send(enveloped(a_message())).verdicts
    assert verdict.failure_class is expected


@pytest.mark.parametrize(
    "code",
    ["AccessDenied", "InvalidServerAPIKey", "ServerSuspended", "UnauthenticatedFromAddress"],
)
def test_an_account_that_may_not_send_is_a_matter_of_settings(code: str) -> None:
    """No other attempt helps."""
    with pytest.raises(ConfigError) as caught:
        an_adapter(Wire({"status": "error", "data": {"code": code}})).send(enveloped(a_message()))
    assert caught.value.type is ConfigErrorType.INVALID


@pytest.mark.parametrize("name", ["old", "new"])
@pytest.mark.parametrize("is_old", [True, False])
def test_each_key_is_believed_with_both_digests(name: str, *, is_old: bool) -> None:
    """Servers before version 3 sign with SHA-1 only."""
    header = "X-Postal-Signature" if is_old else "X-Postal-Signature-256"
    an_adapter().verify(a_webhook(BODY, headers={header: signature(name, is_old=is_old)}))


def test_sha1_does_not_count_beside_sha256() -> None:
    """The better signature decides where there is one."""
    headers = {
        "X-Postal-Signature": signature("new", is_old=True),
        "X-Postal-Signature-256": signature("forger"),
    }
    with pytest.raises(SignatureError) as caught:
        an_adapter().verify(a_webhook(BODY, headers=headers))
    assert caught.value.type is SignatureErrorType.BAD_SIGNATURE


def test_sha1_can_be_refused() -> None:
    """A server that signs with SHA-256 always sends it."""
    headers = {"X-Postal-Signature": signature("new", is_old=True)}
    with pytest.raises(SignatureError) as caught:
        an_adapter(accepts_sha1=False).verify(a_webhook(BODY, headers=headers))
    assert caught.value.type is SignatureErrorType.MISSING_HEADER


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, SignatureErrorType.MISSING_HEADER),
        ({"X-Postal-Signature-256": "AAAA"}, SignatureErrorType.BAD_SIGNATURE),
        ({"X-Postal-Signature-256": "not*base64"}, SignatureErrorType.MALFORMED_HEADER),
        ({"X-Postal-Signature-256": ""}, SignatureErrorType.BAD_SIGNATURE),
        ({"X-Postal-Signature": "é"}, SignatureErrorType.MALFORMED_HEADER),
    ],
)
def test_another_signature_is_refused(
    headers: dict[str, str], expected: SignatureErrorType
) -> None:
    """Whatever is wrong is a typed refusal."""
    with pytest.raises(SignatureError) as caught:
        an_adapter().verify(a_webhook(BODY, headers=headers))
    assert caught.value.type is expected


def test_a_changed_body_is_refused() -> None:
    """The signature covers every byte."""
    request = a_webhook(BODY + b" ", headers={"X-Postal-Signature-256": signature("new")})
    with pytest.raises(SignatureError) as caught:
        an_adapter().verify(request)
    assert caught.value.type is SignatureErrorType.BAD_SIGNATURE


def test_credentials_do_not_replace_the_key() -> None:
    """Postal always signs."""
    auth = WebhookAuth(credentials=["user:word"])
    with pytest.raises(ConfigError) as caught:
        an_adapter(webhooks=auth).verify(a_webhook(BODY, headers=basic("user:word")))
    assert caught.value.type is ConfigErrorType.WEBHOOK_VERIFICATION_KEY_MISSING


@pytest.mark.parametrize(
    ("name", "payload", "expected"),
    [
        ("MessageSent", {"status": "Sent"}, EventType.DELIVERED),
        ("MessageDelayed", {"status": "SoftFail"}, EventType.DEFERRED),
        ("MessageDeliveryFailed", {"status": "HardFail"}, EventType.FAILED),
        ("MessageHeld", {"status": "Held"}, EventType.QUEUED),
        ("MessageSent", {}, EventType.DELIVERED),
        ("MessageLinkClicked", {"url": "https://a.test"}, EventType.CLICKED),
        ("MessageLoaded", {}, EventType.OPENED),
        ("MessageTeleported", {}, EventType.UNKNOWN),
    ],
)
def test_every_webhook_has_its_meaning(
    name: str, payload: dict[str, Any], expected: EventType
) -> None:
    """The payload decides, and the name where it is silent."""
    event = reported(payload | {"message": MESSAGE}, name)
    assert (event.type, event.is_permanent) == (expected, False)
    assert str(event.word).startswith(name)


def test_a_bounce_is_about_the_mail_that_was_sent() -> None:
    """And not about the one that came back; Postal does not tell whether it is for ever."""
    event = reported({"original_message": MESSAGE, "bounce": {"id": 8}}, "MessageBounced")
    assert (event.type, event.reject_reason) == (EventType.BOUNCED, RejectReason.BOUNCED)
    assert (event.recipient, event.is_permanent) == ("ada@r.test", False)
    assert event.provider_message_ids == ("7", "m@p.test")


def test_the_time_is_in_whole_seconds() -> None:
    """A fraction tells when Postal wrote the request."""
    event = reported({"message": MESSAGE})
    assert event.occurred_at == datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize("name", ["DomainDNSError", "SendLimitApproaching", "SendLimitExceeded"])
def test_what_is_not_about_a_mail_is_no_event(name: str) -> None:
    """A domain and a limit have no recipient."""
    assert an_adapter().events(a_webhook({"event": name, "payload": {}})) == ()


@pytest.mark.parametrize(
    "body",
    [
        {"rcpt_to": "ada@r.test", "message": "…"},
        {"event": "MessageSent", "payload": {"message": {"direction": "incoming"}}},
    ],
)
def test_a_received_mail_is_no_event(body: dict[str, Any]) -> None:
    """Received mail passes through the same server."""
    assert an_adapter().events(a_webhook(body)) == ()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b'{"timestamp": Infinity}'])
def test_a_body_that_is_no_report_is_refused(body: bytes) -> None:
    """Nothing but a typed refusal leaves the adapter."""
    request: WebhookRequest = a_webhook(body)
    with pytest.raises(SignatureError) as caught:
        an_adapter().events(request)
    assert caught.value.type is SignatureErrorType.MALFORMED_HEADER
