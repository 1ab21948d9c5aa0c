"""The project that is installed into: its framework, its layout and the texts that matter."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum, unique
from pathlib import Path
from typing import Final

from mailglass.errors import ConfigError, ConfigErrorType

_NOT_PACKAGES: Final = frozenset(
    {"tests", "test", "docs", "scripts", "build", "dist", "migrations", "mails", "venv"}
)
_REQUIREMENT_FILES: Final = ("pyproject.toml", "requirements.txt", "requirements.in", "setup.cfg")
_SETTINGS_MODULE: Final = re.compile(r"DJANGO_SETTINGS_MODULE[\"']\s*,\s*[\"']([\w.]+)[\"']")
_ROOT_URLCONF: Final = re.compile(r"^ROOT_URLCONF\s*=\s*[\"']([\w.]+)[\"']", re.MULTILINE)
_FILE_BYTES_MAX: Final = 1_000_000


@unique
class Framework(StrEnum):
    """What an application is built with, as far as the installer cares."""

    DJANGO = "django"
    FASTAPI = "fastapi"
    FLASK = "flask"
    STARLETTE = "starlette"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """What a project holds.

    ``package`` is the folder that the mails go into, such as ``src/shop/mails``; ``module`` its
    dotted name. ``settings`` is the file of Django's settings, ``urls`` that of its addresses where the
    settings name one. ``texts`` are all files that a plan may ask about, by path.
    """

    framework: Framework
    package: str
    module: str
    settings: str | None
    texts: Mapping[str, str]
    urls: str | None = None


def read_project(
    root: Path, *, framework: Framework | None = None, package: str | None = None
) -> Project:
    """Look at a folder; ``framework`` and ``package`` go before what is found.

    Raises:
        ConfigError: ``missing`` for a Django project whose settings are not found; ``invalid`` for
            a package that is no path of Python names below the folder.

    """
    kind = framework or _framework(root)
    folder = package or _package(root, kind)
    check_package(folder)
    settings = _django_settings(root) if kind is Framework.DJANGO else None
    urls = _django_urls(root, settings) if settings else None
    return Project(
        framework=kind,
        package=folder,
        module=folder.removeprefix("src/").replace("/", "."),
        settings=settings,
        texts=dict(_texts(root, folder, settings, urls)),
        urls=urls,
    )


def _framework(root: Path) -> Framework:
    if (root / "manage.py").is_file():
        return Framework.DJANGO
    required = "\n".join(
        _read(root / name).lower() for name in _REQUIREMENT_FILES if (root / name).is_file()
    )
    for kind in (Framework.DJANGO, Framework.FASTAPI, Framework.FLASK, Framework.STARLETTE):
        if re.search(rf"(?<![\w-]){kind}(?![\w-])", required):
            return kind
    return Framework.PLAIN


def _package(root: Path, kind: Framework) -> str:
    if kind is Framework.DJANGO:
        return "mails"
    for base, prefix in ((root / "src", "src/"), (root, "")):
        if not base.is_dir():
            continue
        found = sorted(
            one.name
            for one in base.iterdir()
            if (one / "__init__.py").is_file() and one.name not in _NOT_PACKAGES
        )
        if len(found) == 1:
            return f"{prefix}{found[0]}/mails"
    return "mails"


def check_package(folder: str) -> None:
    """Refuse what is no path of Python names below the application.

    Raises:
        ConfigError: ``invalid``.

    """
    if not all(part.isidentifier() for part in folder.split("/")):
        raise ConfigError(
            "the package for the mails is no path of Python names",
            type=ConfigErrorType.INVALID,
            key="package",
            hint="Give it as in --package src/shop/mails.",
        )


def _django_settings(root: Path) -> str:
    manage = root / "manage.py"
    found = _SETTINGS_MODULE.search(_read(manage)) if manage.is_file() else None
    path = f"{found[1].replace('.', '/')}.py" if found else ""
    if not path or not (root / path).is_file():
        raise ConfigError(
            "Django's settings are not found",
            type=ConfigErrorType.MISSING,
            key="framework",
            hint="Run it beside manage.py, whose DJANGO_SETTINGS_MODULE names a file there; "
            "or install with --framework plain.",
        )
    return path


def _django_urls(root: Path, settings: str) -> str | None:
    """Return the file that the settings name as the root of the addresses, where it is there."""
    found = _ROOT_URLCONF.search(_read(root / settings))
    path = f"{found[1].replace('.', '/')}.py" if found else ""
    return path if path and (root / path).is_file() else None


def _texts(
    root: Path, folder: str, settings: str | None, urls: str | None
) -> Iterable[tuple[str, str]]:
    """Yield what is in the package and every other file that a plan may touch."""
    wanted = {root / name for name in (".env.example", ".mailglass-install.toml")}
    wanted |= set((root / "tests").glob("test_mails.py*")) | set(root.glob(".env.example*"))
    wanted |= {path for path in (root / folder).rglob("*") if "__pycache__" not in path.parts}
    for name in filter(None, (settings, urls)):
        wanted |= set((root / name).parent.glob(f"{Path(name).name}*"))
    for path in sorted(wanted):
        if path.is_file():
            yield path.relative_to(root).as_posix(), _read(path)


def _read(path: Path) -> str:
    if path.stat().st_size > _FILE_BYTES_MAX:
        raise ConfigError(
            f"{path.name} is larger than 1 MB", type=ConfigErrorType.INVALID, key="project"
        )
    # Line ends stay as they are: what is written back must be the user's own to the letter.
    with path.open(encoding="utf-8", newline="", errors="surrogateescape") as file:
        return file.read()
