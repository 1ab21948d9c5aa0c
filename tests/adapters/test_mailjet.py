"""Mailjet: what is asked of it, what its answers mean, and which webhooks are believed."""

from __future__ import annotations

import base64
import json
from typing import Any
from uuid import UUID

import pytest

from mailglass.adapters.api import WebhookAuth
from mailglass.adapters.mailjet import MailjetAdapter
from mailglass.errors import (
    ConfigError,
    ConfigErrorType,
    FailureClass,
    SendError,
    SignatureError,
    SignatureErrorType,
)
from mailglass.events import EventType
from mailglass.message import Attachment, StoredTemplate, Tracking
from mailglass.webhook import TOKEN_KEY
from tests.adapters.wire import NOW, Wire, a_message, a_webhook, basic, body_of, enveloped

ADA: dict[str, Any] = {"Email": "ada@r.test", "MessageID": 576460752303423488}
YES: dict[str, Any] = {"Status": "success", "To": [ADA], "Cc": [], "Bcc": []}
EACH = StoredTemplate(
    id="22", variables={"site": "Shop"}, per_recipient={"ada@r.test": {"n": 1}, "bob@r.test": {}}
)


def an_adapter(wire: Wire | None = None, **given: Any) -> MailjetAdapter:
    """Return an adapter with an old and a new password."""
    usual: dict[str, Any] = {"webhooks": WebhookAuth(credentials=["user:old", "user:new"])}
    transport = wire or Wire({"Messages": [YES]})
    return MailjetAdapter(
        api_key="public", secret_key="private", transport=transport, **usual | given
    )


def asked(**given: Any) -> dict[str, Any]:
    """Return the body of the request for a message."""
    return body_of(an_adapter().request(enveloped(a_message(**given))))


def refusal(status: int, code: str) -> dict[str, Any]:
    """Return an item that was not taken."""
    return {"Status": "error", "Errors": [{"StatusCode": status, "ErrorCode": code}]}


def test_the_pair_of_keys_travels_as_basic_credentials() -> None:
    """The first is the user, the second the password."""
    request = an_adapter().request(enveloped(a_message()))
    assert request.url == "https://api.mailjet.com/v3.1/send"
    shown = dict(request.headers)["Authorization"].removeprefix("Basic ")
    assert base64.b64decode(shown) == b"public:private"


def test_what_all_mails_share_stands_apart() -> None:
    """Only the recipients are the message's own."""
    body = asked(to="Ada <ada@r.test>", cc="cy@r.test", bcc="di@r.test", reply_to="help@s.test")
    shared, (mail,) = body["Globals"], body["Messages"]
    assert mail["To"] == [{"Email": "ada@r.test", "Name": "Ada"}]
    assert shared["From"] == {"Email": "shop@sender.test", "Name": "Shop"}
    assert (shared["Cc"], shared["Bcc"]) == ([{"Email": "cy@r.test"}], [{"Email": "di@r.test"}])
    assert (shared["Subject"], shared["TextPart"]) == ("Your receipt", "Thanks.")
    assert shared["ReplyTo"] == {"Email": "help@s.test"}


def test_our_id_is_the_custom_id_and_comes_back() -> None:
    """So that the author's metadata stays the author's."""
    envelope = enveloped(a_message(metadata={"order": "7"}, tags=["receipt"]))
    body = body_of(an_adapter().request(envelope))
    known = body["Messages"][0]["CustomID"]
    assert UUID(known) == envelope.recipients[0].delivery_id
    assert json.loads(body["Globals"]["EventPayload"]) == {"order": "7"}
    assert body["Globals"]["CustomCampaign"] == "receipt"
    (event,) = an_adapter().events(a_webhook({"event": "open", "CustomID": known}))
    assert event.delivery_token == UUID(known)


def test_files_and_inline_images_are_kept_apart() -> None:
    """An inline image has a content id."""
    shared = asked(
        attachments=[
            Attachment(filename="a.txt", content=b"a", content_type="text/plain"),
            Attachment(filename="b.png", content=b"b", content_type="image/png", content_id="logo"),
        ]
    )["Globals"]
    assert [one["Filename"] for one in shared["Attachments"]] == ["a.txt"]
    assert shared["InlinedAttachments"] == [
        {
            "ContentType": "image/png",
            "Filename": "b.png",
            "Base64Content": "Yg==",
            "ContentID": "logo",
        }
    ]


def test_switches_are_words_and_none_leaves_the_account_as_it_is() -> None:
    """Three values each."""
    shared = asked(tracking=Tracking(opens=True, clicks=None))["Globals"]
    assert (shared["TrackOpens"], "TrackClicks" in shared) == ("enabled", False)
    assert asked()["Globals"]["TrackClicks"] == "disabled"


def test_bounces_go_to_the_envelope_sender() -> None:
    """Which is not the sender that people see."""
    shared = asked(envelope_sender="bounces@s.test")["Globals"]
    assert shared["Sender"] == {"Email": "bounces@s.test"}


def test_variables_of_the_bodies_switch_the_language_on() -> None:
    """Without it the placeholders would be mailed as they are."""
    shared = asked(stored_template=StoredTemplate(variables={"name": "Ada"}))["Globals"]
    assert (shared["TemplateLanguage"], shared["Variables"]) == (True, {"name": "Ada"})


def test_mails_of_their_own_are_messages() -> None:
    """Each with its own variables and id, and its own verdict."""
    message = a_message(to=["ada@r.test", "bob@r.test"], stored_template=EACH, text=None)
    wire = Wire({"Messages": [YES, refusal(400, "mj-0013")]}, status=400)
    envelope = enveloped(message)
    verdicts = an_adapter(wire).send(envelope).verdicts
    body = body_of(wire.requests[0])
    assert body["Globals"]["TemplateID"] == 22
    ada, bob = body["Messages"]
    assert (ada["To"], ada["Variables"]) == ([{"Email": "ada@r.test"}], {"n": 1})
    assert [UUID(one["CustomID"]) for one in (ada, bob)] == [
        one.delivery_id for one in envelope.recipients
    ]
    assert [(one.failure_class, one.code) for one in verdicts] == [
        (None, None),
        (FailureClass.PERMANENT, "http 400 mj-0013"),
    ]


def test_a_large_number_stays_the_id_it_is() -> None:
    """It has more digits than a float."""
    (verdict,) = an_adapter().send(enveloped(a_message(to="Ada@r.test"))).verdicts
    assert verdict.provider_message_id == "576460752303423488"


@pytest.mark.parametrize(
    "given",
    [
        {"provider_send_at": NOW},
        {"tags": ["a", "b"]},
        {"reply_to": ["a@s.test", "b@s.test"]},
        {"metadata": {TOKEN_KEY: "mine"}},
        {"stored_template": StoredTemplate(id="welcome"), "text": None},
        {"stored_template": StoredTemplate(id="7")},
    ],
)
def test_what_mailjet_cannot_carry_is_refused(given: dict[str, Any]) -> None:
    """Nothing is dropped in silence."""
    with pytest.raises(SendError) as caught:
        asked(**given)
    assert caught.value.code == "unsupported_feature"


def test_options_of_the_provider_are_merged_into_the_request() -> None:
    """What mailglass has no word for is still within reach."""
    body = asked(provider_options={"SandboxMode": True, "Globals": {"URLTags": "a=1"}})
    assert (body["SandboxMode"], body["Globals"]["URLTags"]) == (True, "a=1")
    assert body["Globals"]["TextPart"] == "Thanks."


@pytest.mark.parametrize(
    ("status", "item", "expected"),
    [
        (400, refusal(400, "mj-0013"), FailureClass.PERMANENT),
        (200, refusal(400, "mj-0013"), FailureClass.PERMANENT),
        (400, refusal(403, "send-0008"), FailureClass.CONFIGURATION),
        (200, {"Status": "error"}, FailureClass.UNKNOWN),
        (200, {"Status": "success", "To": []}, FailureClass.UNKNOWN),
        (500, YES, FailureClass.NOT_SENT),
    ],
)
def test_an_item_has_its_own_status(
    status: int, item: dict[str, Any], expected: FailureClass
) -> None:
    """Whatever the call as a whole says, unless the server failed."""
    wire = Wire({"Messages": [item]}, status=status)
    (verdict,) = an_adapter(wire).send(enveloped(a_message(to="ada@r.test"))).verdicts
    assert verdict.failure_class is expected


def test_a_refused_call_has_a_code_of_its_own() -> None:
    """No item was looked at."""
    wire = Wire({"ErrorCode": "mj-0002", "StatusCode": 400, "ErrorMessage": "m"}, status=400)
    (verdict,) = an_adapter(wire).send(enveloped(a_message())).verdicts
    assert (verdict.failure_class, verdict.code) == (FailureClass.PERMANENT, "http 400 mj-0002")


def test_a_limit_is_told_in_plain_text() -> None:
    """Its answer is no JSON."""
    wire = Wire(b"Rate limit exceeded", status=429)
    (verdict,) = an_adapter(wire).send(enveloped(a_message())).verdicts
    assert verdict.failure_class is FailureClass.NOT_SENT


@pytest.mark.parametrize("user", ["user:old", "user:new"])
def test_each_of_several_passwords_is_believed(user: str) -> None:
    """A password can be replaced without losing an event."""
    an_adapter().verify(a_webhook([], headers=basic(user)))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, SignatureErrorType.MISSING_HEADER),
        (basic("user:guess"), SignatureErrorType.BAD_CREDENTIALS),
        ({"Authorization": "Basic é"}, SignatureErrorType.MALFORMED_HEADER),
    ],
)
def test_wrong_credentials_are_refused(
    headers: dict[str, str], expected: SignatureErrorType
) -> None:
    """Missing, another's or none at all."""
    with pytest.raises(SignatureError) as caught:
        an_adapter().verify(a_webhook([], headers=headers))
    assert caught.value.type is expected


def test_nothing_is_believed_without_credentials() -> None:
    """Mailjet signs nothing."""
    with pytest.raises(ConfigError) as caught:
        an_adapter(webhooks=WebhookAuth()).verify(a_webhook([]))
    assert caught.value.type is ConfigErrorType.WEBHOOK_VERIFICATION_KEY_MISSING


def test_one_bad_record_does_not_lose_its_batch() -> None:
    """What is no object is left out, and a wrong time is no time."""
    first, second = an_adapter().events(a_webhook([7, {"event": "open", "time": "soon"}, {}]))
    assert (first.occurred_at, second.recipient) == (None, None)


@pytest.mark.parametrize(
    ("about", "is_blocked", "is_permanent"),
    [
        ("recipient", False, True),
        ("domain", False, True),
        (None, False, True),
        ("spam", False, False),
        ("system", False, False),
        ("content", False, False),
        ("spam", True, True),
    ],
)
def test_a_hard_bounce_is_for_good_when_the_address_is_the_reason(
    about: str | None, *, is_blocked: bool, is_permanent: bool
) -> None:
    """A filter or a fault says nothing of the address, unless Mailjet blocks it from now on."""
    record = {"event": "bounce", "hard_bounce": True, "blocked": is_blocked}
    (event,) = an_adapter().events(a_webhook([{**record, "error_related_to": about}]))
    assert (event.type, event.is_permanent) == (EventType.BOUNCED, is_permanent)


def test_grouped_events_of_two_mails_are_told_apart() -> None:
    """Grouped, some have the id of the mail under another name, as text."""
    batch = [
        {"event": "sent", "email": "ada@r.test", "time": 1424873938, "mj_message_id": number}
        for number in ("18858825588804172", "18858825588803684")
    ]
    first, second = an_adapter().events(a_webhook(batch))
    assert first.provider_message_ids == ("18858825588804172",)
    assert first.provider_event_id != second.provider_event_id
