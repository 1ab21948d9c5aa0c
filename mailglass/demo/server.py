"""A real SMTP server on loopback, in a process of its own; it says what it received, one JSON a line.

``refused@…`` is answered 550 at RCPT, ``busy@…`` 451 at its first DATA and 250 at its second.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from email import message_from_bytes
from email.header import decode_header, make_header

from aiosmtpd.smtp import SMTP, Envelope, Session


class Clerk:
    """Answers the SMTP conversation and prints what it took."""

    def __init__(self) -> None:
        self._seen_busy: set[str] = set()

    async def handle_RCPT(  # noqa: N802 - the names and arguments are aiosmtpd's
        self,
        _server: SMTP,
        _session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        """Refuse one recipient for good, take every other."""
        if address.startswith("refused@"):
            return "550 5.7.1 We do not take mail for this person"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        """Take the mail, or ask to come again."""
        recipient = envelope.rcpt_tos[0]
        if recipient.startswith("busy@") and recipient not in self._seen_busy:
            self._seen_busy.add(recipient)
            return "451 4.3.2 Come again in a moment"
        payload = envelope.original_content or b""
        subject = str(make_header(decode_header(message_from_bytes(payload)["Subject"])))
        _say(
            {
                "recipient": recipient,
                "subject": subject,
                "bytes": len(payload),
                "sha256": hashlib.sha256(payload).hexdigest(),
            }
        )
        return f"250 2.0.0 Ok: queued as {hashlib.sha256(payload).hexdigest()[:10]}"


def _say(fact: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(fact) + "\n")
    sys.stdout.flush()


async def serve() -> None:
    """Listen on a free port of 127.0.0.1 until standard input ends."""
    clerk = Clerk()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(clerk, hostname="shop-relay.example", enable_SMTPUTF8=True, loop=loop),
        host="127.0.0.1",
        port=0,
    )
    async with server:
        _say({"port": server.sockets[0].getsockname()[1]})
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve())
