"""The pool of connections: autocommit, bounded in every wait, opened at first use, safe to fork."""

from __future__ import annotations

import select
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

import psycopg
from psycopg import sql
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from mailglass.errors import ConfigError, ConfigErrorType
from mailglass.forks import ProcessLock, renew_in_children
from mailglass.ledger.faults import translated

Connection: TypeAlias = psycopg.Connection[DictRow]

_KEEPALIVE: Final = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""Seconds, and milliseconds for the last: a dead host's session ends within about 30 s."""
_LOCK_PART: Final = 3
"""Of the time that a statement may take a lock may take a third: so it is told which of both it was."""
_LAST_WORDS_MS: Final = (0, 20, 20)
"""How long one look at an idle connection waits: a server says why it goes just before it hangs up."""


class Pool:
    """Lends connections, each statement on them a transaction of its own.

    ``role`` is taken with SET ROLE on every connection, so that a process that logs in with more
    rights works with those of the application. A forked child gets connections of its own: two
    processes on one connection would read each other's answers.
    """

    def __init__(
        self,
        database_url: str,
        *,
        role: str | None,
        connections_max: int,
        connect_timeout_s: float,
        statement_timeout_s: float,
    ) -> None:
        self._database_url = database_url
        self._role = role
        self._connections_max = connections_max
        self._connect_timeout_s = connect_timeout_s
        self._lock = ProcessLock()
        self._pool: ConnectionPool[Connection] | None = None
        self._inherited: list[ConnectionPool[Connection]] = []
        self._is_closed = False
        timeout_ms = int(statement_timeout_s * 1000)
        lock_ms = timeout_ms // _LOCK_PART
        self._session: dict[str, Any] = {
            "application_name": "mailglass",
            "connect_timeout": max(2, int(connect_timeout_s)),
            "options": f"-c statement_timeout={timeout_ms} -c lock_timeout={lock_ms} "
            f"-c idle_in_transaction_session_timeout={timeout_ms} -c synchronous_commit=on "
            # Times are written and read the same wherever the server stands, up to the last of 9999.
            "-c timezone=UTC",
            **_KEEPALIVE,
        }
        renew_in_children(self)

    def renew(self) -> None:
        """Leave the connections to the parent; they are kept, so that nobody closes them."""
        if self._pool is not None:
            self._inherited.append(self._pool)
            self._pool = None

    def _made(self) -> ConnectionPool[Connection]:
        return ConnectionPool(
            self._database_url,
            kwargs={"autocommit": True, "row_factory": dict_row, **self._session},
            configure=self._configure,
            min_size=0,
            max_size=self._connections_max,
            timeout=self._connect_timeout_s,
            open=True,
            name="mailglass",
        )

    def _configure(self, connection: Connection) -> None:
        if self._role is not None:
            connection.execute(sql.SQL("set role {}").format(sql.Identifier(self._role)))

    @property
    def is_closed(self) -> bool:
        """Tell whether the pool was closed."""
        return self._is_closed

    def direct(self) -> Connection:
        """Open a connection outside the pool, set up as those in it; whoever asked closes it.

        Raises:
            psycopg.OperationalError: the database cannot be reached.
            ConfigError: ``conflicting``, when the pool was closed.

        """
        self._refuse_when_closed()
        connection: Connection = psycopg.connect(
            self._database_url, autocommit=True, row_factory=dict_row, **self._session
        )
        self._configure(connection)
        return connection

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Lend a connection; errors about our own rules arrive as ours.

        One that was cut while it lay idle, as by a restart, is replaced before.

        Raises:
            psycopg.OperationalError: the database cannot be reached, or all connections stay busy.
            ConfigError: ``conflicting``, when the pool was closed.

        """
        self._refuse_when_closed()
        pool = self._pool or self._opened()
        # Not the pool's own block, which ends by a commit: each statement is one already.
        with translated():
            try:
                connection = self._whole(pool)
            except PoolTimeout:
                self._reach()
                raise
            try:
                yield connection
            finally:
                pool.putconn(connection)

    def _opened(self) -> ConnectionPool[Connection]:
        self._reach()  # not under the lock, for which who closes it would wait
        with self._lock:
            self._refuse_when_closed()
            if self._pool is None:
                self._pool = self._made()
            return self._pool

    def _whole(self, pool: ConnectionPool[Connection]) -> Connection:
        for _ in range(self._connections_max):
            connection = pool.getconn()
            if not is_cut(connection):
                return connection
            pool.putconn(connection)  # which makes another one in its place
        return pool.getconn()

    def _refuse_when_closed(self) -> None:
        if self._is_closed:
            raise ConfigError(
                "this Mailglass is closed; make another one",
                type=ConfigErrorType.CONFLICTING,
                key="closed",
            )

    def _reach(self) -> None:
        """Raise what keeps us from the database; the pool itself would only tell of a timeout."""
        self.direct().close()

    def close(self) -> None:
        """Close every connection of this process; the pool cannot be used afterwards."""
        self._is_closed = True
        with self._lock:  # it may be about to be opened
            if self._pool is not None:
                self._pool.close()


def is_cut(connection: Connection) -> bool:
    """Tell whether a connection was cut while nothing was asked on it; the server is not asked.

    What an idle connection has to read is its end, or news of a setting, which is taken in.
    """
    if connection.closed:
        return True
    heard = select.poll()
    try:
        heard.register(connection.fileno(), select.POLLIN)
        for wait_ms in _LAST_WORDS_MS:
            if not heard.poll(wait_ms):
                break
            connection.pgconn.consume_input()
    except psycopg.OperationalError:
        return True
    return connection.closed
