"""The pool: bounded, forked and closed."""

from __future__ import annotations

import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from front_desk import front_desk, note
from mailglass.errors import ConfigError
from mailglass.ledger.pool import is_cut
from mailglass.ledger.store import Store


def _backend(store: Store) -> int:
    with store.connection() as connection:
        return connection.info.backend_pid


@pytest.mark.filterwarnings(
    "ignore:This process:DeprecationWarning"
)  # said by Python 3.12 and later
def test_a_forked_child_has_connections_of_its_own(database_url: str) -> None:
    """A preforking server that used mailglass before the fork never mixes up two answers."""
    with front_desk(database_url) as mail:
        mail.deliver(note())
        before = _backend(mail.store)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            with os.fdopen(writer, "w") as told:
                told.write(f"{_backend(mail.store)} {mail.deliver(note()).state}")
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as said:
            theirs, state = said.read().split()
        assert os.waitpid(child, 0)[1] == 0
        assert int(theirs) != before
        assert state == "sent"
        assert _backend(mail.store) == before
        mail.deliver(note())


@pytest.mark.filterwarnings(
    "ignore:This process:DeprecationWarning"
)  # said by Python 3.12 and later
def test_the_threads_of_a_forked_child_share_one_new_pool(database_url: str) -> None:
    """Whoever comes first after a fork makes the pool, and nobody gets the parent's."""
    with Store(database_url, connections_max=4) as store:
        before = _backend(store)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            start = threading.Barrier(8)

            def use(_number: int) -> int:
                start.wait()
                return _backend(store)

            with ThreadPoolExecutor(8) as pool, os.fdopen(writer, "w") as told:
                told.write(" ".join(str(one) for one in pool.map(use, range(8))))
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as said:
            theirs = {int(one) for one in said.read().split()}
        assert os.waitpid(child, 0)[1] == 0
        assert 1 <= len(theirs) <= 4
        assert before not in theirs
        assert _backend(store) == before


def test_every_wait_of_a_session_has_an_end(database_url: str) -> None:
    """A lost lock or a slow statement holds nobody for ever; a commit is on disk."""
    with Store(database_url, statement_timeout_s=9) as store, store.connection() as connection:
        ends = {"statement_timeout": "9s", "lock_timeout": "3s"}
        for name, end in (ends | {"idle_in_transaction_session_timeout": "9s"}).items():
            row = connection.execute(f"show {name}".encode()).fetchone()
            assert row == {name: end}
        row = connection.execute("show synchronous_commit").fetchone()
        assert row == {"synchronous_commit": "on"}


def test_times_are_read_alike_wherever_the_server_stands(database_url: str) -> None:
    """East of Greenwich the last moment of 9999 would be in a year that Python does not have."""
    last = datetime.max.replace(tzinfo=UTC)
    with psycopg.connect(database_url, autocommit=True) as owner:
        name = sql.Identifier(owner.info.dbname)
        owner.execute(sql.SQL("alter database {} set timezone = 'Asia/Tokyo'").format(name))
    with Store(database_url) as store, store.connection() as connection:
        row = connection.execute("select %s::timestamptz as at", [last]).fetchone()
    assert row == {"at": last}


def test_the_role_is_taken_on_every_connection(database_url: str) -> None:
    """A process that logs in as somebody with more rights works with the application's."""
    with Store(database_url, role="mailglass_app") as store, store.connection() as connection:
        assert connection.execute("select current_user").fetchone() == {
            "current_user": "mailglass_app"
        }
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("delete from mailglass.messages")


def test_closing_twice_is_no_error(database_url: str) -> None:
    """A with block inside another."""
    store = Store(database_url)
    _backend(store)
    store.close()
    store.close()
    with pytest.raises(ConfigError, match="closed"):
        _backend(store)


def test_an_idle_connection_is_cut_by_its_end_and_not_by_news(database_url: str) -> None:
    """To leave a living session would tell everybody that the process lives no more."""
    with (
        psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as idle,
        psycopg.connect(database_url, autocommit=True) as other,
    ):
        assert not is_cut(idle)
        idle.execute("listen news")
        other.execute("notify news")
        assert not is_cut(idle)
        other.execute("select pg_terminate_backend(%s, 5000)", [idle.info.backend_pid])
        assert is_cut(idle)
        assert is_cut(idle)


def test_connections_that_were_cut_while_idle_are_replaced(database_url: str) -> None:
    """Postgres was restarted a moment ago: whoever comes next has nothing to repeat."""
    with Store(database_url, connections_max=3) as store:
        with ExitStack() as held:
            before = {held.enter_context(store.connection()).info.backend_pid for _ in range(3)}
        with psycopg.connect(database_url, autocommit=True) as other:
            for pid in before:
                other.execute("select pg_terminate_backend(%s, 5000)", [pid])
        for _ in range(3):
            with store.connection() as connection:
                assert connection.execute("select 1 as one").fetchone() == {"one": 1}


def test_closing_waits_for_no_server_that_does_not_answer() -> None:
    """A thread that opens the pool meanwhile is told that it is closed."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://x@127.0.0.1:{silent.getsockname()[1]}/x"
        store = Store(url, connect_timeout_s=3)
        user = threading.Thread(target=_use, args=(store,))
        user.start()
        peer, _ = silent.accept()
        with peer:
            started = time.monotonic()
            store.close()
            took_s = time.monotonic() - started
            user.join()
    assert took_s < 1


def _use(store: Store) -> None:
    with suppress(psycopg.OperationalError, ConfigError), store.connection():
        pass
