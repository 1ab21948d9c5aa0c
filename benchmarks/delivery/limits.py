"""The limits of the database itself: one bare statement a mail, and COPY of rows that are there."""

# ruff: noqa: INP001 - part of a script that is run as a folder
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import psycopg
from mails import message

from mailglass.clock import system_clock
from mailglass.delivery.freeze import Frozen, freeze
from mailglass.ledger.sql import query

TABLES: Final = ("messages", "deliveries", "events")
_ROWS: Final = {
    "messages": "select * from mailglass.messages order by id desc limit %(count)s",
    "deliveries": "select * from mailglass.deliveries order by id desc limit %(count)s",
    "events": "select e.* from mailglass.events e where e.delivery_id in"
    " (select d.id from mailglass.deliveries d order by d.id desc limit %(count)s)",
}


def frozen(count: int) -> Sequence[Frozen]:
    """Return mails that are ready for the statement, which is not part of what is measured."""
    now = system_clock()
    return [
        freeze(message(number), tenant_id="default", adapter_ref="default", now=now)
        for number in range(count)
    ]


def bare_statements(connection: psycopg.Connection, mails: Sequence[Frozen]) -> None:
    """Queue mails with nothing but the statement, one commit each."""
    statement = query("queue_message").encode()
    for one in mails:
        connection.execute(statement, dict(one.parameters)).fetchall()


@dataclass(slots=True, kw_only=True)
class Copied:
    """Rows of mailglass's tables, copied into tables with the same columns, checks and indexes.

    The tables that are copied into have no triggers: nobody looks at what arrives.
    """

    connection: psycopg.Connection
    blocks: dict[str, bytes] = field(default_factory=dict)

    def prepare(self, count: int) -> None:
        """Read the newest rows, and make the tables."""
        run = self.connection.execute
        run("drop schema if exists bare cascade")
        run("create schema bare")
        for name in TABLES:
            run(f"create table bare.{name} (like mailglass.{name} including all)".encode())
            with self.connection.cursor() as cursor:
                source = f"copy ({_ROWS[name]}) to stdout (format binary)"
                with cursor.copy(source.replace("%(count)s", str(count)).encode()) as copy:
                    self.blocks[name] = b"".join(bytes(block) for block in copy)

    def empty(self) -> None:
        """Empty the tables again."""
        for name in TABLES:
            self.connection.execute(f"truncate bare.{name}".encode())

    def run(self) -> None:
        """Copy all three tables in one transaction."""
        with self.connection.transaction():
            for name in TABLES:
                with self.connection.cursor() as cursor:
                    target = f"copy bare.{name} from stdin (format binary)"
                    with cursor.copy(target.encode()) as copy:
                        copy.write(self.blocks[name])
