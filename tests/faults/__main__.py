"""The long run: ``python -m tests.faults --minutes 10``; what ``scripts/faults`` starts."""

from __future__ import annotations

import argparse
import logging
import secrets
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.faults.laboratory import SCENARIOS, Round, postgres
from tests.faults.nursery import Nursery
from tests.faults.simulation.provider import Kind
from tests.faults.simulation.run import simulate
from tests.faults.simulation.world import BreachError

ROUND_S = 15.0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="faults", description="Kill, freeze and crash; then count."
    )
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=None, help="as an earlier run printed it")
    parser.add_argument("--scenario", choices=sorted(SCENARIOS), action="append")
    parser.add_argument("--round-s", type=float, default=ROUND_S, help="seconds of faults a round")
    parser.add_argument(
        "--simulate", type=int, metavar="N", help="seeds on a virtual clock instead"
    )
    return parser.parse_args()


def _simulate(first: int, seeds: int) -> int:
    """Run seeds, each at the kind of provider that its number picks; a breach names its seed."""
    breaches, totals, kinds = 0, Counter[str](), tuple(Kind)
    started = time.monotonic()
    for seed in range(first, first + seeds):
        kind = kinds[seed % len(kinds)]
        try:
            tally = simulate(seed, kind)
        except BreachError as error:
            breaches += 1
            _say(f"  BREACH seed={seed} {kind}: {error}")
        else:
            totals.update({kind.value: 1}, deliveries=tally.deliveries, parked=tally.parked)
    _say(
        f"simulated {seeds} seeds in {time.monotonic() - started:.0f}s: "
        + " ".join(f"{name}={count}" for name, count in totals.items())
        + f" breaches={breaches}"
    )
    return 1 if breaches else 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    """Run rounds until the time is over; 1 when any invariant was broken."""
    asked = _arguments()
    seed = secrets.randbelow(1_000_000) if asked.seed is None else asked.seed
    _say(f"seed {seed}")
    if asked.simulate is not None:
        return _simulate(seed, asked.simulate)
    names = asked.scenario or list(SCENARIOS)
    until = time.monotonic() + asked.minutes * 60
    totals: Counter[str] = Counter()
    # The pool warns of every connection that a crash took: here they are meant to go.
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)
    nursery = Nursery()
    try:
        with postgres() as server, tempfile.TemporaryDirectory() as folder:
            number = 0
            while time.monotonic() < until or number == 0:
                started = time.monotonic()
                scenario = SCENARIOS[names[number % len(names)]]
                score = Round(scenario, seed + number, server, nursery, Path(folder)).run(
                    asked.round_s
                )
                _say(score.line(time.monotonic() - started))
                for breach in score.findings.breaches:
                    _say(f"  BREACH {breach}")
                found = score.findings
                totals.update(
                    rounds=1, kills=score.kills, zombies=score.freezes, crashes=score.crashes,
                    cuts=score.cuts, reports=score.reports, abandoned=score.abandoned,
                    deliveries=found.deliveries, lost=found.lost, doubled=found.doubled, parked=found.parked,
                    breaches=len(found.breaches),
                )  # fmt: skip
                number += 1
    finally:
        nursery.close()
    _say("total " + " ".join(f"{name}={count}" for name, count in totals.items()))
    return 1 if totals["breaches"] else 0


if __name__ == "__main__":
    sys.exit(main())
