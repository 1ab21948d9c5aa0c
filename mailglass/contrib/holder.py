"""One Mailglass a process, made at first use and closed when the process ends."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mailglass.app import Mailglass
from mailglass.forks import ProcessLock


class Holder:
    """Makes the Mailglass when it is first asked for; safe to share between threads.

    Making it late keeps imports and management commands free of connections, and gives each worker
    process of a forking server one of its own.
    """

    def __init__(self, make: Callable[[], Mailglass]) -> None:
        self._make = make
        self._lock = ProcessLock()
        self._held: Mailglass | None = None

    def get(self) -> Mailglass:
        """Return the Mailglass of this process.

        Raises:
            ConfigError: for settings that are missing or wrong.

        """
        with self._lock:
            if self._held is None:
                self._held = self._make()
                atexit.register(self.close)
            return self._held

    def close(self) -> None:
        """Close what was made; the next ``get`` makes another."""
        with self._lock:
            held, self._held = self._held, None
        if held is not None:
            atexit.unregister(self.close)
            held.close()

    @contextmanager
    def using(self, mail: Mailglass) -> Iterator[None]:
        """Return another Mailglass for a block, as a test does with ``mailbox``; it is not closed."""
        with self._lock:
            before, self._held = self._held, mail
        try:
            yield
        finally:
            with self._lock:
                self._held = before
