"""Unsubscribe: the links of RFC 2369 and the one-click pair of RFC 8058, and what a token means.

A link holds the delivery's id and nothing else: whoever has the link can leave the stream of that
one mail, and learns neither the address nor the tenant from it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from mailglass.address import parse_address
from mailglass.compliance.links import URL_CHARS_MAX, base_url
from mailglass.errors import (
    ConfigError,
    ConfigErrorType,
    SendError,
    SignatureError,
    SignatureErrorType,
)
from mailglass.message import Message, Stream
from mailglass.tokens import Keyring, Purpose

MAX_AGE: Final = timedelta(days=2 * 365)
"""How long a link works; a recipient may open an old mail."""
PLACEHOLDER: Final = "https://unsubscribe.invalid/link-of-this-mail"
"""Stands in a body for the link of its delivery, which is known when the mail is frozen; templates
have it as ``unsubscribe_url``. The domain can belong to nobody (RFC 2606 §2)."""
ONE_CLICK: Final = "List-Unsubscribe=One-Click"
"""The whole value of List-Unsubscribe-Post, and the whole body of the POST (RFC 8058 §3.1)."""
_TOKEN_CHARS: Final = 55
_UUID_BYTES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsubscribeLinks:
    """Where recipients leave: ``url`` is the page, to which ``/TOKEN`` is added.

    ``mailto`` is a mailbox of yours that takes requests by mail; the token is the subject. ``keys``
    sign and verify.

    Raises:
        ConfigError: ``invalid`` for a URL that is not HTTPS on a public host or is too long, or a
            ``mailto`` that is no address.

    """

    url: str
    keys: Keyring
    mailto: str | None = None
    max_age: timedelta = MAX_AGE

    def __post_init__(self) -> None:
        """Check and normalise the URL."""
        object.__setattr__(self, "url", base_url(self.url, key="unsubscribe_url"))
        if len(self.url) + 1 + _TOKEN_CHARS > URL_CHARS_MAX:
            raise _wrong("an unsubscribe link would pass 900 characters", "unsubscribe_url")
        if self.mailto is not None:
            object.__setattr__(self, "mailto", _mailbox(self.mailto))

    def url_of(self, delivery_id: UUID, *, now: datetime) -> str:
        """Return the link for one delivery, for the header and for the mail's own footer."""
        return f"{self.url}/{self.keys.sign(Purpose.UNSUBSCRIBE, delivery_id.bytes, now=now)}"

    def delivery_of(self, token: str, *, now: datetime) -> UUID:
        """Return the delivery that a token names.

        Raises:
            SignatureError: the token is not ours, was changed, is for something else or too old.

        """
        payload = self.keys.open(Purpose.UNSUBSCRIBE, token, now=now, max_age=self.max_age)
        if len(payload) != _UUID_BYTES:
            raise SignatureError(
                "a token names no delivery", type=SignatureErrorType.MALFORMED_HEADER
            )
        return UUID(bytes=payload)


def may_be_left(message: Message, *, opted_in: bool) -> bool:
    """Tell whether recipients can unsubscribe from a mail.

    Always from bulk, from operational when the mailable says so (``opted_in``), never from
    transactional or from mail that authenticates somebody. A link speaks for one delivery, so a mail
    with several recipients has none: one of them could take out another.
    """
    if message.authenticates or len(message.recipients) != 1:
        return False
    match message.stream:
        case Stream.TRANSACTIONAL:
            return False
        case Stream.OPERATIONAL:
            return opted_in
        case Stream.BULK:
            return True


def unsubscribe_headers(
    delivery_id: UUID, *, links: UnsubscribeLinks, now: datetime, present: Iterable[str] = ()
) -> tuple[tuple[str, str], ...]:
    """Return List-Unsubscribe and List-Unsubscribe-Post, both or neither.

    ``present`` names the headers that the mail has already: one of the two there means that somebody
    wrote them by hand, and nothing is added. Sign the mail afterwards, with DKIM over both (RFC 8058
    §4).
    """
    pair = {"list-unsubscribe", "list-unsubscribe-post"}
    if not pair.isdisjoint(name.lower() for name in present):
        return ()
    url = links.url_of(delivery_id, now=now)
    where = [f"<{url}>"]
    if links.mailto is not None:
        where.append(f"<mailto:{links.mailto}?subject={url.rpartition('/')[2]}>")
    return (("List-Unsubscribe", ", ".join(where)), ("List-Unsubscribe-Post", ONE_CLICK))


def _mailbox(text: str) -> str:
    try:
        address = parse_address(text)
    except SendError:
        raise _wrong("unsubscribe_mailto is no address", "unsubscribe_mailto") from None
    if address.name or not address.addr_spec.replace("@", "").replace(".", "").isalnum():
        raise _wrong("unsubscribe_mailto is not letters, digits and dots", "unsubscribe_mailto")
    return address.addr_spec


def _wrong(message: str, key: str) -> ConfigError:
    return ConfigError(message, type=ConfigErrorType.INVALID, key=key)
