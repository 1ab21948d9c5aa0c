"""A raw socket server that plays SMTP from a script, as well or as badly as the script says."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum, auto
from typing import Final, TypeAlias

WAIT_S: Final = 20.0
"""Bounds every wait of the server; a test that needs it all has failed."""
TEXT: Final = b"secret-server-text <leak@server.test>"
"""Goes into replies and must never come out of the adapter."""


class Wait(Enum):
    """What to wait for before the reply, when it is not a command."""

    NOTHING = auto()
    BODY = auto()


class Do(Enum):
    """What to do in place of a reply; each but ``ON`` ends the connection."""

    ON = auto()
    CLOSE = auto()
    RESET = auto()
    HANG = auto()
    SERVE = auto()


Action: TypeAlias = "Callable[[Talk], None]"
Step: TypeAlias = "tuple[bytes | Wait, bytes | Do | Action]"
Script: TypeAlias = Sequence[Step]


def reply(code: int, enhanced: str = "") -> bytes:
    """Return a reply line with a text that must not leak."""
    return f"{code} {enhanced} ".replace("  ", " ").encode() + TEXT + b"\r\n"


EHLO: Final = b"250-server.test\r\n250-SIZE 50000000\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n"
ACCEPTED: Final = b"250 2.0.0 Ok: queued as 4Zk9Q1abcd\r\n"
HEALTHY: Final[dict[str, Step]] = {
    "banner": (Wait.NOTHING, reply(220)),
    "ehlo": (b"EHLO ", EHLO),
    "mail": (b"MAIL FROM:<", reply(250, "2.1.0")),
    "rcpt": (b"RCPT TO:<", reply(250, "2.1.5")),
    "data": (b"DATA", reply(354)),
    "dot": (Wait.BODY, ACCEPTED),
    "quit": (b"QUIT", reply(221, "2.0.0")),
}
"""The steps of a good session by phase."""
GREETING: Final = [HEALTHY["banner"], HEALTHY["ehlo"]]
TRANSACTION: Final = [HEALTHY[name] for name in ("mail", "rcpt", "data", "dot")]


def broken_at(phase: str, instead: bytes | Do | Action) -> list[Step]:
    """Return a session that is good up to a phase and answers ``instead`` there.

    After a reply the server goes on serving whatever comes.
    """
    steps: list[Step] = []
    for name, (wait, good) in HEALTHY.items():
        if name == phase:
            return [*steps, (wait, instead), (Wait.NOTHING, Do.SERVE)]
        steps.append((wait, good))
    raise AssertionError(phase)


class Talk:
    """One connection, seen from the server."""

    def __init__(self, sock: socket.socket) -> None:
        """Start with nothing received."""
        self.sock = sock
        self.received = b""
        self.commands: list[bytes] = []
        self.bodies: list[bytes] = []
        self.problem: str | None = None

    def line(self) -> bytes:
        """Read one command line; empty at the end of the stream."""
        found = self._until(b"\r\n")
        if found:
            self.commands.append(found.removesuffix(b"\r\n"))
        return found

    def body(self) -> bytes:
        """Read mail data as it stands on the wire, without the final dot; empty at the end."""
        while not (self.received.startswith(b".\r\n") or b"\r\n.\r\n" in self.received):
            if not self._more():
                return b""
        head, _, self.received = (b"\r\n" + self.received).partition(b"\r\n.\r\n")
        self.bodies.append(head.removeprefix(b"\r\n") + b"\r\n")
        return self.bodies[-1]

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Become a TLS server."""
        self.sock = context.wrap_socket(self.sock, server_side=True)

    def drain(self) -> None:
        """Read until the client goes away."""
        while self._more():
            pass

    def serve(self) -> None:
        """Answer every command with 250, DATA and QUIT as they should be."""
        while line := self.line():
            word = line[:4].upper()
            self.sock.sendall(reply({b"QUIT": 221, b"DATA": 354}.get(word, 250)))
            if word == b"DATA" and self.body():
                self.sock.sendall(ACCEPTED)
            if word == b"QUIT":
                return

    def _until(self, end: bytes) -> bytes:
        while end not in self.received:
            if not self._more():
                return b""
        head, _, self.received = self.received.partition(end)
        return head + end

    def _more(self) -> bool:
        more = self.sock.recv(65_536)
        self.received += more
        return bool(more)

    def play(self, script: Script) -> None:
        """Go through the script; a command that it does not expect is a ``problem``."""
        for wait, answer in script:
            if wait is Wait.BODY:
                self.body()
            elif isinstance(wait, bytes):
                line = self.line()
                if not line:
                    return
                if not line.upper().startswith(wait.upper()):
                    self.problem = f"{line!r} where {wait!r} was expected"
                    return
            if self._act(answer):
                return

    def _act(self, answer: bytes | Do | Action) -> bool:
        if isinstance(answer, bytes):
            self.sock.sendall(answer)
            return False
        if not isinstance(answer, Do):
            answer(self)
            return False
        if answer is Do.RESET:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif answer is Do.HANG:
            self.drain()
        elif answer is Do.SERVE:
            self.serve()
        return answer is not Do.ON


class ScriptedSmtp:
    """Listens on a free port of 127.0.0.1; connection n plays script n, later ones the last."""

    def __init__(self, *scripts: Script) -> None:
        """Bind, so that the port is known."""
        self.talks: list[Talk] = []
        self._scripts = scripts
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []

    @property
    def connections(self) -> int:
        """Return how many connections came."""
        return len(self.talks)

    @property
    def commands(self) -> list[bytes]:
        """Return all command lines, in order, of all connections."""
        return [line for talk in self.talks for line in talk.commands]

    @property
    def bodies(self) -> list[bytes]:
        """Return the data of every message that was sent to its final dot."""
        return [body for talk in self.talks for body in talk.bodies]

    def settle(self) -> None:
        """Wait until every connection so far is over."""
        for thread in self._threads[1:]:
            thread.join(WAIT_S)
            assert not thread.is_alive()

    @contextmanager
    def running(self) -> Iterator[ScriptedSmtp]:
        """Serve until the block ends; every script must have met what it expected."""
        acceptor = threading.Thread(target=self._accept, daemon=True)
        self._threads.append(acceptor)
        acceptor.start()
        try:
            yield self
        finally:
            # shutdown wakes accept(), which close alone does not.
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            acceptor.join(WAIT_S)
            self.settle()
        assert [talk.problem for talk in self.talks if talk.problem] == []

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return  # the listener was shut down: the test is over
            sock.settimeout(WAIT_S)
            talk = Talk(sock)
            script = self._scripts[min(len(self.talks), len(self._scripts) - 1)]
            self.talks.append(talk)
            thread = threading.Thread(target=self._play, args=(talk, script), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _play(self, talk: Talk, script: Script) -> None:
        # The client may leave at any point: what it saw is what the test asserts.
        with suppress(OSError):
            talk.play(script)
        talk.sock.close()
