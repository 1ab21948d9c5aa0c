"""One worker process: answers ``ready``, works from ``go`` until its input ends, tells what it spent.

``python benchmarks/delivery/worker.py URL THREADS``
"""

# ruff: noqa: INP001, T201 - run by the benchmark, to which it prints
from __future__ import annotations

import cProfile
import json
import os
import sys
import threading
import time
from pathlib import Path

from mails import front_desk

from mailglass.worker import Worker
from mailglass.worker.running import keep_collector_quiet


def resident_kb() -> int:
    """Return the memory that this process holds (proc(5))."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def main() -> None:
    """Work while the other end holds the pipe open."""
    url, threads = sys.argv[1], int(sys.argv[2])
    with front_desk(url) as mail:
        mail.sweep()
        stopped = threading.Event()
        memory: list[int] = [resident_kb()]

        def watch() -> None:
            while not stopped.wait(0.2):
                memory.append(resident_kb())

        def end() -> None:
            sys.stdin.readline()
            stopped.set()

        keep_collector_quiet()  # as `mailglass worker` does
        print("ready", flush=True)
        sys.stdin.readline()
        began = time.process_time()
        for one in (watch, end):
            threading.Thread(target=one, daemon=True).start()
        worker = Worker(mail=mail, threads=threads, sweep_every_s=5.0)
        profile_to = os.environ.get("BENCHMARK_PROFILE")
        if profile_to:
            with cProfile.Profile() as profile:
                tried = worker.run(stopped)
            profile.dump_stats(profile_to)
        else:
            tried = worker.run(stopped)
        spent = time.process_time() - began
    print(json.dumps({"tried": tried, "python_s": spent, "memory_kb": memory}), flush=True)


if __name__ == "__main__":
    main()
