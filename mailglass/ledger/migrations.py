"""Migrations: forward only, in one transaction under one lock, each file recorded with its hash."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

import psycopg

from mailglass.errors import ConfigError, ConfigErrorType
from mailglass.ledger.sql import query, sql_folder

_LOCK: Final = 0x6D61_696C_676C
"""The key of the advisory lock that one migrate at a time holds: "mailgl" in ASCII."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One file of ``sql/migrations``."""

    name: str
    text: str

    @property
    def sha256(self) -> bytes:
        """Return the hash that is recorded; an edited file no longer has it."""
        return hashlib.sha256(self.text.encode()).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationStatus:
    """What a database has and what it lacks."""

    applied: tuple[str, ...]
    pending: tuple[str, ...]
    edited: tuple[str, ...]
    unknown: tuple[str, ...]
    """Applied there, but not known to this version: the database is newer than the code."""


def migrations() -> tuple[Migration, ...]:
    """Return the shipped migrations in order."""
    paths = sorted((sql_folder() / "migrations").glob("[0-9]*.sql"))
    return tuple(Migration(name=path.stem, text=path.read_text("utf-8")) for path in paths)


def migration_sql() -> str:
    """Return all migrations as one text, for hosts with a migration tool of their own."""
    return "\n".join(f"-- {one.name}\n{one.text}\n{_record_sql(one)}" for one in migrations())


def status(database_url: str) -> MigrationStatus:
    """Compare a database with the shipped migrations; changes nothing."""
    with psycopg.connect(database_url) as connection:
        return _compare(_recorded(connection))


def migrate(database_url: str) -> list[str]:
    """Apply what is missing and return the names; the second of two at the same time waits.

    All files apply or none does.

    Raises:
        ConfigError: ``conflicting`` when an applied file was edited afterwards, or the database
            has a migration that this version does not know.
        psycopg.Error: when the database cannot be reached or refuses a statement.

    """
    with psycopg.connect(database_url) as connection:
        connection.execute(query("migration_lock"), {"key": _LOCK})
        found = _compare(_recorded(connection))
        _refuse_drift(found)
        pending = [one for one in migrations() if one.name in found.pending]
        for one in pending:
            connection.execute(one.text.encode())
            connection.execute("reset role")
            connection.execute("reset search_path")
            connection.execute(query("record_migration"), {"name": one.name, "sha256": one.sha256})
    return [one.name for one in pending]


def _recorded(connection: psycopg.Connection[tuple[str, bytes]]) -> dict[str, bytes]:
    known = connection.execute(query("migrations_table")).fetchone()
    if known is None or known[0] is None:
        return {}
    rows = connection.execute(query("recorded_migrations"))
    return {name: bytes(digest) for name, digest in rows}


def _compare(recorded: dict[str, bytes]) -> MigrationStatus:
    shipped = {one.name: one.sha256 for one in migrations()}
    return MigrationStatus(
        applied=tuple(name for name in shipped if name in recorded),
        pending=tuple(name for name in shipped if name not in recorded),
        edited=tuple(
            name for name in shipped if recorded.get(name, shipped[name]) != shipped[name]
        ),
        unknown=tuple(name for name in recorded if name not in shipped),
    )


def _refuse_drift(found: MigrationStatus) -> None:
    if found.edited:
        raise ConfigError(
            f"migration {found.edited[0]} was edited after it was applied here",
            type=ConfigErrorType.CONFLICTING,
            key="migrations",
            hint="Take the file of the release back; put the change into a new migration.",
        )
    if found.unknown:
        raise ConfigError(
            f"the database has migration {found.unknown[0]}, which this version does not know",
            type=ConfigErrorType.CONFLICTING,
            key="migrations",
            hint="Install the mailglass version that migrated this database, or a newer one.",
        )


def _record_sql(one: Migration) -> str:
    recorded = query("record_migration")
    recorded = recorded.replace("%(name)s", f"'{one.name}'")
    recorded = recorded.replace("%(sha256)s", f"'\\x{one.sha256.hex()}'")
    return f"reset role;\nreset search_path;\n{recorded};\n"
