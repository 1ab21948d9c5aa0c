"""The promises of docs/api_stability.md against the code."""

from __future__ import annotations

import re
from dataclasses import fields

import mailglass
from mailglass.errors import ERROR_TYPES, SignatureErrorType
from mailglass.events import EventType
from tests_paths import ROOT

TEXT = (ROOT / "docs" / "api_stability.md").read_text("utf-8")


def _table(heading: str) -> list[list[str]]:
    section = TEXT.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip().strip("`") for cell in row] for row in rows[2:]]


def _names(cell: str) -> list[str]:
    return re.findall(r"\w+", cell)


def test_error_table_is_the_code() -> None:
    """Every class, type and field is promised, and nothing else is."""
    promised = {row[0]: (_names(row[1]), _names(row[3])) for row in _table("Errors")}
    actual = {
        cls.__name__: (
            [one.value for one in types],
            [f.name for f in fields(cls) if f.name not in {"message", "type"}],
        )
        for cls, types in ERROR_TYPES.items()
    }
    assert promised == actual


def test_aliases_are_promised() -> None:
    """The three older names of signature errors stay."""
    for alias in ("missing", "malformed", "mismatch"):
        assert f"`{alias}`" in TEXT
        assert SignatureErrorType(alias) in set(SignatureErrorType)


def test_event_types_are_promised() -> None:
    """The list of event types is the enum."""
    assert [row[0] for row in _table("Event types")] == [one.value for one in EventType]


def test_public_names_are_promised() -> None:
    """The list of public names is ``__all__``."""
    section = TEXT.split("## Public names\n", 1)[1].split("\n## ", 1)[0]
    listed = section.split("Also stable", 1)[0]
    assert sorted(re.findall(r"`(\w+)`", listed)) == sorted(mailglass.__all__)


def test_the_document_stays_short() -> None:
    """Promises and nothing else."""
    assert len(TEXT.splitlines()) <= 300
