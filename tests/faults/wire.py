"""Broken wires: a fuse that ends a connection at its n-th statement, a proxy that ends it at a byte."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

CHUNK_BYTES: Final = 65_536
JOIN_S_MAX: Final = 10.0


@dataclass(slots=True, kw_only=True)
class Fuse:
    """Ends the connection at the n-th statement from when it was set, before or after the statement."""

    is_after: bool
    left: int = 0

    @property
    def has_blown(self) -> bool:
        """Tell whether as many statements were run."""
        return self.left <= 0


@contextmanager
def fuse(*, is_after: bool) -> Iterator[Fuse]:
    """Put a fuse into every connection of this process; it is set by its ``left``."""
    made = Fuse(is_after=is_after)
    execute = psycopg.Connection.execute

    def fused(self: psycopg.Connection[Any], *args: Any, **kwargs: Any) -> Any:
        made.left -= 1
        if made.left != 0:
            return execute(self, *args, **kwargs)
        if made.is_after:
            execute(self, *args, **kwargs)
        self.close()
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psycopg.Connection, "execute", fused)
        yield made


class Proxy:
    """Stands between a client and Postgres' socket; once armed, it passes so many bytes and no more.

    ``to_server`` and ``to_client`` are what each direction may still carry; None for no end.
    """

    def __init__(self, database_url: str) -> None:
        """Listen on a port of this machine."""
        place = conninfo_to_dict(database_url)
        self._socket = f"{place['host']}/.s.PGSQL.{place['port']}"
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.url = make_conninfo(
            database_url, host="127.0.0.1", port=str(port), sslmode="disable", gssencmode="disable"
        )
        self._lock = threading.Lock()
        self._left: dict[str, int | None] = {"to_server": None, "to_client": None}
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self._start(self._serve)

    def arm(self, *, to_server: int | None = None, to_client: int | None = None) -> None:
        """Let so many more bytes through, and then end the connection; with neither, let all through."""
        with self._lock:
            self._left = {"to_server": to_server, "to_client": to_client}

    def close(self) -> None:
        """End everything and wait for it."""
        # Closing alone does not wake a thread that waits in accept or recv.
        for one in (self._listener, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(JOIN_S_MAX)
        for one in (self._listener, *self._open):
            one.close()

    def _start(self, target: Any, *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._socket)
            self._open += [client, server]
            self._start(self._carry, client, server, "to_server")
            self._start(self._carry, server, client, "to_client")

    def _carry(self, source: socket.socket, target: socket.socket, way: str) -> None:
        while True:
            try:
                some = source.recv(CHUNK_BYTES)
                passed = self._allowed(way, len(some))
                target.sendall(some[:passed])
            except OSError:
                some, passed = b"", 0
            if not some or passed < len(some) or self._allowed(way, 0) < 0:
                for one in (source, target):
                    with suppress(OSError):
                        one.shutdown(socket.SHUT_RDWR)
                return

    def _allowed(self, way: str, size: int) -> int:
        """Return how much of it may pass; below 0 when nothing may any more."""
        with self._lock:
            left = self._left[way]
            if left is None:
                return size
            if size == 0:
                return -1 if left == 0 else 0
            passed = min(size, left)
            self._left[way] = left - passed
            return passed


@contextmanager
def proxied(database_url: str) -> Iterator[Proxy]:
    """Run a proxy before the server of a database."""
    proxy = Proxy(database_url)
    try:
        yield proxy
    finally:
        proxy.close()
