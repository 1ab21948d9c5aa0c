"""Reports that come too early, requests that a crash left, and reading a request again."""

from __future__ import annotations

from uuid import UUID, uuid4

import psycopg
import pytest

from front_desk import count, note
from mailglass import ConfigError, EventType, Outcome
from mailglass.webhooks.endpoint import Endpoint
from webhook_requests import delivered, hooked, postmark, request, sendgrid_event


def _run(database_url: str, statement: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(statement.encode())


def _receipt(database_url: str) -> UUID:
    with psycopg.connect(database_url) as connection:
        row = connection.execute("select id from mailglass.webhook_receipts").fetchone()
    assert row is not None
    found: UUID = row[0]
    return found


def _name_provider(database_url: str) -> None:
    _run(
        database_url,
        "update mailglass.deliveries set provider = 'postmark', provider_message_id = 'pm-1'",
    )


def test_a_report_before_its_delivery_is_linked_later(database_url: str) -> None:
    """The provider's webhook was faster than our own note of its answer."""
    with hooked(database_url) as mail:
        sent = mail.deliver(note())
        mail.ingest("postmark", request(delivered(None)))
        first = mail.reconcile()
        _name_provider(database_url)
        second = mail.reconcile()
        third = mail.reconcile()
        events = mail.events(sent.id)
        now = mail.delivery(sent.id)
        assert mail.store.broken_chains() == ()
    assert (first.linked, first.waiting) == (0, 1)
    assert (second.linked, second.waiting, third.linked) == (1, 0, 0)
    assert [event.type for event in events[-2:]] == [EventType.DELIVERED, EventType.RECONCILED]
    assert events[-1].payload == {"by": "orphan", "type": "delivered"}
    assert now is not None
    assert now.outcome is Outcome.DELIVERED
    assert count(database_url, "webhook_orphans") == 0


def test_an_orphan_is_given_up_after_seven_days(database_url: str) -> None:
    """Its address goes with it; that it came is noted with its receipt."""
    with hooked(database_url) as mail:
        mail.ingest("postmark", request(delivered(uuid4())))
        _run(
            database_url,
            "update mailglass.webhook_orphans set received_at = now() - interval '6 days'",
        )
        assert mail.reconcile().waiting == 1
        _run(
            database_url,
            "update mailglass.webhook_orphans set received_at = now() - interval '8 days'",
        )
        assert mail.reconcile().expired == 1
    assert count(database_url, "webhook_orphans") == 0
    assert count(database_url, "webhook_dead") == 1


def test_an_orphan_whose_delivery_has_another_recipient_is_buried(database_url: str) -> None:
    """Waiting does not weaken the check."""
    with hooked(database_url) as mail:
        sent = mail.deliver(note())
        mail.ingest("postmark", request(delivered(None, "victim@mail.example")))
        _name_provider(database_url)
        done = mail.reconcile()
        assert len(mail.events(sent.id)) == 3
    assert (done.linked, done.refused) == (0, 1)


def test_a_request_that_a_crash_left_is_finished(database_url: str) -> None:
    """Kept and answered, but the process died before the events were written."""
    with hooked(database_url) as mail:
        sent = mail.deliver(note())
        mail.ingest("postmark", request(delivered(uuid4())))
        _run(
            database_url,
            "update mailglass.webhook_receipts set state = 'received', "
            "received_at = now() - interval '2 minutes', body = convert_to(replace("
            "convert_from(body, 'UTF8'), substring(convert_from(body, 'UTF8') from "
            f"'[0-9a-f]{{8}}-[0-9a-f-]{{27}}'), '{sent.id}'), 'UTF8')",
        )
        assert mail.reconcile().finished == 1
        assert mail.events(sent.id)[-1].type is EventType.DELIVERED
        assert mail.reconcile().finished == 0


def test_reading_a_request_again_counts_nothing_twice(database_url: str) -> None:
    """Replay is for what an adapter has learnt since."""
    with hooked(database_url) as mail:
        sent = mail.deliver(note())
        words = ("processed", "delivered")
        mail.ingest("sendgrid", request([sendgrid_event(sent.id, one) for one in words]))
        done = mail.replay(_receipt(database_url))
        assert len(mail.events(sent.id)) == 5
        assert mail.replay(uuid4()) is None
        assert mail.replay(_receipt(database_url), "other") is None
    assert done is not None
    assert done.counts == {"duplicate": 2}


def test_a_replay_without_its_endpoint_is_refused(database_url: str) -> None:
    """Nobody guesses whose events they are."""
    with hooked(database_url) as mail:
        mail.ingest("postmark", request(delivered(None)))
    other = Endpoint(name="main", adapter=postmark(), tenant_id="other")
    with hooked(database_url, endpoints=[other]) as mail:
        with pytest.raises(ConfigError):
            mail.replay(_receipt(database_url))


def test_requests_that_cannot_be_read_keep_no_other_waiting(database_url: str) -> None:
    """More of them than one page holds, of an endpoint that is gone, and older."""
    with hooked(database_url) as mail, psycopg.connect(database_url) as owner:
        owner.execute(
            "insert into mailglass.webhook_receipts (id, tenant_id, provider, endpoint, dedupe_key,"
            " headers, body, body_sha256, received_at) select"
            " ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'gone', 'postmark', 'gone', n,"
            " '[]', 'x', sha256('x'), now() - interval '1 day' from generate_series(1, 500) n"
        )
        mail.ingest("postmark", request(delivered(None)))
        owner.execute(
            "update mailglass.webhook_receipts"
            " set state = 'received', received_at = now() - interval '1 hour' where endpoint = 'main'"
        )
        owner.commit()
        assert mail.reconcile().finished == 1
