"""One rate for all processes: no second sees more than it, and what matters most goes first."""

from __future__ import annotations

import os
import signal
import threading
import time
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from broker_servers import redis_server
from front_desk import BULK, HERE, front_desk, note
from mailglass import DispatchState, Stream
from mailglass.adapters.fake import FakeAdapter
from mailglass.clock import boot_seconds
from mailglass.envelope import Accepted, Envelope
from mailglass.worker.pipeline import Worker
from mailglass.worker.processes import Crew

PROCESSES = 4
RATE = 14
LIMITS = [{"per": ["provider"], "rate": f"{RATE}/s"}]
DEADLINE_S = 60.0


class Noting(FakeAdapter):
    """A provider that writes down when each call began, on the clock that all processes share."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def send(self, envelope: Envelope) -> Accepted:
        """Note the moment, the stream and the mail first of all."""
        line = f"{boot_seconds()!r} {envelope.stream.value} {envelope.message_id}\n"
        with (self._folder / f"{os.getpid()}").open("a") as file:
            file.write(line)
        return super().send(envelope)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One call of the provider."""

    at: float
    stream: Stream
    message_id: UUID


def sent(folder: Path) -> list[Sent]:
    """Return the calls of all processes, the first first."""
    lines = [line.split() for file in folder.iterdir() for line in file.read_text().splitlines()]
    found = [
        Sent(at=float(at), stream=Stream(stream), message_id=UUID(message_id))
        for at, stream, message_id in lines
    ]
    return sorted(found, key=lambda one: one.at)


def fullest(times: Sequence[float], window_s: float = 1.0) -> int:
    """Return the most that any window holds, wherever it begins."""
    return max(bisect_left(times, begin + window_s) - at for at, begin in enumerate(times))


def work(database_url: str, folder: Path, *, mails: int, **given: Any) -> None:
    """Work in processes of their own until so many calls were made."""
    stopped = threading.Event()

    def body(flag: threading.Event) -> int:
        signal.signal(signal.SIGTERM, lambda *_: flag.set())
        with front_desk(database_url, Noting(folder), limits=LIMITS, **BULK, **given) as mail:
            Worker(mail=mail, poll_s=0.1).run(flag)
        return 0

    def watch() -> None:
        end = time.monotonic() + DEADLINE_S
        while len(sent(folder)) < mails and time.monotonic() < end:
            time.sleep(0.1)
        stopped.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert Crew([body] * PROCESSES, stopped).run() == 0
    watcher.join()


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """Return the folder in which processes note their calls."""
    folder = tmp_path / "calls"
    folder.mkdir()
    return folder


def test_no_second_sees_more_than_the_rate(database_url: str, calls: Path) -> None:
    """Four processes, 14 a second, all windows, at the moment of each call; little is given away."""
    mails = 6 * RATE
    with front_desk(database_url, limits=LIMITS) as mail:
        deliveries = mail.deliver_many([note(to=f"u{n}@mail.example") for n in range(mails)])
        work(database_url, calls, mails=mails)
        found = sent(calls)
        assert {one.message_id for one in found} == {one.message_id for one in deliveries}
        assert len(found) == mails
        assert {mail.delivery(one.id).state for one in deliveries} == {DispatchState.SENT}  # type: ignore[union-attr]  # they are there
    times = [one.at for one in found]
    assert fullest(times) <= RATE
    assert len({file.name for file in calls.iterdir()}) == PROCESSES
    assert mails / (times[-1] - times[0]) > 0.7 * RATE


@pytest.mark.redis
def test_no_second_sees_more_than_the_rate_in_redis(
    database_url: str, calls: Path, tmp_path: Path
) -> None:
    """The same four processes, whose passes come from Redis."""
    mails = 3 * RATE
    with redis_server(tmp_path) as (url, _process), front_desk(database_url) as mail:
        mail.deliver_many([note(to=f"u{n}@mail.example") for n in range(mails)])
        work(database_url, calls, mails=mails, limits_redis_url=url)
        assert mail.gate.store.states(["provider"]) == ()
    times = [one.at for one in sent(calls)]
    assert fullest(times) <= RATE
    assert mails / (times[-1] - times[0]) > 0.7 * RATE


def test_transactional_mail_passes_the_bulk_mail_that_waits(database_url: str, calls: Path) -> None:
    """A receipt that comes when the provider is busy for long leaves within moments."""
    bulk = [
        note(to=f"u{n}@mail.example", stream=Stream.BULK, mailable="app.News", text=f"News. {HERE}")
        for n in range(5 * RATE)
    ]
    with front_desk(database_url, limits=LIMITS, rate_limit_per_domain=None, **BULK) as mail:
        mail.deliver_many(bulk)
        arrived: list[float] = []

        def receipt() -> None:
            while len(sent(calls)) < RATE:
                time.sleep(0.02)
            for number in range(5):
                arrived.append(boot_seconds())
                mail.deliver_later(note(to=f"r{number}@mail.example"))

        later = threading.Thread(target=receipt)
        later.start()
        work(database_url, calls, mails=len(bulk) + 5)
        later.join()
    found = sent(calls)
    receipts = [one.at for one in found if one.stream is Stream.TRANSACTIONAL]
    assert fullest([one.at for one in found]) <= RATE
    assert max(at - came for at, came in zip(receipts, arrived, strict=True)) < 2.5
    assert receipts[-1] < [one.at for one in found if one.stream is Stream.BULK][-RATE]
