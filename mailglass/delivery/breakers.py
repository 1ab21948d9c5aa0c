"""Breakers: keep the mail of one tenant from an adapter that fails, and let one probe find out."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import Final, Self, TypeAlias

from mailglass.clock import boot_seconds
from mailglass.errors import Json
from mailglass.forks import ProcessLock
from mailglass.ledger.breakers import BreakerChange, BreakerState, BreakerStore
from mailglass.ledger.faults import DatabaseAwayError
from mailglass.ledger.store import Store
from mailglass.settings import Breaker
from mailglass.telemetry import Signal, report

FRESH_S: Final = 1.0
"""How old may be what a process knows of the breakers; it reads them no more often than that."""
_TALLIES_MAX: Final = 10_000
"""Tenants and adapters whose successes one process counts; above that it forgets them."""

Key: TypeAlias = tuple[str, str]
"""Tenant id and adapter ref."""

_SIGNALS: Final = {
    BreakerState.OPEN: Signal.BREAKER_OPENED,
    BreakerState.HALF_OPEN: Signal.BREAKER_PROBED,
    BreakerState.CLOSED: Signal.BREAKER_CLOSED,
}


@unique
class CallEnd(StrEnum):
    """What one call of an adapter tells about its health.

    ``passed``: the provider worked, whatever it said of the mail. ``failed``: it did not. ``refused``:
    it refuses the account. ``neutral``: it asked to wait, or a mailbox was not ready.
    """

    PASSED = "passed"
    FAILED = "failed"
    REFUSED = "refused"
    NEUTRAL = "neutral"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of an adapter that has ended."""

    tenant_id: str
    adapter_ref: str
    end: CallEnd
    is_probe: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Whether a mail may go by an adapter now, as its probe or not; else how long to wait."""

    is_admitted: bool
    is_probe: bool = False
    wait_s: float = 0.0


_FREE: Final = Admission(is_admitted=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What this process knows of a breaker; ``retry_at`` is on the clock of ``boot_seconds``."""

    state: BreakerState
    wait_s: float
    retry_at: float


@dataclass(slots=True, kw_only=True)
class _Tally:
    """Calls by one adapter for one tenant that the database was not told of."""

    began_at: float
    calls: int = 0
    failures: int = 0
    streak: int = 0
    passed: bool = False
    refused: bool = False
    probe: str | None = None

    def add(self, call: Call) -> None:
        self.calls += call.end is not CallEnd.NEUTRAL
        self.refused |= call.end is CallEnd.REFUSED
        if call.end in {CallEnd.FAILED, CallEnd.REFUSED}:
            self.failures += 1
            self.streak += 1
        elif call.end is CallEnd.PASSED:
            self.passed = True
            self.streak = 0
        if call.is_probe:
            is_bad = call.end in {CallEnd.FAILED, CallEnd.REFUSED}
            self.probe = "failed" if is_bad else "passed"

    @property
    def is_urgent(self) -> bool:
        """Tell whether all workers should know at once."""
        return self.failures > 0 or self.probe is not None

    def row(self, key: Key) -> dict[str, Json]:
        return {
            "tenant_id": key[0],
            "adapter_ref": key[1],
            "calls": self.calls,
            "failures": self.failures,
            "streak": self.streak,
            "passed": self.passed,
            "refused": self.refused,
            "probe": self.probe,
        }


@dataclass(slots=True, kw_only=True)
class Breakers:
    """What one process knows of the breakers; threads share it.

    As long as nothing fails it reads once a second while mail leaves, and writes nothing. A database
    that cannot be reached leaves everything as it was known: nothing is sent without a claim anyway.
    """

    breakers: BreakerStore
    limits: Breaker | None
    _lock: ProcessLock = field(default_factory=ProcessLock)
    _known: Mapping[Key, _Known] = field(default_factory=dict)
    _tallies: dict[Key, _Tally] = field(default_factory=dict)
    _read_at: float = float("-inf")
    _told_at: float = float("-inf")

    @classmethod
    def of(cls, store: Store, limits: Breaker | None) -> Self:
        """Return those of a database; with no limits every mail is admitted."""
        return cls(breakers=BreakerStore(store=store), limits=limits)

    def admit(self, tenant_id: str, adapter_ref: str, *, lease_s: float | None) -> Admission:
        """Tell whether a mail may go by an adapter; who gets the probe has it for ``lease_s``.

        A probe that never told its end is given up after ``wait_s_max`` at the latest, as one that
        failed. With no lease it is only asked whether there is any hope, and no probe is taken.
        """
        found = self._found(tenant_id, adapter_ref)
        if found is None or found.state is BreakerState.CLOSED:
            return _FREE
        left_s = found.retry_at - boot_seconds()
        if left_s > 0:
            # Whoever waits for a probe is let through when it ends, long before its lease does.
            is_open = found.state is BreakerState.OPEN
            return Admission(is_admitted=False, wait_s=left_s if is_open else found.wait_s)
        if lease_s is None or self.limits is None:
            return _FREE
        probe_s = min(lease_s, self.limits.wait_s_max)
        if self._begin_probe(tenant_id, adapter_ref, lease_s=probe_s):
            return Admission(is_admitted=True, is_probe=True)
        self._read_at = float("-inf")
        return Admission(is_admitted=False, wait_s=found.wait_s)

    def is_closed(self, tenant_id: str, adapter_ref: str) -> bool:
        """Tell whether mail may simply go by an adapter, as far as is known."""
        found = self._found(tenant_id, adapter_ref)
        return found is None or found.state is BreakerState.CLOSED

    def note(self, calls: Iterable[Call]) -> None:
        """Count calls that have ended; the database hears of failures at once, of successes rarely.

        Of those it hears only where a breaker counts failures, at most once a second.
        """
        if self.limits is None:
            return
        with self._lock:
            due = self._due(calls, self.limits)
        if not due:
            return
        limits: dict[str, Json] = self.limits.model_dump()
        try:
            changes = self.breakers.note_calls([one.row(key) for key, one in due.items()], limits)
        except DatabaseAwayError as error:
            _unreached(error)
            return
        self._read_at = float("-inf")
        for one in changes:
            _report(one)

    def _due(self, calls: Iterable[Call], limits: Breaker) -> dict[Key, _Tally]:
        now = boot_seconds()
        for call in calls:
            key = (call.tenant_id, call.adapter_ref)
            tally = self._tallies.get(key)
            if tally is None or now - tally.began_at > limits.window_s:
                tally = self._tallies[key] = _Tally(began_at=now)
            tally.add(call)
        is_time = now - self._told_at >= FRESH_S
        keys = [
            key
            for key, one in self._tallies.items()
            if one.is_urgent or (is_time and key in self._known)
        ]
        if is_time and keys:
            self._told_at = now
        due = {key: self._tallies.pop(key) for key in keys}
        if len(self._tallies) > _TALLIES_MAX:
            self._tallies.clear()
        return due

    def _found(self, tenant_id: str, adapter_ref: str) -> _Known | None:
        if self.limits is None:
            return None
        if boot_seconds() - self._read_at >= FRESH_S:
            with self._lock:  # one thread reads, the others wait for what it learns
                if boot_seconds() - self._read_at >= FRESH_S:
                    self._read(self.limits)
        return self._known.get((tenant_id, adapter_ref))

    def _read(self, limits: Breaker) -> None:
        now = boot_seconds()
        try:
            self._known = {
                (one.tenant_id, one.adapter_ref): _Known(
                    state=one.state, wait_s=one.wait_s, retry_at=now + one.retry_in_s
                )
                for one in self.breakers.restless(window_s=limits.window_s)
            }
        except DatabaseAwayError as error:
            _unreached(error)
        finally:
            self._read_at = now

    def _begin_probe(self, tenant_id: str, adapter_ref: str, *, lease_s: float) -> bool:
        try:
            is_ours = self.breakers.begin_probe(tenant_id, adapter_ref, lease_s=lease_s)
        except DatabaseAwayError as error:
            _unreached(error)
            return False
        if is_ours:
            self._read_at = float("-inf")
            report(
                _SIGNALS[BreakerState.HALF_OPEN],
                level=logging.WARNING,
                tenant_id=tenant_id,
                adapter=adapter_ref,
            )
        return is_ours


def _report(change: BreakerChange) -> None:
    report(
        _SIGNALS[change.state],
        level=logging.WARNING,
        tenant_id=change.tenant_id,
        adapter=change.adapter_ref,
        state=change.state.value,
    )


def _unreached(error: DatabaseAwayError) -> None:
    report(Signal.BREAKER_UNREACHED, level=logging.ERROR, error_type=type(error).__name__)
