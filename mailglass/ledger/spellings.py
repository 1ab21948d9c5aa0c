"""Spellings: the ways in which an address is written in text, and a pattern that finds all of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

_ASCII: Final = 128
_SIGNS: Final = ("@", "%40", "%2540", "\\u0040", "&#64;", "&#x40;", "&commat;", "=")
"""What stands for the sign; the last is how a return path names a recipient (VERP)."""
_ESCAPES: Final = r"%[0-9a-f]{2}|\\[bfnrt]|\\u[0-9a-f]{4}|\\[0-7]{3}"


def spellings(address_key: str) -> tuple[str, ...]:
    """Return how an address may stand in lower-case text: plain, or escaped for URL, JSON or HTML.

    A domain with letters beyond ASCII is looked for in both of its forms.
    """
    local, _, domain = address_key.rpartition("@")
    domains = dict.fromkeys([domain, *_in_letters(domain)])
    locals_ = dict.fromkeys([local, quote(local, safe=""), quote(local), json.dumps(local)[1:-1]])
    found = [
        f"{one}{sign}{written}"
        for shown in domains
        for one in locals_
        for sign in _SIGNS
        for written in dict.fromkeys([shown, quote(shown), json.dumps(shown)[1:-1]])
    ]
    return tuple(dict.fromkeys(one.lower() for one in found))


def escaped_spellings(address_key: str) -> tuple[str, ...]:
    """Return the spellings also as Postgres shows octets: ``encode(…, 'escape')``."""
    plain = spellings(address_key)
    return tuple(dict.fromkeys([*plain, *(_octets(one) for one in plain)]))


def pattern_of(address_key: str) -> str:
    r"""Return a regular expression, for Python and Postgres alike, for the address in lower-case text.

    ``joanna@…`` and ``mary.anna@…`` are not ``anna@…``; ``invoice-anna@….pdf`` holds it. An escape
    such as ``%3c`` or ``\n`` may end right before it, though it ends in a letter.
    """
    written = "|".join(_either(re.escape(one)) for one in spellings(address_key))
    return rf"(?:^|[^a-z0-9.]|{_ESCAPES})\.*(?:{written})(?![a-z0-9])"


def _either(escaped: str) -> str:
    """Take a backslash for one or more: JSON within JSON doubles them."""
    return escaped.replace("\\\\", r"\\+")


def _in_letters(domain: str) -> Iterable[str]:
    """Return the domain as people write it; an address key has its A-labels (RFC 5890)."""
    if "xn--" not in domain:
        return ()
    labels = (
        one.removeprefix("xn--").encode().decode("punycode") if one.startswith("xn--") else one
        for one in domain.split(".")
    )
    return (".".join(labels),)


def _octets(text: str) -> str:
    shown = (
        "\\\\" if one == ord("\\") else chr(one) if one < _ASCII else f"\\{one:03o}"
        for one in text.encode()
    )
    return "".join(shown)
