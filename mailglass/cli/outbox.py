"""``mailglass outbox``: what waits, and the steps that operators take with it."""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import UUID

import click

from mailglass.cli import EXIT_REFUSED
from mailglass.cli.ages import AGE
from mailglass.cli.database import database_option, store
from mailglass.cli.progress import progress
from mailglass.deliveries import DispatchState

if TYPE_CHECKING:
    from mailglass.delivery.outbox import Outbox
    from mailglass.ledger.outbox import Waiting

_Command = TypeVar("_Command", bound=Callable[..., Any])
_WAITING: Final = (DispatchState.QUEUED, DispatchState.SENDING, DispatchState.UNKNOWN)


@click.group("outbox")
def command() -> None:
    """Look at mail that has not left, and steer it; each step is an event with its actor."""


def _step(group: click.Group, name: str) -> Callable[[_Command], _Command]:
    """Register a step on one delivery's message, with the options that all steps share."""

    def register(step: _Command) -> _Command:
        for option in (
            click.argument("delivery_id", type=click.UUID),
            click.option(
                "--actor",
                default=getpass.getuser,
                show_default="you",
                help="Who does it, or a ticket.",
            ),
            click.option("--json", "as_json", is_flag=True, help="Print one JSON document."),
            database_option,
        ):
            step = option(step)
        group.command(name)(step)
        return step

    return register


@contextmanager
def _outbox(database_url: str | None) -> Iterator[Outbox]:
    from mailglass.delivery.outbox import Outbox

    with store(database_url) as opened:
        yield Outbox(store=opened)


def _say(*, as_json: bool, delivery_id: UUID, done: str, **more: str | bool) -> None:
    if as_json:
        click.echo(json.dumps({"delivery_id": str(delivery_id), "done": done, **more}))
    else:
        about = "".join(f", {name} {value}" for name, value in more.items())
        click.echo(f"{done} {delivery_id}{about}")


@command.command("list")
@click.option("--tenant", "tenant_id", help="Only this tenant's.")
@click.option("--state", type=click.Choice([one.value for one in _WAITING]), default="queued")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@database_option
def list_(
    *, tenant_id: str | None, state: str, limit: int, as_json: bool, database_url: str | None
) -> None:
    """List deliveries that wait, the newest first."""
    from mailglass.cli.deliveries import delivery_json, delivery_line

    with store(database_url) as opened:
        found = opened.list_deliveries(tenant_id=tenant_id, state=DispatchState(state), limit=limit)
    if as_json:
        click.echo(json.dumps([delivery_json(one) for one in found], indent=2))
        return
    for one in found:
        click.echo(delivery_line(one))


@command.command("show")
@click.argument("delivery_id", type=click.UUID)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@database_option
def show(*, delivery_id: UUID, as_json: bool, database_url: str | None) -> None:
    """Show one delivery and its history."""
    from mailglass.cli.deliveries import delivery_json, delivery_line
    from mailglass.timeline import event_json, timeline

    with store(database_url) as opened:
        found = opened.delivery(None, delivery_id)
        events = opened.events_of_delivery(None, delivery_id)
    if found is None:
        click.echo(f"mailglass: there is no delivery {delivery_id}", err=True)
        raise click.exceptions.Exit(EXIT_REFUSED)
    if as_json:
        told = delivery_json(found) | {"events": [event_json(one) for one in events]}
        click.echo(json.dumps(told, indent=2))
        return
    click.echo(delivery_line(found))
    for line in timeline(events):
        click.echo(line)


@command.command("counts")
@click.option("--tenant", "tenant_id", help="Only this tenant's.")
@click.option(
    "--max-age", type=AGE, help="Exit 1 when something due has waited longer: 90s, 15m, 2h."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@database_option
def counts(
    *, tenant_id: str | None, max_age: float | None, as_json: bool, database_url: str | None
) -> None:
    """Count what waits, and say how long the oldest has and when a provider last took a mail.

    With --max-age it exits 1 when a message, held ones apart, was first due longer ago than that: nothing
    is leaving, not fast enough, or a provider refuses it at each attempt.
    """
    with _outbox(database_url) as outbox:
        found = outbox.counts(tenant_id)
        last_s = outbox.last_dispatched_s(tenant_id)
    late = [one for one in found if max_age is not None and _waits_s(one) > max_age]
    if as_json:
        click.echo(json.dumps(_counts_json(found, last_s, is_late=bool(late)), indent=2))
    else:
        for one in found:
            held, oldest_s = " held" if one.is_held else "", max(0.0, one.oldest_s)
            click.echo(
                f"{one.state:<8} {one.stream:<13} {one.messages:>8}{held}  oldest {oldest_s:.0f} s"
            )
        click.echo("last sent: never" if last_s is None else f"last sent: {last_s:.0f} s ago")
    if late:
        raise click.exceptions.Exit(EXIT_REFUSED)


def _waits_s(one: Waiting) -> float:
    return 0.0 if one.is_held or one.state is not DispatchState.QUEUED else one.oldest_s


def _counts_json(
    found: tuple[Waiting, ...], last_s: float | None, *, is_late: bool
) -> dict[str, object]:
    waiting = [
        {
            "state": one.state.value,
            "stream": one.stream.value,
            "held": one.is_held,
            "messages": one.messages,
            "oldest_s": round(max(0.0, one.oldest_s), 3),
        }
        for one in found
    ]
    return {"waiting": waiting, "last_sent_s": last_s, "is_late": is_late}


@_step(command, "hold")
def hold(*, delivery_id: UUID, actor: str, as_json: bool, database_url: str | None) -> None:
    """Keep a queued message from leaving until it is released."""
    with _outbox(database_url) as outbox:
        outbox.hold(delivery_id, actor=actor)
    _say(as_json=as_json, delivery_id=delivery_id, done="held")


@_step(command, "release")
def release(*, delivery_id: UUID, actor: str, as_json: bool, database_url: str | None) -> None:
    """Let a held message leave."""
    with _outbox(database_url) as outbox:
        outbox.release(delivery_id, actor=actor)
    _say(as_json=as_json, delivery_id=delivery_id, done="released")


@_step(command, "reschedule")
@click.option(
    "--at", "at", type=datetime.fromisoformat, required=True, help="RFC 3339, with a zone."
)
@click.option(
    "--expires-at", type=datetime.fromisoformat, help="A new expiry: RFC 3339, with a zone."
)
def reschedule(  # noqa: PLR0913 - the options
    *,
    delivery_id: UUID,
    at: datetime,
    expires_at: datetime | None,
    actor: str,
    as_json: bool,
    database_url: str | None,
) -> None:
    """Give a queued message another time to leave; it is refused one at which it has expired."""
    with _outbox(database_url) as outbox:
        outbox.reschedule(delivery_id, at, expires_at=expires_at, actor=actor)
    _say(as_json=as_json, delivery_id=delivery_id, done="rescheduled")


@_step(command, "cancel")
def cancel(*, delivery_id: UUID, actor: str, as_json: bool, database_url: str | None) -> None:
    """Cancel what of a message has not left; exit 1 when somebody has it or is getting it."""
    with _outbox(database_url) as outbox:
        is_cancelled = outbox.cancel(delivery_id, actor=actor)
    _say(
        as_json=as_json,
        delivery_id=delivery_id,
        done="cancelled" if is_cancelled else "too late for",
    )
    if not is_cancelled:
        raise click.exceptions.Exit(EXIT_REFUSED)


@_step(command, "retry")
@click.option(
    "--confirm-duplicate-risk",
    is_flag=True,
    help="Also when it may have arrived: an attempt ended unknown, and nothing has settled it.",
)
@click.option("--adapter", "adapter_ref", help="Through this adapter instead of its own.")
def retry(  # noqa: PLR0913 - the options
    *,
    delivery_id: UUID,
    confirm_duplicate_risk: bool,
    adapter_ref: str | None,
    actor: str,
    as_json: bool,
    database_url: str | None,
) -> None:
    """Queue the same bytes again as a new delivery, for the recipients who did not get them."""
    with _outbox(database_url) as outbox:
        made = outbox.retry(
            delivery_id,
            actor=actor,
            confirm_duplicate_risk=confirm_duplicate_risk,
            adapter_ref=adapter_ref,
        )
    _say(as_json=as_json, delivery_id=delivery_id, done="queued again", new=str(made.id))


@_step(command, "settle")
@click.option("--sent/--not-sent", "was_sent", required=True, help="What the provider says.")
def settle(
    *, delivery_id: UUID, was_sent: bool, actor: str, as_json: bool, database_url: str | None
) -> None:
    """Say what became of an unknown message, once you have asked the provider."""
    with _outbox(database_url) as outbox:
        outbox.settle(delivery_id, was_sent=was_sent, actor=actor)
    _say(as_json=as_json, delivery_id=delivery_id, done="settled", sent=was_sent)


@command.command("sweep")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@database_option
def sweep(*, as_json: bool, database_url: str | None) -> None:
    """Do once what every worker does every few seconds: expire, abandon, put back, give up, scrub."""
    from dataclasses import asdict

    from mailglass.app import Mailglass

    with (
        Mailglass.from_env(database_url=database_url) as mail,
        progress("sweeping", hidden=as_json),
    ):
        swept = asdict(mail.sweep())
    click.echo(json.dumps(swept) if as_json else " ".join(f"{k} {v}" for k, v in swept.items()))
