"""The outbox: each step of an operator is an event with its actor, and none lies about what has left."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID, uuid4

import psycopg
import pytest

from front_desk import front_desk, note
from mailglass import DispatchState, Mailglass, SendError
from mailglass.adapters.fake import FakeAdapter, FakeMode
from mailglass.errors import SendErrorType


def _types(mail: Mailglass, delivery_id: UUID) -> list[str]:
    return [event.type.value for event in mail.events(delivery_id)]


def _state(mail: Mailglass, delivery_id: UUID) -> DispatchState:
    found = mail.delivery(delivery_id)
    assert found is not None
    return found.state


def _ended(mail: Mailglass, fake: FakeAdapter, mode: FakeMode, **changes: object) -> UUID:
    """Deliver a mail that does not get through; return its delivery."""
    fake.next(mode)
    with pytest.raises(SendError) as caught:
        mail.deliver(note(**changes))
    assert caught.value.delivery_id is not None
    return caught.value.delivery_id


def test_a_held_mail_waits_until_it_is_released(database_url: str) -> None:
    """Neither a worker nor a call takes it meanwhile."""
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail:
        one = mail.deliver_later(note())
        mail.outbox.hold(one.id, actor="zoe")
        assert mail.dispatch_due() == 0
        assert mail.dispatch(one.id).state is DispatchState.QUEUED
        mail.outbox.release(one.id, actor="zoe")
        assert mail.dispatch_due() == 1
        assert _types(mail, one.id) == [
            "queued",
            "held",
            "released",
            "attempt_started",
            "dispatched",
        ]
        assert mail.events(one.id)[1].payload == {"by": "operator", "actor": "zoe"}
        assert mail.store.broken_chains() == ()


def test_a_step_that_changes_nothing_is_refused(database_url: str) -> None:
    """Holding twice, releasing what is not held, steering what has left: no event tells a lie."""
    with front_desk(database_url) as mail:
        one, sent = mail.deliver_later(note()), mail.deliver(note())
        mail.outbox.hold(one.id, actor="zoe")
        for step in (
            lambda: mail.outbox.hold(one.id, actor="zoe"),
            lambda: mail.outbox.hold(sent.id, actor="zoe"),
            lambda: mail.outbox.release(sent.id, actor="zoe"),
            lambda: mail.outbox.reschedule(sent.id, datetime.now(UTC), actor="zoe"),
            lambda: mail.outbox.settle(sent.id, was_sent=False, actor="zoe"),
            lambda: mail.outbox.retry(sent.id, actor="zoe"),
        ):
            with pytest.raises(SendError) as caught:
                step()
            assert caught.value.type is SendErrorType.INVALID_TRANSITION
        assert len(mail.events(sent.id)) == 3
        with pytest.raises(SendError) as caught:
            mail.outbox.hold(uuid4(), actor="zoe")
        assert caught.value.type is SendErrorType.PAYLOAD_MISSING


def test_a_mail_gets_another_time(database_url: str) -> None:
    """Later, and sooner again."""
    with front_desk(database_url) as mail:
        one = mail.deliver_later(note())
        mail.outbox.reschedule(one.id, datetime.now(UTC) + timedelta(hours=1), actor="zoe")
        assert mail.dispatch_due() == 0
        mail.outbox.reschedule(one.id, datetime.now(UTC), actor="zoe")
        assert mail.dispatch_due() == 1
        with pytest.raises(SendError):
            mail.outbox.reschedule(one.id, datetime.now(), actor="zoe")  # noqa: DTZ005 - what is refused


def test_a_time_at_which_a_mail_has_expired_is_refused(database_url: str) -> None:
    """It would be answered with yes, and the mail would never leave; a new expiry goes with it."""
    with front_desk(database_url) as mail:
        one = mail.deliver_later(note())
        late = datetime.now(UTC) + timedelta(days=2)
        for expiry in (None, late, late - timedelta(hours=1)):
            with pytest.raises(SendError) as caught:
                mail.outbox.reschedule(one.id, late, expires_at=expiry, actor="zoe")
            assert caught.value.type is SendErrorType.INVALID_TRANSITION
            assert caught.value.code == "expires_first"
        assert _types(mail, one.id) == ["queued"]
        expiry = late + timedelta(hours=1)
        mail.outbox.reschedule(one.id, late, expires_at=expiry, actor="zoe")
        assert mail.events(one.id)[-1].payload["expires_at"] == expiry.isoformat()
    with psycopg.connect(database_url) as owner:
        row = owner.execute("select run_at, expires_at from mailglass.messages").fetchone()
    assert row == (late, expiry)


def test_an_expiry_needs_a_zone_too(database_url: str) -> None:
    """As every time does."""
    with front_desk(database_url) as mail:
        one = mail.deliver_later(note())
        now = datetime.now(UTC)
        with pytest.raises(SendError) as caught:
            mail.outbox.reschedule(one.id, now, expires_at=now.replace(tzinfo=None), actor="zoe")
        assert caught.value.code == "naive_time"


@pytest.mark.parametrize("name", ["at", "expires_at"])
def test_a_time_that_nobody_could_read_again_is_refused(database_url: str, name: str) -> None:
    """The year 10000 is stored by Postgres, and breaks every list that it stands in."""
    never = datetime.max.replace(tzinfo=timezone(timedelta(hours=-5)))
    with front_desk(database_url) as mail:
        one = mail.deliver_later(note())
        with pytest.raises(SendError) as caught:
            mail.outbox.reschedule(one.id, **{"at": datetime.now(UTC), name: never}, actor="zoe")
        assert caught.value.code == "year_out_of_range"


def test_cancelling_tells_the_truth(database_url: str) -> None:
    """T12."""
    with front_desk(database_url) as mail:
        one, sent = mail.deliver_later(note()), mail.deliver(note())
        assert mail.outbox.cancel(one.id, actor="zoe")
        assert not mail.outbox.cancel(sent.id, actor="zoe")
        assert mail.events(one.id)[-1].payload["actor"] == "zoe"


@pytest.mark.parametrize("was_sent", [True, False])
def test_an_unknown_is_settled_by_hand(database_url: str, *, was_sent: bool) -> None:
    """Somebody asked the provider; the ledger says who settled it."""
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail:
        one = _ended(mail, fake, FakeMode.UNKNOWN_TIMEOUT)
        mail.outbox.settle(one, was_sent=was_sent, actor="case 7")
        assert _state(mail, one) is (DispatchState.SENT if was_sent else DispatchState.FAILED)
        told = mail.events(one)[-1]
        assert told.type.value == "reconciled"
        assert told.payload["was_sent"] is was_sent
        assert mail.store.broken_chains() == ()


def test_a_failed_mail_is_sent_again_as_a_new_delivery(database_url: str) -> None:
    """T15: the same bytes, both histories linked, the old one still failed."""
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail:
        old = _ended(mail, fake, FakeMode.REJECT_PERMANENT)
        new = mail.outbox.retry(old, actor="zoe")
        assert new.id != old
        assert mail.dispatch(new.id).state is DispatchState.SENT
        assert _state(mail, old) is DispatchState.FAILED
        assert _types(mail, old)[-1] == "resent"
        assert mail.events(old)[-1].payload["as"] == str(new.id)
        assert mail.events(new.id)[0].payload["resend_of"] == str(old)
        assert mail.store.broken_chains() == ()
        was = mail.delivery(old)
        assert was is not None
        assert new.payload_sha256 == was.payload_sha256


def test_only_recipients_whom_it_did_not_reach_get_it_again(database_url: str) -> None:
    """Nobody else has it twice."""
    fake = FakeAdapter()
    fake.for_recipient("ann@mail.example", FakeMode.REJECT_PERMANENT)
    with front_desk(database_url, fake) as mail:
        first = mail.deliver_later(note(cc="ann@mail.example"))
        mail.dispatch_due()
        new = mail.outbox.retry(first.id, actor="zoe")
        assert [one.kind.value for one in mail.deliveries_of(new.message_id)] == ["cc"]
        fake.for_recipient("ann@mail.example", FakeMode.ACCEPT)
        mail.dispatch_due()
    got = [one.address.key for sent in fake.sent for one in sent.recipients]
    assert sorted(got) == ["ann@mail.example", "zoe@mail.example"]


def test_what_may_have_arrived_needs_a_word_to_be_sent_again(database_url: str) -> None:
    """T15: the risk of a second copy is confirmed, not assumed."""
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail:
        old = _ended(mail, fake, FakeMode.UNKNOWN_TIMEOUT)
        with psycopg.connect(database_url) as owner:
            owner.execute("update mailglass.messages set updated_at = now() - interval '73 hours'")
        assert mail.sweep().given_up == 1
        with pytest.raises(SendError):
            mail.outbox.retry(old, actor="zoe")
        assert (
            mail.outbox.retry(old, actor="zoe", confirm_duplicate_risk=True).state.value == "queued"
        )


def test_bytes_go_after_their_time_and_never_before_the_mail_has_left(database_url: str) -> None:
    """Size and hash stay, so that what was sent can still be proven."""
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail:
        sent, waiting = mail.deliver(note()), mail.deliver_later(note())
        lost = _ended(mail, fake, FakeMode.UNKNOWN_TIMEOUT)
        failed = _ended(mail, fake, FakeMode.REJECT_PERMANENT)
        with psycopg.connect(database_url) as owner:
            owner.execute("update mailglass.messages set updated_at = now() - interval '15 days'")
        assert mail.sweep().scrubbed == 2
        kept = [
            mail.store.frozen_payload("default", one.message_id)
            for one in (sent, waiting, mail.delivery(lost), mail.delivery(failed))
            if one is not None
        ]
        assert [one is not None and one[0] is not None for one in kept] == [
            False,
            True,
            True,
            False,
        ]
        assert kept[0] == (None, sent.payload_sha256)
        with pytest.raises(SendError) as caught:
            mail.outbox.retry(failed, actor="zoe")
        assert caught.value.type is SendErrorType.PAYLOAD_MISSING
        assert mail.store.broken_chains() == ()


@pytest.mark.parametrize("actor", ["", "zoe@mail.example", "a\nb", "x" * 65])
def test_an_actor_is_a_name_and_no_address(database_url: str, actor: str) -> None:
    """It stands in the ledger for ever."""
    with front_desk(database_url) as mail:
        one = mail.deliver_later(note())
        with pytest.raises(SendError) as caught:
            mail.outbox.hold(one.id, actor=actor)
        assert caught.value.code == "actor_invalid"


def test_what_is_refused_again_and_again_waits_since_its_first_attempt(database_url: str) -> None:
    """Each attempt moves its time on; somebody who gives it another time begins anew."""
    fake = FakeAdapter()
    fake.next(FakeMode.BAD_CREDENTIALS)
    with front_desk(database_url, fake, jitter_s=600.0) as mail:
        delivery = mail.deliver(note())
        with psycopg.connect(database_url) as owner:
            owner.execute("update mailglass.messages set run_at = now() + interval '15 minutes'")
        (one,) = mail.outbox.counts()
        assert 0 < one.oldest_s < 60
        mail.outbox.reschedule(delivery.id, datetime.now(UTC) + timedelta(hours=1), actor="zoe")
        (later,) = mail.outbox.counts()
        assert later.oldest_s < 0


def test_counts_tell_what_waits_and_how_long(database_url: str) -> None:
    """By state and stream; what is not due yet has not waited."""
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail:
        assert mail.outbox.counts() == ()
        assert mail.outbox.last_dispatched_s() is None
        for _ in range(3):
            mail.deliver_later(note())
        mail.deliver_later(note(), at=datetime.now(UTC) + timedelta(hours=1))
        held = mail.deliver_later(note())
        mail.outbox.hold(held.id, actor="zoe")
        _ended(mail, fake, FakeMode.UNKNOWN_TIMEOUT)
        mail.deliver(note())
        found = {(one.state.value, one.is_held): one.messages for one in mail.outbox.counts()}
        assert found == {("queued", False): 4, ("queued", True): 1, ("unknown", False): 1}
        assert mail.outbox.counts("another") == ()
        last_s = mail.outbox.last_dispatched_s()
        assert last_s is not None
        assert 0 <= last_s < 60
