"""The guide speaks of every check, at the anchor that a finding names."""

from __future__ import annotations

from mailglass.doctor import CHECKS
from tests_paths import ROOT

GUIDE = (ROOT / "guides" / "doctor.md").read_text("utf-8")


def test_every_check_has_its_section_and_no_other_is_there() -> None:
    """In the order in which they run, with the same advice."""
    sections = GUIDE.split("\n## ")[1:]
    assert [one.partition("\n")[0] for one in sections] == [
        check.guide.partition("#")[2] for check in CHECKS
    ]
    for check, section in zip(CHECKS, sections, strict=True):
        assert f"`{check.id}`: {check.title}." in section
        assert check.fix in section
