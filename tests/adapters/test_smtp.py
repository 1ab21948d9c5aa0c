"""The SMTP adapter against servers that behave, and the settings it refuses."""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword, Session
from aiosmtpd.smtp import Envelope as ServedEnvelope

from mailglass.adapters import Adapter
from mailglass.adapters.smtp import SmtpAdapter, SmtpAuth, SmtpSecurity
from mailglass.errors import ConfigError, FailureClass, SendError
from tests.adapters.envelopes import PAYLOAD, an_envelope
from tests.adapters.scripted_smtp import (
    GREETING,
    HEALTHY,
    TRANSACTION,
    Do,
    ScriptedSmtp,
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
