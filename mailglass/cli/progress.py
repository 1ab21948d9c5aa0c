"""How far a long command is: a bar on a terminal, a plain line now and then elsewhere, on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import click

Done: TypeAlias = Callable[[int], None]
"""Is told how many are done so far."""

LINE_EVERY_S: Final = 10.0
"""How often a log gets a line: a command that is done sooner leaves none."""


@contextmanager
def progress(label: str, *, total: int | None = None, hidden: bool = False) -> Iterator[Done]:
    """Show how far a block is, and yield what to tell of it; ``hidden`` shows nothing, as with ``--json``.

    Without ``total`` it counts, or only moves while nobody tells it anything. NO_COLOR is kept.
    """
    if hidden:
        yield lambda _done: None
    elif sys.stderr.isatty():
        with _bar(label, total) as done:
            yield done
    else:
        yield _Lines(label=label, total=total)


@contextmanager
def _bar(label: str, total: int | None) -> Iterator[Done]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
    )
    with bar:
        task = bar.add_task(label, total=total)
        yield lambda done: bar.update(task, completed=done)


@dataclass(slots=True, kw_only=True)
class _Lines:
    """Writes a plain line when the last is old enough."""

    label: str
    total: int | None
    told_at: float = field(default_factory=time.monotonic)

    def __call__(self, done: int) -> None:
        """Write how many are done, or nothing yet."""
        if time.monotonic() - self.told_at >= LINE_EVERY_S:
            self.told_at = time.monotonic()
            of = "" if self.total is None else f" of {self.total:,}"
            click.echo(f"mailglass: {self.label}: {done:,}{of}", err=True)
