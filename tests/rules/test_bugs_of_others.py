"""The list of others' bugs cannot rot: each has tests, and each of those tests is there."""

from __future__ import annotations

import ast
from functools import cache

import pytest

from bugs_of_others import BUGS
from tests_paths import ROOT

OUR_NAMESAKES = 14
OTHERS = 52


@cache
def _tests_of(path: str) -> dict[str, str | None]:
    tree = ast.parse((ROOT / "tests" / path).read_text("utf-8"))
    return {
        node.name: ast.get_docstring(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_every_row_is_there() -> None:
    """Sixty-six rows, none left out."""
    wanted = [f"M{number}" for number in range(1, OUR_NAMESAKES + 1)]
    assert list(BUGS) == wanted + [str(number) for number in range(1, OTHERS + 1)]


@pytest.mark.parametrize("row", BUGS)
def test_every_bug_is_shown_to_be_absent(row: str) -> None:
    """By at least one test that exists under that name and says what it shows."""
    bug = BUGS[row]
    assert bug.where
    assert bug.tests
    for node in bug.tests:
        path, _, name = node.partition("::")
        assert _tests_of(path).get(name), node
