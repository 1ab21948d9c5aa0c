"""Clocks that jump: leases, times and tokens go by Postgres' clock, waits by the one that never jumps."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from front_desk import note
from mailglass import DispatchState, Mailglass
from mailglass.adapters.fake import FakeAdapter, FakeMode
from mailglass.clock import boot_seconds, system_clock
from mailglass.delivery import dispatch
from mailglass.envelope import Accepted, Envelope
from mailglass.events import EventType
from mailglass.ledger.database import DatabaseChoice
from mailglass.settings import load_settings
from tests.faults.work import DEADLINE_S, owner, states, until, working

HOUR: Final = timedelta(hours=1)
SUSPENDED_S: Final = 600.0
JUMPS: Final = {
    "a day back": -24 * HOUR, "an hour back": -HOUR, "an hour on": HOUR, "a day on": 24 * HOUR,
}  # fmt: skip
FARTHEST: Final = [-24 * HOUR, 24 * HOUR]


@contextmanager
def _desk(
    database_url: str, fake: FakeAdapter, *, jump: timedelta = timedelta()
) -> Iterator[Mailglass]:
    """Yield a desk of a host whose wall clock is off."""
    settings = load_settings(
        database_role="mailglass_app", rate_limit_per_domain=None, retry_base_s=3_600.0,
        retry_cap_s=7_200.0,
    )  # fmt: skip
    real = time.time
    with (
        pytest.MonkeyPatch.context() as patch,
        Mailglass(
            settings,
            database=DatabaseChoice(url=database_url, source="test", is_embedded=False),
            adapters={"default": fake},
            jitter=lambda bound: bound,
            clock=lambda: system_clock() + jump,
        ) as mail,
    ):
        patch.setattr(time, "time", lambda: real() + jump.total_seconds())
        yield mail


class _Waiting(FakeAdapter):
    """A fake in the middle of whose attempts something else can happen."""

    def __init__(self) -> None:
        super().__init__()
        self.has_begun, self.may_end = threading.Event(), threading.Event()

    def send(self, envelope: Envelope) -> Accepted:
        """Tell, wait, take it."""
        self.has_begun.set()
        assert self.may_end.wait(DEADLINE_S)
        return super().send(envelope)


@pytest.mark.parametrize("jump", JUMPS.values(), ids=JUMPS)
def test_a_host_whose_clock_is_off_takes_no_lease_of_anothers(
    database_url: str, jump: timedelta
) -> None:
    """F17: it sweeps and claims all the while, and the mail leaves once, by the first attempt."""
    right, wrong = _Waiting(), FakeAdapter()
    with _desk(database_url, right) as mail, working(mail, threads=1):
        asked = mail.deliver_later(note())
        assert right.has_begun.wait(DEADLINE_S)
        with _desk(database_url, wrong, jump=jump) as other, working(other):
            swept = other.sweep()
            assert (swept.abandoned, swept.expired, other.dispatch_due()) == (0, 0, 0)
        right.may_end.set()
        until(lambda: states(database_url) == {DispatchState.SENT: 1})
        (begun,) = [
            one for one in mail.events(asked.id) if one.type is EventType.ATTEMPT_STARTED
        ]  # fmt: skip
    assert (len(right.sent), len(wrong.sent), begun.payload["token"]) == (1, 0, 1)


@pytest.mark.parametrize("jump", FARTHEST, ids=["back", "on"])
def test_scheduled_mail_leaves_by_the_databases_clock(database_url: str, jump: timedelta) -> None:
    """F17: neither early by a clock that is ahead, nor kept back by one that is behind."""
    fake = FakeAdapter()
    with _desk(database_url, fake, jump=jump) as mail:
        later = mail.deliver_later(note(), at=datetime.now(UTC) + HOUR / 2)
        due = mail.deliver_later(note(), at=datetime.now(UTC) - HOUR / 2)
        with working(mail):
            until(lambda: DispatchState.SENT in states(database_url))
        known = [mail.delivery(one.id) for one in (later, due)]
    assert [one.state for one in known if one] == [DispatchState.QUEUED, DispatchState.SENT]


@pytest.mark.parametrize("jump", FARTHEST, ids=["back", "on"])
def test_the_next_attempt_is_timed_by_the_databases_clock(
    database_url: str, jump: timedelta
) -> None:
    """F17: an hour after a temporary no is an hour, wherever the host's clock stands."""
    fake = FakeAdapter()
    fake.next(FakeMode.REJECT_TEMPORARY)
    with _desk(database_url, fake, jump=jump) as mail:
        mail.deliver(note())
        assert mail.dispatch_due() == 0
    with owner(database_url) as connection:
        row = connection.execute(
            "select run_at between now() + interval '55 min' and now() + interval '65 min'"
            " from mailglass.messages"
        ).fetchone()
    assert row == (True,)


def test_a_host_that_slept_between_claim_and_sending_sends_nothing_late(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F17: the clock that goes on while a machine sleeps tells; the wall clock was set back meanwhile."""
    fake = FakeAdapter()
    with _desk(database_url, fake, jump=-HOUR) as mail:
        asked = mail.deliver_later(note())
        claim = mail.dispatcher.claim(asked.tenant_id, asked.message_id)
        assert claim is not None
        with monkeypatch.context() as asleep:
            asleep.setattr(dispatch, "boot_seconds", lambda: boot_seconds() + SUSPENDED_S)
            attempt = mail.dispatcher.attempt(claim)
            mail.dispatcher.finalize([attempt])
        assert (attempt.released, len(fake.sent)) == ("claim_too_old", 0)
        assert mail.dispatch(asked.id).state is DispatchState.SENT
    assert len(fake.sent) == 1
