"""Sending again by hand: nobody gets a mail twice unless somebody said that they may."""

from __future__ import annotations

from collections.abc import Callable
from threading import Barrier, Thread
from uuid import UUID

import psycopg
import pytest

from front_desk import count, front_desk, note
from mailglass import DispatchState, Mailglass, SendError
from mailglass.adapters.fake import FakeAdapter, FakeMode, SimulatedCrash
from mailglass.errors import SendErrorType


def _crash(database_url: str, mail: Mailglass, fake: FakeAdapter, mode: FakeMode) -> None:
    """Let a worker die over the one mail that waits, and sweep up behind it."""
    fake.next(mode)
    with pytest.raises(SimulatedCrash):
        mail.dispatch_due()
    with psycopg.connect(database_url) as owner:
        owner.execute("update mailglass.messages set lease_until = now() - interval '1 s'")
    mail.sweep()
    mail.sweep()


def _state(mail: Mailglass, delivery_id: UUID) -> tuple[DispatchState, str | None]:
    found = mail.delivery(delivery_id)
    assert found is not None
    return found.state, found.code


def _refusal(step: Callable[[], object]) -> str | None:
    with pytest.raises(SendError) as caught:
        step()
    assert caught.value.type is SendErrorType.INVALID_TRANSITION
    return caught.value.code


def test_what_was_cancelled_and_may_have_arrived_needs_a_word(database_url: str) -> None:
    """T15: ``cancel`` itself said that it may have arrived."""
    fake = FakeAdapter(honours_idempotency_key=True)
    with front_desk(database_url, fake) as mail:
        one = mail.deliver_later(note())
        _crash(database_url, mail, fake, FakeMode.ACCEPTED_THEN_CRASH)
        assert not mail.outbox.cancel(one.id, actor="ann")
        assert _refusal(lambda: mail.outbox.retry(one.id, actor="ann")) == "may_have_arrived"
        assert count(database_url, "messages") == 1
        new = mail.outbox.retry(one.id, actor="ann", confirm_duplicate_risk=True)
        assert new.state is DispatchState.QUEUED


def test_what_was_quarantined_may_have_arrived_and_needs_a_word(database_url: str) -> None:
    """T15: its worker died three times, the last time after the provider had taken it."""
    fake = FakeAdapter(honours_idempotency_key=True)
    with front_desk(database_url, fake) as mail:
        one = mail.deliver_later(note())
        for mode in (*[FakeMode.CRASH_BEFORE_SEND] * 2, FakeMode.ACCEPTED_THEN_CRASH):
            _crash(database_url, mail, fake, mode)
        assert _state(mail, one.id) == (DispatchState.FAILED, "poison")
        assert _refusal(lambda: mail.outbox.retry(one.id, actor="ann")) == "may_have_arrived"
        mail.outbox.retry(one.id, actor="ann", confirm_duplicate_risk=True)


def test_what_the_provider_does_not_have_needs_none(database_url: str) -> None:
    """Somebody asked it: what was unknown is settled."""
    fake = FakeAdapter()
    fake.next(FakeMode.UNKNOWN_TIMEOUT)
    with front_desk(database_url, fake) as mail:
        one = mail.deliver_later(note())
        mail.dispatch_due()
        mail.outbox.settle(one.id, was_sent=False, actor="case 7")
        assert mail.outbox.retry(one.id, actor="ann").state is DispatchState.QUEUED


def test_a_recipient_whom_it_may_have_reached_is_left_out_of_the_others(database_url: str) -> None:
    """Who certainly did not get it gets it again, and nobody is named who was not asked about."""
    fake = FakeAdapter()
    fake.for_recipient("zoe@mail.example", FakeMode.REJECT_PERMANENT)
    fake.for_recipient("ann@mail.example", FakeMode.UNKNOWN_TIMEOUT)
    with front_desk(database_url, fake) as mail:
        first = mail.deliver_later(note(cc="ann@mail.example"))
        mail.dispatch_due()
        with psycopg.connect(database_url) as owner:
            owner.execute("update mailglass.messages set updated_at = now() - interval '73 hours'")
        assert mail.sweep().given_up == 1
        unsure = mail.deliveries_of(first.message_id)[1]
        assert _refusal(lambda: mail.outbox.retry(unsure.id, actor="ann")) == "may_have_arrived"
        new = mail.outbox.retry(first.id, actor="ann")
        assert [one.kind.value for one in mail.deliveries_of(new.message_id)] == ["to"]
        late = mail.outbox.retry(unsure.id, actor="ann", confirm_duplicate_risk=True)
        assert [one.kind.value for one in mail.deliveries_of(late.message_id)] == ["cc"]


def test_a_delivery_is_sent_again_once(database_url: str) -> None:
    """The second click is told of the first, even with the word; the new delivery has its own."""
    fake = FakeAdapter()
    fake.next(FakeMode.REJECT_PERMANENT, times=2)
    with front_desk(database_url, fake) as mail:
        one = mail.deliver_later(note())
        mail.dispatch_due()
        new = mail.outbox.retry(one.id, actor="ann")
        assert _refusal(lambda: mail.outbox.retry(one.id, actor="bob")) == "resent"
        again = lambda: mail.outbox.retry(one.id, actor="bob", confirm_duplicate_risk=True)  # noqa: E731 - said once
        assert _refusal(again) == "resent"
        mail.dispatch_due()
        assert mail.outbox.retry(new.id, actor="ann").id not in {one.id, new.id}


def test_of_two_at_the_same_moment_one_sends_it_again(database_url: str) -> None:
    """Both saw the same history; the database lets one of them through."""
    fake = FakeAdapter()
    fake.next(FakeMode.REJECT_PERMANENT)
    told: list[str | None] = []
    both = Barrier(8)
    with front_desk(database_url, fake) as mail:
        one = mail.deliver_later(note())
        mail.dispatch_due()

        def click() -> None:
            both.wait()
            try:
                mail.outbox.retry(one.id, actor="ann")
            except SendError as refused:
                told.append(refused.code)

        threads = [Thread(target=click) for _ in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert told == ["resent"] * 7
        assert mail.store.broken_chains() == ()
    assert count(database_url, "messages") == 2
