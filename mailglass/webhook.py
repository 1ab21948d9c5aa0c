"""Webhooks as values: the request that came in, the event it reports, and the strict reading of both.

Nothing here knows a web framework, a provider or the database. What a provider did not send as it
promised is a SignatureError, whatever is wrong with it; a field of the wrong type reads as absent.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import parse_qsl
from uuid import UUID

from mailglass.errors import ConfigError, ConfigErrorType, SignatureError, SignatureErrorType
from mailglass.events import EventType, RejectReason

BODY_BYTES_MAX: Final = 10 * 1024 * 1024
"""The largest batch of reports of any provider is a few MB; received mail may be larger."""
PARSED_BYTES_MAX: Final = 64 * 1024 * 1024
"""What is parsed of a body that an endpoint lets in; the largest mail of any provider is 40 MB."""
JSON_DEPTH_MAX: Final = 32
JSON_CONTAINERS_MAX: Final = 200_000
"""Arrays and objects: each takes up to 240 bytes of memory, and three in the body."""
JSON_STRINGS_MAX: Final = 1_000_000
JSON_INT_DIGITS_MAX: Final = 20
"""A 64-bit integer with its sign; ``int`` of thousands of digits costs quadratic time."""
FORM_FIELDS_MAX: Final = 1_000
TEXT_CHARS_MAX: Final = 2_000
"""Descriptions and replies of mail servers are cut here."""
LABELS_MAX: Final = 100
"""Tags and metadata keys that one event may carry."""
TOKEN_KEY: Final = "mailglass_delivery"  # noqa: S105 - the name of a field, not a secret
"""The metadata key that carries the delivery's id to the provider and back; 18 characters, since
Postmark allows 20."""

_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
"""A string of JSON, or what begins as one: it never goes back, whatever stands in it."""
_UNIX: Final = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")
_UNIX_MAX: Final = 10**12
_MOMENTS_CACHED_MAX: Final = 1_024
_UNFIT: Final = re.compile("[\x00\ud800-\udfff]")


class HeaderMap:
    """Header fields as they came: names compare without case, and one may stand more than once."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        pairs = fields.items() if isinstance(fields, Mapping) else fields
        self._fields = tuple((name.lower(), value) for name, value in pairs)

    def __repr__(self) -> str:
        """Show the names and no value: some of them are credentials."""
        return f"HeaderMap({sorted({name for name, _ in self._fields})})"

    def all(self, name: str) -> tuple[str, ...]:
        """Return every value of the name, in order."""
        lower = name.lower()
        return tuple(value for key, value in self._fields if key == lower)

    def first(self, name: str) -> str | None:
        """Return the first value of the name, or None."""
        return next(iter(self.all(name)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookRequest:
    """One request of a provider, with the bytes as they came and the time they came at.

    ``url`` is the one the provider called, with its query and any user name: Mandrill signs it.
    ``remote_ip`` is the last hop that is not a proxy of ours, or None when nobody can tell.

    Raises:
        ConfigError: ``webhook_raw_body_missing`` when ``body`` is not bytes: signatures are over the
            body as it came, and what a framework made of it proves nothing.

    """

    method: str = "POST"
    url: str = field(repr=False)
    headers: HeaderMap
    body: bytes = field(repr=False)
    remote_ip: str | None = field(default=None, repr=False)
    now: datetime

    def __post_init__(self) -> None:
        """Refuse a body that a framework has parsed or decoded."""
        if not isinstance(self.body, bytes):
            raise raw_body_missing()

    def header(self, name: str, *, provider: str) -> str:
        """Return the only value of a header.

        Raises:
            SignatureError: ``missing_header``, or ``malformed_header`` when it stands twice.

        """
        values = self.headers.all(name)
        if not values:
            raise refused(SignatureErrorType.MISSING_HEADER, provider, name.lower())
        if len(values) > 1:
            raise refused(SignatureErrorType.MALFORMED_HEADER, provider, f"{name.lower()} twice")
        return values[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderEvent:
    """One fact about one recipient as a provider reports it, in words common to all providers.

    ``occurred_at`` is the provider's time, None where it gives none. ``provider_event_id`` is the
    same at every repetition: the provider's own id, or ``sha256:…`` over what identifies the event
    where it has none; it is unique together with recipient and type. The first of
    ``provider_message_ids`` is the one that sending returned. ``is_permanent`` tells a hard bounce
    from a soft one; only what is permanent may suppress. ``word`` is the provider's own word.
    """

    type: EventType
    occurred_at: datetime | None
    provider: str
    provider_event_id: str
    provider_message_ids: tuple[str, ...] = ()
    recipient: str | None = field(default=None, repr=False)
    reject_reason: RejectReason | None = None
    is_permanent: bool = False
    word: str | None = None
    description: str | None = field(default=None, repr=False)
    mta_response: str | None = field(default=None, repr=False)
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    delivery_token: UUID | None = None
    click_url: str | None = field(default=None, repr=False)
    click_url_sha256: str | None = None
    user_agent: str | None = field(default=None, repr=False)
    is_machine: bool = False


def raw_body_missing() -> ConfigError:
    """Return the error for a request whose bytes somebody else has read."""
    return ConfigError(
        "a webhook came without its raw body",
        type=ConfigErrorType.WEBHOOK_RAW_BODY_MISSING,
        key="body",
        hint="Read it before anything parses it: request.body in Django, request.get_data() in Flask.",
    )


def refused(kind: SignatureErrorType, provider: str, detail: str) -> SignatureError:
    """Return the error for a request that is not what its provider sends; no value is in it."""
    return SignatureError(
        "the webhook request is not one that the provider signed",
        type=kind,
        provider=provider,
        detail=detail,
    )


def malformed(provider: str, detail: str) -> SignatureError:
    """Return the error for a request that cannot be read."""
    return refused(SignatureErrorType.MALFORMED_HEADER, provider, detail)


def same(one: bytes, other: bytes) -> bool:
    """Tell whether two secrets are equal, in a time that tells nothing of either."""
    return hmac.compare_digest(hashlib.sha256(one).digest(), hashlib.sha256(other).digest())


def decoded_base64(text: str | bytes, *, provider: str, detail: str) -> bytes:
    """Return what strict base64 stands for.

    Raises:
        SignatureError: ``malformed_header`` for another character, a missing pad or line breaks.

    """
    try:
        raw = text.encode("ascii") if isinstance(text, str) else text
        return base64.b64decode(raw, validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise malformed(provider, detail) from None


def signed_seconds(text: str, *, provider: str) -> float:
    """Return the seconds that a signed timestamp names: ASCII digits, and at most a fraction.

    Raises:
        SignatureError: ``malformed_header``.

    """
    if _UNIX.fullmatch(text) is None:
        raise malformed(provider, "timestamp")
    return float(text)


def check_age(
    seconds: float, *, now: datetime, tolerance_s: float, provider: str, retried_s: float = 0.0
) -> None:
    """Refuse a signed timestamp that is further than the tolerance from now, on either side.

    ``retried_s`` is how long the provider repeats a request under its first timestamp: a request
    may be older by as much, but never newer.

    Raises:
        SignatureError: ``timestamp_skew``.

    """
    age_s = now.timestamp() - seconds
    if not -tolerance_s <= age_s <= tolerance_s + retried_s:
        raise refused(SignatureErrorType.TIMESTAMP_SKEW, provider, "timestamp")


def parse_json(body: bytes | str, *, provider: str) -> Any:
    """Return what JSON says; bytes that are not UTF-8 become replacement characters.

    Raises:
        SignatureError: ``malformed_header`` for more than 64 MB, 32 levels, 20 digits, 200,000
            arrays and objects or a million strings, for NaN and infinities, a key given twice, or
            anything that is not JSON.

    """
    raw = body.encode("utf-8", "replace") if isinstance(body, str) else body
    if len(raw) > PARSED_BYTES_MAX:
        raise malformed(provider, "body_too_large")
    if _is_costly(raw):
        raise malformed(provider, "json_values")
    try:
        found = _DECODER.decode(raw.decode("utf-8", "replace"))
    except ValueError:
        raise malformed(provider, "json") from None
    except RecursionError:
        raise malformed(provider, "json_depth") from None
    if _has_many_parts(raw) and _is_deep(found):
        raise malformed(provider, "json_depth")
    return found


_PARTS: Final = frozenset({dict, list})


def _has_many_parts(raw: bytes) -> bool:
    """Tell whether there may be as many arrays and objects as would be too deep in each other."""
    parts = raw.count(b"{")
    return parts > JSON_DEPTH_MAX or parts + raw.count(b"[") > JSON_DEPTH_MAX


def _is_costly(raw: bytes) -> bool:
    """Tell whether the values would take far more memory than the body, before any of them is made.

    Half of the strings count at least, as an escaped quote and one behind a backslash look alike.
    """
    brackets = raw.count(b"[") + raw.count(b"{")
    if raw.count(b'"') - raw.count(b'\\"') > 2 * JSON_STRINGS_MAX:
        return True
    if brackets <= JSON_CONTAINERS_MAX:
        return False
    return brackets - _brackets_in_strings(raw) > JSON_CONTAINERS_MAX


def _brackets_in_strings(raw: bytes) -> int:
    spans = (one.span() for one in _STRING.finditer(raw))
    return sum(raw.count(b"[", *span) + raw.count(b"{", *span) for span in spans)


def _is_deep(value: Any) -> bool:
    """Tell whether arrays and objects stand in each other deeper than they may."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(JSON_DEPTH_MAX):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) in _PARTS
        ]
        if not level:
            return False
    return True


def _integer(digits: str) -> int:
    if len(digits) > JSON_INT_DIGITS_MAX:
        raise ValueError("too many digits")
    return int(digits)


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("not a finite number")
    return value


def _constant(name: str) -> float:
    raise ValueError(name)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found


_DECODER: Final = json.JSONDecoder(
    parse_int=_integer, parse_float=_number, parse_constant=_constant, object_pairs_hook=_unique
)


def parse_form(body: bytes, *, provider: str) -> dict[str, str]:
    """Return the fields of a URL-encoded form; of a name given twice the last value counts.

    Raises:
        SignatureError: ``malformed_header`` for more than 64 MB or 1,000 fields.

    """
    if len(body) > PARSED_BYTES_MAX:
        raise malformed(provider, "body_too_large")
    try:
        return dict(
            parse_qsl(
                body.decode("utf-8", "replace"),
                keep_blank_values=True,
                max_num_fields=FORM_FIELDS_MAX,
            )
        )
    except ValueError:
        raise malformed(provider, "form") from None


def mapping(value: Any) -> dict[str, Any]:
    """Return a JSON object, or an empty one in place of anything else."""
    return value if isinstance(value, dict) else {}


def sequence(value: Any) -> list[Any]:
    """Return a JSON array, or an empty one in place of anything else."""
    return value if isinstance(value, list) else []


def text(value: Any) -> str | None:
    """Return a string or number as text that any store can keep; None for the rest and for ''."""
    if type(value) is str and len(value) <= TEXT_CHARS_MAX and value.isprintable():
        return value or None  # almost every text of almost every event
    if not isinstance(value, str):
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        value = str(value)
    cut = value[:TEXT_CHARS_MAX]
    return _UNFIT.sub("\ufffd", cut) or None


def texts(value: Any) -> tuple[str, ...]:
    """Return the texts of an array; a single text counts as an array of one."""
    if not isinstance(value, list):
        one = text(value)
        return () if one is None else (one,)
    return tuple([one for one in map(text, value[:LABELS_MAX]) if one is not None])


def labels(value: Any) -> dict[str, str]:
    """Return an object as metadata: what is not a string is kept as its JSON."""
    pairs = list(mapping(value).items())[:LABELS_MAX]
    return {text(key) or "": _label(one) for key, one in pairs}


def _label(value: Any) -> str:
    return text(value) or "" if isinstance(value, str) else json.dumps(value)[:TEXT_CHARS_MAX]


def token_in(metadata: Mapping[str, Any]) -> UUID | None:
    """Return our own id that came back with the metadata, or None when it is not one."""
    written = metadata.get(TOKEN_KEY)
    if not written or not isinstance(written, str):
        return None
    try:
        return UUID(written)
    except ValueError:
        return None


def without_token(metadata: Mapping[str, str]) -> Mapping[str, str]:
    """Return the author's metadata alone."""
    return MappingProxyType({key: value for key, value in metadata.items() if key != TOKEN_KEY})


def from_unix(value: Any, *, per_second: int = 1) -> datetime | None:
    """Return the time that a number, or its digits, names; None when it is no such number."""
    if type(value) is int and per_second == 1 and 0 <= value < _UNIX_MAX:
        return _moment(value)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    shown = str(value).removesuffix(".0")
    if _UNIX.fullmatch(shown) is None and not (
        per_second > 1 and shown.isascii() and shown.isdigit()
    ):
        return None
    return _moment(float(shown) / per_second)


@lru_cache(maxsize=_MOMENTS_CACHED_MAX)  # the events of a batch share their seconds
def _moment(seconds: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, tz=UTC)
    except (OverflowError, OSError, ValueError):
        return None


def from_iso(value: Any) -> datetime | None:
    """Return the time of an ISO 8601 text, in UTC where it names no zone; None when it is none."""
    if not isinstance(value, str) or len(value) > len("2026-11-21T03:54:55.823328999+00:00"):
        return None
    try:
        moment = datetime.fromisoformat(value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def url_hash(value: Any) -> str | None:
    """Return the SHA-256 of a clicked address, which itself may hold a secret and is not kept."""
    if not isinstance(value, str) or not value:
        return None
    return hashlib.sha256(value.encode("utf-8", "replace")).hexdigest()


def event_id_from(*parts: Any) -> str:
    """Return an id for an event of a provider that gives none: a digest of what identifies it."""
    shown = json.dumps([str(part) for part in parts])
    return f"sha256:{hashlib.sha256(shown.encode()).hexdigest()}"
