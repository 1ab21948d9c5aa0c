"""A front desk on a test's own database, with an adapter that the test steers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from mailglass import DispatchState, EventType, Mailable, Mailglass, Message
from mailglass.adapters import Adapter
from mailglass.adapters.fake import FakeAdapter
from mailglass.app import Enqueue
from mailglass.errors import Json
from mailglass.ledger.database import DatabaseChoice
from mailglass.ledger.rows import Claim
from mailglass.preflight import Check
from mailglass.preflight.standard import CHECKS
from mailglass.settings import load_settings

HERE = "1 Harbour Street, Dublin"
BULK: dict[str, Any] = {
    "physical_address": HERE,
    "unsubscribe_url": "https://leave.shop.example/u",
    "token_secrets": ["s" * 32],
}
"""The settings without which no bulk mail leaves."""
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@contextmanager
def front_desk(
    database_url: str,
    adapter: Adapter | None = None,
    *,
    checks: Sequence[Check] = CHECKS,
    jitter_s: float = 0.0,
    enqueue: Enqueue | None = None,
    **settings: Any,
) -> Iterator[Mailglass]:
    """Yield a Mailglass whose retries are due at once and whose role is the application's."""
    desk = Mailglass(
        load_settings(database_role="mailglass_app", **settings),
        database=DatabaseChoice(url=database_url, source="test", is_embedded=False),
        adapters={"default": adapter or FakeAdapter()},
        checks=checks,
        jitter=lambda _bound: jitter_s,
        enqueue=enqueue,
    )
    try:
        yield desk
    finally:
        desk.close()


def note(**changes: Any) -> Message:
    """Return a small valid message; keywords change it."""
    fields: dict[str, Any] = {
        "sender": "Shop <orders@shop.example>",
        "to": "zoe@mail.example",
        "subject": "Your order",
        "text": "Thank you.",
    }
    return Message(**(fields | changes))


def write_verdict(
    mail: Mailglass, claim: Claim, *, state: DispatchState, event: EventType, code: str
) -> DispatchState | None:
    """Write one verdict for every recipient of a claim, as a worker does; None when it is fenced."""
    verdicts: list[Json] = [
        {
            "delivery_id": str(row["delivery_id"]),
            "state": state.value,
            "type": event.value,
            "failure_class": None,
            "code": code,
            "provider_message_id": None,
            "payload": {},
        }
        for row in claim.recipients
    ]
    attempt: dict[str, Json] = {
        "message_id": str(claim.message_id),
        "tenant_id": claim.tenant_id,
        "token": claim.token,
        "provider": "fake",
        "retry_in_s": 0.0,
        "counts": True,
        "verdicts": verdicts,
    }
    return mail.store.finalize_attempts([attempt]).get(claim.message_id)


def count(database_url: str, table: str) -> int:
    """Return how many rows a table holds, as the owner sees it."""
    with psycopg.connect(database_url) as connection:
        row = connection.execute(f"select count(*) from mailglass.{table}".encode()).fetchone()
    assert row is not None
    return int(row[0])


def rows(database_url: str) -> Mapping[str, int]:
    """Return the sizes of the tables that a send writes."""
    return {table: count(database_url, table) for table in ("messages", "deliveries", "events")}


def write_templates(folder: Path, **files: str) -> Path:
    """Write ``name__html`` and ``name__txt`` as template files; return the folder."""
    for name, text in files.items():
        stem, _, kind = name.partition("__")
        (folder / f"{stem}.{kind}.jinja").write_text(text, "utf-8")
    return folder


class Greeting(Mailable):
    """A mailable with one variable, whose template the test writes."""

    sender = "Shop <orders@shop.example>"
    subject = "Hello {{ name }}"
    template = "greeting.html.jinja"

    name: object = "Zoë"

    def to(self) -> str:
        """Return a customer."""
        return "zoe@mail.example"
