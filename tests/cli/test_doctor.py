"""``mailglass doctor``: what it prints and exits with."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest


def _run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAILGLASS_")}
    kept.pop("DATABASE_URL", None)
    return subprocess.run(
        [sys.executable, "-c", "from mailglass.cli import main; main()", "doctor", *arguments],
        env=kept | environ, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_the_command_tells_each_check_and_exits_by_the_worst(database_url: str) -> None:
    """0 without errors, 1 with one, 1 for a warning with --strict."""
    told = _run("mailglass.demo.mailables:Receipt", MAILGLASS_DATABASE_URL=database_url,
                MAILGLASS_DATABASE_ROLE="mailglass_app")  # fmt: skip
    assert told.returncode == 0, told.stdout + told.stderr
    assert "ok    database.migrated" in told.stdout
    assert "ok    mail.previews_render" in told.stdout
    strict = _run("--strict", MAILGLASS_DATABASE_URL=database_url)
    assert strict.returncode == 1
    assert "WARN  database.role_is_superuser" in strict.stdout
    bad = _run("--json", MAILGLASS_DATABASE_URL="postgresql://app:canary7f3a@127.0.0.1:1/none")
    assert bad.returncode == 1
    found = {one["id"]: one for one in json.loads(bad.stdout)["checks"]}
    assert found["database.reachable"]["status"] == "error"
    assert found["database.reachable"]["guide"] == "guides/doctor.md#database-reachable"
    assert found["database.migrated"]["status"] == "cannot_verify"
    assert "canary7f3a" not in bad.stdout + bad.stderr


def test_settings_that_do_not_load_are_one_finding() -> None:
    """Not a traceback."""
    told = _run(MAILGLASS_ADAPTER="smtp")
    assert told.returncode == 1
    assert "FAIL  settings.load: the SMTP adapter needs a host" in told.stdout
    unnamed = _run(MAILGLASS_ENVIRONMENT="production")
    assert "FAIL  database.reachable: no database is named" in unnamed.stdout


@pytest.mark.parametrize(
    "arguments", [["--ip", "nonsense"], ["--quiet-minutes", "0"], ["no.module"]]
)
def test_misuse_exits_2(arguments: list[str]) -> None:
    """As with every command."""
    assert _run(*arguments).returncode == 2
