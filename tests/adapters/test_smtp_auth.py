"""How the SMTP adapter logs in: mechanisms, OAuth tokens, and what it never says aloud."""

from __future__ import annotations

import threading
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import pytest

from mailglass.adapters.smtp import AccessToken, SmtpAdapter, SmtpAuth
from mailglass.adapters.smtp_auth import TokenCache
from mailglass.errors import (
    ConfigError,
    ConfigErrorType,
    FailureClass,
    MailglassError,
    SendError,
)
from tests.adapters.envelopes import an_envelope
from tests.adapters.scripted_smtp import HEALTHY, Do, ScriptedSmtp, Step, Wait, reply

Smtp: TypeAlias = Callable[..., SmtpAdapter]
Scripted: TypeAlias = Callable[..., ScriptedSmtp]

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
CHALLENGE = b"334 " + b64encode(b'{"status":"401","schemes":"bearer"}') + b"\r\n"


def offering(mechanisms: bytes, *steps: Step) -> list[Step]:
    """Return a session whose EHLO offers the mechanisms, then the steps, then good service."""
    ehlo = b"250-x\r\n250 AUTH " + mechanisms + b"\r\n"
    return [HEALTHY["banner"], (b"EHLO", ehlo), *steps, (Wait.NOTHING, Do.SERVE)]


def blob(line: bytes) -> bytes:
    """Return the decoded initial response of an AUTH command."""
    return b64decode(line.split()[2])


class Tokens:
    """A token source that gives the named tokens in order and counts."""

    def __init__(self, *values: str, lifetime_s: float | None = None) -> None:
        """Keep the last value for ever."""
        self.values = list(values)
        self.asked = 0
        self.lifetime_s = lifetime_s

    def __call__(self) -> AccessToken:
        """Return the next token."""
        value = self.values[min(self.asked, len(self.values) - 1)]
        self.asked += 1
        ends = NOW + timedelta(seconds=self.lifetime_s) if self.lifetime_s is not None else None
        return AccessToken(value, ends)


def test_plain_is_one_line(smtp: Smtp, scripted: Scripted) -> None:
    """RFC 4616, in UTF-8."""
    server = scripted(offering(b"LOGIN PLAIN", (b"AUTH PLAIN ", reply(235))))
    adapter = smtp(server.port, username="jürg", password="pä")
    assert adapter.send(an_envelope()).verdicts[0].is_accepted
    assert blob(server.commands[1]) == b"\x00" + "jürg".encode() + b"\x00" + "pä".encode()


def test_login_answers_two_questions(smtp: Smtp, scripted: Scripted) -> None:
    """The older mechanism, when it is all there is."""
    server = scripted(
        offering(
            b"LOGIN XOAUTH2",
            (b"AUTH LOGIN", b"334 VXNlcm5hbWU6\r\n"),
            (b64encode("jürg".encode()), b"334 UGFzc3dvcmQ6\r\n"),
            (b64encode(b"pw"), reply(235)),
        )
    )
    adapter = smtp(server.port, username="jürg", password="pw")
    assert adapter.send(an_envelope()).verdicts[0].is_accepted


def test_xoauth2_says_user_and_token(smtp: Smtp, scripted: Scripted) -> None:
    """The format of Google and Microsoft."""
    server = scripted(offering(b"PLAIN XOAUTH2", (b"AUTH XOAUTH2 ", reply(235))))
    adapter = smtp(server.port, username="me@x.test", token_source=Tokens("t0ken"))
    assert adapter.send(an_envelope()).verdicts[0].is_accepted
    assert blob(server.commands[1]) == b"user=me@x.test\x01auth=Bearer t0ken\x01\x01"


def test_a_password_that_is_called_is_asked_at_each_login(smtp: Smtp, scripted: Scripted) -> None:
    """So a rotated password takes effect without a restart."""
    server = scripted(offering(b"PLAIN", (b"AUTH PLAIN ", reply(235))))
    passwords = iter(["first", "second"])
    adapter = smtp(server.port, username="u", password=lambda: next(passwords))
    adapter.send(an_envelope())
    adapter.close()
    adapter.send(an_envelope())
    auths = [blob(line) for line in server.commands if line.startswith(b"AUTH")]
    assert auths == [b"\x00u\x00first", b"\x00u\x00second"]


@pytest.mark.parametrize(
    ("auth", "offered"),
    [
        (SmtpAuth.AUTO, b"CRAM-MD5"),
        (SmtpAuth.PLAIN, b"LOGIN"),
        (SmtpAuth.LOGIN, b"PLAIN"),
    ],
)
def test_a_mechanism_that_is_not_offered_is_a_config_error(
    smtp: Smtp, scripted: Scripted, auth: SmtpAuth, offered: bytes
) -> None:
    """The credentials stay here."""
    server = scripted(offering(offered))
    with pytest.raises(ConfigError) as caught:
        smtp(server.port, username="u", password="p", auth=auth).send(an_envelope())
    assert (caught.value.type, caught.value.key) == ("invalid", "smtp_auth")
    server.settle()
    assert len(server.commands) == 1


def test_a_token_is_never_sent_as_a_password(smtp: Smtp, scripted: Scripted) -> None:
    """``auto`` with a token source is XOAUTH2 or nothing."""
    server = scripted(offering(b"PLAIN LOGIN"))
    with pytest.raises(ConfigError) as caught:
        smtp(server.port, username="u", token_source=Tokens("t")).send(an_envelope())
    assert caught.value.key == "smtp_auth"
    server.settle()
    assert len(server.commands) == 1


@pytest.mark.parametrize("code", [421, 432, 450, 451, 452, 454])
def test_a_temporary_refusal_of_the_login_is_not_sent(
    smtp: Smtp, scripted: Scripted, code: int
) -> None:
    """F13: RFC 4954 §6, 454 is a temporary authentication failure."""
    server = scripted(offering(b"PLAIN", (b"AUTH", reply(code, "4.7.0"))))
    with pytest.raises(SendError) as caught:
        smtp(server.port, username="u", password="p").send(an_envelope())
    assert caught.value.failure_class is FailureClass.NOT_SENT
    assert caught.value.code == f"{code} 4.7.0"
    assert server.connections == 1


@pytest.mark.parametrize("code", [530, 534, 535, 538, 550, 552, 554])
def test_a_refused_password_is_tried_once(smtp: Smtp, scripted: Scripted, code: int) -> None:
    """F13: no second try, which could lock the account."""
    server = scripted(offering(b"PLAIN", (b"AUTH", reply(code, "5.7.8"))))
    with pytest.raises(ConfigError) as caught:
        smtp(server.port, username="u", password="p").send(an_envelope())
    assert f"{code} 5.7.8" in (caught.value.hint or "")
    assert server.connections == 1


@pytest.mark.parametrize("end", [Do.CLOSE, Do.RESET, b"garbage\r\n", b"334 x\r\n", b"250 x\r\n"])
def test_a_login_that_breaks_off_is_not_sent(
    smtp: Smtp, scripted: Scripted, end: bytes | Do
) -> None:
    """F14: no byte of the mail has left; a question too many or another 2yz is no login."""
    server = scripted(offering(b"PLAIN", (b"AUTH", end)))
    with pytest.raises(SendError) as caught:
        smtp(server.port, username="u", password="p").send(an_envelope())
    assert caught.value.failure_class is FailureClass.NOT_SENT


def test_microsofts_refusal_of_basic_auth_at_mail_is_a_config_error(
    smtp: Smtp, scripted: Scripted
) -> None:
    """``550 5.7.30``: passwords are switched off for the tenant."""
    server = scripted(offering(b"PLAIN", (b"AUTH", reply(235)), (b"MAIL", reply(550, "5.7.30"))))
    with pytest.raises(ConfigError, match="refuses this account") as caught:
        smtp(server.port, username="u", password="p").send(an_envelope())
    assert "XOAUTH2" in (caught.value.hint or "")


@pytest.mark.parametrize("refusal", [[CHALLENGE, reply(535, "5.7.8")], [reply(535, "5.7.8")]])
def test_a_rejected_token_is_renewed_once(
    smtp: Smtp, scripted: Scripted, refusal: list[bytes]
) -> None:
    """The error challenge is answered with an empty line; a fresh connection tries the new one."""
    commands = [b"AUTH XOAUTH2 ", b""]
    steps = list(zip(commands, refusal, strict=False))
    server = scripted(
        offering(b"XOAUTH2", *steps), offering(b"XOAUTH2", (b"AUTH XOAUTH2 ", reply(235)))
    )
    tokens = Tokens("old", "new")
    adapter = smtp(server.port, username="u", token_source=tokens)
    assert adapter.send(an_envelope()).verdicts[0].is_accepted
    auths = [blob(line) for line in server.commands if line.startswith(b"AUTH")]
    assert [b"Bearer old" in auths[0], b"Bearer new" in auths[1]] == [True, True]
    assert (server.connections, tokens.asked) == (2, 2)


def test_a_token_rejected_twice_is_a_config_error(smtp: Smtp, scripted: Scripted) -> None:
    """One renewal, then a person."""
    server = scripted(offering(b"XOAUTH2", (b"AUTH", CHALLENGE), (b"", reply(535, "5.7.8"))))
    tokens = Tokens("canary-1", "canary-2", "canary-3")
    adapter = smtp(server.port, username="canary-user", token_source=tokens)
    with pytest.raises(ConfigError) as caught:
        adapter.send(an_envelope())
    assert (server.connections, tokens.asked) == (2, 2)
    shown = repr(caught.value) + str(caught.value.to_dict()) + repr(adapter) + repr(vars(adapter))
    assert "canary" not in shown
    assert caught.value.__cause__ is None


def test_the_same_token_is_not_tried_twice(smtp: Smtp, scripted: Scripted) -> None:
    """A source that has no other token saves the server a second refusal."""
    server = scripted(offering(b"XOAUTH2", (b"AUTH", reply(535))))
    with pytest.raises(ConfigError):
        smtp(server.port, username="u", token_source=Tokens("same")).send(an_envelope())
    assert server.connections == 1


def test_a_token_source_that_fails_is_not_sent_and_its_text_stays_inside(smtp: Smtp) -> None:
    """What an OAuth library says may hold the client secret."""

    def source() -> AccessToken:
        raise RuntimeError("canary-client-secret")

    with pytest.raises(SendError) as caught:
        smtp(25, username="u", token_source=source).send(an_envelope())
    assert (caught.value.failure_class, caught.value.code) == (
        FailureClass.NOT_SENT,
        "credential_source_failed",
    )
    assert "RuntimeError" in str(caught.value)
    assert "canary" not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_password_source_that_fails_is_not_sent_and_its_text_stays_inside(
    smtp: Smtp, scripted: Scripted
) -> None:
    """Neither *unknown*, which would park the mail, nor a leak."""

    def source() -> str:
        raise RuntimeError("canary-vault-path")

    server = scripted(offering(b"PLAIN"))
    with pytest.raises(SendError) as caught:
        smtp(server.port, username="u", password=source).send(an_envelope())
    assert caught.value.code == "credential_source_failed"
    assert "canary" not in repr(caught.value)
    assert caught.value.__cause__ is None


def test_a_token_source_may_raise_an_error_of_ours(smtp: Smtp) -> None:
    """It knows best what is wrong."""
    mine = ConfigError("no client id", type=ConfigErrorType.MISSING, key="client_id")

    def source() -> AccessToken:
        raise mine

    with pytest.raises(MailglassError) as caught:
        smtp(25, username="u", token_source=source).send(an_envelope())
    assert caught.value is mine


@pytest.mark.parametrize(
    "token",
    [
        AccessToken(""),
        AccessToken("a\x01b"),
        AccessToken("a\r\nb"),
        AccessToken("schlüssel"),
        AccessToken("t", datetime(2026, 1, 1)),  # noqa: DTZ001 - a naive moment is the case
    ],
)
def test_what_is_no_token_is_refused(smtp: Smtp, token: AccessToken) -> None:
    """A control character could forge the rest of the SASL message."""
    with pytest.raises(ConfigError) as caught:
        smtp(25, username="u", token_source=lambda: token).send(an_envelope())
    assert (caught.value.type, caught.value.key) == ("invalid", "token_source")


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"username": "u\x00", "password": "p"}, "smtp_username"),
        ({"username": "u", "password": "p\x00x"}, "smtp_password"),
        ({"username": "u", "password": lambda: ""}, "smtp_password"),
        ({"username": "u", "password": "\udc80"}, "smtp_password"),
    ],
)
def test_a_credential_that_cannot_be_carried_is_refused(
    smtp: Smtp, scripted: Scripted, given: dict[str, object], key: str
) -> None:
    """NUL separates the parts of PLAIN (RFC 4616 §2)."""
    server = scripted(offering(b"PLAIN"))
    with pytest.raises(ConfigError) as caught:
        smtp(server.port, **given).send(an_envelope())
    assert caught.value.key == key
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(("lifetime_s", "asked"), [(59, 2), (60, 2), (61, 1), (None, 1)])
def test_a_token_is_renewed_a_minute_before_it_ends(lifetime_s: float | None, asked: int) -> None:
    """So it does not end between the check and the server's."""
    tokens = Tokens("a", "b", lifetime_s=lifetime_s)
    cache = TokenCache(tokens, lambda: NOW)
    cache.current()
    cache.current()
    assert tokens.asked == asked


def test_a_connection_is_not_used_beyond_its_token(smtp: Smtp, scripted: Scripted) -> None:
    """A server may throw out whoever's token has ended, in the middle of a mail."""
    server = scripted(offering(b"XOAUTH2", (b"AUTH", reply(235))))
    now = [NOW]
    adapter = smtp(
        server.port,
        username="u",
        token_source=Tokens("t", lifetime_s=100),
        clock=lambda: now[0],
    )
    adapter.send(an_envelope())
    adapter.send(an_envelope())
    assert server.connections == 1
    now[0] += timedelta(seconds=100)
    adapter.send(an_envelope())
    assert server.connections == 2


def test_threads_ask_for_a_token_once() -> None:
    """Single flight: eight threads, one question, also after a rejection."""
    begin = threading.Barrier(8)
    tokens = Tokens("a", "b", "c")
    cache = TokenCache(tokens, lambda: NOW)
    got: list[str] = []

    def work() -> None:
        begin.wait(10)
        first = cache.current()
        begin.wait(10)
        got.append(cache.renewed(first).value)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert tokens.asked == 2
    assert got == ["b"] * 8


def test_a_token_does_not_show_itself() -> None:
    """Row 82."""
    assert repr(AccessToken("canary", NOW)) == f"AccessToken(expires_at={NOW!r})"
