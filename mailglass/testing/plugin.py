"""The pytest plugin: the fixture ``mailbox``, and the guard against mail that nobody expected."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from mailglass.ledger.scratch import ScratchServer
    from mailglass.testing.private import PrivateMailglass

GUARD: Final = "mailglass_guard"
_MAILBOX: Final = pytest.StashKey["PrivateMailglass"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the option that switches the guard on for all tests."""
    parser.addini(
        GUARD, "fail a test that sends a mail which no assertion looked at", type="bool",
        default=False,
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker that switches the guard on or, with ``False``, off for some tests."""
    config.addinivalue_line(
        "markers", f"{GUARD}(on=True): fail when a mail is sent that no assertion looked at"
    )


@pytest.fixture(scope="session")
def mailglass_server() -> Iterator[ScratchServer]:
    """Return the server that the tests' databases are on; one for each process of a run.

    It is the one that ``MAILGLASS_TEST_DATABASE_URL`` names, else one that is started.
    """
    from mailglass.ledger.scratch import scratch_server  # noqa: PLC0415 - only tests that send mail pay

    with scratch_server() as server:
        yield server


@pytest.fixture
def mailglass_database_url(mailglass_server: ScratchServer) -> Iterator[str]:
    """Return the address of a fresh, migrated database that the test alone uses."""
    with mailglass_server.database() as url:
        yield url


@pytest.fixture
def mailglass_settings() -> dict[str, Any]:
    """Return settings for ``mailbox``; define a fixture of this name to give yours."""
    return {}


@pytest.fixture
def mailglass_parts() -> dict[str, Any]:
    """Return what code gives to ``Mailglass``: tenancy, checks, enqueue; redefine to give yours."""
    return {}


@pytest.fixture
def mailbox(
    request: pytest.FixtureRequest,
    mailglass_database_url: str,
    mailglass_settings: dict[str, Any],
    mailglass_parts: dict[str, Any],
) -> Iterator[PrivateMailglass]:
    """Return a Mailglass of the test's own, which keeps what it sends; see ``PrivateMailglass``."""
    from mailglass.testing.private import private_mailglass  # noqa: PLC0415 - as above

    with private_mailglass(
        mailglass_database_url, parts=mailglass_parts, **mailglass_settings
    ) as mail:
        request.node.stash[_MAILBOX] = mail
        yield mail


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Fail a test that passed but sent a mail which no assertion looked at, where that is asked."""
    yield
    mail = item.stash.get(_MAILBOX, None)
    if mail is not None and _is_guarded(item):
        mail.assert_every_mail_was_expected()


def _is_guarded(item: pytest.Item) -> bool:
    marker = item.get_closest_marker(GUARD)
    if marker is None:
        return bool(item.config.getini(GUARD))
    return bool(marker.kwargs.get("on", marker.args[0] if marker.args else True))
