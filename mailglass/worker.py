"""The worker: takes what is due straight from Postgres, on any number of hosts, until it is stopped."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from mailglass.app import Mailglass
from mailglass.ledger.faults import DatabaseAwayError
from mailglass.telemetry import Signal, report

_TROUBLE_WAIT_S: Final = 5.0
"""How long to wait after the database could not be reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """Attempts due messages in threads and sweeps now and then.

    It claims no more than its threads can have in flight. Several on one host or on many share
    nothing but Postgres: a claim is a compare-and-set, so each mail has one attempt at a time.
    """

    mail: Mailglass
    threads: int = 4
    poll_s: float = 1.0
    sweep_every_s: float = 5.0

    def run(self, stopped: threading.Event) -> int:
        """Work until the flag is raised, finish what is in flight, and return how many were tried.

        A database that is away for a while is waited for; nothing is lost meanwhile.
        """
        tried, swept_at = 0, float("-inf")
        running: dict[UUID, Future[None]] = {}
        with ThreadPoolExecutor(self.threads, thread_name_prefix="mailglass-worker") as pool:
            while not stopped.is_set():
                try:
                    if time.monotonic() - swept_at >= self.sweep_every_s:
                        self.mail.sweep()
                        swept_at = time.monotonic()
                    tried += self._start_due(pool, running)
                    self._collect(running, stopped)
                except DatabaseAwayError as error:
                    name = type(error).__name__
                    report(Signal.DATABASE_AWAY, level=logging.ERROR, error_type=name)
                    stopped.wait(_TROUBLE_WAIT_S)
        return tried

    def _start_due(self, pool: ThreadPoolExecutor, running: dict[UUID, Future[None]]) -> int:
        """Hand due messages to the threads that are free; return how many."""
        free = self.threads - len(running)
        due = self.mail.store.due_messages(limit=self.threads + free) if free else ()
        fresh = [(tenant_id, one) for tenant_id, one in due if one not in running][:free]
        for tenant_id, message_id in fresh:
            running[message_id] = pool.submit(self.mail.dispatch_message, tenant_id, message_id)
        return len(fresh)

    def _collect(self, running: dict[UUID, Future[None]], stopped: threading.Event) -> None:
        """Wait for an attempt to end, or for work; errors of the database pass on.

        Another error is a bug about one message: it is reported, its claim is left to the sweep, and
        the rest goes on.
        """
        if not running:
            stopped.wait(self.poll_s)
            return
        done, _waiting = wait(running.values(), self.poll_s, FIRST_COMPLETED)
        for message_id in [one for one, attempt in running.items() if attempt in done]:
            error = running.pop(message_id).exception()
            if isinstance(error, DatabaseAwayError):
                raise error
            if error is not None:
                report(
                    Signal.DISPATCH_RAISED,
                    level=logging.ERROR,
                    message_id=message_id,
                    error_type=type(error).__name__,
                )
