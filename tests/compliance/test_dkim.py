"""DKIM signatures, checked by another implementation."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dkim_reference import ED25519, RSA, relaxed_body, verified
from mailglass import Message, SendError
from mailglass.compliance.dkim import OVERSIGNED, SIGNED_WHEN_PRESENT, sign
from mailglass.compliance.dkim_keys import DkimKey
from mailglass.rendering.mime import build

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LEAVE = (
    ("List-Unsubscribe", "<https://shop.example/u/token>"),
    ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
)
HEAD = b"From: a@shop.example\r\nTo: b@mail.example\r\nSubject: x\r\n"


def _mail(**changes: object) -> bytes:
    parts: dict[str, object] = {
        "sender": "Shop <hello@shop.example>",
        "to": "Zoë Ångström <zoe@mail.example>",
        "subject": "Your receipt, Zoë, with a subject long enough to need a second line",
        "text": "Two  spaces,\ta tab, a space at the end \n\n\n",
        "html": "<p>x</p>\n" * 40,
    }
    message = Message(**(parts | changes))  # type: ignore[arg-type]  # the parts of a message
    return build(
        message, message_id="<1@shop.example>", date=NOW, extra_headers=LEAVE, boundary_seed=b"x"
    )


def _tags(payload: bytes) -> dict[str, str]:
    field = payload.decode().split("\r\nFrom:")[0].partition(":")[2].replace("\r\n", "")
    return dict(re.findall(r"([a-z]+)=([^;]*)", field.replace(" ", "")))


def _refusal(payload: bytes) -> str | None:
    with pytest.raises(SendError) as caught:
        sign(payload, [ED25519], now=NOW)
    return caught.value.code


def test_both_algorithms_verify_elsewhere() -> None:
    """RSA (RFC 8301) and Ed25519 (RFC 8463), side by side on one mail."""
    assert verified(sign(_mail(), [RSA, ED25519], now=NOW)) == [True, True]


def test_the_mail_itself_is_untouched() -> None:
    """A signature is put in front and nothing else happens."""
    payload = _mail()
    assert sign(payload, [RSA, ED25519], now=NOW).endswith(payload)
    assert sign(payload, [], now=NOW) == payload


def test_the_same_mail_gets_the_same_bytes() -> None:
    """Every attempt sends the same bytes."""
    payload = _mail()
    first = sign(payload, [RSA, ED25519], now=NOW)
    assert first == sign(payload, [RSA, ED25519], now=NOW)


@pytest.mark.parametrize("key", [RSA, ED25519])
def test_the_tags_say_what_was_done(key: DkimKey) -> None:
    """Version, algorithm, canonicalisation, domain, selector, time; never a length (row 14)."""
    tags = _tags(sign(_mail(), [key], now=NOW, valid_for=timedelta(days=7)))
    assert tags["v"] == "1"
    assert tags["c"] == "relaxed/relaxed"
    assert (tags["d"], tags["s"], tags["a"]) == (key.domain, key.selector, key.algorithm)
    assert int(tags["x"]) - int(tags["t"]) == 7 * 86_400
    assert "l" not in tags


def test_without_an_end_there_is_no_end() -> None:
    """``x=`` is written only when it is asked for."""
    assert "x" not in _tags(sign(_mail(), [ED25519], now=NOW))


@pytest.mark.parametrize("name", ["From", *sorted(OVERSIGNED)])
def test_adding_a_signed_header_breaks_the_signature(name: str) -> None:
    """Row 14: nobody adds a second From, or an unsubscribe link that was not there."""
    signed = sign(_mail(), [RSA, ED25519], now=NOW)
    for at in (0, signed.index(b"\r\nMIME-Version") + 2):
        line = f"{name}: intruder@evil.example\r\n".encode()
        assert verified(signed[:at] + line + signed[at:]) == [False, False]


@pytest.mark.parametrize("name", SIGNED_WHEN_PRESENT)
def test_a_header_that_is_there_is_signed(name: str) -> None:
    """Row 14: what is present cannot be changed."""
    mail = _mail().replace(b"MIME-Version", f"{name}: <a@shop.example>\r\nMIME-Version".encode(), 1)
    signed = sign(mail, [ED25519], now=NOW)
    assert verified(signed) == [True]
    assert verified(signed.replace(b"<a@shop.example>", b"<c@shop.example>", 1)) == [False]


def test_the_unsubscribe_headers_are_named() -> None:
    """RFC 8058 §4: a valid signature must cover both; here each twice, so oversigned (row 61)."""
    named = _tags(sign(_mail(), [ED25519], now=NOW))["h"].split(":")
    for name in ("from", "list-unsubscribe", "list-unsubscribe-post"):
        assert named.count(name) == 2


@pytest.mark.parametrize("part", [b"Your receipt", b"<p>x</p>", b"hello@shop"])
def test_a_changed_mail_does_not_verify(part: bytes) -> None:
    """The subject, the body and the sender are covered."""
    mail = _mail(subject="Your receipt")
    signed = sign(mail, [RSA, ED25519], now=NOW)
    at = signed.rindex(part)
    assert verified(signed[:at] + part.swapcase() + signed[at + len(part) :]) == [False, False]


@pytest.mark.parametrize("change", [b"  ", b"\t", b" \t "])
def test_white_space_may_change_on_the_way(change: bytes) -> None:
    """Relays fold headers anew and add empty lines; relaxed forgives it."""
    signed = sign(_mail(subject="Your receipt"), [RSA, ED25519], now=NOW)
    respaced = signed.replace(b"Subject: Your receipt", b"SUBJECT:" + change + b"Your\r\n receipt")
    assert respaced != signed
    assert verified(respaced) == [True, True]
    assert verified(signed + b"\r\n\r\n") == [True, True]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\r\n",
        b"\r\n\r\n\r\n",
        b" ",
        b" \r\n",
        b"\t \r\n \r\n",
        b"a",
        b"a ",
        b"a \r\n",
        b"a\r\n\r\n\r\n",
        b"a\r\n \r\n\t\r\n",
        b"  a",
        b" a\r\n  b   c    d\te\t\tf\r\n",
        b"\t\ta\t\r\n\r\nb  \t  \r\n\r\n",
        b"a  ",
        b"a   ",
        b"a    \r\n     b",
        b"\r\n\r\na",
        b" " * 1000,
        b"a" + b" " * 1001 + b"b",
    ],
)
def test_bodies_at_the_edge_of_the_rules(body: bytes) -> None:
    """RFC 6376 §3.4.4: white space alone, no last line end, empty lines, no body at all."""
    signed = sign(HEAD + b"\r\n" + body, [ED25519], now=NOW)
    # Whatever carries a mail ends its last line.
    assert verified(signed if body.endswith(b"\r\n") else signed + b"\r\n") == [True]
    wanted = base64.b64encode(hashlib.sha256(relaxed_body(body)).digest()).decode()
    assert _tags(signed)["bh"] == wanted


@given(body=st.lists(st.sampled_from([b" ", b"  ", b"\t", b"\r\n", b"a", b".", b"\xc3\xa9"])))
def test_any_body_is_hashed_as_the_rules_say(body: list[bytes]) -> None:
    """Every mixture of white space, line ends and text."""
    text = b"".join(body)
    wanted = base64.b64encode(hashlib.sha256(relaxed_body(text)).digest()).decode()
    assert _tags(sign(HEAD + b"\r\n" + text, [ED25519], now=NOW))["bh"] == wanted


def test_a_mail_without_a_body_is_signed() -> None:
    """Headers alone are a mail (RFC 5322 §3.5)."""
    assert verified(sign(HEAD, [ED25519], now=NOW)) == [True]


@pytest.mark.parametrize("name", ["From", "Subject", "List-Unsubscribe", "Feedback-ID"])
def test_duplicates_of_signed_headers_are_refused(name: str) -> None:
    """Row 14: a verifier reads the last, a reader shows the first."""
    line = f"{name}: x\r\n".encode()
    assert _refusal(HEAD + line + line.swapcase() + b"\r\nx\r\n") == "duplicate_header"


def test_duplicates_of_other_headers_are_signed_around() -> None:
    """A trace of two relays is no reason to refuse."""
    assert verified(sign(b"X-A: 1\r\nX-A: 2\r\n" + HEAD + b"\r\nx", [ED25519], now=NOW)) == [True]


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (HEAD + b"\r\na\nb", "bare_line_end"),
        (HEAD + b"\r\na\rb", "bare_line_end"),
        (HEAD + b"\r\na\rb\nc", "bare_line_end"),
        (HEAD.replace(b"\r\n", b"\n") + b"\nx", "bare_line_end"),
        (b"Subject: x\r\n\r\nx", "missing_from"),
        (b"From: a@shop.example\r\nnonsense\r\n\r\nx", "malformed_header"),
        (b"Fr om: a@shop.example\r\n\r\nx", "malformed_header"),
        (b"Fr\xc3\xb6m: a@shop.example\r\n\r\nx", "malformed_header"),
    ],
)
def test_what_verifiers_could_read_otherwise_is_refused(payload: bytes, code: str) -> None:
    """A signature that breaks on the way is worse than none."""
    assert _refusal(payload) == code


def test_the_moment_needs_a_zone() -> None:
    """``t=`` is in UTC."""
    with pytest.raises(SendError):
        sign(_mail(), [ED25519], now=datetime(2026, 3, 1))  # noqa: DTZ001 - the mistake itself


def test_lines_stay_short() -> None:
    """RFC 5322 §2.1.1: no line of a signature passes 78 characters, whatever is signed."""
    signed = sign(_mail(reply_to="a@b.example", cc="c@d.example"), [RSA, ED25519], now=NOW)
    lines = signed.partition(b"\r\nFrom:")[0].split(b"\r\n")
    assert max(map(len, lines)) <= 78
    assert not any(line.endswith((b" ", b"\t")) for line in lines)


@pytest.mark.parametrize("fold", [b"\r\n ", b"\r\n\t", b"\r\n \t ", b"\t\r\n  "])
def test_any_folding_is_read(fold: bytes) -> None:
    """RFC 5322 §2.2.3: a line goes on behind a space or a tab, with a colon in it or without."""
    mail = HEAD.replace(b"Subject: x", b"Subject: x" + fold + b"y: z") + b"\r\nx\r\n"
    assert verified(sign(mail, [ED25519], now=NOW)) == [True]


def test_eight_bit_addresses_are_signed() -> None:
    """RFC 8616: a mailbox that needs SMTPUTF8 makes UTF-8 headers, which are signed as they are."""
    assert verified(sign(_mail(to="zoë@mail.example"), [RSA, ED25519], now=NOW)) == [True, True]
