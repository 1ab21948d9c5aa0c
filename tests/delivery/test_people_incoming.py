"""Erasure and export of what comes in: packed, in the middle of it, and however much it is."""

from __future__ import annotations

import base64
import json
import tracemalloc
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from front_desk import count, note
from mailglass import Attachment, SendError
from mailglass.ledger.people import PeopleStore, Taken
from mailglass.ledger.suppressions import Suppressions
from people_held import (
    ADDRESS,
    KEY,
    TYPED,
    desk,
    keep_receipt,
    people,
    standing,
)
from webhook_requests import delivered, hooked, request


def test_a_report_without_its_delivery_goes_too(database_url: str) -> None:
    """It waits for days in a table of its own, with the address that it names."""
    told = {"RecordType": "Delivery", "MessageID": "abc", "DeliveredAt": "2026-03-01T12:00:00Z"}
    with hooked(database_url, erasure_key=KEY) as mail:
        mail.ingest("postmark", request({**told, "Recipient": ADDRESS}))
        mail.ingest("postmark", request({**told, "Recipient": "yan@mail.example"}))
        assert count(database_url, "webhook_orphans") == 2
        mail.people(by="ann").erase(ADDRESS)
        assert count(database_url, "webhook_orphans") == 1
        assert standing(database_url) == []


def test_mail_queued_while_somebody_is_erased_is_told(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is new, so it is not pulled away; whoever erases hears of it."""
    with desk(database_url) as mail:
        mail.deliver(note(to=ADDRESS))
        erase = Suppressions.erase

        def while_a_mail_comes(book: Suppressions, address: str) -> int:
            mail.deliver_later(note(to=ADDRESS))
            return erase(book, address)

        monkeypatch.setattr(Suppressions, "erase", while_a_mail_comes)
        with pytest.raises(SendError) as caught:
            people(mail).erase(ADDRESS)
        monkeypatch.undo()
        assert caught.value.code == "on_its_way"
        mail.dispatch_due()
        assert people(mail).erase(ADDRESS).deliveries == 1
        assert standing(database_url) == []


def test_mail_naming_somebody_that_is_queued_while_they_are_erased_is_told(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one to them is: its bytes hold the address."""
    with desk(database_url) as mail:
        mail.deliver(note(to=ADDRESS))
        erase = Suppressions.erase

        def while_a_mail_comes(book: Suppressions, address: str) -> int:
            mail.deliver_later(note(to="kim@mail.example", text=f"Ask {ADDRESS}."))
            return erase(book, address)

        monkeypatch.setattr(Suppressions, "erase", while_a_mail_comes)
        with pytest.raises(SendError) as caught:
            people(mail).erase(ADDRESS)
        monkeypatch.undo()
        assert caught.value.code == "on_its_way"
        people(mail).erase(ADDRESS, cancel=True)
        assert standing(database_url) == []


def test_a_report_that_comes_while_somebody_is_erased_is_emptied(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receipts were gone through, and the delivery still has its address: a provider calls."""
    erase = PeopleStore.erase
    with hooked(database_url, erasure_key=KEY) as mail:
        sent = mail.deliver(note(to=ADDRESS))

        def while_a_report_comes(people: PeopleStore, *given: Any, **more: Any) -> Taken:
            monkeypatch.undo()
            told = delivered(sent.id, Recipient=ADDRESS)
            assert mail.ingest("postmark", request(told)).recorded == 1
            return erase(people, *given, **more)

        monkeypatch.setattr(PeopleStore, "erase", while_a_report_comes)
        assert mail.people(by="ann").erase(ADDRESS).receipts == 1
        assert standing(database_url) == []
    with psycopg.connect(database_url) as owner:
        row = owner.execute("select sum(receipts) from mailglass.erasures").fetchone()
    assert row == (1,)


def test_a_received_mail_that_was_packed_goes_too(database_url: str) -> None:
    """SES, SparkPost and Postal hand a mail over in base64."""
    raw = f"From: kim@mail.example\r\nTo: help@shop.example\r\nCc: {TYPED}\r\n\r\nHi"
    packed = base64.b64encode(raw.encode()).decode()
    keep_receipt(database_url, json.dumps([{"msys": {"email_rfc822": packed}}]).encode())
    with desk(database_url) as mail:
        assert people(mail).erase(ADDRESS).receipts == 1
    with psycopg.connect(database_url) as owner:
        assert owner.execute("select body from mailglass.webhook_receipts").fetchone() == (None,)


def test_no_more_than_a_few_mails_are_read_at_once(database_url: str) -> None:
    """However many are kept, and however large they are."""
    body = b"x" * 2_000_000
    file = Attachment(filename="a", content=body, content_type="application/octet-stream")
    with desk(database_url, rate_limit_per_domain=None) as mail:
        for _ in range(20):
            mail.deliver_later(note(to="kim@mail.example", attachments=[file]))
        tracemalloc.start()
        try:
            people(mail).erase(ADDRESS)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 40_000_000


def test_pages_hold_every_row_and_a_large_one_has_its_own(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the bounds of a page fall."""
    monkeypatch.setattr("mailglass.ledger.people.PAGE_MAX", 2)
    monkeypatch.setattr("mailglass.ledger.people.PAGE_BYTES", 1000)
    for length in (10, 10, 10, 2000, 10, 900, 900):
        keep_receipt(database_url, f"{'x' * length} {ADDRESS}".encode())
    with desk(database_url, rate_limit_per_domain=None) as mail:
        for length in (10, 10, 10, 2000, 10):
            mail.deliver(note(to=ADDRESS, text="x" * length))
        document = people(mail).held_on(ADDRESS)
        assert (len(document["deliveries"]), len(document["received"])) == (5, 7)  # type: ignore[arg-type]  # lists
        done = people(mail).erase(ADDRESS)
    assert (done.deliveries, done.messages, done.receipts) == (5, 5, 7)


def test_an_erasure_ends_in_time_whatever_came_in(database_url: str) -> None:
    """No statement reads every receipt: here 6,000 of 7 kB, and no statement may take two seconds."""
    with desk(database_url, database_statement_timeout_s=2.0) as mail:
        mail.deliver(note(to=ADDRESS))
        with psycopg.connect(database_url) as owner:
            owner.execute(
                "insert into mailglass.webhook_receipts (id, tenant_id, provider, endpoint, dedupe_key,"
                " headers, body, body_sha256, state) select gen_random_uuid(), 'default', 'sendgrid',"
                " 'main', 'sha256:' || g, '[]', convert_to(repeat('{\"email\":\"kim' || g ||"
                " '@mail.example\",\"event\":\"delivered\"},', 150), 'UTF8'), sha256('x'), 'processed'"
                " from generate_series(1, 6000) g"
            )
        assert people(mail).erase(ADDRESS).deliveries == 1


def test_export_holds_what_came_in_and_would_be_emptied(database_url: str) -> None:
    """Mail from the person, and reports on mail to them; of a batch nobody else's."""
    mine = {"From": TYPED, "TextBody": "my own story"}
    keep_receipt(database_url, json.dumps(mine).encode())
    keep_receipt(database_url, json.dumps([{"to": "yan@mail.example"}, {"to": TYPED}]).encode())
    keep_receipt(database_url, f"to={quote(ADDRESS)}&x=".encode() + b"\xff")
    keep_receipt(database_url, f"to={quote(ADDRESS)}".encode())
    keep_receipt(database_url, b'{"to": "yan@mail.example"}')
    with desk(database_url) as mail:
        document = people(mail).held_on(ADDRESS)
        told = json.loads(json.dumps(document))["received"]
        bodies = {one["body"] for one in told}
        assert bodies == {
            json.dumps(mine),
            json.dumps([{"to": TYPED}]),
            f"to={quote(ADDRESS)}",
            base64.b64encode(f"to={quote(ADDRESS)}&x=".encode() + b"\xff").decode(),
        }
        assert {one["encoding"] for one in told} == {"utf-8", "base64"}
        assert people(mail).erase(ADDRESS).receipts == 4
        assert people(mail).held_on(ADDRESS)["received"] == []
