"""Queue and dispatch mail beside peers and the limits of the database: ``python benchmarks/delivery``.

It starts a durable PostgreSQL of its own in a temporary folder; every commit waits for the disk. Peers
run in an environment of their own, given by ``--peers``; Redis and RabbitMQ are started where they are
installed, and left out where they are not:

    python -m venv peers && peers/bin/pip install -r benchmarks/delivery/requirements.txt
    python benchmarks/delivery --peers peers/bin/python [--quick]

* ``one``: ``deliver_later``, preflight included, beside its bare statement with the same rows;
* ``many``: ``deliver_many`` of finished messages beside COPY of the same rows into tables that have the
  same columns, checks and indexes and no triggers;
* ``mailables``: ``deliver_many`` with rendering, inlining and MIME beside django-post-office's
  ``send_many``, which renders and stores the parts, alone and with the same inlining by premailer;
* ``dispatch``: worker processes that send through an adapter which accepts everything, every event
  written, beside the workers of other queues on jobs that do nothing;
* ``held``: the same worker on a ledger that holds ``--held-events`` events already;
* ``backlog``: how long a transactional mail takes while ``--backlog`` bulk mails are being sent.

Rounds alternate between the contestants and each figure is the median of its rounds. Times belong to
this machine: read the ratios, and on a busy machine the CPU seconds.
"""

# ruff: noqa: INP001, T201 - a script, run as a folder, that prints its findings
from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import psycopg
from backlog import pile_up, waits_s
from held import hold
from limits import Copied, bare_statements, frozen
from mails import Order, front_desk, message, write_templates
from meter import Meter, Spent, table

from mailglass import Mailglass, Message
from mailglass.ledger.embedded import EmbeddedServer
from mailglass.ledger.migrations import migrate

HERE: Final = Path(__file__).parent
POLL_S: Final = 0.02
SUPPORT: Final = HERE.parents[1] / "tests/support"
BACKLOG_SAMPLES: Final = 50
QUICK: Final = {"rounds": 3, "single": 200, "batch": 2_000, "sends": 4_000}
PEER_PARTS: Final = {"procrastinate": 10}
"""Peers do one job in so many; what it costs is told for each job."""
_LEFT: Final = (
    "select exists (select from mailglass.messages"
    " where state = 'queued' and not held and ordering_key is null)"
    " or exists (select from mailglass.messages where state = 'sending'),"
    " exists (select from mailglass.messages where state = 'unknown')"
)


class Child:
    """A process that is told what to do line by line; ``with`` ends it."""

    def __init__(self, python: str, *arguments: str) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own scripts
            [python, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.answer()

    def answer(self) -> str:
        """Return its next line."""
        assert self._process.stdout is not None  # noqa: S101 - it was asked for above
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a contestant ended: {self._process.args!r}")
        return line

    def tell(self, line: str) -> None:
        """Give it a line."""
        assert self._process.stdin is not None  # noqa: S101 - it was asked for above
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def end(self) -> None:
        """Close its input and wait for it."""
        assert self._process.stdin is not None  # noqa: S101 - it was asked for above
        self._process.stdin.close()
        self._process.wait(timeout=60)


class Bench:
    """The server, the meter, and what was asked for."""

    def __init__(
        self,
        given: argparse.Namespace,
        server: EmbeddedServer,
        folder: Path,
        brokers: Mapping[str, str],
    ) -> None:
        self.given = given
        self.brokers = brokers
        self.server = server
        self.url = ""
        self.folder = folder
        self.meter = Meter.of(server.folder)

    def peers(self) -> dict[str, tuple[str, str]]:
        """Return the queue peers that can run: their name in ``peers.py`` and their address."""
        known = {"procrastinate": self.server.url("of_peers")}
        for name, url in self.brokers.items():
            known |= {f"dramatiq-{name}": url, f"dramatiq-{name}, 1,000 ahead": url}
        return {name: (name, url) for name, url in known.items() if self.given.peers}

    def child(self, name: str, url: str) -> Child:
        """Start a peer."""
        return Child(self.given.peers, str(HERE / "peers.py"), name, url)

    def asked(self, child: Child, count: int) -> Spent:
        """Let a peer do its work; it keeps its own time, since it prepares before."""
        postgres = self.meter.postgres_s()
        child.tell(str(count))
        told = json.loads(child.answer())
        return Spent(messages=count, postgres_s=self.meter.postgres_s() - postgres, **told)


def one_by_one(bench: Bench) -> None:
    """Compare ``deliver_later`` with the bare statement."""
    count = bench.given.single
    found: dict[str, list[Spent]] = {"deliver_later": [], "bare statement": []}
    with front_desk(bench.url) as mail, psycopg.connect(bench.url, autocommit=True) as connection:
        connection.execute("set role mailglass_app")
        for number in range(20):
            mail.deliver_later(message(number))
        bare_statements(connection, frozen(20))
        for _ in range(bench.given.rounds):
            mails, ready = [message(number) for number in range(count)], frozen(count)

            def ours(mails: Sequence[object] = mails) -> None:
                for one in mails:
                    mail.deliver_later(one)  # type: ignore[arg-type] # they are messages

            found["deliver_later"].append(bench.meter.measured(count, ours))
            found["bare statement"].append(
                bench.meter.measured(count, lambda ready=ready: bare_statements(connection, ready))  # type: ignore[misc] # a lambda's default has no type
            )
    table("Queueing one by one, preflight included", found)


def together(bench: Bench) -> None:
    """Compare ``deliver_many`` of finished messages with COPY of the same rows."""
    count = bench.given.batch
    found: dict[str, list[Spent]] = {"deliver_many, finished messages": [], "COPY": []}
    with front_desk(bench.url) as mail, psycopg.connect(bench.url, autocommit=True) as connection:
        copied = Copied(connection=connection)
        for number in range(bench.given.rounds):
            mails = [message(one) for one in range(count)]
            found["deliver_many, finished messages"].append(
                bench.meter.measured(count, lambda mails=mails: _queued(mail, mails))  # type: ignore[misc] # as above
            )
            if number == 0:
                copied.prepare(count)
            copied.empty()
            found["COPY"].append(bench.meter.measured(count, copied.run))
    table(f"Queueing {count:,} finished messages together", found)


def _queued(mail: Mailglass, mails: Sequence[Message | Order]) -> None:
    """Queue them all, or fail: a mail that is refused costs nothing."""
    mail.deliver_many(mails, raise_on_failure=True)


def from_mailables(bench: Bench) -> None:
    """Compare ``deliver_many`` of mailables with post_office's ``send_many``, rendering on both sides."""
    count, peer_count = bench.given.batch, max(1, bench.given.batch // 10)
    found: dict[str, list[Spent]] = {"deliver_many, mailables": []}
    children = {
        name: bench.child(name, bench.server.url("of_peers"))
        for name in ("post_office", "post_office, inlined by premailer")
        if bench.given.peers
    }
    found |= {name: [] for name in children}
    write_templates(bench.folder)
    with front_desk(bench.url, bench.folder) as mail:
        _queued(mail, [Order(number=0)])
        for _ in range(bench.given.rounds):
            mails = [Order(number=number) for number in range(count)]
            found["deliver_many, mailables"].append(
                bench.meter.measured(count, lambda mails=mails: _queued(mail, mails))  # type: ignore[misc] # as above
            )
            for name, child in children.items():
                found[name].append(bench.asked(child, peer_count))
    for child in children.values():
        child.end()
    table(f"Queueing {count:,} mailables together, rendering included", found)


def dispatched(bench: Bench, connection: psycopg.Connection, count: int, workers: int) -> Spent:
    """Queue mails, let worker processes send them, and return what the sending took."""
    with front_desk(bench.url) as mail:
        for start in range(0, count, 10_000):
            _queued(mail, [message(one) for one in range(start, min(count, start + 10_000))])
    arguments = (str(HERE / "worker.py"), bench.url, str(bench.given.threads))
    connection.execute("set enable_seqscan = off")  # asking what is left is none of the work
    children = [Child(sys.executable, *arguments) for _ in range(workers)]
    told: list[dict[str, Any]] = []

    def run() -> None:
        for one in children:
            one.tell("go")
        while (row := connection.execute(_LEFT).fetchone()) and row[0]:
            time.sleep(POLL_S)
        if row and row[1]:
            raise SystemExit("a mail's outcome is unknown")

    spent = bench.meter.measured(count, run)
    for one in children:
        one.tell("end")
        told.append(json.loads(one.answer()))
        one.end()
    tried = sum(one["tried"] for one in told)
    if tried != count:
        raise SystemExit(f"{tried} of {count} mails were attempted")
    if workers == 1:
        memory = told[0]["memory_kb"]
        fifth = memory[len(memory) // 5] // 1024
        print(
            f"worker: {fifth} MB after a fifth of {count:,} sends, {memory[-1] // 1024} MB at the end"
        )
    return replace(spent, python_s=sum(one["python_s"] for one in told))


def sending(bench: Bench) -> None:
    """Compare one worker process with two, and with peers on jobs that do nothing."""
    count = bench.given.sends
    found: dict[str, list[Spent]] = {"mailglass, one process": [], "mailglass, two processes": []}
    children = {name: bench.child(*asked) for name, asked in bench.peers().items()}
    found |= {name: [] for name in children}
    with psycopg.connect(bench.url, autocommit=True) as connection:
        for _ in range(bench.given.rounds):
            for workers, name in enumerate(list(found)[:2], start=1):
                found[name].append(dispatched(bench, connection, count, workers))
            for name, child in children.items():
                found[name].append(bench.asked(child, max(1, count // PEER_PARTS.get(name, 2))))
    for child in children.values():
        child.end()
    table(f"Dispatching {count:,} mails through a null adapter, every event written", found)


def grown(bench: Bench) -> None:
    """Compare dispatch on this ledger with dispatch on one that holds many events, in one run."""
    if not bench.given.held_events:
        return
    count, found = bench.given.sends, {"few events": [], "many events": []}  # type: ignore[var-annotated] # named below
    few, many = bench.url, bench.server.url("of_many_events")
    migrate(many)
    hold(many, bench.given.held_events)
    for _ in range(bench.given.rounds):
        for name, bench.url in (("few events", few), ("many events", many)):
            with psycopg.connect(bench.url, autocommit=True) as connection:
                found[name].append(dispatched(bench, connection, count, 1))
    bench.url = few
    table(f"Dispatching beside {bench.given.held_events:,} events of before", found)


def behind_a_backlog(bench: Bench) -> None:
    """Time transactional mails that come while bulk mail is being sent."""
    if not bench.given.backlog:
        return
    pile_up(bench.url, bench.given.backlog)
    child = Child(sys.executable, str(HERE / "worker.py"), bench.url, str(bench.given.threads))
    child.tell("go")
    found = sorted(waits_s(bench.url, BACKLOG_SAMPLES))
    with psycopg.connect(bench.url, autocommit=True) as connection:
        row = connection.execute(
            "select count(*) from mailglass.messages where state = 'queued' and stream = 'bulk'"
        ).fetchone()
    child.tell("end")
    child.answer()
    child.end()
    middle = found[len(found) // 2]
    print(
        f"\nA transactional mail behind {bench.given.backlog:,} bulk mails, {row[0] if row else 0:,} of them"
        f" still queued at the end: median {middle:.3f} s, slowest of {len(found)} {found[-1]:.3f} s"
    )


PARTS: Final = {
    "one": one_by_one,
    "many": together,
    "mailables": from_mailables,
    "dispatch": sending,
    "held": grown,
    "backlog": behind_a_backlog,
}


def given_options() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--parts", default=",".join(PARTS), help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--single", type=int, default=500, help="mails queued one by one")
    parser.add_argument("--batch", type=int, default=10_000, help="mails queued together")
    parser.add_argument("--sends", type=int, default=20_000, help="mails dispatched in a round")
    parser.add_argument("--threads", type=int, default=4, help="threads of a worker")
    parser.add_argument(
        "--held-events", type=int, default=0, help="events of before, such as 10000000"
    )
    parser.add_argument("--backlog", type=int, default=0, help="bulk mails, such as 100000")
    parser.add_argument("--peers", help="the interpreter that has the peers")
    parser.add_argument("--quick", action="store_true", help="few mails and rounds")
    given = parser.parse_args()
    if given.quick:
        vars(given).update(QUICK)
    return given


def brokers_of(given: argparse.Namespace, folder: Path, running: ExitStack) -> Mapping[str, str]:
    """Start the brokers that are installed, where peers are asked for that use them."""
    if not given.peers or "dispatch" not in given.parts.split(","):
        return {}
    sys.path.append(str(SUPPORT))
    from broker_servers import RABBITMQ, rabbitmq_server, redis_server  # noqa: PLC0415 - the tests' own

    found = {}
    for name, program, start in (
        ("redis", "redis-server", redis_server),
        ("rabbitmq", str(RABBITMQ), rabbitmq_server),
    ):
        if shutil.which(program):
            place = folder / name
            place.mkdir()
            found[name], _process = running.enter_context(start(place))
    return found


def main() -> None:
    """Measure and print."""
    given = given_options()
    with tempfile.TemporaryDirectory(prefix="mg-bench-", dir="/tmp") as place:
        folder = Path(place)
        folder.chmod(0o755)
        server = EmbeddedServer.start(folder / "server", durable=True)
        with ExitStack() as running:
            running.callback(server.stop)
            with psycopg.connect(server.url(), autocommit=True) as connection:
                for name in ("peers", "many_events", *given.parts.split(",")):
                    connection.execute(f"create database of_{name}".encode())
            bench = Bench(given, server, folder, brokers_of(given, folder, running))
            for name in given.parts.split(","):
                bench.url = server.url(f"of_{name}")
                migrate(bench.url)
                PARTS[name](bench)


if __name__ == "__main__":
    main()
