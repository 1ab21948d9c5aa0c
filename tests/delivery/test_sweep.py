"""Mail that waits: queued for later, swept when time alone decides, never sent twice."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from front_desk import count, front_desk, note, write_verdict
from mailglass import DispatchState, EventType, Mailglass, Report, SendError, tenant
from mailglass.adapters.fake import FakeAdapter, FakeMode, SimulatedCrash
from mailglass.delivery.sweep import Swept
from mailglass.ledger.rows import Claim


def _types(mail: Mailglass, delivery_id: UUID) -> list[str]:
    return [event.type.value for event in mail.events(delivery_id)]


def _state(mail: Mailglass, delivery_id: UUID) -> DispatchState:
    delivery = mail.delivery(delivery_id)
    assert delivery is not None
    return delivery.state


def _age(database_url: str, column: str, interval: str) -> None:
    """Let a column of every message lie further back, as if time had passed."""
    with psycopg.connect(database_url) as owner:
        owner.execute(
            f"update mailglass.messages set {column} = {column} - interval '{interval}'".encode()
        )


def _crashed(mail: Mailglass, fake: FakeAdapter, mode: FakeMode) -> UUID:
    fake.next(mode)
    with pytest.raises(SimulatedCrash):
        mail.deliver(note())
    return mail.store.list_deliveries(tenant_id="default")[0].id


def test_a_mail_for_later_waits_for_a_worker(database_url: str) -> None:
    """W2: it is a row before anybody is told, and a worker that finds it sends it."""
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail:
        delivery = mail.deliver_later(note())
        assert delivery.state is DispatchState.QUEUED
        assert fake.sent == ()
        assert mail.dispatch_due() == 1
        assert _state(mail, delivery.id) is DispatchState.SENT
        assert mail.dispatch_due() == 0


def test_sync_and_queued_mail_are_the_same_bytes(database_url: str) -> None:
    """M3: nothing of a message is lost on the way through the queue."""
    fake = FakeAdapter()
    full = note(
        cc="ann@mail.example", bcc="bob@mail.example", reply_to="help@shop.example",
        html="<p>Thank you.</p>", headers={"X-Order": "7"}, tags=["order"], metadata={"id": "7"},
    )  # fmt: skip
    with front_desk(database_url, fake) as mail:
        mail.deliver(full)
        mail.deliver_later(full)
        mail.dispatch_due()
    first, second = (one.message for one in fake.sent)
    assert first == second
    assert first.headers == full.headers
    assert first == full.replace(mailable=None)
    assert first.bcc == full.bcc
    assert first.metadata == full.metadata


def test_at_expires_at_and_key_replace_the_mails_own(database_url: str) -> None:
    """The call decides."""
    later = datetime.now(UTC) + timedelta(hours=2)
    with front_desk(database_url) as mail:
        delivery = mail.deliver_later(note(), at=later, idempotency_key="k")
        assert delivery.run_at == later
        assert mail.deliver_later(note(), at=later, idempotency_key="k").id == delivery.id
        assert mail.dispatch_due() == 0
        with pytest.raises(SendError):
            mail.deliver_later(note(), expires_at=datetime.now(UTC) - timedelta(seconds=1))
    assert count(database_url, "messages") == 1


def test_fifty_threads_with_one_key_make_one_mail(database_url: str) -> None:
    """Row 77: a double click is one receipt."""
    with front_desk(database_url) as mail:

        def send(_number: int) -> UUID:
            with tenant("default"):
                return mail.deliver_later(note(idempotency_key="order-7")).id

        with ThreadPoolExecutor(50) as pool:
            assert len(set(pool.map(send, range(50)))) == 1
    assert count(database_url, "messages") == 1


def test_many_workers_send_each_mail_once(database_url: str) -> None:
    """Sixteen claimers, two hundred mails, no mail twice."""
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail:
        for _ in range(200):
            mail.deliver_later(note())

        def work(_number: int) -> None:
            while mail.dispatch_due(messages_max=50):
                pass

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(work, range(16)))
        assert mail.store.broken_chains() == ()
    assert len(fake.sent) == 200
    assert len({one.envelope.message_id for one in fake.sent}) == 200


def test_adeliver_later_is_deliver_later(database_url: str) -> None:
    """The async twin."""
    with front_desk(database_url) as mail:
        delivery = asyncio.run(mail.adeliver_later(note()))
        assert delivery.state is DispatchState.QUEUED


def test_a_live_claim_is_left_alone(database_url: str) -> None:
    """A lease that is not over is somebody's."""
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail:
        delivery_id = _crashed(mail, fake, FakeMode.ACCEPTED_THEN_CRASH)
        assert mail.sweep() == Swept()
        assert _state(mail, delivery_id) is DispatchState.SENDING


def test_an_abandoned_claim_becomes_unknown_and_is_not_sent_again(database_url: str) -> None:
    """T8, W6: a provider without keys may have it, so nobody sends it a second time."""
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail:
        delivery_id = _crashed(mail, fake, FakeMode.ACCEPTED_THEN_CRASH)
        _age(database_url, "lease_until", "1 day")
        assert mail.sweep() == Swept(abandoned=1)
        assert _state(mail, delivery_id) is DispatchState.UNKNOWN
        assert mail.sweep() == Swept()
        assert mail.dispatch_due() == 0
        assert len(fake.sent) == 1
        _age(database_url, "updated_at", "73 hours")
        assert mail.sweep() == Swept(given_up=1)
        assert _types(mail, delivery_id) == [
            "queued", "attempt_started", "outcome_unknown", "unknown_final",
        ]  # fmt: skip
        assert mail.store.broken_chains() == ()


@pytest.mark.parametrize("mode", [FakeMode.ACCEPTED_THEN_CRASH, FakeMode.CRASH_BEFORE_SEND])
def test_a_provider_with_keys_gets_it_again_and_has_it_once(
    database_url: str, mode: FakeMode
) -> None:
    """T10, W4 to W7: the same key gives the provider's first answer, or the first sending."""
    fake = FakeAdapter(honours_idempotency_key=True)
    with front_desk(database_url, fake) as mail:
        delivery_id = _crashed(mail, fake, mode)
        _age(database_url, "lease_until", "1 day")
        assert mail.sweep() == Swept(abandoned=1, requeued=1)
        assert mail.dispatch_due() == 1
        assert _state(mail, delivery_id) is DispatchState.SENT
        assert len(fake.sent) == 1
        assert _types(mail, delivery_id) == [
            "queued", "attempt_started", "outcome_unknown", "requeued", "attempt_started", "dispatched",
        ]  # fmt: skip


def test_a_mail_that_was_reported_delivered_is_not_put_back(database_url: str) -> None:
    """T9: whatever the key allows, it has arrived, and the sweep says so."""
    fake = FakeAdapter(honours_idempotency_key=True)
    with front_desk(database_url, fake) as mail:
        delivery_id = _crashed(mail, fake, FakeMode.ACCEPTED_THEN_CRASH)
        mail.record(
            Report(
                delivery_id=delivery_id, provider="fake", type=EventType.DELIVERED, key="1",
                occurred_at=datetime.now(UTC),
            )
        )  # fmt: skip
        _age(database_url, "lease_until", "1 day")
        assert mail.sweep() == Swept(abandoned=1, reconciled=1)
        assert _state(mail, delivery_id) is DispatchState.SENT
        assert _types(mail, delivery_id)[-2:] == ["outcome_unknown", "reconciled"]


@pytest.mark.tampers
def test_outside_the_providers_window_a_key_is_no_proof(database_url: str) -> None:
    """After it the provider counts as one without keys."""
    fake = FakeAdapter(honours_idempotency_key=True)
    with front_desk(database_url, fake) as mail:
        delivery_id = _crashed(mail, fake, FakeMode.ACCEPTED_THEN_CRASH)
        _age(database_url, "lease_until", "1 day")
        with psycopg.connect(database_url, autocommit=True) as superuser:
            for name in ("ddl", "drop", "rewrite"):
                superuser.execute(f"alter event trigger mailglass_refuse_{name} disable".encode())
            superuser.execute("alter table mailglass.events disable trigger all")
            superuser.execute(
                "update mailglass.events set recorded_at = recorded_at - interval '9 days'"
            )
        assert mail.sweep() == Swept(abandoned=1)
        assert _state(mail, delivery_id) is DispatchState.UNKNOWN


def test_a_mail_that_kills_its_worker_is_quarantined(database_url: str) -> None:
    """T14: three attempts with nobody left to tell are enough."""
    fake = FakeAdapter(honours_idempotency_key=True)
    with front_desk(database_url, fake) as mail:
        delivery_id = _crashed(mail, fake, FakeMode.CRASH_BEFORE_SEND)
        for _ in range(2):
            _age(database_url, "lease_until", "1 day")
            assert mail.sweep() == Swept(abandoned=1, requeued=1)
            fake.next(FakeMode.CRASH_BEFORE_SEND)
            with pytest.raises(SimulatedCrash):
                mail.dispatch_due()
        _age(database_url, "lease_until", "1 day")
        assert mail.sweep() == Swept(abandoned=1, quarantined=1)
        assert _state(mail, delivery_id) is DispatchState.FAILED
        assert _types(mail, delivery_id)[-1] == "quarantined"


def test_a_late_verdict_still_settles_an_abandoned_claim(database_url: str) -> None:
    """T4 from unknown: a worker that was only slow tells what it knows, under its own token."""
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail:
        delivery = mail.deliver_later(note())
        claim = mail.store.claim_message("default", delivery.message_id, lease_s=60)
        assert isinstance(claim, Claim)
        _age(database_url, "lease_until", "1 day")
        assert mail.sweep().abandoned == 1
        written = write_verdict(
            mail, claim, state=DispatchState.SENT, event=EventType.DISPATCHED, code="250"
        )
        assert written is DispatchState.SENT


def test_a_stale_token_writes_nothing(database_url: str) -> None:
    """The fence: an attempt whose message was claimed again has no say."""
    fake = FakeAdapter(honours_idempotency_key=True)
    with front_desk(database_url, fake) as mail:
        delivery = mail.deliver_later(note())
        stale = mail.store.claim_message("default", delivery.message_id, lease_s=60)
        assert stale is not None
        _age(database_url, "lease_until", "1 day")
        assert mail.sweep().requeued == 1
        fresh = mail.store.claim_message("default", delivery.message_id, lease_s=60)
        assert fresh is not None
        assert fresh.token == stale.token + 1
        before = mail.events(delivery.id)
        for _ in range(2):
            assert (
                write_verdict(
                    mail, stale, state=DispatchState.FAILED, event=EventType.FAILED, code="550"
                )
                is None
            )
        assert mail.events(delivery.id) == before
        assert _state(mail, delivery.id) is DispatchState.SENDING


def test_sweepers_at_the_same_time_move_each_mail_once(database_url: str) -> None:
    """Every host sweeps; nothing is written twice."""
    with front_desk(database_url) as mail:
        for _ in range(30):
            mail.deliver_later(note(expires_at=datetime.now(UTC) + timedelta(minutes=5)))
        _age(database_url, "expires_at", "1 hour")
        with ThreadPoolExecutor(8) as pool:
            swept = list(pool.map(lambda _number: mail.sweep(), range(8)))
        assert sum(one.expired for one in swept) == 30
        assert mail.store.broken_chains() == ()
    assert count(database_url, "events") == 60
