"""The vocabulary of limits: what is understood, what is refused at boot, and what a rate comes to."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mailglass.errors import ConfigError, ConfigErrorType
from mailglass.pacing.vocabulary import Limit
from mailglass.settings import load_settings

SES: dict[str, Any] = {"per": ["provider"], "rate": "14/s"}


def limit(**fields: Any) -> Limit:
    """Return a limit; fields change that of a provider."""
    return Limit.model_validate(SES | fields)


@pytest.mark.parametrize(
    ("wrong", "kind", "word"),
    [
        ({"per": []}, ConfigErrorType.INVALID, "at least 1"),
        ({"per": ["planet"]}, ConfigErrorType.INVALID, "recipient_domain"),
        ({"per": ["tenant", "tenant"]}, ConfigErrorType.INVALID, "twice"),
        ({"rate": "14 per second"}, ConfigErrorType.INVALID, "14/s"),
        ({"rate": "0/s"}, ConfigErrorType.INVALID, "14/s"),
        ({"rate": None}, ConfigErrorType.INVALID, "limits nothing"),
        ({"zone": "Mars/Phobos"}, ConfigErrorType.INVALID, "zone"),
        ({"zone": "../../etc/passwd"}, ConfigErrorType.INVALID, "zone"),
        ({"burst": 15}, ConfigErrorType.CONFLICTING, "burst"),
        ({"rate": None, "daily": 5, "burst": 2}, ConfigErrorType.CONFLICTING, "burst"),
        ({"beyond": "refuse"}, ConfigErrorType.CONFLICTING, "per provider"),
        ({"per": ["tenant"], "match": {"stream": "transactional"}}, ConfigErrorType.CONFLICTING,
         "transactional"),
        ({"daily": 0}, ConfigErrorType.INVALID, "greater than or equal to 1"),
        ({"warm_up": {"starts": "2026-01-01", "daily": []}}, ConfigErrorType.INVALID, "at least 1"),
        ({"speed": "fast"}, ConfigErrorType.INVALID, "extra"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_at_boot(
    wrong: dict[str, Any], kind: ConfigErrorType, word: str
) -> None:
    """With the type, the setting's name and a word about it, before any mail."""
    with pytest.raises(ConfigError) as caught:
        load_settings(limits=[SES | wrong])
    assert (caught.value.type, caught.value.key) == (kind, "limits")
    assert word.lower() in caught.value.message.lower()


def test_two_limits_for_the_same_are_refused() -> None:
    """Nobody could say which holds, whatever the order of their keys."""
    twice = [
        {"per": ["tenant", "provider"], "rate": "1/s"},
        {"per": ["provider", "tenant"], "rate": "2/s"},
    ]
    with pytest.raises(ConfigError, match="stands twice") as caught:
        load_settings(limits=twice)
    assert caught.value.type is ConfigErrorType.CONFLICTING


def test_limits_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one JSON list."""
    monkeypatch.setenv("MAILGLASS_LIMITS", json.dumps([SES | {"daily": 50_000}]))
    assert load_settings().limits == (limit(daily=50_000),)


@pytest.mark.parametrize(
    ("fields", "delays"),
    [
        ({"per": ["provider"]}, True),
        ({"per": ["recipient_domain"]}, True),
        ({"per": ["sender_domain", "tenant"]}, True),
        ({"per": ["tenant"]}, False),
        ({"per": ["tenant", "stream"]}, False),
        ({"per": ["tenant"], "beyond": "delay"}, True),
        ({"per": ["recipient_domain"], "beyond": "refuse"}, False),
    ],
)
def test_callers_are_refused_for_what_they_do_and_mail_is_delayed_for_where_it_goes(
    fields: dict[str, Any], *, delays: bool
) -> None:
    """Unless the limit says otherwise."""
    assert limit(**fields).delays is delays


@pytest.mark.parametrize(
    ("fields", "interval_s", "burst"),
    [
        ({}, 1.05 / 14, 1),
        ({"burst": 5}, 1.05 / 10, 5),
        ({"rate": "100/min"}, 60.05 / 100, 1),
        ({"per": ["tenant"], "rate": "100/min"}, 0.6, 100),
        ({"rate": None, "daily": 9}, None, 1),
    ],
)
def test_a_rate_leaves_room_for_its_burst_and_for_the_late(
    fields: dict[str, Any], interval_s: float | None, burst: int
) -> None:
    """So that no window sees more, wherever it begins; callers get the bucket that they know."""
    found = limit(**fields)
    assert found.interval_s == (None if interval_s is None else pytest.approx(interval_s, abs=1e-6))
    assert found.burst_held == burst


def test_the_name_is_the_same_however_the_limit_is_written() -> None:
    """Processes share rows by it."""
    one = limit(per=["tenant", "provider"], match={"tenant": "a", "stream": "bulk"})
    other = limit(per=["provider", "tenant"], match={"stream": "bulk", "tenant": "a"}, rate="1/h")
    assert one.name == other.name == "provider+tenant[stream=bulk,tenant=a]"
