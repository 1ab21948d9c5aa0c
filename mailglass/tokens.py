"""Tokens: short signed texts for links, bound to one purpose, that survive a change of keys.

A token is base64url of ``key id (4) · moment of issue (5) · payload · tag (16)``. The tag is
HMAC-SHA256 (RFC 2104), cut to 128 bits as its §5 allows, under a key derived for the purpose. The
payload is signed and not encrypted: put nothing in it that its holder may not read.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum, unique
from typing import Final

from mailglass.errors import ConfigError, ConfigErrorType, SignatureError, SignatureErrorType

SECRET_BYTES_MIN: Final = 32
TOKEN_CHARS_MAX: Final = 4_096
"""What is longer is refused before it is decoded."""
_KEY_ID_BYTES: Final = 4
_MOMENT_BYTES: Final = 5
_TAG_BYTES: Final = 16
_HEAD_BYTES: Final = _KEY_ID_BYTES + _MOMENT_BYTES
_OVERHEAD_BYTES: Final = _HEAD_BYTES + _TAG_BYTES
PAYLOAD_BYTES_MAX: Final = TOKEN_CHARS_MAX * 3 // 4 - _OVERHEAD_BYTES

_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]+")


@unique
class Purpose(StrEnum):
    """What a token is good for; a token of one purpose is worth nothing for another."""

    UNSUBSCRIBE = "unsubscribe"
    OPEN = "open"
    CLICK = "click"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenKey:
    """One secret of at least 32 random bytes; after ``not_after`` nothing it signed is accepted.

    The id that tokens carry is derived from the secret, so there is nothing to number.

    Raises:
        ConfigError: ``invalid`` for a secret that is too short, or a moment without a zone.

    """

    secret: bytes = field(repr=False)
    not_after: datetime | None = None

    def __post_init__(self) -> None:
        """Refuse a secret that could be guessed."""
        if len(self.secret) < SECRET_BYTES_MIN:
            raise _wrong(f"a token secret is shorter than {SECRET_BYTES_MIN} bytes")
        if self.not_after is not None and self.not_after.tzinfo is None:
            raise _wrong("the end of a token secret has no time zone")

    @property
    def key_id(self) -> bytes:
        """Return the four bytes by which a token names its key; they tell nothing about it."""
        return hashlib.sha256(b"mailglass token key id\0" + self.secret).digest()[:_KEY_ID_BYTES]


class Keyring:
    """The keys of one application or tenant: the first signs, all of them verify.

    To change keys put a new one in front and keep the old for as long as its links should live:
    two years for unsubscribe links, which a recipient may follow long after the mail.
    """

    __slots__ = ("_by_id", "_signs")

    def __init__(self, keys: Sequence[TokenKey]) -> None:
        """Take the keys, newest first.

        Raises:
            ConfigError: ``missing`` when there is none, ``invalid`` when the first has an end.

        """
        if not keys:
            raise ConfigError(
                "links need a token secret",
                type=ConfigErrorType.MISSING,
                key="token_secrets",
                hint="Give at least one secret of 32 random bytes.",
            )
        if keys[0].not_after is not None:
            raise _wrong("the token secret that signs has an end")
        self._signs = keys[0]
        self._by_id: dict[bytes, list[TokenKey]] = {}
        for key in keys:
            self._by_id.setdefault(key.key_id, []).append(key)

    def __repr__(self) -> str:
        """Tell how many keys there are and nothing of them."""
        return f"<Keyring of {sum(map(len, self._by_id.values()))}>"

    def sign(self, purpose: Purpose, payload: bytes, *, now: datetime) -> str:
        """Return a token for ``payload``, URL-safe and without padding.

        Raises:
            ConfigError: ``invalid`` for a payload over ``PAYLOAD_BYTES_MAX`` or a naive ``now``.

        """
        if len(payload) > PAYLOAD_BYTES_MAX:
            raise _wrong("the payload of a token is too long")
        if now.tzinfo is None:
            raise _wrong("the moment of a token has no time zone")
        issued = int(now.timestamp()).to_bytes(_MOMENT_BYTES, "big")
        signed = self._signs.key_id + issued + payload
        raw = signed + _tag(self._signs, purpose, signed)
        return _encoded(raw)

    def open(self, purpose: Purpose, token: str, *, now: datetime, max_age: timedelta) -> bytes:
        """Return the payload of a token that one of the keys signed for this purpose.

        Raises:
            SignatureError: ``malformed_header`` for what no ``sign`` returned, ``bad_signature``
                for an unknown or ended key, another purpose or a changed byte, ``timestamp_skew``
                for a token older than ``max_age``.

        """
        raw = _decoded(token)
        signed, tag = raw[:-_TAG_BYTES], raw[-_TAG_BYTES:]
        if not self._is_ours(purpose, signed, tag, now):
            raise _refused("a token is not signed by us", SignatureErrorType.BAD_SIGNATURE)
        issued_s = int.from_bytes(signed[_KEY_ID_BYTES:_HEAD_BYTES], "big")
        if now - datetime.fromtimestamp(issued_s, UTC) > max_age:
            raise _refused("a token is too old", SignatureErrorType.TIMESTAMP_SKEW)
        return signed[_HEAD_BYTES:]

    def _is_ours(self, purpose: Purpose, signed: bytes, tag: bytes, now: datetime) -> bool:
        keys = self._by_id.get(signed[:_KEY_ID_BYTES], [])
        return any(
            hmac.compare_digest(tag, _tag(key, purpose, signed))
            for key in keys
            if key.not_after is None or now <= key.not_after
        )


def _tag(key: TokenKey, purpose: Purpose, signed: bytes) -> bytes:
    derived = hmac.digest(key.secret, b"mailglass token " + purpose.value.encode(), "sha256")
    return hmac.digest(derived, signed, "sha256")[:_TAG_BYTES]


def _encoded(raw: bytes) -> str:
    text = binascii.b2a_base64(raw, newline=False).rstrip(b"=")
    return text.translate(bytes.maketrans(b"+/", b"-_")).decode()


def _decoded(token: str) -> bytes:
    """Return the bytes of the one way to write them: a lax decoder would accept several."""
    if len(token) > TOKEN_CHARS_MAX or _BASE64URL.fullmatch(token) is None:
        raise _refused("a token is not base64url", SignatureErrorType.MALFORMED_HEADER)
    padded = token.encode().translate(bytes.maketrans(b"-_", b"+/")) + b"=" * (-len(token) % 4)
    try:
        raw = binascii.a2b_base64(padded)
    except binascii.Error:
        raise _refused("a token is cut", SignatureErrorType.MALFORMED_HEADER) from None
    if len(raw) < _OVERHEAD_BYTES or _encoded(raw) != token:
        raise _refused("a token is cut", SignatureErrorType.MALFORMED_HEADER)
    return raw


def _refused(message: str, kind: SignatureErrorType) -> SignatureError:
    return SignatureError(message, type=kind)


def _wrong(message: str) -> ConfigError:
    return ConfigError(message, type=ConfigErrorType.INVALID, key="token_secrets")
