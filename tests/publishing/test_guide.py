"""The guide and the checks: each check has its heading, and each heading its check."""

from __future__ import annotations

import re
from pathlib import Path

from mailglass.publishing import Candidate, examine
from mailglass.rendering.render import Renderer
from tests_paths import ROOT


def test_every_check_has_its_heading(tmp_path: Path) -> None:
    """Where a finding says to read on, there is something to read."""
    candidate = Candidate(mailables=[], renderer=Renderer(), goldens=tmp_path, root=tmp_path)
    page = (ROOT / "guides" / "publish-check.md").read_text("utf-8")
    headings = re.findall(r"^### (\w+)$", page, re.MULTILINE)
    assert headings == [one.id for one in examine(candidate).results]
