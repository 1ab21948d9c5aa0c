"""A storm of webhooks ends as the same reports would that came one by one, in order and once."""

from __future__ import annotations

import random
import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from uuid import UUID

from front_desk import note
from mailglass import Mailglass, tenant
from mailglass.ids import new_id
from mailglass.webhooks.endpoint import Endpoint
from tests.faults.work import owner
from webhook_requests import hooked, request, sendgrid, sendgrid_event

DELIVERIES: Final = 50
REPEATS: Final = 10
WORDS: Final = ("processed", "deferred", "bounce", "delivered", "open", "click", "spamreport")
GROUP_MAX: Final = 60
THREADS: Final = 8
POISON: Final[tuple[object, ...]] = (
    None, 7, "delivered", [], {}, {"event": "delivered"}, {"event": "\0", "email": "\ud800"},
    {"event": "delivered", "email": "zoe@mail.example", "timestamp": -(10**18)},
    {"event": "bounce", "email": "x" * 5_000, "timestamp": "soon", "sg_event_id": "k" * 5_000},
)  # fmt: skip
_EVENT_TIMES: Final = """
    select d.address::text, e.type, e.occurred_at from mailglass.events e
    join mailglass.deliveries d on d.id = e.delivery_id
    where d.tenant_id = %s and jsonb_exists(e.payload, 'provider') order by 1, 2, 3"""


def _events(ids: Sequence[tuple[UUID, str]]) -> list[Any]:
    found = []
    for delivery_id, address in ids:
        for place, word in enumerate(WORDS):
            soft = {"type": "blocked"} if word == "bounce" else {}
            at = 1_772_360_000 + place
            found.append(sendgrid_event(delivery_id, word, address, timestamp=at, **soft))
    return found


def _known(mail: Mailglass, name: str) -> list[tuple[UUID, str]]:
    addresses = [f"r{number}@mail.example" for number in range(DELIVERIES)]
    with tenant(name):
        many = mail.deliver_many([note(to=one) for one in addresses])
    return [(one.id, address) for one, address in zip(many, addresses, strict=True)]


def _strangers() -> list[tuple[UUID, str]]:
    """Return deliveries that are nobody's: a twentieth of all."""
    return [(new_id(), f"s{number}@mail.example") for number in range(DELIVERIES // 20)]


def _stormed(events: Sequence[Any], dice: random.Random) -> list[list[Any]]:
    """Return requests with every event ten times, in no order, in groups of any size, and poison."""
    many = [*events] * REPEATS
    many += [dice.choice(POISON) for _ in range(len(many) // 100)]
    dice.shuffle(many)
    groups, start = [], 0
    while start < len(many):
        size = dice.randint(1, GROUP_MAX)
        groups.append(many[start : start + size])
        start += size
    return groups


def _shown(
    database_url: str, name: str
) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]], Any]:
    with owner(database_url) as connection:
        projection = connection.execute(_SUMMARY, [name]).fetchall()
        times = connection.execute(_EVENT_TIMES, [name]).fetchall()
        waiting = connection.execute(
            "select count(*), count(distinct document) from mailglass.webhook_orphans"
            " where tenant_id = %s and document ->> 'address_key' like 's%%'",
            [name],
        ).fetchone()
    return projection, times, waiting


_SUMMARY: Final = """
    select address::text, outcome, outcome_rank, outcome_at, opened_at, clicked_at, seq
    from mailglass.deliveries where tenant_id = %s order by 1"""


def test_a_storm_ends_as_the_calm_would(database_url: str) -> None:
    """F24: each event ten times, shuffled, regrouped, a hundredth poison, a twentieth of strangers."""
    seed = secrets.randbelow(1_000_000)
    print(f"seed {seed}")  # noqa: T201 - shown by pytest with a failure
    dice = random.Random(seed)  # noqa: S311 - a seeded run, no secret
    endpoints = [
        Endpoint(name=one, adapter=sendgrid(), tenant_id=one) for one in ("calm", "storm")
    ]  # fmt: skip
    with hooked(database_url, endpoints=endpoints, rate_limit_per_domain=None) as mail:
        for one in _events([*_known(mail, "calm"), *_strangers()]):
            assert mail.ingest("sendgrid/calm", request([one])).status == 200
        storm = _stormed(_events([*_known(mail, "storm"), *_strangers()]), dice)
        with ThreadPoolExecutor(THREADS) as pool:
            answers = list(
                pool.map(lambda one: mail.ingest("sendgrid/storm", request(one)).status, storm)
            )
        assert set(answers) == {200}
        assert mail.store.broken_chains() == ()
    calm, stormy = _shown(database_url, "calm"), _shown(database_url, "storm")
    assert len(calm[1]) == DELIVERIES * len(WORDS)
    assert stormy == calm
