"""A disk that is full: nothing that was accepted is lost, nobody is told a lie, and all goes on by itself.

Everywhere Postgres is made to say so; who may mount a file system also has it on one that is full.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

import psycopg
import pytest

from front_desk import note
from mailglass import DispatchState, Mailglass
from mailglass.adapters.fake import FakeAdapter
from mailglass.ledger.checking import LedgerCheck
from mailglass.ledger.faults import DatabaseAwayError
from tests.faults.laboratory import OPEN_GROUND, Postgres
from tests.faults.work import owner, states, until, working
from webhook_requests import delivered, hooked, request

DISK_MIB: Final = 160
FULL_S_MAX: Final = 20.0
BACK_S_MAX: Final = 60.0
BLOCK: Final = b"\0" * 65_536


@pytest.fixture(autouse=True)
def _quiet_pool() -> Iterator[None]:
    """Silence the pool's warning about each connection that it loses: here they are meant to go."""
    logger = logging.getLogger("psycopg.pool")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(level)


class Disk(Protocol):
    """Where a database of its own stands."""

    url: str

    def fill(self) -> None:
        """Leave no room for anything."""

    def free(self) -> None:
        """Give the room back."""


class _ToldFull:
    """Postgres answers every write to its largest tables as it does when a file cannot grow."""

    def __init__(self, url: str) -> None:
        self.url = url

    def fill(self) -> None:
        with owner(self.url) as connection:
            connection.execute(
                "create function full_disk() returns trigger language plpgsql as $$ begin"
                " raise exception 'could not extend file: No space left on device'"
                " using errcode = 'disk_full'; end $$"
            )
            for table in ("messages", "deliveries"):
                connection.execute(
                    "create trigger full_disk before insert or update"
                    f" on mailglass.{table} execute function full_disk()".encode()
                )

    def free(self) -> None:
        with owner(self.url) as connection:
            connection.execute("drop function full_disk() cascade")


class _Mounted:
    """A server of its own on a small file system; a ballast fills what is left of it."""

    def __init__(self, folder: Path, server: Postgres) -> None:
        self._folder, self._server = folder, server
        self.url = server.fresh_database()

    def fill(self) -> None:
        with (self._folder / "ballast").open("wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(BLOCK)
            except OSError:
                return

    def free(self) -> None:
        """Take the ballast away; a server that has given up is started again, as its host does."""
        (self._folder / "ballast").unlink()
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            self._server.crash()


def _mount(folder: Path) -> bool:
    size = f"size={DISK_MIB}m,mode=755"
    asked = ["mount", "-t", "tmpfs", "-o", size, "mailglass-test", str(folder)]
    return (
        os.geteuid() == 0
        and subprocess.run(asked, check=False, capture_output=True).returncode == 0
    )


def _may_mount() -> bool:
    folder = Path(tempfile.mkdtemp(prefix="mg-disk-", dir=OPEN_GROUND))
    try:
        is_mounted = _mount(folder)
        if is_mounted:
            subprocess.run(["umount", str(folder)], check=True)
        return is_mounted
    finally:
        folder.rmdir()


WAYS: Final = ("told", "mounted") if shutil.which("mount") and _may_mount() else ("told",)


@contextmanager
def _mounted() -> Iterator[Disk]:
    folder = Path(tempfile.mkdtemp(prefix="mg-disk-", dir=OPEN_GROUND))
    assert _mount(folder)
    try:
        server = Postgres(folder / "postgres")
        try:
            yield _Mounted(folder, server)
        finally:
            server.stop()
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()


@pytest.fixture(params=WAYS)
def disk(request: pytest.FixtureRequest) -> Iterator[Disk]:
    """Return a disk that can be filled."""
    if request.param == "mounted":
        with _mounted() as made:
            yield made
    else:
        yield _ToldFull(request.getfixturevalue("database_url"))


def _accepted(mail: Mailglass, key: str) -> bool:
    try:
        mail.deliver_later(note(idempotency_key=key, text="x" * 20_000))
    except DatabaseAwayError:
        return False
    return True


def _feed_until_full(mail: Mailglass) -> set[str]:
    """Ask for mail until three in a row were refused; the keys of those that were accepted."""
    accepted = {f"before-{number}" for number in range(10)}
    refused, number = 0, 0
    end = time.monotonic() + FULL_S_MAX
    while refused < 3:
        assert time.monotonic() < end
        number += 1
        is_accepted = _accepted(mail, f"during-{number}")
        accepted |= {f"during-{number}"} if is_accepted else set()
        refused = 0 if is_accepted else refused + 1
    return accepted


def test_what_was_accepted_before_and_on_a_full_disk_is_sent(disk: Disk) -> None:
    """F10: intake refuses with a typed error, webhooks are asked for again, workers wait and go on."""
    fake = FakeAdapter(honours_idempotency_key=True)
    with hooked(disk.url, adapter=fake, rate_limit_per_domain=None) as mail:
        first = mail.deliver(note())
        for number in range(10):
            assert _accepted(mail, f"before-{number}")
        disk.fill()
        with working(mail):
            accepted = _feed_until_full(mail)
            answer = mail.ingest("postmark", request(delivered(first.id)))
            disk.free()
            begun = time.monotonic()
            until(lambda: _accepted(mail, "after"))
            until(lambda: set(_known(disk.url)) == {DispatchState.SENT})
            assert time.monotonic() - begun < BACK_S_MAX
        again = mail.ingest("postmark", request(delivered(first.id)))
        sent = sum(_known(disk.url).values())
        assert all(_accepted(mail, key) for key in accepted)
        assert sum(_known(disk.url).values()) == sent  # each was there: its key found it
        assert LedgerCheck(store=mail.store).faults() == ()
    assert len(fake.sent) == sent >= len(accepted) + 2
    assert answer.status == 503
    assert (again.status, again.recorded) == (200, 1)


def _known(database_url: str) -> dict[DispatchState, int]:
    try:
        return dict(states(database_url))
    except psycopg.OperationalError:
        return {}
