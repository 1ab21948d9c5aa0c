"""Migrations: once, in order, all or nothing, and never edited."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import psycopg
import pytest

from front_desk import front_desk, note
from mailglass.errors import ConfigError, ConfigErrorType
from mailglass.ledger import migrations
from mailglass.ledger.migrations import Migration, migrate, migration_sql, status


@pytest.fixture
def empty_url(postgres_server: object) -> Iterator[str]:
    """Return a database without anything of ours."""
    name = f"mg_test_{uuid4().hex}"
    postgres_server.execute("CREATE DATABASE {name}", name=name)  # type: ignore[attr-defined]  # a TestServer
    try:
        yield postgres_server.url(name)  # type: ignore[attr-defined]  # a TestServer
    finally:
        postgres_server.drop(name)  # type: ignore[attr-defined]  # a TestServer


def _names() -> list[str]:
    return [one.name for one in migrations.migrations()]


def _recorded(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        found = connection.execute("select name from mailglass.migrations order by name")
        return [name for (name,) in found]


def test_an_empty_database_gets_everything_once(empty_url: str) -> None:
    """The second run has nothing to do."""
    assert status(empty_url).pending == tuple(_names())
    assert migrate(empty_url) == _names()
    assert migrate(empty_url) == []
    assert _recorded(empty_url) == _names()
    assert status(empty_url).pending == ()


def test_two_at_the_same_time_apply_each_file_once(empty_url: str) -> None:
    """Two hosts that start together do not trip over each other."""
    with ThreadPoolExecutor(4) as pool:
        applied = list(pool.map(migrate, [empty_url] * 4))
    assert sorted(name for names in applied for name in names) == _names()
    assert _recorded(empty_url) == _names()


def test_an_edited_migration_is_refused(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ran is what stands in the file."""
    shipped = migrations.migrations()
    edited = (dataclasses.replace(shipped[0], text=shipped[0].text + "\n-- later"), *shipped[1:])
    monkeypatch.setattr(migrations, "migrations", lambda: edited)
    with pytest.raises(ConfigError, match=f"{shipped[0].name} was edited") as caught:
        migrate(database_url)
    assert caught.value.type is ConfigErrorType.CONFLICTING


def test_a_newer_database_is_refused(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old code does not touch what it does not know."""
    older = migrations.migrations()[:1]
    monkeypatch.setattr(migrations, "migrations", lambda: older)
    with pytest.raises(ConfigError, match="does not know"):
        migrate(database_url)


def test_a_failing_file_leaves_nothing(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All files or none."""
    broken = (*migrations.migrations(), Migration(name="0009_broken", text="select 1/0;"))
    monkeypatch.setattr(migrations, "migrations", lambda: broken)
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate(empty_url)
    assert status(empty_url).applied == ()


def test_the_printed_sql_makes_the_same_database(empty_url: str) -> None:
    """Hosts with a migration tool of their own get the same, hashes included."""
    with psycopg.connect(empty_url) as connection:
        connection.execute(migration_sql().encode())
    assert migrate(empty_url) == []
    assert status(empty_url).edited == ()


def test_a_database_that_is_not_migrated_is_told(empty_url: str) -> None:
    """The first thing that goes wrong on a new host, with what to do."""
    with front_desk(empty_url) as mail, pytest.raises(ConfigError) as caught:
        mail.deliver(note())
    assert caught.value.key == "migrations"
    assert "mailglass migrate" in (caught.value.hint or "")


def test_tables_belong_to_the_owner_role(database_url: str) -> None:
    """The application can log in as somebody who owns nothing."""
    with psycopg.connect(database_url) as connection:
        owners = connection.execute(
            "select distinct tableowner from pg_tables where schemaname = 'mailglass'"
        ).fetchall()
    assert owners == [("mailglass_owner",)]


def test_a_user_without_rights_on_roles_can_migrate(postgres_server: object) -> None:
    """A hosted database without CREATEROLE or superuser works, only with fewer walls."""
    name, user = f"mg_test_{uuid4().hex}", f"mg_test_{uuid4().hex[:12]}"
    postgres_server.execute("CREATE ROLE {user} LOGIN", user=user)  # type: ignore[attr-defined]  # a TestServer
    postgres_server.execute("CREATE DATABASE {name} OWNER {user}", name=name, user=user)  # type: ignore[attr-defined]  # a TestServer
    url = postgres_server.url(name)  # type: ignore[attr-defined]  # a TestServer
    try:
        as_user = psycopg.conninfo.make_conninfo(url, user=user)
        assert migrate(as_user) == _names()
        with psycopg.connect(as_user, autocommit=True) as connection:
            with pytest.raises(psycopg.Error) as caught:
                connection.execute("delete from mailglass.events")
            assert caught.value.sqlstate == "45A01"
    finally:
        postgres_server.drop(name)  # type: ignore[attr-defined]  # a TestServer
        postgres_server.execute("DROP ROLE {user}", user=user)  # type: ignore[attr-defined]  # a TestServer
