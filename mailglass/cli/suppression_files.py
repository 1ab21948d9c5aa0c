"""``mailglass suppressions import`` and ``export``: whole lists, with a bar and a report of bad lines."""

from __future__ import annotations

import csv
import json
import os
import stat
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import IO, TYPE_CHECKING, Any, Final

import click

from mailglass.cli import EXIT_REFUSED
from mailglass.cli.progress import Done, progress
from mailglass.cli.suppression_formats import (
    FORMULA,
    SHAPES,
    BadLine,
    FileFormat,
    ListKind,
    Reading,
    SuppressionFile,
)
from mailglass.cli.suppression_options import REASONS, STREAMS, book, json_option, where_options
from mailglass.cli.suppression_writing import Writing, write
from mailglass.errors import Json
from mailglass.message import Stream
from mailglass.suppression import Suppression, SuppressionReason

if TYPE_CHECKING:
    from rich.progress import Progress

    from mailglass.ledger.suppressions import Suppressions, Tally

_TOLD_EVERY: Final = 1000
"""Rows between two words on how far an export is."""
_SHOWN_MAX: Final = 20
"""Bad lines that are named on the screen; a file of them holds all."""
_OWNER_ALONE: Final = stat.S_IRUSR | stat.S_IWUSR
_FORMATS: Final = click.Choice([one.value for one in FileFormat])
_LISTS: Final = click.Choice([one.value for one in ListKind])


@dataclass(slots=True, kw_only=True)
class _Report:
    """What was wrong with a file: how many lines by broken rule, the first few, and all in a file."""

    rejected: IO[str] | None
    counts: Counter[str] = field(default_factory=Counter)
    first: list[BadLine] = field(default_factory=list)
    good: int = 0

    def good_ones(self, file: SuppressionFile) -> Iterator[Suppression]:
        """Yield what can be imported and keep account of the rest."""
        rows = csv.writer(self.rejected) if self.rejected else None
        if rows:
            rows.writerow(("line", "rule", "text"))
        for one in file:
            if isinstance(one, Suppression):
                self.good += 1
                yield one
                continue
            self.counts[one.code] += 1
            if len(self.first) < _SHOWN_MAX:
                self.first.append(one)
            if rows:
                rows.writerow((one.line, one.code, _harmless(one.text)))

    @property
    def bad(self) -> int:
        """Return how many lines were wrong."""
        return self.counts.total()


@click.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--format", "format_", type=_FORMATS, default="csv", show_default=True)
@click.option(
    "--list",
    "kind",
    type=_LISTS,
    help="Which list of SendGrid or Mailgun the file is: its rows do not say.",
)
@click.option("--reason", type=REASONS, default="manual", help="For rows without one.")
@click.option(
    "--stream", type=STREAMS, help="Where unsubscribes hold; bulk unless another is named."
)
@click.option("--rejected", type=click.Path(dir_okay=False), help="Write the bad lines here.")
@click.option("--dry-run", is_flag=True, help="Read and report; change nothing.")
@json_option
@where_options
def import_command(  # noqa: PLR0913 - the options
    *,
    file: IO[bytes],
    format_: str,
    kind: str | None,
    reason: str,
    stream: str | None,
    rejected: str | None,
    dry_run: bool,
    as_json: bool,
    tenant_id: str | None,
    by: str | None,
    database_url: str | None,
) -> None:
    """Import a list, CSV or JSON, from FILE (- for standard input).

    Formats: csv (our own export, or a column of addresses), and what SES, SendGrid, Postmark and
    Mailgun export. Bad lines are left out and reported, and the exit code is then 1. Importing a
    list again changes nothing.
    """
    reading = Reading(
        format=FileFormat(format_),
        list=_kind(FileFormat(format_), kind),
        reason=SuppressionReason(reason),
        stream=Stream(stream) if stream else None,
        source=f"import {format_}",
    )
    began = monotonic()
    source = SuppressionFile(file, reading)
    with ExitStack() as stack:
        out = _open(rejected) if rejected else None
        report = _Report(rejected=stack.enter_context(out) if out else None)
        opened = None if dry_run else stack.enter_context(book(database_url, tenant_id, by))
        bar = stack.enter_context(_bar(file, hidden=as_json))
        tally = _imported(source, report, opened, bar)
    told = _told(report, tally, seconds=monotonic() - began)
    if as_json:
        click.echo(json.dumps(told, indent=2))
    else:
        _show(report, tally, told)
    if report.bad:
        raise click.exceptions.Exit(EXIT_REFUSED)


@click.command("export")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True), default="-")
@click.option("--format", "format_", type=_FORMATS, default="csv", show_default=True)
@click.option("--list", "kind", type=_LISTS, help="Which list of SendGrid or Mailgun to write.")
@click.option("--stream", type=STREAMS, help="Whose unsubscribes; a provider has no streams.")
@where_options
def export_command(  # noqa: PLR0913 - the options
    *,
    file: str,
    format_: str,
    kind: str | None,
    stream: str | None,
    tenant_id: str | None,
    by: str | None,
    database_url: str | None,
) -> None:
    """Export what is refused now to FILE, or to standard output.

    Only csv holds everything: what a provider's format cannot say is left out and counted. A file
    is readable by its owner alone.
    """
    from mailglass.ledger.suppressions import Wanted

    writing = Writing(
        format=FileFormat(format_),
        list=_kind(FileFormat(format_), kind),
        stream=Stream(stream) if stream else None,
    )
    with ExitStack() as stack:
        out: IO[str] = sys.stdout
        if file != "-":
            out = stack.enter_context(_open(file))
        opened = stack.enter_context(book(database_url, tenant_id, by))
        # Rows that go to a terminal show by themselves how far it is.
        done = stack.enter_context(progress("exporting", hidden=out.isatty()))
        entries = (one.entry for one in opened.every(Wanted()))
        written, left_out = write(_counted(entries, done), out, writing)
    click.echo(f"mailglass: {written} written, {left_out} left out", err=True)


def _counted(entries: Iterable[Suppression], done: Done) -> Iterator[Suppression]:
    for number, entry in enumerate(entries, start=1):
        yield entry
        if number % _TOLD_EVERY == 0:
            done(number)


def _kind(format_: FileFormat, kind: str | None) -> ListKind | None:
    """Return the list; a format whose rows name no reason needs it, and another must not have one."""
    known = SHAPES[format_].lists
    if kind is None and known:
        names = ", ".join(known)
        raise click.UsageError(f"name the list with --list, one of: {names}")
    if kind is not None and ListKind(kind) not in known:
        raise click.UsageError(f"{format_.value} has no list of {kind}")
    return ListKind(kind) if kind else None


def _open(path: str) -> IO[str]:
    """Open a file that only its owner may read."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    descriptor = os.open(Path(path), flags, _OWNER_ALONE)
    os.fchmod(descriptor, _OWNER_ALONE)  # a file that was there keeps its mode otherwise
    return os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace", newline="")


def _bar(file: IO[bytes], *, hidden: bool) -> Progress:
    """Return a bar that moves with the bytes read; on a terminal alone, so that logs stay short."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    bar = Progress(
        TextColumn("importing"),
        BarColumn(),
        TextColumn("{task.fields[rows]:,} rows"),
        TimeRemainingColumn(),
        console=console,
        disable=hidden or not console.is_terminal,
    )
    size = _size(file)
    bar.add_task("import", total=size, rows=0)
    return bar


def _size(file: IO[bytes]) -> int | None:
    try:
        found = os.fstat(file.fileno())
    except (OSError, ValueError):
        return None  # not a file of the system, so nobody knows how long it is
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _imported(
    source: SuppressionFile, report: _Report, opened: Suppressions | None, bar: Progress
) -> Tally:
    from mailglass.ledger.suppressions import Tally

    total = Tally()
    entries = report.good_ones(source)
    if opened is None:
        for _ in entries:
            continue
        return total
    for tally in opened.adding(entries):
        total += tally
        bar.update(bar.task_ids[0], completed=source.bytes_read, rows=report.good)
    return total


def _told(report: _Report, tally: Tally, *, seconds: float) -> dict[str, Json]:
    lines: list[Json] = [{"line": one.line, "rule": one.code} for one in report.first]
    return {
        "rows": report.good + report.bad,
        "added": tally.added,
        "changed": tally.changed,
        "unchanged": tally.unchanged,
        "bad": report.bad,
        "bad_by_rule": dict[str, Any](sorted(report.counts.items())),
        "first_bad_lines": lines,
        "seconds": round(seconds, 3),
    }


def _show(report: _Report, tally: Tally, told: dict[str, Json]) -> None:
    for one in report.first:
        click.echo(f"line {one.line}: {one.code}", err=True)
    if report.bad > len(report.first):
        click.echo(f"and {report.bad - len(report.first)} more bad lines", err=True)
    click.echo(
        f"{told['rows']} rows: {tally.added} added, {tally.changed} changed, "
        f"{tally.unchanged} unchanged, {report.bad} bad, in {told['seconds']} s"
    )


def _harmless(text: str) -> str:
    """Return a line as it may stand in a spreadsheet and on a terminal."""
    shown = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
    return f"'{shown}" if shown.startswith(FORMULA) else shown
