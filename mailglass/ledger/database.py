"""Chooses the database: the one that was named, or else the embedded server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mailglass.errors import ConfigError, ConfigErrorType

VARIABLES = ("MAILGLASS_DATABASE_URL", "DATABASE_URL")
SCHEMES = frozenset({"postgres", "postgresql", "postgresql+psycopg"})
EXPLICIT = "database_url"
EMBEDDED = "embedded"
PORT_MAX = 65_535
SAID_BY = "_MAILGLASS_DATABASE_SAID_BY"
"""Variable in which a framework's own command says, in words, where the URL comes from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseChoice:
    """Which database was taken, and why.

    ``source`` is ``database_url`` (named in the call), the environment variable's name or
    ``embedded``. ``url`` may hold a password, so neither ``repr`` nor `describe` shows it; it is
    empty for the embedded server, which gets its address, and ``folder``, by being started.
    """

    url: str = field(repr=False)
    source: str
    is_embedded: bool
    folder: Path | None = None

    def describe(self) -> str:
        """Return one line for people: host, port, database and where that was said."""
        if self.is_embedded:
            place = "" if self.folder is None else f" in {self.folder}"
            return f"embedded PostgreSQL{place} (no database URL is set)"
        parts = _parts(self.url) or {}
        place = parts.get("host") or parts.get("hostaddr") or "local socket"
        port = f":{parts['port']}" if parts.get("port") else ""
        name = parts.get("dbname") or "(default database)"
        return f"database {name} on {place}{port} (from {self.source})"


def choose_database(
    explicit: str | None, environ: Mapping[str, str], *, allows_embedded: bool = True
) -> DatabaseChoice | None:
    """Take the explicit URL, ``MAILGLASS_DATABASE_URL``, ``DATABASE_URL``, the embedded server.

    An empty variable counts as unset. Returns None when nothing is named and ``allows_embedded``
    is false. Raises ConfigError for a URL that is not one of PostgreSQL; the error never holds it.
    """
    if explicit is not None:
        return DatabaseChoice(
            url=normalised_url(explicit, key=EXPLICIT), source=EXPLICIT, is_embedded=False
        )
    for name in VARIABLES:
        if value := environ.get(name, "").strip():
            url = normalised_url(value, key=name)
            source = environ.get(SAID_BY, name) if name == VARIABLES[0] else name
            return DatabaseChoice(url=url, source=source, is_embedded=False)
    return DatabaseChoice(url="", source=EMBEDDED, is_embedded=True) if allows_embedded else None


def normalised_url(url: str, *, key: str) -> str:
    """Return the URL as ``postgresql://…``; ``postgres://`` and SQLAlchemy's form are taken too.

    Raises ConfigError, which names ``key`` and never the URL, since that may hold a password.
    """
    scheme, separator, rest = url.strip().partition("://")
    normalised = f"postgresql://{rest}"
    if not separator or scheme.lower() not in SCHEMES or not _is_sound(rest, _parts(normalised)):
        raise ConfigError(
            f"{key} is not a valid PostgreSQL URL.",
            type=ConfigErrorType.INVALID,
            key=key,
            hint="It reads postgresql://user:password@host:5432/database, with special "
            "characters of user and password percent-encoded.",
        )
    return normalised


def _is_sound(rest: str, parts: Mapping[str, str] | None) -> bool:
    """Tell whether libpq reads the URL the way it was meant.

    An unencoded ``@`` or ``/`` in a password is read without complaint, but moves a piece of the
    password to where the host, the port or the database's name stand, which are not secret.
    """
    if parts is None or not rest.isprintable():
        return False
    place, _, name = rest.partition("?")[0].partition("/")
    ports = parts.get("port", "").split(",")
    return (
        place.count("@") <= 1
        and not set(name) & {"@", "/"}
        and all(not port or (port.isdecimal() and 0 < int(port) <= PORT_MAX) for port in ports)
    )


def _parts(url: str) -> dict[str, str] | None:
    """Return what libpq reads in the URL, or None where it reads none.

    libpq's own error quotes the URL, so it must not survive, not even as the context of ours.
    """
    from psycopg import ProgrammingError  # noqa: PLC0415 - 0.1 s that `--help` should not pay
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415 - as above

    try:
        parts = conninfo_to_dict(url)
    except (ProgrammingError, UnicodeError):
        return None
    return {name: str(value) for name, value in parts.items() if value is not None}
