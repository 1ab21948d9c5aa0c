"""``mailglass limits``: what operators see of limits, warm-ups and providers that asked to wait."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result

from front_desk import front_desk, note
from mailglass import Stream
from mailglass.adapters.fake import FakeAdapter, FakeMode
from mailglass.cli.group import mailglass

STARTS = (datetime.now(UTC) - timedelta(days=1)).date()
LIMITS: list[dict[str, Any]] = [
    {"per": ["provider"], "rate": "100/h", "burst": 10, "daily": 50},
    {
        "per": ["sender_domain"],
        "match": {"sender_domain": "shop.example"},
        "warm_up": {"starts": STARTS.isoformat(), "daily": [1, 20, 400]},
    },
    {"per": ["tenant"], "rate": "5/min"},
]


@pytest.fixture
def _limited(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the limits for the command line, and send three mails."""
    monkeypatch.setenv("MAILGLASS_DATABASE_URL", database_url)
    monkeypatch.setenv("MAILGLASS_LIMITS", json.dumps(LIMITS))
    monkeypatch.setenv("MAILGLASS_RATE_LIMIT_PER_DOMAIN", '{"capacity": 100, "per_s": 1.67}')
    fake = FakeAdapter()
    with front_desk(database_url, fake, limits=LIMITS) as mail:
        for _ in range(3):
            mail.deliver(note(stream=Stream.OPERATIONAL))
        fake.next(FakeMode.RATE_LIMITED, retry_after_s=300.0)
        mail.deliver(note())


def run(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(mailglass, ["limits", *arguments])


def document(*arguments: str) -> Any:
    """Return what it prints as JSON."""
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.usefixtures("_limited")
def test_each_limit_is_shown_with_what_is_left() -> None:
    """Those of the settings, in their order, then the plain buckets."""
    limits = {one["name"]: one for one in document()["limits"]}
    provider = limits["provider"]
    assert (provider["rate"], provider["daily"], provider["beyond"]) == ("100/h", 50, "delay")
    (count,) = provider["counts"]
    assert (count["key"], count["used_today"], count["left_today"]) == ("default", 4, 46)
    assert count["next_in_s"] == 0
    (warming,) = limits["sender_domain[sender_domain=shop.example]"]["counts"]
    assert (warming["used_today"], warming["left_today"]) == (4, 16)
    assert limits["tenant"]["beyond"] == "refuse"
    assert limits["rate_limit_per_domain"]["capacity"] == 100
    (plain,) = limits["rate_limit_per_domain"]["counts"]
    assert plain["key"] == "default mail.example"


@pytest.mark.usefixtures("_limited")
def test_an_adapter_that_rests_is_shown_and_freed() -> None:
    """How long it rests, until an operator says otherwise."""
    (resting,) = document()["adapters"]
    assert resting["adapter"] == "default"
    assert 290 < resting["paused_for_s"] <= 300
    assert "adapter default: rests for " in run().stdout
    freed = document("free", "default")
    assert freed == {"adapter": "default", "freed": True, "due_again": 1}
    assert run("free", "default").exit_code == 1
    assert document()["adapters"] == []


@pytest.mark.usefixtures("_limited")
def test_a_slowed_adapter_is_shown_with_its_rate(database_url: str) -> None:
    """What was learnt, without a rest."""
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail:
        mail.gate.store.free("default")
        mail.gate.store.slow("default", 0.0)
    (slowed,) = document()["adapters"]
    assert slowed["paused_for_s"] == 0
    assert slowed["learnt_rate_per_s"] > 0
    assert "slowed to " in run().stdout


@pytest.mark.usefixtures("_limited")
def test_a_warm_up_is_a_table_of_days() -> None:
    """Today's line has what was sent and what is left."""
    (table,) = document("warmup", "shop.example")
    assert [one["allowed"] for one in table["days"]] == [1, 20, 400]
    assert [one.get("sent") for one in table["days"]] == [None, 4, None]
    assert table["days"][1]["left"] == 16
    shown = run("warmup", "Shop.Example").stdout
    today = (STARTS + timedelta(days=1)).isoformat()
    assert f"*   2  {today}       20      4     16\n" in shown
    assert shown.endswith("then no daily limit\n")


@pytest.mark.usefixtures("_limited")
def test_a_domain_without_a_warm_up_is_told() -> None:
    """Exit code 1."""
    result = run("warmup", "other.example")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no warm-up is set for other.example" in result.stderr


@pytest.mark.usefixtures("_limited")
def test_limits_are_shown_for_people() -> None:
    """A line a limit, a line a count."""
    lines = run().stdout.splitlines()
    assert lines[0] == "provider: 100/h, 50 a day, delay"
    assert lines[1].startswith("  default: used_today 4, left_today 46, next_in_s ")
