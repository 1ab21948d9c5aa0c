"""An SMTP server that behaves: aiosmtpd on a free port, and the inbox behind it."""

from __future__ import annotations

import asyncio
import socket

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Session
from aiosmtpd.smtp import Envelope as ServedEnvelope


class Inbox:
    """An aiosmtpd handler that keeps what arrives."""

    def __init__(self) -> None:
        """Start empty."""
        self.mails: list[ServedEnvelope] = []
        self.sessions: list[Session] = []

    async def handle_DATA(  # noqa: N802 - the name that aiosmtpd looks for
        self, server: SMTP, session: Session, envelope: ServedEnvelope
    ) -> str:
        """Keep the mail."""
        self.mails.append(envelope)
        self.sessions.append(session)
        return f"250 2.0.0 Ok: queued as Q{len(self.mails):04}"


class FreePort(Controller):
    """A controller that listens on a free port."""

    def _trigger_server(self) -> None:
        """Connect once, for which the controller waits; its own way wants to know the port."""
        assert isinstance(self.server, asyncio.Server)
        self.port = self.server.sockets[0].getsockname()[1]
        socket.create_connection((self.hostname, self.port), timeout=10).close()

    def stop_quietly(self) -> None:
        """Let the clients' goodbyes be heard before the loop stops, or sockets stay open."""
        asyncio.run_coroutine_threadsafe(_others_done(), self.loop).result(20)
        self.stop()


async def _others_done() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        await asyncio.wait(others, timeout=10)
