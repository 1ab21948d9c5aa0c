"""The webhooks and reconcile commands on what was kept, run as an operator runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from uuid import UUID, uuid4

import psycopg
import pytest

from front_desk import count, note
from mailglass.webhooks.endpoint import Endpoint
from webhook_requests import bounced, delivered, hooked, postmark, request

_OPTIONS = json.dumps({"server_token": "t", "webhook_secret": "hook:a-long-password"})


def _run(*arguments: str, url: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAILGLASS_")}
    given = {
        "MAILGLASS_DATABASE_URL": url,
        "MAILGLASS_ADAPTER": "postmark",
        "MAILGLASS_PROVIDER_OPTIONS": _OPTIONS,
    }
    return subprocess.run(
        [sys.executable, "-c", "from mailglass.cli import main; main()", *arguments],
        env=kept | given, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


@pytest.fixture
def receipts(database_url: str) -> tuple[UUID, ...]:
    """Return a request that was recorded and one whose report was refused, the newest first."""
    endpoints = [Endpoint(name="default", adapter=postmark(), tenant_id="default")]
    with hooked(database_url, endpoints=endpoints) as mail:
        sent = mail.deliver(note())
        mail.ingest("postmark", request(delivered(sent.id)))
        mail.ingest("postmark", request(bounced(sent.id, "canary@mail.example")))
        return tuple(one.id for one in mail.webhooks.webhooks.receipts())


def test_what_was_kept_is_listed_without_a_word_of_it(
    database_url: str, receipts: tuple[UUID, ...]
) -> None:
    """In text and in JSON; which hold refused reports can be asked for."""
    everything = _run("webhooks", "list", url=database_url)
    refused = _run("webhooks", "list", "--refused", "--json", url=database_url)
    assert [line.split()[0] for line in everything.stdout.splitlines()] == list(map(str, receipts))
    assert [one["id"] for one in json.loads(refused.stdout)] == [str(receipts[0])]
    assert "anary" not in everything.stdout + refused.stdout


def test_one_is_shown_with_what_was_refused_and_why(
    database_url: str, receipts: tuple[UUID, ...]
) -> None:
    """The body, which holds addresses, only where it is asked for."""
    told = _run("webhooks", "show", str(receipts[0]), url=database_url)
    document = _run("webhooks", "show", str(receipts[0]), "--json", url=database_url)
    body = _run("webhooks", "show", str(receipts[0]), "--body", url=database_url)
    assert "report 0: recipient_mismatch" in told.stdout
    assert json.loads(document.stdout)["refused"] == [{"place": 0, "reason": "recipient_mismatch"}]
    assert "anary" not in told.stdout + document.stdout
    assert "canary@mail.example" in body.stdout
    assert _run("webhooks", "show", str(uuid4()), url=database_url).returncode == 1


def test_a_strangers_controls_do_not_reach_the_terminal(database_url: str) -> None:
    """A mail could set its title, hide lines or turn the writing round; its words are shown."""
    endpoints = [Endpoint(name="default", adapter=postmark(), tenant_id="default")]
    with hooked(database_url, endpoints=endpoints) as mail:
        body = '{"Text": "\x1b]0;owned\x07\x9b2J\u202eß\r",\r\n\t"A": "b"}'
        mail.ingest("postmark", request(body.encode()))
        (kept,) = mail.webhooks.webhooks.receipts()
    shown = _run("webhooks", "show", str(kept.id), "--body", url=database_url)
    told = r'{"Text": "\x1b]0;owned\x07\x9b2J\u202eß\r",'
    assert (shown.returncode, shown.stdout) == (0, f'{told}\n\t"A": "b"}}\n')


def test_a_replay_says_what_came_of_it(database_url: str, receipts: tuple[UUID, ...]) -> None:
    """Nothing counts twice; an unknown id is told by the exit code."""
    told = _run("webhooks", "replay", *map(str, receipts), url=database_url)
    assert told.returncode == 0, told.stderr
    assert [line.split(maxsplit=1)[1] for line in told.stdout.splitlines()] == [
        "processed recipient_mismatch=1",
        "processed duplicate=1",
    ]
    assert _run("webhooks", "replay", str(uuid4()), url=database_url).returncode == 1


def test_pruning_leaves_what_is_young_or_refused(
    database_url: str, receipts: tuple[UUID, ...]
) -> None:
    """Dead letters go only when they are named."""
    assert _run("webhooks", "prune", url=database_url).stdout == "pruned 0\n"
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "update mailglass.webhook_receipts set received_at = now() - interval '31 days'"
        )
    assert _run("webhooks", "prune", url=database_url).stdout == "pruned 1\n"
    assert _run("webhooks", "prune", "--dead", url=database_url).stdout == "pruned 1\n"
    assert count(database_url, "webhook_dead") == 0


def test_reconcile_says_what_it_did(database_url: str, receipts: tuple[UUID, ...]) -> None:
    """One line, or JSON."""
    told = _run("reconcile", "--json", url=database_url)
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout) == {
        "linked": 0, "refused": 0, "expired": 0, "waiting": 0, "finished": 0,
    }  # fmt: skip
    assert _run("reconcile", url=database_url).stdout.startswith("0 linked")
