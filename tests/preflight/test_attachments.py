"""Attachments: their size, their kind, and whether they are what they say they are."""

from __future__ import annotations

from email.message import EmailMessage
from typing import Any

import pytest

from front_desk import front_desk, note, rows
from mailglass import Attachment, Message, SendError
from mailglass.preflight import Context, Phase
from mailglass.preflight.attachments import (
    AttachmentPolicy,
    attachment_policy,
    attachments_are_allowed,
    encoded_bytes,
    is_executable,
)
from mailglass.settings import Settings

PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 20
PE = b"MZ" + b"\x90" * 58 + (64).to_bytes(4, "little") + b"PE\x00\x00" + b"\x00" * 20


def _context(**changes: Any) -> Context:
    fields: dict[str, Any] = {
        "tenant_id": "a",
        "phase": Phase.INTAKE,
        "settings": Settings(),
        "suppressions": lambda _values, _stream: (),
        "take": lambda _request: None,
    }
    return Context(**(fields | changes))


def _mail(*attachments: tuple[str, str, bytes]) -> Message:
    return note(
        attachments=[
            Attachment(filename=name, content_type=kind, content=content)
            for name, kind, content in attachments
        ]
    )


def _code(message: Message, **context: Any) -> str | None:
    try:
        attachments_are_allowed(message, _context(**context))
    except SendError as error:
        return error.code
    return None


@pytest.mark.parametrize(
    ("name", "kind", "content"),
    [
        ("a.pdf", "application/pdf", b"%PDF-1.7\n"),
        ("a.pdf", "application/pdf", b"\n\n%PDF-1.4 after a mark"),
        ("a.png", "image/png", PNG),
        ("a.jpg", "IMAGE/JPEG", b"\xff\xd8\xff\xe0JFIF"),
        ("a.gif", "image/gif", b"GIF89a"),
        ("a.webp", "image/webp", b"RIFF\x00\x00\x00\x00WEBPVP8 "),
        ("a.zip", "application/zip", b"PK\x05\x06" + b"\x00" * 18),
        ("a.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
         b"PK\x03\x04"),
        ("a.odt", "application/vnd.oasis.opendocument.text", b"PK\x03\x04"),
        ("a.xls", "application/vnd.ms-excel", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
        ("a.csv", "text/csv", b"MZ,a column that begins like a program" * 9),
        ("a.csv", "text/csv", "a,b".encode("utf-16")),
        ("a.ics", "text/calendar", b"BEGIN:VCALENDAR"),
        ("a.bin", "application/octet-stream", b"\x00\x01"),
        ("a.xyz", "application/x-unknown", b"anything"),
        ("a.tar.gz", "application/gzip", b"\x1f\x8b\x08"),
    ],
)  # fmt: skip
def test_what_is_what_it_says_passes(name: str, kind: str, content: bytes) -> None:
    """And what nobody can tell is believed."""
    assert _code(_mail((name, kind, content))) is None


@pytest.mark.parametrize(
    ("name", "kind", "content", "code"),
    [
        ("a.pdf", "application/pdf", b"<html>", "attachment_content"),
        ("a.pdf", "application/pdf", b"", "attachment_content"),
        ("a.png", "image/png", b"\xff\xd8\xff", "attachment_content"),
        ("a.webp", "image/webp", b"RIFF\x00\x00\x00\x00WAVE", "attachment_content"),
        ("a.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
         b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "attachment_content"),
        ("a.csv", "text/csv", b"a\x00b", "attachment_content"),
        ("invoice.pdf", "application/pdf", PE, "attachment_executable"),
        ("a.bin", "application/octet-stream", b"\x7fELF\x02\x01", "attachment_executable"),
        ("a.bin", "application/octet-stream", b"\xcf\xfa\xed\xfe\x07", "attachment_executable"),
        ("invoice.pdf.exe", "application/pdf", b"%PDF-", "attachment_suffix"),
        ("Invoice.PDF.SCR", "application/octet-stream", b"x", "attachment_suffix"),
        ("invoice.js. .", "text/plain", b"x", "attachment_suffix"),
    ],
)  # fmt: skip
def test_what_is_not_what_it_says_or_runs_is_refused(
    name: str, kind: str, content: bytes, code: str
) -> None:
    """Row 10: a name, a type and a content that do not fit are a wrapped program or a mistake."""
    assert _code(_mail((name, kind, content))) == code


def test_an_error_names_no_file() -> None:
    """Row 82: a file's name may be a person's."""
    with pytest.raises(SendError) as caught:
        attachments_are_allowed(_mail(("canary.exe", "text/plain", b"x")), _context())
    assert "canary" not in f"{caught.value!r} {caught.value.to_dict()}"


def test_a_cut_off_program_header_is_no_program() -> None:
    """Reading it raises nothing."""
    for length in range(len(PE) - 20):
        is_executable(PE[:length])
    assert is_executable(PE)
    assert not is_executable(PE[:60])


def test_a_policy_of_ones_own_names_types_and_a_size() -> None:
    """By pattern too; the default refuses no type."""
    check = attachment_policy(
        AttachmentPolicy(types_allowed=frozenset({"application/pdf", "image/*"}), bytes_max=100)
    )
    check(_mail(("a.png", "image/png", PNG), ("a.pdf", "application/pdf", b"%PDF-")), _context())
    for mail, code in (
        (_mail(("a.csv", "text/csv", b"a")), "attachment_type"),
        (_mail(*((f"{n}.png", "image/png", PNG) for n in range(4))), "attachment_too_large"),
    ):
        with pytest.raises(SendError) as caught:
            check(mail, _context())
        assert caught.value.code == code


def test_attachments_together_are_at_most_25_mib() -> None:
    """Row 12: to the byte, as Message itself asks."""
    most = 25 * 1024 * 1024
    at_it = _mail(("a.bin", "application/octet-stream", b"x" * most))
    attachments_are_allowed(at_it, _context())
    small = attachment_policy(AttachmentPolicy(bytes_max=most - 1))
    with pytest.raises(SendError) as caught:
        small(at_it, _context())
    assert caught.value.code == "attachment_too_large"


@pytest.mark.parametrize("size", [0, 1, 2, 3, 56, 57, 58, 1000, 4096])
def test_the_encoded_size_is_what_base64_makes_of_it(size: int) -> None:
    """The provider counts the encoded mail, a third larger than the file."""
    mail = EmailMessage()
    mail.set_content(b"x" * size, "application", "octet-stream", cte="base64")
    payload = mail.get_payload().replace("\n", "\r\n")  # type: ignore[union-attr]  # a string
    message = note(text="body")
    assert encoded_bytes(message, [size]) == 4 + len(payload)


def test_a_mail_that_the_provider_does_not_take_is_refused_before_it_is_queued() -> None:
    """Row 12: with the limit of the adapter, when it says one."""
    mail = _mail(("a.bin", "application/octet-stream", b"x" * 3000))
    assert _code(mail) is None
    assert _code(mail, message_bytes_max=5000) is None
    assert _code(mail, message_bytes_max=4000) == "message_too_large"


def test_what_is_frozen_is_not_read_again() -> None:
    """At dispatch the bytes are those of intake."""
    mail = _mail(("a.exe", "text/plain", b"x"))
    assert _code(mail, phase=Phase.DISPATCH) is None


def test_the_front_desk_takes_the_check(database_url: str) -> None:
    """Nothing is written for a mail that it refuses."""
    with front_desk(database_url) as mail:
        with pytest.raises(SendError) as caught:
            mail.deliver(_mail(("a.exe", "text/plain", b"x")))
        assert caught.value.code == "attachment_suffix"
        assert rows(database_url)["messages"] == 0
        mail.deliver(_mail(("a.png", "image/png", PNG)))
