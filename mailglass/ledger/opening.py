"""Opening: the database that was named, or the embedded server, started and migrated."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from mailglass.errors import ConfigError, ConfigErrorType
from mailglass.ledger.database import DatabaseChoice, choose_database
from mailglass.ledger.migrations import migrate
from mailglass.settings import Environment, Settings

if TYPE_CHECKING:
    from mailglass.ledger.embedded import EmbeddedServer


def chosen(named: str | None, settings: Settings) -> DatabaseChoice:
    """Return which database is meant, without opening it.

    Raises:
        ConfigError: ``missing`` in production without a URL.

    """
    allows_embedded = settings.environment is not Environment.PRODUCTION
    choice = choose_database(named, os.environ, allows_embedded=allows_embedded)
    if choice is None:
        raise ConfigError(
            "no database is named",
            type=ConfigErrorType.MISSING,
            key="database_url",
            hint="Set MAILGLASS_DATABASE_URL; the embedded server is not for production.",
        )
    return choice


def open_database(
    explicit: object, settings: Settings, *, folder: Path | None = None
) -> tuple[DatabaseChoice, EmbeddedServer | None]:
    """Return the database to use and, where it is the embedded one, the server that was started.

    Raises:
        ConfigError: ``missing`` in production without a URL; ``optional_dep_missing`` without the
            extra ``embedded`` and without server binaries; ``conflicting`` for an embedded database
            of another version, with its folder.

    """
    choice = chosen(None if explicit is None else _plain(explicit), settings)
    if not choice.is_embedded:
        return choice, None
    # Imported here: most processes use a server of their own.
    from mailglass.ledger.embedded import EmbeddedServer  # noqa: PLC0415 - as said above

    server = EmbeddedServer.start(folder)
    try:
        migrate(server.url())
    except ConfigError as error:
        server.stop()
        raise _of_another_version(error, server.folder) from error
    return replace(choice, url=server.url(), folder=server.folder), server


def _of_another_version(error: ConfigError, folder: Path) -> ConfigError:
    return ConfigError(
        f"{error.message}, in the embedded database in {folder}",
        type=error.type,
        key=error.key,
        hint=f"{error.hint or ''} Or begin anew, as it is a database for development: stop what uses it "
        f"and run rm -r {quote(str(folder))}".strip(),
    )


def _plain(value: object) -> str:
    reveal = getattr(value, "get_secret_value", None)
    return str(reveal() if reveal is not None else value)
