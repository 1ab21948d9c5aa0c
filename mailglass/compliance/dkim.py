"""DKIM: a finished mail gets signatures in front, one a key (RFC 6376, RFC 8301, RFC 8463).

Always relaxed/relaxed, which survives what relays do to white space, and never with a length
(``l=``), which lets anybody append. The signed fields are oversigned: each is named once more than
it occurs, so that adding a second one in transit breaks the signature (RFC 6376 §8.15).
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

from mailglass.compliance.dkim_keys import DkimKey
from mailglass.headers import refuse

OVERSIGNED: Final = (
    "from",
    "reply-to",
    "to",
    "cc",
    "subject",
    "date",
    "message-id",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "list-unsubscribe",
    "list-unsubscribe-post",
)
"""Named in every signature whether they are there or not, so nobody can add one."""
SIGNED_WHEN_PRESENT: Final = (
    "sender",
    "in-reply-to",
    "references",
    "list-id",
    "feedback-id",
    "auto-submitted",
    "precedence",
)
"""Named as often as they occur; a relay may add one without harm."""

_LINE_CHARS_GOAL: Final = 76
_SIGNATURE_LINE_CHARS: Final = 72
_SPACE_THAT_CHANGES: Final = re.compile(rb" [ \r]")
_SPACES: Final = re.compile(rb"  +")
_TRAILING_SPACE: Final = re.compile(rb" \r")
_BARE_CR: Final = re.compile(rb"\r(?!\n)")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Canonical:
    """What every signature of one mail shares: the ``h=`` names, the fields and the body's hash."""

    names: tuple[str, ...]
    fields: bytes
    body_hash: str


def sign(
    payload: bytes,
    keys: Sequence[DkimKey],
    *,
    now: datetime,
    valid_for: timedelta | None = None,
) -> bytes:
    """Return the mail with a DKIM-Signature of each key in front, the first key's on top.

    The same arguments give the same bytes. ``valid_for`` sets when the signatures expire (``x=``);
    it has to outlast the queue, since the mail is signed once and sent as often as it takes. Without
    keys the mail comes back as it is.

    Raises:
        SendError: ``serialization_failed`` with code ``bare_line_end``, ``duplicate_header`` (two of
            a signed field: a reader could show the one and a verifier check the other),
            ``malformed_header``, ``missing_from`` or ``naive_datetime``.

    """
    if not keys:
        return payload
    if now.tzinfo is None:
        raise refuse("the moment of signing has no time zone", code="naive_datetime")
    canonical = _canonical(payload)
    signatures = [_signature(key, canonical, now, valid_for).encode() for key in keys]
    return b"".join([*signatures, payload])


def _canonical(payload: bytes) -> _Canonical:
    if _BARE_CR.search(payload) or payload.count(b"\r") != payload.count(b"\n"):
        raise refuse("the mail holds a bare line end", code="bare_line_end")
    end = payload.find(b"\r\n\r\n")
    head = payload[:end] if end >= 0 else payload.removesuffix(b"\r\n")
    found = _fields(head)
    names = [name for name in SIGNED_WHEN_PRESENT if name in found]
    signed = [name for name in (*OVERSIGNED, *names) if name in found]
    if "from" not in found:
        raise refuse("the mail has no From", code="missing_from")
    if any(len(found[name]) > 1 for name in signed):
        raise refuse("a signed header is given twice", code="duplicate_header")
    over = [name for name in OVERSIGNED if name in found for _ in range(2)]
    absent = [name for name in OVERSIGNED if name not in found]
    return _Canonical(
        names=(*over, *absent, *names),
        fields=b"".join(b"%b:%b\r\n" % (name.encode(), found[name][0]) for name in signed),
        body_hash=_body_hash(payload, end + 4 if end >= 0 else len(payload)),
    )


def _fields(head: bytes) -> dict[str, list[bytes]]:
    """Return the fields by name, their values relaxed (RFC 6376 §3.4.2)."""
    found: dict[str, list[bytes]] = {}
    for line in head.replace(b"\r\n ", b" ").replace(b"\r\n\t", b" ").split(b"\r\n"):
        name, colon, value = line.partition(b":")
        key = name.rstrip(b" \t").lower()
        if not colon or not key.isascii() or b" " in key:
            raise refuse("a header line has no name", code="malformed_header")
        found.setdefault(key.decode(), []).append(_relaxed(value))
    return found


def _relaxed(value: bytes) -> bytes:
    return b" ".join(filter(None, value.replace(b"\t", b" ").split(b" ")))


def _body_hash(payload: bytes, start: int) -> str:
    """Return the hash of the relaxed body (RFC 6376 §3.4.4).

    The patterns begin with a literal, which ``re`` finds faster than ``bytes.replace`` finds a pair.
    """
    body = payload[start:]
    if b"\t" in body:
        body = body.replace(b"\t", b" ")
    if _SPACE_THAT_CHANGES.search(body):
        body = _TRAILING_SPACE.sub(b"\r", _SPACES.sub(b" ", body))
    kept = body.removesuffix(b" ").rstrip(b"\r\n")
    digest = hashlib.sha256(kept)
    if kept:
        digest.update(b"\r\n")
    return base64.b64encode(digest.digest()).decode()


def _signature(
    key: DkimKey, canonical: _Canonical, now: datetime, valid_for: timedelta | None
) -> str:
    """Return the field with its line ends, signed over itself without the signature."""
    moment = int(now.timestamp())
    expires = [] if valid_for is None else [f" x={moment + int(valid_for.total_seconds())};"]
    names = [f"{name}:" for name in canonical.names[:-1]]
    unsigned = _folded(
        [
            *(" v=1;", f" a={key.algorithm.value};", " c=relaxed/relaxed;"),
            *(f" d={key.domain};", f" s={key.selector};", f" t={moment};"),
            *expires,
            *(" h=", *names, f"{canonical.names[-1]};"),
            f" bh={canonical.body_hash};",
        ]
    )
    unsigned += "\r\n b="
    value = unsigned.partition(":")[2].replace("\r\n", "").encode()
    signed = _signed(key, canonical.fields + b"dkim-signature:" + _relaxed(value))
    text = base64.b64encode(signed).decode()
    cut = range(0, len(text), _SIGNATURE_LINE_CHARS)
    lines = [text[at : at + _SIGNATURE_LINE_CHARS] for at in cut]
    return unsigned + "\r\n ".join(lines) + "\r\n"


def _folded(pieces: Iterable[str]) -> str:
    lines, line = [], "DKIM-Signature:"
    for piece in pieces:
        if len(line) + len(piece) > _LINE_CHARS_GOAL:
            lines.append(line)
            line = " " + piece.lstrip(" ")
        else:
            line += piece
    return "\r\n".join([*lines, line])


def _signed(key: DkimKey, text: bytes) -> bytes:
    if isinstance(key.private_key, RSAPrivateKey):
        return key.private_key.sign(text, PKCS1v15(), SHA256())
    # Ed25519 signs the hash, not the text (RFC 8463 §3).
    return key.private_key.sign(hashlib.sha256(text).digest())
