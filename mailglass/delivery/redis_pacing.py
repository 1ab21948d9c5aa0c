"""Limits kept in Redis while it is there, and in Postgres while it is not."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from mailglass.forks import ProcessLock
from mailglass.ledger.pacing import Pace, PacingStore
from mailglass.ledger.store import Store
from mailglass.pacing.buckets import Ask, Bucket, Granted, LimitState, Request
from mailglass.pacing.redis_passes import RedisAwayError, RedisPasses
from mailglass.settings import Settings
from mailglass.telemetry import Signal, report

AWAY_S: Final = 5.0
"""How long Postgres keeps the limits before Redis is asked again."""
SETTLES_S: Final = 1.0
"""How long nothing new leaves when the limits change their place: passes given before run out."""


@dataclass(slots=True)
class _Place:
    """Where the limits are kept now, as this process sees it."""

    away_until: float = 0.0
    settles_until: float = 0.0
    lock: ProcessLock = field(default_factory=ProcessLock)


@dataclass(frozen=True, kw_only=True)
class RedisPacing(PacingStore):
    """Takes passes in Redis; what providers taught stays in Postgres, as all that must not be lost.

    While Redis is away Postgres keeps the same limits, with counts of its own. ``now`` is a clock that
    never goes back, in seconds.
    """

    passes: RedisPasses
    now: Callable[[], float] = time.monotonic
    _place: _Place = field(default_factory=_Place)

    def take(
        self, request: Request, *, hold_s: float, plans: bool, at: datetime | None = None
    ) -> tuple[Granted, ...]:
        """Take as in Postgres; for a second nothing is given where the limits change their place."""
        settles_s = self._place.settles_until - self.now()
        if plans and settles_s > 0:
            return _put_off(request, settles_s)
        if self.now() < self._place.away_until:
            return super().take(request, hold_s=hold_s, plans=plans, at=at)
        try:
            taught, pauses = self._with_what_was_learnt(request)
            granted = self.passes.take(taught, pauses=pauses, hold_s=hold_s, plans=plans, at=at)
        except RedisAwayError as error:
            self._leave(error)
            if plans:
                return _put_off(request, SETTLES_S)
            return super().take(request, hold_s=hold_s, plans=plans, at=at)
        self._place.away_until = 0.0
        return granted

    def states(
        self, names: Sequence[str], *, key: str | None = None, limit: int = 100
    ) -> tuple[LimitState, ...]:
        """Return how the buckets stand where they are kept now."""
        try:
            return self.passes.states(names, limit=limit)
        except RedisAwayError as error:
            self._leave(error)
            return super().states(names, key=key, limit=limit)

    def close(self) -> None:
        """Close the connections to Redis."""
        self.passes.close()

    def _with_what_was_learnt(self, request: Request) -> tuple[Request, dict[str, float]]:
        """Add what Postgres knows of the adapters: a bucket for a learnt rate, and how long each rests."""
        refs = {item["adapter_ref"] for item in request.items if item["adapter_ref"]}
        paces = self.paces(sorted(refs)) if refs else {}
        for ref, pace in paces.items():
            if pace.rate_per_s is not None:
                request.add_to(ref, _learnt(pace))
        return request, {ref: pace.paused_for_s for ref, pace in paces.items()}

    def _leave(self, error: RedisAwayError) -> None:
        with self._place.lock:
            was_away = self._place.away_until > 0.0
            self._place.away_until = self.now() + AWAY_S
            if was_away:
                return
            self._place.settles_until = self.now() + SETTLES_S
        name = type(error.__cause__ or error).__name__
        report(Signal.LIMIT_STORE_AWAY, level=logging.WARNING, error_type=name)


def pacing_of(store: Store, settings: Settings) -> PacingStore:
    """Return where the settings want the limits kept.

    Raises:
        ConfigError: ``optional_dep_missing`` or ``invalid``, for a Redis that cannot be used.

    """
    if settings.limits_redis_url is None:
        return PacingStore(store=store)
    return RedisPacing(
        store=store, passes=RedisPasses(settings.limits_redis_url.get_secret_value())
    )


def _learnt(pace: Pace) -> Ask:
    per_s = pace.rate_per_s or 1.0
    bucket = Bucket.plain("learnt", pace.adapter_ref, capacity=1, per_s=per_s)
    return Ask(bucket=bucket, cost=1, is_counted=False)


def _put_off(request: Request, wait_s: float) -> tuple[Granted, ...]:
    one = Granted(is_taken=False, wait_us=max(1, round(wait_s * 1_000_000)), blocker="moving")
    return (one,) * len(request.items)
