"""The demo, run as a user runs it, on a database that was named and on the embedded one."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import psycopg

from front_desk import count

ARGUMENTS = [sys.executable, "-c", "from mailglass.cli import main; main()", "demo"]
OK = "demo ok: 6 sent, 1 failed, 3 refused, 3 attempts on the ledger refused"


def _environ(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAILGLASS_")}
    kept.pop("DATABASE_URL", None)
    return kept | more


def test_the_demo_tells_its_story_and_ends_well(database_url: str) -> None:
    """Real mail over real SMTP, refusals of each kind, an untouched ledger."""
    told = subprocess.run(
        ARGUMENTS, env=_environ(MAILGLASS_DATABASE_URL=database_url),
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert told.stderr == ""
    assert told.returncode == 0
    lines = told.stdout.splitlines()
    assert lines[-1] == OK
    for expected in (
        "SuppressedError(address)", "StreamPolicyError(stream_policy_violated)",
        "RateLimitError(per_domain)", "(550 5.7.1)", "queued after 451 4.3.2",
        "EventLedgerImmutableError(update_attempt) SQLSTATE 45A01",
        "EventLedgerImmutableError(delete_attempt) SQLSTATE 45A01",
        "EventLedgerImmutableError(truncate_attempt) SQLSTATE 45A01",
        "every hash chain is whole", "each equals its frozen payload byte for byte",
    ):  # fmt: skip
        assert expected in told.stdout, expected
    assert len([line for line in lines if re.search(r"bytes, sha256 [0-9a-f]{16}", line)]) == 6
    assert count(database_url, "deliveries") == 8


def test_the_demo_never_migrates_a_foreign_database_unasked(postgres_server: object) -> None:
    """It says what to do and leaves the database as it was."""
    name = "mg_test_foreign"
    postgres_server.execute("CREATE DATABASE {name}", name=name)  # type: ignore[attr-defined]  # a TestServer
    url = postgres_server.url(name)  # type: ignore[attr-defined]  # a TestServer
    try:
        told = subprocess.run(
            ARGUMENTS, env=_environ(DATABASE_URL=url), capture_output=True, text=True, check=False,
            timeout=120,
        )  # fmt: skip
        assert told.returncode == 1
        assert "--migrate" in told.stderr
        with psycopg.connect(url) as connection:
            found = connection.execute("select to_regnamespace('mailglass')").fetchone()
        assert found == (None,)
    finally:
        postgres_server.drop(name)  # type: ignore[attr-defined]  # a TestServer


def test_keep_stays_up_until_it_is_told_to_end(database_url: str) -> None:
    """--keep says how to look and waits."""
    with subprocess.Popen(
        [*ARGUMENTS, "--keep"], env=_environ(MAILGLASS_DATABASE_URL=database_url),
        stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        told = []
        for line in process.stdout:
            told.append(line)
            if line.startswith("demo ok"):
                break
        assert process.poll() is None
        assert any("mailglass events " in line for line in told)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
