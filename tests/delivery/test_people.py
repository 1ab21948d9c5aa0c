"""Erasure and export: after one no table holds the address, and the other shows all that does."""

from __future__ import annotations

import base64
import json
import logging
import re
from urllib.parse import quote

import psycopg
import pytest

from front_desk import count, front_desk, note
from mailglass import (
    Attachment,
    ConfigError,
    DispatchState,
    EventType,
    Mailglass,
    SendError,
    StoredTemplate,
    Stream,
    SuppressedError,
    Suppression,
    SuppressionReason,
    SuppressionScope,
)
from mailglass.adapters.fake import FakeAdapter, FakeMode
from mailglass.delivery.people import People
from mailglass.suppression import erased_value
from people_held import (
    ADDRESS,
    KEY,
    LOCAL,
    TYPED,
    desk,
    everything,
    keep_receipt,
    people,
    standing,
)

TAKEN_OUT_OF = {
    f"mailglass.{name}"
    for name in ("messages", "deliveries", "webhook_orphans", "webhook_receipts", "suppressions")
}


WITHOUT_ADDRESS = {
    "mailglass.erasure_marks",
    "mailglass.erasures",
    "mailglass.event_keys",
    "mailglass.events",
    "mailglass.feature_history",
    "mailglass.features",
    "mailglass.migrations",
    "mailglass.adapter_paces",
    "mailglass.breaker_history",
    "mailglass.breakers",
    "mailglass.report_keys",
    "mailglass.limit_states",
    "mailglass.suppression_history",
    "mailglass.inbound_messages",
    "mailglass.webhook_dead",
    "mailglass.suppression_intake",  # filled and emptied within a transaction
}


def _list_with(address: str) -> Attachment:
    rows = f"{'name,' * 40}\nZoe,{address}\n".encode()
    return Attachment(filename="list.csv", content=rows, content_type="text/csv")


def _fill(database_url: str, mail: Mailglass) -> None:
    """Put the address wherever one can get."""
    mail.deliver(note(to=f"Zoe <{TYPED}>", text=f"Hello {TYPED}, here.", metadata={"who": TYPED}))
    mail.deliver(note(to="yan@mail.example", cc=TYPED, tags=[ADDRESS]))
    mail.deliver(note(to="yan@mail.example", bcc=TYPED, html=f"<p>{'ü' * 90} {TYPED}</p>"))
    mail.deliver(note(to="yan@mail.example", text=f"{'ü' * 90} {TYPED}"))
    mail.deliver(note(to="yan@mail.example", sender=f"Zoe <{TYPED}>", reply_to=TYPED))
    mail.deliver(note(to=TYPED, idempotency_key=f"welcome:{ADDRESS}", ordering_key=ADDRESS))
    mail.deliver(note(to="yan@mail.example", metadata={"about": TYPED}))
    mail.deliver(note(to="yan@mail.example", metadata={"link": f"/u?e={quote(ADDRESS, safe='')}"}))
    mail.deliver(note(to="yan@mail.example", html=f'<a href="/u?e={LOCAL}%40mail.example">x</a>'))
    mail.deliver(note(to="yan@mail.example", attachments=[_list_with(TYPED)]))
    mail.deliver(note(to="yan@mail.example", envelope_sender=f"b+{LOCAL}=mail.example@x.example"))
    for stream in (None, Stream.BULK):
        scope = "address_stream" if stream else "address"
        mail.suppress(
            Suppression(
                scope=SuppressionScope(scope),
                value=TYPED,
                stream=stream,
                reason=SuppressionReason.UNSUBSCRIBE,
                source="test",
            )
        )
    with pytest.raises(SuppressedError):
        mail.deliver(note(to=TYPED))
    keep_receipt(database_url, json.dumps({"email": TYPED}).encode())
    keep_receipt(database_url, f"to={quote(ADDRESS, safe='')}".encode())
    keep_receipt(database_url, b'{"to": "' + LOCAL.encode() + b'\\u0040mail.example"}')
    keep_receipt(database_url, b"{}", json.dumps({"x-to": ADDRESS}))


def test_no_table_holds_the_address_afterwards(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Row 90: every column of every table, in every spelling, and what was logged."""
    caplog.set_level(logging.DEBUG)
    with desk(database_url) as mail:
        _fill(database_url, mail)
        assert {ADDRESS, LOCAL} <= set(standing(database_url))
        done = people(mail).erase(TYPED)
        assert (done.messages, done.receipts, done.suppressions) == (12, 4, 2)
        assert standing(database_url) == []
        assert mail.store.broken_chains() == ()
    assert ADDRESS not in caplog.text.lower()
    assert ADDRESS not in f"{done!r} {people(mail)!r}".lower()


def test_the_erased_person_is_still_refused(database_url: str) -> None:
    """Under the keyed hash, on every stream that was refused."""
    with desk(database_url) as mail:
        _fill(database_url, mail)
        people(mail).erase(ADDRESS)
        with pytest.raises(SuppressedError):
            mail.deliver(note(to=TYPED))


def test_counts_and_other_peoples_rows_stay(database_url: str) -> None:
    """No row goes, states stay, and who shares a mail keeps their delivery."""
    tables = ("messages", "deliveries", "events", "webhook_receipts", "suppressions")
    with desk(database_url) as mail:
        _fill(database_url, mail)
        mail.deliver(note(to="ann@mail.example"))
        before = {table: count(database_url, table) for table in tables}
        keys = "count(distinct address_key), count(*) filter (where state = 'sent')"
        with psycopg.connect(database_url) as owner:
            persons = owner.execute(f"select {keys} from mailglass.deliveries".encode()).fetchone()
        people(mail).erase(ADDRESS)
        assert {table: count(database_url, table) for table in tables} == before
        with psycopg.connect(database_url) as owner:
            after = owner.execute(f"select {keys} from mailglass.deliveries".encode()).fetchone()
            kept = owner.execute(
                "select count(*) from mailglass.deliveries where address = 'yan@mail.example'"
            ).fetchone()
            whole = owner.execute(
                "select count(*) from mailglass.messages where payload is not null"
            ).fetchone()
        assert after == persons
        assert kept == (9,)
        assert whole == (1,)


def test_another_tenants_rows_are_not_touched(database_url: str) -> None:
    """Each tenant answers for itself."""
    with desk(database_url) as mail:
        mail.deliver(note(to=ADDRESS))
        other = People(store=mail.store, tenant_id="other", erasure_key=KEY.encode())
        assert other.erase(ADDRESS).deliveries == 0
        assert ADDRESS in standing(database_url)


@pytest.mark.parametrize("mode", [None, FakeMode.UNKNOWN_TIMEOUT], ids=["queued", "unknown"])
def test_what_has_not_left_keeps_the_address(database_url: str, mode: FakeMode | None) -> None:
    """Nothing is changed until the mail is cancelled."""
    fake = FakeAdapter()
    with desk(database_url, fake) as mail:
        mail.suppress(
            Suppression(
                scope=SuppressionScope.ADDRESS_STREAM, value=ADDRESS, reason=SuppressionReason.MANUAL,
                source="test", stream=Stream.BULK,
            )
        )  # fmt: skip
        delivery = mail.deliver_later(note(to=ADDRESS))
        if mode is not None:
            fake.next(mode)
            mail.dispatch_due()
        before = everything(database_url)
        with pytest.raises(SendError) as caught:
            people(mail).erase(ADDRESS)
        assert caught.value.code == "on_its_way"
        assert everything(database_url) == before
        assert people(mail).erase(ADDRESS, cancel=True).deliveries == 1
        assert standing(database_url) == []
        found = mail.delivery(delivery.id)
        assert found is not None
        assert found.state in {DispatchState.CANCELLED, DispatchState.UNKNOWN_FINAL}
        mail.dispatch_due()
        assert mail.store.broken_chains() == ()


def test_somebody_with_a_longer_name_is_not_touched(database_url: str) -> None:
    """Neither the mail that waits for them nor what was sent to them."""
    with desk(database_url) as mail:
        mail.deliver(note(to="joanna@mail.example", text="To joanna@mail.example"))
        waiting = mail.deliver_later(note(to="mary.anna@mail.example"))
        done = people(mail).erase("anna@mail.example", cancel=True)
        assert (done.deliveries, done.messages) == (0, 0)
        found = mail.delivery(waiting.id)
        assert found is not None
        assert found.state is DispatchState.QUEUED
    assert {"joanna@mail.example", "mary.anna@mail.example"} <= set(
        re.findall(r"[\w.]+@mail\.example", everything(database_url))
    )


def test_every_table_is_known_to_the_erasure(database_url: str) -> None:
    """A new one is looked at: whether it holds an address, and which query takes that out."""
    with psycopg.connect(database_url) as owner:
        tables = owner.execute(
            "select table_schema || '.' || table_name from information_schema.tables"
            " where table_schema like 'mailglass%' and table_type = 'BASE TABLE'"
        ).fetchall()
    assert {name for (name,) in tables} - TAKEN_OUT_OF - WITHOUT_ADDRESS == set()


def test_a_mail_that_is_leaving_is_not_pulled_away(database_url: str) -> None:
    """Its attempt ends first, cancelled or not."""
    with desk(database_url) as mail:
        delivery = mail.deliver_later(note(to=ADDRESS))
        assert mail.dispatcher.claim("default", delivery.message_id) is not None
        with pytest.raises(SendError) as caught:
            people(mail).erase(ADDRESS, cancel=True)
        assert caught.value.code == "on_its_way"


def test_erasing_twice_changes_nothing_more(database_url: str) -> None:
    """And each is on record, under the hash."""
    with desk(database_url) as mail:
        mail.deliver(note(to=ADDRESS))
        assert people(mail).erase(ADDRESS).deliveries == 1
        assert people(mail).erase(ADDRESS).deliveries == 0
    with psycopg.connect(database_url) as owner:
        found = owner.execute(
            "select subject, deliveries, changed_by from mailglass.erasures order by at"
        ).fetchall()
    subject = erased_value(KEY.encode(), "default", ADDRESS)
    assert found == [(subject, 1, "ann"), (subject, 0, "ann")]


def test_a_link_in_an_old_mail_still_takes_its_reader_off(database_url: str) -> None:
    """The delivery knows the hash, and that is what is refused from then on."""
    with desk(database_url) as mail:
        delivery = mail.deliver(note(to=ADDRESS, stream="operational"))
        people(mail).erase(ADDRESS)
        assert mail.unsubscribe(delivery.id)
        with pytest.raises(SuppressedError):
            mail.deliver(note(to=ADDRESS, stream="operational"))


def test_without_a_key_nothing_is_erased(database_url: str) -> None:
    """The person would be mailed again."""
    with front_desk(database_url) as mail:
        mail.deliver(note(to=ADDRESS))
        with pytest.raises(ConfigError) as caught:
            people(mail).erase(ADDRESS)
        assert caught.value.key == "erasure_key"
        assert ADDRESS in standing(database_url)


def test_an_idempotency_key_with_an_address_is_kept_as_a_hash(database_url: str) -> None:
    """Keys cannot be changed later, so no address gets into them; repetitions are known."""
    with desk(database_url) as mail:
        first = mail.deliver(note(idempotency_key=f"welcome:{ADDRESS}"))
        assert mail.deliver(note(idempotency_key=f"welcome:{ADDRESS}")).id == first.id
        (again,) = mail.deliver_many([note(idempotency_key=f"welcome:{ADDRESS}")])
        assert again.id == first.id
        assert standing(database_url) == []


def test_export_shows_all_that_is_held(database_url: str) -> None:
    """Deliveries with their events and bytes, suppressions with their history, as JSON."""
    with desk(database_url) as mail:
        _fill(database_url, mail)
        told = json.loads(json.dumps(people(mail).held_on(TYPED)))
    assert (told["shape"], told["tenant"], told["address"]) == (
        "mailglass.person/1",
        "default",
        ADDRESS,
    )
    assert [one["kind"] for one in told["deliveries"]] == ["to", "cc", "bcc", "to", "to"]
    first = told["deliveries"][0]
    assert first["address"] == TYPED.replace("Mail.Example", "mail.example")
    assert first["settings"]["metadata"] == {"who": TYPED}
    assert b"Hello Zoe" in base64.b64decode(first["mail"])
    assert [one["type"] for one in first["events"]] == [
        EventType.QUEUED,
        EventType.ATTEMPT_STARTED,
        EventType.DISPATCHED,
    ]
    assert [one["scope"] for one in told["suppressions"]] == ["address", "address_stream"]
    assert [one["action"] for one in told["suppression_history"]] == ["added", "added"]


def test_export_after_erasure_shows_what_is_left(database_url: str) -> None:
    """Found by the hash: states and events, and no content."""
    with desk(database_url) as mail:
        mail.deliver(note(to=ADDRESS))
        people(mail).erase(ADDRESS)
        (left,) = json.loads(json.dumps(people(mail).held_on(ADDRESS)))["deliveries"]
    assert (left["mail"], left["settings"], left["state"]) == (None, {}, "sent")
    assert left["address"].endswith("@erased")


def test_export_shows_nobody_elses_variables(database_url: str) -> None:
    """What a provider's template says to another recipient of the same mail is theirs."""
    stored = StoredTemplate(
        id="t", per_recipient={ADDRESS: {"code": "mine"}, "yan@mail.example": {"code": "theirs"}}
    )
    with desk(database_url) as mail:
        mail.deliver(note(to=[ADDRESS, "yan@mail.example"], stored_template=stored))
        told = json.dumps(people(mail).held_on(ADDRESS))
    assert "mine" in told
    assert "theirs" not in told
