"""Workers, connections and Postgres are killed at random moments; every mail still ends once.

A short round of what ``scripts/faults`` does for as long as it is told to. The seed is in the id of
a failed run's first line; time itself cannot be repeated, so a seed repeats the plan and not the race.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailglass.errors import ConfigError
from mailglass.message import OnUnknown
from tests.faults.laboratory import SCENARIOS, Postgres, Round, Scenario, Score, postgres
from tests.faults.nursery import Nursery

FAULTS_S = 2.0
ROUNDS_MAX = 10


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    """Return a nursery with everything imported."""
    made = Nursery()
    yield made
    made.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """Return a durable server that may be crashed."""
    try:
        with postgres() as made:
            yield made
    except ConfigError as error:
        pytest.skip(f"no PostgreSQL to crash: {error}")


def _round(
    scenario: Scenario, server: Postgres, nursery: Nursery, folder: Path, *, seconds: float
) -> Score:
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)
    seed = secrets.randbelow(1_000_000)
    score = Round(scenario, seed, server, nursery, folder).run(seconds)
    print(score.line(seconds))  # noqa: T201 - shown by pytest with a failure, for its seed
    return score


@pytest.mark.parametrize("name", ["everything", "park", "search", "search-crash"])
def test_no_mail_is_lost_or_doubled(
    name: str, server: Postgres, nursery: Nursery, tmp_path: Path
) -> None:
    """G1, G2: kill -9, frozen workers, cut sessions and crashes of Postgres; invariants I1 to I12."""
    score = _round(SCENARIOS[name], server, nursery, tmp_path, seconds=FAULTS_S)
    assert score.findings.breaches == []
    assert score.kills > 0
    assert score.findings.deliveries > 0


def test_without_the_providers_key_the_laboratory_sees_doubles(
    server: Postgres, nursery: Nursery, tmp_path: Path
) -> None:
    """The check can fail: a fence alone protects our rows and not the provider."""
    naive = Scenario(
        name="naive", is_keyed=True, is_honest=False, on_unknown=OnUnknown.RESEND, kill=0.5
    )
    for attempt in range(ROUNDS_MAX):  # a kill has to fall into the moment that matters
        folder = tmp_path / str(attempt)
        folder.mkdir()
        score = _round(naive, server, nursery, folder, seconds=FAULTS_S)
        if score.findings.doubled:
            break
    assert score.findings.doubled > 0
    assert any(one.startswith("I3") for one in score.findings.breaches)
