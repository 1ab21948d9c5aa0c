"""Postmark: its request, its codes, which are not HTTP's, and its sentence about who is inactive."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mailglass.adapters.api import WebhookAuth
from mailglass.adapters.postmark import PostmarkAdapter
from mailglass.errors import ConfigError, FailureClass, SendError, SignatureError
from mailglass.message import Attachment, StoredTemplate, Tracking
from mailglass.webhook import TOKEN_KEY
from tests.adapters.wire import Wire, a_message, a_webhook, basic, body_of, enveloped

URL = "https://api.postmarkapp.com"
OK = {"To": "x", "MessageID": "m-1", "ErrorCode": 0, "Message": "OK"}
BOTH = {"to": ["ada@recipient.test", "Ben <ben@recipient.test>"]}


def an_adapter(wire: Wire | None = None, **given: Any) -> PostmarkAdapter:
    """Return an adapter whose provider says yes."""
    return PostmarkAdapter(server_token="server-token", transport=wire or Wire(OK), **given)


def test_a_mail_becomes_one_request() -> None:
    """Names, kinds and the token in its header."""
    envelope = enveloped(
        a_message(
            to=BOTH["to"], cc="c@x.test", bcc="b@x.test", reply_to=["r@x.test", "q@x.test"],
            html="<p>Thanks.</p>", tags=["order"], metadata={"customer": "c-81"},
            headers={"X-Kind": "receipt"},
        )
    )  # fmt: skip
    request = an_adapter(message_stream="outbound").request(envelope)
    assert request.url == f"{URL}/email"
    assert dict(request.headers)["X-Postmark-Server-Token"] == "server-token"
    assert body_of(request) == {
        "From": "Shop <shop@sender.test>",
        "To": "ada@recipient.test, Ben <ben@recipient.test>",
        "Cc": "c@x.test",
        "Bcc": "b@x.test",
        "ReplyTo": "r@x.test, q@x.test",
        "Subject": "Your receipt",
        "Tag": "order",
        "TextBody": "Thanks.",
        "HtmlBody": "<p>Thanks.</p>",
        "Headers": [{"Name": "X-Kind", "Value": "receipt"}],
        "Metadata": {"customer": "c-81", TOKEN_KEY: str(envelope.recipients[0].delivery_id)},
        "MessageStream": "outbound",
        "TrackOpens": False,
        "TrackLinks": "None",
    }


@pytest.mark.parametrize(
    ("tracking", "expected"),
    [
        (Tracking(opens=True, clicks=True), {"TrackOpens": True, "TrackLinks": "HtmlAndText"}),
        (Tracking(), {"TrackOpens": False, "TrackLinks": "None"}),
        (Tracking(opens=None, clicks=None), {}),
    ],
)
def test_a_switch_that_nobody_sets_is_left_out(
    tracking: Tracking, expected: dict[str, Any]
) -> None:
    """Then the server's own setting holds."""
    body = body_of(an_adapter().request(enveloped(a_message(tracking=tracking))))
    assert {key: one for key, one in body.items() if key.startswith("Track")} == expected


def test_files_travel_in_base64_and_inline_ones_by_their_cid() -> None:
    """Postmark wants the scheme in the id."""
    files = [
        Attachment(filename="a.pdf", content=b"%PDF", content_type="application/pdf"),
        Attachment(filename="l.png", content=b"png", content_type="image/png", content_id="logo"),
    ]
    assert body_of(an_adapter().request(enveloped(a_message(attachments=files))))[
        "Attachments"
    ] == [
        {"Name": "a.pdf", "Content": "JVBERg==", "ContentType": "application/pdf"},
        {"Name": "l.png", "Content": "cG5n", "ContentType": "image/png", "ContentID": "cid:logo"},
    ]


@pytest.mark.parametrize(
    ("template_id", "named"),
    [("8120", {"TemplateId": 8120}), ("welcome", {"TemplateAlias": "welcome"})],
)
def test_a_stored_template_goes_by_number_or_alias(template_id: str, named: dict[str, Any]) -> None:
    """With its variables, and without a body of ours."""
    stored = StoredTemplate(id=template_id, variables={"name": "Ada", "items": [1, 2]})
    mail = a_message(subject="", text=None, stored_template=stored)
    request = an_adapter().request(enveloped(mail))
    body = body_of(request)
    assert request.url == f"{URL}/email/withTemplate/"
    assert body.items() >= {**named, "TemplateModel": {"name": "Ada", "items": [1, 2]}}.items()
    assert not {"Subject", "TextBody", "HtmlBody"} & set(body)


def _individual() -> Any:
    own = {"ada@recipient.test": {"name": "Ada"}}
    stored = StoredTemplate(id="welcome", variables={"site": "Shop"}, per_recipient=own)
    return enveloped(
        a_message(**BOTH, cc="c@x.test", subject="", text=None, stored_template=stored)
    )


def test_individual_mails_go_as_one_batch() -> None:
    """Each with its own recipient, variables and delivery."""
    envelope = _individual()
    request = an_adapter().request(envelope)
    first, second = body_of(request)["Messages"]
    assert request.url == f"{URL}/email/batchWithTemplates"
    assert (first["To"], second["To"]) == ("ada@recipient.test", "Ben <ben@recipient.test>")
    assert first["TemplateModel"] == {"site": "Shop", "name": "Ada"}
    assert second["TemplateModel"] == {"site": "Shop"}
    assert second["Metadata"][TOKEN_KEY] == str(envelope.recipients[1].delivery_id)


def test_a_batch_has_a_verdict_for_each() -> None:
    """One may be inactive while the other is taken; Cc shares the first's."""
    wire = Wire([OK, {"ErrorCode": 406, "Message": "inactive"}])
    ada, ben, cc = an_adapter(wire).send(_individual()).verdicts
    assert (ada.provider_message_id, cc.provider_message_id) == ("m-1", "m-1")
    assert (ben.failure_class, ben.code) == (FailureClass.SUPPRESSED, "http 200 406")


@pytest.mark.parametrize("items", [[OK], [OK, {}], [None, None]])
def test_a_batch_that_does_not_add_up_is_not_accepted(items: list[Any]) -> None:
    """Nobody is taken for mailed by guess."""
    verdicts = an_adapter(Wire(items)).send(_individual()).verdicts
    assert verdicts[1].failure_class is FailureClass.UNKNOWN


def test_options_are_merged_over_the_request() -> None:
    """Objects are merged, the rest is replaced."""
    options = {"InlineCss": True, "Metadata": {"more": "1"}}
    body = body_of(an_adapter().request(enveloped(a_message(provider_options=options))))
    assert body["InlineCss"] is True
    assert set(body["Metadata"]) == {TOKEN_KEY, "more"}


@pytest.mark.parametrize(
    "asked",
    [
        {"tags": ["a", "b"]},
        {"metadata": {"k" * 21: "v"}},
        {"metadata": {"k": "v" * 81}},
        {"metadata": {f"k{n}": "v" for n in range(10)}},
        {"envelope_sender": "bounces@sender.test"},
        {"stored_template": StoredTemplate(variables={"a": "b"})},
        {"to": "zoë@recipient.test"},
        {"stored_template": StoredTemplate(id="welcome"), "text": None},
        {"stored_template": StoredTemplate(id="welcome"), "subject": ""},
    ],
)
def test_what_postmark_lacks_is_refused(asked: dict[str, Any]) -> None:
    """Before any row exists, and nothing is dropped in silence."""
    with pytest.raises(SendError) as caught:
        an_adapter().check(a_message(**asked))
    assert caught.value.code == "unsupported_feature"


@pytest.mark.parametrize(
    ("status", "number", "failure"),
    [
        (422, 300, FailureClass.PERMANENT),
        (422, 406, FailureClass.SUPPRESSED),
        (422, 411, FailureClass.PERMANENT),
        (200, 451, FailureClass.PERMANENT),
        (422, 100, FailureClass.NOT_SENT),
        (500, 500, FailureClass.NOT_SENT),
        (503, 100, FailureClass.NOT_SENT),
        (429, 429, FailureClass.NOT_SENT),
    ],
)
def test_postmarks_own_code_decides(status: int, number: int, failure: FailureClass) -> None:
    """It shares numbers with HTTP and means other things."""
    wire = Wire({"ErrorCode": number, "Message": "to ada@recipient.test"}, status=status)
    (verdict,) = an_adapter(wire).send(enveloped(a_message())).verdicts
    assert (verdict.failure_class, verdict.code) == (failure, f"http {status} {number}")


@pytest.mark.parametrize("number", [10, 400, 401, 405, 412, 413])
def test_a_fault_of_the_account_stops_the_lane(number: int) -> None:
    """Token, sender signature, credits, account."""
    with pytest.raises(ConfigError):
        an_adapter(Wire({"ErrorCode": number}, status=422)).send(enveloped(a_message()))


def test_an_inactive_recipient_beside_an_active_one_is_suppressed() -> None:
    """Postmark says so in the sentence of a yes."""
    said = (
        "Message OK, but will not deliver to these inactive addresses: BEN@recipient.test."
        " Inactive recipients are ones that have generated a hard bounce."
    )
    ada, ben = an_adapter(Wire({**OK, "Message": said})).send(enveloped(a_message(**BOTH))).verdicts
    assert ada.is_accepted
    assert ben.failure_class is FailureClass.SUPPRESSED


def test_the_caller_must_be_in_a_given_network() -> None:
    """Credentials and network, both."""
    auth = WebhookAuth(credentials=["hooks:pass"], networks=["192.0.2.0/24"])
    request = a_webhook({}, headers=basic("hooks:pass"))
    with pytest.raises(SignatureError) as caught:
        an_adapter(webhooks=auth).verify(request)
    assert caught.value.type.value == "ip_disallowed"


def test_no_answer_of_postmark_shows_an_address() -> None:
    """Not even the one that its sentence names."""
    wire = Wire({"ErrorCode": 300, "Message": "Error parsing 'To': canary@x.test"}, status=422)
    assert "canary" not in json.dumps(repr(an_adapter(wire).send(enveloped(a_message()))))
