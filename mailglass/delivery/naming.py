"""Naming: whether an address stands in the bytes of a mail, however its parts are encoded."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import Message as Part

from mailglass.ledger.spellings import pattern_of


def naming(address_key: str) -> Callable[[bytes], bool]:
    """Return a test of bytes: headers, bodies and attachments are decoded and looked through.

    What is compressed or encrypted in an attachment is not seen.
    """
    pattern = re.compile(pattern_of(address_key))

    def names(payload: bytes) -> bool:
        return any(pattern.search(_plain(text)) for text in _texts(payload))

    return names


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text).lower()


def _texts(payload: bytes) -> Iterator[str]:
    yield payload.decode("utf-8", "replace")
    mail: Part = message_from_bytes(payload, policy=policy.compat32)
    for part in mail.walk():
        yield from (_decoded(str(value)) for value in part.values())
        content = part.get_payload(decode=True)
        if isinstance(content, bytes):
            yield content.decode("utf-8", "replace")


def _decoded(value: str) -> str:
    unfolded = re.sub(r"\r?\n([ \t])", r"\1", value)
    try:
        return str(make_header(decode_header(unfolded)))
    except (LookupError, ValueError):
        return unfolded
