"""prepare() in transactions of the application's own: a rollback leaves nothing, a commit one mail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import connections, transaction
from sqlalchemy import create_engine, make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from front_desk import note, rows
from guides import command
from mailglass import Prepared
from mailglass.contrib.django import queue
from mailglass.contrib.django.desk import using_mailglass
from mailglass.testing import PrivateMailglass, private_mailglass

NOTHING = {"messages": 0, "deliveries": 0, "events": 0}
ONE_QUEUED = {"messages": 1, "deliveries": 1, "events": 1}


class Stop(Exception):  # noqa: N818 - it stands for whatever the application raises
    """What ends a transaction of a test."""


def _driver_url(database_url: str) -> str:
    # Not str(), which hides the password.
    made = make_url(database_url).set(drivername="postgresql+psycopg")
    return made.render_as_string(hide_password=False)


def _psycopg(url: str, prepared: Prepared, *, stops: bool) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(prepared.statement, dict(prepared.parameters))
        _end(stops=stops)


def _psycopg_async(url: str, prepared: Prepared, *, stops: bool) -> None:
    async def run() -> None:
        async with await psycopg.AsyncConnection.connect(url) as connection:
            await connection.execute(prepared.statement, dict(prepared.parameters))
            _end(stops=stops)

    asyncio.run(run())


def _sqlalchemy(url: str, prepared: Prepared, *, stops: bool) -> None:
    engine = create_engine(_driver_url(url), poolclass=NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql(prepared.statement, dict(prepared.parameters))
        _end(stops=stops)


def _sqlalchemy_session(url: str, prepared: Prepared, *, stops: bool) -> None:
    engine = create_engine(_driver_url(url), poolclass=NullPool)
    with Session(engine) as session, session.begin():
        connection = session.connection()
        connection.exec_driver_sql(prepared.statement, dict(prepared.parameters))
        _end(stops=stops)


def _sqlalchemy_async(url: str, prepared: Prepared, *, stops: bool) -> None:
    async def run() -> None:
        engine = create_async_engine(_driver_url(url), poolclass=NullPool)
        async with engine.begin() as connection:
            await connection.exec_driver_sql(prepared.statement, dict(prepared.parameters))
            _end(stops=stops)

    asyncio.run(run())


def _end(*, stops: bool) -> None:
    if stops:
        raise Stop


WAYS: dict[str, Callable[..., None]] = {
    "psycopg": _psycopg,
    "psycopg_async": _psycopg_async,
    "sqlalchemy": _sqlalchemy,
    "sqlalchemy_session": _sqlalchemy_session,
    "sqlalchemy_async": _sqlalchemy_async,
}


@pytest.fixture
def desk(database_url: str) -> Iterator[PrivateMailglass]:
    """Return a Mailglass on the application's database."""
    with private_mailglass(database_url) as mail:
        yield mail


@pytest.mark.parametrize("way", sorted(WAYS))
def test_a_rollback_leaves_nothing_and_a_commit_one_mail(
    desk: PrivateMailglass, database_url: str, way: str
) -> None:
    """On a connection of each driver, sync and async."""
    with pytest.raises(Stop):
        WAYS[way](database_url, desk.prepare(note()), stops=True)
    assert rows(database_url) == NOTHING
    prepared = desk.prepare(note(to=["zoe@mail.example", "max@mail.example"]))
    WAYS[way](database_url, prepared, stops=False)
    assert rows(database_url) == {"messages": 1, "deliveries": 2, "events": 2}
    assert desk.delivery(prepared.delivery_ids[1]) is not None
    assert desk.send_queued() == 1
    desk.assert_mail_sent(to=["zoe@mail.example", "max@mail.example"], count=1)


@pytest.mark.parametrize("way", sorted(WAYS))
def test_a_used_idempotency_key_queues_nothing_more(
    desk: PrivateMailglass, database_url: str, way: str
) -> None:
    """However often the application's transaction is repeated."""
    for _ in range(2):
        WAYS[way](database_url, desk.prepare(note(idempotency_key="order 7")), stops=False)
    assert rows(database_url) == ONE_QUEUED


@pytest.fixture
def rung(desk: PrivateMailglass, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return how often the doorbell was rung."""
    heard: list[str] = []
    monkeypatch.setattr(desk.store, "ring", lambda: heard.append("ring"))
    return heard


def test_django_wakes_a_worker_after_the_commit_alone(
    desk: PrivateMailglass, database_url: str, django_database: Any, rung: list[str]
) -> None:
    """With the rows of the application, in whatever savepoint; a rollback rings nobody."""
    with using_mailglass(desk):
        with pytest.raises(Stop):
            _queue_and_stop()
        with transaction.atomic():
            User.objects.create_user("zoe")
            with pytest.raises(Stop):
                _queue_and_stop()
            queue(note(subject="kept"))
            assert rung == []
    assert rung == ["ring"]
    assert rows(database_url) == ONE_QUEUED
    assert desk.send_queued() == 1
    desk.assert_mail_sent(subject="kept", count=1)


@transaction.atomic  # type: ignore[untyped-decorator]  # Django publishes no types
def _queue_and_stop() -> None:
    queue(note(subject="taken back"))
    raise Stop


def test_django_without_a_transaction_commits_the_mail_itself(
    desk: PrivateMailglass, database_url: str, django_database: Any, rung: list[str]
) -> None:
    """As autocommit does with any statement."""
    with using_mailglass(desk):
        assert not connections["default"].in_atomic_block
        queue(note())
    assert rung == ["ring"]
    assert rows(database_url) == ONE_QUEUED


def test_the_printed_sql_migrates_through_sqlalchemy(
    postgres_server: Any, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a revision of Alembic runs it; ``mailglass migrate --check`` is content with it then."""
    name = f"mg_test_{uuid4().hex}"
    postgres_server.execute("CREATE DATABASE {name}", name=name)
    try:
        url = postgres_server.url(name)
        code, printed, _ = command(["mailglass", "migrate", "--sql"])
        assert code == 0
        engine = create_engine(_driver_url(url), poolclass=NullPool)
        with engine.begin() as connection:
            connection.execution_options(no_parameters=True).exec_driver_sql(printed)
        monkeypatch.setenv("MAILGLASS_DATABASE_URL", url)
        assert command(["mailglass", "migrate", "--check"])[0] == 0
        assert _functions(url) == _functions(database_url)
    finally:
        postgres_server.drop(name)


def _functions(url: str) -> list[tuple[Any, ...]]:
    """Return the text of every function of the schema."""
    with psycopg.connect(url) as connection:
        return connection.execute(
            "select p.proname, p.prosrc from pg_proc p"
            " join pg_namespace n on n.oid = p.pronamespace where n.nspname = 'mailglass' order by 1, 2"
        ).fetchall()
