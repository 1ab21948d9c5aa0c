"""How long one password reset takes while bulk mail waits: from its queueing to the end of its attempt."""

# ruff: noqa: INP001 - part of a script that is run as a folder
from __future__ import annotations

import time
from typing import Final

import psycopg
from mails import front_desk, message

from mailglass import DispatchState, Stream

BATCH: Final = 10_000
_POLL_S: Final = 0.002


def pile_up(url: str, count: int) -> None:
    """Queue so many mails and call them bulk."""
    with front_desk(url) as mail:
        for start in range(0, count, BATCH):
            mail.deliver_many([message(one) for one in range(start, min(count, start + BATCH))])
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("update mailglass.messages set stream = 'bulk'")


def waits_s(url: str, samples: int) -> list[float]:
    """Queue one transactional mail after the other, each when the one before has left."""
    found = []
    with front_desk(url) as mail:
        for number in range(samples):
            began = time.monotonic()
            reset = message(number).replace(stream=Stream.TRANSACTIONAL)
            queued = mail.deliver_later(reset)
            while (told := mail.delivery(queued.id)) and told.state is not DispatchState.SENT:
                time.sleep(_POLL_S)
            found.append(time.monotonic() - began)
    return found
