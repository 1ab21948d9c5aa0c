"""Provider reports through the real write path: once each, in any order, to one outcome."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import permutations
from uuid import UUID, uuid4

import pytest

from front_desk import front_desk, note
from mailglass import (
    DispatchState,
    Event,
    EventType,
    Mailglass,
    Outcome,
    RejectReason,
    Report,
    tenant,
)

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HISTORY = (
    EventType.SENT,
    EventType.DEFERRED,
    EventType.DELIVERED,
    EventType.OPENED,
    EventType.COMPLAINED,
)


def _report(delivery_id: object, kind: EventType, **more: object) -> Report:
    fields: dict[str, object] = {
        "delivery_id": delivery_id,
        "provider": "fake",
        "type": kind,
        "key": f"{delivery_id}:{kind.value}",
        "occurred_at": START + timedelta(seconds=list(EventType).index(kind)),
    }
    return Report(**(fields | more))  # type: ignore[arg-type]  # fields of Report


def _shape(mail: Mailglass, delivery_id: UUID) -> tuple[Outcome, DispatchState, list[str]]:
    delivery = mail.delivery(delivery_id)
    assert delivery is not None
    events = mail.events(delivery.id)
    return (delivery.outcome, delivery.state, sorted(event.type for event in events))


def test_every_order_and_repetition_gives_one_outcome(database_url: str) -> None:
    """Row 54: 120 orders, each report twice; the chain stays whole."""
    shapes: set[tuple[object, ...]] = set()
    with front_desk(database_url) as mail:
        for order in permutations(HISTORY):
            delivery = mail.deliver(note())
            for kind in (*order, *order):
                mail.record(_report(delivery.id, kind))
            outcome, state, types = _shape(mail, delivery.id)
            shapes.add((outcome, state, tuple(types)))
        assert mail.store.broken_chains() == ()
    assert len(shapes) == 1
    assert shapes.pop()[0] is Outcome.COMPLAINED


def test_reports_at_the_same_time_all_count_once(database_url: str) -> None:
    """Two webhook processes never lose or double an event."""
    with front_desk(database_url) as mail:
        delivery = mail.deliver(note())

        def send(number: int) -> Event | None:
            with tenant("default"):
                return mail.record(_report(delivery.id, EventType.OPENED, key=f"k{number % 10}"))

        with ThreadPoolExecutor(8) as pool:
            written = [event for event in pool.map(send, range(40)) if event is not None]
        assert len(written) == 10
        assert [event.seq for event in mail.events(delivery.id)] == list(range(1, 14))
        assert mail.store.broken_chains() == ()


@pytest.mark.parametrize(
    ("reports", "outcome"),
    [
        ([(EventType.DELIVERED, True), (EventType.BOUNCED, True)], Outcome.HARD_BOUNCED),
        ([(EventType.DELIVERED, True), (EventType.BOUNCED, False)], Outcome.DELIVERED),
        ([(EventType.BOUNCED, False)], Outcome.SOFT_BOUNCED),
        ([(EventType.COMPLAINED, True), (EventType.DELIVERED, True)], Outcome.COMPLAINED),
        ([(EventType.UNKNOWN, True)], Outcome.NONE),
        ([(EventType.OPENED, True)], Outcome.NONE),
    ],
)
def test_the_lattice_only_rises(
    database_url: str, reports: list[tuple[EventType, bool]], outcome: Outcome
) -> None:
    """An asynchronous bounce counts after `delivered`, a late `delivered` never after a complaint."""
    with front_desk(database_url) as mail:
        delivery = mail.deliver(note())
        for kind, is_permanent in reports:
            mail.record(_report(delivery.id, kind, is_permanent=is_permanent))
        assert _shape(mail, delivery.id)[0] is outcome


def test_an_event_keeps_the_providers_time_and_words(database_url: str) -> None:
    """M9: occurred_at is when it happened, recorded_at when we heard."""
    with front_desk(database_url) as mail:
        delivery = mail.deliver(note())
        event = mail.record(
            _report(
                delivery.id, EventType.BOUNCED, occurred_at=START, reject_reason=RejectReason.INVALID,
                provider_event_id="evt-1", payload={"code": "550"},
            )
        )  # fmt: skip
    assert event is not None
    assert event.occurred_at == START
    assert event.recorded_at > START
    assert event.reject_reason is RejectReason.INVALID
    assert event.provider_event_id == "evt-1"
    assert event.payload == {"provider": "fake", "code": "550"}


def test_a_report_never_reaches_another_tenant_or_makes_a_delivery(database_url: str) -> None:
    """Row 50: neither with a stolen id nor with an invented one."""
    with front_desk(database_url) as mail:
        with tenant("a"):
            delivery = mail.deliver(note())
        with tenant("b"):
            assert mail.record(_report(delivery.id, EventType.BOUNCED)) is None
            assert mail.record(_report(uuid4(), EventType.BOUNCED)) is None
        with tenant("a"):
            assert len(mail.events(delivery.id)) == 3
            assert mail.record(_report(delivery.id, EventType.BOUNCED)) is not None
