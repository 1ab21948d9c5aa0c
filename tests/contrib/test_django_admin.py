"""Django's admin on the mails, its migration, and its check of the unsubscribe page's address."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.db import connections
from django.test import Client, override_settings
from django.urls import include, path
from psycopg.conninfo import conninfo_to_dict

from front_desk import note
from mailglass import EventType
from mailglass.contrib.django import apps, desk
from mailglass.ledger.database import DatabaseChoice
from mailglass.ledger.migrations import status
from mailglass.suppression import Suppression, SuppressionReason, SuppressionScope
from mailglass.testing import PrivateMailglass

urlpatterns = [
    path("admin/", admin.site.urls),
    path("mail/", include("mailglass.contrib.django.urls")),
]
DELIVERIES = "/admin/mailglass/delivery/"
PROCESSORS = ["request", "auth", "messages"]
SITE = override_settings(
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["testserver"],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
)


@pytest.fixture
def client(mailbox: PrivateMailglass) -> Iterator[Client]:
    """Return the admin's client, logged in as somebody who may do everything."""
    with SITE:
        client = Client()
        client.force_login(User.objects.create_superuser("root", "root@shop.example", "k3-Zq.81x"))
        yield client


def _page(client: Client, path: str, **query: str) -> str:
    answer = client.get(path, query)
    assert answer.status_code == 200
    return str(answer.content, "utf-8")


def test_a_delivery_is_listed_and_shows_its_history(
    client: Client, mailbox: PrivateMailglass
) -> None:
    """With what a provider reported."""
    delivery = mailbox.deliver(note())
    mailbox.trigger_event(delivery, EventType.BOUNCED)
    listed = _page(client, DELIVERIES)
    assert "zoe@mail.example" in listed
    assert "hard_bounced" in listed
    shown = _page(client, f"{DELIVERIES}{delivery.id}/change/")
    for word in ("queued", "attempt_started", "dispatched", "bounced", "a plain message"):
        assert word in shown
    assert 'name="_save"' not in shown
    assert "Greeting" not in shown


def test_an_address_and_an_id_are_found_and_nothing_else(
    client: Client, mailbox: PrivateMailglass
) -> None:
    """A whole one, by its index."""
    delivery = mailbox.deliver(note())
    for term, found in (
        ("Zoe@mail.example", True), (str(delivery.id), True), ("zoe", False), ("max@mail.example", False),
        ("", True),
    ):  # fmt: skip
        assert (str(delivery.id) in _page(client, DELIVERIES, q=term)) is found, term


def test_suppressions_are_listed(client: Client, mailbox: PrivateMailglass) -> None:
    """With their reason."""
    mailbox.suppress(
        Suppression(
            scope=SuppressionScope.ADDRESS,
            value="max@mail.example",
            reason=SuppressionReason.MANUAL,
            source="test",
        )
    )
    listed = _page(client, "/admin/mailglass/suppression/")
    assert "max@mail.example" in listed
    assert "manual" in listed


def test_nothing_can_be_changed(client: Client, mailbox: PrivateMailglass) -> None:
    """Not even by a superuser: neither added, edited nor deleted, one or many."""
    delivery = mailbox.deliver(note())
    one = f"{DELIVERIES}{delivery.id}"
    assert client.get(f"{DELIVERIES}add/").status_code == 403
    assert client.post(f"{one}/change/", {"state": "failed"}).status_code == 403
    assert client.post(f"{one}/delete/", {"post": "yes"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": str(delivery.id), "post": "yes"}
    client.post(DELIVERIES, chosen)
    assert mailbox.delivery(delivery.id) is not None


def test_only_who_has_the_permission_looks(client: Client, mailbox: PrivateMailglass) -> None:
    """``manage.py migrate`` made it, as for any model."""
    mailbox.deliver(note())
    staff = User.objects.create_user("kim", is_staff=True)
    client.force_login(staff)
    assert client.get(DELIVERIES).status_code == 403
    staff.user_permissions.add(Permission.objects.get(codename="view_delivery"))
    assert client.get(DELIVERIES).status_code == 200


def test_mails_elsewhere_are_not_shown(
    client: Client, mailbox: PrivateMailglass, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Django cannot read them; the command line can."""
    elsewhere = DatabaseChoice(url="postgresql://elsewhere/mail", source="test", is_embedded=False)
    monkeypatch.setattr(mailbox, "database", elsewhere)
    assert client.get(DELIVERIES).status_code == 403
    assert "deliveries" not in _page(client, "/admin/").lower()


@pytest.fixture
def empty_database(postgres_server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the address of an empty database that Django uses."""
    for name in ("MAILGLASS_DATABASE_URL", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    name = f"mg_test_{uuid4().hex}"
    postgres_server.execute("CREATE DATABASE {name}", name=name)
    url = postgres_server.url(name)
    known = conninfo_to_dict(url)
    kept = dict(connections.settings["default"])
    connections.settings["default"].update(
        NAME=name, USER=known.get("user", ""), PASSWORD=known.get("password", ""),
        HOST=known.get("host", ""), PORT=str(known.get("port", "")),
    )  # fmt: skip
    connections["default"].close()
    del connections["default"]
    try:
        yield url
    finally:
        connections["default"].close()
        del connections["default"]
        connections.settings["default"].update(kept)
        postgres_server.drop(name)


@pytest.mark.parametrize("is_wanted", [True, False])
def test_djangos_migrate_brings_the_mails_up_to_date(
    empty_database: str, capsys: pytest.CaptureFixture[str], *, is_wanted: bool
) -> None:
    """So that a test's database has them too; a setting leaves it to another login."""
    with override_settings(MAILGLASS_MIGRATES=is_wanted):
        call_command("migrate", verbosity=1)
        assert ("migrations of mailglass" in capsys.readouterr().out) is is_wanted
        call_command("migrate", verbosity=1)
    assert "migrations of mailglass" not in capsys.readouterr().out
    assert (status(empty_database).pending == ()) is is_wanted


def test_djangos_migrate_leaves_a_named_database_alone(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its schema is for ``mailglass migrate``."""
    monkeypatch.setenv("MAILGLASS_DATABASE_URL", "postgresql://elsewhere/mail")
    call_command("migrate", verbosity=0)
    assert status(empty_database).pending


def test_django_has_no_migrations_to_make(django_database: Any) -> None:
    """The tables are not its own."""
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("https://mail.shop.example/mail/unsubscribe", False),
        ("https://mail.shop.example/leave", True),
        ("https://mail.shop.example/admin", True),
        (None, False),
    ],
)
def test_links_that_lead_nowhere_are_a_system_check(
    url: str | None, monkeypatch: pytest.MonkeyPatch, *, warned: bool
) -> None:
    """A reader who cannot leave complains."""
    monkeypatch.setattr(settings, "MAILGLASS", {"unsubscribe_url": url})
    with SITE:
        assert [one.id for one in apps._page_is_reached()] == ["mailglass.W001"] * warned
    monkeypatch.setattr(settings, "MAILGLASS", {"adapter": "smtp"})
    assert apps._page_is_reached() == []
    assert desk.given_settings() == {"adapter": "smtp"}
