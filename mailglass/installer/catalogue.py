"""The catalogue: which texts go into a project of each framework, and where."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Final

from mailglass.installer.project import Framework, Project

_TEMPLATES: Final = Path(__file__).with_name("templates")
_PACKAGE: Final = {
    "__init__.py": "common/package.py.txt",
    "welcome.py": "common/welcome.py.txt",
    "templates/layout.html.jinja": "common/layout.html.jinja.txt",
    "templates/welcome.html.jinja": "common/welcome.html.jinja.txt",
}
"""Where in the package a text goes; texts end in .txt, so that no tool takes them for code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A text and where it goes: a whole file, or a marked block of one."""

    path: str
    text: str
    block: str | None = None

    @property
    def key(self) -> str:
        """Return its name in the manifest."""
        return self.path if self.block is None else f"{self.path}#{self.block}"


def pieces(project: Project) -> Iterator[Piece]:
    """Yield all that is installed into a project, in order."""
    for name, source in _PACKAGE.items():
        yield Piece(path=f"{project.package}/{name}", text=_filled(source, project))
    kind = project.framework
    if kind is not Framework.DJANGO:
        yield Piece(path=f"{project.package}/desk.py", text=_filled(f"{kind}/desk.py.txt", project))
        yield Piece(
            path=f"{project.package}/worker.py", text=_filled("common/worker.py.txt", project)
        )
    yield Piece(path="tests/test_mails.py", text=_filled("common/test_mails.py.txt", project))
    yield Piece(path=".env.example", text=_filled("common/env.txt", project), block="settings")
    if project.settings is not None:
        yield Piece(
            path=project.settings, text=_filled("django/settings.py.txt", project), block="settings"
        )
    if project.urls is not None:
        yield Piece(path=project.urls, text=_filled("django/urls.py.txt", project), block="urls")


def _filled(source: str, project: Project) -> str:
    text = (_TEMPLATES / source).read_text("utf-8")
    return Template(text).substitute(module=project.module, package=project.package)
