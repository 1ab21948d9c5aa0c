"""The check of the ledger: silent about what the product wrote, loud about anything else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import product
from uuid import UUID

import psycopg
import pytest

from front_desk import front_desk, note
from mailglass import Delivery, EventType, Mailglass, MailglassError, Report
from mailglass.adapters.fake import FakeAdapter, FakeMode
from mailglass.clock import system_clock
from mailglass.delivery.sweep import ABANDONED_MAX
from mailglass.ledger.checking import LedgerCheck
from mailglass.ledger.rows import Claim
from mailglass.suppression import Suppression, SuppressionReason, SuppressionScope

EARLIER = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
REPORTS = (
    EventType.QUEUED, EventType.SENT, EventType.DEFERRED, EventType.BOUNCED, EventType.DELIVERED,
    EventType.OPENED, EventType.CLICKED, EventType.COMPLAINED, EventType.UNSUBSCRIBED,
    EventType.FAILED, EventType.REJECTED,
)  # fmt: skip


def _tried(mail: Mailglass, **changes: object) -> Delivery:
    """Queue a mail and attempt it, whatever comes of it."""
    delivery = mail.deliver_later(note(**changes))
    mail.dispatch_message(delivery.tenant_id, delivery.message_id)
    return delivery


def _claimed(mail: Mailglass) -> Claim:
    """Queue a mail and claim it, as a worker that then dies."""
    delivery = mail.deliver_later(note())
    claim = mail.dispatcher.claim(delivery.tenant_id, delivery.message_id)
    assert claim is not None
    return claim


def _superuser(database_url: str, *statements: str) -> None:
    """Do what no trigger stops: what the check is there to see."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        for name in ("ddl", "drop", "rewrite"):
            connection.execute(f"alter event trigger mailglass_refuse_{name} disable".encode())
        for table in ("events", "deliveries", "messages"):
            connection.execute(f"alter table mailglass.{table} disable trigger all".encode())
        for statement in statements:
            connection.execute(statement.encode())


def _faults(mail: Mailglass, delivery_id: UUID | None = None) -> list[tuple[UUID, str]]:
    found = LedgerCheck(store=mail.store).faults(delivery_id)
    return [(one.delivery_id, one.fault) for one in found]


@pytest.mark.parametrize("mode", list(FakeMode)[:7])
def test_every_verdict_leaves_a_whole_ledger(database_url: str, mode: FakeMode) -> None:
    """Each way in which an attempt can end, for one recipient of two."""
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail:
        fake.for_recipient("zoe@mail.example", mode)
        _tried(mail, to=["zoe@mail.example", "max@mail.example"])
        assert _faults(mail) == []


def test_every_step_without_an_attempt_leaves_a_whole_ledger(database_url: str) -> None:
    """Cancelled, expired, suppressed, held, released, rescheduled, sent again, abandoned, put back."""
    fake = FakeAdapter(honours_idempotency_key=True)
    with front_desk(database_url, fake) as mail:
        mail.cancel(mail.deliver_later(note()).id)
        later = mail.deliver_later(note())
        mail.outbox.hold(later.id, actor="zoe")
        mail.outbox.release(later.id, actor="zoe")
        mail.outbox.reschedule(later.id, system_clock(), actor="zoe")
        mail.deliver_later(note(), expires_at=system_clock() + timedelta(hours=1))
        fake.next(FakeMode.REJECT_PERMANENT)
        mail.outbox.retry(_tried(mail).id, actor="zoe")
        _claimed(mail)
        entry = Suppression(
            scope=SuppressionScope.ADDRESS, value="max@mail.example",
            reason=SuppressionReason.MANUAL, source="test",
        )  # fmt: skip
        mail.suppress(entry)
        with pytest.raises(MailglassError):
            mail.deliver(note(to="max@mail.example"))
        with psycopg.connect(database_url, autocommit=True) as owner:
            owner.execute("update mailglass.messages set lease_until = now() where state='sending'")
            owner.execute(
                "update mailglass.messages set expires_at = now()"
                " where state='queued' and not held and token = 0 and expires_at < now() + '2h'"
            )
        swept = mail.sweep()
        assert (swept.abandoned, swept.requeued, swept.expired) == (1, 1, 1)
        assert _faults(mail) == []


def test_mail_that_was_given_up_is_whole(database_url: str) -> None:
    """What killed three workers has failed; what nobody told of for 72 hours is unknown for good."""
    fake = FakeAdapter(honours_idempotency_key=True)
    with front_desk(database_url, fake) as mail:
        poison = mail.deliver_later(note())
        for _ in range(ABANDONED_MAX):
            assert mail.dispatcher.claim(poison.tenant_id, poison.message_id) is not None
            with psycopg.connect(database_url, autocommit=True) as owner:
                owner.execute("update mailglass.messages set lease_until = now()")
            swept = mail.sweep()
        assert swept.quarantined == 1
    with front_desk(database_url) as mail:
        _claimed(mail)
        with psycopg.connect(database_url, autocommit=True) as owner:
            owner.execute("update mailglass.messages set lease_until = now() where state='sending'")
            mail.sweep()
            owner.execute("update mailglass.messages set updated_at = now() - interval '73 h'")
        assert mail.sweep().given_up == 1
        assert _faults(mail) == []


def test_an_unknown_that_an_operator_calls_sent_is_whole(database_url: str) -> None:
    """The step by hand says what it settled."""
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail:
        fake.next(FakeMode.UNKNOWN_TIMEOUT)
        mail.outbox.settle(_tried(mail).id, was_sent=True, actor="zoe")
        assert _faults(mail) == []


def test_reports_fold_as_the_table_shows_them(database_url: str) -> None:
    """Every report after every other, hard and soft: none of them moves the dispatch state."""
    with front_desk(database_url) as mail:
        for number, (first, second) in enumerate(product(REPORTS, repeat=2)):
            delivery = mail.deliver(note())
            for place, kind in enumerate((first, second)):
                at = EARLIER + timedelta(minutes=(number * 7 + place * 3) % 5)
                mail.record(
                    Report(
                        delivery_id=delivery.id,
                        provider="fake",
                        type=kind,
                        key=f"{number}.{place}",
                        occurred_at=at,
                        is_permanent=bool(number % 2),
                    )
                )
        assert _faults(mail) == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ("state = 'failed'", "state"),
        ("outcome = 'complained'", "outcome"),
        ("outcome_rank = 60", "outcome_rank"),
        ("outcome_at = now()", "outcome_at"),
        ("opened_at = now()", "opened_at"),
        ("clicked_at = now()", "clicked_at"),
        ("unsubscribed_at = now()", "unsubscribed_at"),
        ("tenant_id = 'other'", "tenant_id"),
        ("prior_hash = chain_hash", "prior_hash"),
        ("updated_at = updated_at + interval '1 s'", "updated_at"),
        ("created_at = created_at - interval '1 s'", "created_at"),
    ],
)
@pytest.mark.tampers
def test_a_delivery_that_shows_something_else_is_named(
    database_url: str, change: str, field: str
) -> None:
    """Whatever column somebody changes by hand, and no other delivery beside it."""
    with front_desk(database_url) as mail:
        delivery, other = mail.deliver(note()), mail.deliver(note())
        _superuser(
            database_url, f"update mailglass.deliveries set {change} where id = '{delivery.id}'"
        )
        assert (delivery.id, field) in _faults(mail)
        assert {one for one, _ in _faults(mail)} == {delivery.id}
        assert _faults(mail, other.id) == []


@pytest.mark.tampers
def test_both_ways(database_url: str) -> None:
    """A delivery without events and events without a delivery are both seen."""
    with front_desk(database_url) as mail:
        silent, ghost = mail.deliver(note()), mail.deliver(note())
        _superuser(
            database_url,
            f"delete from mailglass.events where delivery_id = '{silent.id}'",
            f"delete from mailglass.deliveries where id = '{ghost.id}'",
        )
        found = _faults(mail)
        assert (silent.id, "events") in found
        assert (ghost.id, "delivery") in found


@pytest.mark.parametrize(
    ("change", "field"), [("state = 'failed'", "message_state"), ("token = 7", "message_token")]
)
@pytest.mark.tampers
def test_a_message_that_is_not_its_deliveries_is_named(
    database_url: str, change: str, field: str
) -> None:
    """Under the id of its first recipient's delivery."""
    with front_desk(database_url) as mail:
        delivery = mail.deliver(note())
        mail.deliver(note())
        _superuser(
            database_url,
            f"update mailglass.messages set {change} where id = '{delivery.message_id}'",
        )
        assert _faults(mail) == [(delivery.id, field)]


@pytest.mark.parametrize(("kind", "token"), [("attempt_failed", 7), ("attempt_started", 0)])
@pytest.mark.tampers
def test_a_verdict_without_authority_is_named(database_url: str, kind: str, token: int) -> None:
    """A token that is not that of the attempt, or does not go up."""
    with front_desk(database_url) as mail:
        delivery = mail.deliver(note())
        mail.deliver(note())
        _superuser(
            database_url,
            f"""insert into mailglass.events (tenant_id, delivery_id, seq, type, occurred_at, recorded_at,
                payload, prev_hash, hash)
            select tenant_id, delivery_id, 4, '{kind}', now(), now(), '{{"token": {token}}}', hash, hash
            from mailglass.events where delivery_id = '{delivery.id}' and seq = 3""",
        )
        assert (delivery.id, "attempt_token") in _faults(mail)
        assert {one for one, _ in _faults(mail)} == {delivery.id}


def _check(database_url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAILGLASS_")}
    return subprocess.run(
        [sys.executable, "-c", "from mailglass.cli import main; main()", "ledger", "check", *arguments],
        env=kept | {"MAILGLASS_DATABASE_URL": database_url},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_the_command_says_that_the_ledger_is_whole(database_url: str) -> None:
    """One line and exit 0."""
    with front_desk(database_url) as mail:
        mail.deliver(note())
    told = _check(database_url)
    assert (told.returncode, told.stdout) == (0, "whole: 1 deliveries, 3 events\n")


@pytest.mark.tampers
def test_the_command_names_what_differs_and_exits_1(database_url: str) -> None:
    """In text and in JSON."""
    with front_desk(database_url) as mail:
        delivery, other = mail.deliver(note()), mail.deliver(note())
    _superuser(
        database_url,
        f"update mailglass.deliveries set state = 'failed' where id = '{delivery.id}'",
        f"update mailglass.messages set state = 'failed' where id = '{delivery.message_id}'",
        f"update mailglass.events set trace_id = 'x' where delivery_id = '{delivery.id}' and seq = 2",
    )
    told = _check(database_url)
    assert told.returncode == 1
    assert told.stdout.splitlines() == [
        f"{delivery.id} changed_event at event 2", f"{delivery.id} state",
    ]  # fmt: skip
    document = json.loads(_check(database_url, "--json", "--delivery", str(delivery.id)).stdout)
    assert document["faults"][0] == {
        "delivery_id": str(delivery.id), "seq": 2, "fault": "changed_event",
    }  # fmt: skip
    assert _check(database_url, "--delivery", str(other.id)).returncode == 0
