"""Lanes: claimed messages on their way to the threads, what matters most first, one thread kept free."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Iterable
from itertools import count
from types import MappingProxyType
from typing import Final, TypeAlias

from mailglass.delivery.gate import Pass
from mailglass.delivery.refusals import Refusals
from mailglass.ledger.rows import Claim
from mailglass.message import Stream

RANK: Final = MappingProxyType({stream: place for place, stream in enumerate(Stream)})
"""Transactional before operational before bulk."""


Job: TypeAlias = tuple[Claim, Refusals, Pass | None]
"""A claim, what was known of its recipients' suppressions when it was made, and its turn."""


class Lanes:
    """Hands claims to threads by stream, then by arrival; safe to share between threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[tuple[int, int, Job]] = []
        self._arrivals = count()
        self._is_closed = False

    def put(self, jobs: Iterable[Job]) -> None:
        """Add claims."""
        with self._changed:
            for job in jobs:
                heapq.heappush(self._waiting, (RANK[job[0].stream], next(self._arrivals), job))
            self._changed.notify_all()

    def take(self, *, bulk: bool) -> Job | None:
        """Wait for a claim and return it, None once closed; without ``bulk``, none of that stream."""
        with self._changed:
            while not self._is_closed:
                if self._waiting and (bulk or self._waiting[0][0] < RANK[Stream.BULK]):
                    return heapq.heappop(self._waiting)[2]
                self._changed.wait()
            return None

    def close(self) -> tuple[Claim, ...]:
        """Let every thread end, and return what none has taken."""
        with self._changed:
            self._is_closed = True
            left = tuple(claim for _, _, (claim, _, _) in self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
        return left
