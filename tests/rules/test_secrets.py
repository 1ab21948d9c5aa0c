"""Secrets are compared so that the time it takes tells nothing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests_paths import PACKAGE

_SECRET: Final = re.compile(
    r"(^|_)(signatures?|secrets?|passwords?|credentials?|macs?|digests?|tag)$"
)
FOLDERS: Final = ("adapters", "webhooks", "web", "contrib", "inbound", "compliance")
FILES: Final = [
    *(PACKAGE / name for name in ("webhook.py", "tokens.py")),
    *(path for folder in FOLDERS for path in sorted((PACKAGE / folder).rglob("*.py"))),
]


def _names(node: ast.expr) -> Iterator[str]:
    """Return what a side of a comparison speaks of; how long something is tells no more."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "len":
        return
    for one in ast.walk(node):
        if isinstance(one, ast.Name):
            yield one.id
        elif isinstance(one, ast.Attribute):
            yield one.attr


def _compared(text: str) -> list[str]:
    """Return the comparisons by ``==`` and ``!=`` of what is named like a secret with a value."""
    return [
        ast.unparse(node)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Compare)
        and any(isinstance(one, ast.Eq | ast.NotEq) for one in node.ops)
        and not any(isinstance(one, ast.Constant) for one in (node.left, *node.comparators))
        and any(_SECRET.search(name) for one in (node.left, *node.comparators) for name in _names(one))
    ]  # fmt: skip


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_secrets_are_compared_in_constant_time(path: Path) -> None:
    """Django-anymail #90 (CVE-2018-6596): with ``compare_digest`` alone, and never by ``==``."""
    assert _compared(path.read_text("utf-8")) == []


def test_the_rule_sees_a_comparison() -> None:
    """It can fail."""
    assert _compared("if given_signature == expected:\n    pass") == ["given_signature == expected"]
