"""Columns: what is sent as a binary array is what the server reads, whatever stands in it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import psycopg
import pytest

from mailglass.ids import new_id
from mailglass.ledger.columns import MAILS, RECIPIENTS, columns
from mailglass.message import RecipientKind

MOMENT = datetime(2026, 11, 21, 23, 59, 59, 999_999, tzinfo=UTC)
ELSEWHERE = datetime(1999, 12, 31, 1, 2, 3, 4, tzinfo=timezone(timedelta(hours=-7)))
TYPES = {
    "message_ids": "uuid[]",
    "in_common": "integer[]",
    "payloads": "bytea[]",
    "payload_sha256s": "bytea[]",
    "payload_sizes": "integer[]",
    "rfc_message_ids": "text[]",
    "run_ats": "timestamptz[]",
    "expires_ats": "timestamptz[]",
    "ordering_keys": "text[]",
    "idempotency_keys": "text[]",
    "content_sha256s": "bytea[]",
    "places": "integer[]",
    "delivery_ids": "uuid[]",
    "kinds": "text[]",
    "positions": "integer[]",
    "addresses": "text[]",
    "address_keys": "text[]",
}
FULL: Any = (
    new_id(), 7, b"\x00\xffbytes", b"h" * 32, 2**31 - 1, "<é@shop.example>", MOMENT, ELSEWHERE, "k\u2028,{}\"'",
    "", b"",
)  # fmt: skip
EMPTY: Any = (UUID(int=0), 0, None, b"", 1, "", None, None, None, None, None)
ZOE: Any = (1, new_id(), RecipientKind.BCC.value, 49, "Zoë@mail.example", "zoë@mail.example")


def _read_back(url: str, sent: dict[str, Any]) -> dict[str, list[Any]]:
    """Return the arrays as the server has them."""
    asked = ", ".join(f"%({name})b::{TYPES[name]} as {name}" for name in sent)
    with psycopg.connect(url, row_factory=psycopg.rows.dict_row) as connection:
        found = connection.execute(f"select {asked}".encode(), sent).fetchone()
    assert found is not None
    return found


@pytest.mark.parametrize(
    "rows", [[FULL], [EMPTY], [FULL, EMPTY, FULL], [EMPTY] * 300], ids=["full", "empty", "both", "many"]
)  # fmt: skip
def test_the_server_reads_what_was_sent(database_url: str, rows: list[Any]) -> None:
    """Text beyond ASCII, nulls, empty values and moments of any zone, to the microsecond."""
    found = _read_back(database_url, columns(MAILS, rows))
    assert list(zip(*found.values(), strict=True)) == rows


def test_recipients_are_sent_alike(database_url: str) -> None:
    """Each with its mail's place, its kind and both forms of its address."""
    found = _read_back(database_url, columns(RECIPIENTS, [ZOE, ZOE]))
    assert list(zip(*found.values(), strict=True)) == [ZOE, ZOE]


def test_a_column_shows_nothing_of_what_is_in_it() -> None:
    """No address, payload or key in a repr."""
    assert "mail.example" not in repr(columns(RECIPIENTS, [ZOE]))
