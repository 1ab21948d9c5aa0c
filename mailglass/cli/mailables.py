"""Mailables named on the command line, and the renderer that the settings ask for."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from mailglass.mailable import Mailable


def mailables(named: str) -> list[type[Mailable]]:
    """Return the mailables of ``MODULE`` or the one of ``MODULE:MAILABLE``; none is misuse."""
    from mailglass.mailable import Mailable

    module_name, _, wanted = named.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        # A console script does not see the folder that it is started in.
        sys.path.insert(0, here)
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        raise click.UsageError(f"there is no module {error.name}") from error
    found = [
        one
        for one in vars(module).values()
        if isinstance(one, type) and issubclass(one, Mailable) and hasattr(one, "template")
    ]
    if wanted:
        found = [one for one in found if one.__name__ == wanted]
    if not found:
        raise click.UsageError(f"{module_name} has no mailable {wanted}".rstrip())
    return list(dict.fromkeys(found))


def installed_module() -> str | None:
    """Return the module of the package that ``mailglass install`` wrote here; None where there is none.

    It can be imported then, from ``src`` too.
    """
    from mailglass.cli.install import known_package

    package = known_package(Path())
    if package is None:
        return None
    source = str(Path("src").resolve())
    if package.startswith("src/") and source not in sys.path:
        sys.path.insert(0, source)
    return package.removeprefix("src/").replace("/", ".")
