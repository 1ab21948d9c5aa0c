"""``mailglass features``: set, listed, shown and explained, on a real database."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from front_desk import front_desk, note
from mailglass import ConfigError, DispatchState
from mailglass.cli.group import mailglass

Run = Callable[..., Result]


@pytest.fixture
def run(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs the command on this test's database."""
    monkeypatch.setenv("MAILGLASS_DATABASE_URL", database_url)

    def ran(*arguments: str) -> Result:
        return CliRunner().invoke(mailglass, ["features", *arguments])

    return ran


def test_sending_is_switched_off_and_on(run: Run, database_url: str) -> None:
    """From the command line to the mail that waits."""
    assert run("set", "sending", "off", "--why", "bad links").stdout == (
        "sending is off for all tenants\n"
    )
    explained = run("explain", "sending", "--tenant", "acme")
    assert explained.exit_code == 1
    assert explained.stdout.startswith("sending is off: off for all tenants\n  set ")
    assert explained.stdout.endswith(": bad links\n")
    with front_desk(database_url) as mail:
        assert mail.deliver(note()).state is DispatchState.QUEUED
    assert run("set", "sending", "on").exit_code == 0
    assert run("explain", "sending").exit_code == 0
    with front_desk(database_url) as mail:
        assert mail.deliver(note()).state is DispatchState.SENT


def test_a_share_explains_itself(run: Run) -> None:
    """Which rule, what share, and where this subject stands in it."""
    run("set", "new_receipt", "80%", "--tenant", "acme", "--by", "ann")
    given = ("explain", "new_receipt", "--tenant", "acme", "--subject", "user-1")
    told = run(*given)
    assert told.exit_code == 0
    assert "on for 80 % of tenant acme; this one stands at 36.25 %" in told.stdout
    found = json.loads(run(*given, "--json").stdout)
    assert (found["is_on"], found["bucket"]) == (True, 3625)
    assert found["rule"]["changed_by"] == "ann"
    assert run("explain", "new_receipt", "--tenant", "other").exit_code == 1


def test_show_tells_what_was_done(run: Run) -> None:
    """The newest first, with who and from what to what."""
    run("set", "new_receipt", "10%", "--by", "ann")
    run("set", "new_receipt", "unset", "--by", "bob", "--why", "done")
    told = json.loads(run("show", "new_receipt", "--json").stdout)
    assert told["rules"] == []
    assert [(one["share_before"], one["share"], one["changed_by"]) for one in told["history"]] == [
        (1000, None, "bob"),
        (None, 1000, "ann"),
    ]
    assert "10% -> unset  for all tenants  by bob  done" in run("show", "new_receipt").stdout
    assert run("show", "unheard_of").exit_code == 1


def test_list_shows_every_rule(run: Run) -> None:
    """One line each."""
    run("set", "a", "12.5%", "--stream", "bulk", "--by", "ann")
    run("set", "b", "on", "--tenant", "acme", "--by", "ann")
    first, second = run("list").stdout.splitlines()
    assert first.startswith("a  12.5%  for all tenants, stream bulk  since ")
    assert second.startswith("b  on  for tenant acme  since ")
    assert len(json.loads(run("list", "--json").stdout)["rules"]) == 2


def test_a_share_shrinks_only_when_told(run: Run) -> None:
    """It would take the feature from people who have it."""
    run("set", "a", "20%")
    assert isinstance(run("set", "a", "10%").exception, ConfigError)
    assert run("set", "a", "10%", "--shrink").exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("set", "a", "maybe"),
        ("set", "a", "101%"),
        ("set", "a", "-1%"),
        ("set", "A b", "on"),
        ("set", "a", "on", "--stream", "x"),
    ],
)
def test_misuse_is_told(run: Run, arguments: tuple[str, ...]) -> None:
    """Exit code 2, and nothing is written."""
    assert run(*arguments).exit_code == 2
    assert run("list").stdout == ""
