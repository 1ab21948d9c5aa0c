"""The SQL files: where they are, in a wheel as in a checkout, and the named queries in them."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Final

_SHIPPED: Final = Path(__file__).parent.parent / "_sql"
_CHECKOUT: Final = Path(__file__).parent.parent.parent / "sql"
_NAME: Final = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def sql_folder() -> Path:
    """Return the folder that holds ``migrations`` and ``queries``.

    A wheel carries it inside the package; an editable install reads the checkout's own.
    """
    return _SHIPPED if _SHIPPED.is_dir() else _CHECKOUT


@cache
def queries(folder: str = "queries") -> dict[str, str]:
    """Return every named query of a folder below ``sql``; a name stands once in it."""
    found: dict[str, str] = {}
    for path in sorted((sql_folder() / folder).glob("*.sql")):
        parts = _NAME.split(path.read_text(encoding="utf-8"))
        for name, body in zip(parts[1::2], parts[2::2], strict=True):
            if name in found:
                raise ValueError(
                    f"the query {name} is defined twice, the second time in {path.name}"
                )
            found[name] = _without_comments(body)
    return found


def query(name: str) -> str:
    """Return one named query, as psycopg takes it: ``%(name)s`` parameters."""
    return queries()[name]


def _without_comments(body: str) -> str:
    """Return a statement without what stands for people alone; psycopg keeps shorter ones parsed."""
    lines = (line.strip() for line in body.strip().splitlines())
    return "\n".join(line for line in lines if not line.startswith("--")).rstrip(";")
