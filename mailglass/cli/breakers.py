"""``mailglass adapters status``, ``close`` and ``history``: the breakers, and who changed them."""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mailglass.cli import EXIT_REFUSED
from mailglass.cli.database import database_option, store

if TYPE_CHECKING:
    from mailglass.ledger.breakers import BreakerStatus

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _shared(command: _Command) -> _Command:
    for option in (
        click.option("--tenant", "tenant_id", help="Only this tenant's; else of all tenants."),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON document."),
        database_option,
    ):
        command = option(command)
    return command


@click.command("status")
@click.option("--check", is_flag=True, help="Exit 1 when a breaker is not closed.")
@_shared
def status(*, tenant_id: str | None, check: bool, as_json: bool, database_url: str | None) -> None:
    """Show the breakers that were ever moved: state, reason, retry, and what waits for each.

    An adapter that is not listed has never failed for that tenant.
    """
    from mailglass.delivery.outbox import Outbox

    with store(database_url) as opened:
        found = Outbox(store=opened).breakers(tenant_id)
    if as_json:
        click.echo(json.dumps([_json(one) for one in found], indent=2))
    else:
        for one in found:
            click.echo(_line(one))
        if not found:
            click.echo("no adapter has failed")
    if check and any(one.state.value != "closed" for one in found):
        raise click.exceptions.Exit(EXIT_REFUSED)


@click.command("close")
@click.argument("name")
@click.option(
    "--actor", default=getpass.getuser, show_default="you", help="Who does it, or a ticket."
)
@_shared
def close(
    *, name: str, actor: str, tenant_id: str | None, as_json: bool, database_url: str | None
) -> None:
    """Close the breaker of the adapter NAME before its time; what waits for it leaves at once.

    Exits with 1 when none was open.
    """
    from mailglass.delivery.outbox import Outbox

    with store(database_url) as opened:
        found = Outbox(store=opened).close_breaker(name, actor=actor, tenant_id=tenant_id)
    if as_json:
        told = [{"tenant": tenant, "due_again": due} for tenant, due in found.items()]
        click.echo(json.dumps({"adapter": name, "closed": told}))
    else:
        for tenant, due in found.items():
            click.echo(f"closed {name} of {tenant}, due again {due}")
    if not found:
        click.echo(f"mailglass: no breaker of {name} is open", err=True)
        raise click.exceptions.Exit(EXIT_REFUSED)


@click.command("history")
@click.argument("name")
@_shared
def history(*, name: str, tenant_id: str | None, as_json: bool, database_url: str | None) -> None:
    """Show the last changes of the breakers of the adapter NAME, the newest first, with their actors."""
    from mailglass.delivery.outbox import Outbox

    with store(database_url) as opened:
        found = Outbox(store=opened).breaker_history(name, tenant_id)
    told = [
        {
            "at": one.at.isoformat(),
            "tenant": one.tenant_id,
            "from": one.from_state.value,
            "to": one.to_state.value,
            "reason": one.reason,
            "by": one.changed_by,
        }
        for one in found
    ]
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    for each in told:
        click.echo("{at} {tenant} {from} -> {to} {reason} by {by}".format(**each))


def _json(one: BreakerStatus) -> dict[str, object]:
    return {
        "tenant": one.tenant_id,
        "adapter": one.adapter_ref,
        "state": one.state.value,
        "failures": one.failures,
        "reason": one.reason,
        "changed_by": one.changed_by,
        "changed_at": one.changed_at.isoformat(),
        "retry_in_s": None if one.retry_in_s is None else round(max(0.0, one.retry_in_s), 3),
        "waiting": one.waiting,
    }


def _line(one: BreakerStatus) -> str:
    retry = "" if one.retry_in_s is None else f", retry in {max(0.0, one.retry_in_s):.0f} s"
    reason = "" if one.reason is None else f", {one.reason} by {one.changed_by}"
    waiting = f", {one.waiting} waiting" if one.waiting else ""
    return f"{one.state.value:<9} {one.adapter_ref:<14} {one.tenant_id}{reason}{retry}{waiting}"
