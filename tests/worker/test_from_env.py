"""The broker and the telemetry that the settings ask for, with nothing wired by hand."""

from __future__ import annotations

import threading

import dramatiq

from front_desk import front_desk, note
from mailglass import DispatchState, Mailglass
from mailglass.adapters.fake import FakeAdapter
from mailglass.envelope import Accepted, Envelope
from mailglass.settings import load_settings
from mailglass.telemetry.observers import observers
from mailglass.telemetry.otel import exporting
from mailglass.worker.brokers import QUEUE, broker_from, notices
from mailglass.worker.serving import Serving, register

DEADLINE_S = 30.0


class Telling(FakeAdapter):
    """A fake that tells of each arrival."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived = threading.Semaphore(0)

    def send(self, envelope: Envelope) -> Accepted:
        """Send and tell."""
        try:
            return super().send(envelope)
        finally:
            self.arrived.release()


def test_a_broker_in_the_settings_is_enough(database_url: str) -> None:
    """``stub://``: from_env wires it, close() ends it."""
    fake, before = (
        Telling(),
        set(threading.enumerate()),
    )  # another test's Mailglass may be open still
    with Mailglass.from_env(
        adapters={"default": fake}, database_url=database_url, broker_url="stub://"
    ) as mail:
        mail.deliver_later(note())
        mail.deliver_many([note(), note()])
        for _ in range(3):
            assert fake.arrived.acquire(timeout=DEADLINE_S)
    left = set(threading.enumerate()) - before
    names = {one.name for one in left} - {"mailglass-bell"}  # it notices by itself
    assert not [one for one in names if one.startswith("mailglass-")]


def test_the_setting_otel_begins_the_export(database_url: str) -> None:
    """Once, however many there are."""
    for _ in range(2):
        with Mailglass.from_env(database_url=database_url, otel=True):
            pass
    assert [one for one in observers() if one is exporting()] == [exporting()]


def test_mail_in_order_stays_in_order_through_a_broker(database_url: str) -> None:
    """Told of backwards and all at once, it leaves in the order it came."""
    fake = Telling()
    broker = broker_from(load_settings(broker_url="stub://"))
    with front_desk(database_url, fake, enqueue=lambda _ids: None) as mail:
        ids = [
            mail.deliver_later(note(subject=f"step {one}", ordering_key="k")).message_id
            for one in range(8)
        ]
        serving = Serving(lambda: mail, closes_mail=False, poll_s=0.01)
        register(broker, serving)
        for _ in range(5):
            for one in reversed(ids):
                for notice in notices("default", [one]):
                    broker.enqueue(notice)
        worker = dramatiq.Worker(broker, worker_threads=4, worker_timeout=20)
        worker.start()
        for _ in ids:
            assert fake.arrived.acquire(timeout=DEADLINE_S)
        broker.join(QUEUE)
        worker.stop()
        found = mail.store.list_deliveries(tenant_id=None)
        assert {one.state for one in found} == {DispatchState.SENT}
    assert [one.message.subject for one in fake.sent] == [f"step {one}" for one in range(8)]
