"""What is remembered of a day that is used up: no more than is certain, and no longer than the day."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from mailglass.pacing.buckets import Ask, Bucket
from mailglass.pacing.days import SPENT_MAX, SpentDays
from mailglass.pacing.vocabulary import Limit

NOON: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
HALF_A_DAY_S: Final = 43_200.0
NOW: Final = 1_000.0


def _limit(**more: Any) -> Limit:
    given: dict[str, Any] = {"per": ["provider"], "daily": 50} | more
    return Limit(**given)


def _days(limit: Limit) -> SpentDays:
    return SpentDays(limits=(limit,), clock=lambda: NOON)


def _ask(limit: Limit, *, key: str = "main", cost: int = 1) -> Ask:
    return Ask(bucket=Bucket.of(limit, key), cost=cost, is_counted=False)


def _heard(limit: Limit, *asks: Ask, wait_s: float = HALF_A_DAY_S) -> SpentDays:
    days = _days(limit)
    days.note(asks, limit.name, wait_s=wait_s, now=NOW)
    return days


def test_a_day_that_is_used_up_is_so_until_its_midnight() -> None:
    """And not a moment longer, however long the mail was put off for."""
    limit = _limit()
    days = _heard(limit, _ask(limit), wait_s=HALF_A_DAY_S + 600)
    assert days.until([_ask(limit)], now=NOW) == (NOW + HALF_A_DAY_S, "provider")
    assert days.until([_ask(limit)], now=NOW + HALF_A_DAY_S) is None


def test_midnight_is_that_of_the_limits_zone() -> None:
    """In New York it is five hours later."""
    limit = _limit(zone="America/New_York")
    later_s = HALF_A_DAY_S + 5 * 3600
    assert _heard(limit, _ask(limit)).until([_ask(limit)], now=NOW) is None
    days = _heard(limit, _ask(limit), wait_s=later_s)
    assert days.until([_ask(limit)], now=NOW) == (NOW + later_s, "provider")


def test_a_wait_that_ends_before_midnight_is_a_rates() -> None:
    """It says nothing of the day."""
    limit = _limit(rate="1/h")
    assert _heard(limit, _ask(limit), wait_s=3_600).until([_ask(limit)], now=NOW) is None


def test_a_mail_to_fewer_may_still_have_room() -> None:
    """Five did not fit; three may, and six do not."""
    limit = _limit()
    days = _heard(limit, _ask(limit, cost=5))
    found = {cost: days.until([_ask(limit, cost=cost)], now=NOW) for cost in (3, 5, 6)}
    assert [cost for cost, until in found.items() if until] == [5, 6]


def test_each_count_is_used_up_by_itself() -> None:
    """Another adapter's has room."""
    limit = _limit()
    assert _heard(limit, _ask(limit)).until([_ask(limit, key="backup")], now=NOW) is None


def test_of_several_counts_nobody_can_tell_which_it_was() -> None:
    """A mail to two domains that one of them puts off says nothing of the other."""
    limit = _limit(per=["provider", "recipient_domain"])
    both = [_ask(limit, key=one) for one in ("a.example", "b.example")]
    assert _heard(limit, *both).until(both, now=NOW) is None


def test_a_limit_that_knows_no_provider_is_not_remembered() -> None:
    """No other adapter has room for what a domain may not send."""
    limit = _limit(per=["sender_domain"])
    assert _heard(limit, _ask(limit)).until([_ask(limit)], now=NOW) is None


def test_what_is_remembered_has_a_bound() -> None:
    """The oldest goes."""
    limit = _limit()
    days = _days(limit)
    for number in range(SPENT_MAX + 1):
        asks = [_ask(limit, key=f"k{number}")]
        days.note(asks, limit.name, wait_s=HALF_A_DAY_S, now=NOW)
    assert days.until([_ask(limit, key="k0")], now=NOW) is None
    assert days.until([_ask(limit, key="k1")], now=NOW) is not None
