"""How much of a queue is read: what is taken, however long it is and however little is known of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from mailglass.ledger.sql import query

pytestmark = pytest.mark.tampers  # the messages have no deliveries: only the queue is looked at

_FILL = b"""
insert into mailglass.messages (id, tenant_id, stream, mail_from, payload_sha256, payload_bytes,
    rfc_message_id, state, run_at, expires_at, on_unknown, adapter_ref, ordering_key)
select gen_random_uuid(), 'default', 'operational', 'a@shop.example', sha256('a'), 600, '<a@b>',
    %(state)s::text, now() + make_interval(secs => %(in_s)s::double precision),
    now() + interval '2 days', 'resend', 'default',
    case when %(keys)s::integer > 0 then 'key ' || n %% %(keys)s::integer end
from generate_series(1, %(count)s::integer) n
"""


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection]:
    """Return a connection to a database whose statistics know of no queued message."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("alter table mailglass.messages set (autovacuum_enabled = false)")
        yield connection


_SCANS = ("Index Scan", "Index Only Scan", "Bitmap Heap Scan", "Seq Scan")


def _fill(
    connection: psycopg.Connection,
    count: int,
    *,
    in_s: float = -60.0,
    state: str = "queued",
    keys: int = 0,
) -> None:
    connection.execute(_FILL, {"count": count, "in_s": in_s, "state": state, "keys": keys})


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)


def _read(connection: psycopg.Connection, name: str, parameters: dict[str, object]) -> int:
    """Run a query and return how many rows of messages it looked at."""
    statement = f"explain (analyze, format json) {query(name)}".encode()
    row = connection.execute(statement, parameters).fetchone()
    assert row is not None
    scans = [
        one
        for one in _nodes(row[0][0]["Plan"])
        if one.get("Relation Name") == "messages" and one["Node Type"] in _SCANS
    ]
    assert scans
    return sum(
        int(one["Actual Rows"] + one.get("Rows Removed by Filter", 0)) * int(one["Actual Loops"])
        for one in scans
    )


def _claim(limit: int) -> dict[str, object]:
    return {
        "tenant_id": None,
        "message_ids": [],
        "stream": "operational",
        "limit": limit,
        "lease_s": 30.0,
        "wait_s": 0.0,
        "owner_key": None,
        "bytes_max": 1_000_000,
    }


def test_a_claim_reads_no_more_of_a_long_queue_than_it_takes(
    connection: psycopg.Connection,
) -> None:
    """A worker with much to do is not slower than one with little."""
    _fill(connection, 40_000, state="sent")
    connection.execute("vacuum analyze mailglass.messages")
    _fill(connection, 5_000)
    assert _read(connection, "claim_messages", _claim(50)) <= 2 * 50  # found, and taken


def test_a_claim_does_not_read_what_is_scheduled_for_later(
    connection: psycopg.Connection,
) -> None:
    """A campaign that leaves tomorrow costs nothing today."""
    _fill(connection, 5_000, in_s=3600.0)
    _fill(connection, 10)
    assert _read(connection, "claim_messages", _claim(50)) <= 2 * 10  # found, and taken


_DUE: dict[str, object] = {"limit": 50, "streams": ["transactional", "operational", "bulk"]}


@pytest.mark.parametrize("name", ["due_messages", "expired_messages"])
def test_a_sweep_does_not_read_what_is_not_due(connection: psycopg.Connection, name: str) -> None:
    """Nor does it read mail whose time is not over."""
    _fill(connection, 5_000, in_s=3600.0)
    assert _read(connection, name, _DUE) == 0


_IN_ORDER: dict[str, dict[str, object]] = {
    "due_in_order": {"stream": "operational", "limit": 4, "window": 50},
    "due_of_keys": {
        "stream": "operational", "limit": 4, "keys": 50, "after_tenant_id": "", "after_key": "",
    },
}  # fmt: skip


@pytest.mark.parametrize("keys", [1, 5_000])
@pytest.mark.parametrize("name", sorted(_IN_ORDER))
def test_what_is_next_of_a_key_is_found_without_reading_the_queue(
    connection: psycopg.Connection, name: str, keys: int
) -> None:
    """One key with a long queue, or very many keys: the one thread that claims must not wait for it."""
    _fill(connection, 5_000, keys=keys)
    connection.execute("vacuum analyze mailglass.messages")
    assert _read(connection, name, _IN_ORDER[name]) <= 4 * 50


@pytest.mark.parametrize(
    ("name", "parameters"), [("claim_messages", _claim(50)), ("due_messages", _DUE)]
)
def test_mail_in_order_is_no_part_of_the_queue_without_one(
    connection: psycopg.Connection, name: str, parameters: dict[str, object]
) -> None:
    """What has an ordering key is asked for by itself."""
    _fill(connection, 5_000, keys=1)
    assert _read(connection, name, parameters) == 0
