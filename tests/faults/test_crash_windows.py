"""Every point at which a process can die: what is in the database then, and what becomes of the mail."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import psycopg
import pytest

from mailglass.app import Mailglass
from tests.faults.checker import Facts, check
from tests.faults.nursery import Nursery, WorkerPlan, desk
from tests.faults.sink import SinkPlan, ask, running_sink
from tests.faults.windows import INTAKE, Window, the_mail

LONG_LEASE_S: Final = 60.0
SETTLE_S_MAX: Final = 30.0
ONE: Final = ("sent", 1)
"""The state at the end and the copies at the provider."""
PARKED: Final = ("unknown", 0)
ENDS: Final[Mapping[Window, Mapping[str, tuple[str, int]]]] = {
    Window.BEFORE_COMMIT: {"keyed": ONE, "park": ONE, "search": ONE},
    Window.AFTER_COMMIT: {"keyed": ONE, "park": ONE, "search": ONE},
    Window.BEFORE_DOORBELL: {"keyed": ONE, "park": ONE, "search": ONE},
    Window.BEFORE_CLAIM: {"keyed": ONE, "park": ONE, "search": ONE},
    Window.AFTER_CLAIM: {"keyed": ONE, "park": PARKED, "search": ONE},
    Window.HALF_SENT: {"keyed": ONE, "park": PARKED, "search": ONE},
    Window.SENT_UNREAD: {"keyed": ONE, "park": ("unknown", 1), "search": ONE},
    Window.READ_UNWRITTEN: {"keyed": ONE, "park": ("unknown", 1), "search": ONE},
    Window.WRITTEN_UNHEARD: {"keyed": ONE, "park": ONE, "search": ONE},
    Window.PAUSE: {"keyed": ONE, "park": ONE, "search": ONE},
}
"""What is promised, cell by cell. W0 was promised nothing, so the caller asks again, as after W1."""
_WAITING: Final = INTAKE | {Window.BEFORE_CLAIM}
ORDER: Final = (
    Window.PAUSE, *(one for one in ENDS if one not in _WAITING | {Window.PAUSE}),
    *(one for one in ENDS if one in _WAITING),
)  # fmt: skip
"""What stays queued comes last, so that each process finds the mail of its own window alone."""
_STATES: Final = """
    select split_part(address::text, '@', 1), state, id::text from mailglass.deliveries"""


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    """Return a nursery whose children die at windows."""
    made = Nursery("tests.faults.windows")
    yield made
    made.close()


def _states(database_url: str) -> dict[str, tuple[str, str]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        return {row[0].upper(): (row[1], row[2]) for row in connection.execute(_STATES)}


def _die_in(window: Window, plan: WorkerPlan, nursery: Nursery, mail: Mailglass) -> int | None:
    """Let one process die in a window; the number of one that only sleeps."""
    told = replace(plan, crash_at=window.value, lease_s=LONG_LEASE_S)
    if window not in INTAKE:
        mail.deliver_later(the_mail(window.value, plan.on_unknown))
    pid = nursery.fork(told)
    if window is Window.PAUSE:
        return pid
    assert os.WTERMSIG(nursery.wait(pid)) == signal.SIGKILL
    # The caller of W0 to W2 got no answer, so it asks again with its key.
    mail.deliver_later(the_mail(window.value, plan.on_unknown))
    return None


def _until(database_url: str, wanted: Mapping[str, str]) -> None:
    """Wait until every delivery is in the state that is wanted of it."""
    deadline = time.monotonic() + SETTLE_S_MAX
    while time.monotonic() < deadline:
        found = {window: state for window, (state, _) in _states(database_url).items()}
        if found == wanted:
            return
        time.sleep(0.05)
    assert found == wanted


def _until_it_sleeps(pid: int) -> None:
    """Wait until a process is stopped: before that it could claim the mail of another window."""
    deadline = time.monotonic() + SETTLE_S_MAX
    while Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "T":
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("kind", "search_lag_s"), [("keyed", None), ("park", None), ("search", 0.3)]
)
def test_what_becomes_of_a_mail_whose_process_dies(
    kind: str, search_lag_s: float | None, database_url: str, nursery: Nursery, tmp_path: Path
) -> None:
    """F2: W0 to W8 and W10, cell by cell; the invariants hold after it all."""
    plan = WorkerPlan(
        database_url=database_url,
        sink=str(tmp_path / "sink"),
        log=str(tmp_path / "workers.log"),
        is_keyed=kind == "keyed",
        search_lag_s=search_lag_s,
        on_unknown="park" if kind == "park" else "resend",
    )
    quiet = SinkPlan(is_keyed=kind == "keyed", lost=0, deaf=0, busy=0, slow_s=0, lag_s=0.1)
    with running_sink(tmp_path / "sink", quiet), desk(plan) as mail:
        sleeper: int | None = None
        for window in ORDER:
            sleeper = _die_in(window, plan, nursery, mail) or sleeper
            if window is Window.PAUSE and sleeper is not None:
                _until(database_url, {"W10": "sending"})
                _until_it_sleeps(sleeper)
        assert sleeper is not None
        with psycopg.connect(database_url, autocommit=True) as owner:
            owner.execute("update mailglass.messages set lease_until = now() where state='sending'")
        healthy = nursery.fork(plan)
        ends = {window.value: cells[kind] for window, cells in ENDS.items()}
        asleep = {"W10": "sent" if kind == "keyed" else "unknown"}
        _until(database_url, {window: state for window, (state, _) in ends.items()} | asleep)
        nursery.signal(sleeper, signal.SIGCONT)
        _until(database_url, {window: state for window, (state, _) in ends.items()})
        for pid in (sleeper, healthy):
            nursery.signal(pid, signal.SIGTERM)
            nursery.wait(pid)
        told = ask(plan.sink, {"verb": "report"}, timeout_s=10.0)
    copies = {name: told["copies"].get(one, 0) for name, (_, one) in _states(database_url).items()}
    assert copies == {window: count for window, (_, count) in ends.items()}
    facts = Facts(
        accepted=frozenset(one for _, one in _states(database_url).values()),
        refused=frozenset(),
        copies=told["copies"],
    )
    assert check(database_url, facts).breaches == []
