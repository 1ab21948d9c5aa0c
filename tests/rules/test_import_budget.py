"""What an import may cost."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "premailer",
    "lxml",
    "cssutils",
    "requests",
    "dramatiq",
    "cryptography",
    "starlette",
    "httpx2",
)


def _loaded_after(code: str) -> set[str]:
    shown = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    return {name.split(".")[0] for name in shown.split()}


def test_importing_mailglass_loads_nothing_heavy() -> None:
    """An application pays for a part when it uses it."""
    assert _loaded_after("import mailglass").isdisjoint({*HEAVY, "psycopg", "jinja2", "pydantic"})


def test_defining_a_mailable_loads_nothing_heavy() -> None:
    """Mailables are imported by every process that might send."""
    assert _loaded_after("from mailglass import Mailable").isdisjoint({*HEAVY, "psycopg", "jinja2"})


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_loads_no_driver_and_no_renderer(arguments: list[str]) -> None:
    """The command line answers at once."""
    code = (
        f"import sys; sys.argv = ['mailglass', *{arguments!r}]\n"
        "import contextlib, io\n"
        "from mailglass.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    main()\n"
    )
    assert _loaded_after(code).isdisjoint({*HEAVY, "psycopg", "jinja2", "pydantic"})


def test_a_planted_heavy_import_is_seen() -> None:
    """The budget can be broken."""
    assert "lxml" in _loaded_after("import mailglass, lxml")
