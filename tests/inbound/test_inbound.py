"""Received mail: read from each provider's form, routed once, kept, and handled again when asked."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from front_desk import count
from mailglass import ConfigError, SignatureError
from mailglass.adapters.fake import FakeAdapter
from mailglass.adapters.http import Request, Response
from mailglass.adapters.providers import build_offline
from mailglass.inbound.forms import read_form
from mailglass.inbound.mailbox import InboundOutcome, Mailbox, Ruling
from mailglass.inbound.message import InboundMessage, from_mime
from mailglass.inbound.readers import READERS, read_mails
from mailglass.webhook import HeaderMap, WebhookRequest
from mailglass.webhooks.endpoint import Endpoint
from webhook_requests import NOW, hooked, postmark, request

RAW = (
    b"From: Zoe <zoe@mail.example>\r\nTo: help@shop.example\r\nCc: ann@mail.example\r\n"
    b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nDate: Sun, 01 Mar 2026 12:00:00 +0000\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\r\nh\xe9\r\n"
    b"--b\r\nContent-Type: text/html\r\n\r\n<p>h</p>\r\n"
    b"--b\r\nContent-Type: image/png\r\nContent-ID: <one>\r\n"
    b'Content-Disposition: inline; filename="../../a.png"\r\n\r\npng\r\n--b--\r\n'
)
TEXT = "From: zoe@mail.example\r\nTo: help@shop.example\r\nSubject: Hello\r\n\r\nHi"
PACKED = base64.b64encode(TEXT.encode()).decode()


def _form(**fields: str) -> tuple[bytes, str]:
    parts = (
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    return "".join((*parts, "--b--\r\n")).encode(), "multipart/form-data; boundary=b"


def _json(value: Any) -> tuple[bytes, str]:
    return json.dumps(value).encode(), "application/json"


def _ses() -> tuple[bytes, str]:
    told = {
        "notificationType": "Received",
        "mail": {"source": "zoe@mail.example", "messageId": "1"},
        "receipt": {"recipients": ["help@shop.example"], "action": {"encoding": "BASE64"}},
        "content": PACKED,
    }
    return _json({"Type": "Notification", "MessageId": "1", "Message": json.dumps(told)})


def _mandrill() -> tuple[bytes, str]:
    told = [{"event": "inbound", "msg": {"raw_msg": TEXT, "email": "help@shop.example"}}]
    from urllib.parse import urlencode  # noqa: PLC0415 - this case alone writes such a form

    return urlencode(
        {"mandrill_events": json.dumps(told)}
    ).encode(), "application/x-www-form-urlencoded"


_HEADERS = [["From", "zoe@mail.example"], ["To", "help@shop.example"], ["Subject", "Hello"]]
CASES: dict[str, Callable[[], tuple[bytes, str]]] = {
    "amazon_ses": _ses,
    "brevo": lambda: _json({"items": [{"Headers": dict(_HEADERS), "RawTextBody": "Hi"}]}),
    "mailersend": lambda: _json({"type": "inbound.message", "data": {"raw": TEXT}}),
    "mailgun": lambda: _form(
        recipient="help@shop.example", **{"message-headers": json.dumps(_HEADERS), "body-plain": "Hi"}
    ),
    "mailjet": lambda: _json(
        {"Recipient": "help@shop.example", "Headers": dict(_HEADERS), "Text-part": "Hi"}
    ),
    "mandrill": _mandrill,
    "postal": lambda: _json({"rcpt_to": "help@shop.example", "message": PACKED}),
    "postmark": lambda: _json(
        {
            "FromFull": {"Email": "zoe@mail.example"}, "ToFull": [{"Email": "help@shop.example"}],
            "OriginalRecipient": "help@shop.example", "Subject": "Hello", "TextBody": "Hi",
        }
    ),
    "resend": lambda: _json({"type": "email.received", "data": {"email_id": "e-1"}}),
    "sendgrid": lambda: _form(
        headers="From: zoe@mail.example\nTo: help@shop.example\nSubject: Hello", text="Hi",
        subject="Hello", envelope=json.dumps({"to": ["help@shop.example"]}),
    ),
    "sparkpost": lambda: _json(
        [{"msys": {"relay_message": {"rcpt_to": "help@shop.example", "content": {"email_rfc822": TEXT}}}}]
    ),
}  # fmt: skip


def _received(_: Request) -> Response:
    """Answer with the mail that Resend keeps."""
    told = {"headers": dict(_HEADERS), "text": "Hi"}
    return Response(status=200, body=json.dumps(told).encode())


def _request(body: bytes, kind: str) -> WebhookRequest:
    headers = HeaderMap([("Content-Type", kind)])
    return WebhookRequest(url="https://hooks.example/", headers=headers, body=body, now=NOW)


@pytest.mark.parametrize("provider", sorted(READERS))
def test_each_providers_mail_reads_the_same(provider: str) -> None:
    """A handler does not see who handed the mail over."""
    adapter = build_offline(provider, {}, transport=_received)
    (mail,) = read_mails(adapter, _request(*CASES[provider]()))
    assert (mail.provider, mail.subject, (mail.text or "").strip()) == (provider, "Hello", "Hi")
    assert mail.recipients == ("help@shop.example",)
    assert [spec for _, spec in mail.addresses("From")] == ["zoe@mail.example"]


def test_a_mail_is_read_from_its_bytes() -> None:
    """Charsets, encoded words, and a file whose name tries to leave its folder."""
    mail = from_mime(RAW, provider="postal")
    assert (mail.subject, mail.text, mail.html) == ("Grüße", "hé", "<p>h</p>")
    (file,) = mail.attachments
    assert (file.filename, file.content_id, file.is_inline, file.content) == (
        "a.png",
        "one",
        True,
        b"png",
    )
    assert mail.sent_at == NOW
    assert "zoe" not in repr(mail)


@pytest.mark.parametrize(
    ("told", "name"),
    [
        (r'filename="C:\scans\a.txt"', "a.txt"),
        (r'filename="scans\"', None),
        (r'filename="scans\.."', None),
        (r'filename="a\"b.txt"', 'a"b.txt'),
        (r'filename="ä\ö.txt"; size=1', "ö.txt"),
        ("filename*=UTF-8''%C3%A4.txt", "ä.txt"),
    ],
)
def test_a_backslash_in_a_forms_file_name_ends_a_folder(told: str, name: str | None) -> None:
    """It is no escape there, and the file comes whole whatever it is called."""
    part = f'--b\r\nContent-Disposition: form-data; name="f"; {told}\r\n\r\nhi\r\n--b--\r\n'
    form = read_form(_request(part.encode(), "multipart/form-data; boundary=b"), provider="mailgun")
    assert (form.files["f"].filename, form.files["f"].content) == (name, b"hi")


@pytest.mark.parametrize(
    "raw",
    [
        b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 600 + b"--b--",
        b"".join(
            f'Content-Type: multipart/mixed; boundary="b{n}"\n\n--b{n}\n'.encode()
            for n in range(40)
        ),
        b"A: b\n" * 1_001 + b"\nx",
    ],
)
def test_a_bomb_is_refused(raw: bytes) -> None:
    """Row 99: too many parts, too deep, too many headers."""
    with pytest.raises(SignatureError):
        from_mime(raw, provider="postal")


@pytest.mark.parametrize(
    "raw", [b"", b"\xff\xfe", b"From: <<>>,\nDate: \x00\nSubject: =?x?q?\xff?=\n\nx"]
)
def test_what_is_hardly_a_mail_is_read_all_the_same(raw: bytes) -> None:
    """Strangers write what they like."""
    mail = from_mime(raw, provider="postal")
    assert (mail.sent_at, mail.attachments) == (None, ())
    json.dumps([mail.subject, mail.text, mail.headers])


def _inbox(seen: list[str]) -> Mailbox:
    mailbox = Mailbox()

    @mailbox.route(to=re.compile(r"^support\+\d+@"))
    def ticket(_message: InboundMessage) -> Ruling:
        seen.append("ticket")
        return Ruling(outcome=InboundOutcome.REJECTED, reason="closed")

    @mailbox.route(to="help@shop.example", subject="hello", header={"X-Kind": re.compile("a|b")})
    def narrow(_message: InboundMessage) -> None:
        seen.append("narrow")

    @mailbox.route(to="HELP@shop.example")
    def wide(_message: InboundMessage) -> None:
        seen.append("wide")
        if len(seen) == 1:
            raise RuntimeError("canary")

    return mailbox


def _mail(to: str, **headers: str) -> InboundMessage:
    given = {"To": to, "Subject": "Hello"} | {
        name.replace("_", "-"): one for name, one in headers.items()
    }
    return InboundMessage(provider="postal", headers=tuple(given.items()))


@pytest.mark.parametrize(
    ("mail", "expected"),
    [
        (_mail("support+7@shop.example"), ("ticket", "rejected", "closed")),
        (_mail("help@shop.example", X_Kind="a"), ("narrow", "accepted", None)),
        (_mail("help@shop.example", X_Kind="c"), ("wide", "failed", "RuntimeError")),
        (_mail("nobody@shop.example"), (None, "unrouted", None)),
    ],
)
def test_the_first_route_that_matches_takes_the_mail(
    mail: InboundMessage, expected: tuple[str | None, str, str | None]
) -> None:
    """All that a route asks for must match; what a handler raises is its outcome."""
    found = _inbox([]).handle(mail)
    assert (found.route, found.outcome.value, found.reason) == expected


def test_two_routes_of_one_name_and_a_mailbox_without_mail_are_refused() -> None:
    """Both are mistakes that would show only when a mail comes."""
    mailbox = _inbox([])
    with pytest.raises(ConfigError):
        mailbox.route(name="wide")(lambda _message: None)
    with pytest.raises(ConfigError):
        Endpoint(name="in", adapter=FakeAdapter(), tenant_id="default", mailbox=mailbox)  # type: ignore[arg-type]  # the mistake itself


def _outcomes(database_url: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database_url) as connection:
        return connection.execute(
            "select route, outcome, reason, runs from mailglass.inbound_messages"
        ).fetchall()


def test_a_mail_is_handled_once_and_again_when_asked(database_url: str) -> None:
    """The answer depends on the receipt alone; a failed handler is run again by a replay."""
    seen: list[str] = []
    endpoint = Endpoint(name="in", adapter=postmark(), tenant_id="default", mailbox=_inbox(seen))
    body, _ = CASES["postmark"]()
    with hooked(database_url, endpoints=[endpoint]) as mail:
        for _ in range(2):
            assert mail.ingest("postmark/in", request(body)).status == 200
        assert _outcomes(database_url) == [("wide", "failed", "RuntimeError", 1)]
        mail.replay(mail.webhooks.webhooks.receipts()[0].id)
    assert _outcomes(database_url) == [("wide", "accepted", None, 2)]
    assert seen == ["wide", "wide"]
    assert count(database_url, "events") == 0


def test_what_is_no_mail_is_dead_and_kept(database_url: str) -> None:
    """Somebody pointed the wrong webhook at the address."""
    endpoint = Endpoint(name="in", adapter=postmark(), tenant_id="default", mailbox=_inbox([]))
    with hooked(database_url, endpoints=[endpoint]) as mail:
        assert mail.ingest("postmark", request({"RecordType": "Open"})).status == 200
        (receipt,) = mail.webhooks.webhooks.receipts()
    assert (receipt.state.value, receipt.reason) == ("dead", "malformed_header")
