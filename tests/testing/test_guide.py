"""The page on testing: the tests that it shows, run by a real pytest in an empty project."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from guides import blocks_of
from mailglass.ledger.scratch import VARIABLE
from tests_paths import ROOT


def test_the_tests_that_the_guide_shows_pass(tmp_path: Path, postgres_server: object) -> None:
    """All of them, with the guard on as the page has it."""
    for block in blocks_of((ROOT / "guides" / "testing.md").read_text("utf-8")):
        if block.file is not None:
            (tmp_path / block.file).write_text(block.code, "utf-8")
    url = postgres_server.url(postgres_server.maintenance_database)  # type: ignore[attr-defined]  # TestServer of the root conftest
    told = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], VARIABLE: url},
        capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert "10 passed" in told.stdout, told.stdout + told.stderr
