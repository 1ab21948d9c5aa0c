"""``mailglass suppressions``: who gets no mail, why, and who said so."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Final

import click

from mailglass.address import parse_address
from mailglass.cli import EXIT_REFUSED
from mailglass.cli.suppression_files import export_command, import_command
from mailglass.cli.suppression_options import (
    REASONS,
    STREAMS,
    book,
    json_option,
    moment,
    scope_of,
    where_options,
)
from mailglass.errors import Json
from mailglass.message import Stream
from mailglass.suppression import (
    Suppression,
    SuppressionReason,
    SuppressionScope,
    asked_values,
    value_key,
)

if TYPE_CHECKING:
    from mailglass.ledger.suppressions import Deed, Listed

_SOURCE: Final = "command line"


@click.group("suppressions")
def command() -> None:
    """Say who gets no mail, why, and who said so.

    VALUE is an address, or a domain for everybody there. Capitals and international domains do not
    matter.
    """


@command.command("add")
@click.argument("value")
@click.option("--stream", type=STREAMS, help="Refuse mail of this stream alone.")
@click.option("--reason", type=REASONS, default="manual", show_default=True)
@click.option("--expires", metavar="TIME", help="When it ends: 12h, 30d, 4w or 2027-01-31.")
@click.option("--note", help="For people; without an address.")
@json_option
@where_options
def add(  # noqa: PLR0913 - the options
    *,
    value: str,
    stream: str | None,
    reason: str,
    expires: str | None,
    note: str | None,
    as_json: bool,
    tenant_id: str | None,
    by: str | None,
    database_url: str | None,
) -> None:
    """Refuse mail to VALUE from now on.

    A complaint or an unsubscribe that is held is never softened by it.
    """
    scope, of_stream = scope_of(value, stream)
    entry = Suppression(
        scope=scope,
        value=value,
        stream=of_stream,
        reason=SuppressionReason(reason),
        source=_SOURCE,
        expires_at=moment(expires),
        note=note,
    )
    with book(database_url, tenant_id, by) as opened:
        tally = opened.add(entry)
    did = "added" if tally.added else "changed" if tally.changed else "unchanged"
    _say(as_json, {"result": did}, did)


@command.command("remove")
@click.argument("value")
@click.option("--stream", type=STREAMS, help="The refusal of this stream alone.")
@click.option("--why", help="The reason, for the history; without an address.")
@click.option("--force", is_flag=True, help="Also a complaint or an unsubscribe; needs --why.")
@json_option
@where_options
def remove(  # noqa: PLR0913 - the options
    *,
    value: str,
    stream: str | None,
    why: str | None,
    force: bool,
    as_json: bool,
    tenant_id: str | None,
    by: str | None,
    database_url: str | None,
) -> None:
    """Let mail to VALUE through again; who did it and why stays on record."""
    scope, of_stream = scope_of(value, stream)
    if force and not why:
        raise click.UsageError("--force needs --why")
    with book(database_url, tenant_id, by) as opened:
        is_removed = opened.remove(scope, value, stream=of_stream, why=why, force=force)
    did = "removed" if is_removed else "not found"
    _say(as_json, {"result": did}, did)
    if not is_removed:
        raise click.exceptions.Exit(EXIT_REFUSED)


@command.command("check")
@click.argument("value")
@click.option("--stream", type=STREAMS, help="Of this stream alone; without it of each of them.")
@json_option
@where_options
def check(  # noqa: PLR0913 - the options
    *,
    value: str,
    stream: str | None,
    as_json: bool,
    tenant_id: str | None,
    by: str | None,
    database_url: str | None,
) -> None:
    """Tell whether mail to VALUE is refused now: exit code 1 when any is, 0 when all may be sent.

    What is refused on one stream may be sent on another; --stream asks for one alone.
    """
    asked = [Stream(stream)] if stream else list(Stream)
    scope, _ = scope_of(value, None)
    with book(database_url, tenant_id, by) as opened:
        if scope is SuppressionScope.DOMAIN:
            values = {value_key(scope, value)}
        else:
            values = asked_values(
                [parse_address(value.strip()).key],
                tenant_id=opened.tenant_id,
                erasure_key=opened.erasure_key,
            )
        found = {one: opened.matching(sorted(values), one) for one in asked}
    hits = list(dict.fromkeys(hit for of_stream in found.values() for hit in of_stream))
    lines = [f"suppressed  {_what(hit)}" for hit in hits] or ["may be sent"]
    free = [one.value for one, of_stream in found.items() if not of_stream]
    if hits and free:
        lines.append(f"may be sent  {', '.join(free)}")
    told: dict[str, Json] = {
        "suppressed": bool(hits),
        "by": [_json(hit) for hit in hits],
        "streams": {one.value: bool(of_stream) for one, of_stream in found.items()},
    }
    _say(as_json, told, *lines)
    if hits:
        raise click.exceptions.Exit(EXIT_REFUSED)


@command.command("list")
@click.option("--stream", type=STREAMS, help="Only what is refused on this stream alone.")
@click.option("--reason", type=REASONS, help="Only with this reason.")
@click.option("--all", "with_over", is_flag=True, help="Also removed and expired ones.")
@click.option("--after", metavar="VALUE", help="Go on after this value.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@json_option
@where_options
def list_(  # noqa: PLR0913 - the options
    *,
    stream: str | None,
    reason: str | None,
    with_over: bool,
    after: str | None,
    limit: int,
    as_json: bool,
    tenant_id: str | None,
    by: str | None,
    database_url: str | None,
) -> None:
    """List suppressions in the order of their values."""
    from mailglass.ledger.suppressions import Wanted

    wanted = Wanted(
        stream=Stream(stream) if stream else None,
        reason=SuppressionReason(reason) if reason else None,
        with_over=with_over,
    )
    with book(database_url, tenant_id, by) as opened:
        found = opened.page(wanted, after=after, limit=limit)
    told: list[Json] = [_listed(one) for one in found]
    _say(as_json, {"suppressions": told}, *map(_line, found))


@command.command("history")
@click.argument("value")
@json_option
@where_options
def history(
    *, value: str, as_json: bool, tenant_id: str | None, by: str | None, database_url: str | None
) -> None:
    """Show what was done to the suppressions of VALUE, by whom and why."""
    scope, _ = scope_of(value, None)
    with book(database_url, tenant_id, by) as opened:
        found = opened.history(scope, value)
    told: list[Json] = [_deed(one) for one in found]
    _say(as_json, {"history": told}, *map(_deed_line, found))
    if not found:
        raise click.exceptions.Exit(EXIT_REFUSED)


@command.command("erase")
@click.argument("address")
@json_option
@where_options
def erase(
    *, address: str, as_json: bool, tenant_id: str | None, by: str | None, database_url: str | None
) -> None:
    """Forget ADDRESS in the suppressions, and go on refusing it under a keyed hash."""
    with book(database_url, tenant_id, by) as opened:
        count = opened.erase(address)
    _say(as_json, {"erased": count}, f"erased from {count} suppressions")


command.add_command(import_command)
command.add_command(export_command)


def _say(as_json: bool, document: dict[str, Json], *lines: str) -> None:  # noqa: FBT001 - the flag
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    for line in lines:
        click.echo(line)


def _what(one: Suppression) -> str:
    stream = f" ({one.stream.value})" if one.stream else ""
    until = f"  until {one.expires_at:%Y-%m-%d %H:%M}" if one.expires_at else ""
    return f"{one.scope.value}{stream}  {one.reason.value}  {one.source}{until}"


def _line(one: Listed) -> str:
    over = f"  removed {one.removed_at:%Y-%m-%d} by {one.changed_by}" if one.removed_at else ""
    return f"{one.entry.value}  {_what(one.entry)}{over}"


def _json(one: Suppression) -> dict[str, Json]:
    return {
        "scope": one.scope.value,
        "stream": one.stream.value if one.stream else None,
        "reason": one.reason.value,
        "source": one.source,
        "expires_at": _time(one.expires_at),
    }


def _listed(one: Listed) -> dict[str, Json]:
    return {
        "value": one.entry.value,
        **_json(one.entry),
        "note": one.entry.note,
        "changed_by": one.changed_by,
        "why": one.why,
        "created_at": _time(one.created_at),
        "updated_at": _time(one.updated_at),
        "removed_at": _time(one.removed_at),
    }


def _deed(one: Deed) -> dict[str, Json]:
    return {
        "at": _time(one.at),
        "action": one.action,
        "scope": one.scope.value,
        "stream": one.stream.value if one.stream else None,
        "reason": one.reason.value,
        "source": one.source,
        "changed_by": one.changed_by,
        "why": one.why,
        "expires_at": _time(one.expires_at),
    }


def _deed_line(one: Deed) -> str:
    stream = f" ({one.stream.value})" if one.stream else ""
    why = f"  {one.why}" if one.why else ""
    return (
        f"{one.at:%Y-%m-%d %H:%M:%S}  {one.action:<8}  {one.scope.value}{stream}"
        f"  {one.reason.value}  by {one.changed_by}{why}"
    )


def _time(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
