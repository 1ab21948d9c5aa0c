"""What an event is known by: the provider's id in each spelling, its own id whole, and its tenant."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import psycopg
import pytest

from front_desk import note
from mailglass import EventType, Mailglass, Outcome, tenant
from mailglass.adapters.fake import FakeAdapter
from mailglass.adapters.http import Request, Response
from mailglass.adapters.sendgrid import SendGridAdapter
from mailglass.adapters.signatures import WebhookAuth
from mailglass.telemetry import observe
from mailglass.telemetry.observers import Fields
from mailglass.webhook import HeaderMap
from mailglass.webhooks.endpoint import Endpoint
from webhook_requests import CREDENTIALS, NOW, hooked, request, sendgrid, sendgrid_event

SENT_AS = "14c5d75ce93"


def _accepting(_asked: Request) -> Response:
    return Response(status=202, headers=HeaderMap([("X-Message-Id", SENT_AS)]))


@pytest.mark.parametrize(
    "shown", ["", ".filter001.1.0", ".recvd-1.0"], ids=["none", "filter", "recvd"]
)
def test_a_mail_is_found_by_the_providers_id_in_each_spelling(
    shown: str, database_url: str
) -> None:
    """M4, M6; bettervoting #1322, sendgrid/docs #6577: sent, then reported on without our own token."""
    adapter = SendGridAdapter(
        api_key="key", webhooks=WebhookAuth(credentials=[CREDENTIALS]), transport=_accepting
    )
    endpoints = [Endpoint(name="main", adapter=adapter, tenant_id="default")]
    with hooked(
        database_url, adapter=adapter, endpoints=endpoints, enable_real_network=True
    ) as mail:
        sent = mail.deliver(note())
        event = sendgrid_event(None, "delivered", sg_message_id=f"{SENT_AS}{shown}")
        assert mail.ingest("sendgrid", request([event])).recorded == 1
        known = mail.delivery(sent.id)
    assert known is not None
    assert (known.provider, known.outcome) == ("sendgrid", Outcome.DELIVERED)


def _recorded(mail: Mailglass, ids: Sequence[str]) -> int:
    sent = mail.deliver(note())
    events = [sendgrid_event(sent.id, "open", sg_event_id=one) for one in ids]
    mail.ingest("sendgrid", request(events))
    return sum(one.type is EventType.OPENED for one in mail.events(sent.id))


def test_events_with_long_ids_are_told_apart(database_url: str) -> None:
    """M7: alike in their first 600 characters, and two events all the same."""
    with hooked(database_url) as mail:
        assert _recorded(mail, ["k" * 600 + "1", "k" * 600 + "2", "k" * 600 + "1"]) == 2


def test_events_with_ids_beyond_ascii_are_told_apart(database_url: str) -> None:
    """M7: alike in their letters of ASCII, and two events all the same."""
    with hooked(database_url) as mail:
        assert _recorded(mail, ["id-ä", "id-ö", "id-", "id-ä"]) == 3


def test_tenants_may_meet_the_same_event_id(database_url: str) -> None:
    """M8: what makes an event count once is its tenant's own."""
    names = ("acme", "beta")
    endpoints = [Endpoint(name=one, adapter=sendgrid(), tenant_id=one) for one in names]
    with hooked(database_url, endpoints=endpoints) as mail:
        for name in names:
            with tenant(name):
                sent = mail.deliver(note())
            event = sendgrid_event(sent.id, "delivered", sg_event_id="one-for-both")
            assert mail.ingest(f"sendgrid/{name}", request([event])).recorded == 1


class _Broken:
    """An observer that fails whatever it is told."""

    def counted(self, name: str, fields: Fields) -> None:
        """Fail."""
        raise ZeroDivisionError

    def begun(self, name: str) -> Callable[[Fields | None, float], None]:
        """Fail."""
        raise ZeroDivisionError


@pytest.fixture
def _broken_observer() -> Iterator[None]:
    forget = observe(_Broken())
    yield
    forget()


@pytest.mark.usefixtures("_broken_observer")
def test_a_failing_observer_changes_no_answer(database_url: str) -> None:
    """M5: what is told after the commit cannot make a provider repeat what was stored."""
    fake = FakeAdapter()
    with hooked(database_url, adapter=fake) as mail:
        sent = mail.deliver(note())
        answers = [
            mail.ingest("sendgrid", request([sendgrid_event(one, "delivered")])).status
            for one in (sent.id, sent.id, None)
        ]
        forged = request([], headers=HeaderMap([("Content-Type", "application/json")]), now=NOW)
        assert mail.ingest("sendgrid", forged).status == 401
    assert answers == [200, 200, 200]


@pytest.mark.tampers
def test_a_complaint_finds_a_mail_of_last_month(database_url: str) -> None:
    """Hexclave #1341: complaints come late; neither age nor scrubbed bytes keep one from its mail."""
    with hooked(database_url) as mail:
        sent = mail.deliver(note())
        with psycopg.connect(database_url) as owner:
            owner.execute(
                "update mailglass.deliveries set updated_at = now() - interval '40 days',"
                " created_at = now() - interval '40 days'"
            )
            owner.execute("update mailglass.messages set updated_at = now() - interval '40 days'")
        assert mail.sweep().scrubbed == 1
        complaint = sendgrid_event(sent.id, "spamreport")
        assert mail.ingest("sendgrid", request([complaint])).recorded == 1
        known = mail.delivery(sent.id)
    assert known is not None
    assert known.outcome is Outcome.COMPLAINED
