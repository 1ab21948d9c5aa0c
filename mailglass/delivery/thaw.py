"""Thaw: the frozen bytes and the stored settings become a Message again, for adapters with an API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from mailglass.address import parse_address
from mailglass.headers import is_reserved
from mailglass.ledger.rows import Claim
from mailglass.message import Message, RecipientKind, StoredTemplate, Tracking
from mailglass.rendering import mime

_CARRIED: Final = frozenset({"list-unsubscribe", "list-unsubscribe-post", "mailglass-original-to"})


def thaw(claim: Claim) -> Message:
    """Return the message that the claim's payload was built from.

    Header fields that mailglass added are not the author's, so they stay behind, but for the pair with
    the way out: a provider has to carry that. Bcc recipients come
    from the deliveries, tags, metadata and what is for the provider alone from the stored settings:
    none of them is in the bytes.
    """
    mail = mime.thaw(claim.payload or b"")
    tracking = claim.settings.get("tracking", {})
    stored = claim.settings.get("stored_template")
    send_at = claim.settings.get("provider_send_at")
    return Message(
        sender=mail.sender,
        to=mail.to,
        cc=mail.cc,
        bcc=_of_kind(claim, RecipientKind.BCC),
        reply_to=mail.reply_to,
        subject=mail.subject,
        text=(mail.text or None) if stored else mail.text,
        html=mail.html,
        headers=[pair for pair in mail.headers if _is_carried(pair[0], claim)],
        attachments=mail.attachments,
        stream=claim.stream,
        tags=claim.settings.get("tags", ()),
        metadata=claim.settings.get("metadata", {}),
        tracking=Tracking(opens=tracking.get("opens", False), clicks=tracking.get("clicks", False)),
        mailable=claim.mailable,
        authenticates=claim.authenticates,
        locale=claim.settings.get("locale"),
        unsubscribe=bool(claim.settings.get("unsubscribe")),
        stored_template=_template(stored) if stored else None,
        envelope_sender=claim.settings.get("envelope_sender"),
        provider_send_at=datetime.fromisoformat(send_at) if send_at else None,
        provider_options=claim.settings.get("provider_options"),
    )


def _is_carried(name: str, claim: Claim) -> bool:
    lower = name.lower()
    added = claim.settings.get("added", ())
    return not is_reserved(name) and (lower in _CARRIED or lower not in added)


def _template(stored: Mapping[str, Any]) -> StoredTemplate:
    return StoredTemplate(
        id=stored["id"], variables=stored["variables"], per_recipient=stored["per_recipient"]
    )


def _of_kind(claim: Claim, kind: RecipientKind) -> Sequence[str]:
    return [
        parse_address(row["address"]).addr_spec for row in claim.recipients if row["kind"] == kind
    ]
