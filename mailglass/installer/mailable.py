"""A new mailable: its class, its template and a preview, in files that are the application's own."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Final

from mailglass.errors import ConfigError, ConfigErrorType
from mailglass.installer.apply import refuse_outside
from mailglass.installer.project import check_package
from mailglass.message import Stream

_TEMPLATES: Final = Path(__file__).with_name("templates") / "mailable"
_TEMPLATE_OF: Final = dict.fromkeys(Stream, "mailable.html.jinja.txt") | {
    Stream.BULK: "bulk.html.jinja.txt"
}
"""Bulk mail shows how to leave and where its sender lives, or it is refused."""
_NAME: Final = re.compile(r"[A-Z][A-Za-z0-9]{0,63}")


def mailable_files(name: str, *, package: str, stream: Stream) -> Mapping[str, str]:
    """Return the texts of a new mailable by path; ``name`` is its class, such as ``OrderReceipt``.

    Raises:
        ConfigError: ``invalid`` for a name that is not a class's, or a package that is no path of names.

    """
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise ConfigError(
            "the name of a mailable is that of a class, such as OrderReceipt",
            type=ConfigErrorType.INVALID,
            key="name",
        )
    check_package(package)
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", name)
    snake = "_".join(words).lower()
    if keyword.iskeyword(snake):
        snake += "_mail"
    known = {
        "name": name,
        "snake": snake,
        "title": " ".join(words).capitalize(),
        "stream": stream.name,
    }
    return {
        f"{package}/{snake}.py": _filled("mailable.py.txt", known),
        f"{package}/templates/{snake}.html.jinja": _filled(_TEMPLATE_OF[stream], known),
    }


def write_new(files: Mapping[str, str], root: Path) -> None:
    """Write files that are not there yet.

    Raises:
        ConfigError: ``conflicting`` when one is there, or lies behind a link that leads out of the
            project; nothing was written then.

    """
    for path in files:
        refuse_outside(root, path)
        if (root / path).exists() or (root / path).is_symlink():
            raise ConfigError(
                f"{path} is there already",
                type=ConfigErrorType.CONFLICTING,
                key="name",
                hint="Choose another name.",
            )
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        with (root / path).open("x", encoding="utf-8") as file:
            file.write(text)


def _filled(source: str, known: Mapping[str, str]) -> str:
    return Template((_TEMPLATES / source).read_text("utf-8")).substitute(known)
