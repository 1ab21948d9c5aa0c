"""Brevo: what is asked of it, what its answers mean, and which webhooks are believed."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from mailglass.adapters.api import WebhookAuth
from mailglass.adapters.brevo import BrevoAdapter
from mailglass.errors import (
    ConfigError,
    ConfigErrorType,
    FailureClass,
    SendError,
    SignatureError,
    SignatureErrorType,
)
from mailglass.message import Attachment, StoredTemplate, Tracking
from mailglass.webhook import TOKEN_KEY
from tests.adapters.wire import NOW, Wire, a_message, a_webhook, basic, body_of, enveloped

EACH = StoredTemplate(
    id="22", variables={"site": "Shop"}, per_recipient={"ada@r.test": {"n": 1}, "bob@r.test": {}}
)


def an_adapter(wire: Wire | None = None, **given: Any) -> BrevoAdapter:
    """Return an adapter with an old and a new password."""
    usual: dict[str, Any] = {"webhooks": WebhookAuth(credentials=["user:old", "user:new"])}
    return BrevoAdapter(
        api_key="key", transport=wire or Wire({"messageId": "<1@b>"}, status=201), **(usual | given)
    )


def asked(**given: Any) -> dict[str, Any]:
    """Return the body of the request for a message."""
    return body_of(an_adapter().request(enveloped(a_message(**given))))


def test_the_key_travels_in_its_header() -> None:
    """Brevo has a header of its own for it."""
    request = an_adapter().request(enveloped(a_message()))
    assert request.url == "https://api.brevo.com/v3/smtp/email"
    assert dict(request.headers)["api-key"] == "key"


def test_the_idempotency_key_is_a_uuid_of_the_messages_own() -> None:
    """The same at every attempt, another for another message."""
    first = enveloped(a_message())
    again, other = replace(first, attempt=2), replace(first, idempotency_key="key-2")
    known = [
        UUID(body_of(an_adapter().request(one))["headers"]["idempotencyKey"])
        for one in (first, again, other)
    ]
    assert known[0] == known[1]
    assert known[0] != known[2]


def test_sender_recipients_and_bodies_are_the_authors() -> None:
    """Addresses are objects."""
    body = asked(to="Ada <ada@r.test>", cc="cy@r.test", bcc="di@r.test", html="<p>Hi</p>")
    assert body["sender"] == {"email": "shop@sender.test", "name": "Shop"}
    assert body["to"] == [{"email": "ada@r.test", "name": "Ada"}]
    assert (body["cc"], body["bcc"]) == ([{"email": "cy@r.test"}], [{"email": "di@r.test"}])
    assert (body["textContent"], body["htmlContent"]) == ("Thanks.", "<p>Hi</p>")


def test_a_name_that_brevo_would_split_is_encoded() -> None:
    """A comma in a name that is not ASCII."""
    sender = asked(sender='"Müller, Jo" <jo@s.test>')["sender"]
    assert sender["name"].startswith("=?utf-8?")
    assert asked(sender='"Jo, Shop" <jo@s.test>')["sender"]["name"] == "Jo, Shop"


def test_metadata_and_our_own_id_are_one_header() -> None:
    """Brevo brings it back with every event."""
    envelope = enveloped(a_message(metadata={"order": "7"}, tags=["a", "b"]))
    body = body_of(an_adapter().request(envelope))
    known = str(envelope.recipients[0].delivery_id)
    shown = body["headers"]["X-Mailin-custom"]
    assert json.loads(shown) == {"order": "7", TOKEN_KEY: known}
    assert body["tags"] == ["a", "b"]
    (event,) = an_adapter().events(a_webhook({"event": "opened", "X-Mailin-custom": shown}))
    assert (str(event.delivery_token), dict(event.metadata)) == (known, {"order": "7"})


def test_files_time_and_reply_address() -> None:
    """The type of a file is that of its name."""
    body = asked(
        attachments=[Attachment(filename="a.txt", content=b"a")],
        provider_send_at=NOW,
        reply_to="help@s.test",
    )
    assert body["attachment"] == [{"name": "a.txt", "content": "YQ=="}]
    assert body["scheduledAt"] == "2026-11-21T12:00:00.000+00:00"
    assert body["replyTo"] == {"email": "help@s.test"}


def test_mails_of_their_own_are_versions() -> None:
    """Each with the variables of all and its own, its copies, and its own id."""
    message = a_message(
        to=["ada@r.test", "bob@r.test"], cc="cy@r.test", stored_template=EACH, text=None
    )
    envelope = enveloped(message)
    wire = Wire({"messageIds": ["<1@b>", "<2@b>"]}, status=201)
    verdicts = an_adapter(wire).send(envelope).verdicts
    body = body_of(wire.requests[0])
    assert (body["templateId"], body["params"], "to" in body) == (22, {"site": "Shop"}, False)
    ada, bob = body["messageVersions"]
    assert (ada["to"], ada["params"]) == ([{"email": "ada@r.test"}], {"site": "Shop", "n": 1})
    assert (ada["cc"], "params" in bob) == ([{"email": "cy@r.test"}], False)
    tokens = [json.loads(one["headers"]["X-Mailin-custom"])[TOKEN_KEY] for one in (ada, bob)]
    assert tokens == [str(one.delivery_id) for one in envelope.recipients[:2]]
    assert [one.provider_message_id for one in verdicts] == ["<1@b>", "<2@b>", "<1@b>"]


def test_versions_with_too_few_ids_are_unknown() -> None:
    """Whose mail was taken nobody can say."""
    message = a_message(to=["ada@r.test", "bob@r.test"], stored_template=EACH, text=None)
    verdicts = an_adapter(Wire({"messageIds": ["<1@b>"]})).send(enveloped(message)).verdicts
    assert {one.failure_class for one in verdicts} == {FailureClass.UNKNOWN}


def test_options_of_the_provider_are_merged_into_the_request() -> None:
    """What mailglass has no word for is still within reach."""
    body = asked(provider_options={"batchId": "b", "headers": {"X-A": "1"}})
    assert (body["batchId"], body["headers"]["X-A"]) == ("b", "1")
    assert "idempotencyKey" in body["headers"]


@pytest.mark.parametrize(
    "given",
    [
        {"tracking": Tracking(opens=True)},
        {"tracking": Tracking(clicks=True)},
        {"envelope_sender": "bounces@s.test"},
        {"reply_to": ["a@s.test", "b@s.test"]},
        {"headers": {"X-A": "é"}},
        {"metadata": {"a": "é"}},
        {"metadata": {TOKEN_KEY: "mine"}},
        {"stored_template": StoredTemplate(id="welcome"), "text": None},
        {"stored_template": StoredTemplate(id="22")},
        {"attachments": [Attachment(filename="a.png", content=b"a", content_id="logo")]},
        {"to": f'"{"n" * 71}" <ada@r.test>'},
        {"sender": f'"{"n" * 71}" <shop@s.test>'},
        {"reply_to": f'"{"n" * 71}" <shop@s.test>'},
    ],
)
def test_what_brevo_cannot_carry_is_refused(given: dict[str, Any]) -> None:
    """Nothing is dropped in silence."""
    with pytest.raises(SendError) as caught:
        asked(**given)
    assert caught.value.code == "unsupported_feature"


def test_a_key_that_brevo_has_seen_was_accepted_before() -> None:
    """Its id comes with a webhook."""
    wire = Wire({"code": "duplicate_parameter", "message": "m"}, status=400)
    (verdict,) = an_adapter(wire).send(enveloped(a_message())).verdicts
    assert verdict.is_accepted
    assert (verdict.provider_message_id, verdict.code) == (None, "duplicate_parameter")


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "invalid_parameter", FailureClass.PERMANENT),
        (400, "missing_parameter", FailureClass.PERMANENT),
        (429, "too_many_requests", FailureClass.NOT_SENT),
        (500, "duplicate_parameter", FailureClass.NOT_SENT),
    ],
)
def test_the_code_of_an_error_counts(status: int, code: str, expected: FailureClass) -> None:
    """Except where the server itself failed."""
    wire = Wire({"code": code, "message": "m"}, status=status)
    (verdict,) = an_adapter(wire).send(enveloped(a_message())).verdicts
    assert (verdict.failure_class, verdict.code) == (expected, f"http {status} {code}")


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, "unauthorized"), (400, "not_enough_credits"), (403, "permission_denied")],
)
def test_an_account_that_may_not_send_is_a_matter_of_settings(status: int, code: str) -> None:
    """No other attempt helps."""
    with pytest.raises(ConfigError) as caught:
        an_adapter(Wire({"code": code}, status=status)).send(enveloped(a_message()))
    assert caught.value.type is ConfigErrorType.INVALID


def test_brevos_own_header_tells_how_long_to_wait() -> None:
    """It has no Retry-After."""
    wire = Wire({"code": "x"}, status=429, headers={"x-sib-ratelimit-reset": "17"})
    (verdict,) = an_adapter(wire).send(enveloped(a_message())).verdicts
    assert verdict.retry_after_s == 17.0


@pytest.mark.parametrize("user", ["user:old", "user:new"])
def test_each_of_several_passwords_is_believed(user: str) -> None:
    """A password can be replaced without losing an event."""
    an_adapter().verify(a_webhook({}, headers=basic(user)))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, SignatureErrorType.MISSING_HEADER),
        (basic("user:guess"), SignatureErrorType.BAD_CREDENTIALS),
        ({"Authorization": "Bearer user:guess"}, SignatureErrorType.BAD_CREDENTIALS),
        ({"Authorization": "Basic é"}, SignatureErrorType.MALFORMED_HEADER),
        ({"Authorization": "Digest x"}, SignatureErrorType.MALFORMED_HEADER),
    ],
)
def test_wrong_credentials_are_refused(
    headers: dict[str, str], expected: SignatureErrorType
) -> None:
    """Missing, another's or none at all."""
    with pytest.raises(SignatureError) as caught:
        an_adapter().verify(a_webhook({}, headers=headers))
    assert caught.value.type is expected


def test_nothing_is_believed_without_credentials() -> None:
    """Brevo signs nothing."""
    with pytest.raises(ConfigError) as caught:
        an_adapter(webhooks=WebhookAuth()).verify(a_webhook({}))
    assert caught.value.type is ConfigErrorType.WEBHOOK_VERIFICATION_KEY_MISSING
