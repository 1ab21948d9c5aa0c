"""A world of one seed: a virtual clock, Postgres' sessions and restarts, and who runs in whose pauses.

Everything that could happen between two steps of a process happens in a *point*: there time passes,
others take their steps, the process dies or stays away for long, its connection is cut. A point inside
a point is a pause inside a pause, so nothing needs threads and a seed repeats its run exactly.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import Final

import psycopg

DEPTH_MAX: Final = 3


@unique
class Bug(StrEnum):
    """What can be planted, to see that it is caught."""

    NO_FENCE = "no_fence"
    TIME_ONLY = "time_only"
    SEARCH_TOO_EARLY = "search_too_early"
    LAG_FROM_THE_LEASE = "lag_from_the_lease"
    UNKNOWN_AS_NOT_SENT = "unknown_as_not_sent"
    BLIND_SWEEPER = "blind_sweeper"
    SUPPRESSION_AT_INTAKE_ONLY = "suppression_at_intake_only"
    CHANGED_BODY = "changed_body"
    FENCE_WITHOUT_KEY = "fence_without_key"


class DiedError(BaseException):
    """Is raised where a process is killed: like a signal, it passes every ``except Exception``."""


class BreachError(BaseException):
    """Is raised where an invariant is broken; no ``except Exception`` of the product hides it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chances:
    """How often what happens at a point; of 1."""

    die: float = 0.03
    stay_away: float = 0.04
    others: float = 0.35
    cut: float = 0.03
    restart: float = 0.004


CALM: Final = Chances(die=0.0, stay_away=0.0, others=0.0, cut=0.0, restart=0.0)


@dataclass(slots=True, kw_only=True)
class Turn:
    """The turns of one process; ``late_until`` is set once it handed something over after its lease."""

    late_until: float = 0.0


@dataclass(slots=True, kw_only=True)
class World:
    """The clock and the dice; ``sessions`` are the owner keys that are locked now."""

    seed: int
    chances: Chances
    bug: Bug | None = None
    turns: list[Turn] = field(default_factory=list)
    now: float = 1_000.0
    epoch: int = 0
    depth: int = 0
    keys: int = 0
    steps: int = 0
    sessions: set[int] = field(default_factory=set)
    others: list[Callable[[], None]] = field(default_factory=list)
    dice: random.Random = field(init=False)

    def __post_init__(self) -> None:
        """Throw the dice from the seed."""
        self.dice = random.Random(self.seed)  # noqa: S311 - a seeded run, no secret

    def clock(self) -> float:
        """Return the virtual time in seconds."""
        return self.now

    def open_session(self) -> int:
        """Open a session that holds a lock of its own; its key."""
        self.keys += 1
        self.sessions.add(self.keys)
        return self.keys

    def point(self) -> None:
        """Let happen what may happen between two steps of a process.

        Raises:
            DiedError: the process is killed here.

        """
        self.steps += 1
        dice, chances = self.dice, self.chances
        self.now += dice.expovariate(2.0)
        if dice.random() < chances.restart:
            self.epoch += 1
            self.sessions.clear()
        if self.depth < DEPTH_MAX and self.others:
            self._let_others(dice, chances)
        if dice.random() < chances.die:
            raise DiedError

    def _let_others(self, dice: random.Random, chances: Chances) -> None:
        self.depth += 1
        try:
            if dice.random() < chances.stay_away:
                for _ in range(dice.randint(2, 8)):
                    self.now += dice.uniform(0.0, 300.0)
                    dice.choice(self.others)()
            elif dice.random() < chances.others:
                dice.choice(self.others)()
        finally:
            self.depth -= 1

    def cut(self) -> bool:
        """Tell whether a connection is cut here."""
        return self.dice.random() < self.chances.cut


def cut_off() -> psycopg.OperationalError:
    """Return what a caller sees of a cut connection."""
    return psycopg.OperationalError("server closed the connection unexpectedly")
