"""TLS of the SMTP adapter: verified, demanded, never given up for plain text (threats 79 and 80)."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
import trustme

from mailglass.adapters.smtp import SmtpAdapter, SmtpAuth, SmtpSecurity
from mailglass.adapters.smtp_auth import credentials_of
from mailglass.adapters.smtp_connection import Connection, deadline_in
from mailglass.adapters.smtp_session import SmtpSession
from mailglass.errors import ConfigError, FailureClass, SendError
from tests.adapters.envelopes import an_envelope
from tests.adapters.scripted_smtp import (
    GREETING,
    HEALTHY,
    Do,
    ScriptedSmtp,
    Talk,
    Wait,
    reply,
)

Smtp: TypeAlias = Callable[..., SmtpAdapter]
Scripted: TypeAlias = Callable[..., ScriptedSmtp]


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
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
    ):
        with pytest.raises(ConfigError) as caught:
            SmtpAdapter(host="smtp.example.test", ssl_context=context)
        assert caught.value.key == "ssl_context"


def test_a_floor_that_was_left_to_openssl_is_set() -> None:
    """Row 79: Debian's Python makes contexts without one."""
    context = _lax(minimum_version=ssl.TLSVersion.MINIMUM_SUPPORTED)
    SmtpAdapter(host="smtp.example.test", ssl_context=context)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_a_context_that_allows_old_tls_by_its_own_word_is_refused() -> None:
    """Row 79: and is not changed behind the caller's back."""
    context = _lax(minimum_version=ssl.TLSVersion.TLSv1_1)
    with pytest.raises(ConfigError):
        SmtpAdapter(host="smtp.example.test", ssl_context=context)


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
