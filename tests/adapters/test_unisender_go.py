"""Unisender Go: what is asked of it, what its answers mean, and what its webhooks report."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from mailglass.adapters.api import WebhookAuth
from mailglass.adapters.providers import build_offline
from mailglass.adapters.unisender_go import UnisenderGoAdapter
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
from mailglass.suppression import SuppressionReason
from mailglass.webhook import TOKEN_KEY, ProviderEvent, WebhookRequest
from mailglass.webhooks.normalise import suppression_of
from tests.adapters.wire import Wire, a_message, a_webhook, body_of, enveloped

URL = "https://go1.unisender.ru/ru/transactional/api/v1"
OK = {"status": "success", "job_id": "j-1", "emails": ["ada@recipient.test"]}
OWN = StoredTemplate(
    id="t-1", variables={"site": "Shop"}, per_recipient={"ada@r.test": {"name": "Ada"}}
)


def an_adapter(wire: Wire | None = None, **given: Any) -> UnisenderGoAdapter:
    """Return an adapter of the first data centre."""
    return UnisenderGoAdapter(api_key="key", base_url=URL, transport=wire or Wire(OK), **given)


def asked(**given: Any) -> dict[str, Any]:
    """Return the message in the request."""
    found: dict[str, Any] = body_of(an_adapter().request(enveloped(a_message(**given))))["message"]
    return found


def signed(body: dict[str, Any], *, key: str = "key") -> WebhookRequest:
    """Return a webhook as Unisender Go signs it."""
    raw = json.dumps(body | {"auth": key})
    digest = hashlib.md5(raw.encode()).hexdigest()  # noqa: S324 - the provider's choice
    return a_webhook(raw.replace(f'"{key}"', f'"{digest}"').encode())


def reported(**data: Any) -> ProviderEvent:
    """Return the one event of a status."""
    body = {"event_name": "transactional_email_status", **data}
    (event,) = an_adapter().events(a_webhook(body))
    return event


def test_the_call_goes_to_the_data_centre_with_the_key() -> None:
    """The key has a field of its own."""
    request = an_adapter().request(enveloped(a_message()))
    assert request.url == f"{URL}/email/send.json"
    assert ("X-API-KEY", "key") in request.headers


def test_everyone_is_a_recipient_and_two_fields_name_them() -> None:
    """Bcc stands in neither, and each recipient carries our id of their own delivery."""
    envelope = enveloped(a_message(to="Ada <ada@r.test>", cc="cy@r.test", bcc="di@r.test"))
    message = body_of(an_adapter().request(envelope))["message"]
    ada, cy, di = (str(one.delivery_id) for one in envelope.recipients)
    assert message["headers"] == {"to": "Ada <ada@r.test>", "cc": "cy@r.test"}
    assert message["recipients"] == [
        {
            "email": "ada@r.test",
            "substitutions": {"to_name": "Ada"},
            "metadata": {TOKEN_KEY: ada},
        },
        {"email": "cy@r.test", "metadata": {TOKEN_KEY: cy}},
        {"email": "di@r.test", "metadata": {TOKEN_KEY: di}},
    ]


@pytest.mark.parametrize(
    ("mailbox", "expected"),
    [
        ('"With, Comma" <a@r.test>', "=?utf-8?q?With=2C_Comma?= <a@r.test>"),
        ('"[a] & b" <a@r.test>', '"[a] & b" <a@r.test>'),
        ("Пётр <a@r.test>", "Пётр <a@r.test>"),
    ],
)
def test_a_name_that_reads_as_two_addresses_is_an_encoded_word(mailbox: str, expected: str) -> None:
    """Unisender Go splits a quoted name at its comma."""
    assert asked(to=mailbox)["headers"]["to"] == expected


def test_a_long_name_is_several_encoded_words() -> None:
    """None may have more than 75 characters."""
    shown = asked(to=f'"{"ю" * 40}, b" <a@r.test>')["headers"]["to"]
    words = shown.removesuffix(" <a@r.test>").split(" ")
    assert len(words) > 1
    assert max(map(len, words)) <= 75


def test_the_content_is_what_the_author_wrote() -> None:
    """Names and addresses stand apart."""
    body = asked(
        html="<p>Hi</p>",
        reply_to="Help <help@s.test>",
        headers={"X-A": "b"},
        tags=["receipt"],
        metadata={"order": "7"},
    )
    del body["recipients"]
    assert body == {
        "from_email": "shop@sender.test",
        "from_name": "Shop",
        "reply_to": "help@s.test",
        "reply_to_name": "Help",
        "subject": "Your receipt",
        "body": {"plaintext": "Thanks.", "html": "<p>Hi</p>"},
        "headers": {"X-A": "b", "to": "ada@recipient.test"},
        "tags": ["receipt"],
        "global_metadata": {"order": "7"},
        "track_read": 0,
        "track_links": 0,
    }


def test_files_and_inline_images_are_kept_apart() -> None:
    """An inline image is named by its content id."""
    body = asked(
        attachments=[
            Attachment(filename="a.txt", content=b"a", content_type="text/plain"),
            Attachment(filename="b.png", content=b"b", content_type="image/png", content_id="logo"),
        ]
    )
    assert body["attachments"] == [{"type": "text/plain", "name": "a.txt", "content": "YQ=="}]
    assert body["inline_attachments"] == [{"type": "image/png", "name": "logo", "content": "Yg=="}]


def test_a_time_is_in_utc_and_the_switches_are_numbers() -> None:
    """A switch that is None stays as the account has it."""
    at = datetime(2026, 12, 1, 9, 30, tzinfo=timezone(timedelta(hours=3)))
    body = asked(provider_send_at=at, tracking=Tracking(opens=True, clicks=None))
    assert body["options"] == {"send_at": "2026-12-01 06:30:00"}
    assert (body["track_read"], body.get("track_links")) == (1, None)


def test_with_variables_of_their_own_nobody_sees_the_others() -> None:
    """There is no field that names everybody."""
    body = asked(to=["ada@r.test", "Bob <bob@r.test>"], stored_template=OWN)
    assert (body["template_id"], body["global_substitutions"]) == ("t-1", {"site": "Shop"})
    assert "headers" not in body
    substitutions = [one["substitutions"] for one in body["recipients"]]
    assert substitutions == [{"name": "Ada"}, {"to_name": "Bob"}]


def test_options_of_the_provider_are_merged_into_the_message() -> None:
    """Objects are merged, all else is replaced."""
    at = datetime(2026, 12, 1, tzinfo=UTC)
    options = {"options": {"smtp_pool_id": "p"}, "skip_unsubscribe": 1}
    body = asked(provider_options=options, provider_send_at=at)
    assert body["options"] == {"send_at": "2026-12-01 00:00:00", "smtp_pool_id": "p"}
    assert body["skip_unsubscribe"] == 1


@pytest.mark.parametrize(
    "given",
    [
        {"text": "Write {{name}}"},
        {"html": "<p>Write {{ name }}</p>"},
        {"subject": "Write {{name|you}}"},
        {"headers": {"X-A": "{{name}}"}},
        {"sender": '"{{name}}" <shop@sender.test>'},
        {"to": '"{{name}}" <ada@r.test>'},
        {"text": "{{name}}", "stored_template": StoredTemplate(own_metadata={"ada@r.test": {}})},
        {
            "text": "{{name}}",
            "tracking": Tracking(opens=True, clicks=True),
            "provider_options": {"track_read": 0, "track_links": 0},
        },
    ],
)
def test_braces_of_a_finished_mail_are_no_placeholders(given: dict[str, Any]) -> None:
    """Unisender Go reads every mail as a template unless it is told not to."""
    assert asked(**({"to": "ada@r.test"} | given))["template_engine"] == "none"


@pytest.mark.parametrize(
    "given",
    [
        {"text": "a{b{c:d}}"},
        {"text": "Dear {{name}}", "stored_template": StoredTemplate(variables={"name": "Ada"})},
        {"text": None, "stored_template": StoredTemplate(id="t-1")},
        {"text": "{{name}}", "provider_options": {"global_substitutions": {"name": "Ada"}}},
        {"text": "{{", "tracking": Tracking(opens=True)},
    ],
)
def test_the_engine_stays_where_there_are_no_braces_or_they_are_the_authors(
    given: dict[str, Any],
) -> None:
    """Without it there are no variables, and no tracking."""
    assert "template_engine" not in asked(**given)


def test_an_engine_that_the_author_names_is_the_authors() -> None:
    """What the braces mean to it is known to nobody else."""
    options = {"template_engine": "velocity"}
    message = a_message(
        text="{{name}}", provider_options=options, tracking=Tracking(opens=True, clicks=None)
    )
    an_adapter().check(message)
    assert asked(text="{{name}}", provider_options=options)["template_engine"] == "velocity"


@pytest.mark.parametrize(
    "tracking", [Tracking(opens=True), Tracking(clicks=True), Tracking(opens=None)]
)
@pytest.mark.parametrize("written", ["{{name}}", "{{name|you}}", "{{has-orders?{{order_1}}}}"])
def test_placeholders_in_a_tracked_mail_are_refused(tracking: Tracking, written: str) -> None:
    """Before any row exists: they would vanish, since only untracked mail goes without the engine."""
    with pytest.raises(SendError) as caught:
        an_adapter().check(a_message(text=written, tracking=tracking))
    assert caught.value.code == "unsupported_feature"


@pytest.mark.parametrize(
    "given",
    [
        {"stored_template": OWN, "cc": "cy@r.test"},
        {"stored_template": OWN, "bcc": "cy@r.test"},
        {"reply_to": ["a@s.test", "b@s.test"]},
        {"tags": ["a", "b", "c", "d", "e"]},
        {"envelope_sender": "bounces@s.test"},
        {"to": "ädä@r.test"},
    ],
)
def test_what_unisender_go_lacks_is_refused(given: dict[str, Any]) -> None:
    """Nothing is dropped in silence."""
    with pytest.raises(SendError) as caught:
        an_adapter().check(a_message(**given))
    assert caught.value.code == "unsupported_feature"


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("invalid", FailureClass.PERMANENT),
        ("unsubscribed", FailureClass.SUPPRESSED),
        ("permanent_unavailable", FailureClass.SUPPRESSED),
        ("temporary_unavailable", FailureClass.NOT_SENT),
        ("duplicate", None),
        ("of_tomorrow", FailureClass.UNKNOWN),
    ],
)
def test_a_recipient_may_fail_alone(word: str, expected: FailureClass | None) -> None:
    """The others have the id of the job."""
    wire = Wire(OK | {"failed_emails": {"Bob@r.test": word}})
    ada, bob = an_adapter(wire).send(enveloped(a_message(to=["ada@r.test", "bob@r.test"]))).verdicts
    assert (ada.is_accepted, ada.provider_message_id) == (True, "j-1")
    assert bob.failure_class is expected


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, {"status": "error", "code": 205, "message": "no"}, FailureClass.PERMANENT),
        (
            400,
            {"status": "error", "code": 204, "failed_emails": {"a@r.test": "unsubscribed"}},
            FailureClass.SUPPRESSED,
        ),
        (
            400,
            {"status": "error", "code": 204, "failed_emails": {"a@r.test": "invalid"}},
            FailureClass.PERMANENT,
        ),
        (413, {"status": "error", "code": 1}, FailureClass.PERMANENT),
        (429, {"status": "error", "code": 1}, FailureClass.NOT_SENT),
        (500, {"status": "error", "code": 1}, FailureClass.NOT_SENT),
        (502, b"<html>", FailureClass.UNKNOWN),
        (200, {"status": "error", "code": 1}, FailureClass.PERMANENT),
        (200, {"status": "success"}, FailureClass.UNKNOWN),
        (200, [], FailureClass.UNKNOWN),
    ],
)
def test_an_error_is_classed(status: int, body: object, expected: FailureClass) -> None:
    """By the status, and by the recipients that are named."""
    (verdict,) = an_adapter(Wire(body, status=status)).send(enveloped(a_message())).verdicts
    assert verdict.failure_class is expected


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_is_a_matter_of_settings(status: int) -> None:
    """No other attempt helps."""
    wire = Wire({"status": "error", "code": 102, "message": "no"}, status=status)
    with pytest.raises(ConfigError) as caught:
        an_adapter(wire).send(enveloped(a_message()))
    assert caught.value.type is ConfigErrorType.INVALID


def test_the_api_key_signs() -> None:
    """There is no other key."""
    an_adapter().verify(signed({"events_by_user": []}))


@pytest.mark.parametrize("key", ["old", "new"])
def test_each_of_several_keys_is_believed(key: str) -> None:
    """Given keys stand in place of the API key."""
    adapter = an_adapter(webhooks=WebhookAuth(keys=["old", "new"]))
    adapter.verify(signed({"events_by_user": []}, key=key))
    with pytest.raises(SignatureError):
        adapter.verify(signed({"events_by_user": []}))


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        ("", SignatureErrorType.MALFORMED_HEADER),
        ('"', SignatureErrorType.MALFORMED_HEADER),
        ("{", SignatureErrorType.MALFORMED_HEADER),
        (0, SignatureErrorType.MALFORMED_HEADER),
        (["0" * 32], SignatureErrorType.MALFORMED_HEADER),
        (None, SignatureErrorType.MISSING_HEADER),
        ("0" * 32, SignatureErrorType.BAD_SIGNATURE),
    ],
)
def test_another_digest_is_refused(auth: object, expected: SignatureErrorType) -> None:
    """Whatever is wrong is a typed refusal."""
    with pytest.raises(SignatureError) as caught:
        an_adapter().verify(a_webhook({"auth": auth}))
    assert caught.value.type is expected


def test_a_digest_in_two_places_is_refused() -> None:
    """It would not be clear what was signed."""
    with pytest.raises(SignatureError) as caught:
        an_adapter().verify(a_webhook({"auth": "0" * 32, "comment": "0" * 32}))
    assert caught.value.type is SignatureErrorType.MALFORMED_HEADER


def test_the_placeholder_of_a_missing_key_signs_nothing() -> None:
    """Whoever looks at a request without a key is told so."""
    adapter: Any = build_offline("unisender_go", {})
    with pytest.raises(ConfigError) as caught:
        adapter.verify(signed({}, key="not-set"))
    assert caught.value.type is ConfigErrorType.WEBHOOK_VERIFICATION_KEY_MISSING


def test_a_trial_of_the_address_has_no_event() -> None:
    """Unisender Go asks with GET when the webhook is set."""
    request = a_webhook(b"", method="GET")
    an_adapter().verify(request)
    assert an_adapter().events(request) == ()


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("sent", EventType.SENT),
        ("delivered", EventType.DELIVERED),
        ("opened", EventType.OPENED),
        ("clicked", EventType.CLICKED),
        ("unsubscribed", EventType.UNSUBSCRIBED),
        ("subscribed", EventType.SUBSCRIBED),
        ("spam", EventType.COMPLAINED),
        ("soft_bounced", EventType.DEFERRED),
        ("hard_bounced", EventType.BOUNCED),
        ("teleported", EventType.UNKNOWN),
    ],
)
def test_every_word_has_its_meaning(word: str, expected: EventType) -> None:
    """A word that is not known is unknown, and is kept."""
    event = reported(status=word)
    assert (event.type, event.word) == (expected, word)


@pytest.mark.parametrize(
    ("why", "reason", "is_permanent"),
    [
        ("err_user_unknown", RejectReason.BOUNCED, True),
        ("err_domain_inactive", RejectReason.BOUNCED, True),
        ("err_mailbox_full", RejectReason.BOUNCED, False),
        ("err_spam_rejected", RejectReason.SPAM, False),
        ("err_blacklisted", RejectReason.BLOCKED, False),
        ("err_delivery_failed", RejectReason.OTHER, False),
        ("err_of_tomorrow", RejectReason.OTHER, True),
        ("ok_of_tomorrow", None, True),
    ],
)
def test_a_hard_bounce_is_for_ever_when_the_address_is_the_reason(
    why: str, reason: RejectReason | None, *, is_permanent: bool
) -> None:
    """A full mailbox or a filter says nothing of the address."""
    event = reported(status="hard_bounced", delivery_info={"delivery_status": why})
    assert (event.reject_reason, event.is_permanent) == (reason, is_permanent)
    assert event.word == f"hard_bounced:{why}"


def test_who_had_unsubscribed_before_is_rejected_for_it() -> None:
    """Nothing was sent, and the address is as good as it was."""
    info = {"delivery_status": "err_unsubscribed"}
    event = reported(status="hard_bounced", delivery_info=info)
    assert (event.type, event.reject_reason) == (EventType.REJECTED, RejectReason.UNSUBSCRIBED)
    assert suppression_of(event) is SuppressionReason.UNSUBSCRIBE


def test_a_time_without_zone_is_utc() -> None:
    """Unisender Go writes no zone."""
    event = reported(status="sent", event_time="2026-03-14 09:29:30")
    assert event.occurred_at == datetime(2026, 3, 14, 9, 29, 30, tzinfo=UTC)


def test_an_event_of_another_name_is_unknown() -> None:
    """Its words may mean something else."""
    (event,) = an_adapter().events(a_webhook({"event_name": "of_tomorrow", "status": "spam"}))
    assert (event.type, event.word) == (EventType.UNKNOWN, "of_tomorrow")


def test_an_event_has_the_same_id_each_time() -> None:
    """Unisender Go gives none, and repeats what was not answered."""
    one, again, other = (reported(status="sent", email=who) for who in ("a@r", "a@r", "b@r"))
    assert one.provider_event_id == again.provider_event_id != other.provider_event_id


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b"[" * 99])
def test_a_body_that_is_no_report_is_refused(body: bytes) -> None:
    """Nothing but a typed refusal leaves the adapter."""
    for check in (an_adapter().verify, an_adapter().events):
        with pytest.raises(SignatureError):
            check(a_webhook(body))
