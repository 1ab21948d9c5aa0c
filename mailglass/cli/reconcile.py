"""``mailglass reconcile``: link reports that came before their delivery, finish what a crash left."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from mailglass.cli.database import database_option
from mailglass.cli.progress import progress


@click.command("reconcile")
@click.option("--tenant", "tenant_id", help="Only this tenant's orphans.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@database_option
def command(*, tenant_id: str | None, as_json: bool, database_url: str | None) -> None:
    """Link reports of providers to deliveries that were not known when they came.

    Each link is an event. A report that waited for seven days is given up. Requests that were kept
    and never finished are read again. Run it every few minutes; doing it twice changes nothing.
    """
    from mailglass.app import Mailglass

    given: dict[str, Any] = {} if database_url is None else {"database_url": database_url}
    with Mailglass.from_env(**given) as mail, progress("reconciling", hidden=as_json):
        done = asdict(mail.reconcile(tenant_id))
    if as_json:
        click.echo(json.dumps(done))
    else:
        click.echo(", ".join(f"{number} {name}" for name, number in done.items()))
