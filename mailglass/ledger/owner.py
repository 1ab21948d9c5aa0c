"""The owner session: one connection for a process's claims, whose life tells whether the process lives."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Final

import psycopg
from psycopg.rows import DictRow

from mailglass.forks import ProcessLock, renew_in_children
from mailglass.ledger.faults import repeatedly, translated
from mailglass.ledger.pool import Connection, Pool, is_cut

_KEY_BITS: Final = 63


class OwnerSession:
    """Runs claims on a session of its own, which holds an advisory lock as long as it lives.

    A claim names the lock. While somebody holds it, whoever made the claim may still be sending; once
    the session is gone, nobody is. Where a pooler stands between us and Postgres the session is not
    ours, so the claim names none and nothing is concluded from it.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._lock = ProcessLock()
        self._connection: Connection | None = None
        self._key: int | None = None
        self._inherited: list[Connection] = []
        renew_in_children(self)

    def renew(self) -> None:
        """Leave the connection to the parent; it is kept, so that nobody closes it."""
        if self._connection is not None:
            self._inherited.append(self._connection)
            self._connection = None

    def rows(self, statement: bytes, parameters: Mapping[str, object]) -> list[DictRow]:
        """Run a statement with ``owner_key`` among its parameters, one at a time.

        The answer comes in binary: as text, the payloads in it would take twice the memory.

        A session that was cut while nothing was asked, as by a restart, is replaced before: once a
        claim was sent, nobody could tell whether it took place.

        Raises:
            psycopg.OperationalError: the database cannot be reached, or the session was cut meanwhile;
                the next call opens another one.

        """
        with self._lock, translated():
            connection = self._opened()
            try:
                asked = dict(parameters) | {"owner_key": self._key}
                return repeatedly(
                    lambda: connection.execute(statement, asked, binary=True).fetchall()
                )
            except psycopg.OperationalError:
                if connection.broken:
                    self._connection = None
                raise

    def close(self) -> None:
        """End the session; what it claimed and has not settled counts as abandoned from now on."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _opened(self) -> Connection:
        if self._connection is None or is_cut(self._connection):
            connection = self._pool.direct()
            self._key = _locked_key(connection)
            self._connection = connection
        return self._connection


def _locked_key(connection: Connection) -> int | None:
    """Take a lock that nobody else has, or return None behind a pooler of transactions."""
    key = secrets.randbits(_KEY_BITS) or 1  # 0 stands for an attempt that has ended
    row = connection.execute(
        "select pg_try_advisory_lock(%s::bigint) as is_taken, pg_backend_pid() as pid", [key]
    ).fetchone()
    is_ours = row is not None and row["is_taken"] and row["pid"] == connection.info.backend_pid
    return key if is_ours else None
