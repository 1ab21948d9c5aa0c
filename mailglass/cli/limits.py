"""``mailglass limits``: what limits there are, how they stand, and what providers asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

import click

from mailglass.cli import EXIT_REFUSED
from mailglass.cli.database import database_option, store

if TYPE_CHECKING:
    from mailglass.ledger.pacing import Pace, PacingStore
    from mailglass.pacing.buckets import LimitState
    from mailglass.pacing.vocabulary import Limit, WarmUp

_PLAIN: Final = ("rate_limit_per_domain", "rate_limit_per_tenant", "rate_limit_per_stream")
_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Today:
    """How a bucket stands today; ``allowed`` None where the day has no number."""

    key: str
    used: int
    allowed: int | None
    waits_s: float

    def row(self) -> dict[str, Any]:
        """Return the form of the JSON document."""
        left = None if self.allowed is None else max(0, self.allowed - self.used)
        return {
            "key": self.key,
            "used_today": self.used,
            "left_today": left,
            "next_in_s": round(self.waits_s, 3),
        }


@click.group("limits", invoke_without_command=True)
@click.option(
    "--limit",
    "buckets_max",
    type=click.IntRange(1, 10_000),
    default=20,
    show_default=True,
    help="How many counts of all limits to show, the busiest first.",
)
@_json_option
@database_option
@click.pass_context
def command(
    ctx: click.Context, *, buckets_max: int, as_json: bool, database_url: str | None
) -> None:
    """Show the limits of the settings, how each count stands, and which adapters rest or were slowed."""
    if ctx.invoked_subcommand is not None:
        return
    with _opened(database_url) as (limits, plain, pacing):
        names = [*(one.name for one in limits), *plain]
        states = pacing.states(names, limit=buckets_max)
        paces = pacing.paces()
    rows = [
        *(_limit_row(one, states) for one in limits),
        *({"name": name, "counts": _plain_rows(name, states)} | plain[name] for name in plain),
    ]
    adapters = [_pace_row(one) for one in paces.values()]
    if as_json:
        click.echo(json.dumps({"limits": rows, "adapters": adapters}, indent=2))
        return
    for row in rows:
        _show_limit(row)
    for one in adapters:
        _show_pace(one)


@command.command("warmup")
@click.argument("name", metavar="DOMAIN")
@_json_option
@database_option
def warm_up(*, name: str, as_json: bool, database_url: str | None) -> None:
    """Show the warm-up of a sender domain, or of an adapter: each day's number, what is sent and left.

    Exits 1 when there is none.
    """
    with _opened(database_url) as (limits, _plain, pacing):
        tables = [
            _table(one, one.warm_up, name, pacing)
            for one in limits
            if one.warm_up is not None and _is_about(one, name)
        ]
    if as_json:
        click.echo(json.dumps(tables, indent=2))
    else:
        for table in tables:
            _show_table(table)
    if not tables:
        click.echo(f"no warm-up is set for {name}", err=True)
        raise click.exceptions.Exit(EXIT_REFUSED)


@command.command("free")
@click.argument("adapter_ref", metavar="ADAPTER")
@_json_option
@database_option
def free(*, adapter_ref: str, as_json: bool, database_url: str | None) -> None:
    """Forget that an adapter asked to wait, and what rate was learnt of it.

    Exits 1 when there is nothing to forget.
    """
    with _opened(database_url) as (_limits, _plain, pacing):
        due_again = pacing.free(adapter_ref)
        if due_again:
            pacing.store.ring()
    freed = {"adapter": adapter_ref, "freed": due_again is not None, "due_again": due_again or 0}
    if as_json:
        click.echo(json.dumps(freed))
    elif due_again is None:
        click.echo(f"{adapter_ref}: nothing was held against it")
    else:
        click.echo(f"{adapter_ref}: freed, due again {due_again}")
    if due_again is None:
        raise click.exceptions.Exit(EXIT_REFUSED)


@contextmanager
def _opened(
    database_url: str | None,
) -> Iterator[tuple[Sequence[Limit], Mapping[str, dict[str, Any]], PacingStore]]:
    """Yield the limits of the settings, the plain buckets that are set, and the database's part."""
    from mailglass.delivery.redis_pacing import pacing_of
    from mailglass.settings import load_settings

    settings = load_settings()
    plain = {
        name: {"capacity": one.capacity, "per_s": one.per_s}
        for name in _PLAIN
        if (one := getattr(settings, name)) is not None
    }
    with store(database_url) as opened:
        pacing = pacing_of(opened, settings)
        try:
            yield settings.limits, plain, pacing
        finally:
            pacing.close()


def _today(limit: Limit, state: LimitState) -> _Today:
    from mailglass.pacing.buckets import readable

    today = state.at.astimezone(ZoneInfo(limit.zone)).date()
    used = state.used if state.day == today else 0
    burst_s = (limit.interval_s or 0.0) * (limit.burst_held - 1)
    return _Today(
        key=readable(state.key),
        used=used,
        allowed=limit.allowed_on(today),
        waits_s=max(0.0, state.full_in_s - burst_s),
    )


def _limit_row(limit: Limit, states: Sequence[LimitState]) -> dict[str, Any]:
    return {
        "name": limit.name,
        "rate": limit.rate,
        "daily": limit.daily,
        "warm_up": limit.warm_up is not None,
        "zone": limit.zone,
        "beyond": "delay" if limit.delays else "refuse",
        "counts": [_today(limit, one).row() for one in states if one.name == limit.name],
    }


def _plain_rows(name: str, states: Sequence[LimitState]) -> list[dict[str, Any]]:
    return [
        {"key": one.key, "full_in_s": round(max(0.0, one.full_in_s), 3)}
        for one in states
        if one.name == name
    ]


def _pace_row(pace: Pace) -> dict[str, Any]:
    return {
        "adapter": pace.adapter_ref,
        "paused_for_s": round(max(0.0, pace.paused_for_s), 3),
        "learnt_rate_per_s": None if pace.rate_per_s is None else round(pace.rate_per_s, 3),
    }


def _show_limit(row: Mapping[str, Any]) -> None:
    if "capacity" in row:
        click.echo(f"{row['name']}: {row['capacity']:g} at once, {row['per_s']:g}/s, refuse")
    else:
        parts = [row["rate"], f"{row['daily']} a day" if row["daily"] else None]
        parts += ["warm-up" if row["warm_up"] else None, row["beyond"]]
        click.echo(f"{row['name']}: {', '.join(one for one in parts if one)}")
    for one in row["counts"]:
        shown = [f"{name} {value}" for name, value in one.items() if name != "key"]
        click.echo(f"  {one['key'] or '-'}: {', '.join(shown)}")


def _show_pace(row: Mapping[str, Any]) -> None:
    said = []
    if row["paused_for_s"]:
        said.append(f"rests for {row['paused_for_s']} s")
    if row["learnt_rate_per_s"] is not None:
        said.append(f"slowed to {row['learnt_rate_per_s']}/s")
    click.echo(f"adapter {row['adapter']}: {', '.join(said)}")


def _is_about(limit: Limit, name: str) -> bool:
    from mailglass.pacing.vocabulary import LimitKey

    return any(
        key in limit.per and limit.match.get(key, name).lower() == name.lower()
        for key in (LimitKey.SENDER_DOMAIN, LimitKey.PROVIDER)
    )


def _table(limit: Limit, warm_up: WarmUp, name: str, pacing: PacingStore) -> dict[str, Any]:
    """Return a warm-up with what was sent today, of all counts that the name is part of."""
    today = datetime.now(ZoneInfo(limit.zone)).date()
    states = [_today(limit, one) for one in pacing.states([limit.name], limit=10_000)]
    sent = sum(one.used for one in states if name.lower() in one.key.lower().split(" "))
    days = []
    for number, allowed in enumerate(warm_up.daily):
        day = warm_up.starts + timedelta(days=number)
        own = {"sent": sent, "left": max(0, allowed - sent)} if day == today else {}
        days.append({"day": number + 1, "date": day.isoformat(), "allowed": allowed} | own)
    return {"name": limit.name, "zone": limit.zone, "daily_after": limit.daily, "days": days}


def _show_table(table: Mapping[str, Any]) -> None:
    click.echo(f"{table['name']}, days end at midnight in {table['zone']}")
    click.echo("  day  date        allowed   sent   left")
    for one in table["days"]:
        mark = "*" if "sent" in one else " "
        sent, left = one.get("sent", ""), one.get("left", "")
        line = f"{mark} {one['day']:>3}  {one['date']}  {one['allowed']:>7}  {sent:>5}  {left:>5}"
        click.echo(line.rstrip())
    after = table["daily_after"]
    click.echo(f"  then {'no daily limit' if after is None else f'{after} a day'}")
