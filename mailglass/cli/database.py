"""The database option that the commands share, and the store that it opens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from mailglass.ledger.store import Store

_Command = TypeVar("_Command", bound=Callable[..., Any])


def database_option(command: _Command) -> _Command:
    """Add ``--database-url``."""
    return click.option(
        "--database-url",
        metavar="URL",
        help="Instead of MAILGLASS_DATABASE_URL, DATABASE_URL or the embedded server.",
    )(command)


@contextmanager
def opened(database_url: str | None) -> Iterator[tuple[str, bool]]:
    """Yield the database's URL and whether it is the embedded one, which ends with the block."""
    from mailglass.ledger.opening import open_database
    from mailglass.settings import load_settings

    given = {} if database_url is None else {"database_url": database_url}
    choice, server = open_database(database_url, load_settings(**given))
    click.echo(f"mailglass: using {choice.describe()}", err=True)
    try:
        yield choice.url, choice.is_embedded
    finally:
        if server is not None:
            server.stop()


@contextmanager
def store(database_url: str | None) -> Iterator[Store]:
    """Open a store for reading on the chosen database."""
    from mailglass.ledger.store import Store

    with opened(database_url) as (url, _is_embedded), Store(url) as found:
        yield found
