"""Deploys: workers are told to stop while there is much to do, and others take their place."""

from __future__ import annotations

import itertools
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from front_desk import note
from mailglass import DispatchState
from tests.faults.checker import Facts, check
from tests.faults.nursery import Nursery, WorkerPlan, desk
from tests.faults.sink import SinkPlan, ask, running_sink
from tests.faults.work import owner, states, until

WORKERS: Final = 4
ROLLS: Final = 2
MAILS_PER_STEP: Final = 25
STOP_S_MAX: Final = 30.0
"""How long hosts wait, as a rule, before they kill."""


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    """Return a nursery of ordinary workers."""
    made = Nursery()
    yield made
    made.close()


def test_a_rolling_deploy_under_load_loses_and_doubles_nothing(
    database_url: str, nursery: Nursery, tmp_path: Path
) -> None:
    """F22: four workers, each replaced twice; the provider has no keys, and nothing becomes unknown."""
    plan = WorkerPlan(
        database_url=database_url, sink=str(tmp_path / "sink"), log=str(tmp_path / "log"),
        is_keyed=False, search_lag_s=None, timeout_s=20.0, lease_s=30.0, claim_wait_s=10.0,
    )  # fmt: skip
    steady = SinkPlan(is_keyed=False, lost=0, deaf=0, busy=0, slow_s=0.05)
    asked, slowest_s, numbers = list[str](), 0.0, itertools.count()
    with running_sink(tmp_path / "sink", steady), desk(plan) as mail:
        crew = [nursery.fork(plan) for _ in range(WORKERS)]
        for place in [*range(WORKERS)] * ROLLS:
            batch = [note(text=str(next(numbers))) for _ in range(MAILS_PER_STEP)]
            asked += [str(one.id) for one in mail.deliver_many(batch)]
            begun = time.monotonic()
            nursery.signal(crew[place], signal.SIGTERM)
            assert nursery.wait(crew[place]) == 0
            slowest_s = max(slowest_s, time.monotonic() - begun)
            crew[place] = nursery.fork(plan)
        until(lambda: states(database_url) == {DispatchState.SENT: len(asked)})
        assert nursery.ended() == []
        for pid in crew:
            nursery.signal(pid, signal.SIGTERM)
            assert nursery.wait(pid) == 0
        told = ask(plan.sink, {"verb": "report"}, timeout_s=10.0)
    assert slowest_s < STOP_S_MAX
    facts = Facts(accepted=frozenset(asked), refused=frozenset(), copies=told["copies"])
    assert check(database_url, facts).breaches == []
    with owner(database_url) as connection:
        kinds = {row[0] for row in connection.execute("select distinct type from mailglass.events")}
    assert "outcome_unknown" not in kinds
