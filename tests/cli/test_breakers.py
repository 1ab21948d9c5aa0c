"""``mailglass adapters status``, ``close`` and ``history``: what an operator sees, does and leaves behind."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from front_desk import note
from guides import command
from mailglass.adapters.fake import FakeAdapter, FakeMode
from routed import routed


@pytest.fixture
def opened(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAdapter]:
    """Return an adapter whose account was refused, for a database with one mail that waits."""
    monkeypatch.setenv("MAILGLASS_DATABASE_URL", database_url)
    fake = FakeAdapter()
    fake.next(FakeMode.BAD_CREDENTIALS)
    with routed(database_url, {"main": fake}) as mail:
        mail.deliver(note())
        yield fake


def _run(*words: str) -> tuple[int, str]:
    code, told, _ = command(["mailglass", "adapters", *words])
    return code, told


@pytest.mark.usefixtures("opened")
def test_status_says_what_is_open_and_what_waits() -> None:
    """For people and for machines; with --check for a watchdog."""
    code, told = _run("status", "--json")
    (one,) = json.loads(told)
    known = ("tenant", "adapter", "state", "reason", "changed_by", "waiting")
    expected = ["default", "main", "open", "account_refused", "dispatch", 1]
    assert (code, [one[name] for name in known]) == (0, expected)
    assert 0 < one["retry_in_s"] <= 30
    assert _run("status")[1].startswith("open      main")
    assert [_run("status", "--check", *more)[0] for more in ([], ["--tenant", "b"])] == [1, 0]


@pytest.mark.usefixtures("opened")
def test_close_says_how_much_is_due_and_the_history_who_did_it() -> None:
    """Closing what is closed is refused."""
    code, told = _run("close", "main", "--actor", "ticket-7", "--json")
    assert (code, json.loads(told)) == (
        0,
        {"adapter": "main", "closed": [{"tenant": "default", "due_again": 1}]},
    )
    assert _run("close", "main")[0] == 1
    steps = json.loads(_run("history", "main", "--json")[1])
    assert [(one["from"], one["to"], one["by"]) for one in steps] == [
        ("open", "closed", "ticket-7"),
        ("closed", "open", "dispatch"),
    ]
    assert "open -> closed operator by ticket-7" in _run("history", "main")[1]


@pytest.mark.usefixtures("opened")
def test_close_of_one_tenant_leaves_the_others() -> None:
    """Another tenant's breaker stays as it is."""
    assert _run("close", "main", "--tenant", "b")[0] == 1
    assert _run("status", "--check")[0] == 1
    assert _run("close", "main", "--tenant", "default")[0] == 0


def test_nothing_failed_is_told(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No empty screen."""
    monkeypatch.setenv("MAILGLASS_DATABASE_URL", database_url)
    assert _run("status") == (0, "no adapter has failed\n")
