"""What the suppression commands share: their options, and one tenant's suppressions opened for them."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from mailglass.cli.database import database_option, store
from mailglass.message import Stream
from mailglass.suppression import SuppressionReason, SuppressionScope

if TYPE_CHECKING:
    from mailglass.ledger.suppressions import Suppressions

_Command = TypeVar("_Command", bound=Callable[..., Any])
_HOURS: Final = {"h": 1, "d": 24, "w": 24 * 7}
REASONS: Final = click.Choice([one.value for one in SuppressionReason])
STREAMS: Final = click.Choice([one.value for one in Stream])


def where_options(command: _Command) -> _Command:
    """Add ``--tenant``, ``--by`` and ``--database-url``."""
    command = click.option("--by", help="Who acts, for the history. [default: the login name]")(
        command
    )
    command = click.option(
        "--tenant", "tenant_id", help="Whose list. [default: MAILGLASS_DEFAULT_TENANT]"
    )(command)
    return database_option(command)


def json_option(command: _Command) -> _Command:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(command)


@contextmanager
def book(
    database_url: str | None, tenant_id: str | None, by: str | None = None
) -> Iterator[Suppressions]:
    """Open one tenant's suppressions."""
    from mailglass.ledger.suppressions import Suppressions
    from mailglass.preflight.suppression import erasure_key_of
    from mailglass.settings import load_settings

    settings = load_settings()
    whose = tenant_id or settings.default_tenant
    if whose is None:
        raise click.UsageError("name a tenant: there is no default one")
    with store(database_url) as opened:
        yield Suppressions(
            store=opened,
            tenant_id=whose,
            by=by or _login(),
            erasure_key=erasure_key_of(settings),
        )


def _login() -> str:
    """Return who is logged in; a container's user may have no name, and then the number stands."""
    try:
        return getpass.getuser().partition("@")[0] or f"user {os.getuid()}"
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def scope_of(value: str, stream: str | None) -> tuple[SuppressionScope, Stream | None]:
    """Tell what a typed value is: an address, an address on one stream, or a domain."""
    if "@" not in value.strip().removeprefix("@"):
        if "." not in value:
            raise click.UsageError("name an address, or a domain with a dot")
        if stream is not None:
            raise click.UsageError("a domain is suppressed on all streams")
        return SuppressionScope.DOMAIN, None
    if stream is None:
        return SuppressionScope.ADDRESS, None
    return SuppressionScope.ADDRESS_STREAM, Stream(stream)


def moment(text: str | None) -> datetime | None:
    """Return an end given as ``12h``, ``30d``, ``4w`` from now, or as a time of ISO 8601 (UTC)."""
    if text is None:
        return None
    count, unit = text[:-1], text[-1:]
    try:
        if unit in _HOURS and count.isdecimal():
            return datetime.now(UTC) + timedelta(hours=int(count) * _HOURS[unit])
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise click.BadParameter("use 12h, 30d, 4w or 2027-01-31", param_hint="--expires") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found
