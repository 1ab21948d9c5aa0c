"""The README's first example runs as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests_paths import ROOT

README = (ROOT / "README.md").read_text("utf-8")


def _block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_first_mail_is_sent(tmp_path: Path, database_url: str) -> None:
    """A newcomer pastes it and sees three events."""
    (tmp_path / "first_mail.py").write_text(_block("python"), "utf-8")
    (tmp_path / "receipt.html.jinja").write_text(_block("html"), "utf-8")
    told = subprocess.run(
        [sys.executable, str(tmp_path / "first_mail.py")],
        env={"MAILGLASS_DATABASE_URL": database_url, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert told.stderr == ""
    assert told.stdout.splitlines() == ["1 queued", "2 attempt_started", "3 dispatched"]


def test_the_two_commands_are_there() -> None:
    """What the README names exists and can be run."""
    for name in ("demo", "test"):
        assert f"scripts/{name}" in _block("sh")
        assert (ROOT / "scripts" / name).stat().st_mode & 0o111


def test_every_link_leads_somewhere() -> None:
    """No dead link inside the project."""
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
