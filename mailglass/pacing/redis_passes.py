"""Passes in Redis: the same limits as in Postgres, taken by one script on Redis' own clock."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from mailglass.errors import ConfigError, ConfigErrorType
from mailglass.pacing.buckets import Granted, LimitState, Request

if TYPE_CHECKING:
    import redis

_SCRIPT: Final = Path(__file__).with_name("take_passes.lua")
_PREFIX: Final = "{mailglass}:limits:"
"""In braces, so that all keys of one call are in one slot of a cluster."""
_MICRO: Final = 1_000_000
_WAIT_S: Final = 1.0
"""How long Redis may take to connect or to answer; longer, and it counts as away."""
_EPOCH: Final = date(1970, 1, 1)
_SCANNED_MAX: Final = 10_000


class RedisAwayError(Exception):
    """Is raised inside mailglass alone, when Redis cannot be asked; the cause is its own error."""


class RedisPasses:
    """Takes passes in Redis; share it between threads, make one for each process.

    Raises:
        ConfigError: ``optional_dep_missing`` without the extra ``redis``, ``invalid`` for a URL that
            cannot be read.

    """

    def __init__(self, url: str) -> None:
        try:
            import redis  # noqa: PLC0415 - an extra, loaded only when it is configured
        except ImportError as error:
            raise ConfigError(
                "limits in Redis need the package redis",
                type=ConfigErrorType.OPTIONAL_DEP_MISSING,
                key="limits_redis_url",
                dep="redis",
                hint="Install mailglass[redis].",
            ) from error
        try:
            self._redis: redis.Redis = redis.Redis.from_url(
                url, socket_timeout=_WAIT_S, socket_connect_timeout=_WAIT_S, decode_responses=True
            )
        except ValueError:
            raise ConfigError(
                "the URL of the limits' Redis cannot be read",
                type=ConfigErrorType.INVALID,
                key="limits_redis_url",
                hint="Write redis://host:6379/0, or rediss:// with TLS.",
            ) from None
        self._error: type[Exception] = redis.RedisError
        self._script = self._redis.register_script(_script())

    def take(
        self,
        request: Request,
        *,
        pauses: Mapping[str, float],
        hold_s: float,
        plans: bool,
        at: datetime | None,
    ) -> tuple[Granted, ...]:
        """Take passes as Postgres does; ``pauses`` is how long each adapter rests, in seconds.

        Raises:
            RedisAwayError: it cannot be reached, or does not answer in time.

        """
        specs: list[Any] = request.specs
        asked = {
            "at": None if at is None else _micros(at),
            "hold": round(hold_s * _MICRO),
            "plans": plans,
            "buckets": [_bucket(spec, at or datetime.now(UTC)) for spec in specs],
            "items": [_item(item, pauses) for item in request.items],
        }
        keys = [f"{_PREFIX}{spec['name']}:{spec['key']}" for spec in specs]
        try:
            answers: Any = self._script(keys=keys, args=[_without_nulls(asked)])
        except self._error as error:
            raise RedisAwayError from error
        return tuple(
            Granted(is_taken=bool(taken), wait_us=int(wait_us), blocker=why or None)
            for taken, wait_us, why in answers
        )

    def states(self, names: Sequence[str], *, limit: int) -> tuple[LimitState, ...]:
        """Return how the buckets of the named limits stand, the busiest of each first.

        Raises:
            RedisAwayError: it cannot be reached, or does not answer in time.

        """
        try:
            found = [state for name in names for state in self._states_of(name)]
        except self._error as error:
            raise RedisAwayError from error
        return tuple(sorted(found, key=lambda one: (one.name, -one.full_in_s, one.key))[:limit])

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _states_of(self, name: str) -> Iterator[LimitState]:
        seconds, micros = self._asked(self._redis.time())
        now = int(seconds) + int(micros) / _MICRO
        prefix = f"{_PREFIX}{name}:"
        pattern = "".join(f"\\{one}" if one in "*?[]\\" else one for one in prefix) + "*"
        for number, key in enumerate(self._redis.scan_iter(match=pattern, count=1000)):
            if number == _SCANNED_MAX:
                return
            held = self._asked(self._redis.hgetall(key))
            if held:
                yield LimitState(
                    name=name,
                    key=key.removeprefix(prefix),
                    full_in_s=int(held["full"]) / _MICRO - now,
                    day=_EPOCH + timedelta(days=int(held["day"])),
                    used=int(held["used"]),
                    at=datetime.fromtimestamp(now, UTC),
                )

    def _asked(self, answer: Any) -> Any:
        """Return an answer of the client, whose types stand for its asyncio twin as well."""
        return answer


@cache
def _script() -> str:
    return _SCRIPT.read_text("utf-8")


def _micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _bucket(spec: Mapping[str, Any], about: datetime) -> dict[str, Any]:
    """Return a bucket with the days around a moment; Redis' clock tells which of them it is."""
    zone = ZoneInfo(spec.get("zone") or "UTC")
    today = about.astimezone(zone).date()
    interval_s = spec["interval_s"]
    return {
        "name": spec["name"],
        "interval": None if interval_s is None else round(interval_s * _MICRO),
        "burst": spec["burst"],
        "days": [_day(spec, today + timedelta(days=shift), zone) for shift in range(-2, 3)],
    }


def _day(spec: Mapping[str, Any], day: date, zone: ZoneInfo) -> dict[str, Any]:
    after = day + timedelta(days=1)
    midnight = datetime(after.year, after.month, after.day, tzinfo=zone)
    return {
        "number": (day - _EPOCH).days,
        "ends": _micros(midnight.astimezone(UTC)),
        "maximum": _maximum(spec, day),
    }


def _maximum(spec: Mapping[str, Any], day: date) -> int | None:
    starts, daily = spec.get("starts"), spec.get("daily")
    if starts is None:
        return daily
    number = (day - date.fromisoformat(starts)).days
    schedule: Sequence[int] = spec["schedule"]
    if number < 0:
        return 0
    return schedule[number] if number < len(schedule) else daily


def _item(item: Any, pauses: Mapping[str, float]) -> dict[str, Any]:
    pause_s = max(0.0, pauses.get(item["adapter_ref"] or "", 0.0))
    kept = {name: item[name] for name in ("rank", "returns", "asks")}
    return kept | {"pause": round(pause_s * _MICRO)}


def _without_nulls(asked: Any) -> str:
    """Write JSON that leaves out what is None: in Lua a null is true."""

    def kept(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: kept(one) for key, one in value.items() if one is not None}
        return [kept(one) for one in value] if isinstance(value, list) else value

    return json.dumps(kept(asked))
