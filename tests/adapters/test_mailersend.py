"""MailerSend: what is asked of it, what its answers mean, and which webhooks are believed."""

from __future__ import annotations

import hmac
import json
from datetime import timedelta
from typing import Any, Final

import pytest

from mailglass.adapters.api import WebhookAuth
from mailglass.adapters.mailersend import BatchSendMode, MailerSendAdapter
from mailglass.adapters.providers import build
from mailglass.errors import (
    ConfigError,
    ConfigErrorType,
    FailureClass,
    SendError,
    SignatureError,
    SignatureErrorType,
)
from mailglass.message import Attachment, StoredTemplate, Tracking
from mailglass.webhook import WebhookRequest
from tests.adapters.wire import NOW, Wire, a_message, a_webhook, enveloped

ID: Final = {"X-Message-Id": "m-1"}
EACH: Final = StoredTemplate(
    variables={"site": "Shop"}, per_recipient={"ada@r.test": {"n": 1}, "bob@r.test": {}}
)
PUBLIC: Final = "test_Am3L1GuOIc4blLUuHqAPxxwkZaJyEk8G"


def an_adapter(wire: Wire | None = None, **given: Any) -> MailerSendAdapter:
    """Return an adapter with two signing secrets, an old one and a new one."""
    usual: dict[str, Any] = {
        "webhooks": WebhookAuth(keys=["old", "new"]),
        "clock": lambda: NOW,
    }
    transport = wire or Wire(status=202, headers=ID)
    return MailerSendAdapter(api_key="key", transport=transport, **(usual | given))


def asked(**given: Any) -> Any:
    """Return the body of the request for a message."""
    return json.loads(an_adapter().request(enveloped(a_message(**given))).body)


def posted(body: bytes, *, key: str = "new") -> WebhookRequest:
    """Return a signed request."""
    signature = hmac.new(key.encode(), body, "sha256").hexdigest()
    return a_webhook(body, headers={"Signature": signature})


def test_sender_recipients_and_bodies_are_the_authors() -> None:
    """Addresses are objects."""
    request = an_adapter().request(enveloped(a_message()))
    assert request.url == "https://api.mailersend.com/v1/email"
    assert dict(request.headers)["Authorization"] == "Bearer key"
    body = asked(to="Ada <ada@r.test>", cc="cy@r.test", bcc="di@r.test", reply_to="help@s.test")
    assert body["from"] == {"email": "shop@sender.test", "name": "Shop"}
    assert body["to"] == [{"email": "ada@r.test", "name": "Ada"}]
    assert (body["cc"], body["bcc"]) == ([{"email": "cy@r.test"}], [{"email": "di@r.test"}])
    assert (body["subject"], body["text"]) == ("Your receipt", "Thanks.")
    assert body["reply_to"] == {"email": "help@s.test"}


def test_two_headers_are_fields_of_their_own() -> None:
    """All others are names and values."""
    headers = {"In-Reply-To": "<1@s.test>", "Precedence": "Bulk", "X-A": "b"}
    body = asked(headers=headers)
    assert (body["in_reply_to"], body["precedence_bulk"]) == ("<1@s.test>", True)
    assert body["headers"] == [{"name": "X-A", "value": "b"}]
    assert asked(headers={"Precedence": "first-class"})["precedence_bulk"] is False


def test_files_tags_time_and_switches() -> None:
    """A switch that is None stays as the domain has it."""
    body = asked(
        attachments=[
            Attachment(filename="a.txt", content=b"a"),
            Attachment(filename="b.png", content=b"b", content_id="logo"),
        ],
        tags=["receipt"],
        provider_send_at=NOW,
        tracking=Tracking(opens=True, clicks=None),
    )
    assert body["attachments"] == [
        {"filename": "a.txt", "content": "YQ==", "disposition": "attachment"},
        {"filename": "b.png", "content": "Yg==", "disposition": "inline", "id": "logo"},
    ]
    assert (body["tags"], body["send_at"]) == (["receipt"], int(NOW.timestamp()))
    assert body["settings"] == {"track_opens": True}


def test_variables_are_given_for_each_to_recipient() -> None:
    """Those of all, and under them its own."""
    stored = StoredTemplate(id="t-1", variables={"site": "Shop"})
    body = asked(to="ada@r.test", stored_template=stored, text=None)
    assert body["template_id"] == "t-1"
    assert body["personalization"] == [{"email": "ada@r.test", "data": {"site": "Shop"}}]


@pytest.mark.parametrize("stored", [None, StoredTemplate(per_recipient={})])
def test_braces_of_a_finished_mail_are_no_placeholders(stored: StoredTemplate | None) -> None:
    """MailerSend reads a mail as a template only when variables are given, even if they are none."""
    written = "Write {{ name }} and {% if %}"
    body = asked(text=written, html=written, subject=written, stored_template=stored)
    assert (body["text"], body["html"], body["subject"]) == (written, written, written)
    assert {"personalization", "variables"}.isdisjoint(body)


def test_mails_of_their_own_are_a_bulk_call() -> None:
    """MailerSend returns the id of the batch alone."""
    message = a_message(to=["ada@r.test", "bob@r.test"], stored_template=EACH)
    wire = Wire({"bulk_email_id": "b-1"}, status=202)
    verdicts = an_adapter(wire).send(enveloped(message)).verdicts
    mails = json.loads(wire.requests[0].body)
    assert wire.requests[0].url.endswith("/v1/bulk-email")
    assert [one["to"] for one in mails] == [[{"email": "ada@r.test"}], [{"email": "bob@r.test"}]]
    assert mails[0]["personalization"] == [
        {"email": "ada@r.test", "data": {"site": "Shop", "n": 1}}
    ]
    assert {one.provider_message_id for one in verdicts} == {"bulk:b-1"}


def test_a_mail_of_a_bulk_call_is_known_by_a_tag_of_our_own() -> None:
    """An activity has an id of its own mail, which no answer told, and the mail's tags."""
    message = a_message(to=["ada@r.test", "bob@r.test"], tags=["receipt"], stored_template=EACH)
    envelope = enveloped(message)
    mails = json.loads(an_adapter().request(envelope).body)
    told = {"email": {"message": {"id": "m-7"}, "tags": mails[1]["tags"]}}
    body = json.dumps({"type": "activity.hard_bounced", "data": told}).encode()
    (event,) = an_adapter().events(posted(body))
    assert (event.delivery_token, event.tags) == (envelope.recipients[1].delivery_id, ("receipt",))
    assert event.provider_message_ids == ("m-7",)


@pytest.mark.parametrize(
    ("options", "mode"),
    [
        ({}, BatchSendMode.EXPOSE_TO_LIST),
        ({"batch_send_mode": "expose-to-list"}, BatchSendMode.USE_BULK_EMAIL),
    ],
)
def test_the_recipients_may_see_each_other_if_that_is_asked_for(
    options: dict[str, Any], mode: BatchSendMode
) -> None:
    """By the adapter's option or the message's."""
    message = a_message(
        to=["ada@r.test", "bob@r.test"], stored_template=EACH, provider_options=options
    )
    body = json.loads(an_adapter(batch_send_mode=mode).request(enveloped(message)).body)
    assert [one["email"] for one in body["to"]] == ["ada@r.test", "bob@r.test"]
    assert [one["email"] for one in body["personalization"]] == ["ada@r.test", "bob@r.test"]
    assert "batch_send_mode" not in body


def test_the_names_of_django_anymail_are_understood() -> None:
    """Those of its settings for MailerSend."""
    adapter = build(
        "mailersend",
        {
            "MAILERSEND_API_TOKEN": "key",
            "MAILERSEND_SIGNING_SECRET": "new",
            "MAILERSEND_BATCH_SEND_MODE": "expose-to-list",
        },
    )
    assert isinstance(adapter, MailerSendAdapter)
    adapter.verify(posted(b"{}"))


@pytest.mark.parametrize(
    "given",
    [
        {"metadata": {"order": "7"}},
        {"envelope_sender": "bounces@s.test"},
        {"reply_to": ["a@s.test", "b@s.test"]},
        {"cc": [f"c{number}@r.test" for number in range(11)]},
        {"stored_template": StoredTemplate(id="t-1")},
        {"tags": ["a", "b", "c", "d", "e", "f"]},
        {"tags": ["mailglass_delivery-1"]},
        {
            "tags": ["a", "b", "c", "d", "e"],
            "to": ["ada@r.test", "bob@r.test"],
            "stored_template": EACH,
        },
        {"provider_send_at": NOW + timedelta(hours=73)},
        {"to": '"Doe, John" <john@r.test>'},
        {"cc": '"Doe; John" <john@r.test>'},
    ],
)
def test_what_mailersend_cannot_carry_is_refused(given: dict[str, Any]) -> None:
    """Nothing is dropped in silence."""
    with pytest.raises(SendError) as caught:
        asked(**given)
    assert caught.value.code == "unsupported_feature"


def test_a_yes_has_its_id_in_a_header() -> None:
    """And no body."""
    (verdict,) = an_adapter().send(enveloped(a_message())).verdicts
    assert (verdict.is_accepted, verdict.provider_message_id) == (True, "m-1")


def test_a_yes_without_an_id_is_unknown() -> None:
    """Nobody can say what was taken."""
    (verdict,) = an_adapter(Wire(status=202)).send(enveloped(a_message())).verdicts
    assert verdict.failure_class is FailureClass.UNKNOWN


@pytest.mark.parametrize("headers", [ID, {}])
def test_who_is_on_mailersends_list_is_named_in_a_warning(headers: dict[str, str]) -> None:
    """With all of them on it there is no id."""
    kind = "SOME_SUPPRESSED" if headers else "ALL_SUPPRESSED"
    warning = {"type": kind, "recipients": [{"email": "Ada@r.test", "reasons": ["hard_bounced"]}]}
    wire = Wire({"message": "m", "warnings": [warning]}, status=202, headers=headers)
    message = a_message(to=["ada@r.test", "bob@r.test"] if headers else "ada@r.test")
    ada, *others = an_adapter(wire).send(enveloped(message)).verdicts
    assert (ada.failure_class, ada.code) == (FailureClass.SUPPRESSED, f"{kind} hard_bounced")
    assert all(one.is_accepted and one.provider_message_id == "m-1" for one in others)


def test_another_warning_refuses_nobody() -> None:
    """Only a suppression does."""
    warning = {"type": "OTHER", "recipients": [{"email": "ada@recipient.test"}]}
    wire = Wire({"warnings": [warning]}, status=202, headers=ID)
    (verdict,) = an_adapter(wire).send(enveloped(a_message())).verdicts
    assert verdict.is_accepted


@pytest.mark.parametrize(
    ("status", "said", "expected"),
    [
        (422, "The to field is required. #MS42209", FailureClass.PERMANENT),
        (429, "Too many requests #MS42903", FailureClass.NOT_SENT),
        (500, "Server error", FailureClass.NOT_SENT),
    ],
)
def test_an_error_has_a_number_in_its_text(status: int, said: str, expected: FailureClass) -> None:
    """The number is kept and the text is not."""
    wire = Wire({"message": said, "errors": {}}, status=status)
    (verdict,) = an_adapter(wire).send(enveloped(a_message())).verdicts
    assert verdict.failure_class is expected
    assert "field" not in str(verdict.code)


def test_five_tags_and_three_days_are_taken() -> None:
    """MailerSend's own bounds are the bounds."""
    body = asked(tags=["a", "b", "c", "d", "e"], provider_send_at=NOW + timedelta(hours=72))
    assert len(body["tags"]) == 5


def test_an_unverified_sending_domain_is_a_matter_of_the_account() -> None:
    """Its number stands in what is said of the field; the message is always the same."""
    said = "The from.email domain must be verified in your account to send emails. #MS42207"
    answer = {"message": "The given data was invalid.", "errors": {"from.email": [said]}}
    with pytest.raises(ConfigError) as caught:
        an_adapter(Wire(answer, status=422)).send(enveloped(a_message()))
    assert caught.value.code == "http 422 MS42207"


@pytest.mark.parametrize(
    ("status", "said"),
    [(401, "Unauthenticated."), (422, "m #MS42204"), (429, "m #MS42901"), (403, "m #MS40301")],
)
def test_a_quota_is_a_matter_of_the_account(status: int, said: str) -> None:
    """Another attempt in a minute does not help."""
    with pytest.raises(ConfigError) as caught:
        an_adapter(Wire({"message": said}, status=status)).send(enveloped(a_message()))
    assert caught.value.type is ConfigErrorType.INVALID


@pytest.mark.parametrize("key", ["old", "new"])
def test_each_of_several_keys_is_believed(key: str) -> None:
    """A key can be replaced without losing an event."""
    an_adapter().verify(posted(b"{}", key=key))


def test_the_test_of_an_address_has_a_public_key() -> None:
    """It reports nothing."""
    request = posted(b'{"type": "webhook.test"}', key=PUBLIC)
    an_adapter().verify(request)
    assert an_adapter().events(request) == ()


def test_the_public_key_opens_nothing_else() -> None:
    """Everybody knows it."""
    with pytest.raises(SignatureError) as caught:
        an_adapter().verify(posted(b'{"type": "activity.hard_bounced"}', key=PUBLIC))
    assert caught.value.type is SignatureErrorType.BAD_SIGNATURE


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, SignatureErrorType.MISSING_HEADER),
        ({"Signature": "0" * 64}, SignatureErrorType.BAD_SIGNATURE),
        ({"Signature": "0" * 63}, SignatureErrorType.MALFORMED_HEADER),
        ({"Signature": "é" * 64}, SignatureErrorType.MALFORMED_HEADER),
        ({"Signature": ""}, SignatureErrorType.MALFORMED_HEADER),
    ],
)
def test_a_wrong_signature_is_refused(
    headers: dict[str, str], expected: SignatureErrorType
) -> None:
    """Missing, forged or none at all."""
    with pytest.raises(SignatureError) as caught:
        an_adapter().verify(a_webhook(b"{}", headers=headers))
    assert caught.value.type is expected


def test_a_changed_body_is_refused() -> None:
    """Every byte is signed."""
    signature = posted(b"{}").headers.first("Signature")
    with pytest.raises(SignatureError):
        an_adapter().verify(a_webhook(b"{} ", headers={"Signature": signature or ""}))


def test_nothing_is_believed_without_a_key() -> None:
    """Without a key every request could be anybody's."""
    with pytest.raises(ConfigError) as caught:
        an_adapter(webhooks=WebhookAuth()).verify(posted(b"{}"))
    assert caught.value.type is ConfigErrorType.WEBHOOK_VERIFICATION_KEY_MISSING
