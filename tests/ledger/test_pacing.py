"""Passes in Postgres: exact waits, windows that hold, days and warm-ups, and no deadlock."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker_servers import redis_server
from mailglass.delivery.redis_pacing import RedisPacing
from mailglass.ledger.pacing import PacingStore
from mailglass.ledger.store import Store
from mailglass.pacing.buckets import Ask, Bucket, Granted, Request, Traffic
from mailglass.pacing.redis_passes import RedisPasses
from mailglass.pacing.vocabulary import LATE_S, Limit

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
EXAMPLES = int(os.environ.get("MAILGLASS_HYPOTHESIS_EXAMPLES", "60"))
SOME = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the URL of a Redis that is these tests' own."""
    with redis_server(tmp_path_factory.mktemp("redis")) as (url, _process):
        yield url


@pytest.fixture(params=["postgres", pytest.param("redis", marks=pytest.mark.redis)])
def pacing(request: pytest.FixtureRequest, database_url: str) -> Iterator[PacingStore]:
    """Yield the passes of a fresh database or Redis, with the rights of the application."""
    with Store(database_url, role="mailglass_app") as store:
        if request.param == "postgres":
            yield PacingStore(store=store)
            return
        passes = RedisPasses(request.getfixturevalue("redis_url"))
        passes._redis.flushall()
        pacing = RedisPacing(store=store, passes=passes)
        yield pacing
        pacing.close()


def limit(**fields: Any) -> Limit:
    """Return a limit per provider."""
    return Limit.model_validate({"per": ["provider"]} | fields)


def mail(
    *asks: Ask, stream: str = "bulk", ref: str | None = None, returns: bool = False
) -> Callable[[Request], None]:
    """Return what adds one mail to a request."""
    about = Traffic(tenant="t", stream=stream, sender_domain="s", provider=None, recipients={})
    return lambda request: request.add(about, asks, adapter_ref=ref, returns=returns)


def ask(of: Limit, key: str = "k", cost: int = 1, *, counted: bool = False) -> Ask:
    """Return how much of a limit's bucket is asked."""
    return Ask(bucket=Bucket.of(of, key), cost=cost, is_counted=counted)


def take(
    pacing: PacingStore, *mails: Callable[[Request], None], at: datetime | None, **how: Any
) -> tuple[Granted, ...]:
    """Ask for the passes of mails at a moment."""
    request = Request()
    for one in mails:
        one(request)
    return pacing.take(request, **({"hold_s": 0.0, "plans": False} | how), at=at)


@SOME
@given(
    capacity=st.floats(0.5, 500),
    per_s=st.floats(0.01, 500),
    costs=st.lists(st.integers(1, 50), min_size=1, max_size=5),
    key=st.uuids(),
)
def test_the_wait_is_exact(
    pacing: PacingStore, capacity: float, per_s: float, costs: list[int], key: object
) -> None:
    """Asked again after retry_after_ms it passes; a millisecond before, it is refused."""
    bucket = Bucket.plain("exact", str(key), capacity=capacity, per_s=per_s)
    at = NOON
    for cost in costs:
        one = mail(Ask(bucket=bucket, cost=cost, is_counted=False))
        (first,) = take(pacing, one, at=at)
        if first.is_taken:
            continue
        wait_ms = -(-first.wait_us // 1000)
        (early,) = take(pacing, one, at=at + timedelta(milliseconds=wait_ms - 1))
        assert not early.is_taken
        at += timedelta(milliseconds=wait_ms)
        (then,) = take(pacing, one, at=at)
        assert then.is_taken


def fullest(times_us: list[int]) -> int:
    """Return the most that any second, from its beginning to before its end, holds."""
    return max(bisect_left(times_us, begin + 1_000_000) - at for at, begin in enumerate(times_us))


@SOME
@given(
    burst=st.integers(1, 14),
    gaps_ms=st.lists(st.integers(0, 400), min_size=60, max_size=60),
    late=st.lists(st.floats(0, 1), min_size=60, max_size=60),
    key=st.uuids(),
)
def test_no_window_sees_more_than_the_rate(
    pacing: PacingStore, burst: int, gaps_ms: list[int], late: list[float], key: object
) -> None:
    """Whatever the burst, whenever mail comes, and however late within its pass each leaves."""
    of, at, sent = limit(rate="14/s", burst=burst), NOON, []
    for gap_ms, lateness in zip(gaps_ms, late, strict=True):
        at += timedelta(milliseconds=gap_ms * (gap_ms % 7 == 0))
        (one,) = take(pacing, mail(ask(of, str(key))), at=at, hold_s=600.0)
        assert one.is_taken
        left_at = (at - NOON) // timedelta(microseconds=1) + one.wait_us
        sent.append(left_at + int(lateness * LATE_S * 1e6))
    assert fullest(sorted(sent)) <= 14


def test_a_mail_to_many_keeps_the_window_too(pacing: PacingStore) -> None:
    """Recipients are what a provider counts."""
    of, sent = limit(rate="14/s"), list[int]()
    for cost in (5, 1, 9, 14, 3, 2, 12, 1, 1, 7) * 3:
        (one,) = take(pacing, mail(ask(of, cost=cost)), at=NOON, hold_s=600.0)
        sent += [one.wait_us] * cost
    assert fullest(sent) <= 14


def test_all_buckets_are_taken_from_or_none(pacing: PacingStore) -> None:
    """A mail that one limit puts off uses up nothing of the others."""
    wide, tight = limit(rate="5/min"), limit(per=["tenant"], rate="1/min")
    both = mail(ask(wide), ask(tight))
    assert [one.is_taken for one in take(pacing, both, both, both, at=NOON)] == [True, False, False]
    (only,) = take(pacing, mail(ask(wide)), at=NOON + timedelta(seconds=13))
    assert only.is_taken


def test_the_limit_that_puts_off_longest_is_named(pacing: PacingStore) -> None:
    """So that an operator knows which to look at."""
    quick, slow = limit(rate="10/s"), limit(per=["recipient_domain"], rate="1/min")
    first, second = take(pacing, *[mail(ask(quick), ask(slow))] * 2, at=NOON)
    assert (first.blocker, second.blocker) == (None, "recipient_domain")


def test_a_pass_that_comes_soon_is_taken_now(pacing: PacingStore) -> None:
    """Within the time that the caller would wait, and not beyond."""
    of = limit(rate="10/s")
    found = take(pacing, *[mail(ask(of))] * 8, at=NOON, hold_s=0.5, plans=True)
    assert [one.is_taken for one in found] == [True] * 5 + [False] * 3
    assert [one.wait_us for one in found[:5]] == [105_000 * at for at in range(5)]


def test_mail_that_is_put_off_gets_times_of_its_own(pacing: PacingStore) -> None:
    """One behind the other, over all calls: they do not come back all at once."""
    of = limit(rate="10/s")
    waits = [
        one.wait_us
        for _ in range(3)
        for one in take(pacing, *[mail(ask(of))] * 5, at=NOON, hold_s=0.2, plans=True)
        if not one.is_taken
    ]
    assert len(waits) == 13
    assert {after - before for before, after in pairwise(waits)} == {105_000}


def test_bulk_mail_yields_to_transactional_mail_that_waits(pacing: PacingStore) -> None:
    """When passes are scarce, those put off on a better stream come first."""
    of = limit(rate="10/s")
    urgent = mail(ask(of), stream="transactional")
    bulk = mail(ask(of))
    put_off = take(pacing, *[urgent] * 5, at=NOON, plans=True)[-1]
    assert put_off.wait_us == 420_000
    later = NOON + timedelta(milliseconds=110)
    (waits,) = take(pacing, bulk, at=later, plans=True)
    assert (waits.is_taken, waits.wait_us) == (False, 415_000)
    (goes,) = take(pacing, urgent, at=later, plans=True)
    assert goes.is_taken


def test_only_the_limit_that_a_mail_waits_for_gives_it_a_place(pacing: PacingStore) -> None:
    """A line of the others would end as far off, and all that they are about would stand in it."""
    wide, tight = limit(rate="10/s"), limit(per=["tenant"], rate="1/h")
    both = mail(ask(wide), ask(tight), stream="operational")
    put_off = take(pacing, *[both] * 3, at=NOON, plans=True)[1:]
    assert [round(one.wait_us / 3600e6) for one in put_off] == [1, 2]
    (bulk,) = take(pacing, mail(ask(wide)), at=NOON + timedelta(seconds=1), plans=True)
    assert bulk.is_taken


def test_the_end_of_a_day_makes_no_line_in_the_same_limit(pacing: PacingStore) -> None:
    """A mail to many that today has no room for does not keep smaller ones from leaving."""
    of = limit(rate="10/s", daily=9)
    large = mail(ask(of, cost=9), stream="operational")
    granted = take(pacing, mail(ask(of)), large, at=NOON, plans=True)
    assert [one.is_taken for one in granted] == [True, False]
    (small,) = take(pacing, mail(ask(of)), at=NOON + timedelta(seconds=1), plans=True)
    assert small.is_taken


def test_a_line_in_which_nobody_stands_is_forgotten(pacing: PacingStore) -> None:
    """The mail that had a place in it was cancelled: none of it has come back for some seconds."""
    of = limit(rate="60/min")
    urgent, bulk = mail(ask(of), stream="transactional"), mail(ask(of))
    assert take(pacing, *[urgent] * 60, at=NOON, plans=True)[-1].wait_us > 58e6
    (waits,) = take(pacing, bulk, at=NOON + timedelta(seconds=4), plans=True)
    assert (waits.is_taken, waits.wait_us > 50e6) == (False, True)
    (goes,) = take(pacing, bulk, at=NOON + timedelta(seconds=7), plans=True)
    assert goes.is_taken


@pytest.mark.parametrize("returns", [True, False])
def test_a_line_stands_for_as_long_as_its_mail_comes_back(
    pacing: PacingStore, *, returns: bool
) -> None:
    """What comes for the first time says nothing of those who waited, however busy it keeps the bucket."""
    of = limit(rate="60/min")
    urgent = mail(ask(of), stream="transactional")
    take(pacing, *[urgent] * 60, at=NOON, plans=True)
    one = mail(ask(of), stream="transactional", returns=returns)
    for second in range(2, 10, 2):
        assert take(pacing, one, at=NOON + timedelta(seconds=second), plans=True)[0].is_taken
    (bulk,) = take(pacing, mail(ask(of)), at=NOON + timedelta(seconds=10), plans=True)
    assert bulk.is_taken is not returns


def test_a_line_stands_while_a_mail_to_many_waits_for_its_tokens(pacing: PacingStore) -> None:
    """Forgotten, it would let lesser mail take what is gathered for the larger one, again and again."""
    of = limit(rate="60/min")
    large = mail(ask(of, cost=30), stream="transactional")
    (waits,) = take(pacing, mail(ask(of)), large, at=NOON, plans=True)[1:]
    assert not waits.is_taken
    (bulk,) = take(pacing, mail(ask(of)), at=NOON + timedelta(seconds=20), plans=True)
    assert not bulk.is_taken
    (goes,) = take(pacing, large, at=NOON + timedelta(microseconds=waits.wait_us), plans=True)
    assert goes.is_taken


def test_counted_mail_never_waits_and_is_felt_by_the_others(pacing: PacingStore) -> None:
    """Transactional mail in a warm-up: it goes, and the rest of the day's number is smaller."""
    of = limit(per=["sender_domain"], daily=3)
    through = mail(ask(of, cost=2, counted=True), stream="transactional")
    assert all(one.is_taken for one in take(pacing, through, through, at=NOON))
    (after,) = take(pacing, mail(ask(of)), at=NOON)
    assert (after.is_taken, after.wait_us) == (False, 12 * 3600 * 1_000_000)


@pytest.mark.parametrize(
    ("zone", "at", "wait_h"),
    [
        ("UTC", NOON, 12),
        ("Europe/Dublin", NOON, 12),
        ("America/New_York", NOON, 17),
        ("Asia/Tokyo", NOON, 3),
        ("Europe/Berlin", datetime(2026, 3, 28, 23, 30, tzinfo=UTC), 22.5),
        ("Europe/Berlin", datetime(2026, 10, 24, 22, 30, tzinfo=UTC), 24.5),
    ],
)
def test_a_day_ends_at_midnight_in_the_zone_of_the_limit(
    pacing: PacingStore, zone: str, at: datetime, wait_h: float
) -> None:
    """Also on the days of 23 and of 25 hours; exactly then it goes on."""
    one = mail(ask(limit(daily=1, zone=zone)))
    assert take(pacing, one, at=at)[0].is_taken
    (over,) = take(pacing, one, at=at)
    assert over.wait_us == wait_h * 3600 * 1_000_000
    midnight = at + timedelta(microseconds=over.wait_us)
    assert not take(pacing, one, at=midnight - timedelta(microseconds=1))[0].is_taken
    assert take(pacing, one, at=midnight)[0].is_taken


def test_a_warm_up_allows_each_day_what_its_table_says(pacing: PacingStore) -> None:
    """Nothing before it starts, then day by day, then the limit's own number."""
    of = limit(daily=7, warm_up={"starts": "2026-03-02", "daily": [2, 4]})
    taken = []
    for day in range(5):
        at = NOON + timedelta(days=day)
        taken.append(sum(one.is_taken for one in take(pacing, *[mail(ask(of))] * 10, at=at)))
    assert taken == [0, 2, 4, 7, 7]


def test_a_mail_larger_than_the_day_leaves_on_a_day_of_its_own(pacing: PacingStore) -> None:
    """It would wait for ever otherwise."""
    of = limit(daily=3)
    large = mail(ask(of, cost=5))
    assert take(pacing, large, at=NOON)[0].is_taken
    assert not take(pacing, mail(ask(of)), at=NOON)[0].is_taken


def test_a_clock_that_was_set_back_gives_nothing_away(pacing: PacingStore) -> None:
    """The day that was counted goes on."""
    one = mail(ask(limit(daily=1)))
    assert take(pacing, one, at=NOON)[0].is_taken
    assert not take(pacing, one, at=NOON - timedelta(days=2))[0].is_taken


def test_calls_that_name_buckets_in_any_order_do_not_block_one_another(
    pacing: PacingStore,
) -> None:
    """Rows are locked in one order, whoever asks; and not one token too many is given."""
    limits = [limit(per=["tenant"], rate="60/min", burst=n) for n in (40, 50, 60)]
    asks = [ask(of, key=f"k{n}") for n, of in enumerate(limits)]

    def ask_for_some(number: int) -> int:
        order = asks[number % 3 :] + asks[: number % 3]
        return sum(one.is_taken for one in take(pacing, *[mail(*order)] * 4, at=NOON))

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask_for_some, range(40))) == 40


def test_the_databases_own_clock_is_asked(pacing: PacingStore) -> None:
    """Without a moment it is now."""
    one = mail(ask(limit(rate="1/h")))
    assert take(pacing, one, at=None)[0].is_taken
    (then,) = take(pacing, one, at=None)
    assert 3_590e6 < then.wait_us <= 3_600.05e6


def test_rows_that_say_nothing_any_more_are_dropped(database_url: str) -> None:
    """One row a recipient domain would be many; in Redis they end by themselves."""
    with Store(database_url, role="mailglass_app") as store:
        drop_idle(PacingStore(store=store))


def drop_idle(pacing: PacingStore) -> None:
    """Take from a bucket long ago and from one now, and drop what is idle."""
    take(pacing, mail(ask(limit(rate="1/s"), key="idle")), at=NOON - timedelta(days=9))
    take(pacing, mail(ask(limit(rate="1/h"), key="busy")), at=None)
    assert pacing.forget_idle() == 1
    assert [one.key for one in pacing.states(["provider"])] == ["busy"]
