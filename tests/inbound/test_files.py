"""Files of received mail: nothing that came as a file is lost, and none is taken for the mail's text."""

from __future__ import annotations

from typing import Any, Final

import pytest

from mailglass.errors import SignatureError, SignatureErrorType
from mailglass.inbound.message import from_mime
from mailglass.inbound.providers import mailgun, sendgrid
from mailglass.webhook import HeaderMap, WebhookRequest
from webhook_requests import NOW


def _form(body: bytes) -> WebhookRequest:
    return WebhookRequest(
        url="https://hooks.example/in",
        headers=HeaderMap([("Content-Type", "multipart/form-data; boundary=xYz")]),
        body=body,
        now=NOW,
    )


@pytest.mark.parametrize("reader", [sendgrid, mailgun])
@pytest.mark.parametrize(
    "kind", ["message/rfc822", "message/delivery-status", "multipart/mixed; boundary=q"]
)
def test_a_mail_that_is_attached_to_a_mail_is_not_lost(reader: Any, kind: str) -> None:
    """A forwarded mail or a bounce's report is a file of the form, byte for byte."""
    inner = b"From: ada@r.test\r\nSubject: The first mail\r\n\r\n--q\r\n\r\nHello.\r\n--q--\r\n"
    fields = (
        b'--xYz\r\nContent-Disposition: form-data; name="headers"\r\n\r\nFrom: z@y.test\r\n'
        b'--xYz\r\nContent-Disposition: form-data; name="message-headers"\r\n\r\n[]\r\n'
        b'--xYz\r\nContent-Disposition: form-data; name="attachment-1"; filename="mail.eml"\r\n'
        b"Content-Type: " + kind.encode() + b"\r\n\r\n" + inner + b"\r\n--xYz--\r\n"
    )
    (found,) = reader(_form(fields))
    assert [(one.filename, one.content) for one in found.attachments] == [("mail.eml", inner)]


def test_an_inline_text_file_is_no_body_of_the_mail() -> None:
    """RFC 2183 §2.1 and §2.3: a part with a filename is a file, shown inline or not."""
    raw = (
        b"From: ada@r.test\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=q\r\n\r\n"
        b"--q\r\nContent-Type: text/html\r\n\r\n<p>See the notes.</p>\r\n"
        b"--q\r\nContent-Type: text/plain; name=notes.txt\r\n"
        b"Content-Disposition: inline; filename=notes.txt\r\n\r\nNOTES\r\n--q--\r\n"
    )
    found = from_mime(raw, provider="postal")
    assert found.text is None
    assert [one.filename for one in found.attachments] == ["notes.txt"]


def test_a_body_with_a_name_of_its_own_stays_the_body() -> None:
    """Only Content-Disposition tells a file's name; mailers name bodies in Content-Type too."""
    raw = b"From: ada@r.test\r\nContent-Type: text/plain; name=body.txt\r\n\r\nHello.\r\n"
    found = from_mime(raw, provider="postal")
    assert (found.text, found.attachments) == ("Hello.\r\n", ())


_FIELD: Final = b'--xYz\r\nContent-Disposition: form-data; name="headers"\r\n\r\nFrom: z@y.test\r\n'


@pytest.mark.parametrize("body", [_FIELD, _FIELD * 501 + b"--xYz--\r\n"], ids=["cut", "too many"])
def test_a_form_that_is_cut_off_or_too_long_is_refused(body: bytes) -> None:
    """A part of a mail is not taken for the mail."""
    with pytest.raises(SignatureError) as caught:
        sendgrid(_form(body))
    assert caught.value.type is SignatureErrorType.MALFORMED_HEADER
