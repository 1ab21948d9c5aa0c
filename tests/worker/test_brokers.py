"""Brokers: doorbells that may be lost, doubled or down, while each mail leaves once."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from uuid import UUID

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import MiddlewareError

from front_desk import front_desk, note
from mailglass import ConfigError, DispatchState, Mailglass, Stream, tenant
from mailglass.adapters.fake import FakeAdapter, FakeMode
from mailglass.envelope import Accepted, Envelope
from mailglass.errors import ConfigErrorType
from mailglass.settings import Settings, load_settings
from mailglass.worker import BrokerWake, Worker, wake_from
from mailglass.worker.brokers import ACTOR, BATCH_MAX, QUEUE, broker_from, notices
from mailglass.worker.serving import Serving, register

DEADLINE_S = 30.0
DAY_S = 86_400.0


class Telling(FakeAdapter):
    """A fake that tells of each arrival."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived = threading.Semaphore(0)

    def send(self, envelope: Envelope) -> Accepted:
        """Send and tell."""
        try:
            return super().send(envelope)
        finally:
            self.arrived.release()

    def wait(self, mails: int) -> None:
        """Wait for a number of arrivals."""
        for _ in range(mails):
            assert self.arrived.acquire(timeout=DEADLINE_S)


@contextmanager
def _hearing(
    mail: Mailglass, broker: dramatiq.Broker, *, is_alone: bool = False
) -> Iterator[Serving]:
    """Run a dramatiq worker of this process on the broker; alone, its pipeline takes no mail."""
    streams = () if is_alone else tuple(Stream)
    serving = Serving(lambda: mail, closes_mail=False, streams=streams, poll_s=0.01)
    register(broker, serving)
    worker = dramatiq.Worker(broker, worker_threads=4, worker_timeout=20)
    worker.start()
    try:
        yield serving
    finally:
        worker.stop()


@contextmanager
def _waking(database_url: str, fake: FakeAdapter, broker_url: str) -> Iterator[Mailglass]:
    """Yield a front desk whose mail is told of through the named broker."""
    wake = BrokerWake(load_settings(broker_url=broker_url))
    with front_desk(database_url, fake, enqueue=wake) as mail:
        wake.bind(mail)
        try:
            yield mail
        finally:
            wake.close()


def _stub() -> StubBroker:
    broker = broker_from(load_settings(broker_url="stub://"))
    assert isinstance(broker, StubBroker)
    return broker


def _closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def _states(mail: Mailglass) -> set[DispatchState]:
    return {one.state for one in mail.store.list_deliveries(tenant_id=None, limit=500)}


def _until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < end


def test_a_broker_message_holds_ids_and_the_tenant_alone() -> None:
    """No address goes through a broker; many ids go in several messages, in order."""
    ids = [UUID(int=number) for number in range(BATCH_MAX + 1)]
    first, second = [json.loads(one.encode()) for one in notices("shop", ids)]
    assert first["args"] == ["shop", [str(one) for one in ids[:BATCH_MAX]]]
    assert second["args"] == ["shop", [str(ids[-1])]]
    assert (first["kwargs"], first["options"]) == ({}, {})
    assert (first["queue_name"], first["actor_name"]) == (QUEUE, ACTOR)


def test_importing_the_worker_loads_no_dramatiq() -> None:
    """Who has no broker pays for none, whether dramatiq is there or not."""
    shown = subprocess.run(
        [sys.executable, "-c", "import mailglass.worker, sys; print(*sys.modules)"],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    assert {"dramatiq", "redis", "pika", "prometheus_client"}.isdisjoint(shown.split())


def test_mail_leaves_through_threads_of_this_process(database_url: str) -> None:
    """``stub://``: nothing to install beside dramatiq, and nothing to start."""
    fake = Telling()
    with _waking(database_url, fake, "stub://") as mail:
        for _ in range(3):
            mail.deliver_later(note())
        with tenant("other"):
            mail.deliver_many([note() for _ in range(45)])
        fake.wait(48)
        _until(lambda: _states(mail) == {DispatchState.SENT})
    assert len(fake.sent) == 48


def test_the_actor_alone_sends_what_it_is_told(database_url: str) -> None:
    """With a pipeline that takes nothing, the doorbell is enough."""
    fake, broker = Telling(), _stub()
    with front_desk(database_url, fake, enqueue=lambda _ids: None) as mail:
        with _hearing(mail, broker, is_alone=True):
            ids = [mail.deliver_later(note()).message_id for _ in range(25)]
            for notice in notices("default", ids):
                broker.enqueue(notice)
            fake.wait(25)
            broker.join(QUEUE)
        assert _states(mail) == {DispatchState.SENT}
    assert len(fake.sent) == 25


def test_a_message_that_comes_ten_times_sends_each_mail_once(database_url: str) -> None:
    """A broker may deliver again; the claim decides, whichever thread asks."""
    fake, broker = Telling(), _stub()
    with front_desk(database_url, fake, enqueue=lambda _ids: None) as mail:
        ids = [mail.deliver_later(note()).message_id for _ in range(12)]
        for _ in range(10):
            for notice in notices("default", ids):
                broker.enqueue(notice)
        with _hearing(mail, broker):
            broker.join(QUEUE)
            _until(lambda: _states(mail) == {DispatchState.SENT})
        assert mail.store.broken_chains() == ()
    assert len(fake.sent) == 12


def test_a_flushed_broker_loses_no_mail(database_url: str) -> None:
    """What nobody tells of any more is found in Postgres."""
    fake, broker = Telling(), _stub()
    with front_desk(database_url, fake, enqueue=lambda _ids: None) as mail:
        ids = [mail.deliver_later(note()).message_id for _ in range(5)]
        for notice in notices("default", ids):
            broker.enqueue(notice)
        broker.flush_all()
        with _hearing(mail, broker):
            fake.wait(5)
    assert len(fake.sent) == 5


def test_what_is_to_be_tried_again_needs_no_broker(database_url: str) -> None:
    """One retry layer: Postgres has the time of the next attempt, the pipeline beside keeps it."""
    fake, broker = Telling(), _stub()
    fake.next(FakeMode.REJECT_TEMPORARY)
    with front_desk(database_url, fake, enqueue=lambda _ids: None) as mail:
        with _hearing(mail, broker):
            told = mail.deliver_later(note())
            for notice in notices("default", [told.message_id]):
                broker.enqueue(notice)
            fake.wait(2)
            _until(lambda: _states(mail) == {DispatchState.SENT})
        assert broker.dead_letters == []


def test_a_broker_that_is_down_costs_the_sender_nothing(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """W2: the mail is queued at once, and Postgres' own doorbell wakes the worker."""
    fake = Telling()
    with _waking(database_url, fake, f"redis://127.0.0.1:{_closed_port()}/0") as mail:
        stopped = threading.Event()
        worker = threading.Thread(
            target=Worker(mail=mail, poll_s=DAY_S, sweep_every_s=DAY_S).run, args=(stopped,)
        )
        worker.start()
        for _ in range(3):
            mail.deliver_later(note())
            fake.wait(1)
        stopped.set()
        mail.store.ring()
        worker.join(DEADLINE_S)
    assert len(fake.sent) == 3
    assert caplog.text.count("message.wake_up_failed") == 1  # then it is left alone for a while


class _Listening:
    """A server that speaks enough of Redis' protocol (RESP) to be told something, and keeps it."""

    def __init__(self) -> None:
        self.heard = b""
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._server.getsockname()[1]}/0"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                made, _ = self._server.accept()
            except OSError:  # closed: the test is over
                return
            threading.Thread(target=self._answer, args=(made,), daemon=True).start()

    def _answer(self, made: socket.socket) -> None:
        with made:
            lines = made.makefile("rb")
            while head := lines.readline():
                words = [self._word(lines) for _ in range(int(head[1:]))]
                self.heard += b" ".join(words) + b"\n"
                is_hello = words[0].upper() == b"HELLO"
                made.sendall(b"%1\r\n+proto\r\n:3\r\n" if is_hello else b":1000\r\n")

    @staticmethod
    def _word(lines: BufferedReader) -> bytes:
        size = int(lines.readline()[1:])
        return lines.read(size + 2)[:size]

    def close(self) -> None:
        """Accept nobody any more."""
        self._server.close()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # from Python 3.12 on
def test_what_goes_over_the_wire_holds_no_word_of_the_mail(database_url: str) -> None:
    """Ids, the tenant and dramatiq's own fields; a forked child tells over a connection of its own."""
    server = _Listening()
    with _waking(database_url, FakeAdapter(), server.url) as mail, tenant("shop"):
        told = mail.deliver_later(
            note(
                to="canary@mail.example", subject="canary", text="canary", sender="canary@s.example"
            )
        )
        _until(lambda: str(told.message_id).encode() in server.heard)
        child = os.fork()
        if child == 0:
            mail.deliver_later(note(subject="canary"))
            mail._enqueue.close()  # type: ignore[attr-defined]  # the wake-up that the test gave it
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        ids = [str(one.message_id) for one in mail.store.list_deliveries(tenant_id="shop")]
        _until(lambda: all(one.encode() in server.heard for one in ids))
    server.close()
    assert len(ids) == 2
    assert b'"args":["shop",["' in server.heard
    assert b"canary" not in server.heard
    assert b"example" not in server.heard


def test_a_broker_that_hangs_holds_up_nobody(database_url: str) -> None:
    """It accepts the connection and never answers: the call returns all the same."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        url = f"redis://127.0.0.1:{deaf.getsockname()[1]}/0"
        with _waking(database_url, FakeAdapter(), url) as mail:
            begun = time.monotonic()
            for _ in range(5):
                mail.deliver_later(note())
            assert time.monotonic() - begun < 2.0
            assert _states(mail) == {DispatchState.QUEUED}


def test_a_stopped_worker_begins_nothing_new(database_url: str) -> None:
    """The rest of a batch stays queued, for whoever comes next."""
    fake, broker = Telling(), _stub()
    with front_desk(database_url, fake, enqueue=lambda _ids: None) as mail:
        told = mail.deliver_later(note())
        with _hearing(mail, broker, is_alone=True) as serving:
            pass
        serving.attempt("default", [str(told.message_id)])
        assert _states(mail) == {DispatchState.QUEUED}


class Slow(Telling):
    """A fake that has arrived and is not done until it may be."""

    def __init__(self) -> None:
        super().__init__()
        self.may_end = threading.Event()

    def send(self, envelope: Envelope) -> Accepted:
        """Tell, wait, send."""
        self.arrived.release()
        assert self.may_end.wait(DEADLINE_S)
        return FakeAdapter.send(self, envelope)


def test_a_stopped_worker_finishes_what_is_in_flight(database_url: str) -> None:
    """A deploy cuts no attempt in the middle, and the rest of the batch is left alone."""
    fake = Slow()
    broker = _stub()
    with front_desk(database_url, fake, enqueue=lambda _ids: None) as mail:
        ids = [mail.deliver_later(note()).message_id for _ in range(3)]
        with _hearing(mail, broker, is_alone=True) as serving:
            for notice in notices("default", ids):
                broker.enqueue(notice)
            fake.wait(1)
            ending = threading.Thread(target=serving.finish)
            ending.start()
            assert serving.tried == 0
            ending.join(1.0)  # the pipeline beside, which has nothing to do, has long ended by then
            assert ending.is_alive()
            fake.may_end.set()
            ending.join(DEADLINE_S)
            assert serving.tried == 1
        states = [one.state for one in mail.store.list_deliveries(tenant_id=None)]
    assert sorted(states) == [DispatchState.QUEUED, DispatchState.QUEUED, DispatchState.SENT]


def test_what_makes_no_sense_is_reported_and_passed_over(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever else writes to the queue neither stops the worker nor sends anything."""
    fake, broker = Telling(), _stub()
    with front_desk(database_url, fake, enqueue=lambda _ids: None) as mail:
        told = mail.deliver_later(note())
        with _hearing(mail, broker, is_alone=True):
            for args in (("default", ["no-id-canary"]), ("", [str(told.message_id)]),
                         ("other", [str(told.message_id)])):  # fmt: skip
                broker.enqueue(dramatiq.Message(QUEUE, ACTOR, args, {}, {}))
            broker.join(QUEUE)
        assert _states(mail) == {DispatchState.QUEUED}
    assert "error_type=ValueError" in caplog.text
    assert "error_type=TenancyError" in caplog.text
    assert not [one for one in caplog.records if one.name == "mailglass" and "canary" in one.msg]


def test_a_broker_of_yours_may_have_any_middleware() -> None:
    """Its retries, time limits and age limits are switched off for mail."""
    broker = StubBroker()
    register(broker, Serving(Mailglass.from_env))
    options = broker.get_actor(ACTOR).options
    assert options["max_retries"] == 0
    assert options["max_age"] is None
    assert options["time_limit"] > 365 * DAY_S * 1000


def test_a_mailglass_that_cannot_be_opened_starts_no_worker() -> None:
    """A process that could only throw doorbells away ends, and says why."""

    def missing() -> Mailglass:
        raise ConfigError("no database is named", type=ConfigErrorType.MISSING, key="database_url")

    broker = _stub()
    register(broker, Serving(missing))
    with pytest.raises(MiddlewareError, match="no database is named"):
        dramatiq.Worker(broker, worker_threads=1, worker_timeout=20).start()


def test_prometheus_is_on_where_the_settings_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """No middleware of dramatiq's, unless asked for."""
    monkeypatch.delenv("dramatiq_prom_host", raising=False)
    assert broker_from(load_settings(broker_url="stub://")).middleware == []
    on = broker_from(load_settings(broker_url="stub://", broker_prometheus=True))
    assert [type(one).__name__ for one in on.middleware] == ["Prometheus"]
    assert os.environ["dramatiq_prom_host"] == "127.0.0.1"  # noqa: SIM112 - dramatiq reads this name


@pytest.mark.parametrize(
    "url", ["amqp://user:canary@host:notaport/", "redis://:canary@host:notaport/0"]
)
def test_a_url_that_cannot_be_read_is_told_without_its_password(url: str) -> None:
    """At boot, by the setting's name."""
    with pytest.raises(ConfigError) as caught:
        wake_from(load_settings(broker_url=url))
    assert (caught.value.type, caught.value.key) == (ConfigErrorType.INVALID, "broker_url")
    assert "canary" not in f"{caught.value!r} {caught.value.__cause__!r}"
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_brokers_password_is_in_no_log(
    scheme: str, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in ours nor in those of the libraries, at any level, when it cannot be reached."""
    caplog.set_level(logging.DEBUG)
    url = f"{scheme}://user:canary@127.0.0.1:{_closed_port()}/0"
    with _waking(database_url, FakeAdapter(), url) as mail:
        mail.deliver_later(note())
        _until(lambda: "message.wake_up_failed" in caplog.text)
        assert "canary" not in repr(mail.settings)
    assert "canary" not in caplog.text


def test_a_broker_nobody_knows_is_refused_at_boot() -> None:
    """Before the first mail."""
    with pytest.raises(ConfigError) as caught:
        load_settings(broker_url="kafka://canary")
    assert (caught.value.type, caught.value.key) == (ConfigErrorType.INVALID, "broker_url")
    assert "canary" not in repr(caught.value)


def test_without_a_broker_postgres_is_enough() -> None:
    """Then there is no wake-up to give."""
    assert wake_from(load_settings()) is None
    assert "broker_url" in Settings.model_fields
