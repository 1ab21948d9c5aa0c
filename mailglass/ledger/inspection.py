"""Inspection: what a database, its server and its roles are, as facts to judge; changes nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg.rows import DictRow, dict_row

from mailglass.ledger.faults import DatabaseAwayError
from mailglass.ledger.migrations import MigrationStatus, status
from mailglass.ledger.sql import query

CONNECT_S_MAX: Final = 10
_OPTIONS: Final = "-c statement_timeout=10000 -c lock_timeout=10000"

TRIGGERS: Final = frozenset(
    {
        "deliveries_refuse_delete",
        "event_keys_refuse_change",
        "events_refuse_delete",
        "events_refuse_forgery",
        "events_refuse_row",
        "events_refuse_truncate",
        "events_refuse_update",
        "messages_refuse_delete",
        "report_keys_refuse_change",
    }
)
"""What refuses a change of history; each has to be there and ENABLE ALWAYS."""
EVENT_TRIGGERS: Final = frozenset(
    {"mailglass_refuse_ddl", "mailglass_refuse_drop", "mailglass_refuse_rewrite"}
)
"""What keeps the owner from disarming the ledger; only a superuser's migrate creates them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseFacts:
    """What was found.

    ``role`` is the one that the application works as: ``database_role``, else the login.
    ``clock_skew_s`` is the server's clock less ours, to within the time of the question.
    ``guards`` tells of each trigger that is there whether it is ENABLE ALWAYS.
    """

    version_num: int
    encoding: str
    synchronous_commit: str
    fsync: str
    full_page_writes: str
    connections_max: int
    connections_reserved: int
    clock_skew_s: float
    login_is_superuser: bool
    role: str
    role_exists: bool
    role_is_superuser: bool
    role_bypasses_rls: bool
    role_can_be_taken: bool
    role_owns_ledger: bool
    guards: Mapping[str, bool]
    migrations: MigrationStatus


def inspect(database_url: str, *, role: str | None) -> DatabaseFacts:
    """Ask a database what it is; ``role`` is the setting ``database_role``.

    Raises:
        psycopg.OperationalError: it cannot be reached; the text may name host and user.

    """
    with psycopg.connect(
        database_url, row_factory=dict_row, connect_timeout=CONNECT_S_MAX, options=_OPTIONS
    ) as connection:
        before = time.time()
        facts = connection.execute(query("database_facts"), {"role": role}).fetchone()
        ours = (before + time.time()) / 2
        guards = connection.execute(query("ledger_guards"), {}).fetchall()
    if facts is None:
        raise DatabaseAwayError("the server does not know the session's own role")
    return _parsed(facts, guards, ours, status(database_url))


def _parsed(
    facts: DictRow, guards: list[DictRow], ours: float, migrations: MigrationStatus
) -> DatabaseFacts:
    found = dict(facts)
    return DatabaseFacts(
        clock_skew_s=float(found.pop("epoch_s")) - ours,
        guards={str(row["name"]): bool(row["is_always"]) for row in guards},
        migrations=migrations,
        **found,
    )
