"""Naming: whether an address stands in the bytes of a mail or a request, however its parts are encoded."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import Message as Part
from typing import Final

from mailglass.delivery.packing import layers
from mailglass.ledger.spellings import pattern_of, spellings

_MARKS: Final[Mapping[bytes, str]] = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte order marks, each before what it begins with."""
_OLD: Final = "cp1252"
"""What a file is in that is not in Unicode; for an address in ASCII any such charset will do."""


def naming(address_key: str) -> Callable[[bytes], bool]:
    """Return a test of a mail's bytes: headers, bodies and attachments are decoded and looked through.

    What is compressed or encrypted in an attachment is not seen.
    """
    pattern, clue = re.compile(pattern_of(address_key)), _clue(address_key)

    def names(payload: bytes) -> bool:
        return any(pattern.search(_plain(text)) for text in _texts(payload, clue))

    return names


def mentioning(address_key: str, known_as: Iterable[str]) -> Callable[[bytes], bool]:
    """Return a test of a request's bytes: whether they hold an address, or an id (in lower case).

    They are unpacked first. It would rather find one too many: ``joanna@…`` holds ``anna@…``.
    """
    written = (*spellings(address_key), *known_as)
    octets = [one.encode() for one in written if one.isascii()]
    letters = [one for one in written if not one.isascii()]

    def mentions(content: bytes) -> bool:
        for bare in map(_bare, layers(content)):
            text = _plain(_text(bare)) if letters else ""
            if any(one in bare for one in octets) or any(one in text for one in letters):
                return True
        return False

    return mentions


def _clue(address_key: str) -> bytes:
    """Return what every spelling of an address has in it: what is without it need not be decoded."""
    local, _, domain = address_key.rpartition("@")
    for part in (local, domain):
        runs: list[str] = re.findall("[a-z0-9]+", part)
        if runs and part.isascii() and "xn--" not in part:
            return max(runs, key=len).encode()
    return b""


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text).lower()


def _bare(content: bytes) -> bytes:
    """Return bytes in lower case and without NULs: ASCII in UTF-16 or UTF-32 is then ASCII."""
    return content.replace(b"\0", b"").lower()


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def _texts(payload: bytes, clue: bytes) -> Iterator[str]:
    yield from _readings(payload, clue)
    try:
        mail: Part = message_from_bytes(payload, policy=policy.compat32)
        for part in mail.walk():
            yield from (_decoded(str(value)) for value in part.values())
            content = part.get_payload(decode=True)
            if isinstance(content, bytes):
                yield from _readings(content, clue)
    except RecursionError:  # a mail in a mail in a mail …: it is read without its structure
        for layer in layers(payload):
            yield from _readings(layer, clue)


def _readings(content: bytes, clue: bytes) -> Iterator[str]:
    bare = _bare(content)
    if clue in bare:
        yield _text(bare)
        yield content.decode(_charset(content), "replace")


def _charset(content: bytes) -> str:
    return next((name for mark, name in _MARKS.items() if content.startswith(mark)), _OLD)


def _decoded(value: str) -> str:
    unfolded = re.sub(r"\r?\n([ \t])", r"\1", value)
    try:
        return str(make_header(decode_header(unfolded)))
    except (LookupError, ValueError):
        return unfolded
