"""``mailglass ledger``: is what is shown what the events say, and are the events what was written."""

from __future__ import annotations

import json
from uuid import UUID

import click

from mailglass.cli import EXIT_REFUSED
from mailglass.cli.database import database_option, store
from mailglass.cli.progress import progress


@click.group("ledger")
def command() -> None:
    """Check the event ledger."""


@command.command("check")
@click.option("--delivery", "delivery_id", type=click.UUID, help="Look at one delivery alone.")
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=100,
    show_default=True,
    help="How many deliveries of each kind of fault to show.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@database_option
def check(*, delivery_id: UUID | None, limit: int, as_json: bool, database_url: str | None) -> None:
    """Fold all events anew, compare with the deliveries both ways, and recompute the hash chains.

    Nothing is changed. Exits 1, with the ids of the deliveries, when something differs.
    """
    from mailglass.ledger.checking import QUESTIONS, LedgerCheck

    with store(database_url) as opened:
        checking = LedgerCheck(store=opened)
        size = checking.size()
        with progress("checking the ledger", total=QUESTIONS, hidden=as_json) as done:
            found = checking.faults(delivery_id, limit=limit, on_answer=done)
    if as_json:
        rows = [
            {"delivery_id": str(one.delivery_id), "seq": one.seq, "fault": one.fault}
            for one in found
        ]
        counts = {"deliveries": size.deliveries, "events": size.events}
        click.echo(json.dumps(counts | {"faults": rows}, indent=2))
    else:
        for one in found:
            place = "" if one.seq is None else f" at event {one.seq}"
            click.echo(f"{one.delivery_id} {one.fault}{place}")
        if not found:
            click.echo(f"whole: {size.deliveries} deliveries, {size.events} events")
    if found:
        raise click.exceptions.Exit(EXIT_REFUSED)
