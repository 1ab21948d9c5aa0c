"""Pacing in Postgres: passes taken from shared buckets, and what providers taught, on its own clock."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mailglass.ledger.store import Store
from mailglass.pacing.buckets import Granted, LimitState, Request
from mailglass.pacing.vocabulary import THROTTLED

RATE_FLOOR_PER_S: Final = 0.1
"""No rate is learnt below one mail in ten seconds."""
RECOVERY_S: Final = 60.0
"""After so many seconds the rate before the cut is reached again; at that pace it goes on rising."""

WOKEN_MAX: Final = 10_000
"""Mails that are due again at once when an adapter is freed."""
_WRITTEN_S: Final = 2.0
"""How much later than it was reckoned a mail may be due: it is written a moment after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What holds now of what a provider said; ``rate_per_s`` None where no rate was learnt."""

    adapter_ref: str
    paused_for_s: float
    rate_per_s: float | None


@dataclass(frozen=True, kw_only=True)
class PacingStore:
    """Runs the queries of ``limits.sql``, each of them a transaction of its own."""

    store: Store

    def take(
        self, request: Request, *, hold_s: float, plans: bool, at: datetime | None = None
    ) -> tuple[Granted, ...]:
        """Take a pass for each item in all of its buckets or in none, the items in their order.

        ``hold_s`` is how long a caller would wait for a pass that is taken now. With ``plans``, items
        beyond that get times of their own, one behind the other. ``at`` stands for the database's
        clock.
        """
        rows = self.store.rows(
            "take_passes",
            {
                "buckets": json.dumps(request.specs),
                "items": json.dumps(request.items),
                "hold_s": hold_s,
                "plans": plans,
                "at": at,
            },
        )
        return tuple(
            Granted(is_taken=row["is_taken"], wait_us=row["wait_us"], blocker=row["blocker"])
            for row in rows
        )

    def short_of(self, request: Request) -> tuple[str, int] | None:
        """Take what one mail asks for; or the limit that has too little, and the wait in ms.

        The wait is exact: asked again after it, and no millisecond before, the request passes, if
        nobody else has taken meanwhile.
        """
        (one,) = self.take(request, hold_s=0.0, plans=False)
        return None if one.is_taken else (one.blocker or "", max(1, -(-one.wait_us // 1000)))

    def paces(self, adapter_refs: Sequence[str] | None = None) -> Mapping[str, Pace]:
        """Return what holds now of what providers said, of these adapters or of all."""
        refs = None if adapter_refs is None else list(adapter_refs)
        rows = self.store.rows("adapter_paces", {"adapter_refs": refs})
        return {row["adapter_ref"]: Pace(**row) for row in rows}

    def pause(self, adapter_ref: str, pause_s: float) -> Pace:
        """Let an adapter rest, for all workers; a longer rest stays."""
        asked = {"adapter_ref": adapter_ref, "pause_s": pause_s}
        (row,) = self.store.rows("pause_adapter", asked)
        return Pace(adapter_ref=adapter_ref, **row)

    def slow(self, adapter_ref: str, pause_s: float) -> Pace:
        """Halve what an adapter is asked to take, for all workers, and let it rest for a moment."""
        asked = {
            "adapter_ref": adapter_ref,
            "pause_s": pause_s,
            "floor_per_s": RATE_FLOOR_PER_S,
            "recovery_s": RECOVERY_S,
        }
        (row,) = self.store.rows("slow_adapter", asked)
        return Pace(adapter_ref=adapter_ref, **row)

    def free(self, adapter_ref: str) -> int | None:
        """Forget what a provider taught; how many mails that waited because of it are due now.

        None where nothing was held against it. More than 10,000 mails leave at the times that they had.
        """
        asked = {
            "adapter_ref": adapter_ref,
            "throttled": THROTTLED.pattern.replace(r"\b", r"\y"),  # as Postgres writes it
            "late_s": _WRITTEN_S,
            "limit": WOKEN_MAX,
        }
        rows = self.store.rows("free_adapter", asked)
        return int(rows[0]["due_again"]) if rows else None

    def states(
        self, names: Sequence[str], *, key: str | None = None, limit: int = 100
    ) -> tuple[LimitState, ...]:
        """Return how the buckets of the named limits stand, the busiest of each first."""
        asked = {"names": list(names), "key": key, "limit": limit}
        rows = self.store.rows("limit_states", asked)
        return tuple(LimitState(**row) for row in rows)

    def close(self) -> None:
        """Do nothing: the store is closed by whoever opened it."""

    def forget_idle(self) -> int:
        """Drop the rows that say nothing any more; return how many."""
        return len(self.store.rows("forget_idle_limits", {}))
