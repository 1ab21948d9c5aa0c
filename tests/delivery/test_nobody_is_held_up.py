"""A bug, a lock or a refusal that is about one mail, or one of its recipients, holds up no other."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
import pytest

from front_desk import front_desk, note
from mailglass import DispatchState, EventType, Mailglass, Message, RateLimitError, Stream
from mailglass.adapters.fake import FakeAdapter, FakeMode
from mailglass.delivery import sweep
from mailglass.envelope import Accepted, Envelope, Verdict
from mailglass.errors import RateLimitErrorType
from mailglass.message import OnUnknown
from mailglass.preflight import Context, Phase
from mailglass.preflight.standard import CHECKS
from mailglass.worker import Worker
from routed import routed, sql
from running_worker import running, until


class Searching(FakeAdapter):
    """An adapter whose search has a bug."""

    def find(
        self, tenant_id: str, message_id: UUID, delivery_ids: Sequence[UUID]
    ) -> Mapping[UUID, str | None]:
        """Fail as code does that meets an answer that it did not expect."""
        raise KeyError("messages")


def test_a_bug_in_an_adapters_search_ends_no_worker(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One mail's search fails: the other mail leaves all the same."""
    fake = Searching(search_lag_s=0.0)
    fake.next(FakeMode.UNKNOWN_TIMEOUT)
    with front_desk(database_url, fake, breaker=None) as mail:
        one = mail.deliver_later(note(on_unknown=OnUnknown.RESEND))
        mail.dispatch_message(one.tenant_id, one.message_id)
        sql(database_url, "update mailglass.messages set lease_until = now() - interval '1 s'")
        with running(Worker(mail=mail, poll_s=0.01, sweep_every_s=0.05)):
            until(lambda: "sweep.search_failed" in caplog.text)
            mail.deliver_later(note())
            until(lambda: len(fake.sent) == 1)
    assert "error_type=KeyError" in caplog.text


def test_a_wait_of_ages_is_shortened(database_url: str) -> None:
    """A check says to come back in 300,000 years, which Postgres cannot add."""

    def mine(_message: Message, context: Context) -> None:
        if context.phase is Phase.DISPATCH:
            raise RateLimitError("quota", type=RateLimitErrorType.PER_TENANT, retry_after_ms=10**16)

    with front_desk(database_url, checks=(*CHECKS, mine)) as mail:
        one = mail.deliver_later(note())
        mail.dispatch_due()
        found = mail.delivery(one.id)
    assert found is not None
    assert found.state is DispatchState.QUEUED


class Mistaken(FakeAdapter):
    """An adapter that names a class of failure which is not there."""

    def send(self, envelope: Envelope) -> Accepted:
        """Refuse in words of its own."""
        wrong: Any = "temporary"
        verdicts = (
            Verdict(delivery_id=one.delivery_id, failure_class=wrong) for one in envelope.recipients
        )
        return Accepted(provider="mine", verdicts=tuple(verdicts))


def test_a_verdict_that_is_none_leaves_the_mail_unknown(database_url: str) -> None:
    """Whatever goes wrong in an adapter becomes a verdict, so that no claim is held for it."""
    with front_desk(database_url, Mistaken(), breaker=None) as mail:
        one = mail.deliver_later(note())
        mail.dispatch_due()
        found = mail.delivery(one.id)
    assert found is not None
    assert found.state is DispatchState.UNKNOWN
    assert found.code == "ValueError"


def test_a_row_that_somebody_holds_stops_no_sweep(database_url: str) -> None:
    """An open transaction holds one expired message; the sweep passes it over and takes it later."""
    with front_desk(database_url, database_statement_timeout_s=1.0) as mail:
        mail.deliver_later(note())
        sql(database_url, "update mailglass.messages set expires_at = now() - interval '1 s'")
        with psycopg.connect(database_url) as held:
            held.execute("select from mailglass.messages for update")
            mail.deliver_later(note())
            assert mail.sweep().expired == 0
        assert mail.sweep().expired == 1


def test_a_provider_that_asks_to_wait_uses_up_no_attempt(database_url: str) -> None:
    """429 with Retry-After when one attempt is left: it is asked again later."""
    fake = FakeAdapter()
    fake.next(FakeMode.REJECT_TEMPORARY)
    fake.next(FakeMode.RATE_LIMITED, retry_after_s=1.0)
    with front_desk(database_url, fake, attempts_max=2, breaker=None) as mail:
        one = mail.deliver_later(note())
        mail.dispatch_due()
        mail.dispatch_due()
        found = mail.delivery(one.id)
    assert found is not None
    assert found.state is DispatchState.QUEUED


@pytest.mark.parametrize("was_sent", [True, False])
def test_an_unknown_recipient_is_settled_while_another_waits(
    database_url: str, *, was_sent: bool
) -> None:
    """The operator asked the provider; the other recipient has its next attempt all the same."""
    fake = FakeAdapter()
    fake.for_recipient("zoe@mail.example", FakeMode.UNKNOWN_TIMEOUT)
    fake.for_recipient("ann@mail.example", FakeMode.REJECT_TEMPORARY)
    with front_desk(database_url, fake, breaker=None) as mail:
        one = mail.deliver_later(note(cc="ann@mail.example"))
        mail.dispatch_due()
        mail.outbox.settle(one.id, was_sent=was_sent, actor="ann")
        assert mail.events(one.id)[-1].type is EventType.RECONCILED
        fake.for_recipient("ann@mail.example", FakeMode.ACCEPT)
        mail.dispatch_due()
        states = [each.state for each in mail.deliveries_of(one.message_id)]
    settled = DispatchState.SENT if was_sent else DispatchState.FAILED
    assert states == [settled, DispatchState.SENT]


@pytest.mark.parametrize("others", [0, 1])
def test_what_was_given_up_as_unknown_is_sent_again_by_its_adapter_alone(
    database_url: str, others: int
) -> None:
    """Another adapter knows nothing of the first one's key, whatever became of other recipients."""
    main, backup = FakeAdapter(), FakeAdapter()
    main.for_recipient("zoe@mail.example", FakeMode.UNKNOWN_TIMEOUT)
    with routed(database_url, {"main": main, "backup": backup}) as mail:
        one = mail.deliver_later(note(cc=["ann@mail.example"][:others]))
        mail.dispatch_due()
        sql(
            database_url,
            "update mailglass.messages set updated_at = now() - interval '73 hours'",
        )
        assert mail.sweep().given_up == 1
        main.for_recipient("zoe@mail.example", FakeMode.REJECT_TEMPORARY)
        mail.outbox.retry(one.id, actor="ann", confirm_duplicate_risk=True)
        mail.dispatch_due()
    assert backup.sent == ()


@contextmanager
def _held(database_url: str, delivery_id: UUID) -> Iterator[None]:
    """Hold a delivery's row in a transaction that stays open, as in a forgotten terminal."""
    with psycopg.connect(database_url) as somebody:
        somebody.execute("select from mailglass.deliveries where id = %s for update", [delivery_id])
        yield


def test_a_delivery_that_somebody_holds_stops_no_other_mail(database_url: str) -> None:
    """It is put off for a moment, and what is due beside it is claimed."""
    with front_desk(database_url, database_statement_timeout_s=1.0) as mail:
        one = mail.deliver_later(note())
        mail.deliver_many([note() for _ in range(5)])
        with _held(database_url, one.id):
            assert len(mail.dispatcher.claim_due(Stream.TRANSACTIONAL, limit=10)) == 5


def test_a_delivery_that_somebody_holds_stops_no_sweep(database_url: str) -> None:
    """The others expire, and it does when it is free."""
    with front_desk(database_url, database_statement_timeout_s=1.0) as mail:
        one = mail.deliver_later(note())
        mail.deliver_later(note())
        sql(database_url, "update mailglass.messages set expires_at = now() - interval '1 s'")
        with _held(database_url, one.id):
            assert mail.sweep().expired == 1
        assert mail.sweep().expired == 1


def test_a_recipient_who_was_served_before_holds_up_no_verdict(database_url: str) -> None:
    """What cannot change any more is read and not locked."""
    fake = FakeAdapter()
    fake.for_recipient("ann@mail.example", FakeMode.REJECT_TEMPORARY)
    with front_desk(database_url, fake, breaker=None, database_statement_timeout_s=1.0) as mail:
        one = mail.deliver_later(note(cc="ann@mail.example"))
        mail.dispatch_due()
        fake.for_recipient("ann@mail.example", FakeMode.ACCEPT)
        with _held(database_url, one.id):
            mail.dispatch_due()
        states = [each.state for each in mail.deliveries_of(one.message_id)]
    assert states == [DispatchState.SENT, DispatchState.SENT]


def test_a_worker_writes_the_other_verdicts(database_url: str) -> None:
    """What came of the mail whose row is held is kept, and written when it is free."""
    fake = Waiting()
    with front_desk(database_url, fake, breaker=None, database_statement_timeout_s=0.3) as mail:
        one = mail.deliver_later(note())
        with running(Worker(mail=mail, threads=2, poll_s=0.01)):
            assert fake.arrived.wait(10)
            with _held(database_url, one.id):
                fake.leaves.set()
                other = mail.deliver_later(note())
                until(lambda: _is_sent(mail, other.id))
            until(lambda: _is_sent(mail, one.id))


class Waiting(FakeAdapter):
    """A provider that answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived, self.leaves = threading.Event(), threading.Event()

    def send(self, envelope: Envelope) -> Accepted:
        """Tell that something has arrived, and wait."""
        self.arrived.set()
        assert self.leaves.wait(10)
        return super().send(envelope)


def _is_sent(mail: Mailglass, delivery_id: UUID) -> bool:
    found = mail.delivery(delivery_id)
    return found is not None and found.state is DispatchState.SENT


def test_one_held_row_leaves_no_flood_unexpired(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sweep goes on to the next batch, though not all of one could be moved."""
    monkeypatch.setattr(sweep, "BATCH_MAX", 20)
    with front_desk(database_url) as mail:
        one = mail.deliver_later(note())
        sql(database_url, "update mailglass.messages set expires_at = now() - interval '1 hour'")
        mail.deliver_many([note() for _ in range(50)])
        sql(database_url, "update mailglass.messages set expires_at = now() - interval '1 s'"
            " where expires_at > now()")  # fmt: skip
        with psycopg.connect(database_url) as held:
            held.execute(
                "select from mailglass.messages where id = %s for update", [one.message_id]
            )
            assert mail.sweep().expired == 50
