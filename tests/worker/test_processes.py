"""Processes: forked together, replaced when they die, ended together, and each mail sent once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email import message_from_bytes
from pathlib import Path

import pytest

from front_desk import front_desk, note
from mailglass import DispatchState, Stream
from mailglass.worker.processes import MISUSED, Crew

DEADLINE_S = 60.0
MAILS = 300


def _command(
    *arguments: str, url: str | None, folder: Path, **environ: str
) -> subprocess.Popen[str]:
    """Start ``mailglass worker`` with the file adapter, in a process group of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAILGLASS_")}
    kept |= {"MAILGLASS_ADAPTER": "file", "MAILGLASS_FILE_FOLDER": str(folder)}
    kept |= {} if url is None else {"MAILGLASS_DATABASE_URL": url}
    return subprocess.Popen(
        [sys.executable, "-c", "from mailglass.cli import main; main()", "worker", *arguments],
        env=kept | environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


@contextmanager
def _running(
    *arguments: str, url: str, folder: Path, **environ: str
) -> Iterator[subprocess.Popen[str]]:
    """Run the command for the block; whatever is left of it afterwards is killed."""
    with _command(*arguments, url=url, folder=folder, **environ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def _until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


def _children(process_id: int) -> list[int]:
    return [
        int(one)
        for one in Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split()
    ]


def _is_running(process_id: int) -> bool:
    status = Path(f"/proc/{process_id}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def _subjects(folder: Path) -> Counter[str]:
    return Counter(
        str(message_from_bytes(one.read_bytes())["Subject"]) for one in folder.glob("*.eml")
    )


def test_two_processes_send_three_hundred_mails_once_each(
    database_url: str, tmp_path: Path
) -> None:
    """The whole of it: the command, two processes, the file adapter, a SIGTERM, exit 0."""
    with front_desk(database_url) as mail:
        mail.deliver_many(
            [note(subject=f"mail {number}", to=f"z@d{number}.example") for number in range(MAILS)]
        )
        with _running("--processes", "2", url=database_url, folder=tmp_path) as process:
            _until(lambda: len(list(tmp_path.glob("*.eml"))) >= MAILS)
            process.send_signal(signal.SIGTERM)
            told, _ = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0
        tried = [int(line.removeprefix("tried ")) for line in told.splitlines()]
        assert len(tried) == 2
        assert sum(tried) == MAILS
        found = mail.store.list_deliveries(tenant_id=None, limit=MAILS + 1)
        assert Counter(one.state for one in found) == {DispatchState.SENT: MAILS}
        assert mail.store.broken_chains() == ()
    assert _subjects(tmp_path) == Counter(f"mail {number}" for number in range(MAILS))


def test_a_process_that_is_killed_is_replaced(database_url: str, tmp_path: Path) -> None:
    """SIGKILL to one of two: another takes its place, and the mail goes on."""
    with _running("--processes", "2", url=database_url, folder=tmp_path) as process:
        _until(lambda: len(_children(process.pid)) == 2)
        first, second = _children(process.pid)
        os.kill(first, signal.SIGKILL)
        _until(lambda: len(set(_children(process.pid)) - {first, second}) == 1)
        with front_desk(database_url) as mail:
            mail.deliver_later(note())
        _until(lambda: len(list(tmp_path.glob("*.eml"))) == 1)
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 0


def test_children_of_a_parent_that_was_killed_end_by_themselves(
    database_url: str, tmp_path: Path
) -> None:
    """Nobody goes on sending that nobody can stop."""
    with _running("--processes", "2", url=database_url, folder=tmp_path) as process:
        _until(lambda: len(_children(process.pid)) == 2)
        children = _children(process.pid)
        os.kill(process.pid, signal.SIGKILL)
        try:
            _until(lambda: not any(_is_running(one) for one in children))
        finally:
            for one in filter(_is_running, children):
                os.kill(one, signal.SIGKILL)


def test_several_processes_drain_and_end(database_url: str, tmp_path: Path) -> None:
    """Done is done: with ``--drain`` nobody is replaced."""
    with front_desk(database_url) as mail:
        mail.deliver_many([note(subject=f"mail {number}") for number in range(20)])
    with _running("--processes", "2", "--drain", url=database_url, folder=tmp_path) as process:
        assert process.wait(DEADLINE_S) == 0
    assert _subjects(tmp_path) == Counter(f"mail {number}" for number in range(20))


def test_only_the_streams_that_were_asked_for_are_taken(database_url: str, tmp_path: Path) -> None:
    """A host for bulk mail leaves the resets to others."""
    with front_desk(database_url) as mail:
        mail.deliver_later(note(subject="reset"))
        mail.deliver_later(note(subject="notice", stream=Stream.OPERATIONAL))
        with _running(
            "--streams", "operational,bulk", url=database_url, folder=tmp_path
        ) as process:
            _until(lambda: len(list(tmp_path.glob("*.eml"))) == 1)
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE_S) == 0
        states = {one.stream: one.state for one in mail.store.list_deliveries(tenant_id=None)}
    assert states == {
        Stream.TRANSACTIONAL: DispatchState.QUEUED, Stream.OPERATIONAL: DispatchState.SENT
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--streams", "bulk,pigeon"], "there is no stream 'pigeon'"),
        (["--processes", "0"], "--processes"),
        (["--processes", "2"], "several processes need a database"),
    ],
)
def test_misuse_is_told_and_exits_2(arguments: list[str], told: str, tmp_path: Path) -> None:
    """Before anything is started."""
    with _command(*arguments, url=None, folder=tmp_path, DATABASE_URL="") as process:
        _, shown = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 2
    assert told in shown


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # from Python 3.12 on
def test_a_crew_that_cannot_work_gives_up(tmp_path: Path) -> None:
    """What another start would not help is not started for ever, and the rest is ended."""
    begun = tmp_path / "begun"

    def misused(_stopped: threading.Event) -> int:
        with begun.open("a") as log:
            log.write("x")
        return MISUSED

    def waits(stopped: threading.Event) -> int:
        return 0 if stopped.wait(DEADLINE_S) else 1

    crew = Crew([misused, waits], _flag_of_sigterm(), stop_s=DEADLINE_S)
    assert crew.run() == 1
    assert begun.read_text() == "x"


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # from Python 3.12 on
def test_a_process_that_does_not_end_is_killed() -> None:
    """The wait has a bound, and the exit code says that it was reached."""

    def hangs(_stopped: threading.Event) -> int:
        threading.Event().wait()
        return 0

    stopped = _flag_of_sigterm()
    threading.Timer(0.5, stopped.set).start()
    assert Crew([hangs], stopped, stop_s=0.5).run() == 1


def _flag_of_sigterm() -> threading.Event:
    """Return a flag that children raise at SIGTERM, as the command's do."""
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    return stopped


@pytest.fixture(autouse=True)
def _handlers_are_put_back() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)
