"""``mailglass deliveries``: a list of deliveries, or one of them."""

from __future__ import annotations

import json
from uuid import UUID

import click

from mailglass.cli import EXIT_REFUSED
from mailglass.cli.database import database_option, store
from mailglass.deliveries import Delivery, DispatchState
from mailglass.errors import Json


@click.command("deliveries")
@click.argument("delivery_id", type=click.UUID, required=False)
@click.option("--tenant", "tenant_id", help="Only this tenant's.")
@click.option(
    "--state", type=click.Choice([one.value for one in DispatchState]), help="Only in this state."
)
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@database_option
def command(  # noqa: PLR0913 - the options
    *,
    delivery_id: UUID | None,
    tenant_id: str | None,
    state: str | None,
    limit: int,
    as_json: bool,
    database_url: str | None,
) -> None:
    """List the newest deliveries, or show one.

    Recipients are not shown: the address of a delivery is in the database, for those who may read
    it there.
    """
    with store(database_url) as opened:
        if delivery_id is None:
            wanted = DispatchState(state) if state else None
            found = opened.list_deliveries(tenant_id=tenant_id, state=wanted, limit=limit)
        else:
            one = opened.delivery(tenant_id, delivery_id)
            found = () if one is None else (one,)
    if delivery_id is not None and not found:
        click.echo(f"mailglass: there is no delivery {delivery_id}", err=True)
        raise click.exceptions.Exit(EXIT_REFUSED)
    if as_json:
        click.echo(json.dumps([delivery_json(one) for one in found], indent=2))
        return
    for delivery in found:
        click.echo(delivery_line(delivery))


def delivery_line(one: Delivery) -> str:
    """Return a delivery as one line for people."""
    about = f"{one.mailable or '-'}  {one.provider or '-'}  {one.code or ''}"
    return (
        f"{one.id}  {one.created_at:%Y-%m-%d %H:%M:%S}  {one.tenant_id}  {one.stream:<13}"
        f"  {one.kind:<3}  {one.state:<10}  {one.outcome:<12}  {about}"
    ).rstrip()


def delivery_json(one: Delivery) -> dict[str, Json]:
    """Return a delivery as JSON; times are RFC 3339."""
    return {
        "id": str(one.id),
        "message_id": str(one.message_id),
        "tenant_id": one.tenant_id,
        "kind": one.kind.value,
        "stream": one.stream.value,
        "state": one.state.value,
        "outcome": one.outcome.value,
        "mailable": one.mailable,
        "provider": one.provider,
        "provider_message_id": one.provider_message_id,
        "failure_class": one.failure_class,
        "code": one.code,
        "attempts": one.attempts,
        "run_at": one.run_at.isoformat() if one.run_at else None,
        "created_at": one.created_at.isoformat(),
        "updated_at": one.updated_at.isoformat(),
        "payload_bytes": one.payload_bytes,
        "payload_sha256": one.payload_sha256.hex(),
    }
