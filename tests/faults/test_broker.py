"""A broker that forgets, repeats and mixes up: mail leaves once and in time, since Postgres is the queue."""

from __future__ import annotations

import random
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import dramatiq
import pytest

from broker_servers import redis_server
from front_desk import front_desk, note
from mailglass import DispatchState, Mailglass
from mailglass.adapters.fake import FakeAdapter
from mailglass.ids import new_id
from mailglass.settings import load_settings
from mailglass.worker.brokers import broker_from, notices
from mailglass.worker.serving import Serving, register
from tests.faults.work import states, until

MAILS: Final = 40
REPEATS: Final = 10
STRANGERS: Final = 20
SWEEP_S: Final = 5.0
"""How late a mail may be of which no broker tells any more."""
SLACK_S: Final = 10.0


@pytest.fixture(params=["stub", pytest.param("redis", marks=pytest.mark.redis)])
def broker(request: pytest.FixtureRequest) -> Iterator[dramatiq.Broker]:
    """Return a broker of this process, and a real one where it is installed."""
    if request.param == "stub":
        yield broker_from(load_settings(broker_url="stub://"))
        return
    folder = Path(tempfile.mkdtemp(prefix="mg-broker-"))
    try:
        with redis_server(folder) as (url, _process):
            made = broker_from(load_settings(broker_url=url))
            yield made
            made.close()
    finally:
        shutil.rmtree(folder)


@contextmanager
def _hearing(mail: Mailglass, broker: dramatiq.Broker) -> Iterator[None]:
    register(broker, Serving(lambda: mail, closes_mail=False, poll_s=0.05))
    worker = dramatiq.Worker(broker, worker_threads=4, worker_timeout=20)
    worker.start()
    try:
        yield
    finally:
        worker.stop()


def test_a_broker_that_repeats_mixes_up_and_forgets_loses_and_doubles_nothing(
    database_url: str, broker: dramatiq.Broker
) -> None:
    """F12: each doorbell ten times, in no order, with strangers, and then all of it flushed midway."""
    seed = secrets.randbelow(1_000_000)
    print(f"seed {seed}")  # noqa: T201 - shown by pytest with a failure
    dice, fake = random.Random(seed), FakeAdapter()  # noqa: S311 - a seeded run, no secret
    with front_desk(
        database_url, fake, enqueue=lambda _ids: None, rate_limit_per_domain=None
    ) as mail:
        ids = [one.message_id for one in mail.deliver_many([note() for _ in range(MAILS)])]
        rung = [*ids] * REPEATS + [new_id() for _ in range(STRANGERS)]
        dice.shuffle(rung)
        for one in rung:
            for notice in notices("default", [one]):
                broker.enqueue(notice)
        with _hearing(mail, broker):
            until(lambda: len(fake.sent) > 0)
            broker.flush_all()
            begun = time.monotonic()
            until(lambda: states(database_url) == {DispatchState.SENT: MAILS})
            assert time.monotonic() - begun < SWEEP_S + SLACK_S
        assert mail.store.broken_chains() == ()
    assert len({one.recipients[0].delivery_id for one in fake.sent}) == len(fake.sent) == MAILS
