"""Celery as the doorbell: a real worker thread on an in-memory broker, and its beat's entries."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from celery.beat import Scheduler
from celery.contrib.testing.worker import start_worker
from celery.signals import setup_logging

from front_desk import note
from mailglass import DispatchState, Mailglass
from mailglass.contrib import celery as contrib
from mailglass.contrib.celery import CeleryMail, register
from mailglass.testing import PrivateMailglass, private_mailglass


def _leave_logging_alone(**_given: object) -> None:
    """Be there: Celery sets up logging for the whole process unless somebody else does."""


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    setup_logging.connect(_leave_logging_alone)
    yield
    setup_logging.disconnect(_leave_logging_alone)


@pytest.fixture
def mailbox(database_url: str) -> Iterator[PrivateMailglass]:
    """Return a Mailglass that a worker shares."""
    with private_mailglass(database_url) as mail:
        yield mail


def _app(**given: Any) -> Celery:
    app = Celery("shop", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.update(broker_connection_retry_on_startup=True, **given)
    return app


def test_a_worker_that_hears_the_bell_sends_the_mail(database_url: str) -> None:
    """``enqueue`` puts a message on Celery's broker, and its worker sends what is in Postgres."""
    app = _app()
    opened: list[Mailglass] = []
    bell = register(app, lambda: opened[0])
    with private_mailglass(database_url, parts={"enqueue": bell.ring}) as mailbox:
        opened.append(mailbox)
        with start_worker(app, perform_ping_check=False):
            delivery = mailbox.deliver_later(note())
            mailbox.wait_for_mail(to="zoe@mail.example", timeout_s=30)
        assert _state(mailbox, delivery) is DispatchState.SENT


def _state(mail: Mailglass, delivery: Any) -> DispatchState | None:
    found = mail.delivery(delivery.id)
    return found.state if found else None


def test_the_beat_brings_what_no_bell_was_heard_for(mailbox: PrivateMailglass) -> None:
    """Every entry names a task that is there, and running them sends, sweeps and reconciles."""
    app = _app(task_always_eager=True, task_eager_propagates=True)
    register(app, lambda: mailbox)
    mailbox.deliver_later(note())
    scheduler = Scheduler(app=app, lazy=True)
    scheduler.setup_schedule()
    entries = scheduler.schedule
    assert {contrib.DISPATCH, contrib.SWEEP, contrib.RECONCILE} <= set(entries)
    for name in (contrib.SWEEP, contrib.RECONCILE, contrib.DISPATCH):
        app.tasks[entries[name].task].apply()
    mailbox.assert_mail_sent(count=1)


def test_a_full_batch_rings_for_the_rest(
    mailbox: PrivateMailglass, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that one task holds up no others, and all mail leaves."""
    monkeypatch.setattr(contrib, "MESSAGES_MAX", 2)
    app = _app()
    mail = register(app, lambda: mailbox, with_beat=False)
    for number in range(5):
        mailbox.deliver_later(note(subject=f"number {number}"))
    assert contrib.DISPATCH not in app.conf.beat_schedule
    with start_worker(app, perform_ping_check=False):
        mail.ring()
        mailbox.wait_for_mail(subject="number 4", timeout_s=30)
    mailbox.assert_mail_sent(count=5)


def test_a_broker_that_is_away_loses_no_mail(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mail is queued, whoever queued it is not held up, and the log tells."""
    app = Celery("shop", broker="amqp://127.0.0.1:1//", set_as_current=False)
    app.conf.broker_transport_options = {"max_retries": 0}
    bell = register(app, Mailglass.from_env)
    told = threading.Event()
    monkeypatch.setattr(contrib, "report", lambda *_args, **_more: told.set())
    with private_mailglass(database_url, parts={"enqueue": bell.ring}) as mailbox:
        started = time.monotonic()
        delivery = mailbox.deliver_later(note())
        assert time.monotonic() - started < 2
        assert _state(mailbox, delivery) is DispatchState.QUEUED
        assert told.wait(30)
        assert mailbox.send_queued() == 1


def test_nothing_is_opened_before_a_task_runs() -> None:
    """A worker that forks opens its own in each child."""

    def make() -> Mailglass:
        raise AssertionError("opened")

    mail = register(_app(), make)
    assert isinstance(mail, CeleryMail)
