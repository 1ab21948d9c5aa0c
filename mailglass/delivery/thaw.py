"""Thaw: the frozen bytes and the stored settings become a Message again, for adapters with an API."""

from __future__ import annotations

from collections.abc import Sequence

from mailglass.address import parse_address
from mailglass.headers import is_reserved
from mailglass.ledger.rows import Claim
from mailglass.message import Message, RecipientKind, Tracking
from mailglass.rendering import mime


def thaw(claim: Claim) -> Message:
    """Return the message that the claim's payload was built from.

    Header fields that mailglass added are not the author's, so they stay behind. Bcc recipients come
    from the deliveries, tags and metadata from the stored settings: none of them is in the bytes.
    """
    mail = mime.thaw(claim.payload or b"")
    tracking = claim.settings.get("tracking", {})
    return Message(
        sender=mail.sender,
        to=mail.to,
        cc=mail.cc,
        bcc=_of_kind(claim, RecipientKind.BCC),
        reply_to=mail.reply_to,
        subject=mail.subject,
        text=mail.text,
        html=mail.html,
        headers=[(name, value) for name, value in mail.headers if not is_reserved(name)],
        attachments=mail.attachments,
        stream=claim.stream,
        tags=claim.settings.get("tags", ()),
        metadata=claim.settings.get("metadata", {}),
        tracking=Tracking(opens=bool(tracking.get("opens")), clicks=bool(tracking.get("clicks"))),
        mailable=claim.mailable,
        authenticates=claim.authenticates,
        locale=claim.settings.get("locale"),
        unsubscribe=bool(claim.settings.get("unsubscribe")),
    )


def _of_kind(claim: Claim, kind: RecipientKind) -> Sequence[str]:
    return [
        parse_address(row["address"]).addr_spec for row in claim.recipients if row["kind"] == kind
    ]
