"""A provider's end of the wire on this machine: a socket that answers as a test says."""

from __future__ import annotations

import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

_LENGTH: Final = re.compile(rb"content-length: *([0-9]+)", re.IGNORECASE)
_WAIT_S: Final = 5.0

Answer = Callable[[socket.socket], None]
"""What the server does once it has read a whole request."""


def says(status: int, body: bytes = b"", headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    """Answer with a status, header fields and a body."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    head = "\r\n".join(lines).encode() + b"\r\n\r\n"
    return lambda connection: connection.sendall(head + body)


def says_raw(raw: bytes) -> Answer:
    """Answer with these bytes and close."""

    def act(connection: socket.socket) -> None:
        connection.sendall(raw)
        connection.close()

    return act


def resets(connection: socket.socket) -> None:
    """Break the connection off without a word."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def hangs_up(connection: socket.socket) -> None:
    """Close the connection in order, without an answer."""
    connection.close()


class Provider:
    """Serves one connection after another on loopback and keeps every request it read whole."""

    def __init__(self, answer: Answer | None, *, tls: ssl.SSLContext | None = None) -> None:
        """Answer each request alike; None reads and never answers."""
        self._answer = answer
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._closing = threading.Event()
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.requests: list[bytes] = []
        self.connections = 0

    @property
    def url(self) -> str:
        """Return the address to call."""
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        """Begin to serve."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close every connection and wait for the thread."""
        self._closing.set()
        with socket.socket() as knock:
            knock.settimeout(_WAIT_S)
            knock.connect(self._listener.getsockname())
        for connection in self._open:
            connection.close()
        self._thread.join(_WAIT_S)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self._closing.is_set():
                connection.close()
                return
            self.connections += 1
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, plain: socket.socket) -> None:
        connection = plain
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(plain, server_side=True)
            self._open.append(connection)
            while (request := _whole_request(connection)) is not None:
                self.requests.append(request)
                if self._answer is not None:
                    self._answer(connection)
        except OSError:
            # The client gave up, or the test closed the server: there is nobody left to answer.
            plain.close()


def _whole_request(connection: socket.socket) -> bytes | None:
    """Return one request with its body, or None at the end of the connection."""
    raw = b""
    while b"\r\n\r\n" not in raw:
        chunk = connection.recv(65536)
        if not chunk:
            return None
        raw += chunk
    head, _, body = raw.partition(b"\r\n\r\n")
    found = _LENGTH.search(head)
    wanted = int(found[1]) if found else 0
    while len(body) < wanted:
        chunk = connection.recv(65536)
        if not chunk:
            return None
        body += chunk
    return head + b"\r\n\r\n" + body
