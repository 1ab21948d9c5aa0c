"""Several adapters behind one front desk, each steered by the test, and what the ledger tells of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg

from mailglass import Delivery, Event, EventType, Mailglass
from mailglass.adapters import Adapter
from mailglass.adapters.fake import FakeAdapter
from mailglass.ledger.database import DatabaseChoice
from mailglass.settings import load_settings


@contextmanager
def routed(
    database_url: str, adapters: Mapping[str, Adapter], *, jitter_s: float = 0.0, **settings: Any
) -> Iterator[Mailglass]:
    """Yield a Mailglass over the adapters, by default with failover in their order."""
    given = {"routes": [{"adapters": list(adapters)}], "rate_limit_per_domain": None} | settings
    desk = Mailglass(
        load_settings(database_role="mailglass_app", **given),
        database=DatabaseChoice(url=database_url, source="test", is_embedded=False),
        adapters=adapters,
        jitter=lambda _bound: jitter_s,
    )
    with desk:
        yield desk


def pair() -> tuple[FakeAdapter, FakeAdapter]:
    """Return two fakes."""
    return FakeAdapter(), FakeAdapter()


def told(mail: Mailglass, delivery: Delivery) -> list[tuple[str, str | None]]:
    """Return the types of a delivery's events and the adapter that each names."""
    return [(one.type.value, _adapter(one)) for one in mail.events(delivery.id)]


def departures(mail: Mailglass, delivery: Delivery) -> list[tuple[Any, ...]]:
    """Return from where, to where and why a delivery's mail went by another adapter."""
    return [
        (one.payload["from"], one.payload["to"], one.payload["reason"])
        for one in mail.events(delivery.id)
        if one.type is EventType.ROUTED
    ]


def _adapter(event: Event) -> str | None:
    found = event.payload.get("adapter")
    return found if isinstance(found, str) else None


def sql(database_url: str, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
    """Run a statement as the owner; its rows, if it has any."""
    with psycopg.connect(database_url) as owner:
        done = owner.execute(statement.encode(), parameters)
        return done.fetchall() if done.description else []
