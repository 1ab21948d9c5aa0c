"""``mailglass migrate``: apply, check or print the migrations."""

from __future__ import annotations

import click

from mailglass.cli import EXIT_REFUSED
from mailglass.cli.database import database_option, opened


@click.command("migrate")
@click.option("--sql", "prints_sql", is_flag=True, help="Print the SQL and touch no database.")
@click.option("--check", "only_checks", is_flag=True, help="Exit 1 when something is missing.")
@database_option
def command(*, prints_sql: bool, only_checks: bool, database_url: str | None) -> None:
    """Bring the database's schema up to date.

    Forward only, in one transaction; a second migrate at the same time waits and applies nothing
    twice. A file that was edited after it was applied is refused.
    """
    from mailglass.ledger.migrations import migrate, migration_sql, status

    if prints_sql and only_checks:
        raise click.UsageError("--sql and --check exclude each other")
    if prints_sql:
        click.echo(migration_sql())
        return
    with opened(database_url) as (url, _is_embedded):
        if only_checks:
            found = status(url)
            for kind in ("pending", "edited", "unknown"):
                for name in getattr(found, kind):
                    click.echo(f"{kind}: {name}")
            is_current = not (found.pending or found.edited or found.unknown)
            click.echo("up to date" if is_current else "not up to date")
            if not is_current:
                raise click.exceptions.Exit(EXIT_REFUSED)
            return
        applied = migrate(url)
    for name in applied:
        click.echo(f"applied {name}")
    click.echo("up to date")
