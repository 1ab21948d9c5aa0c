"""Naming: an address is found in the bytes of a mail, whatever they are encoded in."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from front_desk import note
from mailglass import Attachment
from mailglass.delivery.naming import naming
from mailglass.rendering import mime

WHO = "Anna@Mail.Example"
FAR = "ü" * 300
ROWS = Attachment(filename="rows.csv", content=f"{FAR},{WHO}".encode(), content_type="text/csv")
FILE = Attachment(filename=f"{WHO}.pdf", content=b"%PDF", content_type="application/pdf")
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def _mail(**changes: Any) -> bytes:
    return mime.build(note(**changes), message_id="<1@shop.example>", date=NOON, boundary_seed=b"1")


@pytest.mark.parametrize(
    "changes",
    [
        {"to": WHO},
        {"cc": f"Anna <{WHO}>"},
        {"reply_to": WHO},
        {"subject": f"{FAR[:60]} {WHO}"},
        {"text": f"{FAR} {WHO}"},
        {"text": f"{'a' * 66} {WHO}"},
        {"html": f"<p>{FAR} {WHO}</p>"},
        {"html": '<a href="/?to=anna%40mail.example">x</a>'},
        {"headers": {"X-About": f"{'long ' * 16}{WHO}"}},
        {"attachments": [ROWS]},
        {"attachments": [FILE]},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_an_address_is_found_in_every_part(changes: dict[str, Any]) -> None:
    """Folded, in quoted-printable, base64 or encoded words."""
    assert naming("anna@mail.example")(_mail(**changes))


def test_mail_that_does_not_name_them_is_not_found() -> None:
    """Nor is one of somebody with a longer name."""
    names = naming("anna@mail.example")
    assert not names(_mail(to="joanna@mail.example", text=f"{FAR} joanna@mail.example"))


def test_bytes_that_mailglass_did_not_write_are_read_too() -> None:
    """Broken ones as well: an erasure must not end at a mail that cannot be read."""
    names = naming("anna@mail.example")
    assert names(b"Subject: =?x-none?b?!!?=\r\nTo: anna@mail.example\r\n\r\n\xff\xfe")
    assert not names(b"\x00\xff no mail at all")
    assert not names(b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n")
