"""What the SMTP adapter makes of servers that refuse, vanish, stall or lie (faults F13 and F14)."""

from __future__ import annotations

import socket
import threading
import tracemalloc
from collections.abc import Callable
from typing import TypeAlias

import pytest

from mailglass.adapters.smtp import SmtpAdapter
from mailglass.envelope import Verdict
from mailglass.errors import ConfigError, FailureClass, SendError
from tests.adapters.envelopes import PAYLOAD, an_envelope
from tests.adapters.scripted_smtp import (
    ACCEPTED,
    GREETING,
    TEXT,
    TRANSACTION,
    Do,
    ScriptedSmtp,
    Talk,
    broken_at,
    reply,
)

Smtp: TypeAlias = Callable[..., SmtpAdapter]
Scripted: TypeAlias = Callable[..., ScriptedSmtp]

N, P = FailureClass.NOT_SENT, FailureClass.PERMANENT
U, S = FailureClass.UNKNOWN, FailureClass.SUPPRESSED

OPENING = ("banner", "ehlo")
TRANSACTING = ("mail", "rcpt", "data", "dot")
TEMPORARY = (421, 450, 451, 452)
PERMANENT = (550, 552, 554)
BIG = PAYLOAD + b"x" * 70 + b"\r\n" + (b"y" * 70 + b"\r\n") * 150_000
"""About 10 MB: more than the kernel buffers of a connection."""


def one_verdict(adapter: SmtpAdapter, **given: bytes) -> Verdict:
    """Send to one recipient and return its verdict."""
    (verdict,) = adapter.send(an_envelope(**given)).verdicts  # type: ignore[arg-type]  # payload
    return verdict


@pytest.mark.parametrize("code", TEMPORARY)
@pytest.mark.parametrize("phase", TRANSACTING)
def test_a_temporary_refusal_is_not_sent_at_every_phase(
    smtp: Smtp, scripted: Scripted, phase: str, code: int
) -> None:
    """F13: 4yz, at the dot too, is the server's no for now."""
    server = scripted(broken_at(phase, reply(code, "4.3.0")))
    verdict = one_verdict(smtp(server.port))
    assert (verdict.failure_class, verdict.code) == (N, f"{code} 4.3.0")
    assert server.connections == 1


@pytest.mark.parametrize("code", PERMANENT)
@pytest.mark.parametrize("phase", TRANSACTING)
def test_a_permanent_refusal_is_permanent_at_every_phase(
    smtp: Smtp, scripted: Scripted, phase: str, code: int
) -> None:
    """F13: a plain 550 must not be parked as unknown, nor retried."""
    server = scripted(broken_at(phase, reply(code, "5.7.1")))
    verdict = one_verdict(smtp(server.port))
    assert (verdict.failure_class, verdict.code) == (P, f"{code} 5.7.1")
    assert server.connections == 1


@pytest.mark.parametrize("code", [*TEMPORARY, *PERMANENT])
@pytest.mark.parametrize("phase", OPENING)
def test_a_refusal_before_the_first_mail_command_is_a_retryable_error(
    smtp: Smtp, scripted: Scripted, phase: str, code: int
) -> None:
    """F13: a server that refuses us has said nothing about the mail."""
    server = scripted(broken_at(phase, reply(code)))
    with pytest.raises(SendError) as caught:
        smtp(server.port).send(an_envelope())
    assert caught.value.failure_class is N
    assert caught.value.code == str(code)
    assert caught.value.retryable
    assert server.connections == 1


@pytest.mark.parametrize("code", [530, 534, 535, 538])
@pytest.mark.parametrize("phase", ["banner", "ehlo", *TRANSACTING])
def test_an_account_refusal_is_a_config_error_for_the_whole_envelope(
    smtp: Smtp, scripted: Scripted, phase: str, code: int
) -> None:
    """F13: 530 and its kin stop the lane; the other recipients are not tried."""
    server = scripted(broken_at(phase, reply(code, "5.7.0")))
    with pytest.raises(ConfigError) as caught:
        smtp(server.port).send(an_envelope("ada@recipient.test", "bob@recipient.test"))
    assert caught.value.type == "invalid"
    assert server.connections == 1


@pytest.mark.parametrize("answer", [*map(reply, (*TEMPORARY, *PERMANENT)), Do.CLOSE, Do.RESET])
def test_trouble_at_quit_changes_nothing(
    smtp: Smtp, scripted: Scripted, answer: bytes | Do
) -> None:
    """F13, F14: after the 250 it is sent (flask-mail #139)."""
    server = scripted(broken_at("quit", answer))
    adapter = smtp(server.port)
    assert one_verdict(adapter).is_accepted
    adapter.close()
    server.settle()
    assert server.commands[-1] == b"QUIT"


@pytest.mark.parametrize("phase", ["rcpt", "data", "dot"])
@pytest.mark.parametrize("enhanced", ["5.1.1", "5.1.10", "5.2.1"])
def test_a_mailbox_that_does_not_exist_is_suppressed(
    smtp: Smtp, scripted: Scripted, phase: str, enhanced: str
) -> None:
    """With one recipient a transaction the refusal can mean nobody else."""
    server = scripted(broken_at(phase, reply(550, enhanced)))
    verdict = one_verdict(smtp(server.port))
    assert (verdict.failure_class, verdict.code) == (S, f"550 {enhanced}")


@pytest.mark.parametrize("end", [Do.CLOSE, Do.RESET])
@pytest.mark.parametrize("phase", ["mail", "rcpt", "data"])
def test_a_connection_lost_before_the_body_is_not_sent(
    smtp: Smtp, scripted: Scripted, phase: str, end: Do
) -> None:
    """F14: no false unknown before the body."""
    server = scripted(broken_at(phase, end))
    verdict = one_verdict(smtp(server.port))
    assert (verdict.failure_class, verdict.code) == (N, "smtp_lost_before_dot")
    assert server.connections == 1


@pytest.mark.parametrize("end", [Do.CLOSE, Do.RESET])
@pytest.mark.parametrize("phase", OPENING)
def test_a_connection_lost_in_the_opening_is_a_retryable_error(
    smtp: Smtp, scripted: Scripted, phase: str, end: Do
) -> None:
    """F14: nothing of the mail has left."""
    server = scripted(broken_at(phase, end))
    with pytest.raises(SendError) as caught:
        smtp(server.port).send(an_envelope())
    assert caught.value.failure_class is N
    assert server.connections == 1


def _stop_reading(end: Do) -> Callable[[Talk], None]:
    def act(talk: Talk) -> None:
        talk.sock.sendall(reply(354))
        talk.sock.recv(1000)
        talk._act(end)
        talk.sock.close()

    return act


@pytest.mark.parametrize("end", [Do.CLOSE, Do.RESET])
def test_a_connection_lost_in_the_body_is_not_sent(smtp: Smtp, scripted: Scripted, end: Do) -> None:
    """F14: a server without the final dot has to throw the data away (RFC 5321 §4.1.1.4)."""
    server = scripted([*GREETING, *TRANSACTION[:2], (b"DATA", _stop_reading(end))])
    verdict = one_verdict(smtp(server.port), payload=BIG)
    assert (verdict.failure_class, verdict.code) == (N, "smtp_lost_before_dot")
    assert server.connections == 1


def test_a_server_that_stops_reading_the_body_is_not_sent(smtp: Smtp, scripted: Scripted) -> None:
    """F14: the body has a deadline of its own, whatever its size."""

    def stall(talk: Talk) -> None:
        talk.sock.sendall(reply(354))
        stalled.append(talk)
        left.wait(20)

    stalled: list[Talk] = []
    left = threading.Event()
    server = scripted([*GREETING, *TRANSACTION[:2], (b"DATA", stall)])
    verdict = one_verdict(smtp(server.port, body_timeout_s=0.3), payload=BIG)
    left.set()
    assert (verdict.failure_class, verdict.code) == (N, "smtp_timeout_before_dot")
    assert server.bodies == []


@pytest.mark.parametrize(("code", "expected"), [(421, N), (552, P)])
def test_the_last_words_of_a_server_that_stops_reading_count(
    smtp: Smtp, scripted: Scripted, code: int, expected: FailureClass
) -> None:
    """A refusal that was said before the body stalled is better than a timeout."""

    def refuse_and_stall(talk: Talk) -> None:
        talk.sock.sendall(reply(354))
        talk.sock.recv(1000)
        talk.sock.sendall(reply(code))
        left.wait(20)

    left = threading.Event()
    server = scripted([*GREETING, *TRANSACTION[:2], (b"DATA", refuse_and_stall)])
    verdict = one_verdict(smtp(server.port, body_timeout_s=0.3), payload=BIG)
    left.set()
    assert (verdict.failure_class, verdict.code) == (expected, str(code))


@pytest.mark.parametrize(("code", "expected"), [(421, N), (452, N), (552, P), (250, N), (354, N)])
def test_a_reply_in_the_middle_of_the_body_counts_and_the_dot_is_never_sent(
    smtp: Smtp, scripted: Scripted, code: int, expected: FailureClass
) -> None:
    """421 at any time before the dot is *not sent*; a 250 given too early is believed by nobody."""

    def speak_too_soon(talk: Talk) -> None:
        talk.sock.sendall(reply(354))
        talk.sock.recv(1000)
        talk.sock.sendall(reply(code))
        talk.body()

    server = scripted([*GREETING, *TRANSACTION[:2], (b"DATA", speak_too_soon)])
    verdict = one_verdict(smtp(server.port), payload=BIG)
    server.settle()
    assert (verdict.failure_class, verdict.code) == (expected, str(code))
    assert server.bodies == []
    assert server.connections == 1


@pytest.mark.parametrize("end", [Do.CLOSE, Do.RESET])
def test_a_connection_lost_after_the_dot_is_unknown(
    smtp: Smtp, scripted: Scripted, end: Do
) -> None:
    """F14, Postal's bug: one connection, one attempt, and nobody claims to know."""
    server = scripted(broken_at("dot", end))
    verdict = one_verdict(smtp(server.port))
    assert (verdict.failure_class, verdict.code) == (U, "smtp_lost_at_dot")
    assert (server.connections, len(server.bodies)) == (1, 1)


def test_a_server_that_hangs_after_the_dot_is_unknown(smtp: Smtp, scripted: Scripted) -> None:
    """F14: the deadline of the final dot is its own."""
    server = scripted(broken_at("dot", Do.HANG))
    verdict = one_verdict(smtp(server.port, final_dot_timeout_s=0.2))
    assert (verdict.failure_class, verdict.code) == (U, "smtp_timeout_at_dot")
    assert (server.connections, len(server.bodies)) == (1, 1)


@pytest.mark.parametrize("phase", ["mail", "rcpt", "data"])
def test_a_server_that_hangs_before_the_body_is_not_sent(
    smtp: Smtp, scripted: Scripted, phase: str
) -> None:
    """F14: a stall."""
    server = scripted(broken_at(phase, Do.HANG))
    verdict = one_verdict(smtp(server.port, command_timeout_s=0.2))
    assert (verdict.failure_class, verdict.code) == (N, "smtp_timeout_before_dot")


def test_one_byte_at_a_time_does_not_stretch_a_deadline(smtp: Smtp, scripted: Scripted) -> None:
    """F14: the deadline is for the whole reply, not for each read."""

    def drip(talk: Talk) -> None:
        talk.sock.settimeout(0.05)
        while True:
            talk.sock.sendall(b"2")
            try:
                if not talk.sock.recv(1):
                    return
            except TimeoutError:
                continue

    server = scripted([*GREETING, (b"MAIL", drip)])
    verdict = one_verdict(smtp(server.port, command_timeout_s=0.4))
    assert (verdict.failure_class, verdict.code) == (N, "smtp_timeout_before_dot")


GARBAGE = {
    "no code": b"hello there\r\n",
    "code out of range": b"199 x\r\n",
    "codes that differ": b"250-x\r\n251 x\r\n",
    "NUL": b"\x00\x00\x00\r\n",
    "half a code": b"25\r\n",
    "long line": b"250 " + b"x" * 600 + b"\r\n",
    "TLS record": b"\x16\x03\x01\x02\x00\x01\x00\r\n",
    "3yz": b"354 x\r\n",
    "other 2yz": b"221 x\r\n",
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_garbage_after_the_dot_is_unknown(smtp: Smtp, scripted: Scripted, garbage: bytes) -> None:
    """A reply that means nothing says nothing about the mail."""
    server = scripted(broken_at("dot", garbage))
    verdict = one_verdict(smtp(server.port))
    assert verdict.failure_class is U
    assert (server.connections, len(server.bodies)) == (1, 1)


@pytest.mark.parametrize("phase", ["mail", "rcpt", "data"])
@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_garbage_before_the_dot_is_not_sent_and_ends_the_connection(
    smtp: Smtp, scripted: Scripted, garbage: bytes, phase: str
) -> None:
    """Nothing was handed over, and who speaks like this is not spoken to again."""
    if phase == "data" and garbage.startswith(b"354"):
        garbage = b"250 x\r\n"
    server = scripted(broken_at(phase, garbage))
    assert one_verdict(smtp(server.port)).failure_class is N
    server.settle()
    assert server.bodies == []
    assert server.commands[-1][:4].lower() == phase.encode()


def test_a_second_reply_is_never_taken_for_the_next_answer(smtp: Smtp, scripted: Scripted) -> None:
    """Swiftmailer #828: a desynchronised session would read an old answer as a new one."""
    server = scripted(broken_at("mail", b"250 ok\r\n250 ok\r\n354 go\r\n250 queued as X12345\r\n"))
    verdict = one_verdict(smtp(server.port))
    assert (verdict.failure_class, verdict.code) == (N, "smtp_bad_reply_before_dot")
    assert server.bodies == []


def test_an_answer_given_before_the_dot_is_not_the_answer_to_it(
    smtp: Smtp, scripted: Scripted
) -> None:
    """The 250 that follows the 354 in the same packet accepts nothing."""
    server = scripted(broken_at("data", reply(354) + ACCEPTED))
    verdict = one_verdict(smtp(server.port))
    assert verdict.failure_class is N
    assert server.bodies == []


def _flood(start: bytes, chunk: bytes) -> Callable[[Talk], None]:
    def act(talk: Talk) -> None:
        talk.sock.sendall(start)
        while True:  # ends with the client: sendall raises
            talk.sock.sendall(chunk)

    return act


FLOODS = {
    "endless banner": ("banner", b"", b"220-welcome\r\n" * 5_000),
    "endless EHLO": ("ehlo", b"", b"250-X-EXTENSION\r\n" * 5_000),
    "one endless line": ("banner", b"220 ", b"x" * 65_536),
    "one endless line at MAIL": ("mail", b"250 ", b"x" * 65_536),
    "many short replies": ("ehlo", b"", b"250 ok\r\n" * 8_000),
}


@pytest.mark.parametrize(("phase", "start", "chunk"), FLOODS.values(), ids=FLOODS)
def test_a_server_that_never_stops_talking_costs_little_memory_and_no_mail(
    smtp: Smtp, scripted: Scripted, phase: str, start: bytes, chunk: bytes
) -> None:
    """Row 80: 512 octets a line, 100 lines a reply, and the connection is dropped."""
    server = scripted(broken_at(phase, _flood(start, chunk)))
    adapter = smtp(server.port)
    tracemalloc.start()
    try:
        try:
            failure = one_verdict(adapter).failure_class
        except SendError as error:
            failure = error.failure_class
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert failure is N
    assert peak < 8 * 1024 * 1024
    assert server.bodies == []


def test_a_refused_connection_is_a_retryable_error(smtp: Smtp) -> None:
    """Nobody listens there."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(SendError) as caught:
        smtp(port).send(an_envelope())
    assert (caught.value.failure_class, caught.value.code) == (N, "connect_failed")


def test_a_name_that_does_not_resolve_is_a_retryable_error(smtp: Smtp) -> None:
    """``invalid`` never resolves (RFC 6761)."""
    with pytest.raises(SendError) as caught:
        smtp(25, host="smtp..invalid").send(an_envelope())
    assert (caught.value.failure_class, caught.value.code) == (N, "dns_failed")


@pytest.mark.parametrize("phase", ["banner", "ehlo", "mail", "rcpt", "data", "dot"])
@pytest.mark.parametrize("code", [421, 535, 550])
def test_nothing_of_the_server_or_the_mail_leaks(
    smtp: Smtp, scripted: Scripted, phase: str, code: int
) -> None:
    """Rows 52 and 82: codes only, in errors, their causes, and verdicts."""
    server = scripted(broken_at(phase, reply(code, "")))
    adapter = smtp(server.port)
    shown = [repr(adapter)]
    try:
        shown += [repr(adapter.send(an_envelope()))]
    except (SendError, ConfigError) as error:
        chain: BaseException | None = error
        shown += [str(error.to_dict())]
        while chain is not None:
            shown += [repr(chain), str(chain)]
            chain = chain.__cause__
    text = " ".join(shown)
    for canary in (TEXT.decode(), "leak@", "recipient.test", "sender.test", "receipt"):
        assert canary not in text
