"""Message: one finished mail with everything its author set; immutable and checked when it is made."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, unique
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Self

from mailglass import limits
from mailglass.address import Address, parse_address
from mailglass.headers import (
    check_content_type,
    check_filename,
    check_header,
    check_text,
    check_token,
    refuse,
)

AddressLike = str | Address
"""An addr-spec or a ``Name <addr-spec>`` mailbox (RFC 5322 §3.4), or one already parsed."""


@unique
class Stream(StrEnum):
    """The policy class of a message."""

    TRANSACTIONAL = "transactional"
    OPERATIONAL = "operational"
    BULK = "bulk"


@unique
class RecipientKind(StrEnum):
    """Where a recipient stands; a bcc recipient never appears in a header."""

    TO = "to"
    CC = "cc"
    BCC = "bcc"


@unique
class OnUnknown(StrEnum):
    """What the author wants for a mail whose outcome is unknown: rather wait, or rather double it."""

    PARK = "park"
    RESEND = "resend"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracking:
    """Whether opens and clicks are watched; both are off unless somebody asks."""

    opens: bool = False
    clicks: bool = False

    def __bool__(self) -> bool:
        """Tell whether anything is tracked."""
        return self.opens or self.clicks


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file that travels with the mail, or an inline image when ``content_id`` is set.

    Give ``content``, or a ``path`` that is read when the mail is queued: relative to the configured
    ``attachments_root``, which it cannot leave. Refer to an inline image as ``cid:CONTENT_ID``.
    """

    filename: str
    content: bytes | None = None
    path: Path | None = None
    content_type: str = "application/octet-stream"
    content_id: str | None = None

    def __post_init__(self) -> None:
        """Refuse a wrong name or type, and an attachment with two sources or none."""
        check_filename(self.filename)
        check_content_type(self.content_type)
        if self.content_id is not None:
            check_token("content id", self.content_id, allow="@")
        if (self.content is None) == (self.path is None):
            raise refuse("an attachment needs either content or a path", code="attachment_source")
        if self.content is not None and len(self.content) > limits.ATTACHMENT_BYTES_MAX:
            raise refuse("the attachments are larger than 25 MiB", code="attachment_too_large")


@dataclass(frozen=True, slots=True, kw_only=True, init=False)
class Message:
    """One finished mail.

    Strings are accepted wherever an address is expected, and one in place of many. Everything is
    checked here, so a ``Message`` that exists can be sent.

    Raises:
        SendError: ``serialization_failed`` for a wrong address, no recipient, no body, a control
            character in a header, or anything over a limit of ``mailglass.limits``. ``code`` names
            the rule; the text never holds the value.

    """

    sender: Address
    to: tuple[Address, ...]
    cc: tuple[Address, ...]
    bcc: tuple[Address, ...]
    reply_to: tuple[Address, ...]
    subject: str
    text: str | None
    html: str | None
    headers: tuple[tuple[str, str], ...]
    attachments: tuple[Attachment, ...]
    stream: Stream
    tags: tuple[str, ...]
    metadata: Mapping[str, str]
    tracking: Tracking
    mailable: str | None
    authenticates: bool
    locale: str | None
    idempotency_key: str | None
    expires_at: datetime | None
    send_at: datetime | None
    on_unknown: OnUnknown | None
    ordering_key: str | None
    unsubscribe: bool

    def __init__(  # noqa: PLR0913 - a mail has this many parts, and each is a keyword
        self,
        *,
        sender: AddressLike,
        to: AddressLike | Iterable[AddressLike],
        subject: str,
        text: str | None = None,
        html: str | None = None,
        cc: AddressLike | Iterable[AddressLike] = (),
        bcc: AddressLike | Iterable[AddressLike] = (),
        reply_to: AddressLike | Iterable[AddressLike] = (),
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        attachments: Iterable[Attachment] = (),
        stream: Stream | Literal["transactional", "operational", "bulk"] = Stream.TRANSACTIONAL,
        tags: Iterable[str] = (),
        metadata: Mapping[str, str] | None = None,
        tracking: Tracking = Tracking(),
        mailable: str | None = None,
        authenticates: bool = False,
        locale: str | None = None,
        idempotency_key: str | None = None,
        expires_at: datetime | None = None,
        send_at: datetime | None = None,
        on_unknown: OnUnknown | None = None,
        ordering_key: str | None = None,
        unsubscribe: bool = False,
    ) -> None:
        def put(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        put("sender", _address(sender))
        put("to", _addresses(to))
        put("cc", _addresses(cc))
        put("bcc", _addresses(bcc))
        put("reply_to", _addresses(reply_to))
        put("subject", subject)
        put("text", text)
        put("html", html)
        put("headers", tuple(headers.items() if isinstance(headers, Mapping) else headers))
        put("attachments", tuple(attachments))
        put("stream", Stream(stream))
        put("tags", tuple(tags))
        put("metadata", MappingProxyType(dict(metadata or {})))
        put("tracking", tracking)
        put("mailable", mailable)
        put("authenticates", authenticates)
        put("locale", locale)
        put("idempotency_key", idempotency_key)
        put("expires_at", _moment("expires_at", expires_at))
        put("send_at", _moment("send_at", send_at))
        put("on_unknown", on_unknown)
        put("unsubscribe", unsubscribe)
        put("ordering_key", ordering_key)
        self._check()

    def _check(self) -> None:
        _check_recipients(self)
        check_text("subject", self.subject, chars_max=limits.SUBJECT_CHARS_MAX)
        _check_bodies(self)
        _check_headers(self.headers)
        _check_attachments(self.attachments)
        _check_labels(self)

    @property
    def recipients(self) -> tuple[tuple[RecipientKind, Address], ...]:
        """Return every recipient with its kind: to, then cc, then bcc."""
        return (
            *((RecipientKind.TO, address) for address in self.to),
            *((RecipientKind.CC, address) for address in self.cc),
            *((RecipientKind.BCC, address) for address in self.bcc),
        )

    def replace(self, **changes: object) -> Self:
        """Return a copy with some fields changed, checked anew."""
        kept = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return type(self)(**(kept | changes))


def _address(value: AddressLike) -> Address:
    return value if isinstance(value, Address) else parse_address(value)


def _addresses(value: AddressLike | Iterable[AddressLike]) -> tuple[Address, ...]:
    many = (value,) if isinstance(value, str | Address) else value
    return tuple(_address(one) for one in many)


def _moment(name: str, value: datetime | None) -> datetime | None:
    if value is not None and value.tzinfo is None:
        raise refuse(f"{name} has no time zone", code="naive_datetime")
    return value


def _check_recipients(message: Message) -> None:
    everyone = message.recipients
    if not message.to:
        raise refuse("the message has no To recipient", code="no_recipient")
    if len(everyone) > limits.RECIPIENTS_MAX:
        raise refuse("the message has more than 50 recipients", code="too_many_recipients")
    if len({address.key for _, address in everyone}) != len(everyone):
        raise refuse("a recipient is named twice", code="duplicate_recipient")


def _check_bodies(message: Message) -> None:
    bodies = [body for body in (message.text, message.html) if body is not None]
    if not any(body.strip() for body in bodies):
        raise refuse("the message has neither a text nor an HTML body", code="no_body")
    for body in bodies:
        if "\x00" in body:
            raise refuse("a body holds a NUL character", code="nul_in_body")
        if len(body.encode("utf-8", "surrogatepass")) > limits.BODY_BYTES_MAX:
            raise refuse("a body is larger than 2 MiB", code="body_too_large")


def _check_headers(headers: tuple[tuple[str, str], ...]) -> None:
    if len(headers) > limits.HEADERS_MAX:
        raise refuse("the message has more than 100 headers", code="too_many_headers")
    for name, value in headers:
        check_header(name, value)
    names = [name.lower() for name, _ in headers]
    if len(set(names)) != len(names):
        raise refuse("a header is given twice", code="duplicate_header")


def _check_attachments(attachments: tuple[Attachment, ...]) -> None:
    if len(attachments) > limits.ATTACHMENTS_MAX:
        raise refuse("the message has more than 50 attachments", code="too_many_attachments")
    if sum(len(one.content or b"") for one in attachments) > limits.ATTACHMENT_BYTES_MAX:
        raise refuse("the attachments are larger than 25 MiB", code="attachment_too_large")
    ids = [one.content_id for one in attachments if one.content_id is not None]
    if len(set(ids)) != len(ids):
        raise refuse("a content id is used twice", code="duplicate_content_id")


def _check_labels(message: Message) -> None:
    if len(message.tags) > limits.TAGS_MAX:
        raise refuse("the message has more than 20 tags", code="too_many_tags")
    for tag in message.tags:
        check_text("tag", tag, chars_max=limits.TAG_CHARS_MAX)
    for key, value in message.metadata.items():
        check_text("metadata key", key, chars_max=limits.TAG_CHARS_MAX)
        check_text("metadata value", value, chars_max=limits.METADATA_BYTES_MAX)
    if len(json.dumps(dict(message.metadata)).encode()) > limits.METADATA_BYTES_MAX:
        raise refuse("the metadata is larger than 8 KiB", code="metadata_too_large")
    for name in ("idempotency_key", "ordering_key"):
        value = getattr(message, name)
        if value is not None:
            check_text(name, value, chars_max=limits.IDEMPOTENCY_KEY_CHARS_MAX)
            if not value:
                raise refuse(f"{name} is empty", code="empty_key")
