"""Providers that hand over whole mails: how each does, read into InboundMessage; a table at the end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from email.utils import formataddr
from types import MappingProxyType
from typing import Any, Final

from mailglass.inbound.batch import Unread, each
from mailglass.inbound.bounds import Spent
from mailglass.inbound.fields import (
    as_written,
    bare_address,
    from_base64,
    header_pairs,
    number_of,
    whole_text,
)
from mailglass.inbound.forms import Form, read_form
from mailglass.inbound.message import InboundAttachment, InboundMessage, bare_name, from_mime
from mailglass.webhook import (
    WebhookRequest,
    from_iso,
    from_unix,
    malformed,
    mapping,
    parse_form,
    parse_json,
    sequence,
    text,
    texts,
)

Reader = Callable[[WebhookRequest], tuple[InboundMessage | Unread, ...]]
_SPAM: Final[Mapping[str, bool]] = MappingProxyType({"yes": True, "no": False})


def _with_spam_headers(message: InboundMessage, *, flag: str, score: str) -> InboundMessage:
    told = (message.header(flag) or "").split(",")[0].strip().lower()
    return replace(message, is_spam=_SPAM.get(told), spam_score=number_of(message.header(score)))


def mailersend(request: WebhookRequest) -> tuple[InboundMessage, ...]:
    """Read the raw mail of a route."""
    told = mapping(parse_json(request.body, provider="mailersend"))
    data = mapping(told.get("data"))
    raw = data.get("raw")
    if not isinstance(raw, str):
        raise malformed("mailersend", "raw")
    recipients = mapping(data.get("recipients")).get("rcptTo")
    whom = [mapping(one).get("email") for one in sequence(recipients)]
    found = from_mime(
        as_written(raw),
        provider="mailersend",
        provider_message_id=text(data.get("id")),
        envelope_sender=text(mapping(data.get("sender")).get("email")),
        envelope_recipients=texts(whom),
        received_at=from_iso(data.get("created_at")),
    )
    return (found,)


def mailgun(request: WebhookRequest) -> tuple[InboundMessage, ...]:
    """Read a route's forward, parsed or as MIME."""
    form = read_form(request, provider="mailgun")
    is_mail = {"body-mime", "message-headers"} & form.fields.keys()
    if not is_mail or "event" in form.fields:
        raise malformed("mailgun", "not a received mail")
    raw = form.fields.get("body-mime")
    found = from_mime(raw, provider="mailgun") if raw is not None else _of_mailgun(form)
    known = replace(
        found,
        provider_message_id=text(form.text("token")),
        envelope_sender=text(form.text("sender")),
        envelope_recipients=texts(form.text("recipient")),
        reply_text=whole_text(form.text("stripped-text")),
        reply_html=whole_text(form.text("stripped-html")),
        received_at=from_unix(form.text("timestamp")),
    )
    return (_with_spam_headers(known, flag="X-Mailgun-Sflag", score="X-Mailgun-Sscore"),)


def _of_mailgun(form: Form) -> InboundMessage:
    named = _content_ids(form.text("content-id-map"))
    return InboundMessage(
        provider="mailgun",
        headers=header_pairs(_loaded(form.text("message-headers"), [])),
        text=whole_text(form.text("body-plain")),
        html=whole_text(form.text("body-html")),
        attachments=_attached(form, named),
    )


def _content_ids(content: str | None) -> dict[str, str]:
    """Return the content id of each file; one id may stand for several of them."""
    try:
        pairs = json.loads(content or "{}", object_pairs_hook=list)
    except ValueError:
        return {}
    return {str(name): str(shown).strip("<>") for shown, name in sequence(pairs)}


def _loaded(content: str | None, default: Any) -> Any:
    """Return the JSON in a field; a field that has none counts as absent."""
    try:
        return json.loads(content) if content else default
    except ValueError:
        return default


def _attached(form: Form, content_ids: Mapping[str, str]) -> tuple[InboundAttachment, ...]:
    return tuple(
        replace(one, content_id=content_ids[name] or None, is_inline=True)
        if name in content_ids
        else one
        for name, one in form.files.items()
    )


def mailjet(request: WebhookRequest) -> tuple[InboundMessage, ...]:
    """Read a mail in parts, each under the name that its reference has."""
    told = mapping(parse_json(request.body, provider="mailjet"))
    parts = [mapping(one) for one in sequence(told.get("Parts"))]
    files = [one for one in parts if str(one.get("ContentRef")).startswith(_FILES)]
    recipient = text(told.get("Recipient"))
    spent = Spent(provider="mailjet")
    found = InboundMessage(
        provider="mailjet",
        envelope_sender=text(told.get("Sender")),
        envelope_recipients=(recipient,) if recipient else (),
        headers=header_pairs(told.get("Headers")),
        text=whole_text(told.get("Text-part")),
        html=whole_text(told.get("Html-part")),
        spam_score=number_of(told.get("SpamAssassinScore")),
        attachments=tuple(_of_mailjet(told, one, spent) for one in files),
    )
    return (found,)


_FILES: Final = ("Attachment", "InlineAttachment")


def _of_mailjet(told: dict[str, Any], part: dict[str, Any], spent: Spent) -> InboundAttachment:
    """Read one file: its headers are read as those of a mail without a body."""
    lines = [f"{name}: {value}" for name, value in header_pairs(part.get("Headers"))]
    head = "\r\n".join([*lines, "", ""]).encode("utf-8", "replace")
    read = from_mime(head, provider="mailjet", spent=spent)
    named = read.attachments[0] if read.attachments else InboundAttachment(content=b"")
    content = from_base64(told.get(str(part.get("ContentRef")), ""), provider="mailjet")
    is_inline = str(part.get("ContentRef")).startswith("Inline")
    return replace(named, content=content, is_inline=is_inline)


def mandrill(request: WebhookRequest) -> tuple[InboundMessage | Unread, ...]:
    """Read the raw mails of a batch."""
    form = parse_form(request.body, provider="mandrill")
    batch = sequence(parse_json(form.get("mandrill_events", "[]"), provider="mandrill"))
    return each((mapping(one) for one in batch if mapping(one).get("msg")), _of_mandrill)


def _of_mandrill(event: dict[str, Any]) -> InboundMessage:
    told = mapping(event.get("msg"))
    return from_mime(
        as_written(str(told.get("raw_msg") or "")),
        provider="mandrill",
        envelope_sender=text(told.get("sender")),
        envelope_recipients=texts(told.get("email")),
        spam_score=number_of(mapping(told.get("spam_report")).get("score")),
        received_at=from_unix(event.get("ts")),
    )


def postal(request: WebhookRequest) -> tuple[InboundMessage, ...]:
    """Read the raw mail of an HTTP endpoint."""
    told = mapping(parse_json(request.body, provider="postal"))
    if "message" not in told:
        raise malformed("postal", "message")
    is_packed = told.get("base64") is not False
    content = str(told.get("message"))
    found = from_mime(
        from_base64(content, provider="postal") if is_packed else as_written(content),
        provider="postal",
        provider_message_id=text(told.get("id")),
        envelope_sender=text(told.get("mail_from")),
        envelope_recipients=texts(told.get("rcpt_to")),
    )
    return (found,)


def postmark(request: WebhookRequest) -> tuple[InboundMessage, ...]:
    """Read a parsed mail, or its raw form where the server adds it."""
    told = mapping(parse_json(request.body, provider="postmark"))
    if "FromFull" not in told and "RawEmail" not in told:
        raise malformed("postmark", "not a received mail")
    given = header_pairs(told.get("Headers"))
    bcc = _mailboxes(told.get("BccFull"))
    raw = told.get("RawEmail")
    found = (
        from_mime(as_written(raw), provider="postmark")
        if isinstance(raw, str)
        else _of_postmark(told)
    )
    if bcc and found.header("Bcc") is None:
        found = replace(found, headers=(*found.headers, ("Bcc", bcc)))
    verdicts = replace(found, headers=(*given, *found.headers))
    spam = _with_spam_headers(verdicts, flag="X-Spam-Status", score="X-Spam-Score")
    recipient = text(told.get("OriginalRecipient"))
    known = replace(
        found,
        provider_message_id=text(told.get("MessageID")),
        envelope_sender=bare_address(verdicts.header("Return-Path")),
        envelope_recipients=(recipient,) if recipient else (),
        reply_text=whole_text(told.get("StrippedTextReply")),
        is_spam=spam.is_spam,
        spam_score=spam.spam_score,
    )
    return (known,)


def _of_postmark(told: dict[str, Any]) -> InboundMessage:
    shown = (
        ("From", _mailboxes([told.get("FromFull")])),
        ("To", _mailboxes(told.get("ToFull"))),
        ("Cc", _mailboxes(told.get("CcFull"))),
        ("Bcc", _mailboxes(told.get("BccFull"))),
        ("Subject", text(told.get("Subject")) or ""),
        ("Reply-To", text(told.get("ReplyTo")) or ""),
        ("Date", text(told.get("Date")) or ""),
    )
    return InboundMessage(
        provider="postmark",
        headers=(
            *((name, value) for name, value in shown if value),
            *header_pairs(told.get("Headers")),
        ),
        text=whole_text(told.get("TextBody")),
        html=whole_text(told.get("HtmlBody")),
        attachments=tuple(
            _of_postmark_file(mapping(one)) for one in sequence(told.get("Attachments"))
        ),
    )


def _of_postmark_file(one: dict[str, Any]) -> InboundAttachment:
    content_id = bare_address(text(one.get("ContentID")))
    return InboundAttachment(
        filename=bare_name(text(one.get("Name"))),
        content_type=(text(one.get("ContentType")) or "application/octet-stream").partition(";")[0],
        content=from_base64(one.get("Content"), provider="postmark"),
        content_id=content_id,
        is_inline=content_id is not None,
    )


def _mailboxes(value: Any) -> str:
    many = (mapping(one) for one in sequence(value))
    pairs = ((text(one.get("Name")) or "", text(one.get("Email"))) for one in many)
    return ", ".join(_mailbox(name, spec) for name, spec in pairs if spec)


def _mailbox(name: str, spec: str) -> str:
    if name.isascii() and spec.isascii():
        return formataddr((name, spec))
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}" <{spec}>'


def sendgrid(request: WebhookRequest) -> tuple[InboundMessage, ...]:
    """Read Inbound Parse, parsed or raw; each field has a charset of its own."""
    form = read_form(request, provider="sendgrid")
    raw = form.fields.get("email")
    found = from_mime(raw, provider="sendgrid") if raw is not None else _of_sendgrid(form)
    envelope = mapping(_loaded(form.text("envelope"), {}))
    known = replace(
        found,
        envelope_sender=text(envelope.get("from")),
        envelope_recipients=texts(envelope.get("to")),
        spam_score=number_of(form.text("spam_score")),
    )
    return (known,)


def _of_sendgrid(form: Form) -> InboundMessage:
    charsets = mapping(_loaded(form.text("charsets"), {}))
    told = mapping(_loaded(form.text("attachment-info"), {}))
    given_ids = {name: text(mapping(one).get("content-id")) for name, one in told.items()}
    ids = {name: one.strip("<>") for name, one in given_ids.items() if one is not None}

    def field(name: str) -> str | None:
        return form.text(name, text(charsets.get(name)) or "utf-8")

    head = from_mime((field("headers") or "").encode("utf-8", "replace"), provider="sendgrid")
    shown = {name: field(name.lower()) for name in ("From", "To", "Cc", "Subject")}
    given = {name.lower(): value for name, value in shown.items() if value is not None}
    kept = [pair for pair in head.headers if pair[0].lower() not in given]
    own = [(name, value) for name, value in shown.items() if value is not None]
    return InboundMessage(
        provider="sendgrid",
        headers=(*own, *kept),
        text=whole_text(field("text")),
        html=whole_text(field("html")),
        attachments=_attached(form, ids),
    )


def sparkpost(request: WebhookRequest) -> tuple[InboundMessage | Unread, ...]:
    """Read the raw mails of a relay webhook's batch."""
    batch = sequence(parse_json(request.body, provider="sparkpost"))
    relayed = (mapping(mapping(mapping(one).get("msys")).get("relay_message")) for one in batch)
    return each((one for one in relayed if one), _of_sparkpost)


def _of_sparkpost(told: dict[str, Any]) -> InboundMessage:
    content = mapping(told.get("content"))
    raw = str(content.get("email_rfc822") or "")
    is_packed = content.get("email_rfc822_is_base64") is True
    return from_mime(
        from_base64(raw, provider="sparkpost") if is_packed else as_written(raw),
        provider="sparkpost",
        envelope_sender=text(told.get("msg_from")),
        envelope_recipients=texts(told.get("rcpt_to")),
    )


_READERS: Final[Iterable[Reader]] = (
    mailersend,
    mailgun,
    mailjet,
    mandrill,
    postal,
    postmark,
    sendgrid,
    sparkpost,
)
WHOLE: Final[Mapping[str, Reader]] = MappingProxyType(
    {getattr(reader, "__name__", ""): reader for reader in _READERS}
)
"""The reader of each provider whose requests hold whole mails; it is called with a verified one.

It raises SignatureError, ``malformed_header``, for what is no received mail.
"""
