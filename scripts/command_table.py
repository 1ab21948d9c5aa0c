"""Writes the table of commands in docs/api_stability.md anew: python scripts/command_table.py."""

# ruff: noqa: INP001 - a script, not a package
from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click

from mailglass.cli.group import mailglass

PAGE = Path(__file__).resolve().parents[1] / "docs" / "api_stability.md"


def main() -> None:
    """Replace the rows under "Commands"; the text around them stays."""
    before, heading, after = PAGE.read_text("utf-8").partition("\n## Commands\n")
    rows = "".join(sorted(_rows(mailglass, ""), key=_name))
    PAGE.write_text(
        before + heading + re.sub(r"(?m)(?:^\| `.*\n)+", lambda _: rows, after, count=1)
    )


def _name(row: str) -> str:
    return row.split("`")[1]


def _rows(found: click.Command, name: str) -> Iterator[str]:
    context = click.Context(found)
    if isinstance(found, click.Group):
        for one in found.list_commands(context):
            inner = found.get_command(context, one)
            if inner is not None:
                yield from _rows(inner, f"{name} {one}".strip())
        if not name or not found.invoke_without_command:
            return
    arguments = " ".join(
        one.make_metavar(context) for one in found.params if isinstance(one, click.Argument)
    )
    options = ", ".join(
        f"`{option}`"
        for one in found.params
        if isinstance(one, click.Option)
        for option in (*one.opts, *one.secondary_opts)
        if option.startswith("--")
    )
    yield f"| `{name}` | {f'`{arguments}`' if arguments else ''} | {options} |\n"


if __name__ == "__main__":
    main()
