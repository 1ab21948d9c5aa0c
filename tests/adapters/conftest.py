"""What the tests of the adapters share: a certificate authority, SMTP servers and adapters."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import trustme

from mailglass.adapters.smtp import SmtpAdapter, SmtpSecurity
from tests.adapters.scripted_smtp import Script, ScriptedSmtp
from tests.adapters.served_smtp import FreePort, Inbox


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Return a certificate authority that only the tests trust."""
    return trustme.CA()


@pytest.fixture(scope="session")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    """Return the TLS context of a server whose certificate is right for 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


@pytest.fixture
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    """Return a strict client context that trusts the tests' authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def scripted() -> Iterator[Callable[..., ScriptedSmtp]]:
    """Return a function that starts a server with one script a connection."""
    with ExitStack() as stack:

        def start(*scripts: Script) -> ScriptedSmtp:
            return stack.enter_context(ScriptedSmtp(*scripts).running())

        yield start


@pytest.fixture
def served() -> Iterator[Callable[..., tuple[Inbox, int]]]:
    """Return a function that starts an aiosmtpd server and tells its inbox and port."""
    with ExitStack() as stack:

        def start(**given: Any) -> tuple[Inbox, int]:
            inbox = Inbox()
            server = FreePort(inbox, hostname="127.0.0.1", port=0, **given)
            server.start()
            stack.callback(server.stop_quietly)
            return inbox, server.port

        yield start


@pytest.fixture
def smtp(scripted: object, served: object) -> Iterator[Callable[..., SmtpAdapter]]:
    """Return a function that makes an adapter for a port; adapters are closed before servers."""
    with ExitStack() as stack:

        def make(port: int, **given: object) -> SmtpAdapter:
            settings: dict[str, object] = {
                "host": "127.0.0.1",
                "security": SmtpSecurity.NONE,
                "local_hostname": "client.test",
                "connect_timeout_s": 5.0,
                "command_timeout_s": 5.0,
                "body_timeout_s": 5.0,
                "final_dot_timeout_s": 5.0,
            }
            adapter = SmtpAdapter(port=port, **(settings | given))  # type: ignore[arg-type]  # free
            stack.callback(adapter.close)
            return adapter

        yield make
