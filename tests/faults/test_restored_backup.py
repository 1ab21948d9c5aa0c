"""A database set back to a backup: what was done since is shown where it can be, and repeated where not.

No database can tell what it has forgotten. The provider still knows: its reports on mail that nobody
asked for wait as orphans, and its keys keep what is sent once more from arriving once more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from front_desk import note
from mailglass import Delivery, DispatchState, EventType, Mailglass
from mailglass.adapters.fake import FakeAdapter
from mailglass.ledger.checking import LedgerCheck
from tests.faults.work import owner
from webhook_requests import delivered, hooked, request


class Backup:
    """A copy of a database as it was at one moment."""

    def __init__(self, database_url: str) -> None:
        self._name = str(conninfo_to_dict(database_url)["dbname"])
        self._server = make_conninfo(database_url, dbname="postgres")
        self._copy = f"mg_test_{uuid4().hex}"
        self._run("create database {copy} template {name}")

    def restore(self) -> None:
        """Put the database back to that moment."""
        self._run("drop database {name} with (force)")
        self._run("create database {name} template {copy}")

    def drop(self) -> None:
        """Remove the copy."""
        self._run("drop database {copy} with (force)")

    def _run(self, statement: str) -> None:
        names = {"name": sql.Identifier(self._name), "copy": sql.Identifier(self._copy)}
        with psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(**names))


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What was done before the backup was restored, which the database has forgotten but for two."""

    fake: FakeAdapter
    waiting: Delivery
    """Was queued before the backup and sent after it."""
    forgotten: Delivery
    """Was asked for and sent after it."""


def _past(database_url: str, *, honours_keys: bool) -> Iterator[Past]:
    fake = FakeAdapter(honours_idempotency_key=honours_keys)
    with hooked(database_url, adapter=fake) as mail:
        mail.deliver(note(subject="before"))
        waiting = mail.deliver_later(note(subject="waiting"))
    backup = Backup(database_url)
    try:
        with hooked(database_url, adapter=fake) as mail:
            mail.dispatch_due()
            forgotten = mail.deliver(note(subject="forgotten", idempotency_key="order-7"))
        backup.restore()
        yield Past(fake=fake, waiting=waiting, forgotten=forgotten)
    finally:
        backup.drop()


@pytest.fixture
def past(database_url: str) -> Iterator[Past]:
    """Return what was done with a provider that honours our keys."""
    yield from _past(database_url, honours_keys=True)


@pytest.fixture
def keyless_past(database_url: str) -> Iterator[Past]:
    """Return what was done with a provider that knows no keys."""
    yield from _past(database_url, honours_keys=False)


def _reported(mail: Mailglass, delivery_id: UUID) -> int:
    return mail.ingest("postmark", request(delivered(delivery_id))).recorded


def test_a_ledger_that_was_set_back_is_whole(database_url: str, past: Past) -> None:
    """F27: the check finds no fault, since a past that is whole holds none; it tells no more than that."""
    with hooked(database_url, adapter=past.fake) as mail:
        assert LedgerCheck(store=mail.store).faults() == ()
        assert mail.delivery(past.forgotten.id) is None


def test_what_is_sent_once_more_arrives_once_where_keys_are_honoured(
    database_url: str, past: Past
) -> None:
    """F27: the frozen mail has the same bytes and the same key as before."""
    with hooked(database_url, adapter=past.fake) as mail:
        mail.dispatch_due()
        found = mail.delivery(past.waiting.id)
    assert found is not None
    assert found.state is DispatchState.SENT
    assert [one.message.subject for one in past.fake.sent].count("waiting") == 1


def test_a_report_on_a_mail_that_waits_again_keeps_it_from_being_sent(
    database_url: str, keyless_past: Past
) -> None:
    """F27: hold sending off until the reports are in; what the provider reports on is not sent again."""
    with hooked(database_url, adapter=keyless_past.fake) as mail:
        assert _reported(mail, keyless_past.waiting.id) == 1
        mail.dispatch_due()
        mail.sweep()
        found = mail.delivery(keyless_past.waiting.id)
        kinds = [one.type for one in mail.events(keyless_past.waiting.id)]
        assert LedgerCheck(store=mail.store).faults() == ()
    assert found is not None
    assert found.state is DispatchState.SENT
    assert kinds[-1] is EventType.RECONCILED
    assert [one.message.subject for one in keyless_past.fake.sent].count("waiting") == 1


def test_reports_on_forgotten_mail_are_kept_and_shown(database_url: str, past: Past) -> None:
    """F27: nobody knows the delivery; what the provider says of it waits, and is dead after a week."""
    with hooked(database_url, adapter=past.fake) as mail:
        assert _reported(mail, past.forgotten.id) == 0
        assert mail.reconcile().waiting == 1
        with owner(database_url) as connection:
            connection.execute(
                "update mailglass.webhook_orphans set received_at = now() - interval '8 days'"
            )
        assert mail.reconcile().expired == 1
        shown = mail.webhooks.webhooks.receipts(is_refused=True)
    assert [one.dead for one in shown] == [1]


def test_a_caller_who_asks_again_with_the_key_has_it_doubled(database_url: str, past: Past) -> None:
    """F27: what a restore cannot give back: the key's mail is forgotten, so it is made and sent anew."""
    with hooked(database_url, adapter=past.fake) as mail:
        again = mail.deliver(note(subject="forgotten", idempotency_key="order-7"))
    assert again.id != past.forgotten.id
    assert [one.message.subject for one in past.fake.sent].count("forgotten") == 2
