"""The pipeline: awake when something comes, fair to what matters, and leaving nothing half-done."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import replace

import psycopg
import pytest

from front_desk import BULK, front_desk, note
from mailglass import DispatchState, Mailglass, Stream
from mailglass.adapters.fake import FakeAdapter
from mailglass.delivery.claiming import CLAIM_WAIT_S_MAX
from mailglass.delivery.settling import Attempt
from mailglass.envelope import Accepted, Envelope
from mailglass.ledger.faults import DatabaseAwayError
from mailglass.ledger.rows import Claim
from mailglass.worker import Worker, pipeline, steps
from running_worker import DEADLINE_S, running, until


class Gated(FakeAdapter):
    """A fake whose bulk mail waits at a gate, and that tells when something has arrived."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.at_the_gate = threading.Semaphore(0)
        self.arrived = threading.Semaphore(0)

    def send(self, envelope: Envelope) -> Accepted:
        """Hold bulk mail back until the gate opens."""
        if envelope.stream is Stream.BULK:
            self.at_the_gate.release()
            assert self.gate.wait(DEADLINE_S)
        try:
            return super().send(envelope)
        finally:
            self.arrived.release()


def _bulk(number: int) -> object:
    return note(
        stream=Stream.BULK, mailable="app.News", subject=f"News {number}",
        text="News. 1 Harbour Street, Dublin",
    )  # fmt: skip


def _states(mail: Mailglass) -> list[DispatchState]:
    return [one.state for one in mail.store.list_deliveries(tenant_id="default", limit=500)]


def test_an_idle_worker_is_woken_by_a_ring(database_url: str) -> None:
    """The doorbell, across connections: with a poll of an hour the mail still leaves at once."""
    fake = Gated()
    with front_desk(database_url, fake) as web, front_desk(database_url, fake) as mail:
        with running(Worker(mail=mail, poll_s=3600.0, sweep_every_s=3600.0)) as stopped:
            for number in range(5):
                web.deliver_later(note(subject=f"mail {number}"))
                assert fake.arrived.acquire(timeout=DEADLINE_S)
            web.deliver_many([note(), note()])
            assert fake.arrived.acquire(timeout=DEADLINE_S)
            assert fake.arrived.acquire(timeout=DEADLINE_S)
            stopped.set()
            web.store.ring()
    assert len(fake.sent) == 7


def test_a_stream_that_was_empty_is_asked_again_at_a_ring(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is left alone for a moment while there is other work; a ring ends that moment."""
    monkeypatch.setattr(pipeline, "_LULL_S", 3600.0)
    fake = Gated()
    with front_desk(database_url, fake, **BULK) as mail, front_desk(database_url, fake) as web:
        mail.deliver_many([_bulk(1)])  # type: ignore[list-item]  # a note
        with running(Worker(mail=mail, threads=2, poll_s=3600.0, sweep_every_s=3600.0)):
            assert fake.at_the_gate.acquire(timeout=DEADLINE_S)
            web.deliver_later(note(stream=Stream.OPERATIONAL))
            assert fake.arrived.acquire(timeout=DEADLINE_S)
            fake.gate.set()
    assert [one.envelope.stream for one in fake.sent] == [Stream.OPERATIONAL, Stream.BULK]


def test_empty_streams_are_asked_seldom_while_there_is_work(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each question to an empty stream would cost a round trip between two claims."""
    monkeypatch.setattr(pipeline, "_LULL_S", 3600.0)
    asked: list[Stream] = []
    claim_due = steps.claim_due

    def counted(mail: Mailglass, stream: Stream, *, limit: int) -> tuple[Claim, ...]:
        asked.append(stream)
        return claim_due(mail, stream, limit=limit)

    monkeypatch.setattr(steps, "claim_due", counted)
    with front_desk(database_url) as mail:
        mail.deliver_many([note(subject=f"mail {number}") for number in range(300)])
        with running(Worker(mail=mail, poll_s=3600.0, sweep_every_s=3600.0)):
            until(lambda: set(_states(mail)) == {DispatchState.SENT})
    assert asked.count(Stream.TRANSACTIONAL) > 3
    # Once while there was work, and at the end, when nothing was in flight, once or twice again.
    assert max(asked.count(Stream.OPERATIONAL), asked.count(Stream.BULK)) <= 3


def test_a_ring_while_a_stream_is_asked_is_not_forgotten(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mail that it tells of may have come after the question was answered."""
    monkeypatch.setattr(pipeline, "_LULL_S", 0.0)
    claim_due, fake = steps.claim_due, Gated()
    with front_desk(database_url, fake, **BULK) as mail, front_desk(database_url, fake) as web:
        late = [note(stream=Stream.OPERATIONAL)]

        def slow(mail: Mailglass, stream: Stream, *, limit: int) -> tuple[Claim, ...]:
            found = claim_due(mail, stream, limit=limit)
            if stream is Stream.OPERATIONAL and late and fake.at_the_gate.acquire(blocking=False):
                before = runs[0].rings
                web.deliver_later(late.pop())
                until(lambda: runs[0].rings > before)
                monkeypatch.setattr(pipeline, "_LULL_S", 3600.0)
            return found

        def watched(run: pipeline._Run) -> int:
            runs.append(run)
            return work(run)

        runs: list[pipeline._Run] = []
        work = pipeline._Run.work
        monkeypatch.setattr(steps, "claim_due", slow)
        monkeypatch.setattr(pipeline._Run, "work", watched)
        mail.deliver_many([_bulk(1)])  # type: ignore[list-item]  # a note
        with running(Worker(mail=mail, threads=2, poll_s=0.1, sweep_every_s=3600.0)):
            assert fake.arrived.acquire(timeout=DEADLINE_S)
            fake.gate.set()
    assert [one.envelope.stream for one in fake.sent] == [Stream.OPERATIONAL, Stream.BULK]


def test_a_ring_that_fails_loses_no_mail(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """W2: the broker is down, the call succeeds, and the mail is found without a ring."""

    def broken(_message_ids: object) -> None:
        raise ConnectionError("the broker is down")

    fake = Gated()
    with front_desk(database_url, fake, enqueue=broken) as mail:
        mail.deliver_later(note())
        with running(Worker(mail=mail, poll_s=0.01)):
            assert fake.arrived.acquire(timeout=DEADLINE_S)
    assert "message.wake_up_failed" in caplog.text
    assert "ConnectionError" in caplog.text


def test_a_flood_of_bulk_mail_never_holds_up_a_password_reset(database_url: str) -> None:
    """Every thread that may take bulk mail hangs in it; the reset leaves all the same."""
    fake = Gated()
    with front_desk(database_url, fake, **BULK) as mail:
        mail.deliver_many([_bulk(number) for number in range(60)])  # type: ignore[misc]  # Messages
        with running(Worker(mail=mail, threads=3, poll_s=0.01)):
            assert fake.at_the_gate.acquire(timeout=DEADLINE_S)
            assert fake.at_the_gate.acquire(timeout=DEADLINE_S)
            mail.deliver_later(note(mailable="app.PasswordReset", authenticates=True))
            assert fake.arrived.acquire(timeout=DEADLINE_S)
            assert [one.envelope.stream for one in fake.sent] == [Stream.TRANSACTIONAL]
            assert not fake.at_the_gate.acquire(blocking=False)
            fake.gate.set()
            until(lambda: len(fake.sent) == 61)
        assert set(_states(mail)) == {DispatchState.SENT}


def test_a_stopped_worker_finishes_what_it_began_and_gives_back_the_rest(
    database_url: str,
) -> None:
    """F22: nothing stays claimed by a worker that is gone, and nothing given back counts as tried."""
    fake = Gated()
    with front_desk(database_url, fake, **BULK) as mail:
        mail.deliver_many([_bulk(number) for number in range(10)])  # type: ignore[misc]  # Messages
        with running(Worker(mail=mail, threads=3, poll_s=0.01)) as stopped:
            assert fake.at_the_gate.acquire(timeout=DEADLINE_S)
            assert fake.at_the_gate.acquire(timeout=DEADLINE_S)
            stopped.set()
            fake.gate.set()
        states = _states(mail)
        assert states.count(DispatchState.SENT) == len(fake.sent) >= 2
        assert states.count(DispatchState.QUEUED) == 10 - len(fake.sent)
        waiting = [
            one
            for one in mail.store.list_deliveries(tenant_id="default")
            if one.state is DispatchState.QUEUED
        ]
        assert {one.attempts for one in waiting} == {0}
        assert mail.store.broken_chains() == ()


def test_a_claim_that_waited_too_long_is_given_back_unsent(database_url: str) -> None:
    """F3: a process that was paused before it sent does not send under a lease that may be over."""
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail:
        delivery = mail.deliver_later(note())
        (claim,) = mail.dispatcher.claim_due(Stream.TRANSACTIONAL, limit=5)
        late = replace(claim, taken_at=claim.taken_at - CLAIM_WAIT_S_MAX - 1)
        mail.dispatcher.finalize([mail.dispatcher.attempt(late)])
        assert fake.sent == ()
        waiting = mail.delivery(delivery.id)
        assert waiting is not None
        assert (waiting.state, waiting.code, waiting.attempts, waiting.provider) == (
            DispatchState.QUEUED, "claim_too_old", 0, None,
        )  # fmt: skip
        assert mail.events(delivery.id)[-1].type.value == "requeued"


def test_an_error_while_writing_ends_the_run_and_is_told(database_url: str) -> None:
    """What the database refuses for good is not tried for ever, nor swallowed by a thread."""
    stopped = threading.Event()
    with front_desk(database_url) as mail:
        mail.deliver_later(note())
        with psycopg.connect(database_url, autocommit=True) as owner:
            owner.execute("alter table mailglass.deliveries add check (state <> 'sent')")
        with pytest.raises(psycopg.errors.CheckViolation):
            Worker(mail=mail, threads=2).run(stopped)
    assert not stopped.is_set()


def test_one_verdict_that_is_refused_costs_no_other_its_own(database_url: str) -> None:
    """Those that were written with it are no more unknown than they would be without it."""
    with front_desk(database_url) as mail:
        asked = [mail.deliver_later(note(to=f"{name}@mail.example")) for name in ("a", "bad", "c")]
        with psycopg.connect(database_url, autocommit=True) as owner:
            owner.execute(
                "alter table mailglass.deliveries"
                " add check (state <> 'sent' or address_key <> 'bad@mail.example')"
            )
        with pytest.raises(psycopg.errors.CheckViolation):
            Worker(mail=mail, threads=4).run(threading.Event())
        found = [mail.delivery(one.id) for one in asked]
    states = [one.state for one in found if one is not None]
    assert states == [DispatchState.SENT, DispatchState.SENDING, DispatchState.SENT]


@pytest.mark.parametrize("is_back", [True, False])
def test_a_stop_waits_a_while_for_a_database_that_is_away(
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    is_back: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """A restart of Postgres during a deployment makes no mail unknown; a longer absence is told."""
    real, tries, stopped = steps.finalize, [0], threading.Event()

    def away(mail: Mailglass, attempts: list[Attempt]) -> None:
        stopped.set()
        tries[0] += 1
        if not is_back or tries[0] < 5:
            raise DatabaseAwayError("away")
        real(mail, attempts)

    monkeypatch.setattr(steps, "finalize", away)
    monkeypatch.setattr(pipeline, "_TROUBLE_WAIT_S", 0.0)
    monkeypatch.setattr(pipeline, "_LAST_WRITE_S", 30.0 if is_back else 0.5)
    with front_desk(database_url, FakeAdapter()) as mail:
        delivery = mail.deliver_later(note())
        worker = Worker(mail=mail, threads=1, poll_s=0.01)
        with contextlib.nullcontext() if is_back else pytest.raises(DatabaseAwayError):
            worker.run(stopped)
        found = mail.delivery(delivery.id)
    assert found is not None
    assert found.state is (DispatchState.SENT if is_back else DispatchState.SENDING)


def test_mail_in_order_goes_one_after_the_other(database_url: str) -> None:
    """One in flight for each ordering key, in the order they came, however many threads there are."""
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail:
        for number in range(12):
            mail.deliver_later(note(subject=f"step {number}", ordering_key="order-7"))
        with running(Worker(mail=mail, threads=4, poll_s=0.005)):
            until(lambda: len(fake.sent) == 12)
    assert [one.message.subject for one in fake.sent] == [f"step {number}" for number in range(12)]


class Unhurried(FakeAdapter):
    """A fake that takes a moment for each mail."""

    def __init__(self, moment_s: float) -> None:
        super().__init__()
        self.moment_s = moment_s

    def send(self, envelope: Envelope) -> Accepted:
        """Wait, then send."""
        time.sleep(self.moment_s)
        return super().send(envelope)


def _places(fake: FakeAdapter, stream: Stream) -> list[int]:
    return [at for at, one in enumerate(fake.sent) if one.envelope.stream is stream]


def test_a_flood_never_holds_up_mail_in_order(database_url: str) -> None:
    """A receipt with an ordering key leaves while bulk mail without one is still being sent."""
    fake, flood = Unhurried(0.02), 500
    with front_desk(database_url, fake, **BULK) as mail:
        mail.deliver_many([_bulk(number) for number in range(flood)])  # type: ignore[misc]  # Messages
        with running(Worker(mail=mail, poll_s=0.1)):
            until(lambda: len(fake.sent) > 100)
            mail.deliver_later(note(ordering_key="zoe"))
            until(lambda: len(fake.sent) == flood + 1)
    assert _places(fake, Stream.TRANSACTIONAL)[0] < 130


def test_mail_in_order_of_many_keys_gives_each_its_turn(database_url: str) -> None:
    """Keys early in the alphabet, of which there is always more, leave some room for the last one."""
    fake, flood = Unhurried(0.002), 40
    with front_desk(database_url, fake) as mail:
        mails = [
            note(ordering_key=f"key {number:02}", subject=str(n))
            for n in range(10)
            for number in range(flood)
        ]
        mail.deliver_many([note(ordering_key="zoe", subject="last"), *mails])
        with running(Worker(mail=mail, threads=2, poll_s=0.1)):
            until(lambda: len(fake.sent) == len(mails) + 1)
    subjects = [one.message.subject for one in fake.sent]
    assert subjects.index("last") < 2 * flood


def test_mail_in_order_is_left_to_a_worker_of_its_stream(database_url: str) -> None:
    """A worker that takes no bulk mail takes none in order either."""
    fake = FakeAdapter()
    with front_desk(database_url, fake, **BULK) as mail:
        bulk = _bulk(1).replace(ordering_key="zoe")  # type: ignore[attr-defined]  # a Message
        (waits,) = mail.deliver_many([bulk])
        mail.deliver_many([note(ordering_key="ann")])
        with running(Worker(mail=mail, streams=(Stream.TRANSACTIONAL,), poll_s=0.02)):
            until(lambda: len(fake.sent) > 0)
            time.sleep(0.2)
        assert _places(fake, Stream.BULK) == []
        found = mail.delivery(waits.id)
        assert found is not None
        assert found.state is DispatchState.QUEUED
