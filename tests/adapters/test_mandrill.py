"""Mandrill: what is asked of it, what its answers mean, and what its webhooks report."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final
from urllib.parse import urlencode

import pytest

from mailglass.adapters.api import WebhookAuth
from mailglass.adapters.mandrill import MandrillAdapter
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
from mailglass.webhook import TOKEN_KEY, ProviderEvent, WebhookRequest
from tests.adapters.wire import Wire, a_message, a_webhook, basic, body_of, enveloped

URL: Final = "https://app.test/webhooks/mandrill"
OK: Final = [{"email": "ada@recipient.test", "status": "sent", "_id": "m-1", "reject_reason": None}]
FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}


def an_adapter(wire: Wire | None = None, **given: Any) -> MandrillAdapter:
    """Return an adapter with two webhook keys, an old one and a new one."""
    usual: dict[str, Any] = {"webhooks": WebhookAuth(keys=["old-key", "new-key"])}
    return MandrillAdapter(api_key="key", transport=wire or Wire(OK), **(usual | given))


def asked(**given: Any) -> dict[str, Any]:
    """Return the message part of the request for a message."""
    found: dict[str, Any] = body_of(an_adapter().request(enveloped(a_message(**given))))["message"]
    return found


def mac(url: str, key: str, **fields: str) -> str:
    """Return the MAC as Mandrill's documentation describes it."""
    signed = url + "".join(name + fields[name] for name in sorted(fields))
    return base64.b64encode(hmac.new(key.encode(), signed.encode(), "sha1").digest()).decode()


def posted(
    events: object, *, key: str = "new-key", signed_url: str = URL, **headers: str
) -> WebhookRequest:
    """Return a signed request."""
    shown = events if isinstance(events, str) else json.dumps(events)
    signature = mac(signed_url, key, mandrill_events=shown)
    return a_webhook(
        urlencode({"mandrill_events": shown}).encode(),
        url=URL,
        headers={**FORM, "X-Mandrill-Signature": signature, **headers},
    )


def reported(record: dict[str, Any]) -> ProviderEvent:
    """Return the one event of a record."""
    (event,) = an_adapter().events(posted([record]))
    return event


def test_the_key_travels_in_the_body() -> None:
    """Mandrill knows no authorization header."""
    request = an_adapter().request(enveloped(a_message()))
    assert request.url == "https://mandrillapp.com/api/1.0/messages/send.json"
    assert body_of(request)["key"] == "key"


def test_recipients_say_where_they_stand() -> None:
    """To, Cc and Bcc are one list."""
    assert asked(to="Ada <ada@r.test>", cc="cy@r.test", bcc="di@r.test")["to"] == [
        {"email": "ada@r.test", "name": "Ada", "type": "to"},
        {"email": "cy@r.test", "type": "cc"},
        {"email": "di@r.test", "type": "bcc"},
    ]


def test_sender_bodies_and_headers_are_the_authors() -> None:
    """A reply address is a header here."""
    body = asked(html="<p>Hi</p>", reply_to=["one@s.test", "two@s.test"], headers={"X-A": "b"})
    assert (body["from_email"], body["from_name"]) == ("shop@sender.test", "Shop")
    assert (body["subject"], body["text"], body["html"]) == ("Your receipt", "Thanks.", "<p>Hi</p>")
    assert body["headers"] == {"X-A": "b", "Reply-To": "one@s.test, two@s.test"}


def test_files_and_inline_images_are_kept_apart() -> None:
    """An inline image is named by its content id."""
    body = asked(
        attachments=[
            Attachment(filename="a.txt", content=b"a", content_type="text/plain"),
            Attachment(filename="b.png", content=b"b", content_type="image/png", content_id="logo"),
        ]
    )
    assert body["attachments"] == [{"type": "text/plain", "name": "a.txt", "content": "YQ=="}]
    assert body["images"] == [{"type": "image/png", "name": "logo", "content": "Yg=="}]


def test_tags_and_metadata_travel_with_our_own_id() -> None:
    """Our own id comes back with every event."""
    envelope = enveloped(a_message(tags=["a", "b"], metadata={"order": "7"}))
    body = body_of(an_adapter().request(envelope))["message"]
    assert body["tags"] == ["a", "b"]
    assert body["metadata"] == {"order": "7", TOKEN_KEY: str(envelope.recipients[0].delivery_id)}


@pytest.mark.parametrize(
    "given",
    [
        {"tags": ["_mine"]},
        {"tags": ["t" * 51]},
        {"metadata": {"order": "x" * 200}},
        {"metadata": {TOKEN_KEY: "mine"}},
    ],
)
def test_what_mandrill_cannot_carry_is_refused(given: dict[str, Any]) -> None:
    """Its own tags, long ones, and more than 250 bytes of metadata."""
    with pytest.raises(SendError) as caught:
        asked(**given)
    assert caught.value.code == "unsupported_feature"


def test_metadata_may_use_every_byte_that_is_left() -> None:
    """The bound is Mandrill's, not a guess."""
    ours = len(f'{{"k":"","{TOKEN_KEY}":"{"0" * 36}"}}')
    assert asked(metadata={"k": "x" * (250 - ours)})["metadata"]["k"]


def test_each_recipient_has_its_own_verdict() -> None:
    """One call, and a status for everyone."""
    answer = [
        {"email": "ada@r.test", "status": "sent", "_id": "1"},
        {"email": "BOB@r.test", "status": "queued", "_id": "2"},
        {"email": "cy@r.test", "status": "rejected", "_id": "3", "reject_reason": "hard-bounce"},
        {"email": "di@r.test", "status": "rejected", "_id": "4", "reject_reason": "rule"},
        {"email": "ed@r.test", "status": "invalid", "_id": "5"},
        {"email": "fay@r.test", "status": "dreaming"},
    ]
    names = ("ada", "bob", "cy", "di", "ed", "fay", "gus")
    envelope = enveloped(a_message(to=[f"{name}@r.test" for name in names]))
    verdicts = an_adapter(Wire(answer)).send(envelope).verdicts
    assert [(one.failure_class, one.provider_message_id) for one in verdicts] == [
        (None, "1"),
        (None, "2"),
        (FailureClass.SUPPRESSED, "3"),
        (FailureClass.PERMANENT, "4"),
        (FailureClass.PERMANENT, "5"),
        (FailureClass.UNKNOWN, None),
        (FailureClass.UNKNOWN, None),
    ]


@pytest.mark.parametrize(
    ("status", "name", "expected"),
    [
        (500, "ValidationError", FailureClass.PERMANENT),
        (500, "Unknown_Template", FailureClass.PERMANENT),
        (500, "Something_New", FailureClass.PERMANENT),
        (200, "ValidationError", FailureClass.PERMANENT),
        (500, "GeneralError", FailureClass.NOT_SENT),
        (503, "ServiceUnavailable", FailureClass.NOT_SENT),
        (429, "Too_Many", FailureClass.NOT_SENT),
    ],
)
def test_the_name_of_an_error_counts_before_its_status(
    status: int, name: str, expected: FailureClass
) -> None:
    """Mandrill answers 500 to what will never pass."""
    wire = Wire({"status": "error", "code": -2, "name": name, "message": "m"}, status=status)
    (verdict,) = an_adapter(wire).send(enveloped(a_message())).verdicts
    assert verdict.failure_class is expected
    assert name in str(verdict.code)


@pytest.mark.parametrize("name", ["Invalid_Key", "PaymentRequired", "Unknown_Subaccount"])
def test_an_account_that_may_not_send_is_a_matter_of_settings(name: str) -> None:
    """No other attempt helps."""
    wire = Wire({"status": "error", "code": -1, "name": name, "message": "m"}, status=500)
    with pytest.raises(ConfigError) as caught:
        an_adapter(wire).send(enveloped(a_message()))
    assert caught.value.type is ConfigErrorType.INVALID


def test_a_proxys_error_page_is_unknown() -> None:
    """The mail may have been taken before the proxy gave up."""
    (verdict,) = an_adapter(Wire(b"<html>", status=500)).send(enveloped(a_message())).verdicts
    assert verdict.failure_class is FailureClass.UNKNOWN


@pytest.mark.parametrize("key", ["old-key", "new-key"])
def test_each_of_several_keys_is_believed(key: str) -> None:
    """A key can be replaced without losing an event."""
    an_adapter().verify(posted([{"event": "send"}], key=key))


def test_a_user_name_in_the_address_is_part_of_what_is_signed() -> None:
    """Mandrill signs the address as it was told, and calls with Basic credentials."""
    signed_url = "https://user:word@app.test/webhooks/mandrill"
    request = posted([{"event": "send"}], signed_url=signed_url, **basic("user:word"))
    an_adapter().verify(request)


def test_the_address_that_mandrill_was_told_may_be_another() -> None:
    """A proxy changes the address that the application sees."""
    webhooks = WebhookAuth(keys=["new-key"], url="https://public.test/hook")
    an_adapter(webhooks=webhooks).verify(posted([], signed_url="https://public.test/hook"))
    with pytest.raises(SignatureError):
        an_adapter(webhooks=webhooks).verify(posted([{"event": "send"}], signed_url=URL))


def test_a_multipart_form_is_read_as_the_other_kind() -> None:
    """The fields are signed and not their encoding."""
    shown = '[{"event": "send"}]'
    body = (
        f'--b\r\nContent-Disposition: form-data; name="mandrill_events"\r\n\r\n{shown}\r\n--b--\r\n'
    )
    headers = {
        "Content-Type": "multipart/form-data; boundary=b",
        "X-Mandrill-Signature": mac(URL, "new-key", mandrill_events=shown),
    }
    request = a_webhook(body.encode(), url=URL, headers=headers)
    an_adapter().verify(request)
    assert an_adapter().events(request)[0].type is EventType.SENT


def test_the_trial_of_an_address_passes_without_a_key() -> None:
    """Mandrill gives the key only after the trial, which brings no event."""
    request = posted("[]", key="test-webhook")
    an_adapter(webhooks=WebhookAuth()).verify(request)
    assert an_adapter().events(request) == ()


def test_the_trial_key_opens_nothing_else() -> None:
    """Everybody knows that key."""
    with pytest.raises(SignatureError) as caught:
        an_adapter().verify(posted([{"event": "hard_bounce"}], key="test-webhook"))
    assert caught.value.type is SignatureErrorType.BAD_SIGNATURE


def test_head_is_answered_and_brings_nothing() -> None:
    """Mandrill asks with HEAD whether the address exists."""
    request = a_webhook(b"", url=URL, method="HEAD")
    an_adapter(webhooks=WebhookAuth()).verify(request)
    assert an_adapter().events(request) == ()


def test_nothing_is_believed_without_a_key() -> None:
    """Without a key every request could be anybody's."""
    with pytest.raises(ConfigError) as caught:
        an_adapter(webhooks=WebhookAuth()).verify(posted([{"event": "send"}]))
    assert caught.value.type is ConfigErrorType.WEBHOOK_VERIFICATION_KEY_MISSING


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        (None, SignatureErrorType.MISSING_HEADER),
        (mac(URL, "other", mandrill_events="[1]"), SignatureErrorType.BAD_SIGNATURE),
        ("YW*Jj", SignatureErrorType.MALFORMED_HEADER),
        ("é" * 28, SignatureErrorType.MALFORMED_HEADER),
        ("", SignatureErrorType.MALFORMED_HEADER),
        ("YWJj", SignatureErrorType.MALFORMED_HEADER),
    ],
)
def test_a_wrong_signature_is_refused(signature: str | None, expected: SignatureErrorType) -> None:
    """Missing, forged or no signature at all."""
    headers = FORM if signature is None else {**FORM, "X-Mandrill-Signature": signature}
    request = a_webhook(b"mandrill_events=%5B1%5D", url=URL, headers=headers)
    with pytest.raises(SignatureError) as caught:
        an_adapter().verify(request)
    assert caught.value.type is expected


def test_a_changed_body_or_address_is_refused() -> None:
    """Both are signed."""
    good = posted([{"event": "send"}])
    body = a_webhook(good.body + b"&more=1", url=URL, headers=dict(good.headers._fields))
    url = a_webhook(good.body, url=f"{URL}?a=1", headers=dict(good.headers._fields))
    for changed in (body, url):
        with pytest.raises(SignatureError) as caught:
            an_adapter().verify(changed)
        assert caught.value.type is SignatureErrorType.BAD_SIGNATURE


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Type": "application/json"}, b"[]"),
        ({}, b"mandrill_events=[]"),
        (FORM, b"&".join(b"a=1" for _ in range(1_001))),
        ({"Content-Type": "multipart/form-data"}, b"--b--"),
        ({"Content-Type": "multipart/form-data; boundary=b"}, b"--b\r\nno head\r\n--b--"),
        ({"Content-Type": "multipart/form-data; boundary=b"}, b"--b\r\n"),
    ],
)
def test_what_is_no_form_is_refused(headers: dict[str, str], body: bytes) -> None:
    """Nothing but a typed refusal leaves the adapter."""
    request = a_webhook(body, url=URL, headers=headers)
    for step in (an_adapter().verify, an_adapter().events):
        with pytest.raises(SignatureError) as caught:
            step(request)
        assert caught.value.type is SignatureErrorType.MALFORMED_HEADER


@pytest.mark.parametrize(
    ("word", "expected", "is_permanent"),
    [
        ("send", EventType.SENT, False),
        ("delivered", EventType.DELIVERED, False),
        ("deferral", EventType.DEFERRED, False),
        ("hard_bounce", EventType.BOUNCED, True),
        ("soft_bounce", EventType.BOUNCED, False),
        ("open", EventType.OPENED, False),
        ("click", EventType.CLICKED, False),
        ("spam", EventType.COMPLAINED, True),
        ("unsub", EventType.UNSUBSCRIBED, False),
        ("reject", EventType.REJECTED, False),
        ("something_new", EventType.UNKNOWN, False),
    ],
)
def test_every_word_has_its_meaning(word: str, expected: EventType, *, is_permanent: bool) -> None:
    """Only a hard bounce and a complaint are permanent; a new word is unknown."""
    event = reported({"event": word})
    assert (event.type, event.is_permanent, event.word) == (expected, is_permanent, word)


def test_an_event_carries_what_mandrill_says() -> None:
    """Time, id, recipient, labels and the server's own words."""
    token = "0197a000-0000-7000-8000-000000000001"
    event = reported(
        {
            "event": "soft_bounce",
            "_id": "m-1",
            "ts": 1764000000,
            "msg": {
                "_id": "m-1",
                "email": "ada@r.test",
                "tags": ["a"],
                "metadata": {"order": 7, TOKEN_KEY: token},
                "bounce_description": "mailbox_full",
                "diag": "452 full",
            },
        }
    )
    assert event.occurred_at == datetime(2025, 11, 24, 16, 0, tzinfo=UTC)
    assert (event.provider_message_ids, event.recipient) == (("m-1",), "ada@r.test")
    assert (event.tags, dict(event.metadata)) == (("a",), {"order": "7"})
    assert (event.word, event.mta_response) == ("soft_bounce:mailbox_full", "452 full")
    assert str(event.delivery_token) == token


def test_a_deferral_brings_the_last_reply() -> None:
    """Mandrill lists every attempt."""
    attempts = [{"diag": "421 first"}, {"diag": "451 last"}]
    event = reported({"event": "deferral", "msg": {"smtp_events": attempts}})
    assert event.mta_response == "451 last"


def test_a_click_brings_its_address_and_browser() -> None:
    """Both are the provider's facts, and a robot is named."""
    event = reported(
        {
            "event": "click",
            "url": "https://a.test/?t=1",
            "user_agent": "Scanner",
            "user_agent_parsed": {"type": "Robot"},
        }
    )
    assert (event.click_url, event.user_agent) == ("https://a.test/?t=1", "Scanner")
    assert event.is_machine


@pytest.mark.parametrize(
    ("reject", "expected"),
    [
        ({"reason": "spam"}, RejectReason.SPAM),
        ("hard-bounce", RejectReason.BOUNCED),
        ({"reason": "strange"}, RejectReason.OTHER),
        (None, None),
    ],
)
def test_a_rejection_has_a_reason(reject: object, expected: RejectReason | None) -> None:
    """Mandrill's list, in the words that all providers share."""
    event = reported({"event": "reject", "msg": {"reject": reject}})
    assert event.reject_reason is expected


def test_a_change_of_the_providers_list_is_unknown() -> None:
    """It is about an address and no mail."""
    record = {"type": "blacklist", "action": "add", "reject": {"email": "a@r.test", "reason": "m"}}
    event = reported(record)
    assert (event.type, event.word) == (EventType.UNKNOWN, "blacklist")
    assert (event.recipient, event.description) == ("a@r.test", "m")


def test_a_received_mail_is_no_event() -> None:
    """Inbound mail may come to the same address."""
    assert an_adapter().events(posted([{"event": "inbound", "msg": {}}])) == ()


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ({"ts": 1}, {"ts": 1}, True),
        ({"ts": 1}, {"ts": 2}, False),
        ({"_id": "a"}, {"_id": "b"}, False),
        ({"url": "https://a.test"}, {"url": "https://b.test"}, False),
    ],
)
def test_an_event_has_the_same_id_each_time(
    one: dict[str, Any], other: dict[str, Any], *, is_same: bool
) -> None:
    """Mandrill gives none, and repeats batches."""
    ids: Sequence[str] = [
        reported({"event": "click"} | it).provider_event_id for it in (one, other)
    ]
    assert (ids[0] == ids[1]) is is_same


def test_one_bad_record_does_not_lose_the_others() -> None:
    """A batch may hold anything."""
    events = an_adapter().events(posted([None, 7, {"event": 3, "msg": []}, {"event": "send"}]))
    assert [event.type for event in events] == [EventType.UNKNOWN, EventType.SENT]


def test_a_stored_template_has_a_call_of_its_own() -> None:
    """What the mail says beside it counts before the template."""
    stored = StoredTemplate(id="welcome", variables={"site": "Shop"})
    message = a_message(stored_template=stored, subject="", text=None)
    request = an_adapter().request(enveloped(message))
    body = body_of(request)
    assert request.url.endswith("/messages/send-template.json")
    assert (body["template_name"], body["template_content"]) == ("welcome", [])
    assert body["message"]["global_merge_vars"] == [{"name": "site", "content": "Shop"}]
    assert not {"subject", "text", "preserve_recipients"} & body["message"].keys()


def test_each_recipients_variables_are_named() -> None:
    """And nobody sees another recipient."""
    stored = StoredTemplate(per_recipient={"ada@r.test": {"name": "Ada", "age": 7}})
    body = asked(to=["ada@r.test", "bob@r.test"], stored_template=stored)
    variables = [{"name": "name", "content": "Ada"}, {"name": "age", "content": 7}]
    assert body["merge_vars"] == [{"rcpt": "ada@r.test", "vars": variables}]
    assert body["preserve_recipients"] is False


def test_a_time_is_told_in_utc() -> None:
    """Mandrill takes no zone."""
    at = datetime(2026, 12, 1, 0, 30, tzinfo=timezone(timedelta(hours=1)))
    body = body_of(an_adapter().request(enveloped(a_message(provider_send_at=at))))
    assert body["send_at"] == "2026-11-30 23:30:00"


def test_bounces_go_to_the_envelope_senders_domain() -> None:
    """Mandrill takes nothing else of it."""
    assert asked(envelope_sender="any@bounces.test")["return_path_domain"] == "bounces.test"


def test_a_switch_that_is_none_stays_as_the_account_has_it() -> None:
    """The others are told."""
    body = asked(tracking=Tracking(opens=None, clicks=True))
    assert ("track_opens" in body, body["track_clicks"]) == (False, True)


def test_options_of_the_provider_are_merged_into_the_request() -> None:
    """Editable blocks of a template may be a mapping."""
    options = {"async": True, "message": {"auto_text": True}, "template_content": {"main": "<p>"}}
    message = a_message(provider_options=options, stored_template=StoredTemplate(id="welcome"))
    body = body_of(an_adapter().request(enveloped(message)))
    assert (body["async"], body["message"]["auto_text"]) == (True, True)
    assert body["message"]["from_email"] == "shop@sender.test"
    assert body["template_content"] == [{"name": "main", "content": "<p>"}]


def test_the_fields_are_signed_in_the_order_of_their_names() -> None:
    """However they stand in the form."""
    fields = {"zebra": "1", "mandrill_events": "[1]", "apple": "2"}
    headers = {**FORM, "X-Mandrill-Signature": mac(URL, "new-key", **fields)}
    an_adapter().verify(a_webhook(urlencode(fields).encode(), url=URL, headers=headers))


def test_a_recipient_is_found_whatever_its_capitals() -> None:
    """Mandrill answers in small letters."""
    wire = Wire([{"email": "ada@r.test", "status": "sent", "_id": "1"}])
    (verdict,) = an_adapter(wire).send(enveloped(a_message(to="Ada.X@r.test"))).verdicts
    assert verdict.failure_class is FailureClass.UNKNOWN
    wire = Wire([{"email": "ada.x@r.test", "status": "sent", "_id": "1"}])
    (verdict,) = an_adapter(wire).send(enveloped(a_message(to="Ada.X@r.test"))).verdicts
    assert verdict.provider_message_id == "1"
