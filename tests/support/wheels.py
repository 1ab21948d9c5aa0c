"""Builds the wheel without a network, says what should be in it, and installs it by itself."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final
from zipfile import ZipFile

from tests_paths import ROOT

BUILD: Final = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"
ALLOWED: Final = frozenset({".jinja", ".lua", ".png", ".py", ".sql", ".txt", ".typed"})
"""What the package is made of; anything else was left lying about."""
INFO: Final = frozenset({"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"})
NEEDED: Final = frozenset(
    {
        "mailglass/_sql/migrations/0001_ledger.sql",
        "mailglass/_sql/queries/ledger.sql",
        "mailglass/installer/templates/common/package.py.txt",
        "mailglass/py.typed",
        "mailglass/rendering/components/components.html.jinja",
        "mailglass/web/templates/page.html.jinja",
    }
)
"""One of each kind that a build could lose, named here so that losing the source is seen too."""


def build(folder: Path) -> Path:
    """Build the wheel with the backend that is installed, and return its file."""
    subprocess.run(
        [sys.executable, "-c", BUILD, str(folder)], cwd=ROOT, check=True, timeout=120,
        capture_output=True,
    )  # fmt: skip
    (found,) = folder.glob("*.whl")
    return found


def expected() -> frozenset[str]:
    """Return every file that the checkout has for the wheel."""
    return frozenset(
        [
            *_files(ROOT / "mailglass", "mailglass"),
            *_files(ROOT / "sql", "mailglass/_sql"),
        ]
    )


def faults(names: Collection[str], wanted: Collection[str]) -> list[str]:
    """Return what is in a wheel and should not be, and what is missing; ``wanted`` are its files."""
    info = {name for name in names if name.partition("/")[0].endswith(".dist-info")}
    files = set(names) - info
    odd = {name for name in files if Path(name).suffix not in ALLOWED}
    return sorted(
        [
            *(f"missing: {name}" for name in (set(wanted) | NEEDED) - files),
            *(f"not wanted: {name}" for name in (files - set(wanted)) | odd),
            *(f"missing: {name}" for name in INFO - {one.partition("/")[2] for one in info}),
            *(f"not wanted: {one}" for one in info if one.partition("/")[2] not in INFO),
        ]
    )


def names_in(wheel: Path) -> list[str]:
    """Return the files of a wheel."""
    with ZipFile(wheel) as archive:
        return archive.namelist()


def installed_alone(wheel: Path, folder: Path) -> Path:
    """Return the Python of a new environment that has the wheel, and of ours only what it needs.

    The packages of this environment are reached by a path file. It is not read for path files of its
    own, so the checkout that is installed here as editable stays out of sight.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    site = next(folder.glob("lib*/python*/site-packages"))
    with ZipFile(wheel) as archive:
        archive.extractall(site)
    (site / "packages_of_the_tests.pth").write_text(sysconfig.get_path("purelib") + "\n", "utf-8")
    return folder / "bin" / "python"


def _files(folder: Path, name: str) -> Iterator[str]:
    for path in folder.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield f"{name}/{path.relative_to(folder).as_posix()}"
