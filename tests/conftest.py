"""What every test may ask for: a real PostgreSQL, and a migrated database of its own.

The server is the embedded one unless ``MAILGLASS_TEST_DATABASE_URL`` names another, on which only
databases called ``mg_test_…`` are created and dropped. Under pytest-xdist every worker has its own
server or at least its own databases. With ``CI`` set nothing may be skipped.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from mailglass.errors import ConfigError
from mailglass.ledger.database import normalised_url
from mailglass.ledger.embedded import EmbeddedServer

TEST_VARIABLE = "MAILGLASS_TEST_DATABASE_URL"
OPEN_GROUND = "/tmp"  # noqa: S108 - what is made in it is fresh and has a random name
IS_CI = os.environ.get("CI", "").lower() not in {"", "0", "false"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TestServer:
    """A server on which tests may create databases; ``url`` returns the address of one of them."""

    __test__ = False

    url: Callable[[str], str]
    maintenance_database: str

    def execute(self, statement: str, **names: str) -> None:
        """Run one statement, with quoted names, outside a transaction."""
        quoted = {key: sql.Identifier(name) for key, name in names.items()}
        composed = sql.SQL(statement).format(**quoted)
        with psycopg.connect(self.url(self.maintenance_database), autocommit=True) as connection:
            connection.execute(composed)

    def drop(self, database: str) -> None:
        """Drop a database, whoever still uses it."""
        self.execute("DROP DATABASE IF EXISTS {name} WITH (FORCE)", name=database)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[TestServer]:
    """Return a running server."""
    if named := os.environ.get(TEST_VARIABLE):
        parts = urlsplit(normalised_url(named, key=TEST_VARIABLE))
        yield TestServer(
            url=lambda name: parts._replace(path=f"/{quote(name, safe='')}").geturl(),
            maintenance_database=parts.path.removeprefix("/") or "postgres",
        )
        return
    # Not below pytest's own temporary folder: that one is private to root, who starts the
    # server as somebody else.
    folder = Path(tempfile.mkdtemp(prefix="mg-test-", dir=OPEN_GROUND))
    try:
        server = EmbeddedServer.start(folder, durable=False)
    except ConfigError as error:
        shutil.rmtree(folder)
        if IS_CI:
            raise
        pytest.skip(f"no PostgreSQL for the tests: {error} {error.hint or ''}")
    try:
        yield TestServer(url=server.url, maintenance_database="postgres")
    finally:
        server.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def template_database(postgres_server: TestServer) -> Iterator[str]:
    """Return the name of a migrated database that is there to be copied, not to be used."""
    from mailglass.ledger.migrations import migrate  # noqa: PLC0415 - only tests that use SQL pay

    name = f"mg_test_{uuid4().hex}"
    postgres_server.execute("CREATE DATABASE {name}", name=name)
    try:
        migrate(postgres_server.url(name))
        yield name
    finally:
        postgres_server.drop(name)


@pytest.fixture
def database_url(
    postgres_server: TestServer, template_database: str, request: pytest.FixtureRequest
) -> Iterator[str]:
    """Return the address of a fresh, migrated database that this test alone uses.

    When the test is over, the ledger must be whole and the tables what its events say, unless the
    test is marked ``tampers``.
    """
    name = f"mg_test_{uuid4().hex}"
    # By WAL_LOG, the default since PostgreSQL 15, which copies small templates fast.
    postgres_server.execute(
        "CREATE DATABASE {name} TEMPLATE {template}", name=name, template=template_database
    )
    try:
        yield postgres_server.url(name)
        if request.node.get_closest_marker("tampers") is None:
            assert _ledger_faults(postgres_server.url(name)) == ()
    finally:
        postgres_server.drop(name)


def _ledger_faults(url: str) -> tuple[object, ...]:
    from mailglass.ledger.checking import LedgerCheck  # noqa: PLC0415 - only tests that use SQL pay
    from mailglass.ledger.store import Store  # noqa: PLC0415 - as above

    with closing(Store(url)) as store:
        return LedgerCheck(store=store).faults()


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers of our own."""
    config.addinivalue_line("markers", "root: checks what only root can do; left out for others")
    config.addinivalue_line(
        "markers",
        "redis: needs redis-server; left out where it is not installed: scripts/brokers does",
    )
    config.addinivalue_line("markers", "tampers: writes to the ledger past mailglass, or breaks it")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is about root alone where we are not root, and about Redis where there is none."""
    absent = [] if os.geteuid() == 0 else ["root"]
    absent += [] if shutil.which("redis-server") else ["redis"]
    left_out = [item for item in items if any(map(item.get_closest_marker, absent))]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skipped test into a failure where ``CI`` is set: there all must have run."""
    report = yield
    if IS_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"a skip is a failure in CI: {report.longreprtext}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Do the same for a whole module that skips itself."""
    report = yield
    if IS_CI and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"a skip is a failure in CI: {report.longreprtext}"
    return report
