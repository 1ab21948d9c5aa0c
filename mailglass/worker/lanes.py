"""Lanes: claimed messages on their way to the threads, what matters most first, one thread kept free."""

from __future__ import annotations

import heapq
import threading
from itertools import count
from types import MappingProxyType
from typing import Final

from mailglass.ledger.rows import Claim
from mailglass.message import Stream

RANK: Final = MappingProxyType({stream: place for place, stream in enumerate(Stream)})
"""Transactional before operational before bulk."""


class Lanes:
    """Hands claims to threads by stream, then by arrival; safe to share between threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[tuple[int, int, Claim]] = []
        self._arrivals = count()
        self._is_closed = False

    def put(self, claim: Claim) -> None:
        """Add a claim."""
        with self._changed:
            heapq.heappush(self._waiting, (RANK[claim.stream], next(self._arrivals), claim))
            self._changed.notify_all()

    def take(self, *, bulk: bool) -> Claim | None:
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
            left = tuple(claim for _, _, claim in self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
        return left
