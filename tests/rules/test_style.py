"""What the linter does not see: size, and words that stand for unfinished work."""

from __future__ import annotations

import ast

import pytest

from tests_paths import PACKAGE, ROOT

FILES = sorted(PACKAGE.rglob("*.py"))
FUNCTION_LINES_MAX = 90
"""Fifty lines of work; signatures and docstrings of public verbs come on top."""
FILE_LINES_MAX = 480


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_module_says_what_it_is_for_and_stays_small(path: object) -> None:
    """A file holds one noun."""
    text = path.read_text("utf-8")  # type: ignore[attr-defined]  # a Path, from FILES
    tree = ast.parse(text)
    assert ast.get_docstring(tree)
    assert len(text.splitlines()) <= FILE_LINES_MAX
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno <= FUNCTION_LINES_MAX, node.name


def test_no_work_is_left_for_later() -> None:
    """What is not done is not in the code."""
    words = (("TO", "DO"), ("FIX", "ME"), ("NotImplemented", "Error"), ("unittest.", "mock"))
    marks = ["".join(word) for word in words]
    for folder in ("mailglass", "tests", "scripts", "sql"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and path.suffix in {".py", ".sql", ".sh", ""}:
                text = path.read_text("utf-8", errors="replace")
                assert not [mark for mark in marks if mark in text], path
