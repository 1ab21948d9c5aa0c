"""Who may import whom."""

from __future__ import annotations

import sys

import pytest

import structure


def test_every_import_comes_from_a_lower_floor() -> None:
    """A module knows what it stands on, never its neighbours or what stands on it."""
    assert structure.floor_breaches(structure.sources()) == []


def test_every_third_party_package_has_one_owner() -> None:
    """A package is replaced in one place."""
    assert structure.owner_breaches(structure.sources(), sys.stdlib_module_names) == []


@pytest.mark.parametrize(
    "planted",
    [
        "from mailglass.app import Mailglass\n",
        "import mailglass.cli.group\n",
        "def late():\n    from mailglass.delivery import freeze\n",
        "from mailglass import ledger\n",
        "from mailglass.preflight import run\n",
    ],
)
def test_a_planted_upward_import_is_found(planted: str) -> None:
    """The test of the floors can fail, inside functions as well."""
    assert structure.floor_breaches({"rendering/planted.py": planted}) != []


@pytest.mark.parametrize(
    "planted", ["import psycopg\n", "def f():\n    from requests import get\n"]
)
def test_a_planted_foreign_package_is_found(planted: str) -> None:
    """The test of the owners can fail."""
    assert structure.owner_breaches({"rendering/x.py": planted}, sys.stdlib_module_names) != []
