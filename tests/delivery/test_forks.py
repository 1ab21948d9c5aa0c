"""A forked child, as a server has it that loads its application first: it works whatever its parent did."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import psycopg
import pytest

from front_desk import front_desk, note
from mailglass import Mailglass
from mailglass.forks import ProcessLock
from mailglass.ledger import doorbell
from mailglass.ledger.sql import query

pytestmark = pytest.mark.filterwarnings(
    "ignore:This process:DeprecationWarning"
)  # said by Python 3.12 and later
CHILD_S_MAX = 8
"""After so long a child that waits for ever is ended by its alarm."""
HEARD_S_MAX = 5.0

LOCKS: dict[str, Callable[[Mailglass], AbstractContextManager[None]]] = {
    "breakers": lambda mail: mail.router.breakers._lock,
    "switch": lambda mail: mail.dispatcher.switch._lock,
    "owner": lambda mail: mail.store._owner._lock,
    "pool": lambda mail: mail.store._pool._lock,
    "doorbell": lambda mail: mail.store._doorbell._lock,
}


def _status_of_child(act: Callable[[], object]) -> int:
    """Fork, act in the child and return how it ended: 0 when it did all of it."""
    child = os.fork()
    if child == 0:
        signal.alarm(CHILD_S_MAX)
        try:
            act()
        except BaseException:  # noqa: BLE001 - the child tells by its exit alone
            os._exit(3)
        os._exit(0)
    return os.waitpid(child, 0)[1]


@contextmanager
def _held_by_a_thread(lock: AbstractContextManager[None]) -> Iterator[None]:
    """Let another thread hold a lock, as one does that reads something at that moment."""
    taken, over = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            taken.set()
            over.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("name", LOCKS)
def test_a_forked_child_waits_for_no_thread_of_its_parent(database_url: str, name: str) -> None:
    """A thread of the parent held a lock at the fork, and is not there to let it go."""
    with front_desk(database_url) as mail:
        mail.deliver(note())
        mail.router.breakers._read_at = mail.dispatcher.switch._read_at = float("-inf")

        def use() -> None:
            mail.deliver(note())
            mail.store.ring()

        with _held_by_a_thread(LOCKS[name](mail)):
            status = _status_of_child(use)
        assert status == 0
        mail.deliver(note())


def test_a_lock_stays_held_in_the_parent() -> None:
    """The child begins anew; whoever waits in the parent still waits."""
    lock = ProcessLock()
    with _held_by_a_thread(lock):
        assert _status_of_child(lock.__enter__) == 0
        assert lock._lock.locked()
    assert not lock._lock.locked()


def test_a_forked_child_rings_though_a_ring_was_due_in_its_parent(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two mails close to each other, then a fork: the thread that was to ring is not there."""
    monkeypatch.setattr(doorbell, "_QUIET_S", 60.0)
    with front_desk(database_url) as mail, psycopg.connect(database_url, autocommit=True) as heard:
        heard.execute(query("listen"))
        mail.store.ring()
        assert len(list(heard.notifies(timeout=HEARD_S_MAX, stop_after=1))) == 1
        mail.store.ring()
        assert _status_of_child(mail.store.ring) == 0
        for one in threading.enumerate():
            if isinstance(one, threading.Timer):
                one.cancel()
        assert len(list(heard.notifies(timeout=HEARD_S_MAX, stop_after=1))) == 1


def test_whoever_forks_while_it_holds_a_lock_leaves_it_in_the_child() -> None:
    """As a thread's own lock lets it, for which a fork changes nothing."""
    lock, here = ProcessLock(), os.getpid()
    child = -1
    try:
        with lock:
            child = os.fork()
        with lock:
            pass
    finally:
        if os.getpid() != here:
            os._exit(3 if sys.exc_info()[0] else 0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
