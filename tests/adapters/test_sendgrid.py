"""SendGrid: personalizations, two kinds of template, and a yes without a body."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from mailglass.adapters.sendgrid import SendGridAdapter
from mailglass.errors import ConfigError, FailureClass, Json, SendError
from mailglass.message import Attachment, StoredTemplate, Tracking
from mailglass.webhook import TOKEN_KEY
from tests.adapters.wire import NOW, Wire, a_message, body_of, enveloped

BOTH = ["ada@recipient.test", "Ben <ben@recipient.test>"]
ID = {"X-Message-Id": "Qw3rTy"}


def an_adapter(wire: Wire | None = None, **given: Any) -> SendGridAdapter:
    """Return an adapter whose provider says yes."""
    usual: dict[str, Any] = {"clock": lambda: NOW}
    transport = wire or Wire(status=202, headers=ID)
    return SendGridAdapter(api_key="SG.key", transport=transport, **(usual | given))


def _body(**given: Any) -> dict[str, Any]:
    return body_of(an_adapter().request(enveloped(a_message(**given))))


def test_a_mail_becomes_one_request() -> None:
    """One personalization for everybody; our own id beside it, the author's data above it."""
    envelope = enveloped(
        a_message(
            to=BOTH, cc="c@x.test", bcc="b@x.test", reply_to="r@x.test", html="<p>Thanks.</p>",
            tags=["order", "eu"], metadata={"customer": "c-81"}, headers={"X-Kind": "receipt"},
        )
    )  # fmt: skip
    request = an_adapter().request(envelope)
    assert request.url == "https://api.sendgrid.com/v3/mail/send"
    assert dict(request.headers)["Authorization"] == "Bearer SG.key"
    assert body_of(request) == {
        "personalizations": [
            {
                "to": [{"email": "ada@recipient.test"}, {"email": "ben@recipient.test", "name": "Ben"}],
                "cc": [{"email": "c@x.test"}],
                "bcc": [{"email": "b@x.test"}],
                "custom_args": {TOKEN_KEY: str(envelope.recipients[0].delivery_id)},
            }
        ],
        "from": {"email": "shop@sender.test", "name": "Shop"},
        "subject": "Your receipt",
        "content": [
            {"type": "text/plain", "value": "Thanks."},
            {"type": "text/html", "value": "<p>Thanks.</p>"},
        ],
        "headers": {"X-Kind": "receipt"},
        "categories": ["order", "eu"],
        "custom_args": {"customer": "c-81"},
        "reply_to": {"email": "r@x.test"},
        "tracking_settings": {"click_tracking": {"enable": False}, "open_tracking": {"enable": False}},
    }  # fmt: skip


def test_switches_that_nobody_sets_are_left_out() -> None:
    """Then the account's settings hold."""
    assert "tracking_settings" not in _body(tracking=Tracking(opens=None, clicks=None))
    only = _body(tracking=Tracking(opens=True, clicks=None))
    assert only["tracking_settings"] == {"open_tracking": {"enable": True}}


def test_several_reply_addresses_are_a_list() -> None:
    """One has its own field."""
    body = _body(reply_to=["r@x.test", "q@x.test"])
    assert body["reply_to_list"] == [{"email": "r@x.test"}, {"email": "q@x.test"}]
    assert "reply_to" not in body


def test_files_and_inline_images() -> None:
    """Inline by content id."""
    files = [
        Attachment(filename="a.pdf", content=b"%PDF", content_type="application/pdf"),
        Attachment(filename="l.png", content=b"png", content_type="image/png", content_id="logo"),
    ]
    assert _body(attachments=files)["attachments"] == [
        {"content": "JVBERg==", "type": "application/pdf", "filename": "a.pdf"},
        {"content": "cG5n", "type": "image/png", "filename": "l.png", "disposition": "inline",
         "content_id": "logo"},
    ]  # fmt: skip


def _stored(template_id: str | None) -> StoredTemplate:
    own: dict[str, dict[str, Json]] = {"ada@recipient.test": {"name": "Ada", "count": 2}}
    return StoredTemplate(id=template_id, variables={"site": "Shop"}, per_recipient=own)


def test_a_dynamic_template_has_data_for_each_recipient() -> None:
    """One personalization a recipient, each with its own delivery."""
    envelope = enveloped(a_message(to=BOTH, subject="", text=None, stored_template=_stored("d-1")))
    body = body_of(an_adapter().request(envelope))
    assert body["template_id"] == "d-1"
    assert [one["dynamic_template_data"] for one in body["personalizations"]] == [
        {"site": "Shop", "name": "Ada", "count": 2},
        {"site": "Shop"},
    ]
    assert [one["custom_args"][TOKEN_KEY] for one in body["personalizations"]] == [
        str(one.delivery_id) for one in envelope.recipients
    ]


@pytest.mark.parametrize("template_id", [None, "5997fcf6"])
def test_legacy_templates_substitute_texts(template_id: str | None) -> None:
    """Numbers become texts; without an id the placeholders stand in our bodies."""
    first, second = _body(to=BOTH, stored_template=_stored(template_id))["personalizations"]
    assert first["substitutions"] == {"site": "Shop", "name": "Ada", "count": "2"}
    assert second["substitutions"] == {"site": "Shop"}


def test_a_time_is_sent_in_unix_seconds() -> None:
    """Only where the author asks SendGrid to wait."""
    moment = NOW + timedelta(hours=72)
    assert _body(provider_send_at=moment)["send_at"] == int(moment.timestamp())
    assert "send_at" not in _body(send_at=moment)


def test_options_are_merged_over_the_request() -> None:
    """Objects are merged, the rest is replaced."""
    options = {"asm": {"group_id": 4}, "tracking_settings": {"ganalytics": {"enable": True}}}
    body = _body(provider_options=options)
    assert body["asm"] == {"group_id": 4}
    assert set(body["tracking_settings"]) == {"click_tracking", "open_tracking", "ganalytics"}


@pytest.mark.parametrize(
    "asked",
    [
        {"subject": ""},
        {"metadata": {"timestamp": "1"}},
        {"envelope_sender": "bounces@sender.test"},
        {"tags": [f"t{n}" for n in range(11)]},
        {"stored_template": StoredTemplate(id="old", variables={"a": ["list"]})},
        {"sender": "zoë@sender.test"},
        {"provider_send_at": NOW + timedelta(hours=73)},
        {"headers": {"X-SG-EID": "1"}},
        {"stored_template": StoredTemplate(own_headers={"ada@recipient.test": {"X-SG-ID": "1"}})},
    ],
)
def test_what_sendgrid_lacks_is_refused(asked: dict[str, Any]) -> None:
    """Before any row exists."""
    with pytest.raises(SendError) as caught:
        an_adapter().check(a_message(**asked))
    assert caught.value.code == "unsupported_feature"


@pytest.mark.parametrize(
    ("status", "body", "failure"),
    [
        (400, {"errors": [{"message": "m", "field": "subject"}]}, FailureClass.PERMANENT),
        (413, {"errors": [{"message": "too large"}]}, FailureClass.PERMANENT),
        (429, {"errors": [{"message": "too many requests"}]}, FailureClass.NOT_SENT),
        (500, {"errors": [{"message": "internal"}]}, FailureClass.NOT_SENT),
        (500, b"Ack! Bad proxy!", FailureClass.UNKNOWN),
        (502, b"", FailureClass.UNKNOWN),
        (202, b"", FailureClass.UNKNOWN),
    ],
)
def test_errors_are_told_apart(status: int, body: object, failure: FailureClass) -> None:
    """The last is a 202 without SendGrid's id: it came from something else."""
    wire = Wire(body, status=status)
    (verdict,) = an_adapter(wire).send(enveloped(a_message())).verdicts
    assert verdict.failure_class is failure


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_stops_the_lane(status: int) -> None:
    """A person acts."""
    with pytest.raises(ConfigError):
        an_adapter(Wire({"errors": []}, status=status)).send(enveloped(a_message()))


def test_the_sandbox_says_yes_without_an_id() -> None:
    """Its 200 is no acceptance outside of it."""
    (verdict,) = an_adapter(Wire(b""), sandbox=True).send(enveloped(a_message())).verdicts
    assert verdict.is_accepted
    (other,) = an_adapter(Wire(b"")).send(enveloped(a_message())).verdicts
    assert other.failure_class is FailureClass.UNKNOWN


def test_the_eu_has_an_address_of_its_own() -> None:
    """Given as the base."""
    adapter = an_adapter(base_url="https://api.eu.sendgrid.com/")
    assert adapter.request(enveloped(a_message())).url.startswith("https://api.eu.sendgrid.com/v3/")
