"""Mailtrap: what is asked of it, what its answers mean, and what its webhooks report."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest

from mailglass.adapters.api import WebhookAuth
from mailglass.adapters.mailtrap import MailtrapAdapter
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
from mailglass.webhook import TOKEN_KEY, WebhookRequest
from tests.adapters.wire import Wire, a_message, a_webhook, basic, body_of, enveloped

OK = {"success": True, "message_ids": ["m-1"]}
OWN = StoredTemplate(
    id="t-1",
    variables={"site": "Shop", "group": "all"},
    per_recipient={"ada@r.test": {"group": "a"}},
)


def an_adapter(wire: Wire | None = None, **given: Any) -> MailtrapAdapter:
    """Return an adapter whose webhooks are signed with either of two secrets."""
    usual: dict[str, Any] = {"webhooks": WebhookAuth(keys=["old", "new"])}
    return MailtrapAdapter(api_key="key", transport=wire or Wire(OK), **(usual | given))


def asked(**given: Any) -> dict[str, Any]:
    """Return the body of the request for a message."""
    return body_of(an_adapter().request(enveloped(a_message(**given))))


def signed(body: bytes, *, key: str = "new") -> WebhookRequest:
    """Return a webhook as Mailtrap signs it."""
    digest = hmac.new(key.encode(), body, hashlib.sha256).hexdigest()
    return a_webhook(body, headers={"Mailtrap-Signature": digest})


def test_the_call_goes_to_send_with_the_token() -> None:
    """The token has a field of its own."""
    request = an_adapter().request(enveloped(a_message()))
    assert request.url == "https://send.api.mailtrap.io/api/send"
    assert ("Api-Token", "key") in request.headers


def test_a_sandbox_has_its_own_address() -> None:
    """Mail for a sandbox must not go out by mistake."""
    request = an_adapter(sandbox_id="123").request(enveloped(a_message()))
    assert request.url == "https://sandbox.api.mailtrap.io/api/send/123"


def test_a_sandbox_that_is_no_number_is_refused() -> None:
    """It would change the address of the call."""
    with pytest.raises(ConfigError) as caught:
        an_adapter(sandbox_id="1/../2")
    assert caught.value.type is ConfigErrorType.INVALID


def test_the_content_is_what_the_author_wrote() -> None:
    """Names and addresses stand apart, and only what is there is sent."""
    envelope = enveloped(
        a_message(
            to="Ada <ada@r.test>",
            cc="cy@r.test",
            bcc="di@r.test",
            html="<p>Hi</p>",
            reply_to="Help <help@s.test>",
            headers={"X-A": "b"},
            tags=["receipt"],
            metadata={"order": "7"},
        )
    )
    assert body_of(an_adapter().request(envelope)) == {
        "from": {"email": "shop@sender.test", "name": "Shop"},
        "to": [{"email": "ada@r.test", "name": "Ada"}],
        "cc": [{"email": "cy@r.test"}],
        "bcc": [{"email": "di@r.test"}],
        "reply_to": {"email": "help@s.test", "name": "Help"},
        "subject": "Your receipt",
        "text": "Thanks.",
        "html": "<p>Hi</p>",
        "headers": {"X-A": "b"},
        "category": "receipt",
        "custom_variables": {"order": "7", TOKEN_KEY: str(envelope.recipients[0].delivery_id)},
    }


def test_several_reply_addresses_are_a_header_in_ascii() -> None:
    """The field of the API holds one."""
    body = asked(reply_to=["a@s.test", "Інше <b@s.test>"])
    assert body["headers"] == {"Reply-To": "a@s.test, =?utf-8?b?0IbQvdGI0LU=?= <b@s.test>"}
    assert "reply_to" not in body


def test_an_inline_image_is_known_by_its_content_id() -> None:
    """A file is not."""
    files = [
        Attachment(filename="a.txt", content=b"a", content_type="text/plain"),
        Attachment(filename="b.png", content=b"b", content_type="image/png", content_id="logo"),
    ]
    assert asked(attachments=files)["attachments"] == [
        {"filename": "a.txt", "type": "text/plain", "content": "YQ=="},
        {
            "filename": "b.png",
            "type": "image/png",
            "content": "Yg==",
            "disposition": "inline",
            "content_id": "logo",
        },
    ]


def test_with_variables_of_their_own_each_to_recipient_has_a_mail_alone() -> None:
    """What a mail says of its own replaces the base, so that it says everything."""
    envelope = enveloped(
        a_message(
            to=["ada@r.test", "bob@r.test"],
            cc="cy@r.test",
            stored_template=OWN,
            subject="",
            text=None,
        )
    )
    request = an_adapter().request(envelope)
    ada, bob = (str(one.delivery_id) for one in envelope.recipients[:2])
    assert request.url.endswith("/api/batch")
    assert body_of(request)["base"]["template_variables"] == {"site": "Shop", "group": "all"}
    assert body_of(request)["requests"] == [
        {
            "to": [{"email": "ada@r.test"}],
            "cc": [{"email": "cy@r.test"}],
            "template_variables": {"site": "Shop", "group": "a"},
            "custom_variables": {TOKEN_KEY: ada},
        },
        {
            "to": [{"email": "bob@r.test"}],
            "cc": [{"email": "cy@r.test"}],
            "custom_variables": {TOKEN_KEY: bob},
        },
    ]


@pytest.mark.parametrize(
    "given",
    [
        {"tags": ["a", "b"]},
        {"envelope_sender": "bounces@s.test"},
        {"tracking": Tracking(opens=True)},
        {"metadata": {"a": "x" * 1_000}},
        {"stored_template": StoredTemplate(id="t-1")},
        {"stored_template": StoredTemplate(id="t-1"), "subject": "", "tags": ["a"], "text": None},
        {"stored_template": StoredTemplate(id="t-1"), "subject": ""},
        {"stored_template": StoredTemplate(variables={"a": "b"})},
        {"sender": "shöp@s.test"},
    ],
)
def test_what_mailtrap_lacks_is_refused(given: dict[str, Any]) -> None:
    """Nothing is dropped in silence."""
    with pytest.raises(SendError) as caught:
        an_adapter().check(a_message(**given))
    assert caught.value.code == "unsupported_feature"


def test_options_of_the_provider_are_merged_into_the_request() -> None:
    """What Mailtrap adds tomorrow can be asked for today."""
    assert asked(provider_options={"future": {"a": 1}})["future"] == {"a": 1}


def test_each_recipient_has_the_id_in_its_place() -> None:
    """The ids stand in the order of To, Cc and Bcc."""
    wire = Wire({"success": True, "message_ids": ["1", "2", "3"]})
    envelope = enveloped(a_message(to=["a@r.test", "b@r.test"], bcc="c@r.test"))
    verdicts = an_adapter(wire).send(envelope).verdicts
    assert [one.provider_message_id for one in verdicts] == ["1", "2", "3"]


def test_one_id_of_a_sandbox_is_everyones() -> None:
    """A sandbox keeps one mail."""
    envelope = enveloped(a_message(to=["a@r.test", "b@r.test"]))
    verdicts = an_adapter(Wire(OK), sandbox_id="1").send(envelope).verdicts
    assert [one.provider_message_id for one in verdicts] == ["m-1", "m-1"]


@pytest.mark.parametrize(
    "answer",
    [
        {"success": True, "message_ids": ["1", "2", "3"]},
        {"success": True, "message_ids": "no"},
        {"success": True},
        {"success": False, "message_ids": ["1", "2"]},
        [],
    ],
)
def test_an_answer_that_does_not_fit_is_unknown(answer: Any) -> None:
    """Nobody can tell which of the recipients was taken."""
    envelope = enveloped(a_message(to=["a@r.test", "b@r.test"]))
    verdicts = an_adapter(Wire(answer)).send(envelope).verdicts
    assert {one.failure_class for one in verdicts} == {FailureClass.UNKNOWN}


def test_a_batch_is_judged_mail_by_mail() -> None:
    """Mailtrap answers 200 although one of the mails was refused."""
    wire = Wire(
        {
            "success": True,
            "responses": [
                {"success": True, "message_ids": ["a", "c"]},
                {"success": False, "errors": ["address is invalid in 'to' 0"]},
            ],
        }
    )
    message = a_message(
        to=["ada@r.test", "bob@r.test"], cc="cy@r.test", stored_template=OWN, subject="", text=None
    )
    ada, bob, cy = an_adapter(wire).send(enveloped(message)).verdicts
    assert (ada.provider_message_id, cy.provider_message_id) == ("a", "c")
    assert bob.failure_class is FailureClass.PERMANENT


def test_a_batch_with_answers_missing_is_unknown() -> None:
    """Nobody can tell which mail is not in it."""
    wire = Wire({"success": True, "responses": [{"success": True, "message_ids": ["a"]}]})
    message = a_message(to=["ada@r.test", "bob@r.test"], stored_template=OWN, subject="", text=None)
    verdicts = an_adapter(wire).send(enveloped(message)).verdicts
    assert {one.failure_class for one in verdicts} == {FailureClass.UNKNOWN}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, {"success": False, "errors": ["'from' is required"]}, FailureClass.PERMANENT),
        (422, {"success": False, "errors": ["no"]}, FailureClass.PERMANENT),
        (200, {"success": False, "errors": ["no"]}, FailureClass.PERMANENT),
        (429, {"success": False, "errors": ["Too many"]}, FailureClass.NOT_SENT),
        (500, {"success": False}, FailureClass.NOT_SENT),
        (502, b"<html>", FailureClass.UNKNOWN),
    ],
)
def test_an_error_is_classed(status: int, body: object, expected: FailureClass) -> None:
    """By the status, and by the errors that come with a 200."""
    (verdict,) = an_adapter(Wire(body, status=status)).send(enveloped(a_message())).verdicts
    assert verdict.failure_class is expected


def test_a_wrong_token_is_a_matter_of_settings() -> None:
    """No other attempt helps, and the error does not tell the token."""
    with pytest.raises(ConfigError) as caught:
        an_adapter(Wire({"success": False, "error": "Invalid API token"}, status=401)).send(
            enveloped(a_message())
        )
    assert caught.value.type is ConfigErrorType.INVALID


@pytest.mark.parametrize("key", ["old", "new"])
def test_each_of_several_secrets_is_believed(key: str) -> None:
    """A secret can be replaced without losing an event."""
    an_adapter().verify(signed(b'{"events": []}', key=key))


def test_the_published_example_verifies() -> None:
    """Every library of Mailtrap's own holds itself to this answer."""
    auth = WebhookAuth(keys=["8d9a3c0e7f5b2d4a6c1e9f8b3a7d5c2e"])
    answer = "6d262e2611cd09be1f948382b5c611d63b0e585c4c9c5e40139d6ac3876d5433"
    record = {
        "event": "delivery",
        "sending_stream": "transactional",
        "category": "welcome",
        "message_id": "a8b1d8f6-1f8d-4a3c-9b2e-1a2b3c4d5e6f",
        "email": "recipient@example.com",
        "event_id": "f1e2d3c4-b5a6-7890-1234-567890abcdef",
        "timestamp": 1716070000,
    }
    body = json.dumps(record, separators=(",", ":")).encode()
    request = a_webhook(body, headers={"Mailtrap-Signature": answer})
    adapter = an_adapter(webhooks=auth)
    adapter.verify(request)
    assert [one.type for one in adapter.events(request)] == [EventType.DELIVERED]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, SignatureErrorType.MISSING_HEADER),
        ({"Mailtrap-Signature": "00" * 32}, SignatureErrorType.BAD_SIGNATURE),
        ({"Mailtrap-Signature": "00"}, SignatureErrorType.MALFORMED_HEADER),
        ({"Mailtrap-Signature": "é" * 64}, SignatureErrorType.MALFORMED_HEADER),
    ],
)
def test_another_signature_is_refused(
    headers: dict[str, str], expected: SignatureErrorType
) -> None:
    """Whatever is wrong is a typed refusal."""
    with pytest.raises(SignatureError) as caught:
        an_adapter().verify(a_webhook({"events": []}, headers=headers))
    assert caught.value.type is expected


def test_credentials_alone_are_believed_when_no_secret_is_set() -> None:
    """And nothing is without either."""
    request = a_webhook({"events": []}, headers=basic("user:word"))
    an_adapter(webhooks=WebhookAuth(credentials=["user:word"])).verify(request)
    with pytest.raises(ConfigError) as caught:
        an_adapter(webhooks=WebhookAuth()).verify(request)
    assert caught.value.type is ConfigErrorType.WEBHOOK_VERIFICATION_KEY_MISSING


@pytest.mark.parametrize(
    ("word", "kind", "reason", "is_permanent"),
    [
        ("delivery", EventType.DELIVERED, None, False),
        ("open", EventType.OPENED, None, False),
        ("click", EventType.CLICKED, None, False),
        ("bounce", EventType.BOUNCED, RejectReason.BOUNCED, False),
        ("soft bounce", EventType.DEFERRED, RejectReason.OTHER, False),
        ("spam", EventType.COMPLAINED, RejectReason.SPAM, True),
        ("unsubscribe", EventType.UNSUBSCRIBED, RejectReason.UNSUBSCRIBED, False),
        ("reject", EventType.REJECTED, RejectReason.BLOCKED, False),
        ("suspension", EventType.DEFERRED, RejectReason.OTHER, False),
        ("teleported", EventType.UNKNOWN, None, False),
    ],
)
def test_every_word_has_its_meaning(
    word: str, kind: EventType, reason: RejectReason | None, *, is_permanent: bool
) -> None:
    """A word that is not known is unknown, and is kept."""
    (event,) = an_adapter().events(a_webhook({"events": [{"event": word}]}))
    assert (event.type, event.reject_reason) == (kind, reason)
    assert (event.is_permanent, event.word) == (is_permanent, word)


@pytest.mark.parametrize(
    ("said", "category", "is_permanent"),
    [
        ("550 No such user here", "badmailbox", True),
        ("550 Host unknown", "bad-domain", True),
        ("550 5.1.1 no such user", "other", True),
        ("550-5.1.10 null MX", None, True),
        ("[CS01] Message rejected due to local policy", "spam", False),
        ("452 4.2.2 mailbox full", "quota", False),
        ("550 5.1.8 bad sender", None, False),
        ("550 5.7.1 refused by 10.5.1.1", None, False),
        ("450 4.1.1 greylisted", None, False),
        (None, None, False),
    ],
)
def test_a_bounce_is_for_good_where_it_speaks_of_the_address(
    said: str | None, category: str | None, *, is_permanent: bool
) -> None:
    """A filter's verdict, a full mailbox or ten attempts in vain end no correspondence."""
    record = {"event": "bounce", "response": said, "bounce_category": category}
    (event,) = an_adapter().events(a_webhook({"events": [record]}))
    assert (event.type, event.is_permanent) == (EventType.BOUNCED, is_permanent)


@pytest.mark.parametrize("word", ["reject", "suspension"])
def test_what_mailtrap_held_back_says_why(word: str) -> None:
    """Both have a reason of Mailtrap's own and no answer of a server."""
    record = {"event": word, "reason": "Recipient in suppression list. Reason: unsubscription"}
    (event,) = an_adapter().events(a_webhook({"events": [record]}))
    assert event.description == record["reason"]


def test_a_record_a_line_is_read_too() -> None:
    """Mailtrap can be set to send JSON Lines."""
    body = b"\n".join(json.dumps({"event": one}).encode() for one in ("delivery", "open"))
    kinds = [one.type for one in an_adapter().events(a_webhook(body))]
    assert kinds == [EventType.DELIVERED, EventType.OPENED]


def test_our_id_comes_back() -> None:
    """It is no metadata of the author's."""
    token = "0197a000-0000-7000-8000-000000000001"
    record = {"event": "open", "custom_variables": {TOKEN_KEY: token, "order": 7}}
    (event,) = an_adapter().events(a_webhook({"events": [record]}))
    assert (str(event.delivery_token), dict(event.metadata)) == (token, {"order": "7"})


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b'{"a": 1}\n{', b"[" * 99])
def test_a_body_that_is_no_report_is_refused(body: bytes) -> None:
    """Nothing but a typed refusal leaves the adapter."""
    with pytest.raises(SignatureError) as caught:
        an_adapter().events(a_webhook(body))
    assert caught.value.type is SignatureErrorType.MALFORMED_HEADER
