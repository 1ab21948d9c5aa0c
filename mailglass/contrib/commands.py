"""The command line inside a framework's own, with the framework's settings as its environment."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any

from mailglass.ledger.database import SAID_BY, VARIABLES
from mailglass.settings import PREFIX


def run(arguments: Sequence[str], settings: Mapping[str, Any], *, said_by: str) -> None:
    """Run ``mailglass`` with arguments; settings become variables where those are not set.

    ``said_by`` is what a line about the database calls the place of these settings.

    Raises:
        SystemExit: always, with the command's exit code.

    """
    if settings.get("database_url") is not None and VARIABLES[0] not in os.environ:
        os.environ[SAID_BY] = said_by
    for name, value in settings.items():
        if value is not None:
            os.environ.setdefault(f"{PREFIX}{name.upper()}", _variable(value))
    before, sys.argv = sys.argv, ["mailglass", *arguments]
    try:
        import_module("mailglass.cli").main()
    finally:
        sys.argv = before


def _variable(value: object) -> str:
    reveal = getattr(value, "get_secret_value", None)
    plain = reveal() if reveal is not None else value
    if isinstance(plain, Enum):
        plain = plain.value
    if isinstance(plain, str | Path):
        return str(plain)
    return json.dumps(plain, default=str)
