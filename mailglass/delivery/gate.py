"""The gate: which of what was claimed may leave now, when the rest may, and what a refusal teaches."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Self
from uuid import UUID

from mailglass.address import parse_address
from mailglass.clock import boot_seconds
from mailglass.delivery.redis_pacing import pacing_of
from mailglass.envelope import Verdict
from mailglass.errors import FailureClass
from mailglass.forks import ProcessLock
from mailglass.ledger.faults import DatabaseAwayError
from mailglass.ledger.pacing import Pace, PacingStore
from mailglass.ledger.rows import Claim
from mailglass.ledger.store import Store
from mailglass.pacing.buckets import Ask, Granted, Request, Traffic, asks_of
from mailglass.pacing.days import SpentDays
from mailglass.pacing.vocabulary import LATE_S, THROTTLED, Limits
from mailglass.settings import Settings
from mailglass.telemetry import Signal, report

HOLD_S: Final = 0.5
"""How long a worker keeps a mail whose turn comes soon, rather than putting it back."""
RETAKES_MAX: Final = 5
"""How often a pass that was used too late is asked for anew before the mail goes back."""
PAUSE_S: Final = 1.0
"""How long a provider rests that says there was too much and not how long to wait."""
REST_S: Final = 30.0
"""A provider that wants to be left alone for longer is passed over while a route has another."""
LIMITS_AWAY_S: Final = 1.0
"""How long a mail waits when nobody can tell whether its turn has come."""
_PACE_KEPT_S: Final = 0.25
"""How old may be what is known of an adapter that no limit is about."""
_ANSWERS_KEPT: Final = 32
"""Answers by which it is told whether one was slow or the database is far away."""
FORGET_EVERY_S: Final = 3600.0
"""How often a process drops the counts that say nothing any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """When a claim may leave, on the clock of ``boot_seconds``; used later than ``until`` it is void.

    Where it is not ``is_taken``, ``at`` is when the mail is due again and ``blocker`` names the limit.
    ``is_day_spent`` tells that the provider has had its number of the day: another one may serve.
    """

    is_taken: bool
    at: float
    until: float
    blocker: str | None = None
    is_day_spent: bool = False


FREE: Final = Pass(is_taken=True, at=0.0, until=float("inf"))
"""The pass of a mail that no limit is about."""


@dataclass(slots=True, kw_only=True)
class _Known:
    """What this process knows of an adapter, and since when."""

    read_at: float
    paused_until: float
    has_rate: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A claim with what it takes from which limits."""

    claim: Claim
    traffic: Traffic
    asks: tuple[Ask, ...]

    @classmethod
    def of(cls, claim: Claim, limits: Limits, *, is_again: bool) -> Self:
        traffic = _traffic(claim)
        asks = asks_of(limits, traffic, delays=True)
        return cls(
            claim=claim,
            traffic=traffic,
            asks=tuple(filter(_is_rate, asks)) if is_again else asks,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Asks for passes, a whole claim at a time; threads may share it.

    ``now`` is a clock that never goes back, in seconds; ``sleep`` waits on it.
    """

    store: PacingStore
    limits: Limits
    now: Callable[[], float] = boot_seconds
    sleep: Callable[[float], None] = time.sleep
    days: SpentDays = field(default_factory=lambda: SpentDays(limits=()))
    _known: dict[str, _Known] = field(default_factory=dict)
    _lock: ProcessLock = field(default_factory=ProcessLock)
    _tidied: deque[float] = field(default_factory=lambda: deque([float("-inf")], maxlen=1))
    """When idle counts were dropped last."""
    _took_s: deque[float] = field(default_factory=lambda: deque(maxlen=_ANSWERS_KEPT))
    """How long the last answers took, in seconds."""

    @classmethod
    def of(cls, store: Store, settings: Settings) -> Self:
        """Return the gate of the settings' limits."""
        limits = settings.limits
        return cls(store=pacing_of(store, settings), limits=limits, days=SpentDays(limits=limits))

    def passes_of(self, claims: Sequence[Claim], *, is_again: bool = False) -> Mapping[UUID, Pass]:
        """Ask for the passes of all claims in one statement, what matters most first.

        What a provider's number of the day has no room for is known until midnight, and not asked for.
        ``is_again``: each had a pass that was void, so the day has counted it.
        """
        passes = {one.message_id: FREE for one in claims}
        refs = {one.adapter_ref for one in claims}
        if not self.limits and not self._any_is_slowed(refs):
            return passes
        asked = [_Asked.of(one, self.limits, is_again=is_again) for one in claims]
        self._any_is_slowed({one.claim.adapter_ref for one in asked if not one.asks})
        passes |= {one.claim.message_id: its for one in asked if (its := self._spent(one))}
        limited = [
            one
            for one in asked
            if passes[one.claim.message_id] is FREE
            and (one.asks or self._is_slowed(one.claim.adapter_ref))
        ]
        if not limited:
            return passes
        self._tidy()
        return passes | self._taken(sorted(limited, key=lambda one: one.traffic.rank))

    def turn_now(self, claim: Claim, turn: Pass) -> Pass:
        """Wait for a claim's turn and return it; one that is not taken says when it is due again.

        A pass that was used too late is void: to leave on it would crowd those that come after.
        """
        for _ in range(RETAKES_MAX):
            if not turn.is_taken:
                return turn
            if turn.until >= turn.at and self._has_come(claim, turn):
                return turn
            turn = self.passes_of([claim], is_again=True)[claim.message_id]
        return put_off(self.now())

    def _has_come(self, claim: Claim, turn: Pass) -> bool:
        """Wait for a turn; False when it comes too late or the adapter rests."""
        wait_s = turn.at - self.now()
        if wait_s > 0:
            self.sleep(wait_s)
        now = self.now()
        if self._paused_until(claim.adapter_ref) > now:
            self._known.pop(claim.adapter_ref, None)  # an operator may have freed it: ask anew
            return False
        return now <= turn.until

    def rests(self, adapter_ref: str) -> bool:
        """Tell whether an adapter's provider wants to be left alone for so long that another may serve.

        While the database is away, what was known last holds.
        """
        try:
            self._look_at({adapter_ref})
        except DatabaseAwayError as error:
            name = type(error).__name__
            report(Signal.DATABASE_AWAY, level=logging.WARNING, error_type=name)
        return self._paused_until(adapter_ref) - self.now() > REST_S

    def learnt(self, claim: Claim, verdicts: tuple[Verdict, ...]) -> tuple[Verdict, ...]:
        """Slow all workers down where the provider says that it was too much, and return the verdicts.

        With a time to wait the adapter rests until then; without one its rate is halved and comes
        back little by little. A refused mail waits with the others and uses up no attempt.
        """
        throttled = [one for one in verdicts if is_throttled(one)]
        if not throttled:
            return verdicts
        asked_s = max((one.retry_after_s or 0.0 for one in throttled), default=0.0)
        try:
            self._slow_down(claim, asked_s)
        except DatabaseAwayError as error:
            # The verdict must be written all the same; the next refusal teaches the same again.
            name = type(error).__name__
            report(Signal.LIMIT_NOT_SHARED, level=logging.WARNING, error_type=name)
        return tuple(
            replace(one, retry_after_s=asked_s or PAUSE_S) if is_throttled(one) else one
            for one in verdicts
        )

    def _slow_down(self, claim: Claim, asked_s: float) -> None:
        ref = claim.adapter_ref
        before = self.now()
        pace = self.store.pause(ref, asked_s) if asked_s else self.store.slow(ref, PAUSE_S)
        self._note(pace, before)
        report(
            Signal.LIMIT_PAUSED if asked_s else Signal.LIMIT_SLOWED,
            level=logging.WARNING,
            tenant_id=claim.tenant_id,
            provider=ref,
        )

    def _tidy(self) -> None:
        """Drop idle counts now and then: a row for each domain that was ever mailed would be many."""
        now = self.now()
        with self._lock:
            is_due = now - self._tidied[0] >= FORGET_EVERY_S
            if is_due:
                self._tidied.append(now)
        if is_due:
            self.store.forget_idle()

    def _taken(self, asked: Sequence[_Asked]) -> dict[UUID, Pass]:
        request = Request()
        for one in asked:
            ref, returns = one.claim.adapter_ref, one.claim.token > 1
            request.add(one.traffic, one.asks, adapter_ref=ref, returns=returns)
        before = self.now()
        granted = self.store.take(request, hold_s=HOLD_S, plans=True)
        after = self.now()
        lost_s = self._lost_s(after - before)
        passes: dict[UUID, Pass] = {}
        for one, its in zip(asked, granted, strict=True):
            self.days.note(one.asks, its.blocker, wait_s=its.wait_us / 1_000_000, now=after)
            spent = None if its.is_taken else self._spent(one)
            found = spent or _pass(its, after, lost_s)
            has_rate = any(map(_is_rate, one.asks))
            if found.is_taken and not (has_rate or self._is_slowed(one.claim.adapter_ref)):
                found = replace(found, until=FREE.until)  # a day's number does not mind when
            passes[one.claim.message_id] = found
        return passes

    def _lost_s(self, took_s: float) -> float:
        """Return how much of a pass went by while its answer was on its way.

        Where answers come fast, one that took too long is void and asked for again. Where all are
        slow, half of each pass is left: a database too far away makes rates less exact, and never
        stops the mail.
        """
        self._took_s.append(took_s)
        is_far_away = min(self._took_s) > LATE_S / 2
        return min(took_s, LATE_S / 2) if is_far_away else took_s

    def _spent(self, asked: _Asked) -> Pass | None:
        """Return the pass of a mail for which its provider has no room today; None while it may have."""
        now = self.now()
        known = self.days.until(asked.asks, now=now)
        if known is None or known[0] - now <= REST_S:
            return None
        return replace(put_off(known[0]), blocker=known[1], is_day_spent=True)

    def _any_is_slowed(self, adapter_refs: set[str]) -> bool:
        """Tell whether any of the adapters rests or was slowed, as far as was read a moment ago."""
        self._look_at(adapter_refs)
        return any(map(self._is_slowed, adapter_refs))

    def _look_at(self, adapter_refs: set[str]) -> None:
        """Read what holds of adapters that no limit is about, where it was not read just now."""
        now = self.now()
        stale = [
            ref
            for ref in sorted(adapter_refs)
            if (known := self._known.get(ref)) is None or now - known.read_at > _PACE_KEPT_S
        ]
        if not stale:
            return
        found = self.store.paces(stale)
        for ref in stale:
            self._note(
                found.get(ref) or Pace(adapter_ref=ref, paused_for_s=0.0, rate_per_s=None), now
            )

    def _note(self, pace: Pace, now: float) -> None:
        with self._lock:
            self._known[pace.adapter_ref] = _Known(
                read_at=now,
                paused_until=now + pace.paused_for_s,
                has_rate=pace.rate_per_s is not None,
            )

    def _is_slowed(self, adapter_ref: str) -> bool:
        known = self._known.get(adapter_ref)
        return known is not None and (known.has_rate or known.paused_until > self.now())

    def _paused_until(self, adapter_ref: str) -> float:
        known = self._known.get(adapter_ref)
        return 0.0 if known is None else known.paused_until


def _is_rate(ask: Ask) -> bool:
    """Tell a rate from the number of a day."""
    return ask.bucket.spec.get("interval_s") is not None


def put_off(at: float) -> Pass:
    """Return what lets a mail wait until a time, on the clock of ``boot_seconds``."""
    return Pass(is_taken=False, at=at, until=at)


def unknown_turn(claim: Claim, error: Exception) -> Pass:
    """Return a turn in a moment: nobody can tell whether it has come, so nothing leaves."""
    report(
        Signal.DATABASE_AWAY,
        level=logging.ERROR,
        message_id=claim.message_id,
        error_type=type(error).__name__,
    )
    return put_off(boot_seconds() + LIMITS_AWAY_S)


def is_throttled(verdict: Verdict) -> bool:
    """Tell whether the provider took the mail for one too many, rather than for a wrong one."""
    return (
        verdict.failure_class is FailureClass.NOT_SENT
        and verdict.code is not None
        and THROTTLED.search(verdict.code) is not None
    )


def _pass(granted: Granted, after: float, lost_s: float) -> Pass:
    """Turn the database's time into this process's: no earlier than it can have meant, and no later.

    The answer took some of the time in which the pass holds; one that took all of it is void.
    """
    at = after + granted.wait_us / 1_000_000
    return Pass(
        is_taken=granted.is_taken, at=at, until=at + LATE_S - lost_s, blocker=granted.blocker
    )


def _traffic(claim: Claim) -> Traffic:
    return Traffic(
        tenant=claim.tenant_id,
        stream=claim.stream.value,
        sender_domain=parse_address(claim.mail_from).domain_key,
        provider=claim.adapter_ref,
        recipients=Counter(row["address_key"].rpartition("@")[2] for row in claim.recipients),
    )
