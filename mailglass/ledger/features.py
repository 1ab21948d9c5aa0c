"""The features in the database: their rules, what was done to them, and the switch that stops sending."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from psycopg.rows import DictRow

from mailglass.errors import ConfigError, ConfigErrorType
from mailglass.forks import ProcessLock
from mailglass.ledger.faults import DatabaseAwayError
from mailglass.ledger.store import Store
from mailglass.message import Stream
from mailglass.suppression import NOTE_CHARS_MAX, SOURCE_CHARS_MAX, check_remark
from mailglass.telemetry import Signal, report

SENDING: Final = "sending"
"""The built-in switch: off, mail is queued and stays queued."""
WHOLE: Final = 10_000
"""Everybody, as a share."""
RULES_MAX: Final = 10_000
HISTORY_MAX: Final = 1_000
FRESH_S: Final = 1.0
"""How long what is known of the rules is used before they are read again."""
_SETTLED_MAX: Final = 5_000
"""Messages held, and let go, in one statement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureRule:
    """For whom a feature is on: ``share`` of 10,000 subjects, of one tenant, one stream or all (None)."""

    name: str
    tenant_id: str | None
    stream: Stream | None
    share: int
    changed_by: str
    why: str | None
    updated_at: datetime

    def covers(self, tenant_id: str, stream: Stream | None) -> bool:
        """Tell whether the rule speaks of this tenant and stream."""
        return self.tenant_id in {None, tenant_id} and self.stream in {None, stream}


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureChange:
    """One line of a feature's history; a share of None means that no rule stood, or stands, there."""

    name: str
    tenant_id: str | None
    stream: Stream | None
    share_before: int | None
    share: int | None
    changed_by: str
    why: str | None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureStore:
    """Runs the named queries on features, each of them a transaction of its own."""

    store: Store

    def rules(self, name: str | None = None) -> tuple[FeatureRule, ...]:
        """Return the rules of one feature, or of all."""
        rows = self.store.rows("feature_rules", {"name": name, "limit": RULES_MAX})
        return tuple(FeatureRule(**_streamed(row)) for row in rows)

    def set(  # noqa: PLR0913 - where, what, who and why
        self,
        name: str,
        share: int | None,
        *,
        by: str,
        tenant_id: str | None = None,
        stream: Stream | None = None,
        why: str | None = None,
        may_shrink: bool = False,
    ) -> None:
        """Set the rule of one scope, or take it away with a share of None; workers are woken.

        Raises:
            ConfigError: ``conflicting`` for a smaller share that is not 0, without ``may_shrink``:
                it would take the feature from some who have it. ``invalid`` for a share of the
                switch ``sending`` that is neither 0 nor 10,000.
            SendError: ``serialization_failed`` for a name or reason that holds an address.

        """
        check_remark("name of who acts", by, chars_max=SOURCE_CHARS_MAX)
        if why is not None:
            check_remark("reason", why, chars_max=NOTE_CHARS_MAX)
        if name == SENDING and share not in {None, 0, WHOLE}:
            raise ConfigError(
                "sending is on or off",
                type=ConfigErrorType.INVALID,
                key=name,
                hint="Use on or off.",
            )
        given = {
            "name": name,
            "tenant_id": tenant_id,
            "stream": stream.value if stream else None,
            "share": share,
            "changed_by": by,
            "why": why,
            "may_shrink": may_shrink,
        }
        if not self.store.rows("set_feature", given):
            raise ConfigError(
                f"{name} would be taken from some who have it",
                type=ConfigErrorType.CONFLICTING,
                key=name,
                hint="Say that it may shrink, or switch it off for all.",
            )
        self.store.ring()

    def history(self, name: str, *, limit: int = HISTORY_MAX) -> tuple[FeatureChange, ...]:
        """Return what was done to a feature, the newest first."""
        rows = self.store.rows("feature_history", {"name": name, "limit": limit})
        return tuple(FeatureChange(**_streamed(row)) for row in rows)

    def settle_stopped(self) -> int:
        """Hold mail whose sending is switched off and let go what may leave again; how many."""
        (row,) = self.store.rows("settle_stopped", {"limit": _SETTLED_MAX})
        return int(row["stopped"]) + int(row["freed"])


@dataclass(slots=True, kw_only=True)
class SendingSwitch:
    """Knows for a second at most where sending is switched off; threads may share it.

    The database refuses every claim of stopped mail by itself. What this adds: what was claimed
    just before is given back, and stopped mail is moved out of the way of the rest. Without
    ``features`` it knows nothing, and all is left to the database.
    """

    features: FeatureStore | None = None
    _lock: ProcessLock = field(default_factory=ProcessLock, init=False)
    _stops: tuple[FeatureRule, ...] = field(default=(), init=False)
    _read_at: float = field(default=float("-inf"), init=False)
    _settled_at: float = field(default=float("-inf"), init=False)

    def is_off(self, tenant_id: str, stream: Stream) -> bool:
        """Tell whether a tenant's mail of a stream is to stay here.

        While the database is away, what was known last holds: nothing new can be claimed then.
        """
        with self._lock:
            if time.monotonic() - self._read_at >= FRESH_S:
                self._read()
            stops = self._stops
        return any(one.covers(tenant_id, stream) for one in stops)

    def _read(self) -> None:
        if self.features is None:
            return
        try:
            rules = self.features.rules(SENDING)
        except DatabaseAwayError as error:
            name = type(error).__name__
            report(Signal.DATABASE_AWAY, level=logging.WARNING, error_type=name)
            return
        self._stops = tuple(one for one in rules if one.share == 0)
        self._read_at = time.monotonic()

    def settle(self, *, at_once: bool = False) -> None:
        """Move stopped mail out of the way, and back; no more often than once a second."""
        if self.features is None:
            return
        with self._lock:
            if not at_once and time.monotonic() - self._settled_at < FRESH_S:
                return
            self._settled_at = time.monotonic()
        self.features.settle_stopped()


def _streamed(row: DictRow) -> DictRow:
    return row | {"stream": Stream(row["stream"]) if row["stream"] else None}
