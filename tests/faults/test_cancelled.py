"""Tasks that are cancelled: what their thread began it ends, and its outcome is found by its key."""

from __future__ import annotations

import asyncio
import threading
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

import psycopg
import pytest

from front_desk import count, front_desk, note
from mailglass import DispatchState, Mailglass
from mailglass.adapters.fake import FakeAdapter
from mailglass.ledger.checking import LedgerCheck
from tests.faults.work import DEADLINE_S, left_open, states

POINTS_MAX: Final = 40
Verb: TypeAlias = Callable[[Mailglass, str], Coroutine[Any, Any, object]]
VERBS: Final[dict[str, Verb]] = {
    "adeliver": lambda mail, key: mail.adeliver(note(idempotency_key=key)),
    "adeliver_later": lambda mail, key: mail.adeliver_later(note(idempotency_key=key)),
    "adeliver_many": lambda mail, key: mail.adeliver_many([note(idempotency_key=key)]),
}


@types.coroutine
def _cancelled_at(inner: Coroutine[Any, Any, object], number: int) -> Generator[Any, Any, bool]:
    """Cancel the own task at the n-th await of a coroutine; True when it had as many."""
    steps, thrown = 0, None
    while True:
        try:
            waits_for = inner.send(None) if thrown is None else inner.throw(thrown)
        except StopIteration:
            return False
        steps += 1
        if steps == number:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        thrown = None
        try:
            yield waits_for
        except asyncio.CancelledError as error:
            thrown = error


async def _was_cancelled(work: Awaitable[bool]) -> bool:
    """Tell whether it was cancelled, rather than done; its thread is waited for by the loop's end."""

    async def run() -> bool:
        return await work

    task = asyncio.create_task(run())
    try:
        return await task
    except asyncio.CancelledError:
        return True


def _each_is_there_once(mail: Mailglass, database_url: str, fake: FakeAdapter, keys: int) -> None:
    """Ask for all of it again by its keys, send what waits, and count."""
    for number in range(keys):
        mail.deliver_later(note(idempotency_key=str(number)))
    mail.dispatch_due()
    assert states(database_url) == {DispatchState.SENT: keys}
    assert len(fake.sent) == count(database_url, "messages") == keys
    assert left_open(database_url) == 0
    assert LedgerCheck(store=mail.store).faults() == ()


@pytest.mark.parametrize("name", sorted(VERBS))
def test_a_task_cancelled_at_any_await_leaves_one_mail(name: str, database_url: str) -> None:
    """F20: at each await of the verb, and once not at all; the mail is found by its key and leaves once."""
    fake = FakeAdapter()
    with front_desk(database_url, fake, rate_limit_per_domain=None) as mail:
        for number in range(POINTS_MAX):
            work = _cancelled_at(VERBS[name](mail, str(number)), number + 1)
            if not asyncio.run(_was_cancelled(work)):
                break
        assert 0 < number < POINTS_MAX - 1
        _each_is_there_once(mail, database_url, fake, number + 1)


@contextmanager
def _at_statement(number: int, then: Callable[[], None]) -> Iterator[list[int]]:
    """Do something when this process runs its n-th statement, before it runs; yields a count of them."""
    run, execute, lock = [0], psycopg.Connection.execute, threading.Lock()

    def counted(self: psycopg.Connection[Any], *args: Any, **kwargs: Any) -> Any:
        with lock:
            run[0] += 1
            is_it = run[0] == number
        if is_it:
            then()
        return execute(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psycopg.Connection, "execute", counted)
        yield run


@pytest.mark.parametrize("name", sorted(VERBS))
def test_a_task_cancelled_before_any_statement_leaves_one_mail(
    name: str, database_url: str
) -> None:
    """F20: the thread is at its n-th statement, for every n; it goes on, and poisons no connection."""
    fake = FakeAdapter()
    with front_desk(
        database_url, fake, rate_limit_per_domain=None, database_connections_max=2
    ) as mail:
        mail.deliver_later(note(idempotency_key="0"))
        for number in range(1, POINTS_MAX):
            if not asyncio.run(_cancelled_in_thread(VERBS[name](mail, str(number)), number)):
                break
        assert 1 < number < POINTS_MAX - 1
        _each_is_there_once(mail, database_url, fake, number + 1)


async def _cancelled_in_thread(work: Coroutine[Any, Any, object], number: int) -> bool:
    """Cancel a task while its thread is about to run its n-th statement; False when it runs fewer."""
    loop, was_told = asyncio.get_running_loop(), threading.Event()
    task = loop.create_task(work)

    def cancel() -> None:
        loop.call_soon_threadsafe(task.cancel)
        assert was_told.wait(
            DEADLINE_S
        )  # the caller has its CancelledError before the statement runs

    with _at_statement(number, cancel):
        try:
            await task
        except asyncio.CancelledError:
            was_told.set()
            await loop.shutdown_default_executor()
            return True
    return False


def test_a_task_cancelled_before_its_thread_began_did_nothing(database_url: str) -> None:
    """F20: all threads are busy; nothing is queued, and asking again queues it."""
    fake, free = FakeAdapter(), threading.Event()

    async def cancel(mail: Mailglass) -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        busy = loop.run_in_executor(None, free.wait, DEADLINE_S)
        task = loop.create_task(mail.adeliver(note(idempotency_key="0")))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        free.set()
        await busy

    with front_desk(database_url, fake) as mail:
        asyncio.run(cancel(mail))
        assert (count(database_url, "messages"), len(fake.sent)) == (0, 0)
        _each_is_there_once(mail, database_url, fake, 1)
