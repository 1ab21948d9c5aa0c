"""``mailglass erase``: no table holds an address afterwards, and it is still refused."""

from __future__ import annotations

import json

import click

from mailglass.cli import EXIT_REFUSED
from mailglass.cli.people import people
from mailglass.cli.progress import progress
from mailglass.cli.suppression_options import json_option, where_options


@click.command("erase")
@click.argument("address")
@click.option("--cancel", is_flag=True, help="Cancel what holds ADDRESS and has not left.")
@json_option
@where_options
def command(  # noqa: PLR0913 - the options
    *,
    address: str,
    cancel: bool,
    as_json: bool,
    tenant_id: str | None,
    by: str | None,
    database_url: str | None,
) -> None:
    """Forget ADDRESS: mails, deliveries, webhook receipts and suppressions of one tenant.

    A keyed hash (MAILGLASS_ERASURE_KEY) takes its place, so that suppressions go on and counts stay
    right. The ledger holds no address and stays whole. Mails lose their bytes, also for the other
    recipients of the same mail. Backups and the database server's own logs are not reached. Exit code
    1 when nothing was held on ADDRESS; with --json the numbers say so.
    """
    with people(database_url, tenant_id, by) as opened, progress("erasing", hidden=as_json):
        done = opened.erase(address, cancel=cancel)
    found = {name: getattr(done, name) for name in done.__dataclass_fields__}
    if as_json:
        click.echo(json.dumps({"erased": found}, indent=2))
        return
    if not any(found.values()):
        click.echo(
            "mailglass: nothing is held on this address; is it spelt as it was used?", err=True
        )
        raise click.exceptions.Exit(EXIT_REFUSED)
    click.echo("erased from " + ", ".join(f"{count} {name}" for name, count in found.items()))
