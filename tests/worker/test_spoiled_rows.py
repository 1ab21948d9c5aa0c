"""One row that the ledger refuses, as after a change by hand, keeps no other mail from its provider."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from front_desk import BULK, front_desk, note
from mailglass import DispatchState, EventLedgerImmutableError, Mailglass, Stream
from mailglass.adapters.fake import FakeAdapter
from mailglass.delivery import claiming
from mailglass.delivery.claiming import claim_one
from mailglass.envelope import Accepted, Envelope
from mailglass.ledger.faults import DatabaseAwayError
from mailglass.ledger.store import Store
from mailglass.worker import Worker
from running_worker import running, until

pytestmark = pytest.mark.tampers


def _spoil(database_url: str, message_id: UUID) -> None:
    """Break the chain of a message's deliveries, so that no event can follow."""
    with psycopg.connect(database_url) as owner:
        owner.execute(
            "update mailglass.deliveries set chain_hash = sha256('by hand') where message_id = %s",
            [message_id],
        )


def _one_spoiled(mail: Mailglass, database_url: str, **other: object) -> UUID:
    delivery = mail.deliver_later(note(**other))
    _spoil(database_url, delivery.message_id)
    return delivery.message_id


def _told(caplog: pytest.LogCaptureFixture, event: str) -> list[logging.LogRecord]:
    return [one for one in caplog.records if one.getMessage().split()[0] == event]


def _run_at(database_url: str, message_id: UUID) -> datetime:
    with psycopg.connect(database_url) as owner:
        (row,) = owner.execute(
            "select run_at from mailglass.messages where id = %s", [message_id]
        ).fetchall()
    assert isinstance(row[0], datetime)
    return row[0]


def test_a_worker_sends_the_rest(database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """The group's claim is refused for the sake of one; the one is put off and named, the others leave."""
    fake = FakeAdapter()
    with front_desk(database_url, fake, **BULK) as mail:
        spoiled = _one_spoiled(mail, database_url)
        mail.deliver_many([note() for _ in range(9)])
        with running(Worker(mail=mail, threads=2, poll_s=0.05)):
            until(lambda: len(fake.sent) == 9)
            mail.deliver_later(note())
            until(lambda: len(fake.sent) == 10)
    (line,) = _told(caplog, "attempt.claim_refused")
    assert line.levelno == logging.ERROR
    assert str(spoiled) in line.getMessage()
    assert "EventLedgerImmutableError" in line.getMessage()
    assert _run_at(database_url, spoiled) > datetime.now(UTC) + timedelta(seconds=30)


def test_mail_in_order_of_other_keys_leaves(database_url: str) -> None:
    """Behind the spoiled one of its key the rest waits; what has another key does not."""
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail:
        _one_spoiled(mail, database_url, ordering_key="a")
        behind = mail.deliver_later(note(ordering_key="a"))
        mail.deliver_later(note(ordering_key="b"))
        with running(Worker(mail=mail, threads=2, poll_s=0.05)):
            until(lambda: len(fake.sent) == 1)
        found = mail.delivery(behind.id)
    assert found is not None
    assert found.state is DispatchState.QUEUED


def test_without_a_worker_the_rest_leaves_too(database_url: str) -> None:
    """``dispatch_due`` raises nothing either."""
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail:
        _one_spoiled(mail, database_url)
        mail.deliver_many([note(), note()])
        mail.dispatch_due()
        assert len(fake.sent) == 2
        assert mail.dispatch_due() == 0


def test_a_row_that_is_spoiled_in_flight_ends_no_worker(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its verdict cannot be written; that is told, and the mail that comes after leaves."""

    class Spoiling(FakeAdapter):
        def send(self, envelope: Envelope) -> Accepted:
            if not self.sent:
                _spoil(database_url, envelope.message_id)
            return super().send(envelope)

    fake = Spoiling()
    with front_desk(database_url, fake) as mail:
        spoiled = mail.deliver_later(note()).message_id
        with running(Worker(mail=mail, threads=2, poll_s=0.05)):
            until(lambda: bool(_told(caplog, "attempt.verdict_refused")))
            other = mail.deliver_later(note())
            until(lambda: len(fake.sent) == 2)
        found = mail.delivery(other.id)
    assert found is not None
    assert found.state is DispatchState.SENT
    (line,) = _told(caplog, "attempt.verdict_refused")
    assert str(spoiled) in line.getMessage()


def test_a_sweep_moves_the_rest(database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """What has expired is written for all but the one whose chain cannot go on."""
    soon = datetime.now(UTC) + timedelta(milliseconds=300)
    with front_desk(database_url) as mail:
        spoiled = _one_spoiled(mail, database_url, expires_at=soon)
        mail.deliver_many([note(expires_at=soon), note(expires_at=soon)])
        until(lambda: datetime.now(UTC) > soon)
        assert mail.sweep().expired == 2
    (line,) = _told(caplog, "sweep.move_refused")
    assert str(spoiled) in line.getMessage()


def test_the_rest_of_a_stream_is_found_behind_another(database_url: str) -> None:
    """The mail of a stream is looked for by its own, however much of a stream before it is due."""
    with front_desk(database_url, **BULK) as mail:
        mail.deliver_many([note() for _ in range(5)])
        news = note(stream=Stream.BULK, mailable="app.News", text="News. 1 Harbour Street, Dublin")
        _one_spoiled(mail, database_url)
        spoiled = mail.deliver_later(news)
        _spoil(database_url, spoiled.message_id)
        good = mail.deliver_later(news)
        claims = mail.dispatcher.claim_due(Stream.BULK, limit=5)
    assert [one.message_id for one in claims] == [good.message_id]


def test_what_was_claimed_before_the_database_went_away_is_sent(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One by one, the first claim stands; the next question meets what is wrong, and tells it."""
    tried = list[UUID]()

    def one_and_no_more(store: Store, tenant_id: str, message_id: UUID, **given: float) -> object:
        tried.append(message_id)
        if len(tried) > 2:
            raise DatabaseAwayError("away")
        return claim_one(store, tenant_id, message_id, **given)

    with front_desk(database_url) as mail:
        _one_spoiled(mail, database_url)
        first = mail.deliver_later(note())
        mail.deliver_many([note(), note()])
        monkeypatch.setattr(claiming, "claim_one", one_and_no_more)
        claims = mail.dispatcher.claim_due(Stream.TRANSACTIONAL, limit=5)
    assert [one.message_id for one in claims] == [first.message_id]


def test_what_is_wrong_with_the_database_is_no_rows_fault(database_url: str) -> None:
    """A right that the role lacks is raised, and puts no mail off."""
    with front_desk(database_url) as mail:
        delivery = mail.deliver_later(note())
        due_at = _run_at(database_url, delivery.message_id)
        with psycopg.connect(database_url) as owner:
            owner.execute("revoke insert on mailglass.events from mailglass_app")
        with pytest.raises(EventLedgerImmutableError):
            mail.dispatch_due()
        with pytest.raises(EventLedgerImmutableError):
            mail.dispatcher.claim_due(Stream.TRANSACTIONAL, limit=5)
    assert _run_at(database_url, delivery.message_id) == due_at
