"""Celery: its workers and its beat send mail and keep house, with Postgres as the queue all the same.

A Celery message only says that there may be something to do. Losing it, or its broker, costs time
and no mail; getting it twice does nothing, since a claim in Postgres decides who sends.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import Any, Final

from mailglass.app import Mailglass
from mailglass.contrib.holder import Holder
from mailglass.telemetry import Signal, report

DISPATCH: Final = "mailglass.dispatch"
SWEEP: Final = "mailglass.sweep"
RECONCILE: Final = "mailglass.reconcile"
DISPATCH_EVERY_S: Final = 10.0
"""How long mail waits at most that no ``ring`` was heard for, retries and scheduled mail too."""
SWEEP_EVERY_S: Final = 30.0
RECONCILE_EVERY_S: Final = 60.0
MESSAGES_MAX: Final = 100
"""What one task attempts before it makes room; it rings again for the rest."""
_EVERY_S: Final = {
    DISPATCH: DISPATCH_EVERY_S,
    SWEEP: SWEEP_EVERY_S,
    RECONCILE: RECONCILE_EVERY_S,
}
_OPTIONS: Final = {"ignore_result": True, "max_retries": 0, "shared": False}
"""Shared, a task would be one of every other Celery application of the process too."""


class _Bell:
    """Sends the task from a thread of its own, so that a broker that is away holds up nobody.

    However often it is rung meanwhile, it is heard once: the task looks for all mail that is due.
    """

    def __init__(self, send: Callable[[], object]) -> None:
        self._send = send
        self._renew()
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._lock = threading.Lock()
        self._rung = threading.Event()
        self._thread: threading.Thread | None = None

    def ring(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._tell, name="mailglass-bell", daemon=True
                )
                self._thread.start()
        self._rung.set()

    def _tell(self) -> None:
        while self._rung.wait():
            self._rung.clear()
            try:
                self._send()
            except Exception as error:  # noqa: BLE001 - whatever is down, the mail is queued and will be found
                name = type(error).__name__
                report(Signal.WAKE_UP_FAILED, level=logging.WARNING, error_type=name)


class CeleryMail:
    """The Mailglass of a Celery application: opened late, in each process that runs a task.

    ``ring`` is an ``enqueue`` for ``Mailglass(enqueue=…)``: it sends the task that looks for mail.
    """

    def __init__(self, app: Any, make: Callable[[], Mailglass]) -> None:
        self.holder = Holder(make)
        self._bell = _Bell(lambda: app.send_task(DISPATCH, retry=False))

    def ring(self, _message_ids: object = ()) -> None:
        """Ask a worker to look for mail that is due, and return at once."""
        self._bell.ring()

    def dispatch(self) -> int:
        """Attempt what is due, a hundred mails at most, and return how many were looked at."""
        tried = self.holder.get().dispatch_due(messages_max=MESSAGES_MAX)
        if tried == MESSAGES_MAX:
            self.ring()
        return tried

    def sweep(self) -> None:
        """Move what time alone decides."""
        self.holder.get().sweep()

    def reconcile(self) -> None:
        """Link what providers reported before its delivery was known, of all tenants."""
        self.holder.get().reconcile()


def register(
    app: Any, make: Callable[[], Mailglass] | None = None, *, with_beat: bool = True
) -> CeleryMail:
    """Add the tasks, and the entries of the beat, to a Celery application.

    ``make`` opens the Mailglass, from ``MAILGLASS_…`` variables where it is not given. Without
    ``with_beat`` something else has to run the three tasks now and then: mail that is tried again, or
    sent at its time, rings no bell.
    """
    mail = CeleryMail(app, make or Mailglass.from_env)
    tasks = {DISPATCH: mail.dispatch, SWEEP: mail.sweep, RECONCILE: mail.reconcile}
    for name, run in tasks.items():
        app.task(run, name=name, **_OPTIONS)
        if with_beat:
            # A task that nobody took in time is not worth running: the next one does the same.
            entry = {
                "task": name,
                "schedule": _EVERY_S[name],
                "options": {"expires": _EVERY_S[name]},
            }
            app.conf.beat_schedule[name] = entry
    return mail


__all__ = ["CeleryMail", "register"]
