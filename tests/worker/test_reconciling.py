"""A worker links reports that came before their delivery, within bounds, and whatever goes wrong there."""

from __future__ import annotations

import threading
from uuid import uuid4

import psycopg
import pytest

from front_desk import count, note
from mailglass import DispatchState, Mailglass, Outcome
from mailglass.adapters.fake import FakeAdapter
from mailglass.inbound.mailbox import Mailbox
from mailglass.inbound.message import InboundMessage
from mailglass.webhooks.endpoint import Endpoint
from mailglass.worker import Worker
from mailglass.worker.reconciling import PAGES_MAX, RECEIPTS_MAX, Reconciler
from running_worker import running, until
from webhook_requests import delivered, hooked, postmark, request

PAGE = 500


def _run(database_url: str, statement: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(statement.encode())


def _name_provider(database_url: str) -> None:
    _run(
        database_url,
        "update mailglass.deliveries set provider = 'postmark', provider_message_id = 'pm-1'",
    )


def _reconciler(mail: Mailglass) -> Reconciler:
    return Reconciler(mail=mail, every_s=3600.0, stopped=threading.Event())


def test_a_worker_links_a_report_that_came_too_early(database_url: str) -> None:
    """Nobody runs a command for it."""
    with hooked(database_url) as mail:
        sent = mail.deliver(note())
        mail.ingest("postmark", request(delivered(None)))
        _name_provider(database_url)

        def is_delivered() -> bool:
            found = mail.delivery(sent.id)
            return found is not None and found.outcome is Outcome.DELIVERED

        with running(Worker(mail=mail, threads=1, reconcile_every_s=0.02)):
            until(is_delivered)
        assert mail.store.broken_chains() == ()
    assert count(database_url, "webhook_orphans") == 0


def test_a_pass_that_fails_stops_no_mail(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is reported by its kind, and the next pass tries again."""
    twice = Endpoint(name="main", adapter=postmark(), tenant_id="default")
    fake = FakeAdapter()

    def failures() -> int:
        return sum("webhook.failed" in one.getMessage() for one in caplog.records)

    with (
        hooked(database_url, adapter=fake, endpoints=[twice, twice]) as mail,
        running(Worker(mail=mail, threads=1, poll_s=0.01, reconcile_every_s=0.02)),
    ):
        until(lambda: failures() >= 2)
        queued = mail.deliver_later(note())
        until(lambda: len(fake.sent) == 1)
    assert queued.state is DispatchState.QUEUED
    assert "error_type=ConfigError" in caplog.text


def test_a_pass_looks_at_a_part_of_what_waits_and_the_next_goes_on(database_url: str) -> None:
    """Reports on mail of others may wait by the million, and none of them starves ours."""
    with hooked(database_url) as mail:
        mail.ingest("postmark", request(delivered(uuid4())))
        _run(
            database_url,
            "insert into mailglass.webhook_orphans"
            " (id, tenant_id, provider, endpoint, receipt_id, dedupe_key, document)"
            " select gen_random_uuid(), tenant_id, provider, endpoint, receipt_id,"
            " dedupe_key || n, document"
            f" from mailglass.webhook_orphans, generate_series(1, {PAGES_MAX * PAGE + 99}) n",
        )
        reconciler = _reconciler(mail)
        passes = [reconciler.once().waiting for _ in range(4)]
    assert passes == [PAGES_MAX * PAGE, 100, PAGES_MAX * PAGE, 100]


def test_a_request_that_a_crash_left_is_finished_by_a_worker(database_url: str) -> None:
    """So many of them in a pass, the others in the next."""
    with hooked(database_url) as mail:
        for number in range(RECEIPTS_MAX + 3):
            mail.ingest("postmark", request(delivered(uuid4(), MessageID=f"pm-{number}")))
        _run(
            database_url,
            "update mailglass.webhook_receipts"
            " set state = 'received', received_at = now() - interval '2 minutes'",
        )
        reconciler = _reconciler(mail)
        passes = [reconciler.once().finished for _ in range(3)]
    assert passes == [RECEIPTS_MAX, 3, 0]


def test_a_received_mail_that_a_crash_left_is_handled_once(database_url: str) -> None:
    """Whichever of all workers comes first holds it for its handler."""
    seen: list[InboundMessage] = []
    mailbox = Mailbox()
    mailbox.route()(seen.append)
    inbound = Endpoint(name="in", adapter=postmark(), tenant_id="default", mailbox=mailbox)
    written = {"FromFull": {"Email": "zoe@mail.example"}, "Subject": "Hello", "TextBody": "Hi"}
    with hooked(database_url, endpoints=[inbound]) as mail:
        mail.ingest("postmark/in", request(written))
        _run(
            database_url,
            "update mailglass.webhook_receipts"
            " set state = 'received', received_at = now() - interval '2 minutes';"
            " delete from mailglass.inbound_messages",
        )
        assert _reconciler(mail).once().finished == 1
        assert mail.reconcile().finished == 0
    assert len(seen) == 2


def test_what_a_worker_cannot_read_keeps_nothing_of_others_waiting(database_url: str) -> None:
    """Requests of an endpoint that is gone are looked at once, and the next pass goes on behind them."""
    with hooked(database_url) as mail:
        _run(
            database_url,
            "insert into mailglass.webhook_receipts (id, tenant_id, provider, endpoint, dedupe_key,"
            " headers, body, body_sha256, received_at) select gen_random_uuid(), 'gone', 'postmark',"
            " 'gone', n, '[]', 'x', sha256('x'), now() - interval '1 day'"
            f" from generate_series(1, {RECEIPTS_MAX * 2}) n",
        )
        mail.ingest("postmark", request(delivered(uuid4())))
        _run(
            database_url,
            "update mailglass.webhook_receipts"
            " set state = 'received', received_at = now() - interval '2 minutes'"
            " where endpoint = 'main'",
        )
        reconciler = _reconciler(mail)
        assert sum(reconciler.once().finished for _ in range(3)) == 1


def test_a_pass_ends_when_the_worker_does(database_url: str) -> None:
    """A stop does not wait for all that waits."""
    with hooked(database_url) as mail:
        mail.ingest("postmark", request(delivered(uuid4())))
        reconciler = _reconciler(mail)
        reconciler.stopped.set()
        assert reconciler.once().waiting == 0
