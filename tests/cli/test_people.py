"""``mailglass erase`` and ``mailglass export``, on a real database."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from front_desk import front_desk, note
from mailglass import ConfigError, SendError
from mailglass.cli.group import mailglass
from webhook_requests import bounced, hooked, request

Run = Callable[..., Result]


@pytest.fixture
def run(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs a command on this test's database, with an erasure key."""
    monkeypatch.setenv("MAILGLASS_DATABASE_URL", database_url)
    monkeypatch.setenv("MAILGLASS_ERASURE_KEY", "0123456789abcdef")
    return lambda *arguments: CliRunner().invoke(mailglass, arguments)


def test_what_is_exported_is_then_erased(run: Run, database_url: str) -> None:
    """One person's whole way out."""
    with front_desk(database_url) as mail:
        mail.deliver(note())
    told = json.loads(run("export", "ZOE@mail.example").stdout)
    assert told["shape"] == "mailglass.person/1"
    assert [one["state"] for one in told["deliveries"]] == ["sent"]
    assert run("erase", "ZOE@mail.example").stdout == (
        "erased from 1 deliveries, 1 messages, 0 receipts, 0 suppressions\n"
    )
    assert json.loads(run("export", "zoe@mail.example").stdout)["deliveries"][0]["mail"] is None
    assert run("ledger", "check").exit_code == 0


def test_nobody_is_known_by_an_address_that_had_no_mail(run: Run) -> None:
    """Exit code 1, and an empty document."""
    told = run("export", "nobody@mail.example")
    assert told.exit_code == 1
    assert json.loads(told.stdout)["deliveries"] == []


def test_an_address_on_which_nothing_is_held_is_told(run: Run, database_url: str) -> None:
    """Exit code 1: it may have been mistyped. A script reads zeros."""
    with front_desk(database_url) as mail:
        mail.deliver(note())
    told = run("erase", "zeo@mail.example")
    assert (told.exit_code, told.stdout) == (1, "")
    assert told.stderr.splitlines()[1:] == [
        "mailglass: nothing is held on this address; is it spelt as it was used?"
    ]
    assert "zeo" not in told.stderr
    document = run("erase", "zeo@mail.example", "--json")
    assert document.exit_code == 0
    assert set(json.loads(document.stdout)["erased"].values()) == {0}


def test_mail_from_somebody_is_exported_though_they_never_got_any(
    run: Run, database_url: str
) -> None:
    """It is held on them."""
    with hooked(database_url) as mail:
        mail.ingest("postmark", request(bounced(None, Email="kim@mail.example")))
    told = run("export", "kim@mail.example")
    assert told.exit_code == 0
    assert len(json.loads(told.stdout)["received"]) == 1


def test_waiting_mail_is_erased_with_cancel_alone(run: Run, database_url: str) -> None:
    """The error says so, and not who it is."""
    with front_desk(database_url) as mail:
        mail.deliver_later(note())
    refused = run("erase", "zoe@mail.example")
    assert isinstance(refused.exception, SendError)
    assert "zoe" not in f"{refused.exception!r}{refused.output}"
    done = json.loads(run("erase", "zoe@mail.example", "--cancel", "--json").stdout)
    assert done["erased"] == {"deliveries": 1, "messages": 1, "receipts": 0, "suppressions": 0}


def test_erasure_needs_its_key(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """And says which setting is missing."""
    monkeypatch.delenv("MAILGLASS_ERASURE_KEY")
    refused = run("erase", "zoe@mail.example")
    assert isinstance(refused.exception, ConfigError)
    assert refused.exception.key == "erasure_key"
