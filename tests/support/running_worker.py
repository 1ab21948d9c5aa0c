"""A worker in a thread of its own, and waiting for what it brings about."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from mailglass.worker import Worker

DEADLINE_S: Final = 30.0


@contextmanager
def running(worker: Worker) -> Iterator[threading.Event]:
    """Run a worker; at the end of the block it is stopped and has ended."""
    stopped = threading.Event()
    thread = threading.Thread(target=worker.run, args=(stopped,))
    thread.start()
    try:
        yield stopped
    finally:
        stopped.set()
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


def until(is_so: Callable[[], bool]) -> None:
    """Look again until something is so; a bound of time ends what never becomes so."""
    end = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.005)
