"""A webhook through the whole way: verified, kept, recorded once, answered as its provider needs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import uuid4

import psycopg
import pytest

from front_desk import count, note
from mailglass import DispatchState, EventType, Mailglass, Outcome, SendError
from mailglass.adapters.fake import FakeAdapter, FakeMode
from mailglass.adapters.mailtrap import MailtrapAdapter
from mailglass.ids import new_id
from mailglass.ledger.webhooks import Source
from mailglass.webhook import TOKEN_KEY, HeaderMap
from mailglass.webhooks.answers import Answer
from mailglass.webhooks.endpoint import Endpoint
from mailglass.webhooks.normalise import document_of
from webhook_requests import (
    ALLOWED,
    BASIC,
    bounced,
    delivered,
    hooked,
    postmark,
    request,
    sendgrid_event,
)


def _take(mail: Mailglass, body: object, path: str = "postmark") -> Answer:
    return mail.ingest(path, request(body))


def _states(database_url: str) -> list[tuple[str, str | None]]:
    with psycopg.connect(database_url) as connection:
        return connection.execute(
            "select state, reason from mailglass.webhook_receipts order by received_at"
        ).fetchall()


def _dead(database_url: str) -> list[str]:
    with psycopg.connect(database_url) as connection:
        found = connection.execute("select reason from mailglass.webhook_dead order by place")
        return [row[0] for row in found.fetchall()]


def test_a_report_becomes_an_event_and_an_outcome(database_url: str) -> None:
    """The whole way, with the provider's time and word."""
    with hooked(database_url) as mail:
        sent = mail.deliver(note())
        answer = _take(mail, delivered(sent.id))
        last = mail.events(sent.id)[-1]
        now = mail.delivery(sent.id)
        assert mail.store.broken_chains() == ()
    assert (answer.status, answer.recorded) == (200, 1)
    assert (last.type, last.payload["provider"]) == (EventType.DELIVERED, "postmark")
    assert last.occurred_at.isoformat() == "2026-03-01T11:00:00+00:00"
    assert now is not None
    assert now.outcome is Outcome.DELIVERED
    assert _states(database_url) == [("processed", None)]


def test_the_same_request_again_adds_nothing(database_url: str) -> None:
    """A provider that did not hear our answer sends it again."""
    with hooked(database_url) as mail:
        sent = mail.deliver(note())
        first, second = (_take(mail, delivered(sent.id)) for _ in range(2))
        assert len(mail.events(sent.id)) == 4
    assert (first.status, first.recorded, second.status, second.recorded) == (200, 1, 200, 0)
    assert count(database_url, "webhook_receipts") == 1


def test_a_report_a_line_is_taken_in(database_url: str) -> None:
    """Mailtrap can be set to send JSON Lines, and pauses the webhook after 40 refusals."""
    adapter = MailtrapAdapter(api_key="key", webhooks=ALLOWED)
    endpoint = Endpoint(name="main", adapter=adapter, tenant_id="default")
    with hooked(database_url, endpoints=[endpoint]) as mail:
        told = {"email": "zoe@mail.example", "timestamp": 1772360000}
        told["custom_variables"] = {TOKEN_KEY: str(mail.deliver(note()).id)}
        lines = (json.dumps({"event": word, **told}) for word in ("delivery", "open"))
        sent_as = [("Authorization", BASIC), ("Content-Type", "application/jsonl")]
        given = request("\n".join(lines).encode(), headers=HeaderMap(sent_as))
        answer = mail.ingest("mailtrap", given)
    assert (answer.status, answer.recorded) == (200, 2)


def test_an_event_in_another_batch_counts_once(database_url: str) -> None:
    """SendGrid groups events anew when it repeats them."""
    with hooked(database_url) as mail:
        sent = mail.deliver(note())
        processed, arrived = (sendgrid_event(sent.id, one) for one in ("processed", "delivered"))
        _take(mail, [processed, arrived], "sendgrid")
        _take(mail, [arrived, processed, arrived], "sendgrid/main")
        types = [event.type for event in mail.events(sent.id)]
        assert mail.store.broken_chains() == ()
    assert types[-2:] == [EventType.QUEUED, EventType.DELIVERED]
    assert len(types) == 5


def test_recipients_of_one_message_are_told_apart_by_their_address(database_url: str) -> None:
    """The token names the message; the address names the delivery."""
    with hooked(database_url) as mail:
        sent = mail.deliver(note(to="zoe@mail.example", cc="Ann@mail.example"))
        everyone = mail.deliveries_of(sent.message_id)
        batch = [
            sendgrid_event(sent.id, "delivered", "zoe@mail.example", sg_event_id="one"),
            sendgrid_event(sent.id, "bounce", "ann@MAIL.example", sg_event_id="one"),
        ]
        assert _take(mail, batch, "sendgrid").recorded == 2
        outcomes = [one.outcome for one in mail.deliveries_of(sent.message_id)]
    assert len(everyone) == 2
    assert outcomes == [Outcome.DELIVERED, Outcome.HARD_BOUNCED]


def test_an_event_without_our_token_is_found_by_the_providers_id(database_url: str) -> None:
    """A mail that was sent before metadata came back, or a provider that drops it."""
    with hooked(database_url) as mail:
        sent = mail.deliver(note())
        with psycopg.connect(database_url) as connection:
            connection.execute(
                "update mailglass.deliveries set provider = 'sendgrid', provider_message_id = 'abc'"
            )
        assert _take(mail, [sendgrid_event(None, "delivered")], "sendgrid").recorded == 1
        now = mail.delivery(sent.id)
    assert now is not None
    assert now.outcome is Outcome.DELIVERED


def test_a_bounce_for_somebody_the_delivery_never_had_is_buried(database_url: str) -> None:
    """A forged or mixed-up bounce suppresses no bystander, nor the real recipient."""
    with hooked(database_url) as mail:
        sent = mail.deliver(note())
        answer = _take(mail, bounced(sent.id, "victim@mail.example"))
        assert len(mail.events(sent.id)) == 3
    assert answer.status == 200
    assert _dead(database_url) == ["recipient_mismatch"]
    assert count(database_url, "suppressions") == 0


def test_an_event_of_another_tenants_delivery_is_refused_and_kept(database_url: str) -> None:
    """Row 50: whoever controls one account cannot write into another tenant's history."""
    endpoints = [
        Endpoint(name=one, adapter=postmark(), tenant_id=one) for one in ("default", "other")
    ]
    with hooked(database_url, endpoints=endpoints) as mail:
        sent = mail.deliver(note())
        answer = _take(mail, bounced(sent.id), "postmark/other")
        assert len(mail.events(sent.id)) == 3
    assert answer.status == 422
    assert _dead(database_url) == ["tenant_mismatch"]
    assert count(database_url, "suppressions") == 0


def test_a_provider_id_is_looked_for_in_the_endpoints_tenant_alone(database_url: str) -> None:
    """Two tenants may meet the same id; neither hears of the other."""
    endpoints = [Endpoint(name="other", adapter=postmark(), tenant_id="other")]
    with hooked(database_url, endpoints=endpoints) as mail:
        sent = mail.deliver(note())
        with psycopg.connect(database_url) as connection:
            connection.execute(
                "update mailglass.deliveries set provider = 'postmark', provider_message_id = 'pm-1'"
            )
        assert _take(mail, delivered(None)).recorded == 0
        assert len(mail.events(sent.id)) == 3
    assert count(database_url, "webhook_orphans") == 1


def test_an_event_that_makes_no_sense_leaves_its_neighbours_alone(database_url: str) -> None:
    """SendGrid may one day send something else in the middle of a batch."""
    with hooked(database_url) as mail:
        sent = mail.deliver(note())
        strange = sendgrid_event(sent.id, "\x00", sg_event_id=["x"], timestamp="soon")
        batch = [sendgrid_event(sent.id, "processed"), "no object", strange]
        answer = _take(mail, [*batch, sendgrid_event(sent.id, "delivered")], "sendgrid")
        types = [event.type for event in mail.events(sent.id)][3:]
    assert (answer.status, answer.recorded) == (200, 3)
    assert types == [EventType.QUEUED, EventType.UNKNOWN, EventType.DELIVERED]
    assert count(database_url, "webhook_orphans") == 1


def test_one_event_that_postgres_refuses_does_not_lose_its_batch(database_url: str) -> None:
    """A savepoint an event: it is buried with the reason, and the others are recorded."""
    with hooked(database_url) as mail:
        sent = mail.deliver(note())
        at = datetime(2026, 3, 1, tzinfo=UTC)
        words = ("processed", "delivered", "open")
        events = mail.webhooks.endpoints["sendgrid"].adapter.events(
            request([sendgrid_event(sent.id, one) for one in words])
        )
        documents = [
            dict(document_of(one, place=n, received_at=at)) for n, one in enumerate(events)
        ]
        documents[1]["type"] = "nonsense"
        source = Source(tenant_id="default", provider="sendgrid", receipt_id=new_id())
        found = mail.webhooks.webhooks.record(source, documents)
        types = [event.type for event in mail.events(sent.id)][3:]
        assert mail.store.broken_chains() == ()
    assert [one.status.value for one in found] == ["recorded", "refused", "recorded"]
    assert types == [EventType.QUEUED, EventType.OPENED]
    assert _dead(database_url) == ["sqlstate_23514"]


def test_a_report_settles_a_mail_of_which_nobody_knew(database_url: str) -> None:
    """T9: who reports on a mail has accepted it."""
    fake = FakeAdapter()
    fake.next(FakeMode.UNKNOWN_TIMEOUT)
    with hooked(database_url, adapter=fake) as mail:
        with pytest.raises(SendError) as caught:
            mail.deliver(note())
        delivery_id = caught.value.delivery_id
        assert delivery_id is not None
        _take(mail, delivered(delivery_id))
        now = mail.delivery(delivery_id)
    assert now is not None
    assert (now.state, now.outcome) == (DispatchState.SENT, Outcome.DELIVERED)


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("nobody", b"{}", [], 404),
        ("postmark/nobody", b"{}", [], 404),
        ("postmark", b"{}", [("Content-Encoding", "gzip")], 415),
        ("postmark", b"{}", [("Content-Length", "900")], 400),
        ("postmark", b"x" * 2_000_001, [], 413),
    ],
)
def test_what_no_provider_sends_is_turned_away(
    database_url: str, path: str, body: bytes, headers: list[tuple[str, str]], status: int
) -> None:
    """Each with its own answer, and no row."""
    endpoints = [
        Endpoint(name="main", adapter=postmark(), tenant_id="default", body_bytes_max=2_000_000)
    ]
    with hooked(database_url, endpoints=endpoints) as mail:
        assert mail.ingest(path, request(body, extra=headers)).status == status
    assert count(database_url, "webhook_receipts") == 0


@pytest.mark.parametrize(
    "kind", ["image/png", "application/json; charset=utf-16", "text/html", "application/gzip"]
)
def test_a_body_of_another_kind_is_turned_away(database_url: str, kind: str) -> None:
    """A charset that hides what is written is not guessed at."""
    with hooked(database_url) as mail:
        headers = HeaderMap([("Content-Type", kind)])
        assert mail.ingest("postmark", request(b"{}", headers=headers)).status == 415


def test_a_request_without_the_credentials_writes_nothing(database_url: str) -> None:
    """Row 33; Postmark hears 403, which ends its repetitions."""
    with hooked(database_url) as mail:
        sent = mail.deliver(note())
        for headers in (HeaderMap(), HeaderMap([("Authorization", "Basic aG9vazp4")])):
            answer = mail.ingest("postmark", request(bounced(sent.id), headers=headers))
            assert answer.status == 403
        answer = mail.ingest("sendgrid", request([], headers=HeaderMap()))
    assert answer.status == 401
    assert count(database_url, "webhook_receipts") == 0
    assert count(database_url, "suppressions") == 0


@pytest.mark.parametrize("body", [b"", b"{", b'{"a": NaN}', b"[" * 100, b"\xff\xfe", b'"text"'])
def test_what_cannot_be_read_is_kept_and_never_a_server_error(
    database_url: str, body: bytes
) -> None:
    """A verified request that makes no sense is for an operator to look at."""
    with hooked(database_url) as mail:
        assert _take(mail, body).status == 200
    assert count(database_url, "webhook_receipts") == 1


def test_a_check_of_the_address_is_answered(database_url: str) -> None:
    """Mandrill and Unisender ask with HEAD or GET before they use an address."""
    with hooked(database_url) as mail:
        for method, status in (("HEAD", 200), ("GET", 200), ("PUT", 405)):
            assert mail.ingest("postmark", request(b"", method=method)).status == status
    assert count(database_url, "webhook_receipts") == 0


def test_a_database_that_is_away_is_answered_so_that_the_event_comes_again() -> None:
    """503 for most, 429 for Brevo, which would throw the event away."""
    nowhere = "postgresql://nobody@127.0.0.1:1/none"
    with hooked(nowhere, database_connect_timeout_s=1) as mail:
        answer = _take(mail, delivered(uuid4()))
    assert answer.status == 503
    assert dict(answer.headers)["Retry-After"] == "60"


def test_no_credential_is_kept_with_a_request(database_url: str) -> None:
    """What proves a request is not needed to read it again."""
    with hooked(database_url) as mail:
        _take(mail, delivered(None))
    with psycopg.connect(database_url) as connection:
        found = connection.execute("select headers from mailglass.webhook_receipts").fetchone()
    assert found is not None
    assert found[0] == [["content-type", "application/json"]]


def test_dispatch_states_are_left_alone(database_url: str) -> None:
    """A report changes the outcome, never how far our own sending came."""
    with hooked(database_url) as mail:
        sent = mail.deliver(note())
        _take(mail, bounced(sent.id))
        now = mail.delivery(sent.id)
    assert now is not None
    assert (now.state, now.outcome) == (DispatchState.SENT, Outcome.HARD_BOUNCED)


def test_a_header_that_no_database_takes_is_kept_as_far_as_it_can_be(database_url: str) -> None:
    """A server may hand over bytes that are no text; the request is genuine all the same."""
    headers = [
        ("Authorization", BASIC),
        ("Content-Type", "application/json"),
        ("User-Agent", "a\x00\udcff"),
    ]
    with hooked(database_url) as mail:
        answer = mail.ingest("postmark", request(delivered(None), headers=HeaderMap(headers)))
    assert answer.status == 200
    assert count(database_url, "webhook_receipts") == 1
