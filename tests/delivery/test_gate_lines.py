"""What others cost at the gate: nobody waits for another's day, another's rest, or mail that never leaves."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from broker_servers import redis_server
from front_desk import BULK, HERE, front_desk, note
from mailglass import (
    DispatchState,
    Mailglass,
    Message,
    SendError,
    Stream,
    Suppression,
    SuppressionReason,
    SuppressionScope,
    tenant,
)
from mailglass.adapters.fake import FakeAdapter
from mailglass.clock import boot_seconds
from mailglass.errors import SendErrorType
from mailglass.pacing.buckets import Request, Traffic, asks_of
from mailglass.preflight import Context, Phase
from mailglass.preflight.standard import CHECKS

LIMITS: list[dict[str, Any]] = [
    {"per": ["provider"], "rate": "600/min"},
    {"per": ["sender_domain"], "match": {"sender_domain": "news.shop.example"}, "daily": 1},
]
NOTICE = note(stream=Stream.OPERATIONAL)
HASTY = NOTICE.replace(sender="News <a@news.shop.example>")
LETTER = note(stream=Stream.BULK, mailable="app.News", text=f"News. {HERE}")
PROVIDER_S = 1.0
"""After so long the provider's bucket is full again."""


def beyond_its_day(mail: Mailglass) -> None:
    """Let one tenant send more than its day allows, and wait until the provider has room again."""
    with tenant("hasty"):
        assert mail.deliver(HASTY).state is DispatchState.SENT
        assert mail.deliver(HASTY).state is DispatchState.QUEUED
    time.sleep(PROVIDER_S)


def due_in_s(mail: Mailglass, delivery_id: UUID) -> float:
    """Return in how many seconds a delivery is tried; 0 or less for one that was sent."""
    found = mail.delivery(delivery_id)
    assert found is not None
    return 0.0 if found.run_at is None else (found.run_at - datetime.now(UTC)).total_seconds()


def shown(mail: Mailglass, delivery_id: UUID) -> str | None:
    """Return the code that a delivery shows."""
    found = mail.delivery(delivery_id)
    assert found is not None
    return found.code


def test_a_tenant_beyond_its_own_day_holds_up_nobody_else(database_url: str) -> None:
    """Twelve mails of another, claimed together: all of them leave within moments, not at midnight."""
    with front_desk(database_url, limits=LIMITS) as mail:
        beyond_its_day(mail)
        with tenant("patient"):
            mail.deliver_many([NOTICE] * 12)
        claims = mail.dispatcher.claim_due(Stream.OPERATIONAL, limit=50)
        assert {one.tenant_id for one in claims} == {"patient"}
        now = boot_seconds()
        assert max(one.at - now for one in mail.gate.passes_of(claims).values()) < 10


def test_bulk_mail_of_others_does_not_wait_for_the_end_of_a_tenants_day(database_url: str) -> None:
    """Nothing at all is before it."""
    with front_desk(database_url, limits=LIMITS, **BULK) as mail:
        beyond_its_day(mail)
        with tenant("patient"):
            assert mail.deliver(LETTER).state is DispatchState.SENT


@pytest.mark.redis
def test_in_redis_bulk_mail_of_others_does_not_wait_for_it_either(
    database_url: str, tmp_path: Path
) -> None:
    """The script keeps the same lines."""
    with (
        redis_server(tmp_path) as (url, _process),
        front_desk(database_url, limits=LIMITS, limits_redis_url=url, **BULK) as mail,
    ):
        beyond_its_day(mail)
        with tenant("patient"):
            assert mail.deliver(LETTER).state is DispatchState.SENT


def test_a_resting_adapter_sets_no_line_for_the_others(database_url: str) -> None:
    """One provider wants an hour's rest; mail to the same domain by another is not put off by it."""
    limits = [{"per": ["recipient_domain"], "rate": "600/min"}]

    def by(ref: str, number: int) -> Request:
        made = Request()
        for _ in range(number):
            one = Traffic(
                tenant="default", stream="operational", sender_domain="shop.example", provider=ref,
                recipients={"mail.example": 1},
            )  # fmt: skip
            made.add(one, asks_of(mail.settings.limits, one, delays=True), adapter_ref=ref)
        return made

    with front_desk(database_url, limits=limits) as mail:
        mail.gate.store.pause("one", 3600.0)
        (waits,) = mail.gate.store.take(by("one", 1), hold_s=0.5, plans=True)
        assert (waits.is_taken, waits.blocker) == (False, "paused")
        granted = mail.gate.store.take(by("two", 12), hold_s=0.5, plans=True)
        assert max(one.wait_us for one in granted) < 10_000_000


def test_cancelled_mail_leaves_no_line_behind_it(database_url: str) -> None:
    """A batch that was put off and then cancelled does not keep the adapter idle for as long."""
    with front_desk(database_url, limits=[{"per": ["provider"], "rate": "60/min"}]) as mail:
        batch = mail.deliver_many([NOTICE] * 60)
        mail.dispatch_due(messages_max=100)
        for one in batch:
            mail.cancel(one.id)
        with psycopg.connect(database_url) as owner:
            owner.execute(
                "update mailglass.limit_states set full_at = now(), awaited = now() - interval '6 s'"
            )
        late = [due_in_s(mail, mail.deliver(NOTICE).id) for _ in range(3)]
    assert max(late) < 10


def test_what_is_beyond_the_pace_of_a_domain_leaves_later_in_its_order(database_url: str) -> None:
    """All of it is queued; each mail has a time of its own behind the one before it."""
    pace = [{"per": ["recipient_domain"], "match": {"stream": "bulk"}, "rate": "100/min"}]
    with front_desk(database_url, limits=pace, **BULK) as mail:
        found = mail.deliver_many([LETTER] * 8)
        assert {one.state for one in found} == {DispatchState.QUEUED}
        mail.dispatch_due()
        waiting = [one.id for one in found if shown(mail, one.id) == "rate_limited"]
        late = [mail.delivery(one) for one in waiting]
    times = [one.run_at for one in late if one is not None and one.run_at is not None]
    assert len(times) >= 6
    gaps = [(after - before).total_seconds() for before, after in pairwise(times)]
    assert gaps == pytest.approx([60.05 / 100] * len(gaps), abs=0.1)


def refuse(mail: Mailglass, address: str) -> None:
    """Refuse an address for good."""
    mail.suppress(
        Suppression(
            scope=SuppressionScope.ADDRESS, value=address,
            reason=SuppressionReason.MANUAL, source="test",
        )
    )  # fmt: skip


def test_mail_that_is_refused_at_dispatch_uses_up_nothing_of_the_provider(
    database_url: str,
) -> None:
    """One tenant's mail is suppressed by then and never gets there: the day is for the others."""
    fake = FakeAdapter()
    with front_desk(database_url, fake, limits=[{"per": ["provider"], "daily": 3}]) as mail:
        with tenant("hasty"):
            for _ in range(3):
                mail.deliver_later(note())
            refuse(mail, "zoe@mail.example")
        mail.dispatch_due()
        assert fake.sent == ()
        with tenant("patient"):
            assert mail.deliver(note(to="ann@mail.example")).state is DispatchState.SENT


def test_a_worker_asks_no_pass_for_mail_that_is_refused(database_url: str) -> None:
    """Of a whole claim, what a suppression touches is left out."""
    with front_desk(database_url, limits=[{"per": ["provider"], "daily": 3}]) as mail:
        mail.deliver_many([note(), note(to="ann@mail.example"), note()])
        refuse(mail, "zoe@mail.example")
        claims = mail.dispatcher.claim_due(Stream.TRANSACTIONAL, limit=9)
        known = mail.dispatcher.suppressions_of(claims)
        turns = mail.dispatcher.passes_of(claims, known)
        ended = [
            mail.dispatcher.attempt(one, known["default"], turns.get(one.message_id))
            for one in claims
        ]
        (state,) = mail.gate.store.states(["provider"])
        assert (len(turns), state.used) == (1, 1)
        assert [one.error is None for one in ended] == [False, True, False]


def test_what_another_check_refuses_uses_up_nothing_either(database_url: str) -> None:
    """Where a mail is tried alone, all checks are asked before its pass."""

    def refuses(_message: Message, context: Context) -> None:
        if context.phase is Phase.DISPATCH:
            raise SendError("not today", type=SendErrorType.PREFLIGHT_REJECTED)

    limits = [{"per": ["provider"], "daily": 3}]
    with front_desk(database_url, limits=limits, checks=(*CHECKS, refuses)) as mail:
        with pytest.raises(SendError, match="not today"):
            mail.deliver(note())
        assert mail.gate.store.states(["provider"]) == ()


def test_a_scheduled_mail_takes_what_its_caller_is_allowed_once(database_url: str) -> None:
    """Though the checks look at it before its turn has come, and again then."""
    limits = [{"per": ["provider"], "rate": "1000/s"}, {"per": ["tenant"], "rate": "9/h"}]
    with front_desk(database_url, limits=limits) as mail:
        mail.deliver(NOTICE.replace(send_at=datetime.now(UTC)))
        mail.dispatch_due()
        (state,) = mail.gate.store.states(["tenant"])
        assert state.used == 1
