"""Workers to whom their host gives little: so many more bytes of memory, so few open files."""

from __future__ import annotations

import os
import resource
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.faults.nursery import WorkerPlan, serve, work

HOG_S: Final = 0.3
HOGS: Final = 3
STACK_BYTES: Final = 1_048_576
"""Of a thread: what is reserved and never used counts too."""


def _size_bytes() -> int:
    """Return how much address space this process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def _hog_files() -> None:
    """Take every file that may still be opened for a while, some times, as a leak elsewhere does."""
    for _ in range(HOGS):
        taken: list[int] = []
        end = time.monotonic() + HOG_S
        while time.monotonic() < end:
            with suppress(OSError):
                taken.append(os.open(os.devnull, os.O_RDONLY))
                continue
            time.sleep(0.001)
        for one in taken:
            os.close(one)
        time.sleep(HOG_S)


def job(plan: WorkerPlan) -> None:
    """Take away what the plan takes away, and work."""
    if plan.memory_more_bytes is not None:
        threading.stack_size(STACK_BYTES)
        most = _size_bytes() + plan.memory_more_bytes
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    if plan.files_max is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (plan.files_max, plan.files_max))
        threading.Thread(target=_hog_files, daemon=True).start()
    work(plan)


if __name__ == "__main__":
    serve(job)
