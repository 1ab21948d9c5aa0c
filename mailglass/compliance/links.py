"""Base URLs of public pages: HTTPS, a public host, nothing but a path, short enough for a header."""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

from mailglass.address import parse_address
from mailglass.errors import ConfigError, ConfigErrorType, SendError

URL_CHARS_MAX: Final = 900
"""A base URL and a token together: fits the line of a header (RFC 5322 §2.1.1)."""
_PATH: Final = re.compile(r"(?:/[A-Za-z0-9._~-]+)*")
_LOCAL_DOMAINS: Final = ("localhost", "local", "internal", "localdomain")


def base_url(url: str, *, key: str) -> str:
    """Return ``https://host[:port][/path]`` without a slash at its end.

    Raises:
        ConfigError: ``invalid``, with the setting's name in ``key``, for another scheme, a user or
            password, a query or fragment, a path of other than plain segments, and a host that no
            recipient can reach: a single label, ``localhost``, an IP address.

    """
    if not (url.isascii() and url.isprintable()) or " " in url or "\\" in url:
        raise _wrong(key, "is not a URL of printable ASCII")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _wrong(key, "is not a URL") from None
    if parts.scheme != "https":
        raise _wrong(key, "is not an https:// URL")
    if "@" in parts.netloc or "?" in url or "#" in url:
        raise _wrong(key, "has more than a host and a path")
    path = parts.path.rstrip("/")
    if _PATH.fullmatch(path) is None or "/../" in f"{path}/" or "/./" in f"{path}/":
        raise _wrong(key, "has a path of other than plain segments")
    host = _public_host(parts.hostname or "", key)
    return f"https://{host}{f':{port}' if port else ''}{path}"


def host_of(url: str) -> str:
    """Return the host of a URL that ``base_url`` returned."""
    return urlsplit(url).hostname or ""


def _public_host(host: str, key: str) -> str:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        raise _wrong(key, "has an IP address for its host")
    try:
        name = parse_address(f"postmaster@{host}").domain_key
    except SendError:
        raise _wrong(key, "has a host that is no DNS name") from None
    last = name.rpartition(".")[2]
    if "." not in name or last in _LOCAL_DOMAINS or last.isdigit():
        raise _wrong(key, "has a host that recipients cannot reach")
    return name


def _wrong(key: str, what: str) -> ConfigError:
    return ConfigError(
        f"{key} {what}",
        type=ConfigErrorType.INVALID,
        key=key,
        hint="Give something like https://mail.example.com/path.",
    )
