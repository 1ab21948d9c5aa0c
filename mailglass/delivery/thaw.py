"""Thaw: the frozen bytes and the stored settings become a Message again, for adapters and for checks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from mailglass.address import parse_address
from mailglass.headers import is_reserved
from mailglass.ledger.rows import Claim
from mailglass.message import Message, RecipientKind, StoredTemplate, Stream, Tracking
from mailglass.preflight import Check
from mailglass.preflight.standard import CHECKS
from mailglass.rendering import mime

_CARRIED: Final = frozenset({"list-unsubscribe", "list-unsubscribe-post", "mailglass-original-to"})
_HAS_WAY_OUT: Final = re.compile(rb"\nlist-unsubscribe", re.IGNORECASE)
_HEAD_ENDS: Final = b"\r\n\r\n"
_FIELDS: Final = tuple(one.name for one in fields(Message))
_UNREAD: Final = "unread"
"""Stands for the body where no check reads it; a message has to have one."""


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


def as_checked(claim: Claim, checks: Sequence[Check]) -> Message:
    """Return the message that preflight looks at before the bytes leave.

    Mailglass's own checks read neither bodies nor attachments again, which cannot have changed, so
    that for them the bytes need no parsing. A check of somebody else's gets the whole message, and
    the rules about unsubscribing get the headers where there are any.
    """
    is_known = all(one in CHECKS for one in checks)
    message = _outline(claim) if is_known and not _has_way_out(claim) else thaw(claim)
    send_at = claim.settings.get("send_at")
    return message.replace(send_at=datetime.fromisoformat(send_at)) if send_at else message


def _has_way_out(claim: Claim) -> bool:
    head_ends = (claim.payload or b"").find(_HEAD_ENDS)
    return _HAS_WAY_OUT.search(claim.payload or b"", 0, max(head_ends, 0)) is not None


def _outline(claim: Claim) -> Message:
    """Return a message with the recipients still to be served, whatever their kind, and no content.

    The rest was checked when the mail was queued, so it is made once for all mail of its kind.
    """
    tracking = claim.settings.get("tracking", {})
    blank = _blank(
        sender=claim.mail_from,
        stream=claim.stream,
        mailable=claim.mailable,
        authenticates=claim.authenticates,
        opens=tracking.get("opens", False),
        clicks=tracking.get("clicks", False),
    )
    outline = object.__new__(Message)
    for name in _FIELDS:
        object.__setattr__(outline, name, getattr(blank, name))
    to = tuple(parse_address(row["address"]) for row in claim.recipients)
    object.__setattr__(outline, "to", to)
    return outline


@lru_cache(maxsize=256)
def _blank(  # noqa: PLR0913 - what a check may ask about a mail, as the key of a cache
    *,
    sender: str,
    stream: Stream,
    mailable: str | None,
    authenticates: bool,
    opens: bool,
    clicks: bool,
) -> Message:
    return Message(
        sender=sender,
        to=sender,
        subject="",
        text=_UNREAD,
        stream=stream,
        tracking=Tracking(opens=opens, clicks=clicks),
        mailable=mailable,
        authenticates=authenticates,
    )


def _is_carried(name: str, claim: Claim) -> bool:
    lower = name.lower()
    added = claim.settings.get("added", ())
    return not is_reserved(name) and (lower in _CARRIED or lower not in added)


def _template(stored: Mapping[str, Any]) -> StoredTemplate:
    return StoredTemplate(
        id=stored["id"],
        variables=stored["variables"],
        per_recipient=stored["per_recipient"],
        own_metadata=stored.get("own_metadata"),
        own_headers=stored.get("own_headers"),
    )


def _of_kind(claim: Claim, kind: RecipientKind) -> Sequence[str]:
    return [
        parse_address(row["address"]).addr_spec for row in claim.recipients if row["kind"] == kind
    ]
