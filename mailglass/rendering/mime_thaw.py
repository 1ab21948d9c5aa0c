"""Thaw: the bytes that ``mime.build`` wrote become the fields that it was given."""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final

from mailglass.address import Address
from mailglass.headers import refuse
from mailglass.message import Attachment
from mailglass.rendering.mime_headers import (
    decoded_addresses,
    decoded_parameters,
    decoded_text,
)

_WRITTEN_BY_BUILD: Final = frozenset(
    {
        "Cc",
        "Content-Transfer-Encoding",
        "Content-Type",
        "Date",
        "From",
        "MIME-Version",
        "Message-ID",
        "Reply-To",
        "Subject",
        "To",
    }
)
_DEPTH_MAX: Final = 3
"""mixed, related, alternative."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedMail:
    r"""What is in the bytes of a message.

    ``headers`` are all that ``build`` did not write by itself: those of the message and the extra
    ones. Line ends of bodies are ``\n``, whatever they were. Inline images come before the other
    attachments; within both, the order is kept. ``date`` is in UTC, to the second.
    """

    sender: Address
    to: tuple[Address, ...]
    cc: tuple[Address, ...]
    reply_to: tuple[Address, ...]
    subject: str = field(repr=False)
    text: str | None = field(repr=False)
    html: str | None = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    attachments: tuple[Attachment, ...]
    message_id: str
    date: datetime


def thaw(payload: bytes) -> ParsedMail:
    """Return the fields of a message, exactly as they went into ``mime.build``.

    It reads what ``build`` writes and nothing else: foreign mail needs a forgiving reader.

    Raises:
        SendError: ``serialization_failed`` with code ``foreign_payload``.

    """
    try:
        return _thaw(payload)
    except (KeyError, ValueError, IndexError):
        raise refuse("the payload was not built by mailglass", code="foreign_payload") from None


def _thaw(payload: bytes) -> ParsedMail:
    headers, start = _head(payload, 0)
    values = dict(headers)
    # The last two octets are the line end that follows the body, as before a boundary.
    leaves = list(_leaves(payload, values, start, len(payload) - 2, _DEPTH_MAX))
    bodies = {
        part["Content-Type"].partition(";")[0]: body.decode().replace("\r\n", "\n")
        for part, body in leaves
        if "Content-Disposition" not in part
    }
    return ParsedMail(
        sender=decoded_addresses(values["From"])[0],
        to=decoded_addresses(values["To"]),
        cc=decoded_addresses(values.get("Cc", "")),
        reply_to=decoded_addresses(values.get("Reply-To", "")),
        subject=decoded_text(values["Subject"]),
        text=bodies.get("text/plain"),
        html=bodies.get("text/html"),
        headers=tuple(
            (name, decoded_text(value)) for name, value in headers if name not in _WRITTEN_BY_BUILD
        ),
        attachments=tuple(
            _attachment(part, body) for part, body in leaves if "Content-Disposition" in part
        ),
        message_id=values["Message-ID"],
        date=parsedate_to_datetime(values["Date"]),
    )


def _head(payload: bytes, start: int) -> tuple[list[tuple[str, str]], int]:
    """Return the headers that begin at ``start``, unfolded, and where the body begins."""
    end = payload.index(b"\r\n\r\n", start)
    lines = payload[start:end].decode().replace("\r\n ", " ").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return [(name, value.removeprefix(" ")) for name, _, value in pairs], end + 4


def _leaves(
    payload: bytes, headers: dict[str, str], start: int, end: int, depth: int
) -> Iterator[tuple[dict[str, str], bytes]]:
    content_type, parameters = decoded_parameters(headers["Content-Type"])
    if not content_type.startswith("multipart/"):
        yield headers, _decoded(headers["Content-Transfer-Encoding"], payload[start:end])
        return
    if depth == 0:
        raise ValueError
    delimiter = f"\r\n--{parameters['boundary']}".encode()
    at = start - 2
    while (following := payload.find(delimiter, at + len(delimiter), end)) >= 0:
        part, body_start = _head(payload, at + len(delimiter) + 2)
        yield from _leaves(payload, dict(part), body_start, following, depth - 1)
        at = following


def _decoded(encoding: str, body: bytes) -> bytes:
    match encoding:
        case "7bit":
            return body
        case "quoted-printable":
            return binascii.a2b_qp(body)
        case "base64":
            return binascii.a2b_base64(body)
        case _:
            raise ValueError


def _attachment(headers: dict[str, str], content: bytes) -> Attachment:
    _, parameters = decoded_parameters(headers["Content-Disposition"])
    content_id = headers.get("Content-ID")
    return Attachment(
        filename=parameters["filename"],
        content=content,
        content_type=headers["Content-Type"].partition(";")[0],
        content_id=content_id[1:-1] if content_id else None,
    )
