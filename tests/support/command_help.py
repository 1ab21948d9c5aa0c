"""The help of every command, at a fixed width, as a person reviews it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import click

from mailglass.cli.group import mailglass

WIDTH: Final = 100


def help_texts() -> dict[str, str]:
    """Return the help by file: one of the whole, and one a command with all of its own commands."""
    top = _context(mailglass, "mailglass", None)
    found = {"mailglass.txt": mailglass.get_help(top) + "\n"}
    for name in mailglass.list_commands(top):
        command = mailglass.get_command(top, name)
        if command is not None:
            found[f"{name}.txt"] = "\n\n".join(_of(command, name, top)) + "\n"
    return found


def commands() -> dict[str, click.Command]:
    """Return every command that does something, by its words: ``outbox list``."""
    return dict(_leaves(mailglass, _context(mailglass, "mailglass", None), ""))


def _leaves(
    found: click.Command, context: click.Context, name: str
) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(found, click.Group):
        yield name, found
        return
    if name and found.invoke_without_command:
        yield name, found
    for one in found.list_commands(context):
        inner = found.get_command(context, one)
        if inner is not None:
            yield from _leaves(inner, _context(inner, one, context), f"{name} {one}".strip())


def _of(command: click.Command, name: str, parent: click.Context) -> Iterator[str]:
    context = _context(command, name, parent)
    yield command.get_help(context)
    if isinstance(command, click.Group):
        for one in command.list_commands(context):
            inner = command.get_command(context, one)
            if inner is not None:
                yield from _of(inner, one, context)


def _context(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    return click.Context(
        command, info_name=name, parent=parent, terminal_width=WIDTH, max_content_width=WIDTH,
        **command.context_settings,
    )  # fmt: skip
