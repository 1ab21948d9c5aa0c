"""The laboratory: real workers against a real Postgres and a real sink, killed at random moments."""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

import psycopg
from psycopg import sql

from mailglass import EventType, Report
from mailglass.app import Mailglass
from mailglass.ledger.embedded import EmbeddedServer
from mailglass.ledger.migrations import migrate
from mailglass.message import Message, OnUnknown
from tests.faults.checker import Facts, Findings, check
from tests.faults.nursery import Nursery, WorkerPlan, desk
from tests.faults.sink import SinkPlan, ask, running_sink

OPEN_GROUND: Final = "/tmp"  # noqa: S108 - what is made in it is fresh and has a random name
SETTLE_S_MAX: Final = 120.0
BACKLOG: Final = 60
"""Messages that wait at most before more are queued."""
FEED_MAX: Final = 12
"""Messages queued between two actions, so that actions come often."""
CANCEL: Final = 0.1
REPORTS_MAX: Final = 8
"""Reports that come at the same moment."""
KILLS_MIN: Final = 3
GRACE_S: Final = 30.0
_WAITING: Final = "select count(*) from mailglass.messages where state in ('queued', 'sending')"
_UNSETTLED: Final = """
    select count(*) filter (where state in ('queued', 'sending')),
           count(*) filter (where lease_until < clock_timestamp() - make_interval(secs => %s)),
           count(*) filter (where state = 'unknown')
    from mailglass.messages where state in ('queued', 'sending', 'unknown')"""
_ABANDONED: Final = """
    select count(*) from mailglass.events where type = 'outcome_unknown' and payload ->> 'by' = 'sweep'"""
_UNKNOWN: Final = f"""
    select id::text from mailglass.deliveries where state = 'unknown' order by id desc limit {REPORTS_MAX}"""
_NEWEST: Final = """
    select id::text from mailglass.deliveries where state = 'queued' order by id desc limit 1"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is done to whom; the rates are chances of an action, tried about ten times a second."""

    name: str
    is_keyed: bool
    on_unknown: OnUnknown
    search_lag_s: float | None = None
    kill: float = 0.35
    freeze: float = 0.0
    crash_s: float | None = None
    """Seconds between crashes of Postgres."""
    cut: float = 0.0
    """The chance that two sessions of workers are ended from outside."""
    report: float = 0.0
    """The chance that the sink reports on what nobody here knows, on all of it at the same moment."""
    workers: int = 3
    is_honest: bool = True
    """False for a sink that does not honour the keys which its adapter promises."""
    parked_max: float = 0.0
    """The part of the deliveries that may stay unknown."""


SCENARIOS: Final = {
    one.name: one
    for one in (
        Scenario(name="keyed", is_keyed=True, on_unknown=OnUnknown.PARK),
        Scenario(
            name="everything",
            is_keyed=True,
            on_unknown=OnUnknown.RESEND,
            freeze=0.3,
            crash_s=3.0,
            cut=0.1,
            report=0.3,
        ),
        Scenario(
            name="park",
            is_keyed=False,
            on_unknown=OnUnknown.PARK,
            freeze=0.2,
            crash_s=6.0,
            report=0.3,
            parked_max=1.0,
        ),
        Scenario(
            name="search",
            is_keyed=False,
            on_unknown=OnUnknown.RESEND,
            search_lag_s=0.5,
            freeze=0.3,
        ),
        Scenario(
            name="search-crash",
            is_keyed=False,
            on_unknown=OnUnknown.RESEND,
            search_lag_s=0.5,
            freeze=0.3,
            crash_s=5.0,
            parked_max=1.0,
        ),
    )
}


@dataclass(slots=True, kw_only=True)
class Score:
    """What was done, and what was found."""

    scenario: str
    seed: int
    kills: int = 0
    freezes: int = 0
    crashes: int = 0
    cuts: int = 0
    reports: int = 0
    asked_again: int = 0
    abandoned: int = 0
    """Attempts that ended with nobody left to tell, as the ledger knows them."""
    findings: Findings = field(default_factory=Findings)

    def line(self, elapsed_s: float) -> str:
        """Return one line for a person."""
        found = self.findings
        return (
            f"{self.scenario} seed={self.seed} {elapsed_s:.0f}s kills={self.kills} "
            f"zombies={self.freezes} crashes={self.crashes} cuts={self.cuts} reports={self.reports} "
            f"abandoned={self.abandoned} deliveries={found.deliveries} lost={found.lost} "
            f"doubled={found.doubled} parked={found.parked} breaches={len(found.breaches)}"
        )


class Postgres:
    """A durable server of the laboratory's own, which may be crashed."""

    def __init__(self, folder: Path) -> None:
        """Start it."""
        self._folder = folder
        self._server = EmbeddedServer.start(folder)

    def url(self, database: str) -> str:
        """Return the address of a database; the same after every crash."""
        return self._server.url(database)

    def crash(self) -> None:
        """Stop it as a power cut stops its processes, and start it again."""
        self.stop()
        self._server = EmbeddedServer.start(self._folder)

    def fresh_database(self) -> str:
        """Make and migrate a database; its address."""
        name = f"mg_test_{uuid4().hex}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        migrate(self.url(name))
        return self.url(name)

    def stop(self) -> None:
        """End all its processes at once, and wait until they are gone."""
        pid_file = self._folder / "data" / "postmaster.pid"
        os.kill(int(pid_file.read_text("utf-8").splitlines()[0]), signal.SIGQUIT)
        self._server.stop()


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Run a server for the laboratory in a folder that is removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="mg-faults-", dir=OPEN_GROUND))
    try:
        server = Postgres(folder)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


class Round:
    """One scenario on one fresh database, from the first mail to the last check."""

    def __init__(
        self, scenario: Scenario, seed: int, server: Postgres, nursery: Nursery, folder: Path
    ) -> None:
        """Prepare; nothing runs yet."""
        self.scenario, self.server, self.nursery = scenario, server, nursery
        self.score = Score(scenario=scenario.name, seed=seed)
        self.dice = random.Random(seed)  # noqa: S311 - a seeded run, no secret
        self.url = server.fresh_database()
        self.plan = WorkerPlan(
            database_url=self.url,
            sink=str(folder / f"sink-{seed}"),
            log=str(folder / "workers.log"),
            is_keyed=scenario.is_keyed,
            search_lag_s=scenario.search_lag_s,
        )
        self.alive: list[int] = []
        self.frozen: dict[int, float] = {}
        self.spared: dict[int, float] = {}
        self.accepted: set[str] = set()
        self.asked: list[str] = []
        self.crash_at = float("inf")

    def run(self, seconds: float) -> Score:
        """Do it for so long, on a busy machine until something was done at all, and check."""
        lag_s = (self.scenario.search_lag_s or 0.4) / 2
        plan = SinkPlan(
            seed=self.score.seed,
            is_keyed=self.scenario.is_keyed and self.scenario.is_honest,
            lag_s=lag_s,
        )
        with running_sink(Path(self.plan.sink), plan), desk(self.plan) as mail:
            until = time.monotonic() + seconds
            if self.scenario.crash_s is not None:
                self.crash_at = time.monotonic() + min(self.scenario.crash_s, seconds / 2)
            while time.monotonic() < until or self._is_idle(until):
                self._feed(mail)
                self._act(mail)
                time.sleep(self.dice.uniform(0, 0.08))
            self._thaw(everyone=True)
            self._fill()
            while self.asked:
                self._ask_for(mail, self.asked[0])
            while self._settle() and not self._is_over():
                self._fill()
            self._check()
        return self.score

    def _is_idle(self, until: float) -> bool:
        """Tell whether the round has not done yet what it is there for, and may go on."""
        lacks_crash = self.scenario.crash_s is not None and not self.score.crashes
        is_idle = self.score.kills < KILLS_MIN or lacks_crash
        return is_idle and time.monotonic() < until + GRACE_S

    def _feed(self, mail: Mailglass) -> None:
        """Queue mail while not much waits; each has a key, with which it is asked for until told."""
        try:
            with psycopg.connect(self.url, connect_timeout=2) as connection:
                row = connection.execute(_WAITING).fetchone()
        except psycopg.OperationalError:
            return
        for _ in range(min(FEED_MAX, BACKLOG - (row[0] if row else 0))):
            self.asked.append(f"{self.score.seed}-{self.dice.getrandbits(64)}")
            self._ask_for(mail, self.asked[0])

    def _ask_for(self, mail: Mailglass, key: str) -> None:
        """Ask for one mail; where the database breaks off, ask for the same again later."""
        message = Message(
            sender="Shop <orders@shop.example>",
            to=f"{key}@mail.example",
            cc=[f"{key}@copy.example"][: len(key) % 2],
            subject="Your order",
            text=key,
            on_unknown=self.scenario.on_unknown,
            idempotency_key=key,
        )
        try:
            delivery = mail.deliver_later(message)
        except psycopg.OperationalError:
            self.score.asked_again += 1
            return
        self.accepted.add(str(delivery.id))
        self.asked.remove(key)

    def _act(self, mail: Mailglass) -> None:
        self._thaw(everyone=False)
        self._fill()
        if time.monotonic() > self.crash_at:
            self.server.crash()
            self.score.crashes += 1
            self.crash_at = time.monotonic() + (self.scenario.crash_s or 0.0)
        now = time.monotonic()
        awake = [
            pid for pid in self.alive
            if pid not in self.frozen and self.spared.get(pid, 0.0) < now
        ]  # fmt: skip
        for pid in awake:
            if self.dice.random() < self.scenario.kill:
                if self.nursery.signal(pid, signal.SIGKILL):
                    self.score.kills += 1
                    self.alive.remove(pid)
            elif self.dice.random() < self.scenario.freeze and self.nursery.signal(
                pid, signal.SIGSTOP
            ):
                self.frozen[pid] = time.monotonic() + self.dice.uniform(0.3, 3.0)
        if self.dice.random() < self.scenario.cut:
            self._cut()
        if self.dice.random() < CANCEL:
            self._cancel(mail)
        if self.dice.random() < self.scenario.report:
            self._report(mail)

    def _cut(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            rows = connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and application_name = 'mailglass'"
                " order by random() limit 2"
            ).fetchall()
        self.score.cuts += len(rows)

    def _cancel(self, mail: Mailglass) -> None:
        """Cancel the newest mail that still waits; whether it works is checked by its state."""
        try:
            with psycopg.connect(self.url, autocommit=True, connect_timeout=2) as connection:
                row = connection.execute(_NEWEST).fetchone()
            if row is not None:
                mail.outbox.cancel(row[0], actor="laboratory")
        except psycopg.OperationalError:
            return

    def _report(self, mail: Mailglass) -> None:
        """Record at the same moment what the sink has of the mail whose end is unknown."""
        try:
            with psycopg.connect(self.url, autocommit=True, connect_timeout=2) as connection:
                unknown = [row[0] for row in connection.execute(_UNKNOWN)]
        except psycopg.OperationalError:
            return
        shown = ask(self.plan.sink, {"verb": "find", "ids": unknown}, timeout_s=10.0)["ids"]
        with ThreadPoolExecutor(REPORTS_MAX) as threads:
            self.score.reports += sum(threads.map(lambda one: _record(mail, one), shown))

    def _thaw(self, *, everyone: bool) -> None:
        now = time.monotonic()
        for pid, until in list(self.frozen.items()):
            if everyone or now > until:
                del self.frozen[pid]
                # Woken after its lease it may send; killed then, within the search's lag, nobody
                # could know: there the rule for unknown mail has no evidence to go by.
                self.spared[pid] = now + 2 * (self.scenario.search_lag_s or 0.0)
                self.score.freezes += self.nursery.signal(pid, signal.SIGCONT)

    def _fill(self) -> None:
        ended = self.nursery.ended()
        self.score.findings.add("a worker ended by itself", ended)
        self.alive = [pid for pid in self.alive if pid not in ended]
        while len(self.alive) < self.scenario.workers:
            self.alive.append(self.nursery.fork(self.plan))

    def _is_over(self) -> bool:
        """Dismiss the workers, and tell whether nothing waits now that nobody moves anything."""
        self._dismiss()
        with psycopg.connect(self.url, autocommit=True) as connection:
            row = connection.execute(_UNSETTLED, [0.0]).fetchone()
        return row is not None and row[0] == 0

    def _settle(self) -> bool:
        """Wait until nothing is on its way and no unknown is young enough to be put back.

        Workers are replaced meanwhile, as by a deployment: what is unknown is not put back while its
        owner lives. False when it took too long.
        """
        deadline = time.monotonic() + SETTLE_S_MAX
        slack_s = (self.scenario.search_lag_s or 0.0) + 1.2
        replaced_at = time.monotonic()
        while time.monotonic() < deadline:
            with psycopg.connect(self.url, autocommit=True) as connection:
                row = connection.execute(_UNSETTLED, [slack_s]).fetchone()
            waiting, old, unknown = row or (0, 0, 0)
            if waiting == 0 and old == unknown and (not unknown or self.scenario.parked_max):
                return True
            if time.monotonic() - replaced_at > slack_s:
                self._dismiss()
                self._fill()
                replaced_at = time.monotonic()
            time.sleep(0.05)
        self._dismiss()
        return False

    def _dismiss(self) -> None:
        """Tell all workers to stop, and wait until they have; each must end well."""
        for pid in self.alive:
            self.nursery.signal(pid, signal.SIGTERM)
        for pid in self.alive:
            status = self.nursery.wait(pid)
            self.score.findings.add(
                "a worker that was told to stop ended badly", [status] if status else []
            )
        self.alive.clear()

    def _check(self) -> None:
        told = ask(self.plan.sink, {"verb": "report"}, timeout_s=10.0)
        facts = Facts(
            accepted=frozenset(self.accepted),
            refused=frozenset(),
            copies=told["copies"],
            changed=told["changed"],
            sweep_every_s=self.plan.sweep_every_s,
        )
        found = check(self.url, facts)
        with psycopg.connect(self.url) as connection:
            row = connection.execute(_ABANDONED).fetchone()
        self.score.abandoned = row[0] if row else 0
        found.breaches[:0] = self.score.findings.breaches
        self.score.findings = found
        if found.parked > self.scenario.parked_max * max(1, found.deliveries):
            found.breaches.append(f"parked: {found.parked} of {found.deliveries}")


def _record(mail: Mailglass, delivery_id: str) -> bool:
    """Record that a mail was delivered; False where the database was away, or knew it."""
    told = Report(
        delivery_id=UUID(delivery_id),
        provider="sink",
        type=EventType.DELIVERED,
        key=delivery_id,
        occurred_at=datetime.now(UTC),
    )
    try:
        return mail.record(told) is not None
    except psycopg.OperationalError:
        return False
