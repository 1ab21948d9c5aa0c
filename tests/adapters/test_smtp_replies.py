"""The parser of SMTP replies: what it takes, what it refuses, and what it keeps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailglass.adapters.smtp_replies import (
    LINE_OCTETS_MAX,
    LINES_MAX,
    BadReplyError,
    Reply,
    ReplyParser,
)


def parsed(octets: bytes) -> Reply | None:
    """Feed all at once and return the first reply."""
    parser = ReplyParser()
    parser.feed(octets)
    return parser.next_reply()


@pytest.mark.parametrize(
    ("octets", "code", "enhanced", "label"),
    [
        (b"250 ok\r\n", 250, None, "250"),
        (b"250\r\n", 250, None, "250"),
        (b"250 2.0.0\r\n", 250, "2.0.0", "250 2.0.0"),
        (b"550 5.1.10 gone <a@b.test>\r\n", 550, "5.1.10", "550 5.1.10"),
        (b"550-5.1.1 one\r\n550 5.1.1 two\r\n", 550, "5.1.1", "550 5.1.1"),
        (b"550 4.1.1 classes disagree\r\n", 550, None, "550"),
        (b"550 5.1.1111 too long\r\n", 550, None, "550"),
        (b"550 5.1.1.1 too many\r\n", 550, None, "550"),
        (b"250 bare LF\n", 250, None, "250"),
        (b"250 \xff\xfe\x00\r\n", 250, None, "250"),
    ],
)
def test_a_reply_is_its_codes(octets: bytes, code: int, enhanced: str | None, label: str) -> None:
    """RFC 5321 §4.2, RFC 2034; an enhanced code of another class is not believed."""
    reply = parsed(octets)
    assert reply is not None
    assert (reply.code, reply.enhanced, reply.label) == (code, enhanced, label)


def test_a_reply_does_not_show_its_text() -> None:
    """The text of a refusal often holds the address."""
    assert "leak" not in repr(parsed(b"550 5.1.1 <leak@x.test>\r\n"))


@pytest.mark.parametrize(
    "octets",
    [
        b"hello\r\n",
        b"\r\n",
        b"25 x\r\n",
        b"2500 x\r\n",
        b"150 x\r\n",
        b"650 x\r\n",
        b"250_x\r\n",
        b"250-a\r\n251 b\r\n",
        b"250-a\r\nb\r\n",
        b"\xd9\xa2\xd9\xa5\xd9\xa0 x\r\n",
        b"250 " + b"x" * (LINE_OCTETS_MAX - 5) + b"\r\n",
        b"x" * LINE_OCTETS_MAX,
        b"250-x\r\n" * LINES_MAX + b"250 x\r\n",
    ],
)
def test_what_is_no_reply_is_refused(octets: bytes) -> None:
    """Row 80: malformed, too long, too many."""
    with pytest.raises(BadReplyError):
        parsed(octets)


def test_the_longest_reply_that_is_allowed_passes() -> None:
    """512 octets a line with the CRLF, 100 lines."""
    line = b"250-" + b"x" * (LINE_OCTETS_MAX - 6) + b"\r\n"
    reply = parsed(line * (LINES_MAX - 1) + line.replace(b"-", b" ", 1))
    assert reply is not None
    assert len(reply.texts) == LINES_MAX


@pytest.mark.parametrize(
    ("text", "queue_id"),
    [
        (b"2.0.0 Ok: queued as 4Zk9Q1abcd", "4Zk9Q1abcd"),
        (b"OK id=1tDx5r-0000Ab-2C", "1tDx5r-0000Ab-2C"),
        (b"2.0.0 5A1B2C3D Message accepted for delivery", "5A1B2C3D"),
        (
            b"2.6.0 <x@y.test> [InternalId=123456789, Hostname=z] Queued mail for delivery",
            "123456789",
        ),
        (
            b"Ok 010001933a5b6c7d-1a2b3c4d-0000-4000-8000-1234567890ab-000000",
            "010001933a5b6c7d-1a2b3c4d-0000-4000-8000-1234567890ab-000000",
        ),
        (
            b"2.0.0 OK  1732189200 a640c23a62f3a-aa4f42d6sm1.23 - gsmtp",
            "a640c23a62f3a-aa4f42d6sm1.23",
        ),
        (b"2.0.0 Ok", None),
        (b"queued as <leak@x.test>", None),
        (b"2.0.0 accepted for ada@recipient.test", None),
    ],
)
def test_the_queue_id_is_found_where_servers_put_it(text: bytes, queue_id: str | None) -> None:
    """Postfix, Exim, Sendmail, Exchange, Amazon SES, Gmail; never something with an ``@``."""
    assert Reply(250, (text,)).queue_id == queue_id


@given(st.binary(max_size=2_000), st.lists(st.integers(1, 50), max_size=20))
def test_how_the_bytes_are_cut_changes_nothing(octets: bytes, cuts: list[int]) -> None:
    """Whatever arrives gives the same replies or the same refusal, and little is held."""
    assert _replies(octets, [len(octets) or 1]) == _replies(octets, cuts or [1])


def _replies(octets: bytes, cuts: list[int]) -> list[tuple[int, tuple[bytes, ...]] | None]:
    parser = ReplyParser()
    found: list[tuple[int, tuple[bytes, ...]] | None] = []
    start = turn = 0
    while start < len(octets):
        size = cuts[turn % len(cuts)]
        parser.feed(octets[start : start + size])
        start, turn = start + size, turn + 1
        try:
            while (reply := parser.next_reply()) is not None:
                found.append((reply.code, reply.texts))
        except BadReplyError:
            return [*found, None]
        assert len(parser._buffer) < LINE_OCTETS_MAX
    return found
