"""The pytest plugin, run by a real pytest on small projects."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib

import psycopg
import pytest

from kit_project import Project
from tests_paths import ROOT

pytest_plugins = ["pytester"]


def test_pytest_finds_the_plugin_by_its_entry_point() -> None:
    """Nobody has to name it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"mailglass": "mailglass.testing.plugin"}


def test_a_mail_that_was_sent_is_found(project: Project) -> None:
    """By address, subject, text and whatever else is known of it."""
    told = project.run("""
class Hello(Mailable):
    sender = "Shop <orders@shop.example>"
    subject = "Hello {{ name }}"
    template = "hello.html.jinja"
    name: str = "Zoe"
    def to(self): return "zoe@mail.example"
    def tags(self): return ["greeting"]

@pytest.fixture
def mailglass_settings(tmp_path):
    (tmp_path / "hello.html.jinja").write_text("<p>Good day, {{ name }}</p>")
    return {"templates": (tmp_path,)}

def test_it(mailbox):
    delivery = mailbox.deliver(Hello())
    mail = mailbox.assert_mail_sent(to="ZOE@mail.example", subject="Hello Zoe", mailable=Hello,
        contains=["Good day", "Zoe"], tag="greeting", sender="orders@shop.example", count=1,
        stream=Stream.TRANSACTIONAL, tenant="default")
    assert mailbox.last_mail is mail and mailbox.sent == (mail,)
    assert mail.recipients[0].delivery_id == delivery.id
""")  # fmt: skip
    told.assert_outcomes(passed=1)


def test_a_mail_that_is_missing_is_told_with_what_was_sent_instead(project: Project) -> None:
    """The failure shows each mail and in what it differs."""
    told = project.run("""
def test_it(mailbox):
    mailbox.deliver(note())
    mailbox.assert_mail_sent(to="max@mail.example", contains="12.00")
""")  # fmt: skip
    told.assert_outcomes(failed=1)
    shown = told.stdout.str()
    assert "expected a mail with to='max@mail.example', contains='12.00', found 0" in shown
    assert re.search(
        r"'Your order' to zoe@mail\.example; a plain Message; differs in to, contains", shown
    )
    assert "Thank you, 11.50 in all." in shown


def test_mail_that_is_only_queued_is_told_in_the_failure(project: Project) -> None:
    """A newcomer sees why nothing has arrived, and that send_queued() hands it over."""
    told = project.run("""
def test_queued(mailbox):
    mailbox.deliver_later(note())
    mailbox.assert_mail_sent()

def test_sent(mailbox):
    mailbox.deliver_later(note())
    assert mailbox.send_queued() == 1
    mailbox.assert_mail_sent(to="zoe@mail.example")
""")  # fmt: skip
    told.assert_outcomes(failed=1, passed=1)
    told.stdout.fnmatch_lines(["*1 more wait in the queue: send_queued() hands them over*"])


@pytest.mark.parametrize("verb", ["assert_mail_sent", "assert_no_mail_sent", "wait_for_mail"])
def test_an_unknown_criterion_fails_loudly(project: Project, verb: str) -> None:
    """A typing error never makes an assertion pass."""
    told = project.run(f"""
def test_it(mailbox):
    mailbox.deliver(note())
    mailbox.{verb}(subjekt="Your order")
""")  # fmt: skip
    told.assert_outcomes(failed=1)
    told.stdout.fnmatch_lines(["*TypeError*subjekt*"])


def test_the_guard_fails_a_test_with_mail_that_nobody_looked_at(project: Project) -> None:
    """Where the application asked for it, and only there."""
    tests = """
def test_unseen(mailbox):
    mailbox.deliver(note())
    mailbox.deliver(note(subject="A second one"))
    mailbox.assert_mail_sent(subject="Your order")

def test_seen(mailbox):
    mailbox.deliver(note())
    mailbox.assert_mail_sent(subject="Your order")

@pytest.mark.mailglass_guard(False)
def test_let_off(mailbox):
    mailbox.deliver(note())
"""  # fmt: skip
    told = project.run(tests, ini="mailglass_guard = true")
    told.assert_outcomes(failed=1, passed=2)
    told.stdout.fnmatch_lines(["*mail that no assertion looked at; sent, the newest first (1):*"])
    assert "A second one" in told.stdout.str()
    project.run(tests).assert_outcomes(passed=3)


def test_events_are_triggered_through_the_real_ledger(project: Project) -> None:
    """A bounce raises the outcome and stands in the history; a repetition counts once."""
    told = project.run("""
def test_it(mailbox):
    delivery = mailbox.deliver(note())
    assert mailbox.trigger_event(delivery, EventType.DELIVERED, key="k").type is EventType.DELIVERED
    assert mailbox.trigger_event(delivery, EventType.DELIVERED, key="k") is None
    mailbox.trigger_event(delivery.id, EventType.COMPLAINED)
    assert mailbox.delivery(delivery.id).outcome is Outcome.COMPLAINED
    assert [one.type for one in mailbox.events(delivery.id)][-2:] == [
        EventType.DELIVERED, EventType.COMPLAINED]
""")  # fmt: skip
    told.assert_outcomes(passed=1)


def test_the_clock_can_be_frozen_and_advanced(project: Project) -> None:
    """It rules the Date header and the time of events."""
    told = project.run("""
from datetime import UTC, datetime
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

def test_it(mailbox):
    with mailbox.freeze(NOON) as clock:
        delivery = mailbox.deliver(note())
        clock.advance(90)
        event = mailbox.trigger_event(delivery, EventType.DELIVERED)
    assert b"Date: Sun, 01 Mar 2026 12:00:00 +0000" in mailbox.last_mail.envelope.payload
    assert (event.occurred_at - NOON).total_seconds() == 90
    assert mailbox.clock() > NOON
    with pytest.raises(ValueError), mailbox.freeze(datetime(2026, 1, 1)): pass
    with pytest.raises(ValueError): mailbox.clock.advance(1)
""")  # fmt: skip
    told.assert_outcomes(passed=1)


def test_the_provider_fails_as_the_test_says(project: Project) -> None:
    """The next call, or one recipient from now on."""
    told = project.run("""
from mailglass import DispatchState, SendError

def test_it(mailbox):
    mailbox.fail_next(FakeMode.REJECT_PERMANENT)
    with pytest.raises(SendError): mailbox.deliver(note())
    mailbox.fail_for("Max <max@mail.example>", FakeMode.SUPPRESSED)
    with pytest.raises(Exception): mailbox.deliver(note(to="max@mail.example"))
    mailbox.fail_next(FakeMode.RATE_LIMITED, retry_after_s=60)
    assert mailbox.deliver(note()).state is DispatchState.QUEUED  # and so is all mail for a minute
    mailbox.assert_no_mail_sent()
""")  # fmt: skip
    told.assert_outcomes(passed=1)


def test_wait_for_mail_sees_what_another_thread_sends(project: Project) -> None:
    """And gives up after its time."""
    told = project.run("""
import threading

def test_it(mailbox):
    thread = threading.Thread(target=mailbox.deliver, args=(note(),))
    thread.start()
    assert mailbox.wait_for_mail(to="zoe@mail.example", timeout_s=30) is mailbox.last_mail
    thread.join()
    with pytest.raises(AssertionError, match="found 0"):
        mailbox.wait_for_mail(to="max@mail.example", timeout_s=0.02)
""")  # fmt: skip
    told.assert_outcomes(passed=1)


def test_every_test_has_a_database_of_its_own(project: Project) -> None:
    """Also in several processes at once, and nothing is left on the server."""
    told = project.run("""
@pytest.mark.parametrize("number", range(6))
def test_it(mailbox, number):
    mailbox.deliver(note(idempotency_key="the same for all"))
    mailbox.assert_mail_sent(count=1)
""", "-n", "2")  # fmt: skip
    told.assert_outcomes(passed=6)
    with psycopg.connect(os.environ["MAILGLASS_TEST_DATABASE_URL"]) as owner:
        names = {row[0] for row in owner.execute("select datname from pg_database")}
    ours = {name for name in names if name.startswith("mg_test_")}
    assert len(ours) <= 1  # the template of the run that tests this


def test_threads_share_one_mailbox(project: Project) -> None:
    """A hundred mails of eight threads are all kept and all counted."""
    told = project.run("""
from concurrent.futures import ThreadPoolExecutor

def test_it(mailbox):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: mailbox.deliver(note(subject=f"no {number}")), range(100)))
    mailbox.assert_mail_sent(count=100)
    mailbox.assert_mail_sent(subject="no 42", count=1)
""")  # fmt: skip
    told.assert_outcomes(passed=1)


def test_the_kit_starts_a_server_where_none_is_named(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newcomer needs no PostgreSQL."""
    monkeypatch.delenv("MAILGLASS_TEST_DATABASE_URL")
    told = project.run("""
def test_it(mailbox):
    mailbox.deliver(note())
    mailbox.assert_mail_sent(to="zoe@mail.example")
""")  # fmt: skip
    told.assert_outcomes(passed=1)


def test_a_run_without_mail_pays_next_to_nothing() -> None:
    """Every pytest of a project loads the plugin, also where no test sends mail."""
    code = "import mailglass.testing.plugin, sys; print(*sys.modules)"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = {name.split(".")[0] for name in told.stdout.split()}
    assert loaded.isdisjoint({"psycopg", "jinja2", "pydantic", "premailer", "cryptography"})
