"""What is held on one person in a test's own database, in whatever spelling."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import psycopg
from psycopg import sql

from front_desk import front_desk
from mailglass import Mailglass
from mailglass.adapters.fake import FakeAdapter
from mailglass.delivery.people import People

KEY = "0123456789abcdef0123456789abcdef"
LOCAL = "zoe.q7f3a"
ADDRESS = f"{LOCAL}@mail.example"
TYPED = "Zoe.Q7f3a@Mail.Example"
SPELLINGS = [
    ADDRESS,
    ADDRESS.encode().hex(),
    quote(ADDRESS, safe=""),
    f"{LOCAL}\\u0040mail.example",
    f"{LOCAL}&#64;mail.example",
    base64.b64encode(ADDRESS.encode()).decode(),
    LOCAL,
]


def people(mail: Mailglass) -> People:
    """Return the people of the tenant, for whoever is called ann."""
    return mail.people(by="ann")


def desk(database_url: str, fake: FakeAdapter | None = None, **settings: Any) -> Any:
    """Yield a front desk that can erase."""
    return front_desk(database_url, fake, erasure_key=KEY, **settings)


def everything(database_url: str) -> str:
    """Return every row of every table as COPY writes it, and every text and bytea by itself."""
    told: list[str] = []
    with psycopg.connect(database_url) as owner:
        tables = owner.execute(
            "select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace"
            " where c.relkind in ('r', 'p') and n.nspname in ('mailglass', 'mailglass_guard', 'public')"
        ).fetchall()
        assert len(tables) > 10
        for names in tables:
            statement = sql.SQL("copy {} to stdout").format(sql.Identifier(*names))
            with owner.cursor() as cursor, cursor.copy(statement) as copy:
                told += [bytes(block).decode("utf-8", "replace") for block in copy]
        for schema, table, column in owner.execute(
            "select table_schema, table_name, column_name from information_schema.columns"
            " where table_schema = 'mailglass' and udt_name = 'bytea'"
        ).fetchall():
            name = sql.Identifier(schema, table)
            read = sql.SQL("select {} from {}").format(sql.Identifier(column), name)
            told += [
                bytes(row[0]).decode("utf-8", "replace")
                for row in owner.execute(read)
                if row[0] is not None
            ]
    return "\n".join(told).lower()


def standing(database_url: str) -> list[str]:
    """Return the spellings of the address that stand anywhere in the database."""
    found = everything(database_url)
    return [one for one in SPELLINGS if one.lower() in found]


def keep_receipt(database_url: str, body: bytes, headers: str = "{}") -> None:
    """Keep a request of a provider as ingesting does."""
    with psycopg.connect(database_url) as owner:
        owner.execute(
            "insert into mailglass.webhook_receipts"
            " (id, tenant_id, provider, dedupe_key, headers, body, body_sha256)"
            " values (%s, 'default', 'x', %s, %s::jsonb, %s, sha256(%s))",
            (uuid4(), uuid4().hex, headers, body, body),
        )
