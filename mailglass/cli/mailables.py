"""Mailables named on the command line, and the renderer that the settings ask for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from mailglass.mailable import Mailable

_NO_MAILS: Final = ("__init__", "__main__", "desk", "worker")
"""Modules of a mailing package that hold no mail: the installer's own, and what runs when imported."""


def mailables(named: str) -> list[type[Mailable]]:
    """Return the mailables of ``MODULE`` or the one of ``MODULE:MAILABLE``; none is misuse."""
    module_name, _, wanted = named.partition(":")
    found = _mailables_in(_imported(module_name))
    if wanted:
        found = [one for one in found if one.__name__ == wanted]
    if not found:
        raise click.UsageError(f"{module_name} has no mailable {wanted}".rstrip())
    return list(dict.fromkeys(found))


def mailables_of(modules: Sequence[str]) -> list[type[Mailable]] | None:
    """Return the mailables of all modules; of the installed package, with each of its modules, for none.

    The installed package is looked through whole where it is named, too. None where no module is named
    and nothing is installed here.
    """
    installed = installed_module()
    if not modules and installed is None:
        return None
    found: list[type[Mailable]] = []
    for one in modules or filter(None, [installed]):
        found += _mailables_below(one) if one == installed else mailables(one)
    return list(dict.fromkeys(found))


def _mailables_below(package: str) -> list[type[Mailable]]:
    """Return the mailables of a package and its modules, but for those that set up or run mailglass."""
    found = _mailables_in(_imported(package))
    for path in getattr(sys.modules[package], "__path__", ()):
        for file in sorted(Path(path).rglob("*.py")):
            names = file.relative_to(path).with_suffix("").parts
            if names[-1] not in _NO_MAILS and all(one.isidentifier() for one in names):
                found += _mailables_in(_imported(".".join((package, *names))))
    return found


def _imported(name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        # A console script does not see the folder that it is started in.
        sys.path.insert(0, here)
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise click.UsageError(f"there is no module {error.name}") from error


def _mailables_in(module: ModuleType) -> list[type[Mailable]]:
    from mailglass.mailable import Mailable

    return [
        one
        for one in vars(module).values()
        if isinstance(one, type) and issubclass(one, Mailable) and hasattr(one, "template")
    ]


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
