"""Redis and RabbitMQ themselves: the command, dramatiq's command, and brokers that forget or die.

``scripts/brokers`` runs this; by its name the suite leaves it out, since it needs both servers.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email import message_from_bytes
from pathlib import Path
from urllib.request import urlopen
from uuid import UUID

import dramatiq
import pytest

from broker_servers import free_port, rabbitmq_server, redis_server, stop
from front_desk import front_desk, note
from mailglass import DispatchState, Mailglass, Message
from mailglass.settings import load_settings
from mailglass.worker import BrokerWake
from mailglass.worker.brokers import broker_from, notices

DEADLINE_S = 60.0
MAIN = "from mailglass.cli import main; main()"
SERVERS = {"redis": redis_server, "rabbitmq": rabbitmq_server}


@contextmanager
def _server(name: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    folder = Path(tempfile.mkdtemp(prefix="mg-broker-"))
    try:
        with SERVERS[name](folder) as started:
            yield started
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module", params=sorted(SERVERS))
def broker_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Return the URL of a running broker."""
    with _server(request.param) as (url, _process):
        yield url


@pytest.fixture
def broker(broker_url: str) -> Iterator[dramatiq.Broker]:
    """Return a broker whose queue is there and empty."""
    made = broker_from(load_settings(broker_url=broker_url))
    for notice in notices("default", [UUID(int=0)]):
        made.enqueue(notice)
    made.flush_all()
    try:
        yield made
    finally:
        made.close()


@contextmanager
def _front_desk(database_url: str, broker_url: str) -> Iterator[Mailglass]:
    wake = BrokerWake(load_settings(broker_url=broker_url))
    with front_desk(database_url, enqueue=wake) as mail:
        wake.bind(mail)
        try:
            yield mail
        finally:
            wake.close()


@contextmanager
def _worker(
    *command: str, url: str, broker_url: str, folder: Path, **environ: str
) -> Iterator[subprocess.Popen[str]]:
    """Run a command that sends by the file adapter; at the end it is told to stop, and exits 0."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAILGLASS_")}
    kept |= {"MAILGLASS_ADAPTER": "file", "MAILGLASS_FILE_FOLDER": str(folder)}
    kept |= {"MAILGLASS_DATABASE_URL": url, "MAILGLASS_BROKER_URL": broker_url}
    with (folder / "log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, *(command if command[0] == "-m" else ["-c", MAIN, *command])],
            env=kept | environ, stdout=log, stderr=log, text=True, start_new_session=True,
        )  # fmt: skip
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0, (folder / "log").read_text()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


def _mails(count: int, *, of: str = "mail") -> list[Message]:
    return [note(subject=f"{of} {one}", to=f"z@d{one}.example") for one in range(count)]


def _sent(folder: Path) -> Counter[str]:
    return Counter(
        str(message_from_bytes(one.read_bytes())["Subject"]) for one in folder.glob("*.eml")
    )


def _each_once(mail: Mailglass, folder: Path, count: int) -> None:
    """Wait until all is settled, then count what was written."""
    _until(lambda: _states(mail) == {DispatchState.SENT: count})
    assert set(_sent(folder).values()) == {1}
    assert len(_sent(folder)) == count
    assert mail.store.broken_chains() == ()


def _states(mail: Mailglass) -> Counter[DispatchState]:
    found = mail.store.list_deliveries(tenant_id=None, limit=500)
    return Counter(one.state for one in found)


@pytest.mark.parametrize(
    "command",
    [
        ["worker", "--processes", "2"],
        ["worker"],
        ["-m", "dramatiq", "mailglass.worker", "--processes", "2", "--threads", "4"],
        ["-m", "dramatiq", "mailglass.worker:broker", "--processes", "1"],
    ],
    ids=" ".join,
)
def test_every_command_sends_each_mail_once(
    database_url: str, broker_url: str, broker: dramatiq.Broker, tmp_path: Path, command: list[str]
) -> None:
    """Ours, with one process and with two, and dramatiq's own by both of its forms."""
    with (
        _front_desk(database_url, broker_url) as mail,
        _worker(*command, url=database_url, broker_url=broker_url, folder=tmp_path),
    ):
        mail.deliver_many(_mails(60))
        for one in _mails(40, of="single"):
            mail.deliver_later(one)
        _each_once(mail, tmp_path, 100)


def test_doubled_messages_send_each_mail_once(
    database_url: str, broker_url: str, broker: dramatiq.Broker, tmp_path: Path
) -> None:
    """Each doorbell ten times, heard by two processes."""
    with front_desk(database_url, enqueue=lambda _ids: None) as mail:
        ids = [mail.deliver_later(one).message_id for one in _mails(50)]
        for _ in range(10):
            for notice in notices("default", ids):
                broker.enqueue(notice)
        with _worker("worker", "--processes", "2", url=database_url,
                     broker_url=broker_url, folder=tmp_path):  # fmt: skip
            _each_once(mail, tmp_path, 50)


def test_messages_in_another_order_send_each_mail_once(
    database_url: str, broker_url: str, broker: dramatiq.Broker, tmp_path: Path
) -> None:
    """F12: the last doorbell first, each id alone, among those of mails that nobody has."""
    with front_desk(database_url, enqueue=lambda _ids: None) as mail:
        ids = [mail.deliver_later(one).message_id for one in _mails(30)]
        strangers = [UUID(int=number) for number in range(1, 11)]
        for one in reversed([*ids, *strangers, *ids]):
            for notice in notices("default", [one]):
                broker.enqueue(notice)
        with _worker("worker", url=database_url, broker_url=broker_url,
                     folder=tmp_path):  # fmt: skip
            _each_once(mail, tmp_path, 30)


def test_a_flushed_broker_loses_no_mail(
    database_url: str, broker_url: str, broker: dramatiq.Broker, tmp_path: Path
) -> None:
    """It forgets everything before anybody has heard of it."""
    with front_desk(database_url, enqueue=lambda _ids: None) as mail:
        ids = [mail.deliver_later(one).message_id for one in _mails(30)]
        for notice in notices("default", ids):
            broker.enqueue(notice)
        broker.flush_all()
        with _worker("worker", url=database_url, broker_url=broker_url,
                     folder=tmp_path):  # fmt: skip
            _each_once(mail, tmp_path, 30)


@pytest.mark.parametrize("name", sorted(SERVERS))
def test_a_broker_that_dies_holds_up_no_mail(name: str, database_url: str, tmp_path: Path) -> None:
    """Killed while the worker runs: mail goes on, and the worker still ends well."""
    with (
        _server(name) as (url, process),
        _front_desk(database_url, url) as mail,
        _worker("worker", url=database_url, broker_url=url, folder=tmp_path),
    ):
        mail.deliver_many(_mails(20, of="before"))
        _each_once(mail, tmp_path, 20)
        stop(process)
        begun = time.monotonic()
        mail.deliver_many(_mails(20, of="after"))
        assert time.monotonic() - begun < 2.0
        _each_once(mail, tmp_path, 40)


def test_a_worker_waits_for_a_broker_that_is_not_there_yet(
    database_url: str, tmp_path: Path
) -> None:
    """It sends from Postgres meanwhile."""
    url = f"redis://127.0.0.1:{free_port()}/0"
    with (
        _front_desk(database_url, url) as mail,
        _worker("worker", url=database_url, broker_url=url, folder=tmp_path),
    ):
        mail.deliver_many(_mails(20))
        _each_once(mail, tmp_path, 20)


def test_prometheus_counts_what_the_broker_carried(
    database_url: str, broker_url: str, broker: dramatiq.Broker, tmp_path: Path
) -> None:
    """Switched on by a setting, served on loopback by dramatiq's own middleware."""
    port = free_port()
    counted = {"MAILGLASS_BROKER_PROMETHEUS": "true", "dramatiq_prom_port": str(port),
               "dramatiq_prom_db": str(tmp_path / "counts")}  # fmt: skip
    with (
        _front_desk(database_url, broker_url) as mail,
        _worker("worker", url=database_url, broker_url=broker_url, folder=tmp_path,
                **counted),
    ):  # fmt: skip
        mail.deliver_many(_mails(30))
        _each_once(mail, tmp_path, 30)
        _until(lambda: "dramatiq_messages_total{" in _page(port))
        assert 'actor_name="mailglass_attempt"' in _page(port)
        assert "example" not in _page(port)


def _page(port: int) -> str:
    with urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
        text: str = answer.read().decode()
    return text
