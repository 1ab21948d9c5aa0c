"""Attacks where the parts meet: what happens in the moment between two adapters, or while one works."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from front_desk import note
from mailglass import DispatchState, EventType, Mailglass, tenant
from mailglass.adapters.fake import FakeAdapter, FakeMode
from mailglass.envelope import Accepted, Envelope
from mailglass.ledger.breakers import BreakerState
from mailglass.ledger.features import FeatureStore
from mailglass.settings import Breaker
from mailglass.worker import Worker
from routed import routed, sql, told
from webhook_requests import bounced, hooked, request


class Interrupted(FakeAdapter):
    """Refuses for now, and does what the test asks for while it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[Envelope], object] = lambda _envelope: None
        self.next(FakeMode.REJECT_TEMPORARY)

    def send(self, envelope: Envelope) -> Accepted:
        """Do it, then refuse."""
        self.meanwhile(envelope)
        return super().send(envelope)


def _states(mail: Mailglass) -> list[BreakerState]:
    return [one.state for one in mail.router.breakers.breakers.status(None)]


def test_the_switch_stops_the_second_hop_and_the_mail_goes_on_behind_it(database_url: str) -> None:
    """Sending is switched off while the first adapter refuses: the second is not called."""
    main, backup = Interrupted(), FakeAdapter()
    with routed(database_url, {"main": main, "backup": backup}) as mail:
        features = FeatureStore(store=mail.store)
        main.meanwhile = lambda _: features.set("sending", 0, by="ann")
        delivery = mail.deliver(note())
        assert delivery.state is DispatchState.QUEUED
        assert backup.sent == ()
        main.meanwhile = lambda _: None
        features.set("sending", 10_000, by="ann")
        mail.dispatcher.switch._read_at = float("-inf")
        mail.dispatcher.switch.settle(at_once=True)
        assert mail.dispatch(delivery.id).state is DispatchState.SENT
    assert (len(main.sent), len(backup.sent)) == (0, 1)


def test_what_is_held_between_two_adapters_stays(database_url: str) -> None:
    """The hop ends in the queue, and there an operator or a cancellation has its say."""
    main, backup = Interrupted(), FakeAdapter()
    main.next(FakeMode.REJECT_TEMPORARY)
    with routed(database_url, {"main": main, "backup": backup}) as mail:
        delivery = mail.deliver_later(note())
        claim = mail.dispatcher.claim("default", delivery.message_id)
        assert claim is not None
        attempt = mail.dispatcher.attempt(claim)
        assert attempt.goes_on
        mail.dispatcher.finalize([attempt])
        assert mail.outbox.cancel(delivery.id, actor="ann")
        mail.dispatch_message("default", delivery.message_id)
        assert told(mail, delivery)[-1][0] == "cancelled"
    assert backup.sent == ()


def test_an_expired_mail_takes_no_second_hop(database_url: str) -> None:
    """Its time ends while the first adapter refuses."""
    main, backup = Interrupted(), FakeAdapter()
    with routed(database_url, {"main": main, "backup": backup}) as mail:
        main.meanwhile = lambda _: sql(
            database_url, "update mailglass.messages set expires_at = now() - interval '1 s'"
        )
        mail.deliver_later(note(), expires_at=datetime.now(UTC) + timedelta(hours=1))
        mail.dispatch_due()
        assert mail.sweep().expired == 1
    assert backup.sent == ()


def test_a_report_before_the_verdict_is_kept(database_url: str) -> None:
    """The bounce arrives while the adapter still waits for its answer."""
    fake = Interrupted()
    fake.clear()
    with hooked(database_url, adapter=fake) as mail:
        fake.meanwhile = lambda envelope: mail.ingest(
            "postmark", request(bounced(envelope.recipients[0].delivery_id))
        )
        delivery = mail.deliver(note())
        assert delivery.state is DispatchState.SENT
        assert EventType.BOUNCED in {one.type for one in mail.events(delivery.id)}


def test_another_tenants_endpoint_settles_nothing(database_url: str) -> None:
    """A genuine request at the default tenant's endpoint names a delivery of another tenant."""
    fake = FakeAdapter()
    fake.next(FakeMode.ACCEPTED_THEN_CRASH)
    with hooked(database_url, adapter=FakeAdapter()) as mail:
        with tenant("acme"):
            theirs = mail.deliver(note())
        before = mail.events(theirs.id)
        answer = mail.ingest("postmark", request(bounced(theirs.id)))
        assert answer.recorded == 0
        assert mail.events(theirs.id) == before
        assert sql(database_url, "select count(*) from mailglass.suppressions") == [(0,)]


def test_a_probe_that_is_only_asked_to_wait_says_that_the_provider_works(database_url: str) -> None:
    """429 on the probe: the breaker closes, and the limits keep the rest of the mail back."""
    fake = FakeAdapter()
    fake.next(FakeMode.BAD_CREDENTIALS)
    with routed(database_url, {"main": fake}, breaker=Breaker(failures=2)) as mail:
        mail.deliver(note())
        mail.deliver_many([note() for _ in range(5)])
        mail.dispatch_due()
        sql(database_url, "update mailglass.breakers set retry_at = now() - interval '1 s'")
        sql(database_url, "update mailglass.messages set run_at = now()")
        mail.router.breakers._read_at = float("-inf")
        fake.next(FakeMode.RATE_LIMITED, retry_after_s=600)
        mail.dispatch_due()
        assert _states(mail) == [BreakerState.CLOSED]
        assert mail.dispatch_due() <= 6
    assert fake.sent == ()


def test_a_worker_that_is_stopped_while_the_database_is_away_tells_of_it(database_url: str) -> None:
    """Verdicts that nobody can write do not hang the end, and are not told as a success."""
    fake, started, go = Interrupted(), threading.Event(), threading.Event()
    fake.clear()

    def wait(_envelope: Envelope) -> None:
        started.set()
        assert go.wait(30)

    fake.meanwhile = wait
    ended: list[object] = []
    with routed(database_url, {"main": fake}) as mail:
        delivery = mail.deliver_later(note())
        stopped = threading.Event()

        def run() -> None:
            try:
                ended.append(Worker(mail=mail, poll_s=0.01).run(stopped))
            except Exception as error:  # noqa: BLE001 - looked at below
                ended.append(type(error).__name__)

        worker = threading.Thread(target=run)
        worker.start()
        assert started.wait(30)
        sql(database_url, "alter table mailglass.messages rename to messages_away")
        stopped.set()
        go.set()
        worker.join(60)
        assert not worker.is_alive()
        sql(database_url, "alter table mailglass.messages_away rename to messages")
        found = mail.delivery(delivery.id)
    assert ended == ["ConfigError"]
    assert found is not None
    assert found.state is DispatchState.SENDING


def test_a_probe_that_a_limit_keeps_back_is_not_lost(database_url: str) -> None:
    """Its breaker's time comes between the limits of another and the choice: nobody else waits for it."""
    main, backup = FakeAdapter(), FakeAdapter()
    main.next(FakeMode.BAD_CREDENTIALS)
    limits = [{"per": ["provider"], "match": {"provider": "main"}, "rate": "1/h", "burst": 1}]
    with routed(database_url, {"main": main, "backup": backup}, limits=limits) as mail:
        mail.deliver(note())  # takes the pass of main, and opens its breaker
        delivery = mail.deliver_later(note())
        claim = mail.dispatcher.claim("default", delivery.message_id)
        assert claim is not None
        # What hope said (backup) was right a moment ago; now the breaker's time has come.
        sql(database_url, "update mailglass.breakers set retry_at = now() - interval '1 s'")
        mail.router.breakers._read_at = float("-inf")
        attempt = mail.dispatcher._steered(claim, "backup")
        mail.dispatcher.finalize([attempt])
        (found,) = sql(
            database_url,
            "select state, retry_at <= clock_timestamp() from mailglass.breakers",
        )
    assert found == ("open", True)
    assert len(backup.sent) == 2  # the first failed over, the second was meant for it
