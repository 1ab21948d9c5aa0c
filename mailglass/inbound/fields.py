"""Fields that several providers write alike: bodies, scores, headers and addresses in JSON."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from mailglass.webhook import malformed, mapping, sequence


def from_base64(value: Any, *, provider: str) -> bytes:
    """Return what base64 stands for; line breaks in it are the provider's.

    Raises:
        SignatureError: ``malformed_header`` for what is no base64.

    """
    try:
        return base64.b64decode("".join(str(value).split()), validate=True)
    except (binascii.Error, ValueError):
        raise malformed(provider, "base64") from None


def as_written(value: str) -> bytes:
    """Return the bytes of a mail that stood as text in JSON."""
    return value.encode("utf-8", "surrogateescape")


def whole_text(value: Any) -> str | None:
    """Return a body as it is: unlike an identifier it has no bound but the request's own."""
    return value if isinstance(value, str) and value else None


def number_of(value: Any) -> float | None:
    """Return a number, also one that is written as text; None for what is none."""
    try:
        return float(str(value))
    except ValueError:
        return None


def header_pairs(value: Any) -> tuple[tuple[str, str], ...]:
    """Return headers of an object, a list of pairs, or a list of objects with Name and Value."""
    found: list[tuple[str, str]] = []
    rows = mapping(value).items() if isinstance(value, dict) else sequence(value)
    for row in rows:
        name, told = (row.get("Name"), row.get("Value")) if isinstance(row, dict) else row[:2]
        values = told if isinstance(told, list) else [told]
        if isinstance(name, str):
            found += [(name, one) for one in values if isinstance(one, str)]
    return tuple(found)


def bare_address(address: str | None) -> str | None:
    """Return an address or a content id without its angle brackets."""
    return address.strip().removeprefix("<").removesuffix(">") if address else None
