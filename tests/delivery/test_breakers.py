"""Breakers: mail is kept from an adapter that fails, one probe finds out, and nothing is lost meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from front_desk import BULK, note
from mailglass import (
    Delivery,
    DispatchState,
    EventLedgerImmutableError,
    FailureClass,
    Mailglass,
    SendError,
    Stream,
    tenant,
)
from mailglass.adapters.fake import FakeAdapter, FakeMode, SimulatedCrash
from mailglass.delivery.breakers import Admission, CallEnd
from mailglass.delivery.routing import end_of_call
from mailglass.envelope import Accepted, Envelope, Verdict
from mailglass.errors import SendErrorType
from mailglass.ledger.breakers import BreakerState
from mailglass.settings import Breaker
from mailglass.worker.pipeline import Worker
from routed import departures, pair, routed, sql, told

QUICK = Breaker(failures=3, wait_s=60, wait_s_max=100)
LEASE_S = 100.0


def _states(mail: Mailglass) -> dict[tuple[str, str], BreakerState]:
    found = mail.router.breakers.breakers.status(None)
    return {(one.tenant_id, one.adapter_ref): one.state for one in found}


def _steps(mail: Mailglass) -> list[tuple[str, str, str | None, str]]:
    found = mail.router.breakers.breakers.history("main", None)
    return [
        (one.from_state.value, one.to_state.value, one.reason, one.changed_by) for one in found
    ][::-1]


def _sent(fake: FakeAdapter) -> int:
    return len(fake.sent)


def _wait_over(database_url: str, mail: Mailglass) -> None:
    """Let the breakers' time come, for the database and for what the process knows of it."""
    sql(database_url, "update mailglass.breakers set retry_at = now() - interval '1 s'"
        " where state <> 'closed'")  # fmt: skip
    sql(database_url, "update mailglass.messages set run_at = now() where state = 'queued'")
    mail.router.breakers._read_at = float("-inf")


def _queue(mail: Mailglass, number: int, **changes: Any) -> tuple[Delivery, ...]:
    return mail.deliver_many([note(**changes) for _ in range(number)])


def _drain(mail: Mailglass) -> None:
    while mail.dispatch_due():
        pass


def test_it_opens_after_so_many_failures_in_a_row(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The fourth mail is not tried; it waits, keeps its attempts and says why."""
    fake = FakeAdapter()
    fake.next(FakeMode.REJECT_TEMPORARY, times=3)
    with routed(database_url, {"main": fake}, jitter_s=9.0, breaker=QUICK) as mail:
        for _ in range(3):
            mail.deliver(note())
        assert _states(mail) == {("default", "main"): BreakerState.OPEN}
        kept = mail.deliver(note())
        assert (kept.state, kept.code, kept.attempts) == (DispatchState.QUEUED, "breaker_open", 0)
        assert isinstance(kept.error, SendError)
        assert kept.error.retryable
        assert kept.run_at is not None
        wait_s = (kept.run_at - datetime.now(UTC)).total_seconds()
        assert 55 < wait_s < 75
        assert told(mail, kept) == [("queued", None), ("attempt_started", None), ("requeued", None)]
    assert _sent(fake) == 0
    assert "breaker.opened" in caplog.text


def test_a_refused_account_opens_it_at_once(database_url: str) -> None:
    """A wrong key does not get better by trying it with every mail."""
    fake = FakeAdapter()
    fake.next(FakeMode.BAD_CREDENTIALS)
    with routed(database_url, {"main": fake}, breaker=QUICK) as mail:
        mail.deliver(note())
        assert mail.deliver(note()).code == "breaker_open"
        assert _steps(mail) == [("closed", "open", "account_refused", "dispatch")]


def test_a_share_of_failures_opens_it(database_url: str) -> None:
    """Never three in a row, and yet half of them fail."""
    fake = FakeAdapter()
    breaker = Breaker(failures=3, calls=6)
    with routed(database_url, {"main": fake}, breaker=breaker) as mail:
        for _ in range(3):
            fake.next(FakeMode.ACCEPT)
            fake.next(FakeMode.REJECT_TEMPORARY)
        for number in range(6):
            assert _states(mail).get(("default", "main")) is not BreakerState.OPEN, number
            mail.deliver(note())
        assert _steps(mail) == [("closed", "open", "share_of_failures", "dispatch")]


def test_a_success_between_failures_keeps_it_closed(database_url: str) -> None:
    """Only failures in a row count for the first rule."""
    fake = FakeAdapter()
    with routed(database_url, {"main": fake}, breaker=Breaker(failures=2)) as mail:
        for mode in (FakeMode.REJECT_TEMPORARY, FakeMode.ACCEPT, FakeMode.REJECT_TEMPORARY):
            fake.next(mode)
            mail.deliver(note())
            mail.router.breakers._told_at = float("-inf")
        assert _states(mail) == {("default", "main"): BreakerState.CLOSED}


VERDICTS = [
    ([None], CallEnd.PASSED),
    ([(FailureClass.PERMANENT, "550 5.0.0", None)], CallEnd.PASSED),
    ([(FailureClass.SUPPRESSED, "550 5.1.1", None)], CallEnd.PASSED),
    ([(FailureClass.CONFIGURATION, "http 401", None)], CallEnd.REFUSED),
    ([(FailureClass.NOT_SENT, "connect_failed", None)], CallEnd.FAILED),
    ([(FailureClass.NOT_SENT, "http 503", None)], CallEnd.FAILED),
    ([(FailureClass.UNKNOWN, "http_lost_after_request", None)], CallEnd.FAILED),
    ([(FailureClass.NOT_SENT, "http 429", 3.0)], CallEnd.NEUTRAL),
    ([(FailureClass.NOT_SENT, "452 4.2.2", None)], CallEnd.NEUTRAL),
    ([(FailureClass.NOT_SENT, "451 4.3.0", None)], CallEnd.FAILED),
    ([(FailureClass.NOT_SENT, "451 4.3.0", None), None], CallEnd.PASSED),
    (
        [(FailureClass.NOT_SENT, "421 4.2.1", None), (FailureClass.UNKNOWN, "x", None)],
        CallEnd.FAILED,
    ),
]


@pytest.mark.parametrize(("given", "end"), VERDICTS, ids=str)
def test_only_what_is_on_their_side_counts_as_a_failure(
    given: Sequence[tuple[FailureClass, str, float | None] | None], end: CallEnd
) -> None:
    """A full mailbox or a rate limit says nothing against the provider."""
    verdicts = [
        Verdict(delivery_id=uuid4())
        if one is None
        else Verdict(delivery_id=uuid4(), failure_class=one[0], code=one[1], retry_after_s=one[2])
        for one in given
    ]
    assert end_of_call(verdicts) is end


def _opened(mail: Mailglass, fake: FakeAdapter) -> None:
    fake.next(FakeMode.BAD_CREDENTIALS)
    mail.deliver(note(to="first@mail.example"))


def test_one_probe_goes_through_and_closes_it(database_url: str) -> None:
    """Eight threads of eight processes ask at the same moment; one of them gets the probe."""
    fake = FakeAdapter()
    with routed(database_url, {"main": fake}, breaker=QUICK) as mail:
        _opened(mail, fake)
    desks = [routed(database_url, {"main": fake}, breaker=QUICK) for _ in range(8)]
    mails = [desk.__enter__() for desk in desks]
    _wait_over(database_url, mails[0])
    barrier = threading.Barrier(8)
    found: list[Admission] = []

    def ask(mail: Mailglass) -> None:
        barrier.wait()
        admit = mail.router.breakers.admit
        found.extend([admit("default", "main", lease_s=LEASE_S) for _ in range(5)])

    threads = [threading.Thread(target=ask, args=(one,)) for one in mails]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(found) == 40
    assert [one for one in found if one.is_admitted] == [Admission(is_admitted=True, is_probe=True)]
    assert _states(mails[0]) == {("default", "main"): BreakerState.HALF_OPEN}
    for desk in desks:
        desk.__exit__(None, None, None)


def test_one_probe_under_eight_threads_of_one_process(database_url: str) -> None:
    """The provider sees one call while it is not known to work, whoever asks."""
    fake = FakeAdapter()
    with routed(database_url, {"main": fake}, breaker=QUICK, jitter_s=50.0) as mail:
        _opened(mail, fake)
        waiting = _queue(mail, 8)
        claims = mail.dispatcher.claim_due(Stream.TRANSACTIONAL, limit=20)
        assert len(claims) == 8
        _wait_over(database_url, mail)
        barrier = threading.Barrier(8)
        ended = []

        def work(place: int) -> None:
            barrier.wait()
            with tenant("default"):
                ended.append(mail.dispatcher.attempt(claims[place]))

        threads = [threading.Thread(target=work, args=(place,)) for place in range(8)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert _sent(fake) == 1
        mail.dispatcher.finalize(ended)
        assert _states(mail) == {("default", "main"): BreakerState.CLOSED}
        states = [one.state for one in (mail.delivery(each.id) for each in waiting) if one]
        assert sorted(states) == ["queued"] * 7 + ["sent"]


def test_a_probe_that_fails_opens_it_again_for_longer(database_url: str) -> None:
    """Twice as long each time, up to the longest."""
    fake = FakeAdapter()
    with routed(database_url, {"main": fake}, breaker=QUICK) as mail:
        _opened(mail, fake)
        fake.next(FakeMode.REJECT_TEMPORARY, times=2)
        for expected_s in (100, 100):
            _wait_over(database_url, mail)
            assert mail.dispatch_due() == 1
            (found,) = mail.router.breakers.breakers.status(None)
            assert found.state is BreakerState.OPEN
            assert found.retry_in_s is not None
            assert expected_s - 5 < found.retry_in_s <= expected_s
        assert _sent(fake) == 0


def test_a_probe_whose_sender_died_is_given_up(database_url: str) -> None:
    """After its lease another mail is the probe."""
    fake = FakeAdapter()
    with routed(database_url, {"main": fake}, breaker=QUICK) as mail:
        _opened(mail, fake)
        _wait_over(database_url, mail)
        assert mail.router.breakers.admit("default", "main", lease_s=LEASE_S).is_probe
        _queue(mail, 1)
        _drain(mail)
        assert _sent(fake) == 0
        _wait_over(database_url, mail)
        _drain(mail)
        assert _sent(fake) == 2
        assert _states(mail) == {("default", "main"): BreakerState.CLOSED}


def test_a_killed_probe_holds_the_breaker_no_longer_than_a_failed_one(database_url: str) -> None:
    """However long a mail to many may take: the promise is ``wait_s_max``."""
    fake = FakeAdapter()
    with routed(database_url, {"main": fake}, breaker=QUICK) as mail:
        _opened(mail, fake)
        _wait_over(database_url, mail)
        fake.next(FakeMode.CRASH_BEFORE_SEND)
        with pytest.raises(SimulatedCrash):
            mail.deliver(note(to=[f"u{number}@mail.example" for number in range(50)]))
        (status,) = mail.outbox.breakers()
    assert status.state is BreakerState.HALF_OPEN
    assert status.retry_in_s is not None
    assert status.retry_in_s <= QUICK.wait_s_max


def test_bulk_behind_an_open_breaker_drains_when_it_closes(database_url: str) -> None:
    """All of it, once each, without waiting for the times it was given."""
    fake = FakeAdapter()
    with routed(database_url, {"main": fake}, breaker=QUICK, **BULK) as mail:
        _opened(mail, fake)
        _queue(mail, 120)
        _drain(mail)
        assert _sent(fake) == 0
        waiting = sql(
            database_url,
            "select count(*), max(attempts), min(run_at) > now() + interval '20 s'"
            " from mailglass.messages where state = 'queued' and waits_for = 'main'",
        )
        assert waiting == [(121, 0, True)]
        assert [one.waiting for one in mail.router.breakers.breakers.status(None)] == [121]
        sql(database_url, "update mailglass.breakers set retry_at = now()")
        sql(database_url, "update mailglass.messages set run_at = now() where id = (select id from"
            " mailglass.messages where state = 'queued' order by id desc limit 1)")  # fmt: skip
        mail.router.breakers._read_at = float("-inf")
        assert mail.dispatch_due() == 1
        assert _sent(fake) == 1
        _drain(mail)
        assert len({one.envelope.message_id for one in fake.sent}) == _sent(fake) == 121
        assert mail.store.broken_chains() == ()


class Outage(FakeAdapter):
    """A provider that is down until it is told otherwise, and counts who asks."""

    is_down = True
    calls = 0

    def send(self, envelope: Envelope) -> Accepted:
        """Answer as one that is down does, or take the mail."""
        self.calls += 1
        if self.is_down:
            raise SendError(
                "the request did not leave",
                type=SendErrorType.ADAPTER_FAILURE,
                failure_class=FailureClass.NOT_SENT,
                code="connect_failed",
            )
        return super().send(envelope)


def test_workers_of_two_processes_spare_a_provider_that_is_down(database_url: str) -> None:
    """Few of the mails are tried while it is down; all leave, once each, when it is back."""
    outage = Outage()
    breaker = Breaker(failures=5, wait_s=0.2, wait_s_max=0.4)
    stopped = threading.Event()
    with (
        routed(database_url, {"main": outage}, breaker=breaker) as one,
        routed(database_url, {"main": outage}, breaker=breaker) as other,
    ):
        _queue(one, 300)
        threads = [
            threading.Thread(target=Worker(mail=mail, threads=4, poll_s=0.05).run, args=(stopped,))
            for mail in (one, other)
        ]
        for each in threads:
            each.start()
        try:
            _until(lambda: len(_steps(one)) > 4)
            tried = outage.calls
            outage.is_down = False
            _until(lambda: _sent(outage) == 300)
        finally:
            stopped.set()
            for each in threads:
                each.join()
        assert tried < 100
        assert len({mail.envelope.message_id for mail in outage.sent}) == 300
        attempts = sql(database_url, "select max(attempts) from mailglass.messages")
        assert attempts[0][0] <= 10


def _until(is_so: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + 60.0
    while not is_so():
        assert time.monotonic() < ends_at
        threading.Event().wait(0.01)


def test_an_open_breaker_leaves_the_mail_its_expiry(database_url: str) -> None:
    """Late mail is worse than none."""
    fake = FakeAdapter()
    with routed(database_url, {"main": fake}, breaker=QUICK) as mail:
        _opened(mail, fake)
        soon = datetime.now(UTC) + timedelta(seconds=30)
        delivery = mail.deliver_later(note(), expires_at=soon)
        _drain(mail)
        sql(database_url, "update mailglass.messages set expires_at = now() where expires_at < now()"
            " + interval '1 min'")  # fmt: skip
        assert mail.sweep().expired == 1
        found = mail.delivery(delivery.id)
        assert found is not None
        assert found.state is DispatchState.EXPIRED


def test_waiting_for_a_breaker_takes_no_rate_tokens(database_url: str) -> None:
    """A scheduled mail that is kept back has not had its turn."""
    fake = FakeAdapter()
    limit = {"capacity": 1, "per_s": 0.0001}
    with routed(database_url, {"main": fake}, breaker=QUICK, rate_limit_per_tenant=limit) as mail:
        _opened(mail, fake)
        soon = datetime.now(UTC) + timedelta(hours=1)
        delivery = mail.deliver_later(note(stream=Stream.OPERATIONAL, send_at=soon))
        for _ in range(3):
            sql(database_url, "update mailglass.messages set run_at = now()")
            mail.dispatch(delivery.id)
        mail.outbox.close_breaker("main", actor="ann")
        mail.router.breakers._read_at = float("-inf")
        assert mail.dispatch(delivery.id).state is DispatchState.SENT


def test_the_breaker_of_one_tenant_leaves_the_others_alone(database_url: str) -> None:
    """Whose credentials are refused waits; nobody else does."""
    fake = FakeAdapter()
    with routed(database_url, {"main": fake}, breaker=QUICK) as mail:
        with tenant("a"):
            _opened(mail, fake)
            assert mail.deliver(note()).code == "breaker_open"
        with tenant("b"):
            assert mail.deliver(note()).state is DispatchState.SENT
        assert _states(mail) == {("a", "main"): BreakerState.OPEN}


def test_mail_goes_round_an_open_breaker_and_says_so(database_url: str) -> None:
    """The next adapter of the route takes it at once, and the ledger tells why."""
    main, backup = pair()
    with routed(database_url, {"main": main, "backup": backup}, breaker=QUICK) as mail:
        _opened(mail, main)
        delivery = mail.deliver(note())
        assert delivery.state is DispatchState.SENT
        assert departures(mail, delivery) == [("main", "backup", "breaker_open")]
        assert [one for one, _ in told(mail, delivery)].count("attempt_started") == 1


def test_what_may_have_been_accepted_waits_for_its_own_adapter(database_url: str) -> None:
    """Even though another would take it."""
    main, backup = FakeAdapter(honours_idempotency_key=True), FakeAdapter()
    main.next(FakeMode.UNKNOWN_TIMEOUT)
    with routed(database_url, {"main": main, "backup": backup}, breaker=QUICK) as mail:
        with pytest.raises(SendError) as caught:
            mail.deliver(note())
        main.next(FakeMode.BAD_CREDENTIALS)
        mail.deliver(note())
        assert mail.sweep().requeued == 1
        _drain(mail)
        assert caught.value.delivery_id is not None
        found = mail.delivery(caught.value.delivery_id)
        assert found is not None
        assert (found.state, found.code) == (DispatchState.QUEUED, "breaker_open")


def test_an_operator_closes_it_and_the_history_says_who(database_url: str) -> None:
    """What waited is due at once."""
    fake = FakeAdapter()
    with routed(database_url, {"main": fake}, breaker=QUICK) as mail:
        _opened(mail, fake)
        _queue(mail, 3)
        _drain(mail)
        assert mail.outbox.close_breaker("main", actor="ann") == {"default": 4}
        mail.router.breakers._read_at = float("-inf")
        _drain(mail)
        assert _sent(fake) == 4
        assert _steps(mail)[-1] == ("open", "closed", "operator", "ann")


def test_nobody_closes_it_without_a_name(database_url: str) -> None:
    """An audit trail with holes is none."""
    with (
        routed(database_url, {"main": FakeAdapter()}) as mail,
        pytest.raises(SendError, match="actor"),
    ):
        mail.outbox.close_breaker("main", actor="")


def test_the_history_cannot_be_changed(database_url: str) -> None:
    """Nor forged by the application."""
    fake = FakeAdapter()
    with routed(database_url, {"main": fake}) as mail:
        _opened(mail, fake)
        with pytest.raises(psycopg.Error) as refused:
            sql(database_url, "update mailglass.breaker_history set changed_by = 'x'")
        assert refused.value.sqlstate == "45A01"
        with (
            pytest.raises(psycopg.errors.InsufficientPrivilege),
            mail.store.connection() as connection,
        ):
            connection.execute(
                b"insert into mailglass.breaker_history (tenant_id, adapter_ref, from_state, to_state,"
                b" changed_by) values ('a', 'main', 'open', 'closed', 'x')"
            )
        with pytest.raises(EventLedgerImmutableError), mail.store.connection() as connection:
            connection.execute(b"update mailglass.events set type = 'routed'")


def test_as_long_as_nothing_fails_nothing_is_written(database_url: str) -> None:
    """A hundred mails, no row, and the breakers read once."""
    with routed(database_url, {"main": FakeAdapter()}) as mail:
        asked: list[str] = []
        rows = mail.store.rows

        def counted(name: str, parameters: Any) -> Any:
            asked.append(name)
            return rows(name, parameters)

        mail.store.rows = counted  # type: ignore[method-assign]  # counts what is asked
        _queue(mail, 100)
        claims = mail.dispatcher.claim_due(Stream.TRANSACTIONAL, limit=100)
        mail.router.breakers.admit("default", "main", lease_s=1.0)
        mail.router.breakers._read_at += 3600.0
        mail.dispatcher.finalize([mail.dispatcher.attempt(one) for one in claims])
        assert asked.count("restless_breakers") == 1
        assert not {"note_calls", "route_messages", "begin_probe"} & set(asked)
        assert _states(mail) == {}


def test_without_a_breaker_every_mail_is_tried(database_url: str) -> None:
    """Who wants none has none."""
    fake = FakeAdapter()
    fake.next(FakeMode.BAD_CREDENTIALS, times=30)
    with routed(database_url, {"main": fake}, breaker=None) as mail:
        codes = {mail.deliver(note()).code for _ in range(30)}
        assert codes == {"invalid"}
        assert _states(mail) == {}


def test_a_database_that_is_away_leaves_breakers_as_they_were(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A breaker holds up no mail by being out of reach."""
    with routed(database_url, {"main": FakeAdapter()}) as mail:
        rows = mail.store.rows

        def cut(name: str, parameters: Any) -> Any:
            if name in {"restless_breakers", "note_calls"}:
                raise psycopg.OperationalError
            return rows(name, parameters)

        mail.store.rows = cut  # type: ignore[method-assign]  # cuts what the breakers ask
        assert mail.deliver(note()).state is DispatchState.SENT
    assert "breaker.unreached" in caplog.text


def test_a_probe_that_cannot_be_written_down_does_not_leave(database_url: str) -> None:
    """Two probes at once would be worse than none."""
    fake = FakeAdapter()
    with routed(database_url, {"main": fake}, breaker=QUICK) as mail:
        _opened(mail, fake)
        _wait_over(database_url, mail)
        mail.router.breakers.is_closed("default", "main")
        rows = mail.store.rows

        def cut(name: str, parameters: Any) -> Any:
            if name == "begin_probe":
                raise psycopg.OperationalError
            return rows(name, parameters)

        mail.store.rows = cut  # type: ignore[method-assign]  # cuts what the breakers ask
        assert mail.dispatch_due() == 1
        assert _sent(fake) == 0
