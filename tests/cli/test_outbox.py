"""The outbox command, run as an operator runs it: what it prints, what it exits with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from uuid import UUID, uuid4

import psycopg
import pytest

from front_desk import front_desk, note
from mailglass import Delivery, SendError
from mailglass.adapters.fake import FakeAdapter, FakeMode


def _run(*arguments: str, url: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAILGLASS_")}
    return subprocess.run(
        [sys.executable, "-c", "from mailglass.cli import main; main()", "outbox", *arguments],
        env=kept | {"MAILGLASS_DATABASE_URL": url}, capture_output=True, text=True, check=False,
        timeout=120,
    )  # fmt: skip


@pytest.fixture
def waiting(database_url: str) -> Delivery:
    """Return a delivery that waits."""
    with front_desk(database_url) as mail:
        return mail.deliver_later(note(to="canary@mail.example", subject="Canary"))


def test_what_waits_is_listed_and_shown_without_a_word_of_it(
    database_url: str, waiting: Delivery
) -> None:
    """In text and in JSON; neither recipient nor subject is printed."""
    shown = (
        _run("list", url=database_url),
        _run("list", "--json", url=database_url),
        _run("show", str(waiting.id), url=database_url),
        _run("show", str(waiting.id), "--json", url=database_url),
    )
    for told in shown:
        assert told.returncode == 0
        assert str(waiting.id) in told.stdout
        assert "anary" not in told.stdout + told.stderr
    assert json.loads(shown[3].stdout)["events"][0]["type"] == "queued"
    assert _run("show", str(uuid4()), url=database_url).returncode == 1


def test_steps_are_told_and_recorded(database_url: str, waiting: Delivery) -> None:
    """Hold, release, reschedule and cancel, each with its actor."""
    one = str(waiting.id)
    for arguments in (
        ["hold", one, "--actor", "case 7"],
        ["release", one, "--actor", "case 7", "--json"],
        [
            *("reschedule", one, "--actor", "case 7", "--at", "2031-01-01T00:00:00+00:00"),
            *("--expires-at", "2031-01-02T00:00:00+00:00"),
        ],
        ["cancel", one, "--actor", "case 7"],
    ):
        told = _run(*arguments, url=database_url)
        assert told.returncode == 0, told.stderr
    with front_desk(database_url) as mail:
        events = mail.events(waiting.id)
    assert [event.type.value for event in events] == [
        "queued", "held", "released", "rescheduled", "cancelled",
    ]  # fmt: skip
    assert {event.payload.get("actor") for event in events[1:]} == {"case 7"}
    assert _run("cancel", one, url=database_url).returncode == 1
    refused = _run("hold", one, url=database_url)
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
    assert "cancelled" in refused.stderr


def _unknown(database_url: str) -> UUID:
    fake = FakeAdapter()
    fake.next(FakeMode.UNKNOWN_TIMEOUT)
    with front_desk(database_url, fake) as mail:
        with pytest.raises(SendError) as caught:
            mail.deliver(note())
    assert caught.value.delivery_id is not None
    return caught.value.delivery_id


def test_an_unknown_is_settled_and_sent_again(database_url: str) -> None:
    """From the provider's answer on the phone to the new delivery."""
    one = _unknown(database_url)
    assert _run("settle", str(one), "--not-sent", url=database_url).returncode == 0
    told = _run("retry", str(one), "--json", url=database_url)
    assert told.returncode == 0
    assert UUID(json.loads(told.stdout)["new"]) != one


def test_counts_are_an_alarm(database_url: str, waiting: Delivery) -> None:
    """One query, one figure and one exit code; a held mail raises none."""
    assert _run("counts", "--max-age", "15m", url=database_url).returncode == 0
    with psycopg.connect(database_url) as owner:
        owner.execute("update mailglass.messages set run_at = now() - interval '16 minutes'")
    late = _run("counts", "--max-age", "15m", "--json", url=database_url)
    assert late.returncode == 1
    told = json.loads(late.stdout)
    assert told["is_late"] is True
    assert told["last_sent_s"] is None
    assert 960 <= told["waiting"][0]["oldest_s"] < 1200
    assert _run("counts", "--max-age", "1h", url=database_url).returncode == 0
    _run("hold", str(waiting.id), url=database_url)
    assert _run("counts", "--max-age", "15m", url=database_url).returncode == 0
    assert _run("counts", "--max-age", "soon", url=database_url).returncode == 2


def test_sweep_does_what_a_worker_does(database_url: str, waiting: Delivery) -> None:
    """For a host without workers, or to see what it would be."""
    with psycopg.connect(database_url) as owner:
        owner.execute("update mailglass.messages set expires_at = now() - interval '1 minute'")
    told = _run("sweep", "--json", url=database_url)
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["expired"] == 1
    with front_desk(database_url) as mail:
        assert mail.events(waiting.id)[-1].type.value == "expired"
