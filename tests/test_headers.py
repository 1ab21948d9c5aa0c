"""What may stand in a header, in a filename and in a type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generated import MANY
from mailglass import limits
from mailglass.address import Address
from mailglass.errors import SendError, SendErrorType
from mailglass.headers import (
    check_content_type,
    check_filename,
    check_header,
    check_message_ids,
    check_text,
    check_token,
)
from mailglass.message import Attachment, Message

CONTROLS: Final = [*map(chr, range(0x20)), "\x7f"]
C1_AND_LINES: Final = [*map(chr, range(0x80, 0xA0)), "\u2028", "\u2029"]
BIDI: Final = [*map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))]


def message(**fields: object) -> Message:
    """Return a message that is right but for the fields given."""
    right: dict[str, object] = {
        "sender": "a@example.org",
        "to": "b@example.org",
        "subject": "Hello",
        "text": "Hello",
    }
    return Message(**(right | fields))  # type: ignore[arg-type]  # wrong on purpose


def refusal(check: Callable[[], None]) -> str:
    """Return everything that a refusal tells, or nothing if there is none."""
    try:
        check()
    except SendError as error:
        return f"{error.code} {error.to_dict()}"
    return ""


FIELDS: Final[dict[str, Callable[[str], object]]] = {
    "subject": lambda value: message(subject=value),
    "from": lambda value: message(sender=Address(value, "a", "example.org")),
    "to": lambda value: message(to=f'"{value}" <a@example.org>'),
    "to, unquoted": lambda value: message(to=f"Jane {value} Doe <a@example.org>"),
    "cc": lambda value: message(cc=Address(value, "a", "example.org")),
    "reply-to": lambda value: message(reply_to=Address(value, "a", "example.org")),
    "local part": lambda value: message(to=f"a{value}b@example.org"),
    "domain": lambda value: message(to=f"a@exa{value}mple.org"),
    "header": lambda value: message(headers={"X-Order": value}),
    "header name": lambda value: message(headers={f"X-A{value}B": "1"}),
    "in-reply-to": lambda value: message(headers={"In-Reply-To": f"<a{value}@b>"}),
    "filename": lambda value: Attachment(filename=f"a{value}.pdf", content=b""),
    "content type": lambda value: Attachment(filename="a", content=b"", content_type=f"a/b{value}"),
    "content id": lambda value: Attachment(filename="a", content=b"", content_id=f"a{value}"),
    "tag": lambda value: message(tags=[value]),
}


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("char", CONTROLS, ids=ascii)
def test_control_character_is_refused_everywhere(field: str, char: str) -> None:
    """No control character gets into any header, so no header can be added (row 1)."""
    with pytest.raises(SendError) as caught:
        FIELDS[field](f"a{char}b")
    assert caught.value.type is SendErrorType.SERIALIZATION_FAILED


@pytest.mark.parametrize("field", FIELDS)
def test_fields_of_the_tables_above_accept_plain_text(field: str) -> None:
    """What is refused above is refused for its character and for nothing else."""
    FIELDS[field]("ab")


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("char", ["\r\nBcc: v", "\u202e", "\u2028", "\ud800", "\x85"], ids=ascii)
def test_line_ends_and_hidden_characters_are_refused_everywhere(field: str, char: str) -> None:
    """Neither a line end in disguise nor a character that turns the text around (rows 1 and 8)."""
    with pytest.raises(SendError):
        FIELDS[field](char)


@pytest.mark.parametrize("char", CONTROLS + C1_AND_LINES, ids=ascii)
@pytest.mark.parametrize("around", ["{}", "a{}", "{}a", "a{}a"])
def test_control_character_is_found_at_any_place(char: str, around: str) -> None:
    """A control character counts at the start, inside and at the end (row 1)."""
    with pytest.raises(SendError) as caught:
        check_text("a subject", around.format(char), chars_max=10)
    assert caught.value.code == "control_character"


@pytest.mark.parametrize("char", BIDI, ids=ascii)
def test_bidirectional_control_is_refused(char: str) -> None:
    """Text cannot show in another order than it is written (row 8)."""
    with pytest.raises(SendError) as caught:
        check_text("a subject", f"a{char}b", chars_max=10)
    assert caught.value.code == "bidi_control"


@pytest.mark.parametrize(
    "value", ["", "a", "Grüße", "שלום", "a\u200fb", "日本", "\U0001f600", "a\u200db"]
)
def test_text_of_any_language_passes(value: str) -> None:
    """Letters, marks and emoji of every script are text."""
    check_text("a subject", value, chars_max=10)


def test_text_has_a_longest_length() -> None:
    """A string of the longest length passes and one more does not (row 12)."""
    check_text("a subject", "x" * 10, chars_max=10)
    with pytest.raises(SendError) as caught:
        check_text("a subject", "x" * 11, chars_max=10)
    assert caught.value.code == "too_long"


def test_lone_surrogate_is_refused() -> None:
    """Half of a pair, which cannot be encoded, is refused before anything encodes it."""
    with pytest.raises(SendError) as caught:
        check_text("a subject", "a\udc80", chars_max=10)
    assert caught.value.code == "surrogate"


@pytest.mark.parametrize("value", [None, 5, b"bytes", ["a"]])
def test_what_is_not_text_is_refused_with_our_error(value: object) -> None:
    """A wrong type gives a SendError, not a TypeError from inside (row 6)."""
    for check in (check_filename, check_content_type):
        with pytest.raises(SendError):
            check(value)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(SendError):
        check_header("X-A", value)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(SendError):
        check_header(value, "a")  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("X-Order", None),
        ("x", None),
        ("X_Odd!#$%&'*+.^`|~", None),
        ("X" * 76, None),
        ("Precedence", None),
        ("Auto-Submitted", None),
        ("List-Id", None),
        ("Feedback-ID", None),
        ("X" * 77, "header_name"),
        ("", "header_name"),
        ("X-A: 1\nBcc", "header_name"),
        ("X-A\r\nBcc", "header_name"),
        ("X A", "header_name"),
        ("Bcc ", "header_name"),
        (" Bcc", "header_name"),
        ("X:", "header_name"),
        ("X-Ä", "header_name"),
        ("X\t", "header_name"),
        ("X\x00", "header_name"),
        ("X-A\n", "header_name"),
        ("From", "reserved_header"),
        ("sender", "reserved_header"),
        ("TO", "reserved_header"),
        ("cC", "reserved_header"),
        ("bCc", "reserved_header"),
        ("Subject", "reserved_header"),
        ("Date", "reserved_header"),
        ("Message-ID", "reserved_header"),
        ("reply-to", "reserved_header"),
        ("Return-Path", "reserved_header"),
        ("Received", "reserved_header"),
        ("MIME-Version", "reserved_header"),
        ("Content-Type", "reserved_header"),
        ("Content-Anything", "reserved_header"),
        ("DKIM-Signature", "reserved_header"),
        ("ARC-Seal", "reserved_header"),
        ("Authentication-Results", "reserved_header"),
        ("Resent-Bcc", "reserved_header"),
        ("List-Unsubscribe", None),
        ("List-Unsubscribe-Post", None),
    ],
)
def test_header_name_is_one_an_author_may_set(name: str, code: str | None) -> None:
    """A header name can neither end its line nor forge what mailglass or a server says (row 3)."""
    if code is None:
        check_header(name, "1")
        return
    with pytest.raises(SendError) as caught:
        check_header(name, "1")
    assert caught.value.code == code


def test_header_value_is_bounded_in_octets() -> None:
    """The limit of a value counts what travels, not characters (row 12)."""
    check_header("X-A", "x" * limits.HEADER_VALUE_OCTETS_MAX)
    with pytest.raises(SendError) as caught:
        check_header("X-A", "ü" * (limits.HEADER_VALUE_OCTETS_MAX // 2 + 1))
    assert caught.value.code == "too_long"


@pytest.mark.parametrize("name", ["In-Reply-To", "REFERENCES"])
@pytest.mark.parametrize(
    "value",
    ["<a@b>", "<a.b+c=1@example.org>", "<a@b> <c@d>", "<a@b>  <c@d>", "<a@[1.2.3.4]>", "<a@[]>"],
)
def test_message_ids_are_accepted(name: str, value: str) -> None:
    """A thread can be continued with the ids of RFC 5322 (row 15)."""
    check_header(name, value)


@pytest.mark.parametrize("name", ["In-Reply-To", "references"])
@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "a@b",
        "<a@b",
        "a@b>",
        "<a>",
        "<@b>",
        "<a@>",
        "<a@b>>",
        "<<a@b>",
        "<a@b><c@d>",
        "<a@b>, <c@d>",
        " <a@b>",
        "<a@b> ",
        "<a b@c>",
        "<a..b@c>",
        "<a@b@c>",
        '<"a"@b>',
        "<a@[b]c>",
        "<a@[[]>",
        "<ä@b>",
        "<=?utf-8?q?=0ABcc?=@b>",
        "<a@b> X-Evil: 1",
    ],
)
def test_what_is_not_a_message_id_is_refused(name: str, value: str) -> None:
    """Nothing but ids gets into a threading header (row 15)."""
    with pytest.raises(SendError) as caught:
        check_header(name, value)
    assert caught.value.code == "message_id"


GOOD_FILENAMES: Final = [
    "a",
    "invoice.pdf",
    "Invoice 2024-01.pdf",
    "Rechnung Nº 5 \u2013 März.pdf",
    "請求書.pdf",
    "счёт.pdf",
    "חשבונית.pdf",
    "a..b.pdf",
    "...a",
    ".profile",
    "a.tar.gz",
    'say "hi".txt',
    "a;b=c.txt",
    "100%.txt",
    "=?utf-8?q?a?=.pdf",
    "it's.txt",
    "a,b.txt",
    "(1).txt",
    "<a>.txt",
    "a:b.txt"[1:],
    "ab:c.txt",
    "\U0001f600.png",
    "x" * 150,
    "ü" * 75,
    "e\u0301.txt",
    "a ",
]
BAD_FILENAMES: Final = {
    "": "filename_empty",
    " ": "filename_empty",
    "\u00a0\u3000": "filename_empty",
    ".": "filename_path",
    "..": "filename_path",
    "../../.ssh/authorized_keys": "filename_path",
    "..\\..\\boot.ini": "filename_path",
    "/etc/passwd": "filename_path",
    "\\\\server\\share": "filename_path",
    "C:\\x": "filename_path",
    "C:x": "filename_path",
    "c:/x": "filename_path",
    "z:": "filename_path",
    "a/b": "filename_path",
    "a\\b": "filename_path",
    "a/": "filename_path",
    "/": "filename_path",
    "\\": "filename_path",
    "file:///etc/passwd": "filename_path",
    "a\x00.pdf": "control_character",
    "inv\r\noice.pdf": "control_character",
    "inv\noice.pdf": "control_character",
    "inv\roice.pdf": "control_character",
    "a\tb": "control_character",
    "a\x1b[31m": "control_character",
    "a\x7f": "control_character",
    "a\x85b": "control_character",
    "a\u2028b": "control_character",
    "a\u2029b": "control_character",
    "a.pdf\u202eexe.": "bidi_control",
    "\u202aa": "bidi_control",
    "a\u2066b": "bidi_control",
    "a\u2069": "bidi_control",
    "a\ud83d.png": "surrogate",
    "x" * 151: "filename_too_long",
    "ü" * 76: "filename_too_long",
    "x" * 5_000: "filename_too_long",
    "x" * 100_000: "too_long",
    "../" * 60: "filename_too_long",
}


@pytest.mark.parametrize("name", GOOD_FILENAMES, ids=ascii)
def test_filename_of_any_language_is_kept(name: str) -> None:
    """A name that is just a name is accepted as it is (row 10)."""
    check_filename(name)


@pytest.mark.parametrize(
    ("name", "code"), BAD_FILENAMES.items(), ids=lambda value: ascii(value)[:30]
)
def test_filename_that_lies_is_refused(name: str, code: str) -> None:
    """A name that is a path, or shows as another, is refused and never renamed (row 10)."""
    with pytest.raises(SendError) as caught:
        check_filename(name)
    assert caught.value.code == code


@pytest.mark.parametrize("value", ["a", "image-1.2_3", "a!b#c$d%e&f'g*h+i^j`k{l|m}n~"])
def test_token_is_accepted(value: str) -> None:
    """The token characters of RFC 2045 pass."""
    check_token("content id", value)


@pytest.mark.parametrize("value", ["", "a b", "a/b", "a@b", "a;b", 'a"b', "ä", "a\r\n", "a" * 128])
def test_what_is_not_a_token_is_refused(value: str) -> None:
    """Nothing with a meaning in a header gets into a token."""
    with pytest.raises(SendError) as caught:
        check_token("content id", value)
    assert caught.value.code == "token"


def test_token_may_be_given_more_characters() -> None:
    """``allow`` adds just the characters that it names."""
    check_token("content id", "logo@shop", allow="@")
    with pytest.raises(SendError):
        check_token("content id", "logo@shop/x", allow="@")


@pytest.mark.parametrize(
    "value", ["text/plain", "application/vnd.ms-excel", "image/svg+xml", "A/B"]
)
def test_content_type_is_accepted(value: str) -> None:
    """A type and a subtype make a content type."""
    check_content_type(value)


@pytest.mark.parametrize(
    "value",
    ["text", "/", "a/", "/b", "a/b/c", "text/plain; x=y", "multipart/mixed", "Message/rfc822", ""],
)
def test_content_type_that_no_attachment_can_have_is_refused(value: str) -> None:
    """A part that holds parts would be read as part of our own structure."""
    with pytest.raises(SendError):
        check_content_type(value)


@MANY
@given(st.text(), st.text())
def test_checks_raise_nothing_but_our_error_and_never_tell_the_value(name: str, value: str) -> None:
    """Whatever comes in, a refusal is a SendError whose text does not repeat it (row 6)."""
    secret = f"s3cr3t{value}"
    checks: list[Callable[[], None]] = [
        lambda: check_text("a subject", secret, chars_max=20),
        lambda: check_header(name, secret),
        lambda: check_header(secret, value),
        lambda: check_filename(secret),
        lambda: check_token("a tag", secret),
        lambda: check_message_ids(secret),
    ]
    for check in checks:
        assert "s3cr3t" not in refusal(check)
