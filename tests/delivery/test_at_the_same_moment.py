"""Two steps on one message at the same moment: what is left is what both of them say."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import psycopg
import pytest

from front_desk import front_desk, note
from mailglass import Delivery, DispatchState, EventType, Mailglass, Report
from mailglass.adapters.fake import FakeAdapter, FakeMode

ROUNDS = 60


def _delivered(one: Delivery) -> Report:
    return Report(
        delivery_id=one.id, provider="fake", type=EventType.DELIVERED, key=str(one.id),
        occurred_at=datetime.now(UTC),
    )  # fmt: skip


def _at_once(*steps: Callable[[], object]) -> None:
    begin = threading.Barrier(len(steps))

    def take(step: Callable[[], object]) -> None:
        begin.wait()
        step()

    threads = [threading.Thread(target=take, args=(one,)) for one in steps]
    for one in threads:
        one.start()
    for one in threads:
        one.join()


def _two_unknown(mail: Mailglass, fake: FakeAdapter) -> tuple[Delivery, ...]:
    fake.next(FakeMode.UNKNOWN_TIMEOUT)
    asked = mail.deliver_later(note(cc="ann@mail.example"))
    mail.dispatch_message(asked.tenant_id, asked.message_id)
    return mail.deliveries_of(asked.message_id)


def _one_unknown_one_waiting(mail: Mailglass, fake: FakeAdapter) -> tuple[Delivery, ...]:
    """As by SMTP: the answer to the final dot was lost, and one recipient was greylisted before it."""
    fake.for_recipient("zoe@mail.example", FakeMode.UNKNOWN_TIMEOUT)
    fake.for_recipient("ann@mail.example", FakeMode.REJECT_TEMPORARY)
    asked = mail.deliver_later(note(cc="ann@mail.example"))
    mail.dispatch_message(asked.tenant_id, asked.message_id)
    fake.for_recipient("ann@mail.example", FakeMode.ACCEPT)
    return mail.deliveries_of(asked.message_id)


def _message_states(database_url: str) -> set[str]:
    with psycopg.connect(database_url) as owner:
        return {row[0] for row in owner.execute("select state from mailglass.messages")}


def test_reports_on_two_recipients_settle_the_message(database_url: str) -> None:
    """Each report sees what the other has just written, so the message is sent as both are."""
    fake = FakeAdapter()
    with front_desk(database_url, fake, breaker=None) as mail:
        for _ in range(ROUNDS):
            first, second = _two_unknown(mail, fake)
            _at_once(
                lambda one=first: mail.record(_delivered(one)),  # type: ignore[misc]  # bound now
                lambda one=second: mail.record(_delivered(one)),  # type: ignore[misc]  # bound now
            )
        assert _message_states(database_url) == {"sent"}


@pytest.mark.parametrize("step", ["cancel", "attempt"])
def test_a_report_beside_another_step(database_url: str, step: str) -> None:
    """While one recipient's report settles it, the other is cancelled, or gets its next attempt."""
    fake = FakeAdapter()
    with front_desk(database_url, fake, breaker=None) as mail:
        for _ in range(ROUNDS):
            first, second = _one_unknown_one_waiting(mail, fake)
            steps: dict[str, Callable[[], object]] = {
                "cancel": lambda one=second: mail.cancel(one.id),  # type: ignore[misc]  # bound now
                "attempt": lambda one=second: mail.dispatch_message(one.tenant_id, one.message_id),  # type: ignore[misc]  # bound now
            }
            report: Callable[[], object] = lambda one=first: mail.record(_delivered(one))  # type: ignore[misc]  # noqa: E731 - bound now
            _at_once(report, steps[step])
        mail.dispatch_due()  # a claim passes over a row that the report holds at that moment
        assert _message_states(database_url) == {"sent"}


def test_mail_in_order_is_not_overtaken_while_a_verdict_is_written(database_url: str) -> None:
    """The first is put off; while that is written, a doorbell rings for the second of its key."""
    fake = FakeAdapter()
    overtaken: list[UUID] = []
    with front_desk(database_url, fake, breaker=None, jitter_s=60.0) as mail:
        for number in range(ROUNDS):
            first, second = (
                mail.deliver_later(note(ordering_key=f"order-{number}")) for _ in range(2)
            )
            fake.next(FakeMode.REJECT_TEMPORARY)
            claim = mail.dispatcher.claim(first.tenant_id, first.message_id)
            assert claim is not None
            ended = mail.dispatcher.attempt(claim)

            def ring(one: Delivery = second) -> None:
                for _ in range(6):
                    mail.dispatch_message(one.tenant_id, one.message_id)

            _at_once(ring, lambda one=ended: mail.dispatcher.finalize([one]))  # type: ignore[misc]  # bound now
            behind = mail.delivery(second.id)
            if behind is None or behind.state is not DispatchState.QUEUED:
                overtaken.append(second.id)
    assert overtaken == []
