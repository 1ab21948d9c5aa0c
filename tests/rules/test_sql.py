"""The SQL: in files, each query planned, used and with every parameter cast."""

from __future__ import annotations

import ast
import re

import psycopg
import pytest

from mailglass.ledger.sql import queries
from tests_paths import PACKAGE

PARAMETER = re.compile(r"%\((\w+)\)[sb]")
STATEMENT = re.compile(
    r"^\s*(select|insert|update|delete|truncate|with|alter|create|drop)\s", re.IGNORECASE
)
ALL = {**queries(), **{f"demo.{name}": text for name, text in queries("demo").items()}}


@pytest.mark.parametrize("name", sorted(queries()))
def test_every_query_plans_against_the_migrated_schema(name: str, database_url: str) -> None:
    """A query that names a missing column fails here, not at three in the morning."""
    text = queries()[name]
    nothing = dict.fromkeys(PARAMETER.findall(text))
    with psycopg.connect(database_url, autocommit=True) as connection:
        plan = "" if text.startswith("listen ") else "explain "  # what has no plan is run
        connection.execute(f"{plan}{text}".encode(), nothing)


@pytest.mark.parametrize("name", sorted(queries()))
def test_every_query_is_used(name: str) -> None:
    """A query that nobody runs is removed."""
    users = [path for path in PACKAGE.rglob("*.py") if f'"{name}"' in path.read_text("utf-8")]
    assert users != []


@pytest.mark.parametrize("name", sorted(ALL))
def test_every_parameter_is_cast_and_every_table_qualified(name: str) -> None:
    """No statement relies on guessing a type or on the search path."""
    text = ALL[name]
    assert re.findall(r"%\(\w+\)[sb](?!::)", text) == []
    ours = (
        "(messages|deliveries|events|event_keys|report_keys|suppressions|webhook_receipts|limit_states"
        "|adapter_paces|migrations)"
    )
    assert (
        re.findall(rf"\b(?:from|join|into|update|truncate|table) {ours}\b", text, re.IGNORECASE)
        == []
    )


def _sql_literals(source: str) -> list[str]:
    return [
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and STATEMENT.match(node.value)
        and re.search(r"\b(from|into|set|table|values)\b", node.value, re.IGNORECASE)
    ]


def test_no_sql_stands_in_python() -> None:
    """Statements are in files, where a database person reads them."""
    for path in PACKAGE.rglob("*.py"):
        assert _sql_literals(path.read_text("utf-8")) == [], path.name


def test_planted_sql_in_python_is_found() -> None:
    """The test above can fail."""
    assert _sql_literals('x = "select 1 from mailglass.events"') != []
