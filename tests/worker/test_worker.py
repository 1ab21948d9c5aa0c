"""The worker: sends what is due, first what matters most, and stops well."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from email import message_from_bytes
from pathlib import Path

import psycopg
import pytest

from front_desk import front_desk, note
from mailglass import ConfigError, DispatchState, Mailglass, RateLimit, Stream, tenant
from mailglass.adapters.fake import FakeAdapter, FakeMode, SimulatedCrash
from mailglass.envelope import Accepted, Envelope
from mailglass.worker import Worker

DEADLINE_S = 30.0


class Counting(FakeAdapter):
    """A fake that raises a flag once it has seen a number of mails."""

    def __init__(self, mails: int) -> None:
        super().__init__()
        self.left = mails
        self.enough = threading.Event()

    def send(self, envelope: Envelope) -> Accepted:
        """Send, count, and say when it is enough."""
        try:
            return super().send(envelope)
        finally:
            self.left -= 1
            if self.left <= 0:
                self.enough.set()


class Faulty(Counting):
    """A fake that dies of a bug that no `except Exception` of the dispatcher sees, once."""

    def send(self, envelope: Envelope) -> Accepted:
        """Raise what is no Exception at the first mail."""
        try:
            if self.left == 2:
                raise SimulatedCrash("bug")
            return FakeAdapter.send(self, envelope)
        finally:
            self.left -= 1
            if self.left <= 0:
                self.enough.set()


def test_one_mails_bug_does_not_end_the_worker(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The next mail leaves; what happened is reported by its kind, without a word of the mail."""
    fake = Faulty(2)
    with front_desk(database_url, fake) as mail:
        for _ in range(2):
            mail.deliver_later(note())
        _work(mail, fake.enough, threads=1)
    assert len(fake.sent) == 1
    assert "attempt.dispatch_raised" in caplog.text
    assert "SimulatedCrash" in caplog.text


def test_a_worker_of_a_closed_mailglass_ends(database_url: str) -> None:
    """It does not take a pool that was closed for a database that will come back."""
    with front_desk(database_url) as mail:
        pass
    with pytest.raises(ConfigError, match="closed"):
        Worker(mail=mail).run(threading.Event())


def _work(mail: Mailglass, until: threading.Event, *, workers: int = 1, threads: int = 4) -> None:
    """Run workers until the flag is raised, then stop them and wait for their end."""
    stopped = threading.Event()
    running = [
        threading.Thread(
            target=Worker(mail=mail, threads=threads, poll_s=0.01).run, args=(stopped,)
        )
        for _ in range(workers)
    ]
    for one in running:
        one.start()
    assert until.wait(DEADLINE_S)
    stopped.set()
    for one in running:
        one.join(DEADLINE_S)
        assert not one.is_alive()


def test_workers_send_everything_once(database_url: str) -> None:
    """Three workers, many tenants, no mail twice and none left."""
    fake = Counting(60)
    with front_desk(database_url, fake) as mail:
        for number in range(60):
            with tenant(f"t{number % 5}"):
                mail.deliver_later(note())
        _work(mail, fake.enough, workers=3)
        found = mail.store.list_deliveries(tenant_id=None, limit=100)
        assert {one.state for one in found} == {DispatchState.SENT}
        assert mail.store.broken_chains() == ()
    assert len(fake.sent) == 60
    assert {one.envelope.tenant_id for one in fake.sent} == {f"t{n}" for n in range(5)}


def test_a_temporary_no_is_tried_again_by_itself(database_url: str) -> None:
    """The caller of deliver() has nothing more to do."""
    fake = Counting(2)
    fake.next(FakeMode.REJECT_TEMPORARY)
    with front_desk(database_url, fake) as mail:
        delivery = mail.deliver(note())
        assert delivery.state is DispatchState.QUEUED
        _work(mail, fake.enough)
        again = mail.delivery(delivery.id)
        assert again is not None
        assert again.state is DispatchState.SENT


def test_a_flood_of_notices_does_not_delay_a_reset(database_url: str) -> None:
    """Transactional mail is due before any other, however long the others have waited."""
    fake = Counting(1)
    many = RateLimit(capacity=10_000, per_s=1)
    with front_desk(database_url, fake, rate_limit_per_domain=many) as mail:
        for _ in range(300):
            mail.deliver_later(note(stream=Stream.OPERATIONAL))
        reset = mail.deliver_later(note(authenticates=True))
        assert mail.store.due_messages(limit=1) == (("default", reset.message_id),)
        mail.dispatch_due(messages_max=1)
    assert fake.sent[0].envelope.message_id == reset.message_id


def test_the_command_drains_the_queue(database_url: str, tmp_path: Path) -> None:
    """``mailglass worker --drain`` in a process of its own, through the file adapter."""
    with front_desk(database_url) as mail:
        for number in range(5):
            mail.deliver_later(note(subject=f"mail {number}"))
    told = subprocess.run(
        [sys.executable, "-c", "from mailglass.cli import main; main()", "worker", "--drain"],
        env={**os.environ, "MAILGLASS_DATABASE_URL": database_url, "MAILGLASS_ADAPTER": "file",
             "MAILGLASS_FILE_FOLDER": str(tmp_path)},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert told.stdout == "tried 5\n"
    subjects = {message_from_bytes(path.read_bytes())["Subject"] for path in tmp_path.glob("*.eml")}
    assert subjects == {f"mail {number}" for number in range(5)}


def test_the_command_keeps_the_collector_of_its_own_process_quiet(database_url: str) -> None:
    """It looks seldom at what is new and not at all at what was loaded; an application's is untouched."""
    told = subprocess.run(
        [sys.executable, "-c",
         "import atexit, gc; from mailglass.cli import main;"
         "print(gc.get_freeze_count() > 0, gc.get_threshold()[0]);"
         "atexit.register(lambda: print(gc.get_freeze_count() > 0, gc.get_threshold()[0])); main()",
         "worker", "--drain"],
        env={**os.environ, "MAILGLASS_DATABASE_URL": database_url},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert told.stdout == "False 700\ntried 0\nTrue 20000\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_ends_well_when_told_to(database_url: str, number: signal.Signals) -> None:
    """A deploy stops it without a traceback and with exit 0."""
    with subprocess.Popen(
        [sys.executable, "-c", "from mailglass.cli import main; main()", "worker"],
        env={**os.environ, "MAILGLASS_DATABASE_URL": database_url},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        assert "using database" in process.stderr.readline()
        process.send_signal(number)
        assert process.wait(timeout=DEADLINE_S) == 0
        assert process.stdout is not None
        assert process.stdout.read() == "tried 0\n"


def test_a_database_that_goes_away_is_waited_for(database_url: str) -> None:
    """Cut connections stop no worker, and the mail leaves afterwards."""
    fake = Counting(1)
    with front_desk(database_url, fake) as mail:
        with psycopg.connect(database_url, autocommit=True) as other:
            mail.deliver_later(note())
            other.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )
        _work(mail, fake.enough)
        (delivery,) = mail.store.list_deliveries(tenant_id=None)
        assert delivery.state is DispatchState.SENT
