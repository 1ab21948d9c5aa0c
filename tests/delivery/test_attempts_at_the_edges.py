"""Attacks on attempts: mail that a fault, a wait or a late report could lose or double."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from front_desk import front_desk, note
from mailglass import DispatchState, Mailglass
from mailglass.adapters import Capabilities
from mailglass.adapters.fake import FakeAdapter, FakeMode, SimulatedCrash
from mailglass.delivery.breakers import CallEnd
from mailglass.delivery.dispatch import Dispatcher
from mailglass.delivery.routing import end_of_call
from mailglass.envelope import Accepted, Envelope, Verdict
from mailglass.errors import FailureClass
from mailglass.ledger.faults import DatabaseAwayError
from mailglass.settings import Breaker
from mailglass.worker import Worker
from routed import departures, pair, routed, sql
from webhook_requests import delivered, hooked, request


class Forgetful(FakeAdapter):
    """A fake that honours keys for as long as the test says, and then takes the mail once more."""

    def __init__(self) -> None:
        super().__init__(honours_idempotency_key=True)
        self.window_s = 86_400.0

    @property
    def capabilities(self) -> Capabilities:
        """Return the window that the test has set."""
        return Capabilities(smtputf8=True, idempotency_window_s=self.window_s)


def test_what_was_claimed_when_the_database_went_away_is_given_back(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question after the claim fails once: nothing has left, so nothing is unknown."""
    real, asked = Dispatcher.suppressions_of, threading.Event()

    def failing(self: Dispatcher, claims: Sequence[Any]) -> Any:
        if not asked.is_set():
            asked.set()
            raise DatabaseAwayError("away")
        return real(self, claims)

    monkeypatch.setattr(Dispatcher, "suppressions_of", failing)
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail:
        delivery = mail.deliver_later(note())
        stopped = threading.Event()
        worker = threading.Thread(target=Worker(mail=mail, poll_s=0.01).run, args=(stopped,))
        worker.start()
        assert asked.wait(30)
        stopped.set()
        worker.join(30)
        found = mail.delivery(delivery.id)
    assert found is not None
    assert (found.state, found.attempts) == (DispatchState.QUEUED, 0)


def _taken_and_unknown(database_url: str, mail: Mailglass, fake: FakeAdapter) -> UUID:
    """Let the provider take a mail, the worker die and the lease end."""
    fake.next(FakeMode.ACCEPTED_THEN_CRASH)
    with pytest.raises(SimulatedCrash):
        mail.deliver(note())
    sql(database_url, "update mailglass.messages set lease_until = now() - interval '1 s'")
    return mail.store.list_deliveries(tenant_id="default")[0].id


def _state(mail: Mailglass, delivery_id: UUID) -> DispatchState:
    found = mail.delivery(delivery_id)
    assert found is not None
    return found.state


def test_a_key_is_not_relied_on_after_its_window(database_url: str) -> None:
    """Put back in time, held, and let go a day later: the provider has forgotten the key."""
    fake = Forgetful()
    with front_desk(database_url, fake) as mail:
        delivery_id = _taken_and_unknown(database_url, mail, fake)
        assert mail.sweep().requeued == 1
        mail.outbox.hold(delivery_id, actor="ann")
        fake.window_s = 0.000_001
        fake._answered.clear()
        mail.outbox.release(delivery_id, actor="ann")
        mail.dispatch_due()
        assert len(fake.sent) == 1
        assert _state(mail, delivery_id) is DispatchState.UNKNOWN
        assert mail.sweep().requeued == 0


def test_what_was_reported_while_it_waited_is_not_sent_again(database_url: str) -> None:
    """Put back, kept back, and then the provider's report comes: it has the mail."""
    fake = Forgetful()
    with hooked(database_url, adapter=fake) as mail:
        delivery_id = _taken_and_unknown(database_url, mail, fake)
        assert mail.sweep().requeued == 1
        assert mail.ingest("postmark", request(delivered(delivery_id))).recorded == 1
        fake._answered.clear()
        mail.dispatch_due()
        mail.sweep()
        assert len(fake.sent) == 1
        assert _state(mail, delivery_id) is DispatchState.SENT


def test_a_rescheduled_mail_does_not_leave_when_a_breaker_closes(database_url: str) -> None:
    """It waited for the breaker; now an operator has said when it leaves."""
    fake = FakeAdapter()
    fake.next(FakeMode.BAD_CREDENTIALS)
    with routed(database_url, {"main": fake}) as mail:
        mail.deliver(note())
        kept = mail.deliver(note())
        assert kept.code == "breaker_open"
        later = datetime.now(UTC) + timedelta(hours=5)
        mail.outbox.reschedule(kept.id, later, actor="ann")
        mail.outbox.close_breaker("main", actor="ann")
        found = mail.delivery(kept.id)
    assert found is not None
    assert found.run_at == later


def test_the_spread_of_waiting_mail_does_not_carry_it_past_its_time(database_url: str) -> None:
    """The breaker is tried in 30 s and the mail has 45: it is due between the two."""
    fake = FakeAdapter()
    fake.next(FakeMode.BAD_CREDENTIALS)
    with routed(database_url, {"main": fake}, jitter_s=29.0) as mail:
        mail.deliver(note())
        ends = datetime.now(UTC) + timedelta(seconds=45)
        kept = mail.deliver_later(note(), expires_at=ends)
        mail.dispatch(kept.id)
        found = mail.delivery(kept.id)
    assert found is not None
    assert found.code == "breaker_open"
    assert found.run_at is not None
    assert found.run_at < ends


def _says(code: str, retry_after_s: float | None = None) -> Verdict:
    return Verdict(
        delivery_id=uuid4(), failure_class=FailureClass.NOT_SENT, code=code,
        retry_after_s=retry_after_s,
    )  # fmt: skip


def test_a_provider_that_is_down_and_says_for_how_long_is_down() -> None:
    """503 with Retry-After (RFC 9110 §15.6.4) is no rate limit: the breaker hears of it."""
    assert end_of_call([_says("http 503", 60.0)]) is CallEnd.FAILED
    assert end_of_call([_says("http 429", 60.0)]) is CallEnd.NEUTRAL


class Busy(FakeAdapter):
    """Says of each mail that a request with its key is still at work, as long as it is told to."""

    is_busy = True

    def send(self, envelope: Envelope) -> Accepted:
        """Answer as providers do with HTTP 409."""
        if not self.is_busy:
            return super().send(envelope)
        verdicts = tuple(
            Verdict(
                delivery_id=one.delivery_id, failure_class=FailureClass.NOT_SENT, code="http 409"
            )
            for one in envelope.recipients
        )
        return Accepted(provider=self.name, verdicts=verdicts)


def test_what_still_runs_at_one_provider_never_goes_by_another(database_url: str) -> None:
    """Its breaker opens before the mail is due again: the mail waits for it all the same."""
    main, backup = Busy(), FakeAdapter()
    breaker = Breaker(failures=1)
    with routed(database_url, {"main": main, "backup": backup}, breaker=breaker) as mail:
        delivery = mail.deliver(note())
        assert delivery.state is DispatchState.QUEUED
        mail.dispatch(delivery.id)
    assert backup.sent == ()


def test_mail_does_not_wait_for_an_adapter_that_rests_while_another_is_free(
    database_url: str,
) -> None:
    """The first was asked to come back in an hour; the mail after that need not wait so long."""
    main, backup = pair()
    main.next(FakeMode.RATE_LIMITED, retry_after_s=3600)
    with routed(database_url, {"main": main, "backup": backup}) as mail:
        assert mail.deliver(note()).state is DispatchState.SENT
        second = mail.deliver(note())
        assert second.state is DispatchState.SENT
        assert departures(mail, second) == [("main", "backup", "rests")]
    assert len(backup.sent) == 2


def test_where_all_rest_mail_waits_for_the_first(database_url: str) -> None:
    """It goes round in no circle and uses up no attempt."""
    main, backup = pair()
    for one in (main, backup):
        one.next(FakeMode.RATE_LIMITED, retry_after_s=3600)
    with routed(database_url, {"main": main, "backup": backup}) as mail:
        mail.deliver(note())
        kept = mail.deliver(note())
    assert (kept.state, kept.code, kept.attempts) == (DispatchState.QUEUED, "rate_limited", 0)


def test_whom_a_report_names_is_left_out_and_the_others_get_their_mail(database_url: str) -> None:
    """Of two recipients one was asked to come later; of the other's mail a report came first."""
    fake = FakeAdapter()
    fake.for_recipient("ann@mail.example", FakeMode.REJECT_TEMPORARY)
    fake.for_recipient("zoe@mail.example", FakeMode.REJECT_TEMPORARY)
    with hooked(database_url, adapter=fake) as mail:
        first = mail.deliver(note(to=["zoe@mail.example", "ann@mail.example"]))
        mail.ingest("postmark", request(delivered(first.id)))
        fake.clear()
        fake._of_recipient.clear()
        mail.dispatch_message("default", first.message_id)
        mail.sweep()
        states = {one.state for one in mail.deliveries_of(first.message_id)}
    assert [[one.address.key for one in each.recipients] for each in fake.sent] == [
        ["ann@mail.example"]
    ]
    assert states == {DispatchState.SENT}
