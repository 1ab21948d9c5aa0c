"""``mailglass publish-check``: what must hold before a deploy, and the one way to accept goldens."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import count, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from mailglass.cli.database import database_option
from mailglass.cli.mailables import mailables_of
from mailglass.cli.progress import progress

if TYPE_CHECKING:
    from mailglass.ledger.database import DatabaseChoice
    from mailglass.mailable import Mailable
    from mailglass.publishing import Candidate, Findings

_MARKS: Final = {"ok": "ok  ", "warning": "WARN", "error": "FAIL", "cannot_verify": "  ? "}
_MAILS: Final = "mail"


@click.command("publish-check")
@click.argument("modules", metavar="[MODULE[:MAILABLE]]...", nargs=-1)
@click.option("--accept", "accepts", is_flag=True, help="Show the difference, then take it over.")
@click.option(
    "--goldens", metavar="FOLDER", default="goldens", show_default=True,
    type=click.Path(file_okay=False, path_type=Path), help="Where reviewed mails are, in mail/.",
)  # fmt: skip
@click.option("--screenshots", is_flag=True, help="Compare pictures too; needs a Chromium.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--strict", is_flag=True, help="What cannot be verified exits 1 too.")
@database_option
def command(  # noqa: PLR0913 - click passes each option as a keyword
    *,
    modules: Sequence[str],
    accepts: bool,
    goldens: Path,
    screenshots: bool,
    as_json: bool,
    strict: bool,
    database_url: str | None,
) -> None:
    """Check what must hold before a deploy, and tell everything that fails.

    Every preview renders and is what was reviewed, lint has no error, the database has the
    migrations of this version, what was installed is up to date. MODULE names mailables; without it
    all of the installed package are meant. Nothing but --accept ever writes a golden. Exits 0 when
    all holds, 1 when something does not, 2 when it is misused.
    """
    from mailglass.doctor import exit_code
    from mailglass.publishing import accept, examine

    folder = goldens / _MAILS
    kinds = _mailables(modules)
    numbers = count(1)
    with progress("mails", total=len(kinds), hidden=as_json) as done:
        report = examine(
            _candidate(
                kinds,
                folder,
                database_url,
                watch=lambda _kind: done(next(numbers)),
                is_pictured=screenshots,
            )
        )
    _show(report, as_json=as_json)
    if accepts:
        accept(folder, report.differences)
        click.echo(f"accepted {len(report.differences)} in {folder}", err=as_json)
    else:
        report.refuse_drift()
    left = [one for one in report.results if not accepts or one.id != "goldens"]
    raise click.exceptions.Exit(exit_code(left, is_strict=strict))


def _mailables(modules: Sequence[str]) -> list[type[Mailable]]:
    found = mailables_of(modules)
    if found is None:
        raise click.UsageError("name the modules of your mails: nothing is installed here")
    return found


def _candidate(
    kinds: Sequence[type[Mailable]],
    goldens: Path,
    database_url: str | None,
    *,
    watch: Callable[[type[Mailable]], None],
    is_pictured: bool,
) -> Candidate:
    from mailglass.publishing import Camera, Candidate
    from mailglass.rendering.render import renderer_of
    from mailglass.settings import load_settings

    given = {} if database_url is None else {"database_url": database_url}
    settings = load_settings(**given)
    return Candidate(
        mailables=kinds,
        renderer=renderer_of(settings),
        goldens=goldens,
        root=Path(),
        attachments_root=settings.attachments_root,
        database=_database(database_url),
        camera=Camera() if is_pictured else None,
        watch=watch,
    )


def _database(database_url: str | None) -> DatabaseChoice | None:
    import os

    from mailglass.ledger.database import choose_database

    return choose_database(database_url, os.environ, allows_embedded=False)


def _show(report: Findings, *, as_json: bool) -> None:
    if as_json:
        told = {
            "checks": [asdict(one) for one in report.results],
            "differences": [one.to_dict() for one in report.differences],
        }
        click.echo(json.dumps(told, indent=2))
        return
    for one, after in zip_longest(report.results, report.results[1:]):
        click.echo(f"{_MARKS[one.status]}  {one.id}: {one.seen or one.title}")
        if one.fix and (after is None or after.fix != one.fix):
            click.echo(f"      {one.fix}\n      {one.guide}")
    for difference in report.differences:
        click.echo(difference.diff, nl=False)
