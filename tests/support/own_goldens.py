"""Compares what mailglass makes of itself with its goldens; accepts only where it is told to."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mailglass.publishing import accept, compare, read_goldens
from tests_paths import ROOT

GOLDENS: Final = ROOT / "goldens"
ACCEPTS: Final = "MAILGLASS_TEST_ACCEPT_GOLDENS"
"""What ``scripts/publish-check --accept`` sets."""
SUFFIXES: Final = frozenset({".txt", ".sql"})


def kept(name: str, *, goldens: Path = GOLDENS) -> str:
    """Return one golden; an empty text where there is none."""
    path = goldens / name
    return path.read_text("utf-8") if path.is_file() else ""


def check_one(name: str, made: str, *, goldens: Path = GOLDENS) -> None:
    """Compare one golden.

    Raises:
        AssertionError: with the unified diff.

    """
    path = goldens / name
    before = {name: path.read_text("utf-8")} if path.is_file() else {}
    _settle(goldens, before, {name: made})


def check_folder(name: str, made: Mapping[str, str], *, goldens: Path = GOLDENS) -> None:
    """Compare all goldens of a folder; one that nothing makes is stale.

    Raises:
        AssertionError: with the unified diff.

    """
    folder = goldens / name
    _settle(folder, read_goldens(folder, SUFFIXES), made)


def _settle(folder: Path, before: Mapping[str, str], made: Mapping[str, str]) -> None:
    differences = compare(before, made)
    if not differences:
        return
    diff = "".join(one.diff for one in differences)
    if os.environ.get(ACCEPTS) == "1":
        sys.stdout.write(diff)
        accept(folder, differences)
        return
    names = ", ".join(f"{one.kind} {one.path}" for one in differences)
    raise AssertionError(f"{names}\n{diff}")
