"""What is installed into each kind of application, as a person reviews it; and that it works."""

from __future__ import annotations

import compileall
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from applications import APPLICATIONS, tree, write
from mailglass.installer import Framework, apply, plan, read_project
from tests_paths import ROOT

GOLDENS = ROOT / "goldens" / "install"
WRITES = "MAILGLASS_TEST_WRITE_GOLDENS"
LOOK = """
import sys
from importlib import import_module
from mailglass.rendering.render import Renderer
from mailglass import Mailable
module = import_module(sys.argv[1])
for name in sys.argv[2:]:
    import_module(name)
for kind in (getattr(module, name) for name in module.__all__):
    for mail in kind.previews().values():
        message = Renderer().render(mail)
        print(message.subject, "Open your account" in message.text, "<h1" in message.html)
"""


def _installed(case: str, root: Path) -> Path:
    write(root, APPLICATIONS[case])
    apply(plan(read_project(root)), root)
    return root


@pytest.mark.parametrize("case", sorted(APPLICATIONS))
def test_the_framework_is_found(case: str, tmp_path: Path) -> None:
    """By manage.py, or by what the application requires."""
    assert read_project(write(tmp_path, APPLICATIONS[case])).framework is Framework(case)


@pytest.mark.parametrize("case", sorted(APPLICATIONS))
def test_the_installed_tree_is_the_golden_one(case: str, tmp_path: Path) -> None:
    """Set MAILGLASS_TEST_WRITE_GOLDENS=1 to write the goldens anew, and review them."""
    found = tree(_installed(case, tmp_path))
    if os.environ.get(WRITES):
        shutil.rmtree(GOLDENS / case, ignore_errors=True)
        write(GOLDENS / case, found)
    assert found == tree(GOLDENS / case)


@pytest.mark.parametrize("case", sorted(APPLICATIONS))
def test_the_golden_compiles_imports_and_renders(case: str, tmp_path: Path) -> None:
    """What a newcomer gets works before anything is changed."""
    root = tmp_path / case
    shutil.copytree(GOLDENS / case, root)
    assert compileall.compile_dir(root, quiet=2)
    project = read_project(root)
    more = [] if case == "django" else [f"{project.module}.desk", f"{project.module}.worker"]
    told = subprocess.run(
        [sys.executable, "-c", LOOK, project.module, *more],
        env={"PYTHONPATH": os.pathsep.join([str(root), str(root / "src"), str(ROOT)])},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert told.stdout.splitlines() == ["Welcome, Zoë True True"], told.stderr


def test_the_installed_test_passes(tmp_path: Path, postgres_server: object) -> None:
    """The test that is installed beside the mails sends one on a database of its own."""
    root = _installed("plain", tmp_path)
    url = postgres_server.url(postgres_server.maintenance_database)  # type: ignore[attr-defined]  # TestServer of the root conftest
    told = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests",
         "-p", "mailglass.testing.plugin"],
        cwd=root, env={"PYTHONPATH": os.pathsep.join([str(root), str(ROOT)]),
                       "MAILGLASS_TEST_DATABASE_URL": url,
                       "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert "2 passed" in told.stdout, told.stdout + told.stderr
