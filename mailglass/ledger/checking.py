"""Checking: the ledger against itself and against what is shown of it, without changing anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from mailglass.ledger.store import Store

FAULTS_MAX: Final = 1000
"""Faults of one kind that a check returns; more of them would not tell more."""
_COMPARISONS: Final = ("projection_differences", "message_differences", "wrong_attempts")
QUESTIONS: Final = 1 + len(_COMPARISONS)
"""How many statements a check is made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerFault:
    """One delivery that is not what its events say, or whose events are not what was written.

    ``fault`` is a word of the hash chain (``changed_event``, ``missing_event`` …) with its ``seq``, or
    the name of what differs between the fold of the events and the tables.
    """

    delivery_id: UUID
    fault: str
    seq: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerSize:
    """How many rows a check of everything looks at."""

    deliveries: int
    events: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerCheck:
    """Compares; each question is one statement, so that work going on meanwhile disturbs none.

    What superusers rewrote in one go, chain and all, only a checkpoint kept elsewhere can show.
    """

    store: Store

    def faults(
        self,
        delivery_id: UUID | None = None,
        *,
        limit: int = FAULTS_MAX,
        on_answer: Callable[[int], None] = lambda _answers: None,
    ) -> tuple[LedgerFault, ...]:
        """Return what is wrong with one delivery, or with all: nothing, for a ledger that is whole.

        Each of the ``QUESTIONS`` may take long; ``on_answer`` is told how many are answered.
        """
        chains = [
            LedgerFault(delivery_id=one.delivery_id, fault=one.fault, seq=one.seq)
            for one in self.store.broken_chains(delivery_id, limit=limit)
        ]
        on_answer(1)
        differences: list[LedgerFault] = []
        for answered, name in enumerate(_COMPARISONS, start=2):
            rows = self.store.rows(name, {"delivery_id": delivery_id, "limit": limit})
            differences += [
                LedgerFault(delivery_id=row["delivery_id"], fault=field)
                for row in rows
                for field in row["fields"]
            ]
            on_answer(answered)
        return (*chains, *differences)

    def size(self) -> LedgerSize:
        """Return how many deliveries and events there are."""
        return LedgerSize(**self.store.rows("ledger_size", {})[0])
