"""``mailglass migrate``: apply, check or print the migrations."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from mailglass.cli import EXIT_REFUSED
from mailglass.cli.database import database_option, opened
from mailglass.cli.progress import progress

if TYPE_CHECKING:
    from mailglass.ledger.migrations import MigrationStatus


@click.command("migrate")
@click.option("--sql", "prints_sql", is_flag=True, help="Print the SQL and touch no database.")
@click.option("--check", "only_checks", is_flag=True, help="Exit 1 when something is missing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@database_option
def command(
    *, prints_sql: bool, only_checks: bool, as_json: bool, database_url: str | None
) -> None:
    """Bring the database's schema up to date.

    Forward only, in one transaction; a second migrate at the same time waits and applies nothing
    twice. A file that was edited after it was applied is refused.
    """
    from mailglass.ledger.migrations import migrate, migration_sql, status

    if prints_sql and only_checks:
        raise click.UsageError("--sql and --check exclude each other")
    if prints_sql:
        click.echo(json.dumps({"sql": migration_sql()}) if as_json else migration_sql())
        return
    with opened(database_url) as (url, _is_embedded):
        if only_checks:
            _show(status(url), as_json=as_json)
            return
        with progress("migrating", hidden=as_json):
            applied = migrate(url)
    if as_json:
        click.echo(json.dumps({"applied": applied}))
        return
    for name in applied:
        click.echo(f"applied {name}")
    click.echo("up to date")


def _show(found: MigrationStatus, *, as_json: bool) -> None:
    faults = {kind: list(getattr(found, kind)) for kind in ("pending", "edited", "unknown")}
    is_current = not any(faults.values())
    if as_json:
        click.echo(json.dumps({"is_current": is_current, "applied": list(found.applied), **faults}))
    else:
        for kind, names in faults.items():
            for name in names:
                click.echo(f"{kind}: {name}")
        click.echo("up to date" if is_current else "not up to date")
    if not is_current:
        raise click.exceptions.Exit(EXIT_REFUSED)
