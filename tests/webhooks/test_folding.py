"""Any order and any repetition of what providers report leaves one projection and a whole chain."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations

import psycopg
import pytest

from front_desk import note
from mailglass import EventType, Mailglass, Outcome, Report
from mailglass.events import PROVIDER_TYPES
from mailglass.ids import new_id
from mailglass.webhook import ProviderEvent
from mailglass.webhooks.normalise import outcome_of
from webhook_requests import NOW, hooked, request, sendgrid_event

HISTORY = ("processed", "deferred", "bounce", "delivered", "open", "click", "spamreport")
"""Seven facts, two of which share a rank: the bounce is a soft one."""


def _event(delivery: object, word: str) -> dict[str, object]:
    soft = {"type": "blocked"} if word == "bounce" else {}
    at = 1_772_360_000 + HISTORY.index(word)
    found: dict[str, object] = sendgrid_event(delivery, word, timestamp=at, **soft)  # type: ignore[arg-type]  # an id
    return found


def _projections(database_url: str) -> list[tuple[object, ...]]:
    with psycopg.connect(database_url) as connection:
        return connection.execute(
            "select distinct outcome, outcome_rank, outcome_at, opened_at, clicked_at, seq "
            "from mailglass.deliveries"
        ).fetchall()


def test_every_order_of_seven_events_with_repetition_gives_one_projection(
    database_url: str,
) -> None:
    """5,040 orders, each event twice and the order cut into two requests at another place each time."""
    orders = list(permutations(HISTORY))
    with hooked(database_url, rate_limit_per_domain=None) as mail:
        many = mail.deliver_many(
            [note(to=f"r{number}@mail.example") for number in range(len(orders))]
        )
        first, second = [], []
        for number, (sent, order) in enumerate(zip(many, orders, strict=True)):
            told = [{**_event(sent.id, one), "email": f"r{number}@mail.example"} for one in order]
            cut = number % len(told)
            first += [*told[:cut], *told[:1]]
            second += [*told[cut:], *reversed(told)]
        for part in (first, second, first):
            for start in range(0, len(part), 5_000):
                answer = mail.ingest("sendgrid", request(part[start : start + 5_000]))
                assert answer.status == 200
        assert mail.store.broken_chains() == ()
    found = _projections(database_url)
    assert len(found) == 1
    assert found[0][:2] == ("complained", 60)
    assert found[0][-1] == 1 + len(HISTORY)


@pytest.mark.parametrize("words", [("deferred", "bounce"), ("bounce", "deferred")])
def test_outcomes_of_one_rank_end_alike(database_url: str, words: tuple[str, str]) -> None:
    """Deferred and soft-bounced share a rank; which came first must not show."""
    with hooked(database_url) as mail:
        sent = mail.deliver(note())
        for word in words:
            mail.ingest("sendgrid", request([_event(sent.id, word)]))
        now = mail.delivery(sent.id)
    assert now is not None
    assert now.outcome is Outcome.SOFT_BOUNCED


def test_processes_that_take_in_the_same_batches_lose_and_double_nothing(
    database_url: str,
) -> None:
    """Eight at once, each with all events of twenty deliveries in an order of its own."""
    with hooked(database_url, rate_limit_per_domain=None) as mail:
        many = mail.deliver_many([note() for _ in range(20)])
        told = [_event(one.id, word) for one in many for word in HISTORY]

        def send(seed: int) -> int:
            mixed = random.Random(seed).sample(told, len(told))  # noqa: S311 - an order, no secret
            return mail.ingest("sendgrid", request(mixed)).recorded

        with ThreadPoolExecutor(8) as pool:
            recorded = sum(pool.map(send, range(16)))
        assert recorded == len(told)
        assert {len(mail.events(one.id)) for one in many} == {1 + len(HISTORY)}
        assert mail.store.broken_chains() == ()


@pytest.mark.parametrize("kind", sorted(PROVIDER_TYPES))
@pytest.mark.parametrize("is_permanent", [True, False])
def test_a_batch_folds_as_a_single_report_does(
    database_url: str, kind: EventType, *, is_permanent: bool
) -> None:
    """`record` and `ingest` take a delivery to the same outcome."""
    event = ProviderEvent(
        type=kind, occurred_at=NOW, provider="fake", provider_event_id="1", is_permanent=is_permanent
    )  # fmt: skip
    with hooked(database_url) as mail:
        assert _outcome_of_record(mail, kind, is_permanent=is_permanent) is outcome_of(event)


def _outcome_of_record(mail: Mailglass, kind: EventType, *, is_permanent: bool) -> Outcome:
    sent = mail.deliver(note())
    mail.record(
        Report(
            delivery_id=sent.id, provider="fake", type=kind, key=str(new_id()), occurred_at=NOW,
            is_permanent=is_permanent,
        )
    )  # fmt: skip
    now = mail.delivery(sent.id)
    assert now is not None
    return now.outcome
