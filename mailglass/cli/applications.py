"""Finds the web application of the current folder: the one that is named, or the usual one."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mailglass.doctor.route import Application
    from mailglass.installer import Project

_FILES: Final = ("asgi.py", "wsgi.py", "app.py", "main.py", "__init__.py")
"""Where applications are made by custom, in the order in which they are looked at."""
_NAMES: Final = ("application", "app", "create_app", "make_app")
_FACTORIES: Final = frozenset({"create_app", "make_app"})


def application_of(named: str | None) -> Callable[[], Application]:
    """Return a function that imports the application ``MODULE:NAME``, or the one that is found here.

    It raises UnverifiableError where there is none, or none that can be imported.
    """

    def load() -> Application:
        from mailglass.doctor import UnverifiableError

        found = named or _found(Path())
        if found is None:
            raise UnverifiableError("no web application was found here: name it with --app")
        try:
            return _imported(found)
        except Exception as error:
            raise UnverifiableError(
                f"the application {found} cannot be imported: {type(error).__name__}"
            ) from error

    return load


def _imported(named: str) -> Application:
    module_name, _, name = named.partition(":")
    for folder in (Path("src").resolve(), Path.cwd()):
        if folder.is_dir() and str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    with redirect_stdout(sys.stderr):
        found: Application = getattr(import_module(module_name), name or "app")
        return found() if name in _FACTORIES else found


def _found(root: Path) -> str | None:
    """Return ``module:name`` of the application in a folder, without importing anything."""
    from mailglass.cli.install import known_package
    from mailglass.errors import ConfigError
    from mailglass.installer import Framework, read_project

    try:
        project = read_project(root, package=known_package(root))
    except ConfigError:
        return None
    if project.framework is Framework.PLAIN:
        return None
    return next(_candidates(root, project), None)


def _candidates(root: Path, project: Project) -> Iterator[str]:
    for folder in _folders(root, project):
        for name in _FILES:
            file = folder / name
            for made in _made_in(file):
                yield f"{_module(root, file)}:{made}"


def _folders(root: Path, project: Project) -> Iterator[Path]:
    if project.settings is not None:
        yield (root / project.settings).parent
    yield (root / project.package).parent
    yield root


def _made_in(file: Path) -> list[str]:
    """Return the names under which a file makes an application, the likeliest first."""
    if not file.is_file():
        return []
    try:
        body = ast.parse(file.read_bytes()).body
    except (SyntaxError, ValueError):
        return []
    made = {one.name for one in body if isinstance(one, ast.FunctionDef)} & _FACTORIES
    for one in body:
        targets = one.targets if isinstance(one, ast.Assign) else ()
        made |= {target.id for target in targets if isinstance(target, ast.Name)}
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name):
            made.add(one.target.id)
    return [name for name in _NAMES if name in made]


def _module(root: Path, file: Path) -> str:
    parts = list(file.relative_to(root).with_suffix("").parts)
    if parts[0] == "src":
        parts = parts[1:]
    if len(parts) > 1 and parts[-1] == "__init__":
        parts = parts[:-1]
    return ".".join(parts)
