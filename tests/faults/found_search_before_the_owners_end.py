"""Found: the search's lag is counted from the end of the lease, though its owner may have sent after it.

A worker sleeps through its lease (a suspended machine), wakes, hands the mail over and is killed before
it writes so. From then on its session is gone; the lease has been over for long. A search at once is
empty, since the provider needs its lag to show the mail, and the mail is sent a second time.
"""

from __future__ import annotations

import pytest

from tests.faults.simulation.provider import Kind
from tests.faults.simulation.run import simulate

SEEDS = 700


def test_a_sender_that_woke_late_and_died_doubles_nothing() -> None:
    """The lag has to be counted from when the owner was first seen to be gone."""
    for seed in range(SEEDS):
        simulate(seed, Kind.SEARCHABLE, kills_late=True)


@pytest.mark.parametrize("kind", [Kind.KEYED, Kind.KEYLESS])
def test_elsewhere_a_late_death_is_harmless(kind: Kind) -> None:
    """A key makes it one mail; mail that is parked is not sent again."""
    for seed in range(SEEDS // 3):
        simulate(seed, kind, kills_late=True)
