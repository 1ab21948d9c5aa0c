"""Meters: wall time, and the CPU time of this process and of every process of a PostgreSQL server."""

# ruff: noqa: INP001 - part of a script that is run as a folder
from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_PARENT, _USER, _CHILDREN_SYSTEM = 1, 11, 14
"""Places in ``/proc/<pid>/stat`` after the program's name, counted from its state (proc(5))."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What one round took, in seconds; ``python_s`` and ``postgres_s`` are CPU time."""

    messages: int
    wall_s: float
    python_s: float
    postgres_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """Measures calls; ``postmaster`` is the process id of the server's first process."""

    postmaster: int

    @classmethod
    def of(cls, server_folder: Path) -> Meter:
        """Find the server by the file in which it keeps its process id."""
        return cls(postmaster=int((server_folder / "data/postmaster.pid").read_text().split()[0]))

    def measured(self, messages: int, run: Callable[[], float | None]) -> Spent:
        """Run once; a run that returns a number tells its Python CPU seconds itself."""
        postgres, python, began = self.postgres_s(), time.process_time(), time.perf_counter()
        told = run()
        return Spent(
            messages=messages,
            wall_s=time.perf_counter() - began,
            python_s=time.process_time() - python if told is None else told,
            postgres_s=self.postgres_s() - postgres,
        )

    def postgres_s(self) -> float:
        """Return the CPU seconds of all the server's processes, also of those that have ended."""
        ticks = 0
        for file in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = file.read_text().rpartition(")")[2].split()
            except OSError:  # it ended between the listing and the reading
                continue
            is_first = int(file.parent.name) == self.postmaster
            if is_first or int(fields[_PARENT]) == self.postmaster:
                last = _CHILDREN_SYSTEM if is_first else _CHILDREN_SYSTEM - 2
                ticks += sum(map(int, fields[_USER : last + 1]))
        return ticks / _TICKS_PER_S


def table(title: str, found: dict[str, list[Spent]]) -> None:
    """Print each contestant's medians, and how many times as fast the first one is."""
    print(f"\n### {title}\n")  # noqa: T201 - the benchmark's finding
    print("| who | messages/s | us wall | us CPU Python | us CPU Postgres | first is |")  # noqa: T201 - as above
    print("|---|---:|---:|---:|---:|---:|")  # noqa: T201 - as above
    base = next(iter(found.values()))
    for name, rounds in found.items():
        wall, python, postgres = (
            median(getattr(one, field) / one.messages for one in rounds) * 1e6
            for field in ("wall_s", "python_s", "postgres_s")
        )
        ratio = median(
            (other.wall_s / other.messages) / (ours.wall_s / ours.messages)
            for ours, other in zip(base, rounds, strict=True)
        )
        print(  # noqa: T201 - as above
            f"| {name} | {1e6 / wall:,.0f} | {wall:.0f} | {python:.0f} | {postgres:.0f} | {ratio:.2f}x |"
        )
