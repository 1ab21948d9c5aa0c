"""``mailglass features``: what is on for whom and why, and the switch that stops sending."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from mailglass.cli import EXIT_REFUSED
from mailglass.cli.database import database_option, store
from mailglass.cli.suppression_options import STREAMS, json_option
from mailglass.cli.suppression_options import _login as login
from mailglass.errors import Json
from mailglass.message import Stream

if TYPE_CHECKING:
    from mailglass.ledger.features import FeatureChange, FeatureRule, FeatureStore
    from mailglass.preflight.features import Decision

_Command = TypeVar("_Command", bound=Callable[..., Any])
_NAME: Final = re.compile(r"[a-z][a-z0-9_.-]{0,62}")
_WORDS: Final = {"on": 10_000, "off": 0, "unset": None}
_PERCENT: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,2})?)%")
_WHOLE: Final = 10_000


@click.group("features")
def command() -> None:
    """Switch features on and off for a tenant, a stream or a share of subjects, and say why.

    The most specific rule decides: tenant and stream, tenant, stream, all; without a rule a feature
    is off. The built-in NAME `sending` is the other way round: it is on, and any rule that says off
    stops the mail it speaks of, which stays queued until it is on again. Expiry goes on meanwhile.
    """


def _scope_options(command: _Command) -> _Command:
    command = click.option("--stream", type=STREAMS, help="Of this stream alone.")(command)
    return click.option("--tenant", "tenant_id", help="Of this tenant alone.")(command)


class _Share(click.ParamType[int | None]):
    """Reads on, off, unset or a percentage as a share of 10,000."""

    name = "on|off|unset|N%"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        """Return the share; None takes the rule away."""
        if value in _WORDS:
            return _WORDS[value]
        read = _PERCENT.fullmatch(str(value))
        share = round(float(read[1]) * 100) if read else _WHOLE + 1
        if share > _WHOLE:
            self.fail("use on, off, unset, or a share from 0% to 100% such as 12.5%", param, ctx)
        return share


def _name(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    if not _NAME.fullmatch(value):
        raise click.BadParameter(
            "a name has small letters, digits and _.- and starts with a letter"
        )
    return value


@contextmanager
def _features(database_url: str | None) -> Iterator[FeatureStore]:
    from mailglass.ledger.features import FeatureStore

    with store(database_url) as opened:
        yield FeatureStore(store=opened)


@command.command("list")
@json_option
@database_option
def list_(*, as_json: bool, database_url: str | None) -> None:
    """List every rule."""
    with _features(database_url) as features:
        found = features.rules()
    told: list[Json] = [_rule(one) for one in found]
    _say(as_json, {"rules": told}, *map(_line, found))


@command.command("show")
@click.argument("name", callback=_name)
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@json_option
@database_option
def show(*, name: str, limit: int, as_json: bool, database_url: str | None) -> None:
    """Show the rules of NAME and what was done to it, the newest first."""
    with _features(database_url) as features:
        rules, changes = features.rules(name), features.history(name, limit=limit)
    document: dict[str, Json] = {
        "name": name,
        "rules": [_rule(one) for one in rules],
        "history": [_change(one) for one in changes],
    }
    _say(as_json, document, *map(_line, rules), *map(_change_line, changes))
    if not changes:
        raise click.exceptions.Exit(EXIT_REFUSED)


@command.command("set")
@click.argument("name", callback=_name)
@click.argument("share", type=_Share())
@_scope_options
@click.option("--why", help="The reason, for the history; without an address.")
@click.option("--by", help="Who acts, for the history. [default: the login name]")
@click.option("--shrink", is_flag=True, help="Also take it from some who have it.")
@json_option
@database_option
def set_(  # noqa: PLR0913 - the options
    *,
    name: str,
    share: int | None,
    tenant_id: str | None,
    stream: str | None,
    why: str | None,
    by: str | None,
    shrink: bool,
    as_json: bool,
    database_url: str | None,
) -> None:
    """Set NAME on, off or to a share of subjects (N%), or take the rule away (unset).

    A share only grows: whoever has a feature at 10% has it at 20%. Making it smaller needs --shrink.
    Running workers know within seconds.
    """
    with _features(database_url) as features:
        features.set(
            name,
            share,
            by=by or login(),
            tenant_id=tenant_id,
            stream=Stream(stream) if stream else None,
            why=why,
            may_shrink=shrink,
        )
    _say(
        as_json,
        {"name": name, "share": share},
        f"{name} is {_shown(share)} {_where(tenant_id, stream)}",
    )


@command.command("explain")
@click.argument("name", callback=_name)
@_scope_options
@click.option("--subject", help="What a share is counted by, such as a user's id.")
@json_option
@database_option
def explain(  # noqa: PLR0913 - the options
    *,
    name: str,
    tenant_id: str | None,
    stream: str | None,
    subject: str | None,
    as_json: bool,
    database_url: str | None,
) -> None:
    """Tell whether NAME is on and which rule says so: exit code 0 when it is on, 1 when it is off."""
    from mailglass.preflight.features import decide
    from mailglass.settings import load_settings

    whose = tenant_id or load_settings().default_tenant
    if whose is None:
        raise click.UsageError("name a tenant: there is no default one")
    with _features(database_url) as features:
        rules = features.rules(name)
    decision = decide(
        name, rules, tenant_id=whose, stream=Stream(stream) if stream else None, subject=subject
    )
    by = next((one for one in rules if one is decision.rule), None)
    who = f"\n  set {by.updated_at:%Y-%m-%d %H:%M:%S} by {by.changed_by}" if by else ""
    reason = f": {by.why}" if by and by.why else ""
    told = f"{name} is {'on' if decision.is_on else 'off'}: {decision.why}{who}{reason}"
    _say(as_json, _decision(decision, by), told)
    if not decision.is_on:
        raise click.exceptions.Exit(EXIT_REFUSED)


def _say(as_json: bool, document: dict[str, Json], *lines: str) -> None:  # noqa: FBT001 - the flag
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    for line in lines:
        click.echo(line)


def _shown(share: int | None) -> str:
    words = {value: word for word, value in _WORDS.items()}
    return words[share] if share in words else f"{(share or 0) / 100:g}%"


def _where(tenant_id: str | None, stream: str | None) -> str:
    tenant = f"for tenant {tenant_id}" if tenant_id else "for all tenants"
    return f"{tenant}, stream {stream}" if stream else tenant


def _line(one: FeatureRule) -> str:
    where = _where(one.tenant_id, one.stream.value if one.stream else None)
    why = f"  {one.why}" if one.why else ""
    return (
        f"{one.name}  {_shown(one.share)}  {where}"
        f"  since {one.updated_at:%Y-%m-%d %H:%M:%S} by {one.changed_by}{why}"
    )


def _change_line(one: FeatureChange) -> str:
    where = _where(one.tenant_id, one.stream.value if one.stream else None)
    why = f"  {one.why}" if one.why else ""
    steps = f"{_shown(one.share_before)} -> {_shown(one.share)}"
    return f"{one.at:%Y-%m-%d %H:%M:%S}  {steps}  {where}  by {one.changed_by}{why}"


def _rule(one: FeatureRule) -> dict[str, Json]:
    return {
        "name": one.name,
        "tenant": one.tenant_id,
        "stream": one.stream.value if one.stream else None,
        "share": one.share,
        "changed_by": one.changed_by,
        "why": one.why,
        "updated_at": _time(one.updated_at),
    }


def _change(one: FeatureChange) -> dict[str, Json]:
    return {
        "at": _time(one.at),
        "tenant": one.tenant_id,
        "stream": one.stream.value if one.stream else None,
        "share_before": one.share_before,
        "share": one.share,
        "changed_by": one.changed_by,
        "why": one.why,
    }


def _decision(decision: Decision, by: FeatureRule | None) -> dict[str, Json]:
    return {
        "name": decision.name,
        "is_on": decision.is_on,
        "why": decision.why,
        "bucket": decision.bucket,
        "rule": None if by is None else _rule(by),
    }


def _time(moment: datetime) -> str:
    return moment.isoformat()
