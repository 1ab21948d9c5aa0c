"""Answer: what a page gives back, whichever framework carries it, with the headers all pages share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

PRIVATE_HEADERS: Final = (
    ("Cache-Control", "no-store"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Robots-Tag", "noindex, nofollow"),
    ("X-Content-Type-Options", "nosniff"),
)
"""Keep a token out of caches, search engines and the Referer of the next page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Status, headers and body; ``after`` is to be called once the answer has left, if it is there.

    ``after`` never raises. It is apart so that nobody waits for a write that only counts.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = PRIVATE_HEADERS
    body: bytes = b""
    after: Callable[[], None] | None = None
