"""Processes: workers forked before anything is opened, replaced when they die, ended together."""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection
from multiprocessing.context import ForkProcess
from typing import Final, TypeAlias

from mailglass.telemetry import Signal, report

MISUSED: Final = 2
"""The exit code of a process that another start would not help."""
STOP_S: Final = 660.0
"""How long processes may take to end: ten minutes for SMTP's final dot (RFC 5321 §4.5.3.2.6), and one."""

_LOOK_S: Final = 0.2
_QUICK_S: Final = 10.0
"""Who dies younger than this counts as dying at once."""
_QUICK_DEATHS_MAX: Final = 5
_RESTART_S: Final = 0.5
"""How long to wait before another is started; it doubles with each that dies at once."""
_RESTART_S_MAX: Final = 8.0

Body: TypeAlias = Callable[[threading.Event], int]
"""What a process does until the flag is raised; it returns the exit code."""


@dataclass(frozen=True, slots=True)
class Crew:
    """Processes that do the same or stand beside one another; the caller's signals raise the flag.

    The parent forks while nothing is open yet, does no work of its own, and outlives its children. A
    child whose parent was killed ends by itself.
    """

    bodies: Sequence[Body]
    stopped: threading.Event
    is_restarted_when_done: bool = True
    stop_s: float = STOP_S

    def run(self) -> int:
        """Work until the flag is raised or, unless restarted, all are done; return 0, or 1 if one failed.

        It gives up, with 1, when processes keep dying as soon as they begin.
        """
        return _Running(crew=self).run()


@dataclass(slots=True, kw_only=True)
class _Running:
    crew: Crew
    alive: dict[ForkProcess, tuple[Body, float]] = field(default_factory=dict)
    """Each process with what it does and when it began."""
    waiting: list[tuple[float, Body]] = field(default_factory=list)
    """What is to be started, and when."""
    quick_deaths: int = 0
    has_failed: bool = False

    def run(self) -> int:
        for body in self.crew.bodies:
            self._start(body)
        try:
            while (self.alive or self.waiting) and not self._is_ending():
                self._start_due()
                for process in self._ended(_LOOK_S):
                    self._replace(process)
        finally:
            self._end()
        return int(self.has_failed)

    def _is_ending(self) -> bool:
        return self.crew.stopped.is_set() or self.quick_deaths >= _QUICK_DEATHS_MAX

    def _start(self, body: Body) -> None:
        process = multiprocessing.get_context("fork").Process(
            target=_child, args=(body, self.crew.stopped, os.getpid()), daemon=False
        )
        process.start()
        self.alive[process] = (body, time.monotonic())

    def _start_due(self) -> None:
        due = [body for at, body in self.waiting if at <= time.monotonic()]
        self.waiting = [one for one in self.waiting if one[0] > time.monotonic()]
        for body in due:
            self._start(body)

    def _ended(self, wait_s: float) -> list[ForkProcess]:
        """Wait for processes to end, and return those that have."""
        connection.wait([one.sentinel for one in self.alive], timeout=wait_s)
        if not self.alive:
            time.sleep(wait_s)
        ended = [one for one in self.alive if not one.is_alive()]
        for one in ended:
            one.join()
        return ended

    def _replace(self, process: ForkProcess) -> None:
        """Plan another process in the place of one that has ended."""
        body, began_at = self.alive.pop(process)
        code = process.exitcode
        if code == 0 and not self.crew.is_restarted_when_done:
            return
        report(Signal.PROCESS_DIED, level=logging.ERROR, state=str(code))
        is_quick = time.monotonic() - began_at < _QUICK_S
        self.quick_deaths = self.quick_deaths + 1 if is_quick else 0
        if code == MISUSED:
            self.quick_deaths = _QUICK_DEATHS_MAX
        self.has_failed = self._is_ending()
        wait_s = min(_RESTART_S_MAX, _RESTART_S * 2.0**self.quick_deaths)
        self.waiting.append((time.monotonic() + wait_s, body))

    def _end(self) -> None:
        """Ask all to end, wait for them, and kill what does not."""
        self.waiting.clear()
        for process in self.alive:
            process.terminate()
        end = time.monotonic() + self.crew.stop_s
        for process in self.alive:
            process.join(max(0.0, end - time.monotonic()))
            if process.exitcode is None:
                process.kill()
                process.join()
            self.has_failed |= process.exitcode != 0


def _child(body: Body, stopped: threading.Event, parent_id: int) -> None:
    """Work in the forked process; the flag and the handlers of signals came with the fork."""
    threading.Thread(target=_stop_with, args=(parent_id, stopped), daemon=True).start()
    raise SystemExit(body(stopped))


def _stop_with(parent_id: int, stopped: threading.Event) -> None:
    while not stopped.wait(_LOOK_S):
        if os.getppid() != parent_id:
            stopped.set()
