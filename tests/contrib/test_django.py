"""Django's own mail through the ledger, and mail in Django's own transactions."""

from __future__ import annotations

import os
import subprocess
import sys
from email.mime.image import MIMEImage
from pathlib import Path
from typing import Any

import psycopg
import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.forms import PasswordResetForm
from django.contrib.auth.models import User
from django.core.mail import (
    BadHeaderError,
    EmailMessage,
    EmailMultiAlternatives,
    get_connection,
    send_mail,
)
from django.core.management import call_command
from django.db import connections, transaction

from applications import APPLICATIONS, write
from front_desk import note
from mailglass import (
    ConfigError,
    DispatchState,
    EventType,
    MailglassError,
    SendError,
    SuppressedError,
    Suppression,
    SuppressionReason,
    SuppressionScope,
    tenant,
)
from mailglass.contrib.django import EmailBackend, apps, aqueue, desk, queue
from mailglass.errors import ConfigErrorType
from mailglass.ledger.database import SAID_BY, DatabaseChoice
from mailglass.testing import FakeMode, PrivateMailglass
from tests_paths import ROOT

PNG = b"\x89PNG\r\n\x1a\n"


def _send(**changes: Any) -> int:
    fields = {
        "subject": "Hello", "message": "Good day", "from_email": None,
        "recipient_list": ["zoe@mail.example"],
    }  # fmt: skip
    return int(send_mail(**(fields | changes)))


def test_a_password_reset_goes_through_the_ledger(mailbox: PrivateMailglass) -> None:
    """Django's own form, template and mail; the history is in Postgres."""
    User.objects.create_user("zoe", "zoe@mail.example", "k3-Zq.81x")
    form = PasswordResetForm({"email": "zoe@mail.example"})
    assert form.is_valid()
    form.save(domain_override="shop.example")
    sent = mailbox.assert_mail_sent(
        to="zoe@mail.example", sender="hello@shop.example", contains="/reset/"
    )
    events = mailbox.events(sent.recipients[0].delivery_id)
    assert [one.type for one in events] == [
        EventType.QUEUED, EventType.ATTEMPT_STARTED, EventType.DISPATCHED,
    ]  # fmt: skip


def test_a_rollback_leaves_no_mail(mailbox: PrivateMailglass) -> None:
    """The row goes with those of the application."""

    def sign_up() -> None:
        with transaction.atomic():
            User.objects.create_user("zoe")
            assert _send() == 1
            raise KeyError

    with pytest.raises(KeyError):
        sign_up()
    assert mailbox.store.list_deliveries(tenant_id=None) == ()
    mailbox.assert_no_mail_sent()


def test_a_commit_sends_exactly_one_mail_and_none_before(mailbox: PrivateMailglass) -> None:
    """The bytes leave when the transaction is over."""
    with transaction.atomic():
        assert _send() == 1
        mailbox.assert_no_mail_sent()
    mailbox.assert_mail_sent(to="zoe@mail.example", count=1)


def test_a_commit_after_the_tenants_block_sends_its_mail(mailbox: PrivateMailglass) -> None:
    """The mail keeps the tenant that it was queued under."""
    with transaction.atomic(), tenant("acme"):
        _send()
    with transaction.atomic():
        with tenant("umbrella"):
            _send()
    assert {one.envelope.tenant_id for one in mailbox.sent} == {"acme", "umbrella"}


def test_a_failure_after_the_commit_is_in_the_ledger(mailbox: PrivateMailglass) -> None:
    """The transaction is over, so nobody is there to catch it."""
    mailbox.fail_next(FakeMode.REJECT_PERMANENT)
    with transaction.atomic():
        _send()
    (delivery,) = mailbox.store.list_deliveries(tenant_id=None)
    assert delivery.state is DispatchState.FAILED


def test_what_fails_is_raised_unless_it_is_to_be_silent(mailbox: PrivateMailglass) -> None:
    """As with every backend of Django."""
    mailbox.fail_next(FakeMode.REJECT_PERMANENT, times=2)
    with pytest.raises(SendError):
        _send()
    assert _send(fail_silently=True) == 0
    assert _send(recipient_list=[]) == 0


def test_later_leaves_the_mail_to_a_worker(mailbox: PrivateMailglass) -> None:
    """Inside a transaction and outside of one."""
    connection = get_connection(later=True)
    _send(connection=connection)
    with transaction.atomic():
        _send(connection=connection)
    mailbox.assert_no_mail_sent()
    assert mailbox.send_queued() == 2
    mailbox.assert_mail_sent(count=2)


def test_a_mailer_is_made_by_its_alias_and_its_options(mailbox: PrivateMailglass) -> None:
    """As Django makes one from MAILERS, from 6.1 on; what Django does with the rest is its own."""
    mailer = EmailBackend(alias="default", later=True)
    assert mailer.send_messages([EmailMessage("Hi", "Plain", None, ["zoe@mail.example"])]) == 1
    mailbox.assert_no_mail_sent()
    assert mailbox.send_queued() == 1


def test_everything_of_a_mail_is_carried_over(mailbox: PrivateMailglass) -> None:
    """Bodies, copies, headers, files and inline images."""
    mail = EmailMultiAlternatives(
        "Your order", "Plain", "Shop <a@shop.example>", ["zoe@mail.example"],
        bcc=["b@mail.example"], cc=["c@mail.example"], reply_to=["help@shop.example"],
        headers={"X-Order": "1042", "From": "Other <o@shop.example>"},
        attachments=[("order.csv", "1;2", "text/csv")],
    )  # fmt: skip
    mail.attach_alternative('<p><img src="cid:logo"></p>', "text/html")
    image = MIMEImage(PNG, "png")
    image.add_header("Content-ID", "<logo>")
    image.add_header("Content-Disposition", "inline", filename="logo.png")
    mail.attach(image)
    mail.tags = ["order"]
    assert mail.send() == 1
    sent = mailbox.assert_mail_sent(
        to="zoe@mail.example", cc="c@mail.example", bcc="b@mail.example", tag="order",
        sender="o@shop.example", contains=["Plain", "cid:logo"], attachment="order.csv",
    ).message  # fmt: skip
    assert ("X-Order", "1042") in sent.headers
    assert [one.addr_spec for one in sent.reply_to] == ["help@shop.example"]
    assert {(one.filename, one.content, one.content_id) for one in sent.attachments} == {
        ("order.csv", b"1;2", None), ("logo.png", PNG, "logo"),
    }  # fmt: skip


def test_html_as_the_only_body(mailbox: PrivateMailglass) -> None:
    """content_subtype says so."""
    mail = EmailMessage("Hi", "<b>Hello</b>", None, ["zoe@mail.example"])
    mail.content_subtype = "html"
    mail.send()
    assert "<b>Hello</b>" in (mailbox.last_mail.message.html or "")


def test_what_cannot_be_carried_over_is_refused(mailbox: PrivateMailglass) -> None:
    """Never dropped in silence."""
    mail = EmailMultiAlternatives("Hi", "Plain", None, ["zoe@mail.example"])
    mail.attach_alternative("BEGIN:VCALENDAR", "text/calendar")
    with pytest.raises(SendError, match="alternative"):
        mail.send()
    mine = {"Message-ID": "<1@shop.example>"}
    stamped = EmailMessage("Hi", "Plain", None, ["zoe@mail.example"], headers=mine)
    with pytest.raises(MailglassError):
        stamped.send()
    mailbox.assert_no_mail_sent()


def test_a_mailable_is_queued_in_the_transaction(mailbox: PrivateMailglass) -> None:
    """By one statement on Django's connection; a used key queues nothing more."""
    for _ in range(2):
        with transaction.atomic():
            prepared = queue(note(idempotency_key="order 1042"), at_once=True)
    mailbox.assert_mail_sent(count=1)
    assert mailbox.delivery(prepared.delivery_ids[0]) is None


def test_mails_elsewhere_wait_for_the_commit(
    mailbox: PrivateMailglass, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a database of their own they cannot be in the transaction, but follow it."""
    elsewhere = DatabaseChoice(url="postgresql://elsewhere/mail", source="test", is_embedded=False)
    assert desk.shares_database(mailbox)
    monkeypatch.setattr(mailbox, "database", elsewhere)
    assert not desk.shares_database(mailbox)
    with transaction.atomic():
        _send()
        assert mailbox.store.list_deliveries(tenant_id=None) == ()
    assert mailbox.send_queued() == 1


@pytest.fixture
def elsewhere(mailbox: PrivateMailglass, monkeypatch: pytest.MonkeyPatch) -> PrivateMailglass:
    """Return the Mailglass with its mails in another database than Django's."""
    other = DatabaseChoice(url="postgresql://elsewhere/mail", source="test", is_embedded=False)
    monkeypatch.setattr(mailbox, "database", other)
    return mailbox


def test_a_mail_elsewhere_is_of_the_tenant_that_sent_it(elsewhere: PrivateMailglass) -> None:
    """A commit may come after the block that set the tenant, and inside that of another."""
    with tenant("bravo"), transaction.atomic():
        with tenant("acme"):
            _send()
    (found,) = elsewhere.store.list_deliveries(tenant_id=None)
    assert found.tenant_id == "acme"


def test_a_mail_elsewhere_that_is_refused_breaks_no_commit(elsewhere: PrivateMailglass) -> None:
    """It is refused when it is sent, where ``fail_silently`` holds; the commit runs its other work."""
    elsewhere.suppress(
        Suppression(
            scope=SuppressionScope.ADDRESS, value="zoe@mail.example",
            reason=SuppressionReason.MANUAL, source="test",
        )
    )  # fmt: skip
    done: list[str] = []
    with transaction.atomic():
        assert _send(fail_silently=True) == 0
        with pytest.raises(SuppressedError):
            _send()
        transaction.on_commit(lambda: done.append("paid"))
    assert done == ["paid"]


def test_a_database_elsewhere_that_is_away_breaks_no_commit(
    elsewhere: PrivateMailglass, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the application does after its commit is done, in order."""

    def away(_parameters: object) -> None:
        raise psycopg.OperationalError

    monkeypatch.setattr(elsewhere.store, "queue_message", away)
    done: list[str] = []
    with transaction.atomic():
        _send()
        transaction.on_commit(lambda: done.append("paid"))
    assert done == ["paid"]


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": "Hi\nBcc: all@mail.example"},
        {"from_email": "a@shop.example\r"},
        {"recipient_list": ["zoe@mail.example\n"], "fail_silently": True},
    ],
)
def test_a_line_end_in_a_header_is_djangos_own_error(
    mailbox: PrivateMailglass, changes: dict[str, Any]
) -> None:
    """A contact form catches BadHeaderError, whatever the backend."""
    with pytest.raises(BadHeaderError):
        _send(**changes)
    mailbox.assert_no_mail_sent()


def test_a_mail_is_queued_from_async_code(mailbox: PrivateMailglass) -> None:
    """On the connection of the thread that Django runs sync code in."""
    prepared = async_to_sync(aqueue)(note(), at_once=True)
    mailbox.assert_mail_sent(count=1)
    assert mailbox.delivery(prepared.delivery_ids[0]) is not None


def test_without_a_url_the_mails_are_in_djangos_database(
    database_url: str, django_database: Any
) -> None:
    """The Mailglass of the process is made at first use."""
    try:
        mail = desk.get_mailglass()
        assert mail is desk.get_mailglass()
        assert mail.settings.database_role == "mailglass_app"
        assert _send() == 1
        (delivery,) = mail.store.list_deliveries(tenant_id=None)
        assert delivery.state is DispatchState.SENT
    finally:
        desk._holder.close()


def test_queueing_in_another_database_than_postgresql_says_what_to_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`startproject` sets up SQLite, which cannot run the statement."""
    lite = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    monkeypatch.setitem(connections.settings, "lite", connections.settings["default"] | lite)
    try:
        with pytest.raises(ConfigError, match="needs PostgreSQL") as caught:
            queue(note(), using="lite")
    finally:
        del connections["lite"]
    assert caught.value.type is ConfigErrorType.CONFLICTING
    assert "deliver_later" in (caught.value.hint or "")


def test_wrong_settings_are_a_system_check(settings_dict: dict[str, Any]) -> None:
    """``manage.py check`` tells before any mail is lost."""
    assert apps._settings_are_right() == []
    settings_dict["adapter"] = "smtp"
    (found,) = apps._settings_are_right()
    assert found.id == "mailglass.E001"
    assert "host" in found.msg


@pytest.fixture
def settings_dict(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the dict of settings, to be changed."""
    from django.conf import settings  # noqa: PLC0415 - configured by then

    given: dict[str, Any] = {}
    monkeypatch.setattr(settings, "MAILGLASS", given)
    return given


def test_the_commands_run_with_djangos_settings(
    django_database: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On Django's own database."""
    monkeypatch.delenv("MAILGLASS_DATABASE_URL", raising=False)
    for name in ("MAILGLASS_DATABASE_URL", "MAILGLASS_DATABASE_ROLE", SAID_BY):
        monkeypatch.setenv(name, "kept for monkeypatch to restore")
        monkeypatch.delenv(name)
    with pytest.raises(SystemExit) as ended:
        call_command("mailglass", "migrate", "--check")
    assert ended.value.code == 0
    told = capsys.readouterr()
    assert "up to date" in told.out
    assert "(from Django's settings)" in told.err


def test_an_installed_project_passes_its_checks(tmp_path: Path) -> None:
    """What ``mailglass install`` writes into a Django project is loaded by a real manage.py."""
    from mailglass.installer import apply, plan, read_project  # noqa: PLC0415 - here alone

    write(tmp_path, APPLICATIONS["django"])
    apply(plan(read_project(tmp_path)), tmp_path)
    page = "from django.urls import reverse; print(reverse('mailglass:webhook', args=['postmark']))"
    for arguments in (["check"], ["mailglass", "--version"], ["shell", "-c", page]):
        told = subprocess.run(
            [sys.executable, "manage.py", *arguments], cwd=tmp_path,
            env={"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert told.returncode == 0, told.stdout + told.stderr
    assert told.stdout.splitlines()[-1] == "/webhooks/postmark"
