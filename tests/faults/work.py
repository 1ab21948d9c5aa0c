"""A worker of this process for the length of a block, and what a test asks of its database."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
import pytest

from mailglass import DispatchState, Mailglass
from mailglass.worker import Worker, pipeline

DEADLINE_S: Final = 30.0
TROUBLE_WAIT_S: Final = 0.05


@contextmanager
def working(mail: Mailglass, *, threads: int = 2) -> Iterator[None]:
    """Run a worker that looks again soon after trouble; at the end it must stop by itself, and well."""
    stopped, failures = threading.Event(), list[BaseException]()

    def run() -> None:
        try:
            Worker(mail=mail, threads=threads, poll_s=0.02, sweep_every_s=0.1).run(stopped)
        except BaseException as error:  # noqa: BLE001 - raised again where the test sees it
            failures.append(error)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "_TROUBLE_WAIT_S", TROUBLE_WAIT_S)
        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join(DEADLINE_S)
    assert not thread.is_alive()
    if failures:
        raise failures[0]


def until(is_so: Callable[[], bool]) -> None:
    """Look again until something is so."""
    end = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


def owner(database_url: str) -> psycopg.Connection[tuple[Any, ...]]:
    """Return a connection past mailglass, with all rights, each statement a transaction of its own."""
    return psycopg.connect(database_url, autocommit=True)


def states(database_url: str) -> Counter[DispatchState]:
    """Return how many deliveries are in which state."""
    with owner(database_url) as connection:
        found = connection.execute("select state, count(*) from mailglass.deliveries group by 1")
        return Counter({DispatchState(row[0]): row[1] for row in found})


def left_open(database_url: str) -> int:
    """Return how many sessions hold a transaction open while nothing runs in it."""
    with owner(database_url) as connection:
        row = connection.execute(
            "select count(*) from pg_stat_activity where state like 'idle in transaction%'"
            " and datname = current_database()"
        ).fetchone()
    return int(row[0]) if row else 0
