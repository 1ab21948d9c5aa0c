"""Downloads: what a received mail leaves at its provider is fetched from there, and from nowhere else.

The address comes from the adapter's own settings, or from an answer of the provider's API and then
only on domains that are set; no redirect is followed, and what is read has a bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import urlsplit

from mailglass.adapters.http import Request, Response, Transport, is_ok
from mailglass.errors import (
    ConfigError,
    ConfigErrorType,
    FailureClass,
    SendError,
    SendErrorType,
)
from mailglass.webhook import malformed

DOWNLOAD_BYTES_MAX: Final = 40 * 1024 * 1024
"""The largest mail that any provider takes in, with its attachments."""
_URL_CHARS_MAX: Final = 4_000
_REFUSED: Final = frozenset({401, 403})
_LATER: Final = frozenset({408, 425, 429})
_SERVER_ERRORS: Final = 500


def of_api(base_url: str, path: str, headers: Iterable[tuple[str, str]]) -> Request:
    """Return the GET of a path of the API, with the credentials in ``headers``."""
    return Request(
        method="GET",
        url=f"{base_url}{path}",
        headers=tuple(headers),
        answer_bytes_max=DOWNLOAD_BYTES_MAX,
    )


def of_domains(domains: Sequence[str], url: str, *, provider: str) -> Request:
    """Return the GET of an address that the API named, without credentials.

    Raises:
        SignatureError: ``malformed_header`` unless it is https on one of the domains or below it,
            without user name and on the usual port.

    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise malformed(provider, "download address") from None
    host = (parts.hostname or "").lower()
    is_known = any(host == one or host.endswith(f".{one}") for one in domains)
    is_plain = parts.scheme == "https" and port is None and "@" not in parts.netloc
    if not (is_known and is_plain and url.isascii() and len(url) <= _URL_CHARS_MAX):
        raise malformed(provider, "download address")
    return Request(method="GET", url=url, answer_bytes_max=DOWNLOAD_BYTES_MAX)


def downloaded(transport: Transport, request: Request, *, provider: str) -> bytes:
    """Return the body of a successful answer; it raises what ``download`` does."""
    return download(transport, request, provider=provider).body


def download(transport: Transport, request: Request, *, provider: str) -> Response:
    """Return a successful answer that came whole.

    Raises:
        SendError: ``adapter_failure``: retryable where the provider may answer later, permanent
            where it has nothing there, sends elsewhere or sends more than 40 MiB.
        ConfigError: ``invalid`` when it refuses the credentials.

    """
    try:
        answer = transport(request)
    except SendError as error:
        raise lost(provider, error.code or "connection", FailureClass.NOT_SENT) from error
    code = f"http {answer.status}"
    if is_ok(answer.status):
        if answer.is_complete:
            return answer
        is_long = len(answer.body) >= request.answer_bytes_max
        failure = FailureClass.PERMANENT if is_long else FailureClass.NOT_SENT
        raise lost(provider, "download_too_large" if is_long else "download_cut", failure)
    if answer.status in _REFUSED:
        raise ConfigError(
            f"{provider} refuses to hand over a received mail ({code})",
            type=ConfigErrorType.INVALID,
            key=provider,
            hint="Look at the API key: it must be allowed to read received mail.",
        )
    is_later = answer.status in _LATER or answer.status >= _SERVER_ERRORS
    raise lost(provider, code, FailureClass.NOT_SENT if is_later else FailureClass.PERMANENT)


def lost(provider: str, code: str, failure: FailureClass) -> SendError:
    """Return the error for a received mail that its provider does not hand over."""
    return SendError(
        f"a received mail could not be fetched from {provider} ({code})",
        type=SendErrorType.ADAPTER_FAILURE,
        provider=provider,
        failure_class=failure,
        code=code,
    )
