"""Tracking: signed tokens for opens and clicks, and what one of them having been used tells.

Off unless a mailable asks for it. The target of a link is inside its token, so no parameter can send
a reader elsewhere; what is kept of it is a hash.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum, unique
from typing import Final
from urllib.parse import quote
from uuid import UUID

from mailglass.compliance.links import base_url, host_of
from mailglass.errors import (
    ConfigError,
    ConfigErrorType,
    SignatureError,
    SignatureErrorType,
)
from mailglass.events import EventType
from mailglass.tokens import Keyring, Purpose

MAX_AGE: Final = timedelta(days=2 * 365)
TARGET_CHARS_MAX: Final = 2_000
"""A longer link is left as it is."""
_TARGET: Final = re.compile(
    r"https?://(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})\.)*[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})\.?(?::[0-9]{1,5})?"
    r"(?:[/?#][!#-;=?-\[\]_a-z~%]*)?",
    re.IGNORECASE,
)
"""Scheme, a DNS name or an IPv4 address, a port, then URI characters (RFC 3986); never a user or \\."""
_URI_CHARS: Final = "!#$%&'()*+,/:;=?@[]~-._"
_UUID_BYTES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingLinks:
    """Where opens and clicks are counted: ``url`` plus ``/o/TOKEN.gif`` and ``/c/TOKEN``.

    ``apart_from`` names the base URLs of your other pages: the tracking host has to differ from
    theirs, so that a filter that blocks it blocks nothing else, and no cookie of theirs goes there.
    Links that begin with one of ``never`` are left alone; the unsubscribe page's URL belongs there.

    Raises:
        ConfigError: ``invalid`` for a URL that is not HTTPS on a public host, ``conflicting`` for a
            host that is another page's too.

    """

    url: str
    keys: Keyring
    max_age: timedelta = MAX_AGE
    apart_from: tuple[str, ...] = ()
    never: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check and normalise the URL."""
        object.__setattr__(self, "url", base_url(self.url, key="tracking_url"))
        if host_of(self.url) in {host_of(other) for other in self.apart_from}:
            raise ConfigError(
                "the tracking host is the host of another page",
                type=ConfigErrorType.CONFLICTING,
                key="tracking_url",
                hint="Give tracking a host of its own.",
            )

    def pixel_url(self, delivery_id: UUID, *, now: datetime) -> str:
        """Return the address of the image that tells of an open."""
        return f"{self.url}/o/{self.keys.sign(Purpose.OPEN, delivery_id.bytes, now=now)}.gif"

    def click_url(self, delivery_id: UUID, target: str, *, now: datetime) -> str | None:
        """Return the link that leads to ``target`` by way of us, or None when it cannot.

        Only ``http`` and ``https`` with a host are taken, and nothing that browsers read otherwise
        than servers do: no user name, backslash, control character or host beyond ASCII.
        """
        uri = _as_uri(target)
        if uri is None:
            return None
        token = self.keys.sign(Purpose.CLICK, delivery_id.bytes + uri.encode(), now=now)
        return f"{self.url}/c/{token}"

    def opened_of(self, token: str, *, now: datetime) -> UUID:
        """Return the delivery whose pixel was loaded.

        Raises:
            SignatureError: the token is not ours, was changed, is for something else or too old.

        """
        payload = self.keys.open(Purpose.OPEN, token, now=now, max_age=self.max_age)
        if len(payload) != _UUID_BYTES:
            raise _nothing_inside()
        return UUID(bytes=payload)

    def clicked_of(self, token: str, *, now: datetime) -> tuple[UUID, str]:
        """Return the delivery whose link was followed, and the target, checked once more.

        Raises:
            SignatureError: as ``opened_of``, and for a target that would be refused today.

        """
        payload = self.keys.open(Purpose.CLICK, token, now=now, max_age=self.max_age)
        try:
            target = payload[_UUID_BYTES:].decode("ascii")
        except UnicodeDecodeError:
            raise _nothing_inside() from None
        if not is_target(target):
            raise _nothing_inside()
        return UUID(bytes=payload[:_UUID_BYTES]), target


def is_target(url: str) -> bool:
    """Tell whether a click may lead to ``url`` as it stands."""
    return len(url) <= TARGET_CHARS_MAX and _TARGET.fullmatch(url) is not None


def target_sha256(target: str) -> str:
    """Return the hash under which a link is counted, in hexadecimal."""
    return hashlib.sha256(target.encode()).hexdigest()


@unique
class Machine(StrEnum):
    """Why a program, and not a person, has probably opened or clicked."""

    PREFETCH = "prefetch"
    PRIVACY_PROXY = "privacy_proxy"
    SCANNER = "scanner"
    NO_AGENT = "no_agent"


_PREFETCH_HEADERS: Final = ("purpose", "sec-purpose", "x-moz", "x-purpose")
_PREFETCH: Final = re.compile(r"prefetch|preview|prerender", re.IGNORECASE)
_SCANNER: Final = re.compile(
    r"(?<!cu)bot(?:\b|[/;_-])|crawl|spider|scan|barracuda|proofpoint|mimecast|symantec|safelinks|trendmicro|fortinet"
    r"|sophos|forcepoint|urldefense|facebookexternalhit|whatsapp|slack|discord|telegram|linkexpand"
    r"|headless|phantomjs|curl/|wget/|python-|aiohttp|httpx|okhttp|go-http-client|java/|libwww|axios|node-fetch",
    re.IGNORECASE,
)
_PRIVACY_PROXY_AGENT: Final = "Mozilla/5.0"
"""All that Apple's Mail Privacy Protection says of itself; it loads every image of every mail."""
_AGENT_CHARS_MAX: Final = 512


def machine_of(headers: Mapping[str, str]) -> Machine | None:
    """Return why a request looks like a program's, or None for what may be a person.

    ``headers`` has lower-case names. Gmail's image proxy fetches when a person opens and counts as
    one. The verdict alone is worth keeping; the agent and the address are nobody's business.
    """
    if any(_PREFETCH.search(headers.get(name, "")) for name in _PREFETCH_HEADERS):
        return Machine.PREFETCH
    agent = headers.get("user-agent", "")[:_AGENT_CHARS_MAX].strip()
    if not agent:
        return Machine.NO_AGENT
    if agent == _PRIVACY_PROXY_AGENT:
        return Machine.PRIVACY_PROXY
    return Machine.SCANNER if _SCANNER.search(agent) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One open or click, as it may be written down: no address, no agent, no URL.

    ``type`` is ``opened`` or ``clicked``; ``target_sha256`` is set for a click alone.
    """

    delivery_id: UUID
    type: EventType
    occurred_at: datetime
    machine: Machine | None
    target_sha256: str | None = None


def _as_uri(target: str) -> str | None:
    """Return the target with its path and query in ASCII (RFC 3987 §3.1), if it may be one.

    A host beyond ASCII becomes percent signs, which no host may hold.
    """
    if len(target) > TARGET_CHARS_MAX:
        return None
    try:
        uri = target if target.isascii() else quote(target, safe=_URI_CHARS)
    except UnicodeEncodeError:
        return None
    return uri if is_target(uri) else None


def _nothing_inside() -> SignatureError:
    return SignatureError("a token holds nothing of use", type=SignatureErrorType.MALFORMED_HEADER)
