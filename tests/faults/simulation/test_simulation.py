"""Thousands of histories on a virtual clock: crashes, zombies, lost answers; a seed repeats each.

The product's own dispatcher and sweeper run over a model of the store. ``scripts/faults --simulate N``
runs as many seeds as it is told to, from a random one on.
"""

from __future__ import annotations

import pytest

from tests.faults.simulation.provider import Kind
from tests.faults.simulation.run import simulate
from tests.faults.simulation.world import BreachError, Bug

SEEDS = 400
SEEDS_FOR_A_BUG = 1500
"""Within so many seeds each planted bug must show; most show within ten."""


@pytest.mark.parametrize("kind", list(Kind))
def test_every_mail_ends_once_and_is_never_doubled(kind: Kind) -> None:
    """G5: at a provider with keys, at one without, and at one that can be asked."""
    deliveries = sum(simulate(seed, kind).deliveries for seed in range(SEEDS))
    assert deliveries > SEEDS


@pytest.mark.parametrize(
    ("bug", "kind"),
    [
        (Bug.NO_FENCE, Kind.KEYED),
        (Bug.TIME_ONLY, Kind.SEARCHABLE),
        (Bug.SEARCH_TOO_EARLY, Kind.SEARCHABLE),
        (Bug.LAG_FROM_THE_LEASE, Kind.SEARCHABLE),
        (Bug.UNKNOWN_AS_NOT_SENT, Kind.KEYLESS),
        (Bug.BLIND_SWEEPER, Kind.KEYED),
        (Bug.SUPPRESSION_AT_INTAKE_ONLY, Kind.KEYLESS),
        (Bug.CHANGED_BODY, Kind.KEYED),
        (Bug.FENCE_WITHOUT_KEY, Kind.KEYLESS),
    ],
    ids=str,
)
def test_a_planted_bug_is_caught(bug: Bug, kind: Kind) -> None:
    """The simulation can fail, for each of the rules that it is there to guard."""

    def until_caught() -> None:
        for seed in range(SEEDS_FOR_A_BUG):
            simulate(seed, kind, bug)

    with pytest.raises(BreachError):
        until_caught()


def test_a_seed_repeats_its_run() -> None:
    """What a seed has shown, it shows again."""
    assert simulate(7, Kind.SEARCHABLE) == simulate(7, Kind.SEARCHABLE)
