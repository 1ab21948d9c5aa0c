"""The SMTP adapter against servers that behave, and the settings it refuses."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
import trustme
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword, Session
from aiosmtpd.smtp import Envelope as ServedEnvelope

from mailglass.adapters import Adapter
from mailglass.adapters.smtp import SmtpAdapter, SmtpAuth, SmtpSecurity
from mailglass.adapters.smtp_auth import credentials_of
from mailglass.adapters.smtp_connection import Connection, deadline_in
from mailglass.adapters.smtp_session import SmtpSession
from mailglass.errors import ConfigError, FailureClass, SendError
from tests.adapters.envelopes import PAYLOAD, an_envelope
from tests.adapters.scripted_smtp import (
    GREETING,
    HEALTHY,
    TRANSACTION,
    Do,
    ScriptedSmtp,
    Talk,
    Wait,
    reply,
)
from tests.adapters.served_smtp import Inbox

Smtp: TypeAlias = Callable[..., SmtpAdapter]
Scripted: TypeAlias = Callable[..., ScriptedSmtp]


def check_login(
    server: SMTP, session: Session, envelope: ServedEnvelope, mechanism: str, login: LoginPassword
) -> AuthResult:
    """Accept one user, whose name and password need UTF-8."""
    good = (login.login, login.password) == ("jürg".encode(), "pä🔑ss".encode())
    return AuthResult(success=good, handled=False)


Served: TypeAlias = Callable[..., tuple[Inbox, int]]


def test_the_adapter_satisfies_the_protocol(smtp: Smtp) -> None:
    """Dispatch sees only this."""
    adapter = smtp(25)
    assert isinstance(adapter, Adapter)
    assert adapter.name == "smtp"
    adapter.check(an_envelope().thaw())


def test_the_payload_arrives_byte_for_byte(smtp: Smtp, served: Served) -> None:
    """Leading dots are doubled on the wire and come out as they were."""
    inbox, port = served()
    accepted = smtp(port).send(an_envelope())
    (mail,) = inbox.mails
    assert mail.original_content == PAYLOAD
    assert mail.mail_from == "shop@sender.test"
    assert mail.rcpt_tos == ["ada@recipient.test"]
    (verdict,) = accepted.verdicts
    assert accepted.provider == "smtp"
    assert verdict.is_accepted
    assert (verdict.code, verdict.provider_message_id) == ("250 2.0.0", "Q0001")


@pytest.mark.parametrize(
    "payload",
    [
        b".\r\n",
        b"\r\n",
        b"..\r\n...\r\n.\r\n\r\n.\r\n",
        b"Subject: x\r\n\r\n" + b".0123456789\r\n" * 30_000,
    ],
)
def test_dots_are_doubled_exactly(smtp: Smtp, served: Served, payload: bytes) -> None:
    """RFC 5321 §4.5.2, for every place a line can begin."""
    inbox, port = served()
    assert smtp(port).send(an_envelope(payload=payload)).verdicts[0].is_accepted
    assert inbox.mails[0].original_content == payload


def test_each_recipient_has_a_transaction_of_its_own_over_one_connection(
    smtp: Smtp, served: Served
) -> None:
    """Nobody sees who else got the mail, and one refusal concerns one recipient."""
    inbox, port = served()
    names = [f"{name}@recipient.test" for name in ("ada", "bob", "cyd", "dan", "eve")]
    accepted = smtp(port).send(an_envelope(*names))
    assert [mail.rcpt_tos for mail in inbox.mails] == [[name] for name in names]
    assert {mail.original_content for mail in inbox.mails} == {PAYLOAD}
    assert len({session.peer for session in inbox.sessions}) == 1
    assert [v.provider_message_id for v in accepted.verdicts] == [f"Q{n:04}" for n in range(1, 6)]


def test_a_connection_is_kept_for_the_next_mail(smtp: Smtp, served: Served) -> None:
    """One greeting for many mails."""
    inbox, port = served()
    adapter = smtp(port)
    for _ in range(3):
        adapter.send(an_envelope())
    assert len({session.peer for session in inbox.sessions}) == 1
    adapter.close()
    adapter.send(an_envelope())
    assert len({session.peer for session in inbox.sessions}) == 2


def test_starttls_and_login(
    smtp: Smtp, served: Served, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """The usual submission server, with credentials beyond ASCII."""
    inbox, port = served(
        tls_context=server_tls,
        require_starttls=True,
        auth_required=True,
        authenticator=check_login,
    )
    for auth in (SmtpAuth.AUTO, SmtpAuth.PLAIN, SmtpAuth.LOGIN):
        adapter = smtp(
            port,
            security=SmtpSecurity.STARTTLS,
            ssl_context=client_tls,
            username="jürg",
            password=lambda: "pä🔑ss",
            auth=auth,
        )
        assert adapter.send(an_envelope()).verdicts[0].is_accepted
    assert len(inbox.mails) == 3
    assert all(session.ssl for session in inbox.sessions)


def test_a_wrong_password_is_a_config_error(
    smtp: Smtp, served: Served, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """535: no mail of this adapter can leave until a person acts."""
    inbox, port = served(
        tls_context=server_tls, require_starttls=True, auth_required=True, authenticator=check_login
    )
    adapter = smtp(
        port,
        security=SmtpSecurity.STARTTLS,
        ssl_context=client_tls,
        username="jürg",
        password="canary-password",
    )
    with pytest.raises(ConfigError) as caught:
        adapter.send(an_envelope())
    assert (caught.value.type, caught.value.key) == ("invalid", "smtp_username")
    assert "535" in (caught.value.hint or "")
    assert "canary" not in repr(caught.value) + repr(adapter) + repr(vars(adapter))
    assert inbox.mails == []


def test_implicit_tls(
    smtp: Smtp, served: Served, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """RFC 8314 §3.3: TLS from the first byte; ``localhost`` and the address both match."""
    inbox, port = served(ssl_context=server_tls)
    for host in ("127.0.0.1", "localhost"):
        adapter = smtp(port, host=host, security=SmtpSecurity.TLS, ssl_context=client_tls)
        assert adapter.send(an_envelope()).verdicts[0].is_accepted
    assert [mail.original_content for mail in inbox.mails] == [PAYLOAD] * 2


TLS_TALK = [HEALTHY["banner"], (b"EHLO", b"250-x\r\n250 STARTTLS\r\n")]
STARTED = [*TLS_TALK, (b"STARTTLS", reply(220))]


def tls_with(context: ssl.SSLContext) -> tuple[Wait, Callable[[Talk], None]]:
    """Return the step that starts TLS on the server."""
    return (Wait.NOTHING, lambda talk: talk.start_tls(context))


@pytest.mark.parametrize("security", [SmtpSecurity.STARTTLS, SmtpSecurity.TLS])
@pytest.mark.parametrize("fault", ["unknown authority", "wrong name", "expired"])
def test_a_certificate_that_does_not_verify_is_a_config_error(  # noqa: PLR0913, PLR0917 - most are fixtures
    smtp: Smtp,
    scripted: Scripted,
    authority: trustme.CA,
    client_tls: ssl.SSLContext,
    fault: str,
    security: SmtpSecurity,
) -> None:
    """Row 79: chain, host name and time are checked, and no command is sent over it."""
    from datetime import UTC, datetime  # noqa: PLC0415 - only here

    issuer = trustme.CA() if fault == "unknown authority" else authority
    cert = issuer.issue_cert(
        "mail.example.test" if fault == "wrong name" else "127.0.0.1",
        not_after=datetime(2020, 1, 1, tzinfo=UTC) if fault == "expired" else None,
        not_before=datetime(2019, 1, 1, tzinfo=UTC),
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    cert.configure_cert(context)
    opening = STARTED if security is SmtpSecurity.STARTTLS else []
    server = scripted([*opening, tls_with(context), (Wait.NOTHING, Do.SERVE)])
    adapter = smtp(server.port, security=security, ssl_context=client_tls)
    with pytest.raises(ConfigError) as caught:
        adapter.send(an_envelope())
    assert (caught.value.type, caught.value.key) == ("invalid", "smtp_host")
    server.settle()
    assert not any(b"MAIL" in line for line in server.commands)


def test_a_stripped_starttls_is_a_config_error_and_nothing_is_sent_in_the_clear(
    smtp: Smtp, scripted: Scripted, client_tls: ssl.SSLContext
) -> None:
    """Row 79: no fallback to plain."""
    server = scripted([*GREETING, (Wait.NOTHING, Do.SERVE)])
    adapter = smtp(
        server.port,
        security=SmtpSecurity.STARTTLS,
        ssl_context=client_tls,
        username="u",
        password="p",
    )
    with pytest.raises(ConfigError) as caught:
        adapter.send(an_envelope())
    assert (caught.value.type, caught.value.key) == ("invalid", "smtp_security")
    server.settle()
    assert [line[:4] for line in server.commands] == [b"EHLO"]


@pytest.mark.parametrize(
    ("code", "expected"), [(421, None), (454, None), (502, "smtp_security"), (554, "smtp_security")]
)
def test_a_refused_starttls(
    smtp: Smtp, scripted: Scripted, client_tls: ssl.SSLContext, code: int, expected: str | None
) -> None:
    """F13: 4yz may pass, 5yz needs a person; neither goes on in the clear."""
    server = scripted([*TLS_TALK, (b"STARTTLS", reply(code)), (Wait.NOTHING, Do.SERVE)])
    adapter = smtp(server.port, security=SmtpSecurity.STARTTLS, ssl_context=client_tls)
    if expected is None:
        with pytest.raises(SendError) as refused:
            adapter.send(an_envelope())
        assert refused.value.failure_class is FailureClass.NOT_SENT
    else:
        with pytest.raises(ConfigError) as wrong:
            adapter.send(an_envelope())
        assert wrong.value.key == expected
    server.settle()
    assert len(server.commands) == 2


@pytest.mark.parametrize("end", [Do.CLOSE, Do.RESET])
@pytest.mark.parametrize(
    "steps", [[], [(b"STARTTLS", reply(220)), (Wait.NOTHING, lambda talk: talk.sock.recv(10))]]
)
def test_a_connection_lost_around_starttls_is_not_sent(
    smtp: Smtp, scripted: Scripted, client_tls: ssl.SSLContext, steps: list[Any], end: Do
) -> None:
    """F14: in place of the reply, and in the middle of the handshake."""
    server = scripted([*TLS_TALK, *steps, (Wait.NOTHING if steps else b"STARTTLS", end)])
    adapter = smtp(server.port, security=SmtpSecurity.STARTTLS, ssl_context=client_tls)
    with pytest.raises(SendError) as caught:
        adapter.send(an_envelope())
    assert caught.value.failure_class is FailureClass.NOT_SENT


def test_plaintext_behind_the_starttls_reply_is_an_attack(
    smtp: Smtp, scripted: Scripted, client_tls: ssl.SSLContext, server_tls: ssl.SSLContext
) -> None:
    """Row 80, CVE-2011-0411: replies injected before the handshake never count."""
    injected = reply(220) + b"250-x\r\n250 AUTH PLAIN\r\n235 welcome\r\n"
    server = scripted(
        [
            *TLS_TALK,
            (b"STARTTLS", injected),
            tls_with(server_tls),
            (Wait.NOTHING, Do.SERVE),
        ]
    )
    adapter = smtp(server.port, security=SmtpSecurity.STARTTLS, ssl_context=client_tls)
    with pytest.raises(SendError) as caught:
        adapter.send(an_envelope())
    assert caught.value.code == "plaintext_after_starttls"
    assert caught.value.failure_class is FailureClass.NOT_SENT


def test_what_was_offered_in_the_clear_is_forgotten(
    smtp: Smtp, scripted: Scripted, client_tls: ssl.SSLContext, server_tls: ssl.SSLContext
) -> None:
    """RFC 3207 §4.2: only the EHLO inside TLS counts."""
    server = scripted(
        [
            HEALTHY["banner"],
            (b"EHLO", b"250-x\r\n250-AUTH PLAIN LOGIN\r\n250 STARTTLS\r\n"),
            (b"STARTTLS", reply(220)),
            tls_with(server_tls),
            (b"EHLO", b"250 x\r\n"),
            (Wait.NOTHING, Do.SERVE),
        ]
    )
    adapter = smtp(
        server.port,
        security=SmtpSecurity.STARTTLS,
        ssl_context=client_tls,
        username="u",
        password="p",
    )
    with pytest.raises(ConfigError, match="does not offer AUTH"):
        adapter.send(an_envelope())


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1:DeprecationWarning")
def test_tls_below_1_2_is_refused(
    smtp: Smtp, scripted: Scripted, authority: trustme.CA, client_tls: ssl.SSLContext
) -> None:
    """Row 79: an old server is a failed handshake."""
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    old.minimum_version = ssl.TLSVersion.TLSv1_1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    authority.issue_cert("127.0.0.1").configure_cert(old)
    server = scripted([tls_with(old), (Wait.NOTHING, Do.SERVE)])
    with pytest.raises(SendError) as caught:
        smtp(server.port, security=SmtpSecurity.TLS, ssl_context=client_tls).send(an_envelope())
    assert caught.value.code == "tls_handshake_failed"


def test_a_server_that_hangs_in_the_handshake_is_not_sent(
    smtp: Smtp, scripted: Scripted, client_tls: ssl.SSLContext
) -> None:
    """F14: the opening has one deadline, TLS included."""
    server = scripted([(Wait.NOTHING, Do.HANG)])
    adapter = smtp(
        server.port, security=SmtpSecurity.TLS, ssl_context=client_tls, command_timeout_s=0.2
    )
    with pytest.raises(SendError) as caught:
        adapter.send(an_envelope())
    assert caught.value.failure_class is FailureClass.NOT_SENT


def _lax(**given: object) -> ssl.SSLContext:
    context = ssl.create_default_context()
    for name, value in given.items():
        setattr(context, name, value)
    return context


def test_a_context_that_does_not_verify_is_refused() -> None:
    """Row 79: nobody switches the checks off by accident."""
    for context in (
        _lax(check_hostname=False),
        _lax(check_hostname=False, verify_mode=ssl.CERT_NONE),
        _lax(minimum_version=ssl.TLSVersion.MINIMUM_SUPPORTED),
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
    ):
        with pytest.raises(ConfigError) as caught:
            SmtpAdapter(host="smtp.example.test", ssl_context=context)
        assert caught.value.key == "ssl_context"


@pytest.mark.parametrize(
    ("given", "type_", "key"),
    [
        ({"host": ""}, "invalid", "smtp_host"),
        ({"host": "a b"}, "invalid", "smtp_host"),
        ({"host": "a\r\nb"}, "invalid", "smtp_host"),
        ({"port": 0}, "invalid", "smtp_port"),
        ({"port": 65_536}, "invalid", "smtp_port"),
        ({"local_hostname": "a\r\nMAIL FROM:<x@y>"}, "invalid", "smtp_local_hostname"),
        ({"local_hostname": "[not an address]"}, "invalid", "smtp_local_hostname"),
        ({"command_timeout_s": 0}, "invalid", "command_timeout_s"),
        ({"final_dot_timeout_s": float("nan")}, "invalid", "final_dot_timeout_s"),
        ({"connections_max": 0}, "invalid", "connections_max"),
        ({"username": "u"}, "missing", "smtp_password"),
        ({"password": "p"}, "missing", "smtp_username"),
        ({"auth": SmtpAuth.PLAIN}, "missing", "smtp_username"),
        ({"username": "u", "auth": SmtpAuth.LOGIN}, "missing", "smtp_password"),
        (
            {"username": "u", "password": "p", "auth": SmtpAuth.XOAUTH2},
            "missing",
            "token_source",
        ),
        (
            {"username": "u", "password": "p", "security": SmtpSecurity.NONE},
            "conflicting",
            "smtp_security",
        ),
        (
            {"username": "u", "password": "p", "token_source": lambda: None},
            "conflicting",
            "smtp_password",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(
    given: dict[str, Any], type_: str, key: str
) -> None:
    """Before the first mail, with the name of the setting."""
    with pytest.raises(ConfigError) as caught:
        SmtpAdapter(**({"host": "smtp.example.test"} | given))
    assert (caught.value.type, caught.value.key) == (type_, key)


def test_the_port_follows_the_security() -> None:
    """RFC 8314, RFC 6409."""
    assert repr(SmtpAdapter(host="h.test")) == "SmtpAdapter('h.test', 587, 'starttls')"
    assert SmtpAdapter(host="h.test", security=SmtpSecurity.TLS)._server.port == 465
    assert SmtpAdapter(host="h.test", security=SmtpSecurity.NONE)._server.port == 25


def test_the_lease_covers_every_timeout(smtp: Smtp) -> None:
    """Dispatch leases this long for each recipient."""
    adapter = smtp(
        25, connect_timeout_s=1, command_timeout_s=10, body_timeout_s=100, final_dot_timeout_s=1000
    )
    assert adapter.capabilities.lease_s == 3 * 1 + 6 * 10 + 100 + 1000 + 30


@pytest.mark.parametrize("given", ["[192.0.2.1]", "[IPv6:2001:db8::1]", "mail.example.test"])
def test_ehlo_says_the_given_name(smtp: Smtp, scripted: Scripted, given: str) -> None:
    """A domain or an address literal (RFC 5321 §4.1.3)."""
    server = scripted([*GREETING, (Wait.NOTHING, Do.SERVE)])
    smtp(server.port, local_hostname=given).send(an_envelope())
    assert server.commands[0] == f"EHLO {given}".encode()


def test_ehlo_says_something_valid_without_a_name(smtp: Smtp, scripted: Scripted) -> None:
    """The machine's name when it is a domain, else its address; DNS is not asked."""
    server = scripted([*GREETING, (Wait.NOTHING, Do.SERVE)])
    smtp(server.port, local_hostname=None).send(an_envelope())
    said = server.commands[0].removeprefix(b"EHLO ").decode()
    assert said == "[127.0.0.1]" or "." in said


def test_idle_connections_are_not_kept_when_told_so(smtp: Smtp, scripted: Scripted) -> None:
    """``idle_s_max=0`` says QUIT after each mail."""
    server = scripted([*GREETING, (Wait.NOTHING, Do.SERVE)])
    adapter = smtp(server.port, idle_s_max=0)
    assert adapter.send(an_envelope()).verdicts[0].is_accepted
    assert adapter.send(an_envelope()).verdicts[0].is_accepted
    server.settle()
    assert server.connections == 2
    assert server.commands.count(b"QUIT") == 2
    assert b"NOOP" not in server.commands


def test_an_idle_connection_with_a_refused_transaction_is_reset_first(
    smtp: Smtp, scripted: Scripted
) -> None:
    """RSET takes the place of NOOP, so a refusal costs no connection."""
    server = scripted(
        [
            *GREETING,
            HEALTHY["mail"],
            (b"RCPT", reply(550, "5.1.1")),
            (Wait.NOTHING, Do.SERVE),
        ]
    )
    adapter = smtp(server.port)
    assert adapter.send(an_envelope()).verdicts[0].failure_class is FailureClass.SUPPRESSED
    assert adapter.send(an_envelope()).verdicts[0].is_accepted
    assert [line[:4] for line in server.commands[3:5]] == [b"RSET", b"MAIL"]
    assert server.connections == 1


def test_threads_share_connections_up_to_the_limit(smtp: Smtp, served: Served) -> None:
    """40 mails from 8 threads, at most 3 connections, none lost and none doubled."""
    inbox, port = served()
    adapter = smtp(port, connections_max=3)
    refused: list[object] = []

    def work() -> None:
        for _ in range(5):
            verdicts = adapter.send(an_envelope()).verdicts
            refused.extend(v for v in verdicts if not v.is_accepted)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert refused == []
    assert len(inbox.mails) == 40
    assert len({session.peer for session in inbox.sessions}) <= 3
    assert adapter._pool._shelf.in_use == 0


def test_no_free_connection_is_not_sent(smtp: Smtp, scripted: Scripted) -> None:
    """The wait for a connection is bounded (row *pool timeout* of the table)."""
    server = scripted([*GREETING, (Wait.NOTHING, Do.SERVE)])
    adapter = smtp(server.port, connections_max=1, connect_timeout_s=0.2)
    taken = adapter._pool.take()
    with pytest.raises(SendError) as caught:
        adapter.send(an_envelope())
    assert (caught.value.failure_class, caught.value.code) == (
        FailureClass.NOT_SENT,
        "pool_timeout",
    )
    adapter._pool.put_back(taken)
    assert adapter.send(an_envelope()).verdicts[0].is_accepted


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_has_connections_of_its_own(smtp: Smtp, scripted: Scripted) -> None:
    """Two processes on one TLS or SMTP stream would answer each other's questions."""
    server = scripted([*GREETING, *TRANSACTION, (Wait.NOTHING, Do.SERVE)])
    adapter = smtp(server.port)
    assert adapter.send(an_envelope()).verdicts[0].is_accepted
    child = os.fork()
    if child == 0:
        accepted = adapter.send(an_envelope()).verdicts[0].is_accepted
        adapter.close()
        os._exit(0 if accepted else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert adapter.send(an_envelope()).verdicts[0].is_accepted
    assert server.connections == 2
    assert server.talks[0].commands[-4:-3] == [b"NOOP"]
    assert b"QUIT" not in server.talks[0].commands


def test_no_login_in_the_clear_beyond_this_machine() -> None:
    """Row 79: asked once more of the peer itself, since ``localhost`` is only a name."""
    here, there = socket.socketpair()
    with here, there:
        session = SmtpSession(SmtpAdapter(host="h.test")._server, Connection(here, "192.0.2.1"))
        credentials = credentials_of(username="u", password="p", auth=SmtpAuth.PLAIN, tokens=None)
        assert credentials is not None
        with pytest.raises(ConfigError) as caught:
            session.log_in(credentials, None, deadline_in(5))
        there.settimeout(0)
        with pytest.raises(BlockingIOError):
            there.recv(1)
    assert caught.value.key == "smtp_security"
