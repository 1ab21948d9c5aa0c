"""A nursery of workers: one process with everything imported forks them, kills, stops and reaps them.

It speaks lines of JSON on its standard input and output. Only it waits for its children, so that the
number of a dead one is nobody else's while it may still be signalled. It ends, and they with it, when
its standard input ends.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from mailglass.app import Mailglass
from mailglass.delivery import claiming, dispatch, sweep
from mailglass.ledger.database import DatabaseChoice
from mailglass.settings import load_settings
from mailglass.worker import Worker, pipeline
from tests.faults.sink import SinkAdapter

ROOT: Final = Path(__file__).parents[2]
STOP_S_MAX: Final = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPlan:
    """What a worker works with; its waits are short, so that a minute shows what else takes hours.

    ``lease_s`` is what the adapter asks for, ``claim_wait_s`` what a claim may wait before it. A
    search is believed ``search_lag_s`` after the lease; None where the sink is not asked. What is said
    of memory and files is for the children of ``scarce``.
    """

    database_url: str
    sink: str
    log: str
    is_keyed: bool
    search_lag_s: float | None
    role: str = "mailglass_app"
    threads: int = 3
    timeout_s: float = 0.3
    lease_s: float = 0.5
    claim_wait_s: float = 0.3
    sweep_every_s: float = 0.25
    poll_s: float = 0.1
    abandoned_max: int = 1_000_000
    crash_at: str | None = None
    on_unknown: str = "park"
    memory_more_bytes: int | None = None
    files_max: int | None = None


def desk(plan: WorkerPlan) -> Mailglass:
    """Return a Mailglass whose adapter is the sink's, with the plan's short waits."""
    adapter = SinkAdapter(
        plan.sink,
        is_keyed=plan.is_keyed,
        search_lag_s=plan.search_lag_s,
        timeout_s=plan.timeout_s,
        lease_s=plan.lease_s,
    )
    settings = load_settings(
        database_role=plan.role,
        retry_base_s=0.05,
        retry_cap_s=0.2,
        breaker={"wait_s": 0.3, "wait_s_max": 0.5},
        attempts_max=100,
        enable_real_network=True,  # the sink is an adapter that nothing is known of
        rate_limit_per_domain=None,
        database_connect_timeout_s=5,
        database_connections_max=plan.threads + 2,
    )
    choice = DatabaseChoice(url=plan.database_url, source="test", is_embedded=False)
    return Mailglass(settings, database=choice, adapters={"default": adapter})


@contextmanager
def short_waits(plan: WorkerPlan) -> Iterator[None]:
    """Shorten the waits that are no settings."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (claiming, dispatch):
            patch.setattr(module, "CLAIM_WAIT_S_MAX", plan.claim_wait_s)
        patch.setattr(pipeline, "_TROUBLE_WAIT_S", 0.2)
        # The laboratory kills more often than any poison: three abandonments say nothing there.
        patch.setattr(sweep, "ABANDONED_MAX", plan.abandoned_max)
        yield


def work(plan: WorkerPlan) -> None:
    """Run a worker until SIGTERM."""
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    with short_waits(plan), desk(plan) as mail:
        Worker(
            mail=mail,
            threads=plan.threads,
            poll_s=plan.poll_s,
            sweep_every_s=plan.sweep_every_s,
        ).run(stopped)


Job = Callable[[WorkerPlan], None]


def _child(plan: WorkerPlan, job: Job) -> None:
    """Become a worker; never returns into the nursery."""
    code = 1
    try:
        log = os.open(plan.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        nothing = os.open(os.devnull, os.O_RDWR)
        for here, there in ((nothing, 0), (nothing, 1), (log, 2)):
            os.dup2(here, there)
        job(plan)
        code = 0
    except BaseException:  # noqa: BLE001 - a forked child must not run on as its parent; the log tells
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(code)


def serve(job: Job = work) -> None:
    """Fork, signal and reap as told."""
    gc.freeze()
    children: set[int] = set()
    for line in sys.stdin:
        asked = json.loads(line)
        told: Any = None
        match asked["verb"]:
            case "fork":
                pid = os.fork()
                if pid == 0:
                    _child(WorkerPlan(**asked["plan"]), job)
                children.add(pid)
                told = pid
            case "signal":
                told = _signal(children, asked["pid"], asked["number"])
            case "ended":
                told = _ended(children)
            case "wait":
                told = os.waitpid(asked["pid"], 0)[1]
                children.discard(asked["pid"])
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _signal(children: set[int], pid: int, number: int) -> bool:
    if pid not in children:
        return False
    os.kill(pid, number)
    if number == signal.SIGKILL:
        os.waitpid(pid, 0)
        children.discard(pid)
    return True


def _ended(children: set[int]) -> list[int]:
    """Reap those that ended by themselves."""
    gone = [pid for pid in children if os.waitpid(pid, os.WNOHANG)[0]]
    children.difference_update(gone)
    return gone


class Nursery:
    """The other end of the line."""

    def __init__(self, module: str = "tests.faults.nursery") -> None:
        """Start the process; it imports while the caller goes on."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True,
        )  # fmt: skip

    def _ask(self, **question: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def fork(self, plan: WorkerPlan) -> int:
        """Fork a worker; its process id."""
        return int(self._ask(verb="fork", plan=asdict(plan)))

    def signal(self, pid: int, number: signal.Signals) -> bool:
        """Send a signal; False when the worker is gone. One that was killed has also been reaped."""
        return bool(self._ask(verb="signal", pid=pid, number=int(number)))

    def ended(self) -> list[int]:
        """Return the workers that ended by themselves since the last call."""
        return list(self._ask(verb="ended"))

    def wait(self, pid: int) -> int:
        """Wait for a worker to end; its wait status."""
        return int(self._ask(verb="wait", pid=pid))

    def close(self) -> None:
        """End all workers and the nursery."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(STOP_S_MAX)
        self._process.stdout.close()


if __name__ == "__main__":
    serve()
