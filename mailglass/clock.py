"""The clock that is passed to whatever needs the time, so that a test can own it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

Clock = Callable[[], datetime]
"""Returns the present moment as an aware datetime in UTC."""


def system_clock() -> datetime:
    """Return the machine's time, aware and in UTC.

    Leases, back-off and rate limits do not use it: they compare inside Postgres, on its clock.
    """
    return datetime.now(UTC)


_BOOT_CLOCK: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boot_seconds() -> float:
    """Return seconds since the machine started, which on Linux go on while it sleeps."""
    return time.clock_gettime(_BOOT_CLOCK)
