"""SparkPost: what is asked of it, what its answers mean, and what its webhooks report."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from mailglass.adapters.api import WebhookAuth
from mailglass.adapters.sparkpost import SparkPostAdapter
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

OK = {"results": {"id": "7001", "total_accepted_recipients": 1, "total_rejected_recipients": 0}}


def an_adapter(wire: Wire | None = None, **given: Any) -> SparkPostAdapter:
    """Return an adapter whose webhooks bring user:word."""
    usual: dict[str, Any] = {"webhooks": WebhookAuth(credentials=["user:word"])}
    return SparkPostAdapter(api_key="key", transport=wire or Wire(OK), **(usual | given))


def asked(**given: Any) -> dict[str, Any]:
    """Return the body of the request for a message."""
    return body_of(an_adapter().request(enveloped(a_message(**given))))


def reported(
    record: dict[str, Any], *, group: str = "message_event", **given: Any
) -> ProviderEvent:
    """Return the one event of a record."""
    request = a_webhook([{"msys": {group: record}}])
    (event,) = an_adapter(**given).events(request)
    return event


def test_the_call_goes_to_the_transmissions_with_the_bare_key() -> None:
    """SparkPost takes the key without a scheme."""
    request = an_adapter().request(enveloped(a_message()))
    assert request.url == "https://api.sparkpost.com/api/v1/transmissions/"
    assert ("Authorization", "key") in request.headers


def test_everyone_is_a_recipient_and_the_header_names_to_alone() -> None:
    """Cc stands in a header of its own, Bcc in none."""
    body = asked(to=["Ada <ada@r.test>", "bob@r.test"], cc="cy@r.test", bcc="di@r.test")
    assert [one["address"] for one in body["recipients"]] == [
        {"email": email, "header_to": "Ada <ada@r.test>, bob@r.test"}
        for email in ("ada@r.test", "bob@r.test", "cy@r.test", "di@r.test")
    ]
    assert body["content"]["headers"] == {"Cc": "cy@r.test"}
    assert "di@r.test" not in str(body["content"])


def test_bodies_reply_address_and_headers_are_content() -> None:
    """The content is what the author wrote."""
    body = asked(html="<p>Hi</p>", reply_to="help@sender.test", headers={"X-A": "b"})
    assert body["content"] == {
        "from": "Shop <shop@sender.test>",
        "subject": "Your receipt",
        "text": "Thanks.",
        "html": "<p>Hi</p>",
        "reply_to": "help@sender.test",
        "headers": {"X-A": "b"},
    }


def test_files_and_inline_images_are_kept_apart() -> None:
    """An inline image is named by its content id."""
    body = asked(
        attachments=[
            Attachment(filename="a.txt", content=b"a", content_type="text/plain"),
            Attachment(filename="b.png", content=b"b", content_type="image/png", content_id="logo"),
        ]
    )
    assert body["content"]["attachments"] == [
        {"name": "a.txt", "type": "text/plain", "data": "YQ=="}
    ]
    assert body["content"]["inline_images"] == [
        {"name": "logo", "type": "image/png", "data": "Yg=="}
    ]


def test_the_tag_is_the_campaign_and_our_id_is_metadata() -> None:
    """Our own id comes back with every event."""
    envelope = enveloped(a_message(tags=["receipt"], metadata={"order": "7"}))
    body = body_of(an_adapter().request(envelope))
    assert body["campaign_id"] == "receipt"
    assert body["metadata"] == {"order": "7", TOKEN_KEY: str(envelope.recipients[0].delivery_id)}


def test_a_second_tag_is_refused() -> None:
    """SparkPost has one campaign a mail; a tag is not dropped in silence."""
    with pytest.raises(SendError) as caught:
        asked(tags=["one", "two"])
    assert caught.value.code == "unsupported_feature"


def test_a_tag_of_more_than_64_bytes_is_refused() -> None:
    """Bytes count, not characters."""
    assert asked(tags=["é" * 32])["campaign_id"]
    with pytest.raises(SendError) as caught:
        asked(tags=["é" * 33])
    assert caught.value.code == "unsupported_feature"


def test_everyone_accepted_is_known_by_the_transmission() -> None:
    """The id of the call is what events bring back."""
    (verdict,) = an_adapter().send(enveloped(a_message())).verdicts
    assert verdict.is_accepted
    assert verdict.provider_message_id == "7001"


@pytest.mark.parametrize(
    ("yes", "no", "expected"), [(0, 2, FailureClass.PERMANENT), (1, 1, FailureClass.UNKNOWN)]
)
def test_rejected_recipients_are_not_called_sent(yes: int, no: int, expected: FailureClass) -> None:
    """With some rejected nobody can tell which, so that events must decide."""
    results = {"id": "1", "total_accepted_recipients": yes, "total_rejected_recipients": no}
    envelope = enveloped(a_message(to=["ada@r.test", "bob@r.test"]))
    verdicts = an_adapter(Wire({"results": results})).send(envelope).verdicts
    assert [one.failure_class for one in verdicts] == [expected, expected]


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (422, "1300", FailureClass.PERMANENT),
        (400, "1902", FailureClass.PERMANENT),
        (400, "1502", FailureClass.NOT_SENT),
        (420, "2101", FailureClass.NOT_SENT),
        (420, "2102", FailureClass.NOT_SENT),
        (429, "", FailureClass.NOT_SENT),
        (500, "1500", FailureClass.NOT_SENT),
        (503, "1900", FailureClass.NOT_SENT),
    ],
)
def test_an_error_is_classed_by_code_and_status(
    status: int, code: str, expected: FailureClass
) -> None:
    """SparkPost's own codes say more than the status."""
    wire = Wire({"errors": [{"message": "m", "code": code}]}, status=status)
    (verdict,) = an_adapter(wire).send(enveloped(a_message())).verdicts
    assert verdict.failure_class is expected
    assert code in str(verdict.code)


@pytest.mark.parametrize(
    ("status", "code"), [(401, "1303"), (403, "1100"), (400, "7000"), (400, "7001"), (420, "2103")]
)
def test_an_account_that_may_not_send_is_a_matter_of_settings(status: int, code: str) -> None:
    """A key, a domain or the sandbox: no other attempt helps."""
    wire = Wire({"errors": [{"message": "m", "code": code}]}, status=status)
    with pytest.raises(ConfigError) as caught:
        an_adapter(wire).send(enveloped(a_message()))
    assert caught.value.type is ConfigErrorType.INVALID


def test_an_answer_without_counts_is_unknown() -> None:
    """A 200 that says nothing of the mail proves nothing."""
    (verdict,) = an_adapter(Wire({"results": {"id": "1"}})).send(enveloped(a_message())).verdicts
    assert verdict.failure_class is FailureClass.UNKNOWN


@pytest.mark.parametrize(
    "headers", [basic("user:word"), {"Authorization": "Bearer token-2"}, basic("old:word")]
)
def test_each_of_several_credentials_is_believed(headers: dict[str, str]) -> None:
    """Basic and Bearer, the new ones and the old."""
    webhooks = WebhookAuth(credentials=["user:word", "token-2", "old:word"])
    an_adapter(webhooks=webhooks).verify(a_webhook([], headers=headers))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, SignatureErrorType.MISSING_HEADER),
        (basic("user:wrong"), SignatureErrorType.BAD_CREDENTIALS),
        (basic("user"), SignatureErrorType.BAD_CREDENTIALS),
        ({"Authorization": "Basic not*base64"}, SignatureErrorType.MALFORMED_HEADER),
        ({"Authorization": "Basic dXNlcjp3b3JkÉ"}, SignatureErrorType.MALFORMED_HEADER),
        ({"Authorization": "Digest user"}, SignatureErrorType.MALFORMED_HEADER),
    ],
)
def test_other_credentials_are_refused(
    headers: dict[str, str], expected: SignatureErrorType
) -> None:
    """Whatever is wrong is a typed refusal."""
    with pytest.raises(SignatureError) as caught:
        an_adapter().verify(a_webhook([], headers=headers))
    assert caught.value.type is expected


def test_nothing_is_believed_without_credentials() -> None:
    """SparkPost signs nothing, so there must be credentials."""
    with pytest.raises(ConfigError) as caught:
        an_adapter(webhooks=WebhookAuth()).verify(a_webhook([]))
    assert caught.value.type is ConfigErrorType.WEBHOOK_VERIFICATION_KEY_MISSING


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("injection", EventType.QUEUED),
        ("delivery", EventType.DELIVERED),
        ("delay", EventType.DEFERRED),
        ("bounce", EventType.BOUNCED),
        ("out_of_band", EventType.BOUNCED),
        ("policy_rejection", EventType.REJECTED),
        ("generation_rejection", EventType.REJECTED),
        ("generation_failure", EventType.FAILED),
        ("spam_complaint", EventType.COMPLAINED),
        ("open", EventType.OPENED),
        ("amp_open", EventType.OPENED),
        ("initial_open", EventType.UNKNOWN),
        ("click", EventType.CLICKED),
        ("amp_click", EventType.CLICKED),
        ("list_unsubscribe", EventType.UNSUBSCRIBED),
        ("link_unsubscribe", EventType.UNSUBSCRIBED),
        ("sms_status", EventType.UNKNOWN),
    ],
)
def test_every_word_has_its_meaning(word: str, expected: EventType) -> None:
    """A word that is not known is unknown, and is kept."""
    event = reported({"type": word})
    assert (event.type, event.word) == (expected, word)


@pytest.mark.parametrize(
    ("number", "kind", "reason", "is_permanent"),
    [
        ("1", EventType.BOUNCED, RejectReason.OTHER, False),
        ("10", EventType.BOUNCED, RejectReason.INVALID, True),
        ("22", EventType.BOUNCED, RejectReason.BOUNCED, False),
        ("24", EventType.BOUNCED, RejectReason.TIMED_OUT, False),
        ("25", EventType.BOUNCED, RejectReason.BLOCKED, False),
        ("30", EventType.BOUNCED, RejectReason.BOUNCED, True),
        ("51", EventType.BOUNCED, RejectReason.SPAM, False),
        ("60", EventType.AUTORESPONDED, None, False),
        ("80", EventType.SUBSCRIBED, None, False),
        ("90", EventType.UNSUBSCRIBED, RejectReason.UNSUBSCRIBED, False),
        ("100", EventType.AUTORESPONDED, None, False),
        ("777", EventType.BOUNCED, None, False),
    ],
)
def test_the_class_of_a_bounce_decides(
    number: str, kind: EventType, reason: RejectReason | None, *, is_permanent: bool
) -> None:
    """Only what SparkPost calls hard is permanent."""
    event = reported({"type": "bounce", "bounce_class": number})
    assert (event.type, event.reject_reason, event.is_permanent) == (kind, reason, is_permanent)


def test_an_event_carries_what_sparkpost_says() -> None:
    """Time, ids, recipient as it was written, labels and the server's own words."""
    event = reported(
        {
            "type": "bounce",
            "event_id": "e-1",
            "timestamp": "1764000000",
            "transmission_id": "t-1",
            "message_id": "m-1",
            "rcpt_to": "ada@r.test",
            "raw_rcpt_to": "Ada@r.test",
            "raw_reason": "550 no",
            "reason": "550 ...",
            "campaign_id": "receipt",
            "rcpt_meta": {"order": "7", TOKEN_KEY: "0197a000-0000-7000-8000-000000000001"},
        }
    )
    assert event.occurred_at == datetime(2025, 11, 24, 16, 0, tzinfo=UTC)
    assert (event.provider_event_id, event.provider_message_ids) == ("e-1", ("t-1", "m-1"))
    assert (event.recipient, event.mta_response) == ("Ada@r.test", "550 no")
    assert (event.tags, dict(event.metadata)) == (("receipt",), {"order": "7"})
    assert str(event.delivery_token) == "0197a000-0000-7000-8000-000000000001"


def test_a_click_brings_its_address_and_browser() -> None:
    """Both are the provider's facts."""
    event = reported(
        {"type": "click", "target_link_url": "https://a.test/?t=1", "user_agent": "Browser"},
        group="track_event",
    )
    assert (event.click_url, event.user_agent) == ("https://a.test/?t=1", "Browser")


def test_a_prefetched_open_is_a_machines() -> None:
    """A proxy that loads every image has not read the mail."""
    assert reported({"type": "open", "is_prefetched": True}).is_machine


def test_the_first_pixel_counts_when_asked_for() -> None:
    """Some readers never reach the end of a mail."""
    assert reported({"type": "initial_open"}, first_open_is_open=True).type is EventType.OPENED


@pytest.mark.parametrize("body", [[{"msys": {}}], [], [None, 7], {"msys": {}}])
def test_a_ping_has_no_event(body: object) -> None:
    """SparkPost tries an address with an empty record."""
    assert an_adapter().events(a_webhook(body)) == ()


def test_a_received_mail_is_no_event() -> None:
    """Inbound mail may come to the same address."""
    body: list[Any] = [{"msys": {"relay_message": {"content": {}}}}]
    assert an_adapter().events(a_webhook(body)) == ()


def test_a_record_without_id_has_the_same_id_each_time() -> None:
    """A repeated batch must be seen as one."""
    one, other = (
        reported({"type": "open", "raw_rcpt_to": who}) for who in ("a@r.test", "b@r.test")
    )
    assert (
        one.provider_event_id
        == reported({"type": "open", "raw_rcpt_to": "a@r.test"}).provider_event_id
    )
    assert one.provider_event_id != other.provider_event_id


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100, b'[{"a": NaN}]'])
def test_a_body_that_is_no_json_is_refused(body: bytes) -> None:
    """Nothing but a typed refusal leaves the adapter."""
    request: WebhookRequest = a_webhook(body)
    with pytest.raises(SignatureError) as caught:
        an_adapter().events(request)
    assert caught.value.type is SignatureErrorType.MALFORMED_HEADER


PER_RECIPIENT = StoredTemplate(
    variables={"site": "Shop"}, per_recipient={"ada@r.test": {"name": "Ada"}, "bob@r.test": {}}
)


def test_a_stored_template_is_all_of_the_content() -> None:
    """It has a sender, a subject and bodies of its own."""
    stored = StoredTemplate(id="welcome", variables={"name": "Ada"})
    body = asked(stored_template=stored, subject="", text=None)
    assert body["content"] == {"template_id": "welcome"}
    assert body["substitution_data"] == {"name": "Ada"}


@pytest.mark.parametrize(
    "given",
    [
        {"subject": "Mine"},
        {"text": "Mine"},
        {"html": "<p>Mine</p>"},
        {"attachments": [Attachment(filename="a", content=b"a")]},
        {"headers": {"X-A": "b"}},
        {
            "stored_template": StoredTemplate(
                id="welcome", own_headers={"ada@recipient.test": {"X-A": "b"}}
            )
        },
        {"reply_to": "help@s.test"},
        {"cc": "cy@r.test"},
    ],
)
def test_what_a_stored_template_holds_itself_is_refused(given: dict[str, Any]) -> None:
    """SparkPost would drop it in silence."""
    usual = {"stored_template": StoredTemplate(id="welcome"), "subject": "", "text": None}
    with pytest.raises(SendError) as caught:
        asked(**(usual | given))
    assert caught.value.code == "unsupported_feature"


def test_without_variables_of_their_own_the_recipients_see_each_other() -> None:
    """As in any mail."""
    body = asked(
        to=["ada@r.test", "bob@r.test"], stored_template=StoredTemplate(variables={"a": 1})
    )
    assert {one["address"]["header_to"] for one in body["recipients"]} == {"ada@r.test, bob@r.test"}


def test_with_variables_of_their_own_each_to_recipient_sees_nobody_else() -> None:
    """And everyone who is copied gets a copy of each of these mails."""
    body = asked(
        to=["ada@r.test", "Bob <bob@r.test>"], cc="cy@r.test", stored_template=PER_RECIPIENT
    )
    ada, bob = {"header_to": "ada@r.test"}, {"header_to": "Bob <bob@r.test>"}
    name = {"name": "Ada"}
    assert body["substitution_data"] == {"site": "Shop"}
    assert body["recipients"] == [
        {"address": {"email": "ada@r.test", **ada}, "substitution_data": name},
        {"address": {"email": "bob@r.test", **bob}},
        {"address": {"email": "cy@r.test", **ada}, "substitution_data": name},
        {"address": {"email": "cy@r.test", **bob}},
    ]


def test_a_header_of_ones_own_is_a_placeholder_that_is_filled_for_each() -> None:
    """Who has none gets the shared one, in the copies of everyone who is copied as well."""
    own = {"ada@r.test": {"x-ref": "7", "X-Two": "2"}, "bob@r.test": {"X-Two": "two"}}
    body = asked(
        to=["ada@r.test", "bob@r.test"],
        bcc="cy@r.test",
        headers={"X-All": "a", "X-Ref": "shared"},
        stored_template=StoredTemplate(own_headers=own),
    )
    assert body["content"]["headers"] == {
        "X-All": "a",
        "X-Ref": "{{header_x_ref}}",
        "X-Two": "{{header_x_two}}",
    }
    assert body["substitution_data"] == {"header_x_ref": "shared"}
    ada, bob = {"header_x_ref": "7", "header_x_two": "2"}, {"header_x_two": "two"}
    filled = [(one["address"]["email"], one["substitution_data"]) for one in body["recipients"]]
    assert filled == [
        ("ada@r.test", ada),
        ("bob@r.test", bob),
        ("cy@r.test", ada),
        ("cy@r.test", bob),
    ]


def test_a_header_beside_variables_changes_none_of_them() -> None:
    """Both travel as substitution data."""
    stored = StoredTemplate(
        variables={"site": "Shop"},
        per_recipient={"ada@r.test": {"name": "Ada"}},
        own_headers={"ada@r.test": {"X-Ref": "7"}},
    )
    body = asked(to="ada@r.test", stored_template=stored)
    assert body["substitution_data"] == {"site": "Shop"}
    assert body["recipients"][0]["substitution_data"] == {"name": "Ada", "header_x_ref": "7"}


@pytest.mark.parametrize("name", ["X-Ref", "X_Ref"])
def test_an_own_header_that_not_everyone_can_have_is_refused(name: str) -> None:
    """A placeholder without a value would be an empty header; _ and - would be one variable."""
    everyone = ["ada@r.test", "bob@r.test"] if name == "X-Ref" else ["ada@r.test"]
    stored = StoredTemplate(own_headers={"ada@r.test": {name: "7"}})
    with pytest.raises(SendError) as caught:
        asked(to=everyone, stored_template=stored)
    assert caught.value.code == "unsupported_feature"


def test_a_time_and_the_switches_are_options() -> None:
    """A switch that is None stays as the account has it."""
    at = datetime(2026, 12, 1, 9, 30, tzinfo=timezone(timedelta(hours=1)))
    body = asked(provider_send_at=at, tracking=Tracking(opens=True, clicks=None))
    assert body["options"] == {"start_time": "2026-12-01T09:30:00+01:00", "open_tracking": True}


def test_bounces_go_to_the_envelope_sender() -> None:
    """Which is not the sender that people see."""
    assert asked(envelope_sender="bounces@s.test")["return_path"] == "bounces@s.test"


def test_options_of_the_provider_are_merged_into_the_request() -> None:
    """Objects are merged, all else is replaced."""
    options = {"options": {"transactional": True}, "campaign_id": "other"}
    body = asked(provider_options=options, tags=["mine"], tracking=Tracking(opens=True))
    assert body["options"] == {
        "open_tracking": True,
        "click_tracking": False,
        "transactional": True,
    }
    assert body["campaign_id"] == "other"


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("{{name}}", "{{opening_double_curly()}}name{{closing_double_curly()}}"),
        ("{{{name}}}", "{{opening_triple_curly()}}name{{closing_triple_curly()}}"),
        ("a{b{c:d}}", "a{b{c:d{{closing_double_curly()}}"),
        ("{{{{", "{{opening_double_curly()}}" * 2),
        ("}}}}}", "{{closing_triple_curly()}}{{closing_double_curly()}}"),
        ("{name}", "{name}"),
    ],
)
def test_braces_of_a_mail_without_variables_stay_what_they_are(written: str, sent: str) -> None:
    """SparkPost reads every mail as a template, in which they would vanish with what they enclose."""
    content = asked(text=written, html=written, subject=written, headers={"X-A": written})[
        "content"
    ]
    assert (content["text"], content["html"], content["subject"]) == (sent, sent, sent)
    assert content["headers"] == {"X-A": sent}


def test_the_placeholders_of_a_mail_with_variables_are_its_authors() -> None:
    """They are what the variables are for."""
    stored = StoredTemplate(variables={"name": "Ada"})
    assert (
        asked(text="Hello {{name}}", stored_template=stored)["content"]["text"] == "Hello {{name}}"
    )


@pytest.mark.parametrize("written", ["a{b{}}", "{{}"])
def test_braces_that_no_macro_can_write_are_refused(written: str) -> None:
    """Before any row exists, since a macro beside one more brace would be another one."""
    with pytest.raises(SendError) as caught:
        asked(text=written)
    assert caught.value.code == "unsupported_feature"
