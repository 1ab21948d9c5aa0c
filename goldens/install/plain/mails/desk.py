"""The front desk of this process: ``desk().deliver(…)``."""

from functools import cache

from mailglass import Mailglass


@cache
def desk() -> Mailglass:
    """Return the Mailglass of this process, made at first use from ``MAILGLASS_…`` variables."""
    return Mailglass.from_env()
