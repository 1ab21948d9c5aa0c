"""``mailglass export``: everything held on a person, as one JSON document on standard output."""

from __future__ import annotations

import json
from typing import Final

import click

from mailglass.cli import EXIT_REFUSED
from mailglass.cli.people import people
from mailglass.cli.progress import progress
from mailglass.cli.suppression_options import where_options

_KINDS: Final = ("deliveries", "received", "suppressions")


@click.command("export")
@click.argument("address")
@where_options
def command(
    *, address: str, tenant_id: str | None, by: str | None, database_url: str | None
) -> None:
    """Print everything that one tenant holds on ADDRESS: exit code 1 when that is nothing.

    One JSON document: `shape` (mailglass.person/1), `tenant`, `address`, `deliveries`, each with its
    `events`, `settings` and `mail` (base64; null once its bytes are gone), `received`, `suppressions`
    and `suppression_history`.
    """
    with people(database_url, tenant_id, by) as opened, progress("collecting"):
        document = opened.held_on(address)
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    if not any(document[kind] for kind in _KINDS):
        raise click.exceptions.Exit(EXIT_REFUSED)
