"""Scratch databases for tests: one migrated template, copied for each test and dropped after it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit
from uuid import uuid4

import psycopg
from psycopg import sql

from mailglass.ledger.database import normalised_url
from mailglass.ledger.embedded import EmbeddedServer
from mailglass.ledger.migrations import migrate
from mailglass.ledger.sql import queries

VARIABLE: Final = "MAILGLASS_TEST_DATABASE_URL"
_NAME_PREFIX: Final = "mg_test_"
_OPEN_GROUND: Final = "/tmp"  # noqa: S108 - what is made in it is fresh and has a random name


@dataclass(frozen=True, slots=True, kw_only=True)
class ScratchServer:
    """A server on which databases called ``mg_test_…``, and no others, are made and dropped.

    ``url`` returns the address of one of its databases; ``template`` is the migrated one.
    """

    url: Callable[[str], str]
    maintenance: str
    template: str

    @contextmanager
    def database(self) -> Iterator[str]:
        """Yield the address of a fresh, migrated database; it is dropped whoever still uses it."""
        name = f"{_NAME_PREFIX}{uuid4().hex}"
        _run(self.url(self.maintenance), "copy_database", name=name, template=self.template)
        try:
            yield self.url(name)
        finally:
            _run(self.url(self.maintenance), "drop_database", name=name)


@contextmanager
def scratch_server(environ: Mapping[str, str] = os.environ) -> Iterator[ScratchServer]:
    """Yield the server that ``MAILGLASS_TEST_DATABASE_URL`` names, or one started for the purpose.

    Raises:
        ConfigError: ``optional_dep_missing`` without the extra ``embedded`` and without binaries;
            ``invalid`` for a URL that is not one of PostgreSQL.
        psycopg.Error: the named server cannot be reached, or may not create databases.

    """
    named = environ.get(VARIABLE, "").strip()
    if named:
        parts = urlsplit(normalised_url(named, key=VARIABLE))
        maintenance = parts.path.removeprefix("/") or "postgres"
        with _templated(
            lambda name: parts._replace(path=f"/{quote(name, safe='')}").geturl(), maintenance
        ) as server:
            yield server
        return
    # In the open: a test runner's own temporary folder is private to root, who starts the server
    # as somebody else.
    folder = Path(tempfile.mkdtemp(prefix="mailglass-test-", dir=_OPEN_GROUND))
    try:
        embedded = EmbeddedServer.start(folder, durable=False)
        try:
            with _templated(embedded.url, "postgres") as server:
                yield server
        finally:
            embedded.stop()
    finally:
        shutil.rmtree(folder)


@contextmanager
def _templated(url: Callable[[str], str], maintenance: str) -> Iterator[ScratchServer]:
    template = f"{_NAME_PREFIX}{uuid4().hex}"
    _run(url(maintenance), "create_database", name=template)
    try:
        migrate(url(template))
        yield ScratchServer(url=url, maintenance=maintenance, template=template)
    finally:
        _run(url(maintenance), "drop_database", name=template)


def _run(url: str, statement: str, **names: str) -> None:
    """Run one statement, with quoted names, outside a transaction."""
    quoted = {key: sql.Identifier(name) for key, name in names.items()}
    text = sql.SQL(queries("scratch")[statement]).format(**quoted)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(text)
