"""``mailglass events``: the history of one delivery."""

from __future__ import annotations

import json
from uuid import UUID

import click

from mailglass.cli import EXIT_REFUSED
from mailglass.cli.database import database_option, store


@click.command("events")
@click.argument("delivery_id", type=click.UUID)
@click.option("--tenant", "tenant_id", help="Show the delivery only when it is this tenant's.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@database_option
def command(
    *, delivery_id: UUID, tenant_id: str | None, as_json: bool, database_url: str | None
) -> None:
    """Show what happened to a delivery, from its first event on."""
    from mailglass.timeline import event_json, timeline

    with store(database_url) as opened:
        found = opened.events_of_delivery(tenant_id, delivery_id)
        broken = opened.broken_chains(delivery_id)
    if not found:
        click.echo(f"mailglass: there is no delivery {delivery_id}", err=True)
        raise click.exceptions.Exit(EXIT_REFUSED)
    if as_json:
        faults = [{"seq": one.seq, "fault": one.fault} for one in broken]
        click.echo(
            json.dumps({"events": [event_json(one) for one in found], "broken": faults}, indent=2)
        )
    else:
        for line in timeline(found):
            click.echo(line)
        for one in broken:
            click.echo(f"BROKEN at event {one.seq}: {one.fault}")
    if broken:
        raise click.exceptions.Exit(EXIT_REFUSED)
