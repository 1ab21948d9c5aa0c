"""In flight: what a process has claimed and not yet written the end of, counted by stream and in bytes."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from typing import TypeAlias

from mailglass.ledger.rows import Claim
from mailglass.message import Stream

Mark: TypeAlias = tuple[str, int]
"""A claim's message and fencing token."""


def mark_of(claim: Claim) -> Mark:
    """Return what tells a claim from every other."""
    return str(claim.message_id), claim.token


class InFlight:
    """Claims on their way; threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[Mark, tuple[Stream, int]] = {}
        self._of: Counter[Stream] = Counter()
        self.payload_bytes = 0
        """What their payloads take in memory."""

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._held)

    def of(self, stream: Stream) -> int:
        """Return how many of a stream there are."""
        return self._of[stream]

    def add(self, claims: Iterable[Claim]) -> None:
        """Count claims."""
        with self._lock:
            for one in claims:
                size = len(one.payload or b"")
                self._held[mark_of(one)] = (one.stream, size)
                self._of[one.stream] += 1
                self.payload_bytes += size

    def remove(self, marks: Iterable[Mark]) -> None:
        """Forget claims whose end is written; those that are not here are no matter."""
        with self._lock:
            for mark in marks:
                found = self._held.pop(mark, None)
                if found is not None:
                    self._of[found[0]] -= 1
                    self.payload_bytes -= found[1]
