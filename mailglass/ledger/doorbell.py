"""The doorbell: tells waiting workers through Postgres that something is due; losing it costs a moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from mailglass.errors import ConfigError
from mailglass.ledger.faults import DatabaseAwayError
from mailglass.ledger.pool import Pool
from mailglass.ledger.sql import query

_QUIET_S: Final = 0.02
"""Who rang less than this ago is heard already."""
_LISTEN_S: Final = 1.0
"""How long one wait for a ring lasts, so that a stop is noticed."""
_TROUBLE_WAIT_S: Final = 5.0


class Doorbell:
    """Rings and listens; a notification carries nothing and stands for no mail."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._rung_at = float("-inf")

    def ring(self) -> None:
        """Wake whoever listens, on any host.

        Raises:
            psycopg.Error: the database cannot be reached.

        """
        now = time.monotonic()
        if now - self._rung_at < _QUIET_S:
            return
        self._rung_at = now
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
