"""The clock that is passed to whatever needs the time, so that a test can own it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Returns the present moment as an aware datetime in UTC."""


def system_clock() -> datetime:
    """Return the machine's time, aware and in UTC.

    Leases, back-off and rate limits do not use it: they compare inside Postgres, on its clock.
    """
    return datetime.now(UTC)
