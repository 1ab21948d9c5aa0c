"""Builds envelopes for the tests of the adapters."""

from __future__ import annotations

from typing import Final

from mailglass.address import parse_address
from mailglass.envelope import Envelope, Recipient
from mailglass.ids import new_id
from mailglass.message import Message, RecipientKind, Stream

SENDER: Final = "shop@sender.test"
SUBJECT: Final = "Your receipt"
PAYLOAD: Final = (
    b"From: shop@sender.test\r\n"
    b"To: someone@recipient.test\r\n"
    b"Subject: Your receipt\r\n"
    b"\r\n"
    b".a line with a dot\r\n"
    b"..two dots\r\n"
    b".\r\n"
    b"the end\r\n"
)
"""CRLF only, with every kind of leading dot."""


def an_envelope(
    *recipients: str,
    payload: bytes = PAYLOAD,
    sender: str = SENDER,
    idempotency_key: str = "key-1",
) -> Envelope:
    """Return an envelope for the recipients, ``ada@recipient.test`` when none is named."""
    everyone = recipients or ("ada@recipient.test",)
    return Envelope(
        message_id=new_id(),
        tenant_id="t1",
        stream=Stream.TRANSACTIONAL,
        mail_from=parse_address(sender),
        recipients=tuple(
            Recipient(delivery_id=new_id(), kind=RecipientKind.TO, address=parse_address(one))
            for one in everyone
        ),
        payload=payload,
        token=1,
        attempt=1,
        idempotency_key=idempotency_key,
        thaw=lambda: Message(sender=sender, to=everyone, subject=SUBJECT, text="Thanks."),
    )
