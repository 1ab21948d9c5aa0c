"""What a webhook says about a recipient holds for the next mail, on the right scope and no other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg
import pytest

from front_desk import count, note
from mailglass import Mailglass, Stream, SuppressedError
from mailglass.adapters.resend import ResendAdapter
from mailglass.webhook import TOKEN_KEY
from mailglass.webhooks.endpoint import Endpoint
from webhook_requests import ALLOWED, bounced, hooked, request, sendgrid_event


def _suppressed(database_url: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database_url) as connection:
        return connection.execute(
            "select scope, value, stream, reason, source from mailglass.suppressions order by value"
        ).fetchall()


@pytest.mark.parametrize(
    ("word", "more", "expected"),
    [
        ("bounce", {}, [("address", None, "hard_bounce")]),
        ("bounce", {"type": "blocked"}, []),
        ("bounce", {"status": "4.2.2"}, []),
        ("deferred", {}, []),
        ("spamreport", {}, [("address", None, "complaint")]),
        ("unsubscribe", {}, [("address_stream", "operational", "unsubscribe")]),
        ("dropped", {"reason": "Invalid"}, [("address", None, "invalid_recipient")]),
        ("delivered", {}, []),
        ("open", {}, []),
    ],
)
def test_an_event_suppresses_on_its_own_scope(
    database_url: str, word: str, more: Mapping[str, str], expected: list[tuple[Any, ...]]
) -> None:
    """A soft bounce and a block say nothing about the next mail."""
    with hooked(database_url) as mail:
        sent = mail.deliver(note(stream=Stream.OPERATIONAL))
        mail.ingest("sendgrid", request([sendgrid_event(sent.id, word, **more)]))
    found = _suppressed(database_url)
    assert [(scope, stream, reason) for scope, _, stream, reason, _ in found] == expected
    assert {(value, source) for _, value, _, _, source in found} <= {
        ("zoe@mail.example", "webhook:sendgrid")
    }


@pytest.mark.parametrize(
    ("word", "detail"),
    [("email.bounced", {"bounce": {"type": "Permanent"}}), ("email.complained", {})],
)
@pytest.mark.parametrize(("people", "expected"), [(1, ["0@mail.example"]), (2, [])])
def test_a_report_that_names_nobody_suppresses_only_who_was_alone(
    database_url: str, word: str, detail: dict[str, Any], people: int, expected: list[str]
) -> None:
    """Resend tells of a mail: about several people its report is refused, and stays to be seen."""
    adapter = ResendAdapter(api_key="key", webhooks=ALLOWED)
    endpoint = Endpoint(name="main", adapter=adapter, tenant_id="default")
    to = [f"{one}@mail.example" for one in range(people)]
    with hooked(database_url, endpoints=[endpoint]) as mail:
        tags = {TOKEN_KEY: str(mail.deliver(note(to=to)).id)}
        told = {"type": word, "data": {"email_id": "re-1", "to": to, "tags": tags, **detail}}
        assert mail.ingest("resend", request(told)).status == 200
    assert [row[1] for row in _suppressed(database_url)] == expected
    assert count(database_url, "webhook_dead") == people - 1


def test_a_filters_verdict_is_nobodys_complaint(database_url: str) -> None:
    """Postmark's SpamNotification: the address stays active, and so does it here."""
    with hooked(database_url) as mail:
        told = bounced(mail.deliver(note()).id, Type="SpamNotification", Inactive=False)
        assert mail.ingest("postmark", request(told)).recorded == 1
        assert mail.deliver(note()).error is None
    assert count(database_url, "suppressions") == 0


def test_the_next_mail_is_refused(database_url: str) -> None:
    """The event and its consequence are one transaction."""
    with hooked(database_url) as mail:
        mail.ingest("postmark", request(bounced(mail.deliver(note()).id)))
        with pytest.raises(SuppressedError):
            mail.deliver(note())


def test_a_complaint_is_not_softened_by_a_bounce_in_its_batch(database_url: str) -> None:
    """Of several reasons for one address the strongest stands."""
    with hooked(database_url) as mail:
        sent = mail.deliver(note())
        words = ("spamreport", "bounce", "unsubscribe")
        mail.ingest("sendgrid", request([sendgrid_event(sent.id, one) for one in words]))
    assert [row[3] for row in _suppressed(database_url)] == ["complaint", "unsubscribe"]


def test_a_repeated_bounce_does_not_bring_back_a_suppression(database_url: str) -> None:
    """Somebody took the address off the list: only a new bounce puts it back."""
    with hooked(database_url) as mail:
        sent = mail.deliver(note())
        event = sendgrid_event(sent.id, "bounce")
        mail.ingest("sendgrid", request([event]))
        with psycopg.connect(database_url) as connection:
            connection.execute("update mailglass.suppressions set removed_at = now()")
        mail.ingest("sendgrid", request([event, sendgrid_event(sent.id, "open")]))
        assert mail.deliver(note()).error is None


def _soft(mail: Mailglass, number: int) -> None:
    sent = mail.deliver(note())
    event = sendgrid_event(sent.id, "bounce", type="blocked", sg_event_id=f"soft-{number}")
    mail.ingest("sendgrid", request([event]))


def test_the_fifth_soft_bounce_within_a_week_suppresses(database_url: str) -> None:
    """Four may be a full mailbox on holiday."""
    with hooked(database_url) as mail:
        for number in range(4):
            _soft(mail, number)
        assert count(database_url, "suppressions") == 0
        _soft(mail, 4)
    assert _suppressed(database_url) == [
        ("address", "zoe@mail.example", None, "hard_bounce", "soft_bounces:sendgrid")
    ]
