"""Under pressure: slow providers, long queues of one key and old floods hold up no other mail."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from front_desk import BULK, front_desk, note
from mailglass import Mailglass, Stream
from mailglass.adapters.fake import FakeAdapter, FakeMode
from mailglass.delivery.settling import released
from mailglass.envelope import Accepted, Envelope
from mailglass.ledger import store
from mailglass.worker import Worker, pipeline
from mailglass.worker.running import drain
from running_worker import running, until


def _bulk(number: int, **changes: Any) -> Any:
    return note(
        stream=Stream.BULK, mailable="app.News", subject=f"News {number}",
        text="News. 1 Harbour Street, Dublin", **changes,
    )  # fmt: skip


def _expire(database_url: str, where: str, ago: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute(
            b"update mailglass.messages set expires_at = now() - %s::interval where "
            + where.encode(),
            [ago],
        )


class Tiring(FakeAdapter):
    """A provider that takes bulk mail fast, and after a number of it slowly, as they do."""

    def __init__(self, fast: int) -> None:
        super().__init__()
        self.fast = fast
        self.count = itertools.count()
        self.is_slow = threading.Event()
        self.over = threading.Event()

    def send(self, envelope: Envelope) -> Accepted:
        """Take a mail, slowly once tired."""
        if envelope.stream is Stream.BULK and next(self.count) >= self.fast:
            self.is_slow.set()
            self.over.wait(60.0)
        return super().send(envelope)

    def has(self, stream: Stream) -> bool:
        """Tell whether a mail of a stream has left."""
        return any(one.envelope.stream is stream for one in self.sent)


@pytest.mark.parametrize("stream", [Stream.TRANSACTIONAL, Stream.OPERATIONAL])
def test_a_flood_whose_provider_turns_slow_holds_up_no_password_reset(
    database_url: str, stream: Stream
) -> None:
    """What was claimed at the old pace fills all room, and one thread takes no bulk mail."""
    fake = Tiring(600)
    with front_desk(database_url, fake, **BULK) as mail:
        mail.deliver_many([_bulk(number) for number in range(1200)])
        with running(Worker(mail=mail, threads=4, poll_s=0.1)):
            assert fake.is_slow.wait(60)
            mail.deliver_later(note(stream=stream))
            until(lambda: fake.has(stream))
            fake.over.set()


def test_what_is_in_flight_is_bounded_in_bytes(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pace of small mail says nothing of how much large mail fits the memory."""
    monkeypatch.setattr(store, "CLAIM_BYTES_MAX", 5_000)
    monkeypatch.setattr(pipeline, "_PAYLOADS_MAX", 20_000)
    fake = Tiring(300)
    with front_desk(database_url, fake, **BULK) as mail:
        mail.deliver_many([_bulk(number) for number in range(600)])
        with running(Worker(mail=mail, threads=4, poll_s=0.05)):
            assert fake.is_slow.wait(60)
            time.sleep(1.0)
            with psycopg.connect(database_url) as owner:
                (size,) = owner.execute(
                    "select sum(payload_bytes) from mailglass.messages where state = 'sending'"
                ).fetchone() or (None,)
            fake.over.set()
    assert 0 < size < 40_000


def test_a_drain_ends_though_a_key_cannot_go_on(database_url: str) -> None:
    """Mail behind an expired one of its key is not looked at again and again."""
    with front_desk(database_url) as mail:
        mail.deliver_many([note(subject=str(number)) for number in range(250)])
        first = mail.deliver_later(note(ordering_key="zoe"))
        mail.deliver_later(note(ordering_key="zoe"))
        _expire(database_url, "ordering_key is null", "1 minute")
        _expire(database_url, f"id = '{first.message_id}'", "1 second")
        stopped = threading.Event()
        thread = threading.Thread(target=drain, args=(mail, stopped))
        thread.start()
        thread.join(30.0)
        is_ended = not thread.is_alive()
        stopped.set()
        thread.join()
    assert is_ended


def test_expired_mail_holds_up_no_key(database_url: str) -> None:
    """Nor does a sweep leave most of an old flood to those after it."""
    with front_desk(database_url) as mail:
        mail.deliver_many([note(subject=str(number)) for number in range(450)])
        first = mail.deliver_later(note(ordering_key="zoe"))
        second = mail.deliver_later(note(ordering_key="zoe"))
        _expire(database_url, f"id <> '{second.message_id}'", "1 minute")
        due, _ = mail.store.due_in_order(Stream.TRANSACTIONAL, limit=5)
        assert due == (("default", second.message_id),)
        assert mail.dispatcher.claim("default", first.message_id) is None
        assert mail.sweep().expired == 451


def _steps(fake: FakeAdapter) -> list[str]:
    return [one.message.subject for one in fake.sent]


def test_a_retry_keeps_the_order_of_a_key(database_url: str) -> None:
    """What is tried again later is waited for by the mail of its key that came after it."""
    fake = FakeAdapter()
    fake.next(FakeMode.REJECT_TEMPORARY)
    with front_desk(database_url, fake) as mail:
        for number in range(3):
            mail.deliver_later(note(subject=f"step {number}", ordering_key="k"))
        with running(Worker(mail=mail, threads=2, poll_s=0.05)):
            until(lambda: len(fake.sent) == 3)
    assert _steps(fake) == ["step 0", "step 1", "step 2"]


def test_what_is_given_back_keeps_its_place_in_its_key(database_url: str) -> None:
    """As at a stop: it is due now, and was first before."""
    with front_desk(database_url) as mail:
        first, _ = (mail.deliver_later(note(ordering_key="k")) for _ in range(2))
        claim = mail.dispatcher.claim("default", first.message_id)
        assert claim is not None
        mail.dispatcher.finalize([released(claim, "worker_stopped")])
        due, _after = mail.store.due_in_order(Stream.TRANSACTIONAL, limit=5)
        assert due == (("default", first.message_id),)


def test_another_time_is_another_place_in_a_key(database_url: str) -> None:
    """Who reschedules the first means that the second may go."""
    with front_desk(database_url) as mail:
        first, second = (mail.deliver_later(note(ordering_key="k")) for _ in range(2))
        later = datetime.now(UTC) + timedelta(hours=1)
        mail.outbox.reschedule(first.id, later, actor="zoe")
        due, _after = mail.store.due_in_order(Stream.TRANSACTIONAL, limit=5)
        assert due == (("default", second.message_id),)


def test_mail_behind_a_held_or_unknown_one_of_its_key_goes_on(database_url: str) -> None:
    """Nothing waits for what an operator keeps, or for evidence that may come in days."""
    fake = FakeAdapter()
    fake.next(FakeMode.UNKNOWN_TIMEOUT)
    with front_desk(database_url, fake) as mail:
        found = [mail.deliver_later(note(ordering_key="k")) for _ in range(3)]
        mail.outbox.hold(found[0].id, actor="zoe")
        for one in found[1:]:
            due, _after = mail.store.due_in_order(Stream.TRANSACTIONAL, limit=5)
            assert due == (("default", one.message_id),)
            mail.dispatch_due()
        states = [mail.store.delivery("default", one.id) for one in found]
    assert [one and one.state.value for one in states] == ["queued", "unknown", "sent"]


def test_keys_behind_a_long_queue_of_one_are_found(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where more is due than is looked at, the keys are walked, from where the last walk ended."""
    monkeypatch.setattr(store, "DUE_IN_ORDER_MAX", 5)
    monkeypatch.setattr(store, "KEYS_MAX", 2)
    with front_desk(database_url) as mail:
        mail.deliver_many([note(ordering_key="b") for _ in range(9)])
        others = {key: mail.deliver_later(note(ordering_key=key)).message_id for key in "acdz"}
        found, after = set[Any](), store.FIRST_KEY
        for _ in range(3):
            due, after = mail.store.due_in_order(Stream.TRANSACTIONAL, limit=4, after=after)
            found |= {message_id for _, message_id in due}
        assert after == store.FIRST_KEY
        assert set(others.values()) < found
        assert len(found) == 5


def _order(mail: Mailglass, fake: FakeAdapter, is_over: Callable[[], bool]) -> list[str]:
    with running(Worker(mail=mail, threads=1, poll_s=0.05)):
        until(is_over)
    return _steps(fake)


@pytest.mark.parametrize("stream", [Stream.OPERATIONAL, Stream.BULK])
def test_mail_in_order_has_its_turn_at_a_slow_provider(database_url: str, stream: Stream) -> None:
    """With one thread there is room for one mail at a time, and either kind gets it in turns."""

    class Slow(FakeAdapter):
        def send(self, envelope: Envelope) -> Accepted:
            time.sleep(0.1)
            return super().send(envelope)

    fake = Slow()
    with front_desk(database_url, fake, **BULK) as mail:
        make = note(stream=stream, mailable="app.News", text="News. 1 Harbour Street, Dublin")
        mail.deliver_many([make.replace(subject="other") for _ in range(16)])
        mail.deliver_later(make.replace(subject="step", ordering_key="zoe"))
        steps = _order(mail, fake, lambda: "step" in _steps(fake))
    assert steps.index("step") < 10
