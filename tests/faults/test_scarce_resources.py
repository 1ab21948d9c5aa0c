"""Workers with too little memory or too few files: mail waits, is tried again, and leaves once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from front_desk import note
from mailglass import DispatchState
from mailglass.message import Attachment
from tests.faults.checker import Facts, check
from tests.faults.nursery import Nursery, WorkerPlan, desk
from tests.faults.sink import SinkPlan, ask, running_sink
from tests.faults.work import owner, states, until

MIB = 1_048_576
QUIET = SinkPlan(lost=0, deaf=0, busy=0, slow_s=0.02)


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    """Return a nursery whose children get little."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MALLOC_ARENA_MAX", "1")  # what allocators reserve for each thread counts too
        made = Nursery("tests.faults.scarce")
    yield made
    made.close()


def _each_leaves_once(plan: WorkerPlan, asked: frozenset[str], nursery: Nursery) -> None:
    """Let one worker work until all is sent; it must live until then, and end well when told to."""
    pid = nursery.fork(plan)
    until(lambda: nursery.ended() != [] or _all_sent(plan, len(asked)))
    assert _all_sent(plan, len(asked)), Path(plan.log).read_text("utf-8")
    nursery.signal(pid, signal.SIGTERM)
    assert nursery.wait(pid) == 0
    told = ask(plan.sink, {"verb": "report"}, timeout_s=10.0)
    facts = Facts(accepted=asked, refused=frozenset(), copies=told["copies"])
    assert check(plan.database_url, facts).breaches == []


def _all_sent(plan: WorkerPlan, number: int) -> bool:
    return states(plan.database_url) == {DispatchState.SENT: number}


def _plan(database_url: str, folder: Path) -> WorkerPlan:
    return WorkerPlan(
        database_url=database_url, sink=str(folder / "sink"), log=str(folder / "log"),
        is_keyed=False, search_lag_s=None, threads=4, timeout_s=10.0, lease_s=20.0,
        claim_wait_s=10.0,
    )  # fmt: skip


def test_large_mails_leave_with_little_memory(
    database_url: str, nursery: Nursery, tmp_path: Path
) -> None:
    """F18: four mails of 25 MiB, four threads, 250 MiB; a claim takes no more than fits."""
    plan = replace(_plan(database_url, tmp_path), memory_more_bytes=250 * MIB)
    large = Attachment(filename="scan.bin", content=bytes(25 * MIB))
    with running_sink(tmp_path / "sink", QUIET), desk(plan) as mail:
        asked = [mail.deliver_later(note(attachments=[large])) for _ in range(4)]
        _each_leaves_once(plan, frozenset(str(one.id) for one in asked), nursery)


def test_mails_leave_while_files_run_out(
    database_url: str, nursery: Nursery, tmp_path: Path
) -> None:
    """F19: 64 open files, all taken by others again and again; no attempt of unknown end, none lost."""
    plan = replace(_plan(database_url, tmp_path), files_max=64)
    slow = replace(QUIET, slow_s=0.1)
    with running_sink(tmp_path / "sink", slow), desk(plan) as mail:
        asked = mail.deliver_many([note() for _ in range(60)])
        _each_leaves_once(plan, frozenset(str(one.id) for one in asked), nursery)
    with owner(database_url) as connection:
        kinds = {row[0] for row in connection.execute("select type from mailglass.events")}
    assert "attempt_failed" in kinds
    assert "outcome_unknown" not in kinds
