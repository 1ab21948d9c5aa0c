"""Forks: what a child must not take over from its parent begins anew there, before anything else runs."""

from __future__ import annotations

import os
import threading
from typing import Final, Protocol
from weakref import WeakSet


class Renewable(Protocol):
    """Has state that a forked child cannot use: a lock, a timer, a connection."""

    def renew(self) -> None:
        """Begin anew; it runs in the child, which has one thread yet."""


_KNOWN: Final[WeakSet[Renewable]] = WeakSet()


def renew_in_children(one: Renewable) -> None:
    """Have ``renew`` called in each child that is forked, for as long as the object is used."""
    _KNOWN.add(one)


class ProcessLock:
    """A lock among the threads of one process; a forked child finds it free, whoever held it.

    The thread that held it is not there in the child, so nobody would ever let it go.
    """

    def __init__(self) -> None:
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """Put a free lock in place of the parent's."""
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        """Wait until no other thread has it."""
        lock = self._lock
        lock.acquire()
        self._held = lock

    def __exit__(self, *_exc: object) -> None:
        """Let go what was taken: whoever forked while it held the lock leaves it in the child as well."""
        self._held.release()


def _renew_all() -> None:
    for one in tuple(_KNOWN):
        one.renew()


os.register_at_fork(after_in_child=_renew_all)
