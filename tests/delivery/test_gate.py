"""The gate at dispatch: a limit delays a mail and never fails it, and refusals teach all workers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn
from uuid import UUID

import psycopg
import pytest

from front_desk import BULK, front_desk, note
from mailglass import Delivery, DispatchState, EventType, Mailglass, Stream, tenant
from mailglass.adapters.fake import FakeAdapter, FakeMode
from mailglass.clock import boot_seconds
from mailglass.delivery.gate import FREE, PAUSE_S, RETAKES_MAX, Gate, Pass, is_throttled
from mailglass.envelope import Verdict
from mailglass.errors import FailureClass
from mailglass.ledger.faults import DatabaseAwayError
from mailglass.ledger.pacing import RATE_FLOOR_PER_S, RECOVERY_S, PacingStore
from mailglass.ledger.rows import Claim
from mailglass.pacing.vocabulary import LATE_S

HOURLY: dict[str, Any] = {"limits": [{"per": ["provider"], "rate": "1/h"}]}
OPERATIONAL = note(stream=Stream.OPERATIONAL)


def shown(mail: Mailglass, delivery: Delivery) -> Delivery:
    """Return the delivery as it is now."""
    found = mail.delivery(delivery.id)
    assert found is not None
    return found


def due_in_s(delivery: Delivery) -> float:
    """Return in how many seconds it will be tried."""
    assert delivery.run_at is not None
    return (delivery.run_at - datetime.now(UTC)).total_seconds()


def claimed(mail: Mailglass, *messages: object) -> tuple[Claim, ...]:
    """Queue the messages and claim them."""
    mail.deliver_many([note() if one is None else one for one in messages])  # type: ignore[misc]  # messages
    return tuple(
        claim for stream in Stream for claim in mail.dispatcher.claim_due(stream, limit=100)
    )


def test_a_limit_delays_a_mail_and_fails_none(database_url: str) -> None:
    """It is queued, due at the exact time, and no attempt is used up."""
    with front_desk(database_url, **HOURLY) as mail:
        assert mail.deliver(note()).state is DispatchState.SENT
        waits = shown(mail, mail.deliver(note()))
        assert (waits.state, waits.attempts, waits.code) == (
            DispatchState.QUEUED, 0, "rate_limited",
        )  # fmt: skip
        assert 3_590 < due_in_s(waits) <= 3_601
        assert mail.dispatch_due() == 0
        kinds = [one.type for one in mail.events(waits.id)]
        assert kinds == [EventType.QUEUED, EventType.ATTEMPT_STARTED, EventType.REQUEUED]


def test_a_delayed_mail_leaves_when_its_time_comes(database_url: str) -> None:
    """And is the one attempt that it says."""
    with front_desk(database_url, **HOURLY) as mail:
        mail.deliver(note())
        waits = mail.deliver(note())
        with psycopg.connect(database_url) as owner:
            owner.execute("update mailglass.limit_states set full_at = now(), planned = default")
            owner.execute("update mailglass.messages set run_at = now()")
        mail.dispatch_due()
        assert (shown(mail, waits).state, shown(mail, waits).attempts) == (DispatchState.SENT, 1)


def test_a_delayed_mail_still_expires(database_url: str) -> None:
    """What is worth nothing later is not sent later."""
    with front_desk(database_url, **HOURLY) as mail:
        mail.deliver(note())
        waits = mail.deliver(note(expires_at=datetime.now(UTC) + timedelta(seconds=900)))
        assert waits.state is DispatchState.QUEUED
        with psycopg.connect(database_url) as owner:
            owner.execute("update mailglass.messages set expires_at = now() where state = 'queued'")
        mail.sweep()
        assert shown(mail, waits).state is DispatchState.EXPIRED


def test_callers_are_refused_and_transactional_mail_is_not(database_url: str) -> None:
    """A limit of the tenant is told at once, a limit of the wire never."""
    limits = [
        {"per": ["provider"], "rate": "1000/s"},
        {"per": ["tenant"], "rate": "1/h"},
        {"per": ["recipient_domain"], "rate": "1/h"},
    ]
    with front_desk(database_url, limits=limits) as mail:
        assert mail.deliver(OPERATIONAL).state is DispatchState.SENT
        for _ in range(3):
            assert mail.deliver(note()).state is DispatchState.SENT
        with pytest.raises(Exception, match="per tenant") as caught:
            mail.deliver(OPERATIONAL)
        assert 3_590_000 < caught.value.retry_after_ms <= 3_600_000  # type: ignore[attr-defined]  # RateLimitError


def test_a_scheduled_mail_waits_for_what_its_caller_is_allowed(database_url: str) -> None:
    """It was taken, so it is not failed: due when the limit says, however soon it expires."""
    limits = [{"per": ["tenant"], "rate": "1/h"}]
    soon = datetime.now(UTC) + timedelta(minutes=10)
    with front_desk(database_url, limits=limits) as mail:
        mail.deliver(OPERATIONAL)
        scheduled = OPERATIONAL.replace(send_at=datetime.now(UTC), expires_at=soon)
        waits = shown(mail, mail.deliver(scheduled))
        assert (waits.state, waits.attempts, waits.code) == (DispatchState.QUEUED, 0, "per_tenant")
        assert 3_590 < due_in_s(waits) <= 3_601


def test_a_scheduled_mail_that_is_put_off_takes_what_its_caller_is_allowed_once(
    database_url: str,
) -> None:
    """However often its turn has not come yet."""
    limits = [*HOURLY["limits"], {"per": ["tenant"], "rate": "9/h"}]
    with front_desk(database_url, limits=limits) as mail:
        mail.deliver(note())
        mail.deliver(OPERATIONAL.replace(send_at=datetime.now(UTC)))
        for _ in range(3):
            with psycopg.connect(database_url) as owner:
                owner.execute("update mailglass.messages set run_at = now() where state = 'queued'")
            assert mail.dispatch_due() == 1
        assert mail.gate.store.states(["tenant"]) == ()


def test_tenants_have_rates_of_their_own(database_url: str) -> None:
    """One with a limit of its own does not wait for the others."""
    limits = [*HOURLY["limits"], {"per": ["provider"], "match": {"tenant": "acme"}, "rate": "3/h"}]
    limits[-1]["burst"] = 2
    with front_desk(database_url, limits=limits) as mail, tenant("acme"):
        states = [mail.deliver(note()).state for _ in range(3)]
    assert states == [DispatchState.SENT, DispatchState.SENT, DispatchState.QUEUED]


def test_a_whole_claim_is_asked_for_in_one_statement(database_url: str) -> None:
    """However many mails; transactional ones first, whatever their order in the claim."""
    limits = [
        {"per": ["provider"], "rate": "3/h", "burst": 3},
        {"per": ["sender_domain"], "daily": 9},
    ]
    with front_desk(database_url, limits=limits, **BULK) as mail:
        claims = claimed(mail, *[OPERATIONAL] * 3, None, None)
        asked: list[str] = []

        class Counting(PacingStore):
            def take(self, *args: Any, **kwargs: Any) -> Any:
                asked.append("take")
                return super().take(*args, **kwargs)

        gate = Gate(store=Counting(store=mail.store), limits=mail.settings.limits)
        passes = gate.passes_of(claims[::-1])
        gone = [one.stream for one in claims if passes[one.message_id].is_taken]
        assert asked == ["take"]
        assert gone == [Stream.TRANSACTIONAL, Stream.TRANSACTIONAL, Stream.OPERATIONAL]


def test_mail_that_no_limit_is_about_asks_for_nothing(database_url: str) -> None:
    """One look at the adapters in a quarter of a second is all it costs."""
    with front_desk(database_url) as mail:
        claims = claimed(mail, *[None] * 20)
        looks: list[str] = []

        class Counting(PacingStore):
            def paces(self, *args: Any, **kwargs: Any) -> Any:
                looks.append("paces")
                return super().paces(*args, **kwargs)

        gate = Gate(store=Counting(store=mail.store), limits=(), now=lambda: 100.0)
        for one in claims:
            assert gate.passes_of([one]) == {one.message_id: FREE}
        assert looks == ["paces"]


def test_counts_that_say_nothing_any_more_are_dropped_now_and_then(database_url: str) -> None:
    """Once an hour, by whoever asks for passes."""
    with front_desk(database_url, limits=[{"per": ["provider"], "daily": 5}]) as mail:
        with psycopg.connect(database_url) as owner:
            owner.execute(
                "insert into mailglass.limit_states (name, key, day) values ('x', 'y', '2026-01-01')"
            )
        mail.deliver(note())
        assert mail.gate.store.states(["x"]) == ()


def test_a_pass_that_is_used_too_late_is_asked_for_anew(database_url: str) -> None:
    """A mail that was held up would crowd those that come after it."""
    limits = [{"per": ["provider"], "rate": "1000/s"}]
    with front_desk(database_url, limits=limits) as mail:
        (claim,) = claimed(mail, None)
        late = Pass(is_taken=True, at=boot_seconds() - 1.0, until=boot_seconds() - 0.9)
        assert mail.gate.turn_now(claim, late).is_taken
        (state,) = mail.gate.store.states(["provider"])
        assert state.used == 1


class SlowAnswers:
    """The limits of the database, whose answers take the given times on a clock of their own."""

    def __init__(self, store: PacingStore, *took_s: float) -> None:
        self._store = store
        self._took_s = iter(took_s)
        self.now_s = 1_000.0

    def now(self) -> float:
        """Return the time on that clock."""
        return self.now_s

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds

    def take(self, *asked: Any, **given: Any) -> Any:
        """Answer late."""
        self.sleep(next(self._took_s))
        return self._store.take(*asked, **given)

    def __getattr__(self, name: str) -> Any:
        """Answer everything else as the database does."""
        return getattr(self._store, name)


def slow_gate(mail: Mailglass, *took_s: float) -> Gate:
    """Return a gate whose answers take so long."""
    slow = SlowAnswers(mail.gate.store, *took_s)
    return Gate(store=slow, limits=mail.settings.limits, now=slow.now, sleep=slow.sleep)  # type: ignore[arg-type]  # answers as one


def test_a_pass_whose_answer_was_slow_is_void_where_answers_are_fast(database_url: str) -> None:
    """Nobody knows when it was meant for: used now, it might crowd those that come after it."""
    limits = [{"per": ["provider"], "rate": "1000/s"}]
    with front_desk(database_url, limits=limits) as mail:
        (claim,) = claimed(mail, None)
        gate = slow_gate(mail, 0.001, 0.4, 0.001)
        gate.passes_of([claim])
        void = gate.passes_of([claim])[claim.message_id]
        assert void.is_taken
        assert void.until < void.at
        again = gate.turn_now(claim, void)
        assert again.until == pytest.approx(again.at + LATE_S - 0.001)
        (state,) = mail.gate.store.states(["provider"])
        assert state.used == 3


def test_a_database_that_is_far_away_leaves_half_of_each_pass(database_url: str) -> None:
    """A rate is less exact then; to ask again would bring no better answer, and stop the mail."""
    limits = [{"per": ["provider"], "rate": "1000/s"}]
    with front_desk(database_url, limits=limits) as mail:
        (claim,) = claimed(mail, None)
        gate = slow_gate(mail, *[0.2] * 3)
        for _ in range(3):
            its = gate.passes_of([claim])[claim.message_id]
            assert its.until == pytest.approx(its.at + LATE_S / 2)
            assert gate.turn_now(claim, its) == its


def test_a_worker_that_is_always_late_gives_the_mail_back(database_url: str) -> None:
    """The number of passes it may waste is bounded."""
    limits = [{"per": ["provider"], "rate": "1000/s"}]
    with front_desk(database_url, limits=limits) as mail:
        (claim,) = claimed(mail, None)
        ticks = iter(range(0, 10_000, 10))
        slow = Gate(
            store=mail.gate.store,
            limits=mail.settings.limits,
            now=lambda: float(next(ticks)),
            sleep=lambda _s: None,
        )
        late = Pass(is_taken=True, at=0.0, until=0.0)
        assert not slow.turn_now(claim, replace(late, until=-1.0)).is_taken
        (state,) = mail.gate.store.states(["provider"])
        assert state.used == RETAKES_MAX


def test_a_provider_that_says_when_rests_until_then_for_all_workers(database_url: str) -> None:
    """429 with Retry-After: nobody knocks before, no attempt is used up, afterwards mail leaves."""
    fake, other = FakeAdapter(), FakeAdapter()
    fake.next(FakeMode.RATE_LIMITED, retry_after_s=300.0)
    with front_desk(database_url, fake) as mail, front_desk(database_url, other) as elsewhere:
        first, second = shown(mail, mail.deliver(note())), shown(mail, elsewhere.deliver(note()))
        for one in (first, second, shown(mail, mail.deliver(note()))):
            assert (one.state, one.attempts) == (DispatchState.QUEUED, 0)
            assert 295 < due_in_s(one) <= 301
        assert other.sent == fake.sent == ()
        assert elsewhere.gate.store.paces()["default"].paused_for_s > 295
        with psycopg.connect(database_url) as owner:
            owner.execute("update mailglass.adapter_paces set paused_until = now()")
            owner.execute("update mailglass.messages set run_at = now()")
        elsewhere.gate._known.clear()
        elsewhere.dispatch_due()
        assert len(other.sent) == 3


def test_an_operator_frees_an_adapter_that_rests(database_url: str) -> None:
    """Also for the worker that was refused itself."""
    fake = FakeAdapter()
    fake.next(FakeMode.RATE_LIMITED, retry_after_s=300.0)
    with front_desk(database_url, fake) as mail:
        mail.deliver(note())
        assert mail.deliver(note()).state is DispatchState.QUEUED
        assert mail.gate.store.free("default") is not None
        assert mail.gate.store.free("default") is None
        assert mail.deliver(note()).state is DispatchState.SENT


def test_what_waited_for_an_adapter_is_due_when_it_is_freed(database_url: str) -> None:
    """The mail that it refused and those kept back; nobody waits for a time that is none any more."""
    fake = FakeAdapter()
    fake.next(FakeMode.RATE_LIMITED, retry_after_s=3_600.0)
    with front_desk(database_url, fake) as mail:
        waiting = [mail.deliver(note()) for _ in range(3)]
        codes = [one.code for one in waiting]
        assert mail.dispatch_due() == 0
        assert mail.gate.store.free("default") == 3
        mail.dispatch_due()
        assert {shown(mail, one).state for one in waiting} == {DispatchState.SENT}
        assert mail.store.broken_chains() == ()
    assert codes == ["http 429", "rate_limited", "rate_limited"]


def test_what_waited_for_a_learnt_rate_is_due_when_it_is_freed(database_url: str) -> None:
    """Whenever its turn would have come."""
    with front_desk(database_url) as mail:
        mail.gate.store.slow("default", 0.0)
        waiting = [mail.deliver(note()) for _ in range(4)]
        kept = [one for one in waiting if one.state is DispatchState.QUEUED]
        assert len(kept) >= 2
        assert mail.gate.store.free("default") == len(kept)


def test_freeing_an_adapter_wakes_nothing_that_waits_for_something_else(database_url: str) -> None:
    """A limit of ours, a time of its own, a hold, another adapter, a retry after trouble."""
    fake = FakeAdapter()
    limits = [{"per": ["sender_domain"], "rate": "2/h"}]
    later = datetime.now(UTC) + timedelta(hours=5)
    with front_desk(database_url, fake, limits=limits, jitter_s=600.0) as mail:
        fake.next(FakeMode.REJECT_TEMPORARY)
        mail.deliver(note())
        waiting = [mail.deliver(OPERATIONAL) for _ in range(3)]
        assert waiting[-1].code == "rate_limited"
        mail.deliver_later(note(send_at=later))
        mail.gate.store.pause("other", 60.0)
        mail.gate.store.pause("default", 60.0)
        held = mail.deliver(note())
        assert held.code == "rate_limited"
        mail.outbox.hold(held.id, actor="ann")
        assert (mail.gate.store.free("other"), mail.gate.store.free("default")) == (0, 0)


def test_a_longer_rest_is_not_cut_short(database_url: str) -> None:
    """Two workers are refused at once and told different times."""
    with front_desk(database_url) as mail:
        mail.gate.store.pause("default", 300.0)
        assert mail.gate.store.pause("default", 1.0).paused_for_s > 295


def test_a_provider_that_does_not_say_when_is_asked_half_as_much(database_url: str) -> None:
    """429 without Retry-After: the rate of late is halved, once for refusals that come together."""
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail:
        for _ in range(40):
            mail.deliver(note())
        fake.next(FakeMode.RATE_LIMITED, times=2)
        claims = claimed(mail, None, None)
        for one in claims:
            worker = replace(mail.dispatcher, gate=Gate.of(mail.store, mail.settings))
            attempt = worker.attempt(one, None, FREE)
            assert [verdict.retry_after_s for verdict in attempt.verdicts] == [PAUSE_S]
        pace = mail.gate.store.paces()["default"]
        assert pace.rate_per_s == pytest.approx(2.0, rel=0.05)
        assert 0 < pace.paused_for_s <= PAUSE_S


@pytest.mark.parametrize(("after_s", "factor"), [(0, 1.0), (RECOVERY_S, 2.0), (600, 11.0)])
def test_a_learnt_rate_comes_back_little_by_little(
    database_url: str, after_s: float, factor: float
) -> None:
    """In a minute to where it was, and on at that pace; after a quarter of an hour it is forgotten."""
    with front_desk(database_url) as mail:
        mail.gate.store.slow("default", 0.0)
        elapse(database_url, after_s)
        assert mail.gate.store.paces()["default"].rate_per_s == pytest.approx(0.5 * factor, rel=0.1)
        elapse(database_url, 900 - after_s)
        assert mail.gate.store.paces() == {}


def elapse(database_url: str, seconds: float) -> None:
    """Let time pass for what providers taught."""
    with psycopg.connect(database_url) as owner:
        owner.execute(
            "update mailglass.adapter_paces set cut_at = cut_at - make_interval(secs => %s)",
            [seconds],
        )


def test_a_learnt_rate_has_a_floor(database_url: str) -> None:
    """A provider that refuses everything is still asked now and then."""
    with front_desk(database_url) as mail:
        for _ in range(12):
            mail.gate.store.slow("default", 0.0)
            elapse(database_url, 3.0)
        assert (mail.gate.store.paces()["default"].rate_per_s or 0) < RATE_FLOOR_PER_S * 1.2
        mail.gate.store.slow("default", 0.0)
        rate = mail.gate.store.paces()["default"].rate_per_s
        assert rate == pytest.approx(RATE_FLOOR_PER_S, rel=0.05)


def test_a_learnt_rate_spreads_the_mail_of_all_workers(database_url: str) -> None:
    """Without any limit configured; it is a limit of its own, counted in calls."""
    with front_desk(database_url) as mail, front_desk(database_url) as elsewhere:
        mail.gate.store.slow("default", 0.0)
        to_many = note(to=["a@mail.example", "b@mail.example"])
        assert mail.deliver(to_many).state is DispatchState.SENT
        waits = shown(mail, elsewhere.deliver(note()))
        assert waits.state is DispatchState.QUEUED
        assert 1.0 < due_in_s(waits) <= 2.1


@pytest.mark.parametrize(
    ("code", "throttled"),
    [
        ("http 429", True),
        ("http 429 rate_limit_exceeded", True),
        ("http 420 2101", True),
        ("http 400 ThrottlingException", True),
        ("http 200 ACCOUNT_THROTTLED", True),
        ("454", True),
        ("450 4.2.0", False),
        ("http 503", False),
        ("http 4290", False),
        ("timeout", False),
        (None, False),
    ],
)
def test_what_was_too_much_is_told_from_what_failed(code: str | None, *, throttled: bool) -> None:
    """A greylisted recipient or a broken server is no reason to slow everybody down."""
    nobody = Verdict(
        delivery_id=UUID(int=1), failure_class=FailureClass.NOT_SENT, code=code, retry_after_s=5.0
    )
    assert is_throttled(nobody) is throttled
    assert not is_throttled(replace(nobody, failure_class=FailureClass.PERMANENT))


def test_a_verdict_is_written_though_the_lesson_is_not(database_url: str) -> None:
    """The database goes away between the refusal and the lesson."""
    fake = FakeAdapter()
    fake.next(FakeMode.RATE_LIMITED, retry_after_s=30.0)

    class Away(PacingStore):
        def pause(self, *_args: Any) -> NoReturn:
            raise DatabaseAwayError

    with front_desk(database_url, fake) as mail:
        (claim,) = claimed(mail, None)
        gate = Gate(store=Away(store=mail.store), limits=())
        attempt = replace(mail.dispatcher, gate=gate).attempt(claim)
        assert [one.retry_after_s for one in attempt.verdicts] == [30.0]


def test_nothing_leaves_while_nobody_can_tell_whose_turn_it_is(database_url: str) -> None:
    """The limits cannot be asked: the mail goes back, and no attempt is used up."""
    fake = FakeAdapter()

    class Away(PacingStore):
        def take(self, *_args: Any, **_kwargs: Any) -> NoReturn:
            raise DatabaseAwayError

    with front_desk(database_url, fake, **HOURLY) as mail:
        (claim,) = claimed(mail, None)
        gate = Gate(store=Away(store=mail.store), limits=mail.settings.limits)
        dispatcher = replace(mail.dispatcher, gate=gate)
        assert dispatcher.passes_of([claim]) == {}
        attempt = dispatcher.attempt(claim)
        assert (attempt.released, attempt.verdicts, fake.sent) == ("rate_limited", (), ())
