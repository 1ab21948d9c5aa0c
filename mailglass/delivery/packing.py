"""Packing: the layers of a text in a provider's request taken off, in time that grows with its length."""

from __future__ import annotations

import re
from binascii import a2b_base64, a2b_qp
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote_to_bytes

DEPTH_MAX: Final = 5
"""How many layers are taken off: a part in base64 of a mail in base64 in JSON in JSON has four."""
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/]{12,}(?:\r?\n[A-Za-z0-9+/]+)*")
"""What may be base64 of nine octets or more, in one line or in many."""
_ESCAPED: Final = re.compile(rb"\\(?:u00([0-7][0-9a-fA-F])|([\"/\\bfnrt]))")
_CONTROLS: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}


def layers(content: bytes, depth: int = DEPTH_MAX) -> Iterator[bytes]:
    """Yield bytes as they are, and without each packing that is found in them.

    Base64, quoted-printable (RFC 2045, section 6), and the escapes of JSON (RFC 8259, section 7) and
    of forms are known. No structure is parsed, so nothing that is wrongly nested can stop it.
    """
    yield content
    if depth == 0:
        return
    if b"=" in content:
        yield a2b_qp(content)
    for run in _BASE64.finditer(content):
        yield from layers(_unpacked(run[0]), depth - 1)
    bare = _unescaped(content) if b"\\" in content else unquote_to_bytes(content)
    if bare != content:
        yield from layers(bare, depth - 1)


def _unpacked(run: bytes) -> bytes:
    letters = run.translate(None, b"\r\n")
    whole = letters[:-1] if len(letters) % 4 == 1 else letters
    return a2b_base64(whole + b"=" * (-len(whole) % 4))


def _unescaped(content: bytes) -> bytes:
    return _ESCAPED.sub(_meant, content)


def _meant(escape: re.Match[bytes]) -> bytes:
    code, sign = escape.groups()
    return bytes([int(code, 16)]) if code else _CONTROLS.get(sign, sign)
