"""Limits in Redis: the same as in Postgres, which keeps them while Redis is away."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from broker_servers import free_port, redis_server, stop
from front_desk import front_desk, note
from mailglass import ConfigError, DispatchState, Stream
from mailglass.delivery.redis_pacing import AWAY_S, SETTLES_S, RedisPacing
from mailglass.errors import ConfigErrorType
from mailglass.pacing.redis_passes import RedisPasses
from mailglass.telemetry import Signal

LIMITS: list[dict[str, Any]] = [
    {"per": ["provider"], "rate": "2/h", "burst": 2, "daily": 50},
    {"per": ["tenant"], "rate": "5/h"},
]
NOTICE = note(stream=Stream.OPERATIONAL)


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    """Yield the URL of a Redis that is this test's own."""
    with redis_server(tmp_path) as (url, _process):
        yield url


@pytest.mark.redis
def test_two_workers_share_what_redis_counts(database_url: str, redis_url: str) -> None:
    """And Postgres counts nothing."""
    given: dict[str, Any] = {"limits": LIMITS, "limits_redis_url": redis_url}
    with front_desk(database_url, **given) as mail, front_desk(database_url, **given) as other:
        states = [one.deliver(NOTICE).state for one in (mail, other, mail)]
        assert states == [DispatchState.SENT, DispatchState.SENT, DispatchState.QUEUED]
        (state,) = mail.gate.store.states(["provider"])
        assert (state.key, state.used) == ("default", 2)
    with front_desk(database_url) as mail:
        assert mail.gate.store.states(["provider", "tenant"]) == ()


@pytest.mark.redis
def test_what_a_provider_taught_holds_in_redis_too(database_url: str, redis_url: str) -> None:
    """A rest and a learnt rate are kept in Postgres, and obeyed."""
    wide = [{"per": ["provider"], "rate": "1000/s"}]
    with front_desk(database_url, limits=wide, limits_redis_url=redis_url) as mail:
        mail.gate.store.pause("default", 300.0)
        assert mail.deliver(note()).state is DispatchState.QUEUED
        assert mail.gate.store.free("default") is not None
        assert mail.deliver(note()).state is DispatchState.SENT
        mail.gate.store.slow("default", 0.0)
        states = [mail.deliver(note()).state for _ in range(2)]
        assert states == [DispatchState.SENT, DispatchState.QUEUED]


@pytest.mark.redis
def test_postgres_keeps_the_limits_while_redis_is_away(
    database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Said once; nothing leaves for a second, then as before; afterwards Redis is asked again."""
    caplog.set_level(logging.WARNING, "mailglass")
    clock = [1000.0]
    with redis_server(tmp_path) as (url, process), front_desk(database_url, limits=LIMITS) as mail:
        pacing = RedisPacing(store=mail.store, passes=RedisPasses(url), now=lambda: clock[0])
        dispatcher = replace(mail.dispatcher, gate=replace(mail.gate, store=pacing))

        def gone() -> bool:
            mail.deliver_later(note())
            (claim,) = mail.dispatcher.claim_due(Stream.TRANSACTIONAL, limit=1)
            return dispatcher.attempt(claim).released is None

        assert gone()
        stop(process)
        assert [gone(), gone()] == [False, False]
        clock[0] += SETTLES_S + 0.01
        assert [gone(), gone(), gone()] == [True, True, False]
        clock[0] += AWAY_S
        assert [gone(), gone()] == [False, False]
        assert [one.used for one in mail.gate.store.states(["provider"])] == [2]
        pacing.close()
    said = [line for line in caplog.messages if line.startswith(Signal.LIMIT_STORE_AWAY.value)]
    assert len(said) == 1
    assert "error_type=ConnectionError" in said[0]


def test_callers_are_limited_while_redis_is_away(database_url: str) -> None:
    """At once, by Postgres."""
    url = f"redis://127.0.0.1:{free_port()}/0"
    limits = [{"per": ["tenant"], "rate": "2/h"}]
    with front_desk(database_url, limits=limits, limits_redis_url=url) as mail:
        for _ in range(2):
            mail.deliver_later(NOTICE)
        with pytest.raises(Exception, match="per tenant"):
            mail.deliver_later(NOTICE)


def test_a_url_that_cannot_be_read_is_told_at_boot(database_url: str) -> None:
    """Without the URL, which may hold a password."""
    with pytest.raises(ConfigError) as caught, front_desk(
        database_url, limits_redis_url="http://user:canary@host/0"
    ):  # fmt: skip
        pass
    assert (caught.value.type, caught.value.key) == (ConfigErrorType.INVALID, "limits_redis_url")
    assert "canary" not in f"{caught.value!r}"


def test_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the extra that brings it."""
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigError, match="package redis") as caught:
        RedisPasses("redis://127.0.0.1/0")
    assert caught.value.type is ConfigErrorType.OPTIONAL_DEP_MISSING
