"""Suppressions: standing refusals to send to an address, a domain, or an address on one stream."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum, unique
from functools import lru_cache
from typing import Final

from mailglass.address import parse_address
from mailglass.errors import ConfigError, ConfigErrorType
from mailglass.headers import check_text, refuse
from mailglass.message import Stream

SOURCE_CHARS_MAX: Final = 200
NOTE_CHARS_MAX: Final = 500
ERASURE_KEY_BYTES_MIN: Final = 16
_ERASED: Final = re.compile("hmac1:[0-9a-f]{64}@erased")
"""No address has a colon, so nobody can be mistaken for an erased one."""
_PURPOSE: Final = b"mailglass suppression 1"


@unique
class SuppressionScope(StrEnum):
    """How far a refusal reaches."""

    ADDRESS = "address"
    DOMAIN = "domain"
    ADDRESS_STREAM = "address_stream"


@unique
class SuppressionReason(StrEnum):
    """Why the refusal stands; a complaint never expires."""

    HARD_BOUNCE = "hard_bounce"
    COMPLAINT = "complaint"
    UNSUBSCRIBE = "unsubscribe"
    MANUAL = "manual"
    POLICY = "policy"
    INVALID_RECIPIENT = "invalid_recipient"

    @property
    def is_the_recipients_will(self) -> bool:
        """Tell whether the recipient asked for it: such a refusal is lifted by force alone."""
        return self in {self.COMPLAINT, self.UNSUBSCRIBE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """One refusal.

    ``value`` is an address or a domain, as typed: it is kept as the key under which recipients are
    compared. ``stream`` is set for ``address_stream`` alone. ``source`` says which part or import it
    comes from. ``expires_at`` None means that it stands until it is removed; ``since`` is when it
    began, None for now. A ``note`` holds no address, and nor should ``source``, since it outlives
    erasure in the history.

    Raises:
        SendError: ``serialization_failed`` for a value that is no address or domain, a stream that is
            missing or too many, a complaint that ends, a time without a zone, a source or note that
            is too long or holds a control character, and a note with an ``@``.

    """

    scope: SuppressionScope
    value: str = field(repr=False)
    reason: SuppressionReason
    source: str
    stream: Stream | None = None
    expires_at: datetime | None = None
    note: str | None = field(default=None, repr=False)
    since: datetime | None = None

    def __post_init__(self) -> None:
        """Bring the value into its key, so that no way of typing it suppresses nobody."""
        object.__setattr__(self, "value", value_key(self.scope, self.value))
        if (self.scope is SuppressionScope.ADDRESS_STREAM) != (self.stream is not None):
            raise refuse("a stream goes with address_stream alone", code="suppression_stream")
        if self.reason is SuppressionReason.COMPLAINT and self.expires_at is not None:
            raise refuse("a complaint does not expire", code="complaint_expires")
        for moment in (self.expires_at, self.since):
            if moment is not None and moment.tzinfo is None:
                raise refuse("a suppression's time has no time zone", code="naive_datetime")
        check_text("source", self.source, chars_max=SOURCE_CHARS_MAX)
        if self.note is not None:
            check_remark("note", self.note, chars_max=NOTE_CHARS_MAX)

    @property
    def is_erased(self) -> bool:
        """Tell whether the address is gone and only its keyed hash is left."""
        return _ERASED.fullmatch(self.value) is not None


def value_key(scope: SuppressionScope, value: str) -> str:
    """Return the key of a typed address or domain: lower case, NFC, the domain as A-labels (IDNA).

    The keyed hash of an erased address is its own key.

    Raises:
        SendError: ``serialization_failed`` for a value that is neither.

    """
    typed = value.strip()
    if scope is not SuppressionScope.DOMAIN and _ERASED.fullmatch(typed):
        return typed
    if scope is SuppressionScope.DOMAIN:
        return parse_address(f"postmaster@{typed.removeprefix('@')}").domain_key
    return parse_address(typed).key


@lru_cache(maxsize=256)
def check_remark(what: str, text: str, *, chars_max: int) -> None:
    """Refuse a source, note, reason or name that is empty, too long, not one line, or names an address.

    An import has the same source in every line, so what passed before is not looked at again.

    Raises:
        SendError: ``serialization_failed`` with code ``remark_empty``, ``remark_address`` or one of
            ``headers.check_text``.

    """
    check_text(what, text, chars_max=chars_max)
    if not text.strip():
        raise refuse(f"the {what} is empty", code="remark_empty")
    if "@" in text:
        raise refuse(f"the {what} outlives erasure, so it holds no address", code="remark_address")


def erased_value(key: bytes, tenant_id: str, address_key: str) -> str:
    """Return the keyed hash under which an erased address is still refused.

    HMAC-SHA-256 (RFC 2104) over the tenant and the address key: without the key nobody can find out
    by trying addresses, and the same person has another hash at another tenant.

    Raises:
        ConfigError: ``invalid`` for a key of fewer than 16 bytes.

    """
    if len(key) < ERASURE_KEY_BYTES_MIN:
        raise ConfigError(
            f"the erasure key is shorter than {ERASURE_KEY_BYTES_MIN} bytes",
            type=ConfigErrorType.INVALID,
            key="erasure_key",
            hint="Make one with `python -c 'import secrets; print(secrets.token_urlsafe(32))'`.",
        )
    tenant = tenant_id.encode()
    told = b"%s\0%d:%s%s" % (_PURPOSE, len(tenant), tenant, address_key.encode())
    return f"hmac1:{hmac.new(key, told, hashlib.sha256).hexdigest()}@erased"


def key_mark(key: bytes, tenant_id: str) -> str:
    """Return the keyed hash of no address: it tells which erasure key made a tenant's hashes."""
    return erased_value(key, tenant_id, "")


def unknown_erasure_key(values: Iterable[str] = ()) -> ConfigError:
    """Return what is raised where hashes of erased people were made with a key that is not at hand."""
    has_one = any(_ERASED.fullmatch(one) for one in values)
    return ConfigError(
        "people were erased with another erasure key; they would be mailed again"
        if has_one
        else "people were erased and the erasure key is not set; they would be mailed again",
        type=ConfigErrorType.CONFLICTING if has_one else ConfigErrorType.MISSING,
        key="erasure_key",
        hint="Set MAILGLASS_ERASURE_KEY, wherever mail is sent, to the key that they were erased with.",
    )


def asked_values(
    address_keys: Iterable[str], *, tenant_id: str, erasure_key: bytes | None
) -> set[str]:
    """Return every value that could refuse one of the address keys: keys, domains and keyed hashes.

    With them comes the mark of the erasure key, without which a list with erased people answers no one.

    A tag (``zoe+news@…``, RFC 5233) is asked for with and without: who refuses ``zoe@…`` is not
    reached by adding one, while a refusal of ``zoe+news@…`` leaves ``zoe@…`` alone.
    """
    found = set() if erasure_key is None else {key_mark(erasure_key, tenant_id)}
    for address_key in address_keys:
        keys = _keys(address_key)
        found |= {*keys, address_key.rpartition("@")[2]}
        if erasure_key is not None:
            found |= {erased_value(erasure_key, tenant_id, key) for key in keys}
    return found


def _keys(address_key: str) -> tuple[str, ...]:
    local, _, domain = address_key.rpartition("@")
    untagged, plus, _ = local.partition("+")
    if plus and untagged:
        return address_key, f"{untagged}@{domain}"
    return (address_key,)
