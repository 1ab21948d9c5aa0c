"""What an error is on the command line: one line, a hint below it, and an exit code."""

from __future__ import annotations

import re
from typing import Final

from mailglass.cli import EXIT_MISUSED, EXIT_REFUSED
from mailglass.errors import ConfigError, MailglassError

_NO_CONNECTION: Final = re.compile(
    r"connection (failed|is bad|timeout)|failed to resolve host|Multiple connection attempts"
)
"""How psycopg begins what it says of a database that it never reached; one that is lost reads otherwise."""
_NO_ROLE: Final = re.compile(r'permission denied to set role|role "[^"]*" does not exist')
_REASON: Final = re.compile(r".*failed: (?:FATAL: +)?(.+)")
_WHERE: Final = "MAILGLASS_DATABASE_URL or --database-url"
_HINTS: Final = (
    (
        r"Connection refused|No such file",
        f"Start PostgreSQL there, or correct host and port in {_WHERE}.",
    ),
    (r"resolve host", f"Correct the host's name in {_WHERE}."),
    (
        r"timeout|timed out|unreachable|No route",
        f"Look at the firewall, or correct host and port in {_WHERE}.",
    ),
    (
        r"authentication failed|no password supplied",
        f"Correct user and password in {_WHERE}; special characters are percent-encoded.",
    ),
    (r'database "[^"]*" does not exist', "Create it with createdb, then run `mailglass migrate`."),
    (
        r"permission denied to set role",
        "GRANT the role of MAILGLASS_DATABASE_ROLE to the login, or unset it.",
    ),
    (
        r'role "[^"]*" does not exist',
        f"Correct the user in {_WHERE}, or MAILGLASS_DATABASE_ROLE: migrate makes mailglass_app.",
    ),
    (
        r"pg_hba\.conf",
        "Let this host in in the server's pg_hba.conf; it may ask for ?sslmode=require.",
    ),
    (r"SSL|certificate", "Correct sslmode and sslrootcert in the database's URL."),
    (
        r"too many|connection slots",
        "Lower MAILGLASS_DATABASE_CONNECTIONS_MAX, or raise max_connections.",
    ),
    (r"starting up|shutting down|recovery", "Wait until PostgreSQL takes connections."),
)
"""What libpq or the server says, and what to do about it; the first that fits counts."""


def told(error: Exception) -> tuple[str, int]:
    """Return what is printed of an error, a hint on a line of its own, and the exit code.

    A database that was never reached, or refuses the role, is a matter of settings as a ConfigError
    is; one that is lost on the way is not. The password is in no part of it.
    """
    if isinstance(error, MailglassError):
        shown = f"mailglass: {error.message} [{type(error).__name__}.{error.type.value}]"
        code = EXIT_MISUSED if isinstance(error, ConfigError) else EXIT_REFUSED
        return _with_hint(shown, getattr(error, "hint", None)), code
    text = str(error).strip()
    kind = type(error).__name__
    if type(error).__module__.startswith("psycopg"):
        if _NO_CONNECTION.match(text):
            reason = _REASON.search(text)
            why = reason[1].strip() if reason else text.splitlines()[0]
            shown = f"mailglass: {_place(error)} cannot be reached: {why} [{kind}]"
            return _with_hint(shown, _hint(text)), EXIT_MISUSED
        if _NO_ROLE.search(text):
            shown = f"mailglass: {kind}: {text.splitlines()[0]}"
            return _with_hint(shown, _hint(text)), EXIT_MISUSED
    return f"mailglass: {kind}: {text.splitlines()[0] if text else 'no text'}", EXIT_REFUSED


def _place(error: Exception) -> str:
    """Return which database was tried: what libpq keeps of it, but for user and password."""
    tried = getattr(error, "pgconn", None)
    if tried is None:
        return "the database"
    host, port, name = (
        (part or b"").decode("utf-8", "replace") for part in (tried.host, tried.port, tried.db)
    )
    return f"database {name or '(default)'} on {host or 'local socket'}:{port}"


def _hint(text: str) -> str:
    fitting = (hint for pattern, hint in _HINTS if re.search(pattern, text))
    return next(fitting, f"Look at {_WHERE}; `mailglass doctor` says what else is wrong.")


def _with_hint(shown: str, hint: str | None) -> str:
    return f"{shown}\n  {hint}" if hint else shown
