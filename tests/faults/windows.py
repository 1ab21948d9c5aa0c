"""Processes that kill themselves at a named point: each crash window of a delivery, W0 to W10.

W9, a doorbell that was heard and not acknowledged, is missing: Postgres' own bell knows no such thing.

A child of this nursery whose plan names a window does one thing and dies there; one whose plan names none
is an ordinary worker.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from enum import StrEnum, unique
from typing import Any, Final

from mailglass.app import Mailglass
from mailglass.envelope import Accepted, Envelope
from mailglass.message import Message, OnUnknown
from mailglass.worker import Worker
from tests.faults.nursery import WorkerPlan, desk, serve, short_waits, work


@unique
class Window(StrEnum):
    """Where a process dies; ``pause`` is where it stops until it is woken."""

    BEFORE_COMMIT = "W0"
    AFTER_COMMIT = "W1"
    BEFORE_DOORBELL = "W2"
    BEFORE_CLAIM = "W3"
    AFTER_CLAIM = "W4"
    HALF_SENT = "W5"
    SENT_UNREAD = "W6"
    READ_UNWRITTEN = "W7"
    WRITTEN_UNHEARD = "W8"
    PAUSE = "W10"


INTAKE: Final = frozenset({Window.BEFORE_COMMIT, Window.AFTER_COMMIT, Window.BEFORE_DOORBELL})


def the_mail(window: str, on_unknown: str) -> Message:
    """Return the mail of a window; its key finds it again."""
    return Message(
        sender="orders@shop.example",
        to=f"{window}@mail.example",
        subject="Your order",
        text=window,
        on_unknown=OnUnknown(on_unknown),
        idempotency_key=window,
    )


def die(*_args: object, **_kwargs: object) -> Any:
    """End this process as kill -9 does."""
    os.kill(os.getpid(), signal.SIGKILL)


def _dying_after(method: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        found = method(*args, **kwargs)
        return die() if found else found

    return wrapped


def _bytes_then_death(plan: WorkerPlan, part: float) -> Callable[[Envelope], Accepted]:
    def send(envelope: Envelope) -> Accepted:
        ids = ", ".join(f'"{one.delivery_id}"' for one in envelope.recipients)
        line = (
            f'{{"verb": "send", "key": "{envelope.idempotency_key}", "ids": [{ids}],'
            f' "sha256": "", "token": {envelope.token}}}\n'
        ).encode()
        with socket.socket(socket.AF_UNIX) as open_line:
            open_line.connect(plan.sink)
            open_line.sendall(line[: int(len(line) * part)])
            found: Accepted = die()
        return found

    return send


def _pausing(send: Callable[[Envelope], Accepted]) -> Callable[[Envelope], Accepted]:
    def late(envelope: Envelope) -> Accepted:
        os.kill(os.getpid(), signal.SIGSTOP)
        return send(envelope)

    return late


def arm(mail: Mailglass, plan: WorkerPlan) -> None:
    """Set the point at which this process ends."""
    store, adapter = mail.store, mail._adapters["default"]
    points: Mapping[Window, tuple[object, str, Callable[..., Any]]] = {
        Window.BEFORE_COMMIT: (store, "queue_message", die),
        Window.AFTER_COMMIT: (store, "queue_message", _dying_after(store.queue_message)),
        Window.BEFORE_DOORBELL: (mail, "_enqueue", die),
        Window.BEFORE_CLAIM: (store, "claim_due", die),
        Window.AFTER_CLAIM: (store, "claim_due", _dying_after(store.claim_due)),
        Window.HALF_SENT: (adapter, "send", _bytes_then_death(plan, 0.5)),
        Window.SENT_UNREAD: (adapter, "send", _bytes_then_death(plan, 1.0)),
        Window.READ_UNWRITTEN: (adapter, "send", _dying_after(adapter.send)),
        Window.WRITTEN_UNHEARD: (
            store, "finalize_attempts", _dying_after(store.finalize_attempts),
        ),
        Window.PAUSE: (adapter, "send", _pausing(adapter.send)),
    }  # fmt: skip
    place, name, instead = points[Window(plan.crash_at or "")]
    setattr(place, name, instead)


def job(plan: WorkerPlan) -> None:
    """Do what leads to the window, and die in it; without one, work."""
    if plan.crash_at is None:
        work(plan)
        return
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    with short_waits(plan), desk(plan) as mail:
        arm(mail, plan)
        if Window(plan.crash_at) in INTAKE:
            mail.deliver_later(the_mail(plan.crash_at, plan.on_unknown))
        else:
            Worker(mail=mail, threads=1, poll_s=0.05, sweep_every_s=3600.0).run(stopped)


if __name__ == "__main__":
    serve(job)
