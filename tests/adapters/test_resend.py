"""Resend: what is asked of it, what its answers mean, and which webhooks are believed."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import pytest

from mailglass.adapters.api import WebhookAuth
from mailglass.adapters.resend import ResendAdapter
from mailglass.errors import (
    ConfigError,
    ConfigErrorType,
    FailureClass,
    SendError,
    SignatureError,
    SignatureErrorType,
)
from mailglass.message import Attachment, StoredTemplate, Tracking
from mailglass.webhook import TOKEN_KEY, WebhookRequest
from tests.adapters.wire import NOW, Wire, a_message, a_webhook, basic, body_of, enveloped

OLD: Final = f"whsec_{base64.b64encode(b'an old secret').decode()}"
NEW: Final = f"whsec_{base64.b64encode(b'a new secret').decode()}"
TEXT: Final = "text/plain"
EACH: Final = StoredTemplate(id="t-1", per_recipient={"ada@r.test": {"n": 1}, "bob@r.test": {}})


def an_adapter(wire: Wire | None = None, **given: Any) -> ResendAdapter:
    """Return an adapter with two signing secrets, an old one and a new one."""
    usual: dict[str, Any] = {"webhooks": WebhookAuth(keys=[OLD, NEW])}
    return ResendAdapter(api_key="key", transport=wire or Wire({"id": "m-1"}), **(usual | given))


def asked(**given: Any) -> Any:
    """Return the body of the request for a message."""
    return json.loads(an_adapter().request(enveloped(a_message(**given))).body)


def signature(body: bytes, key: str, known_as: str, seconds: int) -> str:
    """Return the signature as the standard describes it."""
    signed = f"{known_as}.{seconds}.".encode() + body
    mac = hmac.new(base64.b64decode(key.removeprefix("whsec_")), signed, "sha256").digest()
    return f"v1,{base64.b64encode(mac).decode()}"


def posted(
    headers: Mapping[str, str] = MappingProxyType({}),
    *,
    key: str = NEW,
    at: datetime = NOW,
    body: bytes = b'{"type": "email.sent"}',
) -> WebhookRequest:
    """Return a signed request; a header that is empty is left out."""
    seconds = int(at.timestamp())
    usual = {
        "Svix-Id": "msg_1",
        "Svix-Timestamp": str(seconds),
        "Svix-Signature": signature(body, key, "msg_1", seconds),
    }
    known = {**usual, **headers}
    return a_webhook(body, headers={name: value for name, value in known.items() if value})


def test_the_key_of_the_attempt_travels_in_its_header() -> None:
    """With the same key Resend sends a mail once."""
    request = an_adapter().request(enveloped(a_message()))
    headers = dict(request.headers)
    assert request.url == "https://api.resend.com/emails"
    assert headers["Idempotency-Key"] == "key-1"
    assert headers["Authorization"] == "Bearer key"
    assert an_adapter().capabilities.idempotency_window_s == timedelta(days=1).total_seconds()


def test_sender_recipients_and_bodies_are_the_authors() -> None:
    """Addresses keep their names."""
    body = asked(to="Ada <ada@r.test>", cc="cy@r.test", bcc="di@r.test", reply_to=["a@s.test"])
    assert (body["from"], body["to"]) == ("Shop <shop@sender.test>", ["Ada <ada@r.test>"])
    assert (body["cc"], body["bcc"], body["reply_to"]) == (
        ["cy@r.test"],
        ["di@r.test"],
        ["a@s.test"],
    )
    assert (body["subject"], body["text"]) == ("Your receipt", "Thanks.")


def test_tags_and_metadata_are_headers_and_our_id_is_a_tag() -> None:
    """Resend's own tags take neither spaces nor other scripts; our id needs none."""
    envelope = enveloped(a_message(tags=["spring sale"], metadata={"order": "7"}))
    body = body_of(an_adapter().request(envelope))
    assert json.loads(body["headers"]["X-Tags"]) == ["spring sale"]
    assert json.loads(body["headers"]["X-Metadata"]) == {"order": "7"}
    assert body["tags"] == [{"name": TOKEN_KEY, "value": str(envelope.recipients[0].delivery_id)}]


def test_our_id_comes_back_with_the_event() -> None:
    """As an object, or as the list that it was sent as."""
    known = "0195923e-6c1d-7a44-9b1e-3f6a0d2c4b55"
    for tags in ({TOKEN_KEY: known}, [{"name": TOKEN_KEY, "value": known}]):
        body = json.dumps({"type": "email.sent", "data": {"tags": tags}}).encode()
        (event,) = an_adapter().events(posted(body=body))
        assert event.delivery_token == UUID(known)


def test_a_type_is_told_only_where_the_name_does_not() -> None:
    """Resend reads the type from the name."""
    files = [
        Attachment(filename="a.txt", content=b"a", content_type=TEXT),
        Attachment(filename="b.unheard", content=b"b", content_type=TEXT),
        Attachment(filename="c.png", content=b"c", content_type="image/png", content_id="logo"),
    ]
    assert asked(attachments=files)["attachments"] == [
        {"filename": "a.txt", "content": "YQ=="},
        {"filename": "b.unheard", "content": "Yg==", "content_type": TEXT},
        {"filename": "c.png", "content": "Yw==", "content_id": "logo"},
    ]


def test_a_template_has_variables_and_a_time() -> None:
    """The time keeps its zone."""
    stored = StoredTemplate(id="t-1", variables={"name": "Ada"})
    body = asked(stored_template=stored, text=None, provider_send_at=NOW)
    assert body["template"] == {"id": "t-1", "variables": {"name": "Ada"}}
    assert body["scheduled_at"] == "2026-11-21T12:00:00+00:00"


def test_mails_of_their_own_are_a_batch() -> None:
    """Each To recipient sees nobody else, and has an id of their own."""
    message = a_message(to=["ada@r.test", "bob@r.test"], stored_template=EACH, text=None)
    envelope = enveloped(message)
    wire = Wire({"data": [{"id": "1"}, {"id": "2"}]})
    verdicts = an_adapter(wire).send(envelope).verdicts
    (request,) = wire.requests
    mails = json.loads(request.body)
    assert request.url.endswith("/emails/batch")
    assert [mail["to"] for mail in mails] == [["ada@r.test"], ["bob@r.test"]]
    assert [mail["tags"][0]["value"] for mail in mails] == [
        str(one.delivery_id) for one in envelope.recipients
    ]
    assert [one.provider_message_id for one in verdicts] == ["1", "2"]


def test_a_batch_that_answers_with_too_few_ids_is_unknown() -> None:
    """Whose mail was taken nobody can say."""
    message = a_message(to=["ada@r.test", "bob@r.test"], stored_template=EACH, text=None)
    verdicts = an_adapter(Wire({"data": [{"id": "1"}]})).send(enveloped(message)).verdicts
    assert {one.failure_class for one in verdicts} == {FailureClass.UNKNOWN}


def test_options_of_the_provider_are_merged_into_the_request() -> None:
    """What mailglass has no word for is still within reach."""
    assert asked(provider_options={"topic_id": "news"})["topic_id"] == "news"


@pytest.mark.parametrize(
    "given",
    [
        {"tracking": Tracking(opens=True)},
        {"tracking": Tracking(clicks=True)},
        {"envelope_sender": "bounces@s.test"},
        {"metadata": {TOKEN_KEY: "mine"}},
        {"to": "日本@r.test"},
        {"stored_template": StoredTemplate(variables={"a": 1})},
        {"stored_template": StoredTemplate(per_recipient={"ada@recipient.test": {"a": 1}})},
        {"stored_template": StoredTemplate(id="t-1")},
        {"attachments": [Attachment(filename="a.txt", content=b"a", content_type="text/csv")]},
        {"stored_template": EACH, "text": None, "provider_send_at": NOW},
        {
            "stored_template": EACH,
            "text": None,
            "attachments": [Attachment(filename="a.txt", content=b"a")],
        },
    ],
)
def test_what_resend_cannot_carry_is_refused(given: dict[str, Any]) -> None:
    """Nothing is dropped in silence."""
    with pytest.raises(SendError) as caught:
        asked(**given)
    assert caught.value.code == "unsupported_feature"


@pytest.mark.parametrize(
    ("status", "name", "expected"),
    [
        (422, "missing_required_field", FailureClass.PERMANENT),
        (409, "invalid_idempotent_request", FailureClass.PERMANENT),
        (409, "concurrent_idempotent_requests", FailureClass.NOT_SENT),
        (429, "rate_limit_exceeded", FailureClass.NOT_SENT),
        (500, "application_error", FailureClass.NOT_SENT),
    ],
)
def test_the_name_of_an_error_decides(status: int, name: str, expected: FailureClass) -> None:
    """The same status has several."""
    wire = Wire({"statusCode": status, "name": name, "message": "m"}, status=status)
    (verdict,) = an_adapter(wire).send(enveloped(a_message())).verdicts
    assert (verdict.failure_class, verdict.code) == (expected, f"http {status} {name}")


@pytest.mark.parametrize(
    ("status", "name"),
    [(429, "daily_quota_exceeded"), (429, "monthly_quota_exceeded"), (403, "invalid_api_key")],
)
def test_a_quota_is_a_matter_of_the_account(status: int, name: str) -> None:
    """Another attempt in a minute does not help."""
    with pytest.raises(ConfigError) as caught:
        an_adapter(Wire({"name": name}, status=status)).send(enveloped(a_message()))
    assert caught.value.type is ConfigErrorType.INVALID


@pytest.mark.parametrize("key", [OLD, NEW])
def test_each_of_several_keys_is_believed(key: str) -> None:
    """A key can be replaced without losing an event."""
    an_adapter().verify(posted(key=key))


def test_credentials_alone_do_as_well() -> None:
    """Where they are set and no key is."""
    adapter = an_adapter(webhooks=WebhookAuth(credentials=["user:word"]))
    adapter.verify(posted(basic("user:word")))
    with pytest.raises(SignatureError):
        adapter.verify(posted())


def test_nothing_is_believed_without_a_key() -> None:
    """Without a key every request could be anybody's."""
    with pytest.raises(ConfigError) as caught:
        an_adapter(webhooks=WebhookAuth()).verify(posted())
    assert caught.value.type is ConfigErrorType.WEBHOOK_VERIFICATION_KEY_MISSING


@pytest.mark.parametrize("key", ["whsec_*", "whsec_"])
def test_a_key_that_is_none_says_so(key: str) -> None:
    """And shows nothing of itself."""
    with pytest.raises((SignatureError, ConfigError)) as caught:
        an_adapter(webhooks=WebhookAuth(keys=[key])).verify(posted())
    assert "*" not in str(caught.value)
    assert caught.value.type is SignatureErrorType.MALFORMED_KEY


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Svix-Id": ""}, SignatureErrorType.MISSING_HEADER),
        ({"Svix-Timestamp": ""}, SignatureErrorType.MISSING_HEADER),
        ({"Svix-Signature": ""}, SignatureErrorType.MISSING_HEADER),
        ({"Svix-Id": "msg_2"}, SignatureErrorType.BAD_SIGNATURE),
        ({"Svix-Timestamp": "1"}, SignatureErrorType.BAD_SIGNATURE),
        ({"Svix-Timestamp": "nan"}, SignatureErrorType.MALFORMED_HEADER),
        ({"Svix-Timestamp": "١٢٣"}, SignatureErrorType.MALFORMED_HEADER),
        ({"Svix-Signature": "v1,YW*Jj"}, SignatureErrorType.MALFORMED_HEADER),
        ({"Svix-Signature": "v1,YWJj"}, SignatureErrorType.MALFORMED_HEADER),
        ({"Svix-Signature": "é"}, SignatureErrorType.MALFORMED_HEADER),
        ({"Svix-Signature": "v2,YWJj"}, SignatureErrorType.MALFORMED_HEADER),
    ],
)
def test_a_wrong_header_is_refused(
    headers: Mapping[str, str], expected: SignatureErrorType
) -> None:
    """Missing, forged or no signature at all."""
    with pytest.raises(SignatureError) as caught:
        an_adapter().verify(posted(headers))
    assert caught.value.type is expected


@pytest.mark.parametrize(("age_s", "is_refused"), [(300, False), (301, True), (-301, True)])
def test_a_request_is_as_old_as_it_may_be(age_s: int, *, is_refused: bool) -> None:
    """Five minutes on either side."""
    request = posted(at=NOW - timedelta(seconds=age_s))
    if not is_refused:
        an_adapter().verify(request)
        return
    with pytest.raises(SignatureError) as caught:
        an_adapter().verify(request)
    assert caught.value.type is SignatureErrorType.TIMESTAMP_SKEW


def test_a_changed_body_is_refused() -> None:
    """Every byte is signed."""
    good = posted()
    headers = dict(good.headers._fields)
    with pytest.raises(SignatureError) as caught:
        an_adapter().verify(a_webhook(good.body + b" ", headers=headers))
    assert caught.value.type is SignatureErrorType.BAD_SIGNATURE


def test_the_zone_of_the_events_time_is_utc() -> None:
    """Resend writes it with a Z."""
    body = b'{"type": "email.sent", "created_at": "2026-03-14T09:29:41.250Z"}'
    (event,) = an_adapter().events(posted(body=body))
    assert event.occurred_at == datetime(2026, 3, 14, 9, 29, 41, 250_000, tzinfo=UTC)


@pytest.mark.parametrize(
    "others",
    [
        {"to": ["ada@r.test", "bob@r.test"]},
        {"cc": ["cy@r.test"]},
        {"bcc": ["di@r.test"]},
        {"headers": [{"name": "Cc", "value": "cy@r.test"}]},
        {"headers": [{"name": "bcc", "value": "di@r.test"}]},
    ],
)
@pytest.mark.parametrize(
    ("word", "detail"),
    [
        ("email.bounced", {"bounce": {"type": "Permanent"}}),
        ("email.complained", {}),
        ("email.delivered", {}),
    ],
)
def test_of_several_recipients_none_is_blamed(
    word: str, detail: dict[str, Any], others: dict[str, Any]
) -> None:
    """Resend says what happened to a mail and not whom it happened to."""
    mail = {"to": ["ada@r.test"], **detail, **others}
    (event,) = an_adapter().events(posted(body=json.dumps({"type": word, "data": mail}).encode()))
    assert (event.recipient, event.is_permanent) == (None, False)


@pytest.mark.parametrize("word", ["email.sent", "email.scheduled"])
def test_what_is_true_of_all_recipients_is_true_of_the_first(word: str) -> None:
    """Resend took the mail as a whole, and so it counts."""
    mail = {"to": ["Ada <ada@r.test>", "bob@r.test"]}
    (event,) = an_adapter().events(posted(body=json.dumps({"type": word, "data": mail}).encode()))
    assert event.recipient == "ada@r.test"
