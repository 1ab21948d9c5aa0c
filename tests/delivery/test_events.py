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
    SendError,
    tenant,
)
from mailglass.adapters.fake import FakeAdapter, FakeMode

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
                provider_event_id="evt-1", word="HardBounce", url_sha256="ab" * 32, is_machine=True,
            )
        )  # fmt: skip
    assert event is not None
    assert event.occurred_at == START
    assert event.recorded_at > START
    assert event.reject_reason is RejectReason.INVALID
    assert event.provider_event_id == "evt-1"
    assert event.payload == {
        "provider": "fake",
        "word": "HardBounce",
        "url_sha256": "ab" * 32,
        "machine": True,
        "permanent": True,
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": EventType.DISPATCHED},
        {"type": EventType.ATTEMPT_STARTED},
        {"type": EventType.RECONCILED},
        {"occurred_at": START.replace(tzinfo=None)},
        {"word": "zoe@mail.example"},
        {"word": "x" * 65},
        {"provider": ""},
        {"key": ""},
        {"key": "x" * 513},
        {"provider_event_id": "a\x00b"},
        {"url_sha256": "https://shop.example/reset?token=1"},
    ],
    ids=str,
)
def test_what_no_provider_reports_is_refused(wrong: dict[str, object]) -> None:
    """Nobody writes our own words about our own acts, a time without a zone, or an address."""
    fields = {"key": "k", "occurred_at": START} | wrong
    kind = fields.pop("type", EventType.DELIVERED)
    with pytest.raises(SendError) as caught:
        _report(uuid4(), kind, **fields)  # type: ignore[arg-type]  # an EventType
    assert caught.value.code == "report_invalid"


@pytest.mark.parametrize("kind", [EventType.SENT, EventType.DELIVERED, EventType.BOUNCED])
def test_a_report_settles_an_unknown(database_url: str, kind: EventType) -> None:
    """T9: who reports on a mail has accepted it; the ledger says by what it was settled."""
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail:
        fake.next(FakeMode.UNKNOWN_TIMEOUT)
        with pytest.raises(SendError) as caught:
            mail.deliver(note())
        delivery_id = caught.value.delivery_id
        assert delivery_id is not None
        mail.record(_report(delivery_id, kind))
        settled = mail.delivery(delivery_id)
        assert settled is not None
        assert settled.state is DispatchState.SENT
        assert [event.type.value for event in mail.events(delivery_id)] == [
            "queued", "attempt_started", "outcome_unknown", kind.value, "reconciled",
        ]  # fmt: skip
        assert mail.store.broken_chains() == ()


def test_a_report_that_proves_nothing_leaves_an_unknown(database_url: str) -> None:
    """A word that nobody knows is no evidence."""
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail:
        fake.next(FakeMode.UNKNOWN_TIMEOUT)
        with pytest.raises(SendError) as caught:
            mail.deliver(note())
        assert caught.value.delivery_id is not None
        mail.record(_report(caught.value.delivery_id, EventType.UNKNOWN))
        waiting = mail.delivery(caught.value.delivery_id)
        assert waiting is not None
        assert waiting.state is DispatchState.UNKNOWN


def test_the_time_of_recording_never_steps_back(database_url: str) -> None:
    """Writers that wait for each other keep the order of the chain in the times too."""
    with front_desk(database_url) as mail:
        delivery = mail.deliver(note())

        def send(number: int) -> None:
            with tenant("default"):
                mail.record(_report(delivery.id, EventType.OPENED, key=f"k{number}"))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(send, range(80)))
        times = [event.recorded_at for event in mail.events(delivery.id)]
    assert times == sorted(times)


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
