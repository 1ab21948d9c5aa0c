"""Where the SMTP adapter connects and how, and what a host is called in SMTP."""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

_DOMAIN: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


@unique
class SmtpSecurity(StrEnum):
    """How the connection is encrypted; ``none`` carries credentials to a loopback host only."""

    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where to connect, how, and how long each wait may take; seconds throughout."""

    host: str
    port: int
    security: SmtpSecurity
    context: ssl.SSLContext | None
    local_hostname: str | None
    connect_timeout_s: float
    command_timeout_s: float
    body_timeout_s: float
    final_dot_timeout_s: float


def is_loopback(host: str) -> bool:
    """Tell whether a host name or IP address stays on this machine."""
    try:
        return ipaddress.ip_address(host.split("%", 1)[0]).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def is_hostname(text: str) -> bool:
    """Tell whether EHLO may say it: a domain or an address literal (RFC 5321 §4.1.3)."""
    if not (text.startswith("[") and text.endswith("]")):
        return bool(_DOMAIN.fullmatch(text))
    try:
        ipaddress.ip_address(text[1:-1].removeprefix("IPv6:"))
    except ValueError:
        return False
    return "%" not in text


def own_name(address: str) -> str:
    """Return what to say in EHLO: this machine's domain without asking DNS, else ``address``."""
    name = socket.gethostname()
    if "." in name and _DOMAIN.fullmatch(name):
        return name
    return f"[IPv6:{address.split('%', 1)[0]}]" if ":" in address else f"[{address}]"
