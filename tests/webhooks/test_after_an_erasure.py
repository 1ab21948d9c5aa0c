"""Attacks on erasure: what comes in afterwards, and what is read again."""

from __future__ import annotations

import psycopg

from front_desk import note
from mailglass import EventType, Mailglass, Outcome
from mailglass.ledger.webhooks import ReceiptState
from webhook_requests import bounced, delivered, hooked, request

KEY = "0123456789abcdef0123456789abcdef"


def _complaint(mail: Mailglass, delivery_id: object) -> dict[str, object]:
    return bounced(delivery_id, Type="SpamComplaint", RecordType="SpamComplaint")  # type: ignore[arg-type,no-any-return]  # Postmark's report


def test_a_complaint_after_an_erasure_is_still_one(database_url: str) -> None:
    """The provider speaks of the address, the delivery has its hash: it is the same person."""
    with hooked(database_url, erasure_key=KEY) as mail:
        sent = mail.deliver(note())
        mail.people(by="ann").erase("zoe@mail.example")
        answer = mail.ingest("postmark", request(_complaint(mail, sent.id)))
        assert answer.recorded == 1
        found = mail.delivery(sent.id)
        assert found is not None
        assert found.outcome is Outcome.COMPLAINED
        assert mail.events(sent.id)[-1].type is EventType.COMPLAINED


def test_a_report_after_an_erasure_brings_no_address_back(database_url: str) -> None:
    """A provider's late report holds the address; what is kept of it does not."""
    with hooked(database_url, erasure_key=KEY) as mail:
        sent = mail.deliver(note())
        mail.people(by="ann").erase("zoe@mail.example")
        mail.ingest("postmark", request(delivered(sent.id)))
        with psycopg.connect(database_url) as owner:
            found = owner.execute(
                "select count(*) from mailglass.webhook_receipts"
                " where position('zoe@mail.example' in encode(body, 'escape')) > 0"
            ).fetchone()
    assert found == (0,)


def test_a_report_without_its_delivery_brings_no_address_back(database_url: str) -> None:
    """It waits under the hash, and is still linked to what the person had."""
    with hooked(database_url, erasure_key=KEY) as mail:
        sent = mail.deliver(note())
        mail.people(by="ann").erase("zoe@mail.example")
        mail.ingest("postmark", request(bounced(None, MessageID="unknown")))
        with psycopg.connect(database_url) as owner:
            held = owner.execute(
                "select o.document::text, r.body, r.state from mailglass.webhook_orphans o"
                " join mailglass.webhook_receipts r on r.id = o.receipt_id"
            ).fetchone()
            owner.execute("update mailglass.deliveries set provider_message_id = 'unknown'")
            owner.execute("update mailglass.deliveries set provider = 'postmark'")
        assert held is not None
        assert "zoe@mail.example" not in held[0]
        assert held[1:] == (None, "processed")
        assert mail.reconcile().linked == 1
        assert EventType.BOUNCED in {event.type for event in mail.events(sent.id)}


def test_a_report_on_somebody_who_came_back_is_kept_as_it_is(database_url: str) -> None:
    """They have new mail: what comes before we know its delivery is about that."""
    with hooked(database_url, erasure_key=KEY) as mail:
        mail.deliver(note())
        mail.people(by="ann").erase("zoe@mail.example")
        mail.deliver(note())
        mail.ingest("postmark", request(bounced(None, MessageID="unknown")))
        (orphan,) = mail.webhooks.webhooks.orphans(None, None)
        assert orphan.document["address_key"] == "zoe@mail.example"


def test_a_receipt_that_was_erased_and_is_read_again_stays_done(database_url: str) -> None:
    """There is nothing to read any more, and that is no fault to be looked into."""
    with hooked(database_url, erasure_key=KEY) as mail:
        sent = mail.deliver(note())
        mail.ingest("postmark", request(delivered(sent.id)))
        mail.people(by="ann").erase("zoe@mail.example")
        (receipt,) = mail.webhooks.webhooks.receipts(limit=10)
        mail.replay(receipt.id)
        assert [one.state for one in mail.webhooks.webhooks.receipts(limit=10)] == [
            ReceiptState.PROCESSED
        ]


def test_an_erased_receipt_that_was_never_finished_stops_no_other(database_url: str) -> None:
    """A crash left it open, then its body was erased: reconciling goes on behind it."""
    with hooked(database_url, erasure_key=KEY) as mail:
        sent = mail.deliver(note())
        mail.ingest("postmark", request(delivered(sent.id)))
        mail.people(by="ann").erase("zoe@mail.example")
        with psycopg.connect(database_url) as owner:
            owner.execute(
                "update mailglass.webhook_receipts"
                " set state = 'received', received_at = now() - interval '1 hour'"
            )
        assert mail.reconcile().finished == 1
        assert mail.reconcile().finished == 0
