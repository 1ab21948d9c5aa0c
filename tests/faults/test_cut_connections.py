"""Connections that break: at every statement of every verb, and inside a COMMIT."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final, TypeAlias

import psycopg
import pytest

from front_desk import front_desk, note
from mailglass import Delivery, DispatchState, EventType, Mailglass, MailglassError, Report
from mailglass.adapters.fake import FakeAdapter
from mailglass.ledger.checking import LedgerCheck
from mailglass.worker import pipeline
from tests.faults.wire import Fuse, Proxy, fuse, proxied

STATEMENTS_MAX: Final = 40
WORKER_CUTS: Final = 14
CUTS: Final = 20
DECIDE_S_MAX: Final = 10.0
EARLIER: Final = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
Verb: TypeAlias = Callable[[Mailglass, str, Delivery], object]


@pytest.fixture(autouse=True)
def _quiet_pool() -> Iterator[None]:
    """Silence the pool's warning about each connection that it loses: here they are meant to go."""
    logger = logging.getLogger("psycopg.pool")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(level)


def _asked(mail: Mailglass, key: str) -> Delivery:
    return mail.deliver_later(note(idempotency_key=key))


def _reported(mail: Mailglass, key: str, delivery: Delivery) -> None:
    mail.record(
        Report(
            delivery_id=delivery.id,
            provider="fake",
            type=EventType.DELIVERED,
            key=key,
            occurred_at=EARLIER,
        )
    )


def _sent_and_reported(mail: Mailglass, key: str, delivery: Delivery) -> None:
    if mail.dispatch(delivery.id).state is DispatchState.SENT:  # no provider reports on any other
        _reported(mail, key, delivery)


def _swept(mail: Mailglass, _key: str, delivery: Delivery) -> None:
    mail.dispatcher.claim(delivery.tenant_id, delivery.message_id)
    mail.sweep()


VERBS: Final[dict[str, Verb]] = {
    "deliver": lambda mail, key, _one: mail.deliver(note(idempotency_key=key)),
    "deliver_later": lambda mail, key, _one: _asked(mail, key),
    "deliver_many": lambda mail, key, _one: mail.deliver_many([note(idempotency_key=key)]),
    "dispatch": lambda mail, _key, one: mail.dispatch(one.id),
    "hold": lambda mail, _key, one: mail.outbox.hold(one.id, actor="zoe"),
    "sweep": _swept,
    "record": _sent_and_reported,
}


def _recover(mail: Mailglass, database_url: str) -> None:
    """Do what workers do in time: sweep, and attempt what is due."""
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("update mailglass.messages set lease_until = now() where state = 'sending'")
        owner.execute(
            "update mailglass.messages set held = false, run_at = least(run_at, now()) where state = 'queued'"
        )
    for _ in range(2):
        mail.sweep()
        mail.dispatch_due()


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", sorted(VERBS))
def test_a_connection_cut_at_any_statement_loses_and_doubles_nothing(
    name: str, *, is_after: bool, database_url: str
) -> None:
    """F21: the n-th statement of a verb fails, for every n; the caller asks again with its key."""
    fake = FakeAdapter(honours_idempotency_key=True)
    with front_desk(database_url, fake) as mail, fuse(is_after=is_after) as breaker:
        for number in range(1, STATEMENTS_MAX):
            key = f"{name}-{number}"
            one = _asked(mail, f"{key}-waiting")
            breaker.left = number
            try:
                VERBS[name](mail, key, one)
            except (psycopg.OperationalError, MailglassError):
                assert breaker.has_blown
            is_over = not breaker.has_blown
            breaker.left = 0
            _recover(mail, database_url)
            first, again = _asked(mail, key), _asked(mail, key)
            _reported(mail, key, one)
            _reported(mail, key, one)
            assert first.id == again.id
            if is_over:
                break
        assert is_over
        assert number > 1
        _recover(mail, database_url)
        with psycopg.connect(database_url, autocommit=True) as owner:
            states = owner.execute("select distinct state from mailglass.deliveries").fetchall()
            mails = owner.execute("select count(*) from mailglass.messages").fetchone()
            reports = owner.execute(
                "select count(*) from mailglass.events where type = 'delivered'"
            ).fetchone()
            left_open = owner.execute(
                "select pid from pg_stat_activity where state like 'idle in transaction%'"
            ).fetchall()
        assert states == [("sent",)]
        assert mails == (2 * number,)
        assert reports == (number,)
        assert left_open == []
        assert len(fake.sent) == 2 * number
        assert LedgerCheck(store=mail.store).faults() == ()


def test_a_worker_outlives_a_cut_at_any_statement(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F21: the n-th statement of a worker that claims, sends, writes, sweeps and listens."""
    monkeypatch.setattr(pipeline, "_TROUBLE_WAIT_S", 0.0)
    fake = FakeAdapter(honours_idempotency_key=True)
    with front_desk(database_url, fake) as mail, fuse(is_after=True) as breaker:
        asked = [_asked(mail, str(number)) for number in range(WORKER_CUTS)]
        for number in range(1, WORKER_CUTS + 1):
            breaker.left = number
            worker = pipeline.Worker(mail=mail, threads=1, poll_s=0.02, sweep_every_s=0.02)
            worker.run(_Blown(breaker))
            breaker.left = 0
            _recover(mail, database_url)
        states = {found.state for one in asked if (found := mail.delivery(one.id))}
        assert states == {DispatchState.SENT}
        assert len(fake.sent) == WORKER_CUTS
        assert LedgerCheck(store=mail.store).faults() == ()


class _Blown(threading.Event):
    """A flag that is up as soon as a fuse has blown."""

    def __init__(self, breaker: Fuse) -> None:
        super().__init__()
        self._breaker = breaker
        self._deadline = time.monotonic() + DECIDE_S_MAX

    def is_set(self) -> bool:
        """Look at the fuse; a worker that runs no statements any more is stopped too."""
        return self._breaker.has_blown or time.monotonic() > self._deadline

    def wait(self, timeout: float | None = None) -> bool:
        """Wait a moment."""
        time.sleep(min(timeout or 0.01, 0.01))
        return self.is_set()


@pytest.fixture
def proxy(database_url: str) -> Iterator[Proxy]:
    """Return a proxy before the test's database."""
    with proxied(database_url) as made:
        yield made


@pytest.mark.parametrize("way", ["to_server", "to_client"])
def test_mail_that_was_asked_for_on_a_breaking_wire_is_there_once(
    way: str, database_url: str, proxy: Proxy
) -> None:
    """F6, W1: cut at a byte of the question or of the answer; asked again with its key, it is one mail."""
    outcomes = set()
    for number in range(CUTS):
        proxy.arm()
        with front_desk(proxy.url) as mail:
            _asked(mail, f"{way}-warm-{number}")
            proxy.arm(**{way: number * (160 if way == "to_server" else 12)})
            try:
                _asked(mail, f"{way}-{number}")
            except psycopg.OperationalError:
                outcomes.add("told to ask again")
            else:
                outcomes.add("answered")
    with front_desk(database_url) as mail:
        for number in range(CUTS):
            assert _asked(mail, f"{way}-{number}").id == _asked(mail, f"{way}-{number}").id
        assert LedgerCheck(store=mail.store).faults() == ()
    with psycopg.connect(database_url) as owner:
        row = owner.execute("select count(*) from mailglass.messages").fetchone()
    assert row == (2 * CUTS,)
    assert "told to ask again" in outcomes


def test_a_cut_commit_of_the_callers_own_can_be_decided(database_url: str, proxy: Proxy) -> None:
    """G4: ``pg_xact_status`` tells the truth about a COMMIT whose answer never came."""
    truths = set()
    with front_desk(database_url) as mail, psycopg.connect(database_url, autocommit=True) as sure:
        for number in range(CUTS):
            prepared = mail.prepare(note())
            proxy.arm()
            with psycopg.connect(proxy.url) as wire:
                wire.execute(prepared.statement.encode(), prepared.parameters)
                row = wire.execute("select pg_current_xact_id()::text").fetchone()
                assert row is not None
                # The COMMIT is lost on its way there, or its answer on its way back.
                proxy.arm(to_server=number % 12) if number % 2 else proxy.arm(to_client=number % 12)
                with pytest.raises(psycopg.OperationalError):
                    wire.commit()
                wire.close()
            was_committed = _decided(sure, row[0])
            assert (mail.delivery(prepared.delivery_ids[0]) is not None) is was_committed
            truths.add(was_committed)
    assert truths == {True, False}


def _decided(sure: psycopg.Connection[tuple[object, ...]], xid: str) -> bool:
    """Ask until the transaction is over."""
    deadline = time.monotonic() + DECIDE_S_MAX
    while time.monotonic() < deadline:
        row = sure.execute("select pg_xact_status(%s::xid8)", [xid]).fetchone()
        if row in {("committed",), ("aborted",)}:
            return row == ("committed",)
    raise AssertionError(f"{xid} is not decided")
