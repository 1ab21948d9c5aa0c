"""The one HTTP client: it sends a request once, follows nothing, and knows how much has left.

Whether a failed request may have reached the provider is counted at the socket, not guessed from
an exception: with no byte written the mail is *not sent*, with one written and no status it is
*unknown*. The client is loaded with the first request.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import urlsplit

from mailglass.adapters.smtp_server import is_loopback
from mailglass.errors import (
    ConfigError,
    ConfigErrorType,
    FailureClass,
    MailglassError,
    SendError,
    SendErrorType,
    SignatureError,
)
from mailglass.failures import Signal, class_of
from mailglass.forks import ProcessLock
from mailglass.webhook import HeaderMap, parse_json

if TYPE_CHECKING:
    from mailglass.adapters.http_client import CountingClient

RESPONSE_BYTES_MAX: Final = 1024 * 1024
"""No provider answers a mail with more; the rest is not read and the body counts as unreadable."""
RETRY_AFTER_S_MAX: Final = 3600.0
_EPOCH_S_MIN: Final = 1_000_000_000
"""A reset time above this is a Unix time, one below is a number of seconds to wait."""
_SECONDS: Final = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,6})?")
_RESET_HEADERS: Final = ("x-ratelimit-reset", "ratelimit-reset", "x-sib-ratelimit-reset")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as it will be sent; its repr shows neither headers nor body.

    ``answer_bytes_max`` bounds what is read of the answer.
    """

    method: str = "POST"
    url: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)
    answer_bytes_max: int = RESPONSE_BYTES_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One answer; ``is_complete`` is False when the body broke off or passed the limit."""

    status: int
    headers: HeaderMap = field(default_factory=HeaderMap)
    body: bytes = field(default=b"", repr=False)
    is_complete: bool = True

    def json(self) -> Any:
        """Return the JSON object or array of the body, or None when it holds none."""
        if not self.is_complete or self.body.lstrip()[:1] not in {b"{", b"["}:
            return None
        try:
            return parse_json(self.body, provider="http")
        except SignatureError:
            return None

    def retry_after_s(self, now: datetime) -> float | None:
        """Return how long the provider asks to wait, an hour at most; None when it does not say.

        Reads Retry-After in both forms (RFC 9110 §10.2.3) and the usual rate limit headers.
        """
        asked = self.headers.first("retry-after")
        if asked is not None:
            return _bounded(_seconds(asked) if _SECONDS.fullmatch(asked) else _until(asked, now))
        for name in _RESET_HEADERS:
            reset = self.headers.first(name)
            if reset is not None and _SECONDS.fullmatch(reset):
                wait_s = _seconds(reset)
                is_epoch = wait_s >= _EPOCH_S_MIN
                return _bounded(wait_s - now.timestamp() if is_epoch else wait_s)
        return None


Transport: TypeAlias = Callable[[Request], Response]
"""Sends one request once. It raises SendError or ConfigError when no status came back."""


class HttpTransport:
    """Sends requests over kept connections; safe to share between threads.

    ``connect_timeout_s`` bounds the TCP connection and its TLS handshake, ``read_timeout_s`` each
    wait for bytes, ``total_timeout_s`` the whole exchange with the wait for a free connection.
    No proxy and no credential is taken from the environment. ``ssl_context`` replaces the system's
    trust store.

    Raises:
        SendError: ``adapter_failure`` when no byte of the request was written (another attempt
            cannot double the mail), ``outcome_unknown`` when one was and no status came back.
        ConfigError: ``invalid`` when the certificate does not verify.

    """

    def __init__(  # noqa: PLR0913 - each is a keyword and has its own meaning
        self,
        *,
        connect_timeout_s: float = 10.0,
        read_timeout_s: float = 30.0,
        total_timeout_s: float = 50.0,
        connections_max: int = 10,
        idle_s_max: float = 5.0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        if min(connect_timeout_s, read_timeout_s, total_timeout_s) <= 0 or connections_max < 1:
            raise ConfigError(
                "a timeout or the number of connections is not above 0",
                type=ConfigErrorType.INVALID,
                key="http",
            )
        self.connect_timeout_s = connect_timeout_s
        self.read_timeout_s = read_timeout_s
        self.total_timeout_s = total_timeout_s
        self._connections_max = connections_max
        self._idle_s_max = idle_s_max
        self._ssl_context = ssl_context
        self._lock = ProcessLock()
        self._client: CountingClient | None = None

    def __call__(self, request: Request) -> Response:
        """Send the request once."""
        return self._opened().send(request)

    def close(self) -> None:
        """Close idle connections; the transport may be used again."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _opened(self) -> CountingClient:
        from mailglass.adapters.http_client import CountingClient  # noqa: PLC0415 - the client is heavy

        with self._lock:
            if self._client is None:
                self._client = CountingClient(
                    connect_timeout_s=self.connect_timeout_s,
                    read_timeout_s=self.read_timeout_s,
                    total_timeout_s=self.total_timeout_s,
                    connections_max=self._connections_max,
                    idle_s_max=self._idle_s_max,
                    ssl_context=self._ssl_context,
                )
            return self._client


def failed(signal: Signal) -> MailglassError:
    """Return the error for an exchange that ended without a status."""
    failure = class_of(signal)
    if failure is FailureClass.CONFIGURATION:
        return ConfigError(
            "the provider's certificate does not verify",
            type=ConfigErrorType.INVALID,
            key="certificate",
            hint="Look at the clock, the trust store and the provider's address.",
        )
    is_unknown = failure is FailureClass.UNKNOWN
    return SendError(
        "no answer came back, and the mail may have been accepted"
        if is_unknown
        else "the request did not leave",
        type=SendErrorType.OUTCOME_UNKNOWN if is_unknown else SendErrorType.ADAPTER_FAILURE,
        failure_class=failure,
        code=signal.value,
    )


def checked_base_url(url: str, *, key: str) -> str:
    """Return an address without its final slash.

    Raises:
        ConfigError: ``invalid`` unless it is https, or http on this machine, without user name,
            query or fragment.

    """
    parts = urlsplit(url)
    is_safe = parts.scheme == "https" or (
        parts.scheme == "http" and is_loopback(parts.hostname or "")
    )
    plain = not (parts.query or parts.fragment or "@" in parts.netloc)
    if not (is_safe and plain and parts.hostname and url.isascii() and url.isprintable()):
        raise ConfigError(
            "the provider's address is not a plain https address",
            type=ConfigErrorType.INVALID,
            key=key,
        )
    return url.rstrip("/")


def is_ok(status: int, accepted: Sequence[int] = range(200, 300)) -> bool:
    """Tell whether a status means that the provider took the request."""
    return status in accepted


def _seconds(shown: str) -> float:
    return float(shown)


def _until(shown: str, now: datetime) -> float | None:
    try:
        moment = parsedate_to_datetime(shown)
    except ValueError:
        return None
    known = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return (known - now).total_seconds()


def _bounded(seconds: float | None) -> float | None:
    return None if seconds is None else min(max(seconds, 0.0), RETRY_AFTER_S_MAX)
