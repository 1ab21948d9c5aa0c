"""What the SMTP adapter lets on the wire: no smuggled end of data, nothing a server cannot carry."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest

from mailglass.adapters.smtp import SmtpAdapter
from mailglass.envelope import Verdict
from mailglass.errors import FailureClass, SendError, SendErrorType
from tests.adapters.envelopes import PAYLOAD, an_envelope
from tests.adapters.scripted_smtp import (
    ACCEPTED,
    EHLO,
    GREETING,
    HEALTHY,
    TRANSACTION,
    Do,
    ScriptedSmtp,
    Talk,
    Wait,
    reply,
)

Smtp: TypeAlias = Callable[..., SmtpAdapter]
Scripted: TypeAlias = Callable[..., ScriptedSmtp]

P = FailureClass.PERMANENT


def one_verdict(adapter: SmtpAdapter, **given: bytes) -> Verdict:
    """Send to one recipient and return its verdict."""
    (verdict,) = adapter.send(an_envelope(**given)).verdicts  # type: ignore[arg-type]  # payload
    return verdict


SMUGGLED = {
    "LF.LF": b"\n.\n",
    "LF.CRLF": b"\n.\r\n",
    "CRLF.LF": b"\r\n.\n",
    "CR.CR": b"\r.\r",
    "CRLF.CR": b"\r\n.\r",
    "CR.CRLF": b"\r.\r\n",
    "LF.CR": b"\n.\r",
    "CR.LF": b"\r.\n",
    "NUL before": b"\x00\r\n.\r\n",
    "NUL inside": b"\r\n\x00.\r\n",
    "NUL behind": b"\r\n.\x00\r\n",
    "CRLF.CRLF": b"\r\n.\r\n",
}


class Sink:
    """Takes any of the twelve sequences for the end of the data, as the worst servers do."""

    def __init__(self) -> None:
        """Start with no message."""
        self.messages = 0

    def __call__(self, talk: Talk) -> None:
        """Read data, count the ends in it, and answer the first."""
        talk.sock.sendall(reply(354))
        received = b""
        while not received.endswith(b"\r\n.\r\n"):
            more = talk.sock.recv(65_536)
            if not more:
                return
            received += more
        while received:
            ends = [received.find(end) + len(end) for end in SMUGGLED.values() if end in received]
            received = received[min(ends) :] if ends else b""
            self.messages += bool(ends)
        talk.sock.sendall(ACCEPTED)


@pytest.mark.parametrize("end_of_data", SMUGGLED.values(), ids=SMUGGLED)
def test_no_end_of_data_can_be_smuggled(smtp: Smtp, scripted: Scripted, end_of_data: bytes) -> None:
    """Row 9, CVE-2023-51764: the payload is refused before a connection, or is one message."""
    sink = Sink()
    server = scripted([*GREETING, *TRANSACTION[:2], (b"DATA", sink), (Wait.NOTHING, Do.SERVE)])
    adapter = smtp(server.port)
    smuggled = b"MAIL FROM:<eve@evil.test>\r\nRCPT TO:<x@y.test>\r\nDATA\r\nowned\r\n"
    payload = b"Subject: x\r\n\r\nhello" + end_of_data + smuggled
    if end_of_data == b"\r\n.\r\n":
        assert one_verdict(adapter, payload=payload).is_accepted
    else:
        with pytest.raises(SendError) as caught:
            adapter.send(an_envelope(payload=payload))
        assert caught.value.type is SendErrorType.SERIALIZATION_FAILED
        assert server.connections == 0
        assert one_verdict(adapter, payload=PAYLOAD).is_accepted
    assert sink.messages == 1
    assert server.connections == 1


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"", "no_final_line_break"),
        (b"Subject: x\r\n\r\nhello", "no_final_line_break"),
        (b"Subject: x\r\n\r\n" + b"x" * 999 + b"\r\n", "line_too_long"),
        (b"x" * 999, "no_final_line_break"),
        (b"Subject: x\r\n\r\n" + b"x" * 5000 + b"\r\nshort\r\n", "line_too_long"),
    ],
)
def test_a_payload_that_would_not_arrive_as_it_is_is_refused(
    smtp: Smtp, payload: bytes, code: str
) -> None:
    """RFC 5321 §4.5.3.1.6: 998 octets a line; the transport asserts what the serializer did."""
    with pytest.raises(SendError) as caught:
        smtp(25).send(an_envelope(payload=payload))
    assert (caught.value.type, caught.value.code) == ("serialization_failed", code)


def test_lines_of_998_octets_pass(smtp: Smtp, scripted: Scripted) -> None:
    """The longest line that RFC 5322 §2.1.1 allows."""
    server = scripted([*GREETING, (Wait.NOTHING, Do.SERVE)])
    payload = b"Subject: x\r\n\r\n" + (b"x" * 998 + b"\r\n") * 3 + b"\r\n\r\n"
    assert one_verdict(smtp(server.port), payload=payload).is_accepted
    assert server.bodies == [payload]


@pytest.mark.parametrize(
    ("extensions", "envelope", "code"),
    [
        (b"250-x\r\n250 SIZE 100\r\n", {}, "message_too_large"),
        (EHLO, {"sender": "bücher@sender.test"}, "smtputf8_unsupported"),
        (
            EHLO,
            {"payload": "Subject: schön\r\n\r\nx\r\n".encode()},
            "smtputf8_unsupported",
        ),
        (
            b"250 x\r\n",
            {"payload": "Subject: x\r\n\r\nschön\r\n".encode()},
            "8bitmime_unsupported",
        ),
    ],
)
def test_what_the_server_cannot_carry_is_permanent_before_any_byte(
    smtp: Smtp,
    scripted: Scripted,
    extensions: bytes,
    envelope: dict[str, str],
    code: str,
) -> None:
    """RFC 1870, 6152, 6531: the EHLO reply says what would fail."""
    server = scripted([HEALTHY["banner"], (b"EHLO", extensions), (Wait.NOTHING, Do.SERVE)])
    (verdict,) = smtp(server.port).send(an_envelope(**envelope)).verdicts  # type: ignore[arg-type]
    assert (verdict.failure_class, verdict.code) == (P, code)
    assert [line[:4] for line in server.commands] == [b"EHLO"]


def test_only_the_recipient_that_needs_smtputf8_is_refused_without_it(
    smtp: Smtp, scripted: Scripted
) -> None:
    """RFC 6531 §3.2: the others have plain addresses."""
    server = scripted([*GREETING, (Wait.NOTHING, Do.SERVE)])
    accepted = smtp(server.port).send(an_envelope("ada@recipient.test", "jürg@recipient.test"))
    assert [verdict.code for verdict in accepted.verdicts] == ["250 2.0.0", "smtputf8_unsupported"]


def test_extensions_are_used_where_they_are_offered(smtp: Smtp, scripted: Scripted) -> None:
    """SIZE counts the payload without doubled dots; SMTPUTF8 and 8BITMIME only when needed."""
    offer = b"250-x\r\n250-SIZE 0\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n"
    server = scripted([HEALTHY["banner"], (b"EHLO", offer), (Wait.NOTHING, Do.SERVE)])
    adapter = smtp(server.port)
    eight_bits = "Subject: x\r\n\r\n.schön\r\n".encode()
    assert one_verdict(adapter).is_accepted
    (verdict,) = adapter.send(an_envelope("jürg@recipient.test", payload=eight_bits)).verdicts
    assert verdict.is_accepted
    mails = [line for line in server.commands if line.startswith(b"MAIL")]
    assert mails == [
        b"MAIL FROM:<shop@sender.test> SIZE=%d" % len(PAYLOAD),
        b"MAIL FROM:<shop@sender.test> SIZE=%d BODY=8BITMIME SMTPUTF8" % len(eight_bits),
    ]
    assert "RCPT TO:<jürg@recipient.test>".encode() in server.commands
