"""Documents: what of a provider's event is recorded, and under which key its recipient is looked for."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from front_desk import count, note
from mailglass import EventType, SendError
from mailglass.address import parse_address
from mailglass.webhook import ProviderEvent
from mailglass.webhooks.normalise import address_key, document_of
from webhook_requests import NOW, hooked, request, sendgrid_event

TOKEN = UUID("0197a000-0000-7000-8000-00000000000a")
LINK = "a" * 64


def _clicked(**fields: object) -> ProviderEvent:
    told: dict[str, object] = {
        "type": EventType.CLICKED, "occurred_at": NOW, "provider": "p", "provider_event_id": "e",
        "recipient": "zoe@mail.example", "word": "click", "delivery_token": TOKEN,
    }  # fmt: skip
    return ProviderEvent(**told | fields)  # type: ignore[arg-type]  # fields by name


def _key_by_parsing(text: str) -> str:
    try:
        return parse_address(text).key
    except SendError:
        return text.strip().lower()


@settings(deadline=None)  # the machine may be busy
@given(st.text(st.characters(max_codepoint=0x17F), max_size=12), st.text("aZé.-@< >", max_size=8))
def test_the_key_of_an_address_is_the_one_that_parsing_gives(local: str, rest: str) -> None:
    """Also where it is told without parsing."""
    for text in (f"{local}@{rest}", f"{local}@Mail.Example", f"{local} <{rest}@mail.example>"):
        assert address_key(text) == _key_by_parsing(text)


def test_a_click_keeps_the_hash_of_its_link_and_shares_the_rest() -> None:
    """What is alike of many events is made once; what is an event's own does not spread."""
    first = document_of(_clicked(click_url_sha256=LINK), place=0, received_at=NOW)
    second = document_of(_clicked(provider_event_id="f"), place=1, received_at=NOW)
    assert first["payload"] == {"provider": "p", "word": "click", "url_sha256": LINK}
    assert second["payload"] == {"provider": "p", "word": "click"}
    assert first["key"] != second["key"]


@pytest.mark.parametrize(
    "fields",
    [
        {"type": EventType.DISPATCHED},
        {"occurred_at": datetime(2026, 3, 1)},  # noqa: DTZ001 - this is what is refused
        {"provider": "not a word!"},
        {"click_url_sha256": "https://mail.example"},
    ],
)
def test_what_the_ledger_could_not_keep_makes_no_document(fields: dict[str, object]) -> None:
    """Each is refused for itself, with one code."""
    for _ in range(2):
        with pytest.raises(SendError) as caught:
            document_of(_clicked(**fields), place=0, received_at=NOW)
        assert caught.value.code == "report_invalid"


def test_another_provider_or_type_is_another_report() -> None:
    """Two providers may give the same id, and one provider the same to an open and a click."""
    events = (_clicked(), _clicked(provider="q"), _clicked(type=EventType.OPENED))
    keys = {document_of(one, place=0, received_at=NOW)["key"] for one in events}
    assert len(keys) == len(events)


def test_each_orphan_of_a_batch_has_an_id_of_its_own_that_grows(database_url: str) -> None:
    """They are read in pages, the oldest first."""
    with hooked(database_url) as mail:
        batch = [sendgrid_event(None, "delivered", sg_event_id=f"e{n}") for n in range(40)]
        mail.ingest("sendgrid", request(batch))
    with psycopg.connect(database_url) as connection:
        found = connection.execute(
            "select (document ->> 'place')::int from mailglass.webhook_orphans order by id"
        ).fetchall()
    assert [row[0] for row in found] == list(range(40))


def test_what_is_reported_once_leaves_one_key(database_url: str) -> None:
    """However often and in whatever company it comes."""
    with hooked(database_url) as mail:
        sent = mail.deliver(note())
        for batch in (("processed",), ("processed", "delivered"), ("delivered", "processed")):
            mail.ingest("sendgrid", request([sendgrid_event(sent.id, one) for one in batch]))
    assert count(database_url, "report_keys") == 2
