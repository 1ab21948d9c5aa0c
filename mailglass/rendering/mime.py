"""MIME: a message becomes the bytes that are sent, the same bytes for the same message.

The standard library's writer is not used: it lets an encoded word decode into a new header
(CVE-2024-6923), drops the quotes of names when it folds, and is slow.
"""

from __future__ import annotations

import binascii
import hashlib
import io
import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from itertools import count
from math import floor
from typing import Final, TypeAlias

from mailglass import limits
from mailglass.address import Address
from mailglass.headers import (
    check_content_type,
    check_header_name,
    check_header_value,
    refuse,
)
from mailglass.message import Attachment, Message
from mailglass.rendering.mime_headers import (
    address_header,
    decoded_words,
    message_id_header,
    parameter_header,
    text_header,
)
from mailglass.rendering.mime_thaw import ParsedMail, thaw

__all__ = ["ParsedMail", "build", "header_names", "thaw"]

_WRITTEN_HERE: Final = frozenset(
    {
        "bcc",
        "cc",
        "date",
        "from",
        "message-id",
        "mime-version",
        "reply-to",
        "sender",
        "subject",
        "to",
    }
)
_BASE64_LINE: Final = 76
_ROWS: Final = struct.Struct(f"{_BASE64_LINE}s" * 1024)
"""1024 base64 lines at a time: large enough to be fast, small enough to cost no memory."""
_BLOCK: Final = 1024 * _BASE64_LINE // 4 * 3
_CALENDAR_METHOD: Final = re.compile(rb"^METHOD:([A-Za-z-]{1,32})\r?$", re.MULTILINE)
_CALENDAR_HEAD_OCTETS: Final = 4096
_INVITING: Final = frozenset({"REQUEST", "CANCEL"})
_SECONDS_KEPT_MAX: Final = 64
_LINES_KEPT_MAX: Final = 512
"""Header lines that many mails share, such as From and Auto-Submitted; each is made once."""
_BOUNDARY_CHARS: Final = 34
_ODD: Final = re.compile(r"\r\n[\t:\r]|\A[ \t:\r\n]")
"""Where the laxest reader and we would not agree on a header that has no CR or LF alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Leaf:
    """One part without parts: its header lines and its body, which may still need base64."""

    head: str = field(repr=False)
    body: bytes = field(repr=False)
    is_base64: bool
    may_hold_boundary: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Branch:
    """One multipart; ``kind`` is its subtype."""

    kind: str
    parts: tuple[_Part, ...]


_Part: TypeAlias = "_Leaf | _Branch"


def build(
    message: Message,
    *,
    message_id: str,
    date: datetime,
    extra_headers: Sequence[tuple[str, str]] = (),
    boundary_seed: bytes,
) -> bytes:
    """Return the message as RFC 5322 and MIME say; the same arguments give the same bytes.

    Every line ends in CRLF and holds 998 octets at most; there is no other CR or LF and no NUL.
    Bcc is not in it. ``extra_headers`` may use the names that authors may not, but none that is
    written here; ``date`` needs a time zone and is written in UTC, to the second. The bytes are
    ASCII unless an address needs SMTPUTF8 (RFC 6532). Attachments must be loaded.

    Raises:
        SendError: ``serialization_failed``; ``code`` names the rule.

    """
    if date.tzinfo is None:
        raise refuse("the date has no time zone", code="naive_datetime")
    tree = _tree(message)
    boundaries = _boundaries(tree, boundary_seed)
    headers = [
        *_own_headers(message, message_id=message_id, date=date),
        *_other_headers([*extra_headers, *message.headers]),
    ]
    head = "".join(headers) + _part_head(tree, boundaries)
    if len(head) > limits.HEADER_BLOCK_OCTETS_MAX:
        raise refuse("the headers are larger than 64 KiB", code="header_block_too_large")
    out = io.BytesIO()
    out.write(head.encode())
    out.write(b"\r\n")
    _write_body(out, tree, boundaries)
    out.write(b"\r\n")
    payload = out.getvalue()
    _guard(payload, head)
    return payload


def header_names(payload: bytes) -> list[str]:
    """Return the names of the message's own headers as the laxest reader would find them.

    Such a reader takes a CR or an LF alone for a line end too.
    """
    end = payload.find(b"\r\n\r\n")
    head = payload[: end if end >= 0 else len(payload)].decode("utf-8", "replace")
    return [line.partition(":")[0] for line in _lines(head) if not line.startswith((" ", "\t"))]


def _lines(head: str) -> list[str]:
    return head.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _own_headers(message: Message, *, message_id: str, date: datetime) -> Iterator[str]:
    yield _from(message.sender)
    yield address_header("To", message.to)
    if message.cc:
        yield address_header("Cc", message.cc)
    if message.reply_to:
        yield address_header("Reply-To", message.reply_to)
    yield text_header("Subject", message.subject)
    yield f"Date: {_shown(floor(date.timestamp()))}\r\n"
    yield message_id_header(message_id)
    yield "MIME-Version: 1.0\r\n"


@lru_cache(maxsize=_LINES_KEPT_MAX)
def _from(sender: Address) -> str:
    return address_header("From", [sender])


@lru_cache(maxsize=_SECONDS_KEPT_MAX)
def _shown(second: int) -> str:
    """Return a moment as RFC 5322 §3.3 writes it; mails of one batch share theirs."""
    return format_datetime(datetime.fromtimestamp(second, UTC))


def _other_headers(headers: Sequence[tuple[str, str]]) -> Iterator[str]:
    seen = set(_WRITTEN_HERE)
    for name, value in headers:
        lower, line = _other_header(name, value)
        if lower in seen or lower.startswith("content-"):
            raise refuse("a header is given twice", code="duplicate_header")
        seen.add(lower)
        yield line


@lru_cache(maxsize=_LINES_KEPT_MAX)
def _other_header(name: str, value: str) -> tuple[str, str]:
    """Return the name in lower case and the line; what is the same in many mails is made once."""
    check_header_name(name)
    check_header_value(value)
    return name.lower(), text_header(name, value)


def _tree(message: Message) -> _Part:
    bodies: list[_Part] = []
    if message.text is not None:
        bodies.append(_text("text/plain", message.text))
    if message.html is not None:
        bodies.append(_text("text/html", message.html))
    if not bodies:
        raise refuse("the message has neither a text nor an HTML body", code="no_body")
    if not message.attachments:
        return _grouped("alternative", bodies)
    has_html = message.html is not None
    # An invitation is another form of the mail: Outlook shows it as one only among the bodies.
    invites = [one for one in message.attachments if _method(one) in _INVITING][:1]
    files = [one for one in message.attachments if one not in invites]
    related = [one for one in files if one.content_id and has_html]
    others = [one for one in files if not (one.content_id and has_html)]
    tree = _grouped("alternative", [*bodies, *map(_attachment, invites)])
    tree = _grouped("related", [tree, *map(_attachment, related)])
    return _grouped("mixed", [tree, *map(_attachment, others)])


def _grouped(kind: str, parts: Sequence[_Part]) -> _Part:
    return parts[0] if len(parts) == 1 else _Branch(kind=kind, parts=tuple(parts))


def _text(content_type: str, text: str) -> _Leaf:
    """Return a body in the shortest encoding that any server carries unchanged."""
    try:
        raw = _normalised(text).encode()
    except UnicodeEncodeError:
        raise refuse("a body holds half of a surrogate pair", code="surrogate") from None
    if b"\x00" in raw:
        raise refuse("a body holds a NUL character", code="nul_in_body")
    if raw.isascii() and _lines_fit(raw):
        encoding, body = "7bit", raw
    else:
        encoding, body = _encoded(raw)
    if b"\r" in body:
        raise refuse("a body would hold a bare line end", code="bare_line_end")
    head = (
        f'Content-Type: {content_type}; charset="utf-8"\r\n'
        f"Content-Transfer-Encoding: {encoding}\r\n"
    )
    return _Leaf(
        head=head,
        body=body.replace(b"\n", b"\r\n"),
        is_base64=encoding == "base64",
        may_hold_boundary=encoding == "7bit",
    )


def _lines_fit(raw: bytes) -> bool:
    longest = limits.LINE_OCTETS_MAX
    return len(raw) <= longest or max(map(len, raw.split(b"\n"))) <= longest


def _normalised(text: str) -> str:
    if "\r" not in text:
        return text
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _encoded(raw: bytes) -> tuple[str, bytes]:
    """Return the shorter of quoted-printable and base64, the latter not yet encoded."""
    # Line ends are LF until all is encoded, since b2a_qp would break long lines with whichever
    # line end it saw first.
    printable = binascii.b2a_qp(raw)
    breaks = printable.count(b"\n")
    base64_chars = (len(raw) + raw.count(b"\n") + 2) // 3 * 4
    if len(printable) + breaks <= base64_chars + base64_chars // _BASE64_LINE * 2:
        return "quoted-printable", printable
    return "base64", raw


def _attachment(attachment: Attachment) -> _Leaf:
    if attachment.content is None:
        raise refuse("an attachment is not loaded", code="attachment_not_loaded")
    check_content_type(attachment.content_type)
    parameters: list[tuple[str, str]] = []
    method = _method(attachment)
    if method is not None:
        # Calendars act on the mail only if both methods agree (RFC 6047 §2.4).
        parameters = [("charset", "utf-8")] + ([("method", method)] if method else [])
    is_inline = attachment.content_id is not None or method in _INVITING
    disposition = "inline" if is_inline else "attachment"
    head = parameter_header("Content-Type", attachment.content_type, parameters)
    head += "Content-Transfer-Encoding: base64\r\n"
    if attachment.content_id:
        head += f"Content-ID: <{attachment.content_id}>\r\n"
    head += parameter_header(
        "Content-Disposition", disposition, [("filename", attachment.filename)]
    )
    return _Leaf(head=head, body=attachment.content, is_base64=True)


def _method(attachment: Attachment) -> str | None:
    """Return a calendar's METHOD, empty where it has none; None for what is no calendar."""
    if attachment.content_type.lower() != "text/calendar":
        return None
    found = _CALENDAR_METHOD.search((attachment.content or b"")[:_CALENDAR_HEAD_OCTETS])
    return found[1].decode() if found else ""


def _boundaries(tree: _Part, seed: bytes) -> dict[str, str]:
    """Return a boundary for each multipart, absent from every part.

    Each holds ``=_``, which neither base64 nor quoted-printable can: only 7bit bodies are searched.
    """
    bodies = [leaf.body for leaf in _leaves(tree) if leaf.may_hold_boundary]
    return {branch.kind: _boundary(branch.kind, seed, bodies) for branch in _branches(tree)}


def _boundary(kind: str, seed: bytes, bodies: Sequence[bytes]) -> str:
    for attempt in count():  # It ends: a body of n octets holds fewer than n boundaries.
        name = hashlib.sha256(b"%b %d " % (kind.encode(), attempt) + seed).hexdigest()[:32]
        if not any(f"=_{name}".encode() in body for body in bodies):
            break
    return f"=_{name}"


def _leaves(tree: _Part) -> Iterator[_Leaf]:
    if isinstance(tree, _Leaf):
        yield tree
        return
    for part in tree.parts:
        yield from _leaves(part)


def _branches(tree: _Part) -> Iterator[_Branch]:
    if isinstance(tree, _Branch):
        yield tree
        for part in tree.parts:
            yield from _branches(part)


def _part_head(part: _Part, boundaries: dict[str, str]) -> str:
    if isinstance(part, _Leaf):
        return part.head
    first_type = None
    if part.kind == "related":
        # RFC 2387 §3.1 requires the type of the first part.
        first = part.parts[0]
        first_type = "text/html" if isinstance(first, _Leaf) else f"multipart/{first.kind}"
    before, after = _around_boundary(part.kind, first_type)
    return f"{before}{boundaries[part.kind]}{after}"


@lru_cache(maxsize=_LINES_KEPT_MAX)
def _around_boundary(kind: str, first_type: str | None) -> tuple[str, str]:
    """Return a multipart's head before and after its boundary, which is always of one length."""
    stands_in = "=" * _BOUNDARY_CHARS
    parameters = [("boundary", stands_in)]
    if first_type is not None:
        parameters.insert(0, ("type", first_type))
    whole = parameter_header("Content-Type", f"multipart/{kind}", parameters)
    before, _, after = whole.partition(stands_in)
    return before, after


def _write_body(out: io.BytesIO, part: _Part, boundaries: dict[str, str]) -> None:
    """Write a body without a line end of its own: the one that follows belongs to what follows."""
    if isinstance(part, _Leaf):
        if part.is_base64:
            _write_base64(out, part.body)
        else:
            out.write(part.body)
        return
    delimiter = f"--{boundaries[part.kind]}".encode()
    for child in part.parts:
        out.write(b"%b\r\n%b\r\n" % (delimiter, _part_head(child, boundaries).encode()))
        _write_body(out, child, boundaries)
        out.write(b"\r\n")
    out.write(delimiter + b"--")


def _write_base64(out: io.BytesIO, content: bytes) -> None:
    view = memoryview(content)
    whole = len(content) // _BLOCK * _BLOCK
    for start in range(0, whole, _BLOCK):
        encoded = binascii.b2a_base64(view[start : start + _BLOCK], newline=False)
        out.write(b"\r\n".join(_ROWS.unpack(encoded)))
        if start + _BLOCK < len(content):
            out.write(b"\r\n")
    rest = binascii.b2a_base64(view[whole:], newline=False)
    lines = (rest[at : at + _BASE64_LINE] for at in range(0, len(rest), _BASE64_LINE))
    out.write(b"\r\n".join(lines))


def _unfolded(head: str) -> Iterable[str]:
    return head.replace("\r\n ", " ").removesuffix("\r\n").split("\r\n")


def _is_even(head: str) -> bool:
    """Tell that every reader finds the same headers, each with a name, without reading them all.

    That is so where each CR and each LF is half of a CRLF, and no line begins in a way in which one
    reader sees a name and another the line before.
    """
    pairs = head.count("\r\n")
    return head.count("\r") == pairs == head.count("\n") and _ODD.search(head) is None


def _guard(payload: bytes, meant: str) -> None:
    """Refuse bytes that do not read as what was meant: the last line against a fault of ours."""
    ends = payload.find(b"\r\n\r\n")
    if not (_is_even(meant) and ends == len(meant.encode()) - 2):
        names = [line.partition(":")[0] for line in _unfolded(meant)]
        if header_names(payload) != names or any(not name for name in names):
            raise refuse("the headers would not read as they were given", code="header_set")
    head = payload[:ends]
    longest = limits.LINE_OCTETS_MAX
    if len(head) > longest and max(map(len, head.split(b"\r\n"))) > longest:
        raise refuse("a header line is longer than 998 octets", code="line_too_long")
    if b"=?" in head:
        shown = decoded_words(head.decode())
        if "\r" in shown or "\n" in shown:
            raise refuse("a header would decode into two", code="header_set")
