"""InboundMessage: one received mail, whatever provider handed it over, and how it is read from MIME.

Nothing is unpacked and nothing is followed: parts, depth and size have bounds, and what passes them
is refused as a whole.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from email.message import EmailMessage
from email.utils import getaddresses, parsedate_to_datetime
from typing import Any, Final

from mailglass.inbound.bounds import DEPTH_MAX, HEADERS_MAX, Spent, parsed
from mailglass.webhook import malformed

ADDRESSES_CHARS_MAX: Final = 64_000
"""Of longer headers the addresses are not looked for; 64,000 characters hold about 2,000 of them."""
COMMENTS_DEPTH_MAX: Final = 20
"""How deep comments may stand in each other (RFC 5322 §3.2.2) in a header whose addresses are read."""
_PARENTHESES: Final = re.compile(r"[()]")
_NO_CHARSETS: Final = frozenset(
    {"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "mbcs", "oem"}
)
"""Codecs of Python that no mail is written in; some cannot replace what they do not understand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundAttachment:
    """One attached file; an inline one is shown by the HTML that names its ``content_id``."""

    filename: str | None = field(default=None, repr=False)
    content_type: str = "application/octet-stream"
    content: bytes = field(repr=False)
    content_id: str | None = field(default=None, repr=False)
    is_inline: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundMessage:
    """One received mail.

    The envelope says who handed it over and to whom; the headers are what the sender wrote, and may
    say anything. ``reply_text`` is the text without what it quotes, where the provider tells it.
    ``is_spam`` and ``spam_score`` are the provider's verdict, None where it gives none.
    """

    provider: str
    provider_message_id: str | None = None
    envelope_sender: str | None = field(default=None, repr=False)
    envelope_recipients: tuple[str, ...] = field(default=(), repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    text: str | None = field(default=None, repr=False)
    html: str | None = field(default=None, repr=False)
    reply_text: str | None = field(default=None, repr=False)
    reply_html: str | None = field(default=None, repr=False)
    attachments: tuple[InboundAttachment, ...] = ()
    is_spam: bool | None = None
    spam_score: float | None = None
    received_at: datetime | None = None

    def header(self, name: str) -> str | None:
        """Return the first value of a header; names compare without case."""
        lower = name.lower()
        return next((value for key, value in self.headers if key.lower() == lower), None)

    def addresses(self, name: str) -> tuple[tuple[str, str], ...]:
        """Return name and address of each mailbox in a header; what is none is left out.

        A header is none where it is longer than 64,000 characters, or its comments stand more than
        20 deep in each other.
        """
        lower = name.lower()
        given = [value for key, value in self.headers if key.lower() == lower]
        values = [one for one in given if not _is_deep(one)]
        if sum(map(len, values)) > ADDRESSES_CHARS_MAX:
            return ()
        return tuple((shown, spec) for shown, spec in getaddresses(values) if spec)

    @property
    def subject(self) -> str:
        """Return the subject, or an empty text."""
        return self.header("Subject") or ""

    @property
    def sent_at(self) -> datetime | None:
        """Return the time that the sender wrote, or None where it is no time."""
        try:
            return parsedate_to_datetime(self.header("Date") or "")
        except (ValueError, OverflowError):
            return None

    @property
    def recipients(self) -> tuple[str, ...]:
        """Return whom it was handed over for: the envelope's, else those of To and Cc."""
        if self.envelope_recipients:
            return self.envelope_recipients
        return tuple(spec for name in ("To", "Cc") for _, spec in self.addresses(name))


def from_mime(
    raw: bytes, *, provider: str, spent: Spent | None = None, **known: Any
) -> InboundMessage:
    """Read a mail from its bytes; ``known`` is what the provider says beside them.

    ``spent`` is what other pieces of the same mail have cost.

    Raises:
        SignatureError: ``malformed_header`` for more than 500 parts, 20 levels or 1,000 headers.

    """
    mail = parsed(raw, provider=provider, spent=spent)
    parts = list(_parts(mail, provider=provider))
    bodies = {kind: _body(parts, kind) for kind in ("text/plain", "text/html")}
    chosen = [one for one in bodies.values() if one is not None]
    kept = [one for one in parts if not any(one is body for body in chosen)]
    found = InboundMessage(
        provider=provider,
        headers=headers_of(mail, provider=provider),
        text=_text(bodies["text/plain"]),
        html=_text(bodies["text/html"]),
        attachments=tuple(_attachment(one) for one in kept),
    )
    return replace(found, **known)


def headers_of(mail: EmailMessage, *, provider: str) -> tuple[tuple[str, str], ...]:
    """Return every header in order, decoded where it can be, as it stands where not."""
    pairs = list(mail.raw_items())
    if len(pairs) > HEADERS_MAX:
        raise malformed(provider, "headers")
    return tuple((name, _decoded(mail, name, value)) for name, value in pairs)


def _decoded(mail: EmailMessage, name: str, value: str) -> str:
    shown = str(mail.policy.header_fetch_parse(name, value))
    return shown.encode("utf-8", "replace").decode("utf-8")


def _is_deep(value: str) -> bool:
    """Tell whether comments stand in each other deeper than they may."""
    depth = 0
    for one in _PARENTHESES.finditer(value):
        depth = depth + 1 if one[0] == "(" else max(0, depth - 1)
        if depth > COMMENTS_DEPTH_MAX:
            return True
    return False


def _parts(mail: EmailMessage, *, provider: str, depth: int = 0) -> Iterator[EmailMessage]:
    """Yield the parts that hold something; a mail within the mail counts as one of them."""
    if depth > DEPTH_MAX:
        raise malformed(provider, "mime parts")
    if mail.get_content_maintype() != "multipart":
        yield mail
        return
    payload = mail.get_payload() if mail.is_multipart() else []
    for part in payload if isinstance(payload, list) else []:
        if isinstance(part, EmailMessage):
            yield from _parts(part, provider=provider, depth=depth + 1)


def _body(parts: Iterable[EmailMessage], kind: str) -> EmailMessage | None:
    return next(
        (one for one in parts if one.get_content_type() == kind and not _is_file(one)), None
    )


def _is_file(part: EmailMessage) -> bool:
    """Tell a file from a body: one with a name is a file, shown inline or not (RFC 2183 §2.3)."""
    name = part.get_param("filename", header="content-disposition")
    return name is not None or part.get_content_disposition() == "attachment"


def _text(part: EmailMessage | None) -> str | None:
    return None if part is None else decoded_text(_content(part), part.get_content_charset())


def decoded_text(content: bytes, charset: str | None) -> str:
    """Return text in the charset that is named, or else in UTF-8; what is no text is replaced."""
    return content.decode(_codec(charset) or "utf-8", "replace")


def _codec(charset: str | None) -> str | None:
    """Return the name of a codec that makes text of bytes, or None."""
    try:
        found = codecs.lookup(charset or "").name
        b"a".decode(found, "replace")
    except (LookupError, ValueError):
        return None
    return None if found.replace("_", "-") in _NO_CHARSETS else found


def _content(part: EmailMessage) -> bytes:
    if part.get_content_type() == "message/rfc822":
        payload = part.get_payload() if part.is_multipart() else []
        inner = payload[0] if isinstance(payload, list) and payload else None
        return inner.as_bytes() if isinstance(inner, EmailMessage) else b""
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def _attachment(part: EmailMessage) -> InboundAttachment:
    content_id = (part.get("Content-ID") or "").strip().removeprefix("<").removesuffix(">")
    return InboundAttachment(
        filename=bare_name(_filename(part)),
        content_type=part.get_content_type(),
        content=_content(part),
        content_id=content_id or None,
        is_inline=part.get_content_disposition() == "inline",
    )


def _filename(part: EmailMessage) -> str | None:
    try:
        return part.get_filename()
    except ValueError:  # its charset (RFC 2231 §4) is a codec that cannot replace
        return None


def bare_name(filename: str | None) -> str | None:
    """Return a file's name without any folder, or None where nothing of it is a name."""
    last = (filename or "").replace("\\", "/").rpartition("/")[2].strip()
    return None if last in {"", ".", ".."} else last
