"""The clock of a test: the machine's own until it is frozen."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from mailglass.clock import system_clock


class TestClock:
    """Tells the machine's time, or the moment that it was frozen at; safe to share between threads.

    It rules what mailglass takes from the clock it was given: the Date header, the times of events
    that a test triggers, the times on mails that were taken. Leases, retries, ``send_at`` and
    ``expires_at`` are compared inside Postgres, on its clock.
    """

    __test__ = False

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._frozen: datetime | None = None

    def __call__(self) -> datetime:
        """Return the present moment, aware and in UTC."""
        with self._lock:
            return self._frozen or system_clock()

    @contextmanager
    def freeze(self, at: datetime | None = None) -> Iterator[TestClock]:
        """Stand still for a block, at a moment with a time zone or at the present one.

        Raises:
            ValueError: for a moment without a time zone.

        """
        moment = self() if at is None else at
        if moment.tzinfo is None:
            raise ValueError("freeze needs a moment with a time zone")
        with self._lock:
            before, self._frozen = self._frozen, moment
        try:
            yield self
        finally:
            with self._lock:
                self._frozen = before

    def advance(self, seconds: float) -> None:
        """Go on by so many seconds, at least 0, and stand still there.

        Raises:
            ValueError: when the clock is not frozen, or would go back.

        """
        with self._lock:
            if self._frozen is None or seconds < 0:
                raise ValueError("only a frozen clock advances, and only forwards")
            self._frozen += timedelta(seconds=seconds)
