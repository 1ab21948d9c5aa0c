"""Naming: an address is found in the bytes of a mail, whatever they are encoded in."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from time import perf_counter
from typing import Any
from urllib.parse import quote

import pytest

from front_desk import note
from mailglass import Attachment
from mailglass.delivery.naming import mentioning, naming
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


@pytest.mark.parametrize(
    ("who", "charset"),
    [(WHO, charset) for charset in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252")]
    + [("zoë@mail.example", charset) for charset in ("utf-16", "utf-32", "cp1252")],
)
def test_a_file_in_another_charset_is_looked_through(who: str, charset: str) -> None:
    """Spreadsheets write UTF-16; without a byte order mark it is read as ASCII."""
    told = f"name;address\r\nZoë;{who}\r\n".encode(charset)
    file = Attachment(filename="x.csv", content=told, content_type="text/csv")
    assert naming(who.lower())(_mail(attachments=[file]))


def test_parts_within_parts_without_end_stop_no_erasure() -> None:
    """Somebody's mail was forwarded; it is read without its structure."""
    deep = "".join(
        f'Content-Type: multipart/mixed; boundary="{n}"\r\n\r\n--{n}\r\n' for n in range(3000)
    )
    names = naming("anna@mail.example")
    assert names(f"{deep}\r\n{WHO}".encode())
    assert not names(deep.encode())


def _packed(raw: str) -> dict[str, str]:
    b64 = base64.b64encode(raw.encode()).decode()
    lines = base64.encodebytes(raw.encode()).decode()
    in_mail = f"Content-Transfer-Encoding: base64\r\n\r\n{lines}"
    mail_b64 = base64.b64encode(in_mail.encode()).decode()
    qp = raw.replace("@", "=40").replace("mail.", "mail=\r\n.")
    return {
        "plain": raw,
        "base64 in JSON": json.dumps([{"raw": b64}]),
        "base64 with escaped slashes": json.dumps({"raw": b64}).replace("/", "\\/"),
        "lines of base64 in JSON": json.dumps({"raw": in_mail}),
        "base64 in base64 in JSON in JSON": json.dumps({"Message": json.dumps({"c": mail_b64})}),
        "quoted-printable in JSON in JSON": json.dumps({"Message": json.dumps({"c": qp})}),
        "quoted-printable in a form": f"body-mime={quote(qp)}&x=1",
        "JSON in a form": f"events={quote(json.dumps([{'raw': b64}]))}",
        "base64 in a part of a form": f'--x\r\nContent-Disposition: form-data; name="e"\r\n\r\n{in_mail}',
        "an id": '{"id": "0100-ABC"}',
    }  # fmt: skip


@pytest.mark.parametrize("name", _packed(""))
def test_whom_a_request_mentions_is_found_in_every_packing(name: str) -> None:
    """As SES, SparkPost, Postal, Mailgun and Mandrill hand a received mail over."""
    mentions = mentioning("anna@mail.example", ["0100-abc"])
    assert mentions(_packed(f"From: kim@mail.example\r\n\r\n{FAR} {WHO}, hello?")[name].encode())
    assert not mentioning("yan@mail.example", ["other"])(_packed(WHO)[name].encode())


@pytest.mark.parametrize(
    "content",
    [b"\\" * 500_000, b"%25" * 300_000, b"A" * 1_000_000, b"QUFB\n" * 200_000, b"=" * 1_000_000],
    ids=["backslashes", "percents", "one run", "short lines", "equals"],
)
def test_a_megabyte_is_looked_through_in_seconds(content: bytes) -> None:
    """Whatever a stranger fills it with."""
    began = perf_counter()
    assert not mentioning("anna@mail.example", ["0100-abc"])(content)
    assert perf_counter() - began < 5
