"""The unsubscribe page over a set in memory, its tokens, and a clock that stands still."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

from mailglass.compliance.unsubscribe import UnsubscribeLinks
from mailglass.tokens import Keyring, Purpose, TokenKey
from mailglass.web.page import Theme
from mailglass.web.unsubscribe import UnsubscribePage

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DELIVERY = UUID("019c0000-0000-7000-8000-0000000000aa")
KEYS = Keyring([TokenKey(secret=b"s" * 32)])
LINKS = UnsubscribeLinks(url="https://mail.shop.example/leave", keys=KEYS)
TOKEN = LINKS.url_of(DELIVERY, now=NOW).rpartition("/")[2]
OLD = LINKS.url_of(DELIVERY, now=datetime(2020, 1, 1, tzinfo=UTC)).rpartition("/")[2]
FORGED = Keyring([TokenKey(secret=b"x" * 32)]).sign(Purpose.UNSUBSCRIBE, DELIVERY.bytes, now=NOW)
CLICK = KEYS.sign(Purpose.CLICK, DELIVERY.bytes, now=NOW)
BAD_TOKENS = {
    "old": OLD,
    "forged": FORGED,
    "for a click": CLICK,
    "cut": TOKEN[:-1],
    "longer": TOKEN + "A",
    "nonsense": "x",
    "huge": "A" * 9000,
}


def page(unsubscribe: Callable[[UUID], None], theme: Theme | None = None) -> UnsubscribePage:
    """Return the page with a write of the test's."""
    return UnsubscribePage(
        links=LINKS,
        unsubscribe=unsubscribe,
        theme=theme or Theme(name="Shop & Sons"),
        clock=lambda: NOW,
    )


def away(_delivery_id: UUID) -> None:
    """Fail as a database does that cannot be reached."""
    raise ConnectionError("canary: the database is away")
