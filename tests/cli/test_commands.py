"""The commands: what they print, what they exit with."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from uuid import uuid4

import psycopg
import pytest

from front_desk import front_desk, note
from mailglass import __version__
from mailglass.cli import failures, worker


def _run(
    *arguments: str, url: str | None = None, **environ: str
) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAILGLASS_")}
    kept.pop("DATABASE_URL", None)
    if url is not None:
        kept["MAILGLASS_DATABASE_URL"] = url
    return subprocess.run(
        [sys.executable, "-c", "from mailglass.cli import main; main()", *arguments],
        env=kept | environ, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_help_and_version() -> None:
    """The first things that anybody types."""
    assert _run("--version").stdout.strip() == f"mailglass, version {__version__}"
    told = _run("--help")
    assert told.returncode == 0
    for name in ("migrate", "demo", "deliveries", "events"):
        assert name in told.stdout
        assert _run(name, "--help").returncode == 0


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["events"], ["events", "not-an-id"], ["deliveries", "--state", "nonsense"],
     ["migrate", "--sql", "--check"], ["--nonsense"], ["deliveries", "--limit", "0"]],
)  # fmt: skip
def test_misuse_exits_2(arguments: list[str]) -> None:
    """And says what is wrong, without a traceback."""
    told = _run(*arguments)
    assert told.returncode == 2
    assert "Error" in told.stderr
    assert "Traceback" not in told.stderr


def test_deliveries_and_events_of_a_mail(database_url: str) -> None:
    """Support looks up what happened, in text and in JSON."""
    with front_desk(database_url) as mail:
        delivery = mail.deliver(note(to="canary@mail.example"))
    listed = _run("deliveries", url=database_url)
    assert listed.returncode == 0
    assert str(delivery.id) in listed.stdout
    assert "sent" in listed.stdout
    shown = json.loads(_run("deliveries", str(delivery.id), "--json", url=database_url).stdout)
    assert shown[0]["id"] == str(delivery.id)
    assert shown[0]["payload_sha256"] == delivery.payload_sha256.hex()
    events = _run("events", str(delivery.id), url=database_url)
    assert [line.split()[3] for line in events.stdout.splitlines()] == [
        "queued", "attempt_started", "dispatched",
    ]  # fmt: skip
    told = json.loads(_run("events", str(delivery.id), "--json", url=database_url).stdout)
    assert [one["seq"] for one in told["events"]] == [1, 2, 3]
    assert told["broken"] == []
    everything = listed.stdout + events.stdout + json.dumps(shown) + json.dumps(told)
    assert "canary" not in everything
    assert _run("deliveries", "--state", "failed", url=database_url).stdout == ""
    assert _run("events", str(delivery.id), "--tenant", "other", url=database_url).returncode == 1


@pytest.mark.tampers
def test_a_broken_chain_is_told_with_exit_1(database_url: str) -> None:
    """Row 88: the command that people run every day says so."""
    with front_desk(database_url) as mail:
        delivery = mail.deliver(note())
    with psycopg.connect(database_url, autocommit=True) as superuser:
        for name in ("ddl", "drop", "rewrite"):
            superuser.execute(f"alter event trigger mailglass_refuse_{name} disable".encode())
        superuser.execute("alter table mailglass.events disable trigger all")
        superuser.execute("update mailglass.events set type = 'delivered' where seq = 3")
    told = _run("events", str(delivery.id), url=database_url)
    assert told.returncode == 1
    assert "BROKEN at event 3: changed_event" in told.stdout


def test_an_id_that_is_not_there_exits_1(database_url: str) -> None:
    """Refused, not misused."""
    for command in ("deliveries", "events"):
        told = _run(command, str(uuid4()), url=database_url)
        assert told.returncode == 1
        assert "there is no delivery" in told.stderr


def test_migrate_applies_checks_and_prints(database_url: str) -> None:
    """Up to date is 0; the SQL is printed without a database."""
    assert _run("migrate", url=database_url).stdout == "up to date\n"
    assert _run("migrate", "--check", url=database_url).returncode == 0
    printed = _run("migrate", "--sql")
    assert printed.returncode == 0
    assert "create table mailglass.events" in printed.stdout
    with psycopg.connect(database_url) as owner:
        owner.execute("delete from mailglass.migrations where name like '0002%'")
    told = _run("migrate", "--check", url=database_url)
    assert told.returncode == 1
    assert told.stdout.splitlines() == ["pending: 0002_ledger_guard", "not up to date"]


def test_a_database_that_is_down_is_one_line_a_hint_and_exit_2() -> None:
    """No traceback at three in the morning, unless asked for; and never the password."""
    url = "postgresql://u:canary@127.0.0.1:1/none"
    told = _run("migrate", url=url)
    assert told.returncode == 2
    assert told.stderr.splitlines()[-2:] == [
        "mailglass: database none on 127.0.0.1:1 cannot be reached: Connection refused [OperationalError]",
        "  Start PostgreSQL there, or correct host and port in MAILGLASS_DATABASE_URL or --database-url.",
    ]
    assert "Traceback" not in told.stderr
    assert "canary" not in told.stderr
    assert "Traceback" in _run("--debug", "migrate", url=url).stderr
    assert "Traceback" in _run("migrate", "--debug", url=url).stderr


def test_a_database_that_is_not_there_is_told_by_its_name(database_url: str) -> None:
    """The server answers, and there is none of that name."""
    told = _run("deliveries", url=database_url.replace("mg_test_", "mg_gone_"))
    assert told.returncode == 2
    assert re.search(r'cannot be reached: database "mg_gone_\w+" does not exist', told.stderr)
    assert (
        told.stderr.splitlines()[-1] == "  Create it with createdb, then run `mailglass migrate`."
    )


def test_a_role_that_is_not_there_is_told(database_url: str) -> None:
    """MAILGLASS_DATABASE_ROLE names nobody."""
    told = _run("reconcile", url=database_url, MAILGLASS_DATABASE_ROLE="nobody_has_this")
    assert told.returncode == 2
    assert 'role "nobody_has_this" does not exist' in told.stderr
    assert "MAILGLASS_DATABASE_ROLE" in told.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ('failed: FATAL:  password authentication failed for user "shop"', "Correct user and password"),
        ("failed: fe_sendauth: no password supplied", "Correct user and password"),
        ('failed: FATAL:  no pg_hba.conf entry for host "192.0.2.1"', "Let this host in"),
        ("failed: FATAL:  sorry, too many clients already", "Lower MAILGLASS_DATABASE_CONNECTIONS_MAX"),
        ("failed: FATAL:  the database system is starting up", "Wait until"),
        ("timeout expired", "Look at the firewall"),
        ('failed: server certificate for "a" does not match host name', "Correct sslmode"),
        ("failed: something else", "Look at MAILGLASS_DATABASE_URL"),
    ],
)  # fmt: skip
def test_what_postgres_says_has_advice(said: str, hint: str) -> None:
    """In the words of libpq and the server."""
    text, code = failures.told(psycopg.OperationalError(f"connection {said}\nand more"))
    line, advice = text.splitlines()
    assert code == 2
    assert line.startswith("mailglass: the database cannot be reached: ")
    assert advice.startswith(f"  {hint}")


def test_a_connection_that_is_lost_on_the_way_is_no_wrong_setting() -> None:
    """Exit code 1: the same command may do tomorrow."""
    lost = psycopg.OperationalError("consuming input failed: server closed the connection")
    text, code = failures.told(lost)
    assert code == 1
    assert text.startswith("mailglass: OperationalError: consuming input failed")


def test_a_worker_process_tells_of_a_database_that_is_away(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With the same advice; exit code 1, since another start may find the database."""
    url = "postgresql://u:canary@127.0.0.1:1/none"
    work = worker._Work(database_url=url, threads=1, streams=None, drain=True)
    assert work.run_as_child(threading.Event()) == 1
    said, hint = capsys.readouterr().err.splitlines()[-2:]
    assert said.startswith("mailglass: database none on 127.0.0.1:1 cannot be reached")
    assert hint.startswith("  Start PostgreSQL there")


def test_what_follows_two_dashes_is_no_option() -> None:
    """There --debug is a word like any other."""
    told = _run("suppressions", "check", "--", "--debug")
    assert told.returncode != 0
    assert "Missing argument" not in told.stderr
    assert "Traceback" not in told.stderr


def test_wrong_settings_are_one_line_a_hint_and_exit_2() -> None:
    """A misspelt variable is found before anything happens."""
    told = _run("deliveries", MAILGLASS_SMPT_HOST="x")
    assert told.returncode == 2
    assert told.stderr.splitlines() == [
        "mailglass: MAILGLASS_SMPT_HOST is not a setting of mailglass [ConfigError.invalid]",
        "  Did you mean MAILGLASS_SMTP_HOST?",
    ]


def test_production_without_a_database_is_refused() -> None:
    """The embedded server is not for production."""
    told = _run("deliveries", MAILGLASS_ENVIRONMENT="production")
    assert told.returncode == 2
    assert "no database is named" in told.stderr
