"""A database that is there and in trouble: busy, slow, locked, in collisions, or taking no writes."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest

from front_desk import count, front_desk, note
from mailglass import DispatchState, Mailglass
from mailglass.adapters.fake import FakeAdapter
from mailglass.envelope import Accepted, Envelope
from mailglass.ledger.faults import REPEATS_MAX, DatabaseAwayError
from tests.faults.work import left_open, owner, states, until, working
from webhook_requests import delivered, hooked, request

MAILS = 40
SOON_S = 5.0
"""By when everything works again after the trouble is over."""


@pytest.fixture(autouse=True)
def _quiet_pool() -> Iterator[None]:
    """Silence the pool's warning about each connection that it loses: here they are meant to go."""
    logger = logging.getLogger("psycopg.pool")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(level)


def test_a_caller_of_an_exhausted_pool_is_told_in_time(database_url: str) -> None:
    """F7: all connections are lent; the call ends at the pool's timeout, and the next one works."""
    with front_desk(
        database_url, database_connections_max=2, database_connect_timeout_s=0.3
    ) as mail:
        mail.deliver_later(note(idempotency_key="warm"))
        with ExitStack() as lent:
            for _ in range(2):
                lent.enter_context(mail.store.connection())
            begun = time.monotonic()
            with pytest.raises(DatabaseAwayError):
                mail.deliver_later(note(idempotency_key="busy"))
            assert time.monotonic() - begun < SOON_S
        assert count(database_url, "messages") == 1
        assert mail.deliver(note(idempotency_key="busy")).state is DispatchState.SENT
        assert left_open(database_url) == 0


def test_a_slow_statement_ends_at_its_timeout_and_leaves_nothing(database_url: str) -> None:
    """F7: nobody waits longer than the setting says; asked again with its key it is one mail."""
    with front_desk(database_url, database_statement_timeout_s=0.2) as mail:
        with owner(database_url) as connection:
            _trigger(connection, "perform pg_sleep(30)")
            begun = time.monotonic()
            with pytest.raises(DatabaseAwayError):
                mail.deliver_later(note(idempotency_key="slow"))
            assert time.monotonic() - begun < SOON_S
            assert count(database_url, "messages") == 0
            _untrigger(connection)
        assert mail.deliver(note(idempotency_key="slow")).state is DispatchState.SENT
        assert count(database_url, "messages") == 1
        assert left_open(database_url) == 0


class _Locking(FakeAdapter):
    """A fake that locks the row of each mail from another session once it has taken the mail."""

    def __init__(self, database_url: str) -> None:
        super().__init__()
        self.session = psycopg.connect(database_url)

    def send(self, envelope: Envelope) -> Accepted:
        """Take it, and lock."""
        accepted = super().send(envelope)
        self.session.execute(
            "select from mailglass.messages where id = %s for update", [envelope.message_id]
        )
        return accepted


def test_a_lock_on_the_row_costs_no_verdict(database_url: str) -> None:
    """F7: somebody holds the mail's row while its verdict is to be written; the worker waits and writes."""
    adapter = _Locking(database_url)
    with (
        adapter.session,
        front_desk(database_url, adapter, database_statement_timeout_s=0.1) as mail,
    ):
        mail.deliver_later(note())
        with working(mail, threads=1), owner(database_url) as connection:
            until(lambda: _has_waiting(connection))
            until(lambda: not _has_waiting(connection))  # the first writing has given up
            adapter.session.rollback()
            until(lambda: states(database_url) == {DispatchState.SENT: 1})
        assert len(adapter.sent) == 1
        assert left_open(database_url) == 0


def _has_waiting(connection: psycopg.Connection[tuple[object, ...]]) -> bool:
    row = connection.execute("select count(*) from pg_locks where not granted").fetchone()
    return row != (0,)


def test_a_webhook_about_a_locked_delivery_is_asked_for_again(database_url: str) -> None:
    """F7: the provider is answered in time that it shall repeat itself, and the repetition counts once."""
    with hooked(database_url, database_statement_timeout_s=0.1) as mail:
        sent = mail.deliver(note())
        with psycopg.connect(database_url) as other:
            other.execute("select from mailglass.deliveries for update")
            begun = time.monotonic()
            first = mail.ingest("postmark", request(delivered(sent.id)))
            assert time.monotonic() - begun < SOON_S
        second = mail.ingest("postmark", request(delivered(sent.id)))
    assert (first.status, second.status, second.recorded) == (503, 200, 1)


def _trigger(connection: psycopg.Connection[tuple[object, ...]], body: str) -> None:
    """Do something at every write to messages and deliveries, with rights of its own."""
    connection.execute("create sequence if not exists trouble")
    connection.execute(
        "create or replace function trouble() returns trigger language plpgsql security definer"
        f" set search_path = public, pg_temp as $$ begin {body}; return null; end $$".encode()
    )
    for table in ("messages", "deliveries"):
        connection.execute(
            "create trigger trouble after insert or update"
            f" on mailglass.{table} execute function trouble()".encode()
        )


def _untrigger(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    connection.execute("drop function trouble() cascade")


_COLLIDING = """
    if nextval('trouble') {when} then
        raise exception 'a collision' using errcode = '{code}';
    end if"""
CODES = ("40001", "40P01")


@pytest.mark.parametrize("code", CODES)
def test_a_statement_that_collides_is_run_again(database_url: str, code: str) -> None:
    """F8: a serialization failure or a deadlock, as often as it is borne, is nobody's concern."""
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail, owner(database_url) as connection:
        _trigger(connection, _COLLIDING.format(when=f"<= {REPEATS_MAX}", code=code))
        assert mail.deliver(note()).state is DispatchState.SENT
    assert len(fake.sent) == 1
    assert count(database_url, "events") == 3


@pytest.mark.parametrize("code", CODES)
def test_a_statement_that_only_collides_is_told(database_url: str, code: str) -> None:
    """F8: three repetitions and no more, and nothing of it stays."""
    with front_desk(database_url) as mail, owner(database_url) as connection:
        _trigger(connection, _COLLIDING.format(when="> 0", code=code))
        with pytest.raises(DatabaseAwayError) as told:
            mail.deliver_later(note())
        assert told.value.sqlstate == code
        assert connection.execute("select last_value from trouble").fetchone() == (4,)
    assert count(database_url, "messages") == 0


@pytest.mark.parametrize("code", CODES)
def test_collisions_in_a_tenth_of_the_writes_double_nothing(database_url: str, code: str) -> None:
    """F8: every third of three hundred; each mail is sent once, with the three events of one that is."""
    fake = FakeAdapter()
    with (
        front_desk(database_url, fake, rate_limit_per_domain=None) as mail,
        owner(database_url) as connection,
    ):
        _trigger(connection, _COLLIDING.format(when="% 10 = 0", code=code))
        with working(mail):
            for number in range(MAILS):
                mail.deliver_later(note(idempotency_key=str(number)))
            until(lambda: states(database_url) == {DispatchState.SENT: MAILS})
    assert len(fake.sent) == MAILS
    assert count(database_url, "events") == 3 * MAILS


def test_a_stricter_isolation_of_the_database_loses_nothing(database_url: str) -> None:
    """F8: real collisions, where the host has set ``repeatable read`` for all its transactions."""
    fake = FakeAdapter()
    with owner(database_url) as connection:
        connection.execute(
            "do $$ begin execute format('alter database %I set default_transaction_isolation to"
            " ''repeatable read''', current_database()); end $$"
        )
    with front_desk(database_url, fake, rate_limit_per_domain=None) as mail:
        with working(mail, threads=4), working(mail, threads=4):
            mail.deliver_many([note() for _ in range(3 * MAILS)])
            until(lambda: states(database_url) == {DispatchState.SENT: 3 * MAILS})
    assert len(fake.sent) == 3 * MAILS


def _set_read_only(database_url: str, *, is_on: bool) -> None:
    """Let the database take no writes, or take them again, and end all its sessions."""
    change = "set default_transaction_read_only to on" if is_on else "reset all"
    with psycopg.connect(
        database_url, autocommit=True, options="-c default_transaction_read_only=off"
    ) as connection:
        connection.execute(
            f"do $$ begin execute format('alter database %I {change}', current_database()); end $$".encode()
        )
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )


def _is_told(mail: Mailglass, key: str) -> bool:
    try:
        mail.deliver_later(note(idempotency_key=key))
    except DatabaseAwayError:
        return True
    return False


def test_a_database_that_takes_no_writes_is_waited_for(database_url: str) -> None:
    """F11: callers are told, webhooks are asked for again, workers wait; then all goes on."""
    fake = FakeAdapter()
    with hooked(database_url, adapter=fake, rate_limit_per_domain=None) as mail:
        first = mail.deliver(note())
        with working(mail):
            _set_read_only(database_url, is_on=True)
            told = [str(number) for number in range(10) if _is_told(mail, str(number))]
            assert len(told) == 10
            assert mail.ingest("postmark", request(delivered(first.id))).status == 503
            _set_read_only(database_url, is_on=False)
            until(lambda: not any(_is_told(mail, key) for key in told))
            until(lambda: states(database_url) == {DispatchState.SENT: 11})
        assert mail.ingest("postmark", request(delivered(first.id))).recorded == 1
    assert len(fake.sent) == 11
