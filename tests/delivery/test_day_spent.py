"""A provider's number of the day is used up: the next of the route carries the rest, where there is one."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from front_desk import note
from mailglass import Delivery, DispatchState, Mailglass, Stream
from mailglass.delivery.gate import Gate
from mailglass.delivery.steering import instead
from mailglass.ledger.pacing import PacingStore
from mailglass.ledger.rows import Routing
from mailglass.worker import Worker
from routed import departures, pair, routed

DEADLINE_S = 30.0
ZONE = "UTC" if datetime.now(UTC).hour < 12 else "Etc/GMT+12"
"""Where midnight is half a day away or more."""
TODAY = datetime.now(ZoneInfo(ZONE)).date().isoformat()
OPERATIONAL = note(stream=Stream.OPERATIONAL)


def capped(ref: str = "main", **more: Any) -> dict[str, Any]:
    """Return a limit of two a day for an adapter; keywords change it."""
    limit = {"per": ["provider"], "match": {"provider": ref}, "daily": 2, "zone": ZONE}
    return limit | more


def shown(mail: Mailglass, delivery: Delivery) -> Delivery:
    """Return the delivery as it is now."""
    found = mail.delivery(delivery.id)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "limit",
    [
        capped(),
        capped(daily=None, warm_up={"starts": TODAY, "daily": [2, 9_000]}),
        capped(rate="1000/s", burst=10),
        capped(per=["provider", "sender_domain"]),
    ],
    ids=["daily", "warm_up", "with_a_rate", "per_domain"],
)
def test_what_is_over_the_number_of_the_day_goes_by_the_next_adapter(
    database_url: str, limit: dict[str, Any]
) -> None:
    """At once, as one attempt, and the ledger tells why."""
    main, backup = pair()
    with routed(database_url, {"main": main, "backup": backup}, limits=[limit]) as mail:
        delivered = [mail.deliver(note()) for _ in range(5)]
        assert {(one.state, one.attempts) for one in delivered} == {(DispatchState.SENT, 1)}
        assert [departures(mail, one) for one in delivered] == [
            *[[]] * 2, *[[("main", "backup", "daily_limit")]] * 3,
        ]  # fmt: skip
        assert mail.store.broken_chains() == ()
    assert (len(main.sent), len(backup.sent)) == (2, 3)


@pytest.mark.parametrize(
    "more", [{}, {"rate": "1000/s", "burst": 10}], ids=["daily", "with_a_rate"]
)
def test_a_worker_uses_the_number_of_the_day_up_before_it_turns_elsewhere(
    database_url: str, more: dict[str, Any]
) -> None:
    """Passes that it got for what it claimed together are not lost."""
    main, backup = pair()
    limits = [capped(daily=7, **more)]
    stopped = threading.Event()
    with routed(database_url, {"main": main, "backup": backup}, limits=limits) as mail:
        mail.deliver_many([OPERATIONAL] * 30)
        worker = threading.Thread(target=Worker(mail=mail, poll_s=0.01).run, args=(stopped,))
        worker.start()
        end = time.monotonic() + DEADLINE_S
        while len(main.sent) + len(backup.sent) < 30:
            assert time.monotonic() < end
        stopped.set()
        worker.join(DEADLINE_S)
        found = mail.store.list_deliveries(tenant_id="default", limit=100)
    assert {one.state for one in found} == {DispatchState.SENT}
    assert len(main.sent) <= 7 if more else len(main.sent) == 7


@pytest.mark.parametrize(
    ("limits", "refs"),
    [
        ([capped()], ["main"]),
        ([capped(), capped("backup", daily=1)], ["main", "backup"]),
        ([{"per": ["sender_domain"], "daily": 2, "zone": ZONE}], ["main", "backup"]),
        ([capped(daily=None, rate="2/h", burst=2)], ["main", "backup"]),
    ],
    ids=["no_other", "all_spent", "of_the_domain", "a_rate"],
)
def test_where_no_other_has_room_mail_waits(
    database_url: str, limits: list[dict[str, Any]], refs: list[str]
) -> None:
    """It goes round in no circle; a domain's number holds whoever sends, and a rate comes back soon."""
    adapters = dict(zip(refs, pair(), strict=False))
    with routed(database_url, adapters, limits=limits) as mail:
        for _ in range(3):
            mail.deliver(OPERATIONAL)
        kept = shown(mail, mail.deliver(OPERATIONAL))
        assert mail.dispatch_due() == 0
    assert (kept.state, kept.code, kept.attempts) == (DispatchState.QUEUED, "rate_limited", 0)
    assert kept.run_at is not None
    assert kept.run_at > datetime.now(UTC)


def test_what_an_adapter_may_have_accepted_waits_for_it(database_url: str) -> None:
    """Its idempotency key means nothing to another provider."""
    main, backup = pair()
    with routed(database_url, {"main": main, "backup": backup}, limits=[capped(daily=1)]) as mail:
        mail.deliver(note())
        mail.deliver_later(note())
        (claim,) = mail.dispatcher.claim_due(Stream.TRANSACTIONAL, limit=1)
        turn = mail.dispatcher.passes_of([claim])[claim.message_id]
        assert turn.is_day_spent
        assert instead(mail.dispatcher.router, replace(claim, routing=Routing.FIXED), turn) is None


class _Counting(PacingStore):
    """Counts how often passes are asked for."""

    asked = 0

    def take(self, *given: Any, **named: Any) -> Any:
        """Count, and ask."""
        type(self).asked += 1
        return PacingStore.take(self, *given, **named)


def test_a_number_that_is_used_up_is_not_asked_for_again(database_url: str) -> None:
    """Until midnight the answer is known, for as many recipients or more."""
    main, backup = pair()
    adapters = {"main": main, "backup": backup}
    with routed(database_url, adapters, limits=[capped(daily=1)]) as mail:
        own = mail.dispatcher.gate
        assert own is not None
        gate = Gate(store=_Counting(store=mail.store), limits=own.limits, days=own.days)
        mail.deliver(note())
        mail.deliver_many([note()] * 3)
        claims = mail.dispatcher.claim_due(Stream.TRANSACTIONAL, limit=3)
        for _ in range(2):
            assert not any(one.is_taken for one in gate.passes_of(claims).values())
    assert _Counting.asked == 1
