"""``mailglass suppressions``: the verbs as people and scripts use them, on a real database."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from front_desk import front_desk, note
from mailglass import ConfigError, SuppressedError
from mailglass.cli.group import mailglass
from mailglass.errors import SendError

Run = Callable[..., Result]


@pytest.fixture
def run(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs the command on this test's database."""
    monkeypatch.setenv("MAILGLASS_DATABASE_URL", database_url)

    def ran(*arguments: str, stdin: str | None = None) -> Result:
        given = ["suppressions", *arguments]
        return CliRunner().invoke(mailglass, given, input=stdin)

    return ran


def _json(result: Result) -> Any:
    return json.loads(result.stdout)


def test_what_is_added_is_refused_and_what_is_removed_is_not(run: Run, database_url: str) -> None:
    """From the command line to the mail that does not leave."""
    assert run("add", "Zoe@MAIL.example", "--note", "rang us").stdout == "added\n"
    checked = run("check", "zoe@mail.example")
    assert checked.exit_code == 1
    assert checked.stdout == "suppressed  address  manual  command line\n"
    with front_desk(database_url) as mail, pytest.raises(SuppressedError):
        mail.deliver(note())
    assert run("remove", "zoe@mail.example").stdout == "removed\n"
    assert run("check", "zoe@mail.example").stdout == "may be sent\n"
    with front_desk(database_url) as mail:
        mail.deliver(note())


def test_a_domain_refuses_everybody_there(run: Run) -> None:
    """And is checked by any address in it, or by itself."""
    run("add", "Mail.Example", "--reason", "policy", "--expires", "30d")
    told = _json(run("check", "anybody@mail.example", "--json"))
    assert told["suppressed"]
    assert [(one["scope"], one["reason"]) for one in told["by"]] == [("domain", "policy")]
    assert told["by"][0]["expires_at"]
    assert run("check", "mail.example").exit_code == 1
    assert run("check", "other.example").exit_code == 0


def test_a_stream_is_refused_alone(run: Run) -> None:
    """Row 57: an unsubscribe from bulk mail leaves the others."""
    run("add", "zoe@mail.example", "--stream", "bulk", "--reason", "unsubscribe")
    assert run("check", "zoe@mail.example", "--stream", "bulk").exit_code == 1
    assert run("check", "zoe@mail.example", "--stream", "transactional").exit_code == 0


def test_without_a_stream_each_of_them_is_answered_for(run: Run) -> None:
    """Who left one stream is not told to be free."""
    run("add", "zoe@mail.example", "--stream", "bulk", "--reason", "unsubscribe")
    told = run("check", "zoe@mail.example")
    assert told.exit_code == 1
    assert told.stdout == (
        "suppressed  address_stream (bulk)  unsubscribe  command line\n"
        "may be sent  transactional, operational\n"
    )
    streams = _json(run("check", "zoe@mail.example", "--json"))["streams"]
    assert streams == {"transactional": False, "operational": False, "bulk": True}


@pytest.mark.parametrize("reason", ["complaint", "unsubscribe"])
def test_the_recipients_will_needs_force_and_a_reason(run: Run, reason: str) -> None:
    """And then the history says who and why."""
    run("add", "zoe@mail.example", "--reason", reason)
    refused = run("remove", "zoe@mail.example")
    assert isinstance(refused.exception, SuppressedError)
    assert run("remove", "zoe@mail.example", "--force").exit_code == 2
    told = run(
        "remove",
        "zoe@mail.example",
        "--force",
        "--why",
        "asked in writing",
        "--by",
        "ann",
        "--json",
    )
    assert _json(told) == {"result": "removed"}
    deeds = _json(run("history", "zoe@mail.example", "--json"))["history"]
    assert [(one["action"], one["why"]) for one in deeds] == [
        ("added", None), ("removed", "asked in writing"),
    ]  # fmt: skip
    assert deeds[1]["changed_by"] == "ann"
    assert "by ann  asked in writing" in run("history", "zoe@mail.example").stdout


def test_removing_nothing_exits_1(run: Run) -> None:
    """A misspelt address is not a success."""
    told = run("remove", "nobody@mail.example")
    assert (told.exit_code, told.stdout) == (1, "not found\n")
    assert run("history", "nobody@mail.example").exit_code == 1


def test_the_list_is_narrowed_and_goes_on(run: Run) -> None:
    """By reason and page by page; what is over only when asked for."""
    for name in ("a", "b", "c"):
        run("add", f"{name}@mail.example")
    run("add", "bad.example", "--reason", "policy")
    run("remove", "c@mail.example")
    first = _json(run("list", "--limit", "2", "--json"))["suppressions"]
    assert [one["value"] for one in first] == ["a@mail.example", "b@mail.example"]
    rest = _json(run("list", "--after", "b@mail.example", "--json"))["suppressions"]
    assert [one["value"] for one in rest] == ["bad.example"]
    assert "bad.example  domain  policy" in run("list", "--reason", "policy").stdout
    assert "c@mail.example  address  manual  command line  removed" in run("list", "--all").stdout


def test_one_tenants_list_is_its_own(run: Run) -> None:
    """Every verb asks for one tenant."""
    run("add", "zoe@mail.example", "--tenant", "a")
    assert run("check", "zoe@mail.example", "--tenant", "a").exit_code == 1
    assert run("check", "zoe@mail.example").exit_code == 0
    assert run("remove", "zoe@mail.example").exit_code == 1


def test_a_user_without_a_name_still_leaves_a_trace(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container the number of the user stands in the history."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)

    def nobody(_uid: int) -> object:
        raise KeyError

    monkeypatch.setattr("pwd.getpwuid", nobody)
    run("add", "zoe@mail.example")
    (deed,) = _json(run("history", "zoe@mail.example", "--json"))["history"]
    assert deed["changed_by"] == f"user {os.getuid()}"


@pytest.mark.parametrize(
    "arguments",
    [
        ["add"],
        ["add", "zoe@mail.example", "--reason", "because"],
        ["add", "zoe@mail.example", "--expires", "soon"],
        ["add", "zoe@mail.example", "--expires", "99999999999999w"],
        ["add", "mail.example", "--stream", "bulk"],
        ["add", "zoe"],
        ["import", "-", "--format", "sendgrid"],
        ["import", "-", "--format", "mailgun", "--list", "invalid"],
        ["import", "-", "--format", "ses", "--list", "bounces"],
        ["import", "/nowhere.csv"],
        ["export", "--format", "mailgun"],
    ],
)
def test_misuse_exits_2(run: Run, arguments: list[str]) -> None:
    """Before anything is touched."""
    told = run(*arguments)
    assert told.exit_code == 2, told.output
    assert "Error" in told.stderr


def test_a_wrong_address_is_an_error_without_it(run: Run) -> None:
    """Row 82."""
    told = run("add", "canary and@mail.example")
    assert isinstance(told.exception, SendError)
    assert "canary" not in str(told.exception)


def test_a_list_is_imported_with_a_report_of_bad_lines(run: Run, tmp_path: Path) -> None:
    """Good lines go in, bad ones are counted, named and kept in a file that only the owner reads."""
    file = tmp_path / "list.csv"
    file.write_text(
        "email,reason\na@x.example,complaint\nnonsense here@x.example,manual\n=\x1b[1m@b@c,manual\n"
        "b@x.example,manual\n"
    )
    rejected = tmp_path / "bad.csv"
    told = run("import", str(file), "--rejected", str(rejected))
    assert told.exit_code == 1
    assert "4 rows: 2 added, 0 changed, 0 unchanged, 2 bad" in told.stdout
    assert "line 3: local_part\n" in told.stderr
    assert "nonsense" not in told.output
    assert stat.S_IMODE(rejected.stat().st_mode) == 0o600
    kept = rejected.read_text()
    assert '3,local_part,"nonsense here@x.example,manual"' in kept
    assert "'=\\x1b[1m@b@c" in kept
    again = _json(run("import", str(file), "--json"))
    assert (again["unchanged"], again["bad"], again["added"]) == (2, 2, 0)
    assert again["bad_by_rule"] == {"control_character": 1, "local_part": 1}
    assert again["first_bad_lines"][0] == {"line": 3, "rule": "local_part"}


def test_a_dry_run_changes_nothing(run: Run) -> None:
    """It reads and counts; it needs no database."""
    told = run("import", "-", "--dry-run", "--json", stdin="email\na@x.example\n")
    assert (told.exit_code, _json(told)["rows"], _json(told)["added"]) == (0, 1, 0)
    assert _json(run("list", "--json"))["suppressions"] == []


def test_a_list_from_a_provider_is_imported(run: Run) -> None:
    """What the old provider knew is known here before the first mail."""
    text = "email,created\nzoe@mail.example,1715019118\n"
    told = run("import", "-", "--format", "sendgrid", "--list", "unsubscribes", stdin=text)
    assert told.exit_code == 0
    (found,) = _json(run("list", "--json"))["suppressions"]
    assert (found["scope"], found["stream"], found["source"]) == (
        "address_stream", "bulk", "import sendgrid",
    )  # fmt: skip
    assert found["created_at"].startswith("2024-05-06T")


def test_what_is_exported_can_be_imported_elsewhere(run: Run, tmp_path: Path) -> None:
    """A list moves with all that it says."""
    run("add", "zoe@mail.example", "--reason", "complaint", "--note", "rang us")
    run("add", "ann@mail.example", "--stream", "bulk", "--reason", "unsubscribe")
    run("add", "bad.example", "--expires", "2099-01-31")
    run("add", "gone@mail.example")
    run("remove", "gone@mail.example")
    file = tmp_path / "all.csv"
    file.touch(0o644)
    told = run("export", str(file))
    assert "3 written, 0 left out" in told.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert run("import", str(file), "--tenant", "b").exit_code == 0
    names = ("value", "scope", "stream", "reason", "source", "note", "expires_at", "created_at")
    here, there = (
        [
            [one[name] for name in names]
            for one in _json(run("list", "--json", *whose))["suppressions"]
        ]
        for whose in ((), ("--tenant", "b"))
    )
    assert here == there


def test_an_export_goes_to_standard_output(run: Run) -> None:
    """For a pipe."""
    run("add", "zoe@mail.example", "--reason", "complaint")
    told = run("export", "--format", "ses")
    assert told.stdout == "zoe@mail.example,COMPLAINT\n"


def test_erasing_without_a_key_is_refused(run: Run, database_url: str) -> None:
    """The person would be mailed again."""
    run("add", "zoe@mail.example")
    assert run("erase", "zoe@mail.example").exit_code != 0
    with psycopg.connect(database_url) as owner:
        assert owner.execute("select value from mailglass.suppressions").fetchone() == (
            "zoe@mail.example",
        )


def test_an_erased_address_is_forgotten_and_still_refused(
    run: Run, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under a hash that only the key can make; without it nobody is told that they may be mailed."""
    monkeypatch.setenv("MAILGLASS_ERASURE_KEY", "0123456789abcdef")
    run("add", "canary@mail.example")
    assert run("erase", "Canary@mail.example").stdout == "erased from 1 suppressions\n"
    assert run("check", "canary@mail.example").exit_code == 1
    with psycopg.connect(database_url) as owner:
        assert "canary" not in str(
            owner.execute("select s from mailglass.suppressions s").fetchall()
        )
    monkeypatch.delenv("MAILGLASS_ERASURE_KEY")
    told = run("check", "canary@mail.example")
    assert isinstance(told.exception, ConfigError)
    assert told.exception.key == "erasure_key"
