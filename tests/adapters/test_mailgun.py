"""Mailgun: what is asked of it, what its answers mean, and what its webhooks report."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta, timezone
from email.message import Message as Mime
from email.parser import BytesParser
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

import pytest

from mailglass.adapters.api import WebhookAuth
from mailglass.adapters.http import Request
from mailglass.adapters.mailgun import MailgunAdapter
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
from tests.adapters.wire import NOW, Wire, a_message, a_webhook, basic, enveloped

OK: Final = {"id": "<20261121.1@sender.test>", "message": "Queued. Thank you."}
KEYS: Final = ("old-key", "new-key")
TOKEN: Final = "f" * 50
FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}


def an_adapter(wire: Wire | None = None, **given: Any) -> MailgunAdapter:
    """Return an adapter with two signing keys, an old one and a new one."""
    usual: dict[str, Any] = {"webhooks": WebhookAuth(keys=KEYS)}
    return MailgunAdapter(api_key="key", transport=wire or Wire(OK), **(usual | given))


def asked(**given: Any) -> list[tuple[str, str]]:
    """Return the fields of the request for a message."""
    request = an_adapter().request(enveloped(a_message(**given)))
    return parse_qsl(request.body.decode(), keep_blank_values=True)


def parts_of(request: Request) -> list[Mime]:
    """Return the parts of a multipart request."""
    kind = dict(request.headers)["Content-Type"]
    parsed = BytesParser().parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + request.body)
    found = parsed.get_payload()
    assert isinstance(found, list)
    return [part for part in found if isinstance(part, Mime)]


def signature(
    *, key: str = "new-key", at: datetime = NOW, token: str = TOKEN, **other: Any
) -> dict[str, Any]:
    """Return the block that Mailgun signs a request with."""
    stamp = str(int(at.timestamp()))
    mac = hmac.new(key.encode(), f"{stamp}{token}".encode(), hashlib.sha256).hexdigest()
    return {"timestamp": stamp, "token": token, "signature": mac} | other


def posted(record: dict[str, Any], **given: Any) -> WebhookRequest:
    """Return a signed JSON request."""
    return a_webhook({"signature": signature(**given), "event-data": record})


def reported(record: dict[str, Any]) -> ProviderEvent:
    """Return the one event of a JSON request."""
    (event,) = an_adapter().events(posted(record))
    return event


def form_reported(*fields: tuple[str, str]) -> ProviderEvent:
    """Return the one event of a form, to which Mailgun's own fields are added last."""
    request = a_webhook(urlencode([*fields, *signature().items()]).encode(), headers=FORM)
    an_adapter().verify(request)
    (event,) = an_adapter().events(request)
    return event


def test_the_call_goes_to_the_senders_domain_with_the_key() -> None:
    """Without a domain of its own the sender's counts."""
    request = an_adapter().request(enveloped(a_message()))
    assert request.url == "https://api.mailgun.net/v3/sender.test/messages"
    login = base64.b64encode(b"api:key").decode()
    assert ("Authorization", f"Basic {login}") in request.headers


def test_a_domain_that_is_set_counts_before_the_senders() -> None:
    """An account may send through another domain."""
    adapter = an_adapter(domain="mg.sender.test", base_url="https://api.eu.mailgun.net/")
    request = adapter.request(enveloped(a_message()))
    assert request.url == "https://api.eu.mailgun.net/v3/mg.sender.test/messages"


@pytest.mark.parametrize("domain", ["", "a/b", "a b", "münchen.test", "a.test/../x"])
def test_what_is_no_domain_is_refused(domain: str) -> None:
    """It becomes part of the address that is called."""
    with pytest.raises(ConfigError):
        an_adapter(domain=domain)


def test_the_mail_is_a_form() -> None:
    """Each recipient is a field of its own."""
    fields = asked(
        to=["Ada <ada@r.test>", "bob@r.test"],
        cc="cy@r.test",
        bcc="di@r.test",
        html="<p>Hi</p>",
        reply_to="help@s.test",
        headers={"X-A": "b"},
        tags=["one", "two"],
    )
    named = [pair for pair in fields if not pair[0].startswith(("v:", "o:tracking"))]
    assert named == [
        ("from", "Shop <shop@sender.test>"),
        ("to", "Ada <ada@r.test>"),
        ("to", "bob@r.test"),
        ("cc", "cy@r.test"),
        ("bcc", "di@r.test"),
        ("subject", "Your receipt"),
        ("text", "Thanks."),
        ("html", "<p>Hi</p>"),
        ("h:Reply-To", "help@s.test"),
        ("h:X-A", "b"),
        ("o:tag", "one"),
        ("o:tag", "two"),
    ]


def test_metadata_are_variables_with_our_own_id() -> None:
    """Our own id comes back with every event."""
    envelope = enveloped(a_message(metadata={"order": "7"}))
    fields = dict(parse_qsl(an_adapter().request(envelope).body.decode()))
    assert fields["v:order"] == "7"
    assert fields[f"v:{TOKEN_KEY}"] == str(envelope.recipients[0].delivery_id)


def test_files_make_the_form_multipart() -> None:
    """An inline image is named by its content id, which Mailgun takes from the filename."""
    files = [
        Attachment(filename='a "b".txt', content=b"a", content_type="text/plain"),
        Attachment(filename="b.png", content=b"b", content_type="image/png", content_id="logo"),
    ]
    parts = parts_of(an_adapter().request(enveloped(a_message(attachments=files))))
    shown = [(part["Content-Disposition"], part.get_payload(decode=True)) for part in parts[-2:]]
    assert shown == [
        ('form-data; name="attachment"; filename="a %22b%22.txt"', b"a"),
        ('form-data; name="inline"; filename="logo"', b"b"),
    ]
    assert parts[0].get_payload() == "Shop <shop@sender.test>"


def test_the_boundary_is_the_same_at_every_attempt() -> None:
    """The same mail makes the same bytes."""
    envelope = enveloped(a_message(attachments=[Attachment(filename="a", content=b"a")]))
    assert an_adapter().request(envelope).body == an_adapter().request(envelope).body


def test_test_mode_is_asked_for() -> None:
    """Mailgun takes the mail and sends nothing."""
    request = an_adapter(test_mode=True).request(enveloped(a_message()))
    assert ("o:testmode", "yes") in parse_qsl(request.body.decode())


@pytest.mark.parametrize(
    "given",
    [
        {"metadata": {"k": "v" * 8_000}, "headers": {"X-A": "b" * 8_190, "X-B": "b" * 800}},
        {"sender": "señor@sender.test"},
        {"tags": ["a", "b", "c", "d"]},
        {"tags": ["Größe"]},
    ],
)
def test_what_mailgun_cannot_carry_is_refused(given: dict[str, Any]) -> None:
    """More than 16 kB of options, a sender that is not ASCII, and tags that it would not keep."""
    with pytest.raises(SendError) as caught:
        asked(**given)
    assert caught.value.code == "unsupported_feature"


def test_acceptance_brings_the_message_id() -> None:
    """With its brackets, as sending returned it."""
    (verdict,) = an_adapter().send(enveloped(a_message())).verdicts
    assert (verdict.is_accepted, verdict.provider_message_id) == (True, OK["id"])


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, {"message": "'to' parameter is not a valid address."}, FailureClass.PERMANENT),
        (413, b"too large", FailureClass.PERMANENT),
        (420, {"message": "recipient limit exceeded"}, FailureClass.NOT_SENT),
        (429, {"message": "Too many requests"}, FailureClass.NOT_SENT),
        (500, {"message": "Internal"}, FailureClass.NOT_SENT),
        (500, b"<html>", FailureClass.UNKNOWN),
        (502, b"", FailureClass.UNKNOWN),
        (200, b"", FailureClass.UNKNOWN),
        (200, {"message": "Queued. Thank you."}, FailureClass.UNKNOWN),
    ],
)
def test_an_answer_is_classed(status: int, body: object, expected: FailureClass) -> None:
    """From Mailgun's own answers, and those of what stands before it."""
    (verdict,) = an_adapter(Wire(body, status=status)).send(enveloped(a_message())).verdicts
    assert verdict.failure_class is expected


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, b"Forbidden"),
        (402, {"message": "Payment required"}),
        (404, {"message": "Domain not found: sender.test"}),
        (200, b"Mailgun Magnificent API"),
    ],
)
def test_a_wrong_key_domain_or_address_is_a_matter_of_settings(status: int, body: object) -> None:
    """A 200 of Mailgun's front page is not a yes."""
    with pytest.raises(ConfigError) as caught:
        an_adapter(Wire(body, status=status)).send(enveloped(a_message()))
    assert caught.value.type is ConfigErrorType.INVALID
    assert "sender.test" not in str(caught.value)


@pytest.mark.parametrize("key", KEYS)
def test_each_of_several_keys_is_believed(key: str) -> None:
    """A key can be replaced without losing an event."""
    an_adapter().verify(posted({"event": "delivered"}, key=key))


def test_nothing_is_believed_without_a_key() -> None:
    """Without a key every request could be anybody's."""
    with pytest.raises(ConfigError) as caught:
        an_adapter(webhooks=WebhookAuth()).verify(posted({}))
    assert caught.value.type is ConfigErrorType.WEBHOOK_VERIFICATION_KEY_MISSING


def test_credentials_are_asked_for_in_addition() -> None:
    """They do not stand in for the signature."""
    adapter = an_adapter(webhooks=WebhookAuth(keys=KEYS, credentials=["user:word"]))
    body = posted({"event": "delivered"}).body
    adapter.verify(a_webhook(body, headers=basic("user:word")))
    with pytest.raises(SignatureError):
        adapter.verify(a_webhook(body, headers=basic("user:wrong")))


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"signature": None}, SignatureErrorType.MISSING_HEADER),
        ({"token": None}, SignatureErrorType.MISSING_HEADER),
        ({"timestamp": 7}, SignatureErrorType.MISSING_HEADER),
        ({"signature": "é"}, SignatureErrorType.MALFORMED_HEADER),
        ({"signature": "00"}, SignatureErrorType.MALFORMED_HEADER),
        ({"signature": "0" * 64}, SignatureErrorType.BAD_SIGNATURE),
        ({"token": "g" * 50}, SignatureErrorType.BAD_SIGNATURE),
        ({"token": ""}, SignatureErrorType.MALFORMED_HEADER),
        ({"token": "f" * 129}, SignatureErrorType.MALFORMED_HEADER),
        ({"timestamp": "nan"}, SignatureErrorType.MALFORMED_HEADER),
        ({"timestamp": "١٢٣"}, SignatureErrorType.MALFORMED_HEADER),
        ({"timestamp": "9" * 5_000}, SignatureErrorType.MALFORMED_HEADER),
        ({"timestamp": "1764000000"}, SignatureErrorType.BAD_SIGNATURE),
    ],
)
def test_a_wrong_signature_is_refused(
    changed: dict[str, Any], expected: SignatureErrorType
) -> None:
    """Missing, forged, or no signature at all."""
    body = {"signature": signature() | changed, "event-data": {"event": "delivered"}}
    with pytest.raises(SignatureError) as caught:
        an_adapter().verify(a_webhook(body))
    assert caught.value.type is expected


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"signature": 7}', b"{", b"\xff"])
def test_a_body_without_signature_is_refused(body: bytes) -> None:
    """Nothing but a typed refusal leaves the adapter."""
    with pytest.raises(SignatureError):
        an_adapter().verify(a_webhook(body))


@pytest.mark.parametrize(
    ("age_s", "passes"),
    [
        (0, True),
        (8 * 3600 + 301, True),
        (86_000, True),
        (86_800, False),
        (-299, True),
        (-301, False),
    ],
)
def test_a_request_may_be_as_old_as_mailgun_repeats_it(age_s: int, *, passes: bool) -> None:
    """Under its first timestamp; a token that was caught is worth nothing later."""
    request = posted({"event": "delivered"}, at=NOW - timedelta(seconds=age_s))
    if passes:
        an_adapter().verify(request)
        return
    with pytest.raises(SignatureError) as caught:
        an_adapter().verify(request)
    assert caught.value.type is SignatureErrorType.TIMESTAMP_SKEW


def test_a_refusal_tells_mailgun_to_stop() -> None:
    """406 is the only answer beside 200 after which Mailgun does not come again."""
    assert MailgunAdapter.REFUSAL_STATUS == 406


def test_the_token_is_the_events_id() -> None:
    """The body is not signed: a second event under the same token must be seen as one."""
    one, other = reported({"event": "delivered"}), reported({"event": "failed"})
    assert one.provider_event_id == other.provider_event_id == TOKEN


@pytest.mark.parametrize(
    ("record", "kind", "reason", "is_permanent"),
    [
        ({"event": "accepted"}, EventType.QUEUED, None, False),
        ({"event": "delivered"}, EventType.DELIVERED, None, False),
        ({"event": "rejected"}, EventType.REJECTED, RejectReason.OTHER, False),
        ({"event": "opened"}, EventType.OPENED, None, False),
        ({"event": "clicked"}, EventType.CLICKED, None, False),
        ({"event": "unsubscribed"}, EventType.UNSUBSCRIBED, None, False),
        ({"event": "complained"}, EventType.COMPLAINED, None, True),
        ({"event": "stored"}, EventType.UNKNOWN, None, False),
        ({}, EventType.UNKNOWN, None, False),
        (
            {"event": "failed", "severity": "permanent", "reason": "bounce"},
            EventType.BOUNCED,
            RejectReason.BOUNCED,
            True,
        ),
        (
            {"event": "failed", "severity": "permanent", "reason": "old"},
            EventType.BOUNCED,
            RejectReason.OTHER,
            False,
        ),
        (
            {"event": "failed", "severity": "temporary", "reason": "generic"},
            EventType.DEFERRED,
            RejectReason.OTHER,
            False,
        ),
        (
            {"event": "failed", "severity": "permanent", "reason": "suppress-bounce"},
            EventType.REJECTED,
            RejectReason.BOUNCED,
            True,
        ),
        (
            {"event": "failed", "severity": "permanent", "reason": "suppress-complaint"},
            EventType.REJECTED,
            RejectReason.SPAM,
            True,
        ),
        (
            {"event": "failed", "severity": "permanent", "reason": "suppress-unsubscribe"},
            EventType.REJECTED,
            RejectReason.UNSUBSCRIBED,
            True,
        ),
        (
            {"event": "failed", "severity": "permanent", "reason": "suppress-new"},
            EventType.REJECTED,
            RejectReason.OTHER,
            False,
        ),
    ],
)
def test_every_word_has_its_meaning(
    record: dict[str, Any], kind: EventType, reason: RejectReason | None, *, is_permanent: bool
) -> None:
    """What Mailgun did not try is rejected, not bounced; what it tries again is deferred."""
    event = reported(record)
    assert (event.type, event.reject_reason, event.is_permanent) == (kind, reason, is_permanent)


def test_an_event_carries_what_mailgun_says() -> None:
    """Time, ids with and without brackets, labels and the server's own words."""
    token = "0197a000-0000-7000-8000-000000000001"
    event = reported(
        {
            "event": "failed",
            "timestamp": 1764000000.5,
            "recipient": "ada@r.test",
            "message": {"headers": {"message-id": "1@sender.test"}},
            "delivery-status": {"message": "550 no", "description": "Not there", "code": 550},
            "tags": ["a", "b"],
            "user-variables": {"order": 7, TOKEN_KEY: token},
        }
    )
    assert event.occurred_at == datetime(2025, 11, 24, 16, 0, 0, 500_000, tzinfo=UTC)
    assert event.provider_message_ids == ("<1@sender.test>", "1@sender.test")
    assert (event.recipient, event.tags) == ("ada@r.test", ("a", "b"))
    assert (event.description, event.mta_response) == ("Not there", "550 no")
    assert (dict(event.metadata), str(event.delivery_token)) == ({"order": "7"}, token)


def test_a_refused_mail_says_why() -> None:
    """Mailgun's own reason stands apart from a server's."""
    event = reported({"event": "rejected", "reject": {"reason": "Sandbox", "description": ""}})
    assert event.description == "Sandbox"


def test_a_click_brings_its_address_and_browser() -> None:
    """Both are the provider's facts, and a bot is named."""
    client = {"user-agent": "Proxy", "bot": "gmail"}
    event = reported({"event": "clicked", "url": "https://a.test/?t=1", "client-info": client})
    assert (event.click_url, event.user_agent) == ("https://a.test/?t=1", "Proxy")
    assert event.is_machine


@pytest.mark.parametrize(
    ("code", "expected", "is_permanent"),
    [
        ("550", RejectReason.BOUNCED, True),
        ("5.1.1", RejectReason.BOUNCED, True),
        ("452", RejectReason.BOUNCED, False),
        ("499", RejectReason.TIMED_OUT, False),
        ("605", RejectReason.BOUNCED, True),
        ("606", RejectReason.UNSUBSCRIBED, False),
        ("607", RejectReason.SPAM, False),
        ("999", RejectReason.OTHER, False),
        ("", RejectReason.OTHER, False),
    ],
)
def test_a_forms_code_names_the_reason(
    code: str, expected: RejectReason, *, is_permanent: bool
) -> None:
    """SMTP's codes and Mailgun's own."""
    event = form_reported(("event", "bounced"), ("code", code))
    assert (event.type, event.reject_reason) == (EventType.BOUNCED, expected)
    assert event.is_permanent is is_permanent


def test_a_variable_cannot_pass_for_mailguns_own_field() -> None:
    """The author's variables share the form, and may have any name."""
    request = a_webhook(
        urlencode(
            [
                ("event", "opened"),
                ("recipient", "ada@r.test"),
                ("event", "bounced"),
                ("recipient", "eve@r.test"),
                ("token", "of the author"),
                ("tag", "one"),
                ("tag", "two"),
                ("order", "7"),
                *signature().items(),
            ]
        ).encode(),
        headers=FORM,
    )
    an_adapter().verify(request)
    (event,) = an_adapter().events(request)
    assert (event.type, event.recipient) == (EventType.OPENED, "ada@r.test")
    assert (event.provider_event_id, event.tags) == (TOKEN, ("one", "two"))
    assert dict(event.metadata) == {
        "event": "bounced",
        "recipient": "eve@r.test",
        "token": "of the author",
        "order": "7",
    }


def test_variables_are_read_from_the_mails_own_header() -> None:
    """Where the headers came along they are surer than the form."""
    headers = [["To", "x"], ["X-Mailgun-Variables", '{"order": "7"}'], ["X-Mailgun-Variables", "{"]]
    event = form_reported(
        ("event", "delivered"),
        ("message-headers", json.dumps(headers)),
        ("Message-Id", "<1@sender.test>"),
        ("stray", "field"),
    )
    assert dict(event.metadata) == {"order": "7"}
    assert event.provider_message_ids[0] == "<1@sender.test>"


def test_a_form_may_be_multipart() -> None:
    """Mailgun posts files along with some events."""
    fields = {"event": "dropped", "code": "607", **signature()}
    lines = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    lines.append(
        '--b\r\nContent-Disposition: form-data; name="attachment-1"; filename="m.eml"\r\n\r\n\x00\r\n'
    )
    request = a_webhook(
        ("".join(lines) + "--b--\r\n").encode(),
        headers={"Content-Type": 'multipart/form-data; boundary="b"'},
    )
    an_adapter().verify(request)
    (event,) = an_adapter().events(request)
    assert (event.type, event.reject_reason) == (EventType.REJECTED, RejectReason.SPAM)
    assert dict(event.metadata) == {}


def test_a_temporary_failure_is_never_permanent() -> None:
    """Whatever its reason: Mailgun tries again."""
    event = reported({"event": "failed", "severity": "temporary", "reason": "bounce"})
    assert (event.type, event.is_permanent) == (EventType.DEFERRED, False)


def test_a_stored_template_reads_variables_of_its_own() -> None:
    """Nested values keep their form."""
    stored = StoredTemplate(id="welcome", variables={"items": [{"sku": 1}], "name": "Ada"})
    fields = dict(asked(stored_template=stored, subject="", text=None))
    assert (fields["template"], "subject" in fields, "text" in fields) == ("welcome", False, False)
    assert json.loads(fields["t:variables"]) == {"items": [{"sku": 1}], "name": "Ada"}
    assert "recipient-variables" not in fields


def test_a_stored_template_without_variables_is_named_alone() -> None:
    """Nothing is told that nobody gave."""
    fields = dict(asked(stored_template=StoredTemplate(id="welcome")))
    assert (fields["template"], "t:variables" in fields) == ("welcome", False)


def test_variables_of_each_recipient_make_a_batch() -> None:
    """A stored template finds them under its own names; a missing one is empty."""
    stored = StoredTemplate(
        id="welcome",
        variables={"site": "Shop"},
        per_recipient={"ada@r.test": {"name": "Ada"}, "bob@r.test": {"site": "Bobs"}},
    )
    fields = dict(asked(to=["ada@r.test", "Bob <bob@r.test>"], stored_template=stored))
    assert (fields["v:name"], fields["v:site"]) == ("%recipient.name%", "%recipient.site%")
    assert json.loads(fields["recipient-variables"]) == {
        "ada@r.test": {"name": "Ada", "site": "Shop"},
        "bob@r.test": {"name": "", "site": "Bobs"},
    }


def test_placeholders_in_the_bodies_are_the_recipients_own() -> None:
    """Mailgun fills them in only in a batch."""
    fields = dict(asked(stored_template=StoredTemplate(variables={"site": "Shop"})))
    assert json.loads(fields["recipient-variables"]) == {"ada@recipient.test": {"site": "Shop"}}
    assert "v:site" not in fields


def test_no_variables_at_all_still_keep_the_recipients_apart() -> None:
    """An empty mapping asks for it."""
    fields = dict(asked(stored_template=StoredTemplate(per_recipient={})))
    assert json.loads(fields["recipient-variables"]) == {"ada@recipient.test": {}}


def test_a_variable_and_metadata_of_one_name_are_refused() -> None:
    """Both would be the same field."""
    stored = StoredTemplate(id="welcome", variables={"order": "7"})
    with pytest.raises(SendError) as caught:
        asked(stored_template=stored, metadata={"order": "8"})
    assert caught.value.code == "unsupported_feature"


def test_a_time_is_told_as_mail_tells_it() -> None:
    """RFC 2822, in UTC."""
    at = datetime(2026, 12, 1, 0, 30, tzinfo=timezone(timedelta(hours=1)))
    assert dict(asked(provider_send_at=at))["o:deliverytime"] == "Mon, 30 Nov 2026 23:30:00 GMT"


def test_a_switch_that_is_none_stays_as_the_account_has_it() -> None:
    """The others are told."""
    fields = dict(asked(tracking=Tracking(opens=None, clicks=True)))
    assert ("o:tracking-opens" in fields, fields["o:tracking-clicks"]) == (False, "yes")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"envelope_sender": "any@bounces.test"}, "bounces.test"),
        ({"provider_options": {"sender_domain": "own.test"}}, "own.test"),
        (
            {
                "envelope_sender": "a@bounces.test",
                "provider_options": {"sender_domain": "own.test"},
            },
            "own.test",
        ),
    ],
)
def test_the_domain_may_be_a_mails_own(given: dict[str, Any], expected: str) -> None:
    """Of an envelope sender Mailgun takes the domain."""
    request = an_adapter(domain="mg.test").request(enveloped(a_message(**given)))
    assert request.url == f"https://api.mailgun.net/v3/{expected}/messages"


def test_a_domain_cannot_leave_its_place_in_the_address() -> None:
    """It is quoted."""
    message = a_message(provider_options={"sender_domain": "a/../../b?c"})
    request = an_adapter().request(enveloped(message))
    assert request.url == "https://api.mailgun.net/v3/a%2F..%2F..%2Fb%3Fc/messages"


def test_options_of_the_provider_replace_fields() -> None:
    """A list is a field for each value."""
    options = {"o:tag": ["x", "y"], "o:testmode": True, "o:dkim": None, "v:a": {"b": 1}, "o:n": 3}
    fields = asked(tags=["mine"], provider_options=options)
    assert [value for name, value in fields if name == "o:tag"] == ["x", "y"]
    assert dict(fields)["o:testmode"] == "yes"
    assert "o:dkim" not in dict(fields)
    assert (dict(fields)["v:a"], dict(fields)["o:n"]) == ('{"b": 1}', "3")
