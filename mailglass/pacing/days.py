"""Days: which providers' numbers of a day are used up, as one process has heard, until their midnight."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from mailglass.clock import Clock, system_clock
from mailglass.forks import ProcessLock
from mailglass.pacing.buckets import Ask
from mailglass.pacing.vocabulary import Limit, Limits

SPENT_MAX: Final = 1_000
"""Counts that are remembered; of more, those that were heard of last."""
_CLOCKS_APART_S: Final = 60.0
"""How far this machine's clock may be from that of the store, which knows when the day ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spent:
    """Until when a count has no room for ``cost`` or more, on the clock of ``boot_seconds``."""

    until: float
    cost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SpentDays:
    """Remembers what is used up for today, so that it is asked for again only when it may be there.

    It speaks of limits per provider alone: nothing but another provider has room for such mail.
    """

    limits: Limits
    clock: Clock = system_clock
    _known: dict[tuple[str, str], _Spent] = field(default_factory=dict)
    _lock: ProcessLock = field(default_factory=ProcessLock)

    def note(self, asks: Sequence[Ask], blocker: str | None, *, wait_s: float, now: float) -> None:
        """Hear that a limit put a mail off; a limit that waits for midnight is used up for today.

        Where a mail asked several counts of the limit, nobody can tell which of them it was.
        """
        limit = next((one for one in self.limits if one.name == blocker), None)
        own = [one for one in asks if one.bucket.name == blocker]
        if limit is None or not _has_days(limit) or len(own) != 1:
            return
        left_s = _left_of_today_s(limit, self.clock())
        if wait_s < left_s - _CLOCKS_APART_S:
            return
        (ask,) = own
        key, until = (ask.bucket.name, ask.bucket.key), now + min(wait_s, left_s)
        with self._lock:
            known = self._known.pop(key, None)
            is_same_day = known is not None and known.until > now
            cost = min(ask.cost, known.cost) if known and is_same_day else ask.cost
            self._known[key] = _Spent(until=until, cost=cost)
            while len(self._known) > SPENT_MAX:
                del self._known[next(iter(self._known))]

    def until(self, asks: Iterable[Ask], *, now: float) -> tuple[float, str] | None:
        """Return until when a mail has no room, and by which limit; None where it may have."""
        if not self._known:
            return None
        found = [
            (known.until, ask.bucket.name)
            for ask in asks
            if (known := self._known.get((ask.bucket.name, ask.bucket.key))) is not None
            and known.until > now
            and ask.cost >= known.cost
        ]
        return max(found, default=None)


def _has_days(limit: Limit) -> bool:
    return limit.is_hard and (limit.daily is not None or limit.warm_up is not None)


def _left_of_today_s(limit: Limit, moment: datetime) -> float:
    zone = ZoneInfo(limit.zone)
    tomorrow = moment.astimezone(zone).date() + timedelta(days=1)
    return (datetime.combine(tomorrow, time.min, tzinfo=zone) - moment).total_seconds()
