"""Providers that hand over less than the mail: what they leave out is fetched through their API.

The request says what there is, never where it lies: addresses are made from the adapter's own
settings, or come from the answer of its API.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote

from mailglass.adapters.amazon_ses_sns import parsed_notification
from mailglass.errors import SignatureError
from mailglass.inbound.batch import Unread, each
from mailglass.inbound.fields import (
    as_written,
    bare_address,
    from_base64,
    header_pairs,
    number_of,
    whole_text,
)
from mailglass.inbound.message import InboundAttachment, InboundMessage, bare_name, from_mime
from mailglass.webhook import (
    WebhookRequest,
    from_iso,
    malformed,
    mapping,
    parse_json,
    sequence,
    text,
    texts,
)

Fetch = Callable[[str], bytes]
"""Returns what lies at a path of the provider's API, or where an answer of it says."""
Fetching = Callable[[WebhookRequest, Fetch], tuple[InboundMessage | Unread, ...]]
FETCHES_MAX: Final = 100
"""Fetches for one mail."""
FETCHED_BYTES_MAX: Final = 50 * 1024 * 1024
"""Bytes fetched for one request, all attachments of those of its mails that can be read."""
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TOKEN: Final = re.compile(r"[!-~]{1,2000}")
_BUCKET: Final = re.compile(r"[a-z0-9.-]{3,63}")
_OBJECT_KEY: Final = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,1024}")
_SES_SPAM: Final[Mapping[str, bool]] = MappingProxyType({"FAIL": True, "PASS": False})
_ANY_TYPE: Final = "application/octet-stream"


class _Bounded:
    """Fetches for the mails of one request until a bound is met."""

    def __init__(self, fetch: Fetch, *, provider: str) -> None:
        self._fetch = fetch
        self._provider = provider
        self._count = 0
        self._bytes = 0

    def __call__(self, address: str) -> bytes:
        self._count += 1
        if self._count > FETCHES_MAX:
            raise malformed(self._provider, "too many attachments")
        content = self._fetch(address)
        self._bytes += len(content)
        if self._bytes > FETCHED_BYTES_MAX:
            raise malformed(self._provider, "attachments too large")
        return content

    def of_mail(self, read: Callable[[], InboundMessage]) -> InboundMessage:
        """Read one mail; what was fetched for one that cannot be read is nothing of the others'."""
        self._count, before = 0, self._bytes
        try:
            return read()
        except SignatureError:
            self._bytes = before
            raise


def amazon_ses(request: WebhookRequest, fetch: Fetch) -> tuple[InboundMessage, ...]:
    """Read a receipt rule's SNS action, which brings the mail, or its S3 action, which says where it lies.

    https://docs.aws.amazon.com/ses/latest/dg/receiving-email-notifications-contents.html
    """
    notification = parsed_notification(request)
    if notification.get("Type") != "Notification":
        return ()
    told = mapping(parse_json(str(notification.get("Message")), provider="amazon_ses"))
    if told.get("notificationType") != "Received":
        return ()
    mail, receipt = mapping(told.get("mail")), mapping(told.get("receipt"))
    verdict = text(mapping(receipt.get("spamVerdict")).get("status")) or ""
    found = from_mime(
        _of_amazon_ses(told.get("content"), mapping(receipt.get("action")), fetch),
        provider="amazon_ses",
        provider_message_id=text(mail.get("messageId")),
        envelope_sender=text(mail.get("source")),
        envelope_recipients=texts(receipt.get("recipients")),
        is_spam=_SES_SPAM.get(verdict),
        received_at=from_iso(mail.get("timestamp")),
    )
    return (found,)


def _of_amazon_ses(content: Any, action: dict[str, Any], fetch: Fetch) -> bytes:
    """Return the bytes of a mail, from the notification or from S3."""
    if isinstance(content, str):
        is_packed = action.get("encoding") == "BASE64"
        return from_base64(content, provider="amazon_ses") if is_packed else as_written(content)
    bucket, key = action.get("bucketName"), action.get("objectKey")
    if action.get("type") != "S3" or not isinstance(bucket, str) or not isinstance(key, str):
        raise malformed("amazon_ses", "content")
    is_plain = _BUCKET.fullmatch(bucket) and _OBJECT_KEY.fullmatch(key)
    if not is_plain or {".", ".."} & set(key.split("/")):
        raise malformed("amazon_ses", "object key")
    return fetch(f"/{bucket}/{quote(key, safe='/~')}")


def brevo(request: WebhookRequest, fetch: Fetch) -> tuple[InboundMessage | Unread, ...]:
    """Read parsed mails; each attachment is fetched by its token.

    https://developers.brevo.com/docs/inbound-parse-webhooks
    """
    told = mapping(parse_json(request.body, provider="brevo"))
    if not isinstance(told.get("items"), list):
        raise malformed("brevo", "items")
    bounded = _Bounded(fetch, provider="brevo")
    return each(
        sequence(told["items"]),
        lambda item: bounded.of_mail(lambda: _of_brevo(mapping(item), bounded)),
    )


def _of_brevo(item: dict[str, Any], fetch: Fetch) -> InboundMessage:
    found = InboundMessage(
        provider="brevo",
        provider_message_id=next(iter(texts(item.get("Uuid"))), None),
        headers=header_pairs(item.get("Headers")),
        text=whole_text(item.get("RawTextBody")),
        html=whole_text(item.get("RawHtmlBody")),
        reply_text=whole_text(item.get("ExtractedMarkdownMessage")),
        spam_score=number_of(item.get("SpamScore")),
        attachments=tuple(
            _of_brevo_file(mapping(one), fetch) for one in sequence(item.get("Attachments"))
        ),
    )
    named = (mapping(one).get("Address") for one in sequence(item.get("Recipients")))
    return replace(
        found,
        envelope_sender=bare_address(found.header("Return-Path")),
        envelope_recipients=texts(list(named)) or texts(bare_address(found.header("Delivered-To"))),
    )


def _of_brevo_file(one: dict[str, Any], fetch: Fetch) -> InboundAttachment:
    token = one.get("DownloadToken")
    if not isinstance(token, str) or _TOKEN.fullmatch(token) is None:
        raise malformed("brevo", "download token")
    content_id = text(one.get("ContentID"))
    return InboundAttachment(
        filename=bare_name(text(one.get("Name"))),
        content_type=text(one.get("ContentType")) or _ANY_TYPE,
        content=fetch(f"/inbound/attachments/{quote(token, safe='')}"),
        content_id=content_id,
        is_inline=content_id is not None,
    )


def resend(request: WebhookRequest, fetch: Fetch) -> tuple[InboundMessage, ...]:
    """Read the mail that ``email.received`` names: raw where Resend keeps it so, else in its parts.

    https://resend.com/docs/api-reference/emails/retrieve-received-email
    """
    event = mapping(parse_json(request.body, provider="resend"))
    known_as = _id_in(mapping(event.get("data")).get("email_id"))
    if event.get("type") != "email.received" or known_as is None:
        raise malformed("resend", "not a received mail")
    bounded = _Bounded(fetch, provider="resend")
    path = f"/emails/receiving/{known_as}"
    told = mapping(parse_json(bounded(f"{path}?html_format=cid"), provider="resend"))
    raw = mapping(told.get("raw")).get("download_url")
    found = (
        from_mime(bounded(raw), provider="resend")
        if isinstance(raw, str)
        else _of_resend(told, path, bounded)
    )
    received_at = from_iso(told.get("created_at")) or from_iso(event.get("created_at"))
    return (replace(found, provider_message_id=known_as, received_at=received_at),)


def _of_resend(told: dict[str, Any], path: str, fetch: Fetch) -> InboundMessage:
    given = header_pairs(told.get("headers"))
    shown = (
        ("From", text(told.get("from"))),
        *((name, ", ".join(texts(told.get(name.lower())))) for name in ("To", "Cc", "Bcc")),
        ("Reply-To", ", ".join(texts(told.get("reply_to")))),
        ("Subject", text(told.get("subject"))),
        ("Message-ID", text(told.get("message_id"))),
    )
    return InboundMessage(
        provider="resend",
        headers=(*_missing(shown, given), *given),
        text=whole_text(told.get("text")),
        html=whole_text(told.get("html")),
        attachments=tuple(
            _of_resend_file(mapping(one), path, fetch) for one in sequence(told.get("attachments"))
        ),
    )


def _missing(
    shown: Iterable[tuple[str, str | None]], given: tuple[tuple[str, str], ...]
) -> tuple[tuple[str, str], ...]:
    """Return the fields that have a value and are not among the headers."""
    known = {name.lower() for name, _ in given}
    return tuple((name, one) for name, one in shown if one and name.lower() not in known)


def _of_resend_file(one: dict[str, Any], path: str, fetch: Fetch) -> InboundAttachment:
    content_id = bare_address(text(one.get("content_id")))
    return InboundAttachment(
        filename=bare_name(text(one.get("filename"))),
        content_type=text(one.get("content_type")) or _ANY_TYPE,
        content=fetch(_where(one, path, fetch)),
        content_id=content_id,
        is_inline=one.get("content_disposition") == "inline",
    )


def _where(one: dict[str, Any], path: str, fetch: Fetch) -> str:
    """Return where an attachment lies; its own page of the API tells where the mail does not."""
    known_as = _id_in(one.get("id"))
    told = one
    if "download_url" not in one and known_as is not None:
        answer = fetch(f"{path}/attachments/{known_as}")
        told = mapping(parse_json(answer, provider="resend"))
    url = told.get("download_url")
    if not isinstance(url, str) or url.startswith("/"):
        raise malformed("resend", "attachment")
    return url


def _id_in(value: Any) -> str | None:
    return value if isinstance(value, str) and _ID.fullmatch(value) else None


FETCHED: Final[Mapping[str, Fetching]] = MappingProxyType(
    {"amazon_ses": amazon_ses, "brevo": brevo, "resend": resend}
)
"""The reader of each provider that leaves something to be fetched, by its name."""
