"""The doorbell: tells waiting workers through Postgres that something is due; losing it costs a moment."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from mailglass.errors import ConfigError
from mailglass.forks import ProcessLock, renew_in_children
from mailglass.ledger.faults import DatabaseAwayError
from mailglass.ledger.pool import Pool
from mailglass.ledger.sql import query
from mailglass.telemetry import Signal, report

_QUIET_S: Final = 0.02
"""Rings that follow a ring within this time wait for its end and become one."""
_LISTEN_S: Final = 1.0
"""How long one wait for a ring lasts, so that a stop is noticed."""
_TROUBLE_WAIT_S: Final = 5.0


class Doorbell:
    """Rings and listens; a notification carries nothing and stands for no mail."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._lock = ProcessLock()
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """Forget what was rung; a ring that is due comes from a thread, which a child does not have."""
        self._rung_at = float("-inf")
        self._is_due = False

    def ring(self) -> None:
        """Wake whoever listens, on any host; rings close to each other become one a moment later.

        Raises:
            psycopg.Error: the database cannot be reached.

        """
        with self._lock:
            if self._is_due:
                return
            self._is_due = time.monotonic() - self._rung_at < _QUIET_S
            if not self._is_due:
                self._rung_at = time.monotonic()
        if self._is_due:
            late = threading.Timer(_QUIET_S, self._ring_late)
            late.daemon = True
            late.start()
        else:
            self._notify()

    def _ring_late(self) -> None:
        with self._lock:
            self._is_due = False
            self._rung_at = time.monotonic()
        try:
            self._notify()
        except (DatabaseAwayError, ConfigError) as error:
            report(Signal.WAKE_UP_FAILED, level=logging.WARNING, error_type=type(error).__name__)

    def _notify(self) -> None:
        with self._pool.connection() as connection:
            connection.execute(query("ring"))

    def listen(self, heard: Callable[[], None], stopped: threading.Event) -> None:
        """Call ``heard`` at each ring until the flag is raised, over a connection of its own.

        A connection that is lost is made again; what was rung meanwhile counts as heard. It ends too
        when the pool is closed.
        """
        while not (stopped.is_set() or self._pool.is_closed):
            try:
                with self._pool.direct() as connection:
                    connection.execute(query("listen"))
                    heard()
                    while not stopped.is_set():
                        for _ in connection.notifies(timeout=_LISTEN_S, stop_after=1):
                            heard()
            except (DatabaseAwayError, ConfigError):  # the latter where it was closed meanwhile
                stopped.wait(_TROUBLE_WAIT_S)
