"""SMTP replies: a bounded parser, and the two things kept of a reply, its code and its queue id."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

LINE_OCTETS_MAX: Final = 512
"""One reply line with its CRLF (RFC 5321 §4.5.3.1.5)."""
LINES_MAX: Final = 100
"""Lines of one reply; a real EHLO has about fifteen."""

_LINE: Final = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)
_ENHANCED: Final = re.compile(rb"([245])\.([0-9]{1,3})\.([0-9]{1,3})(?: |$)")
_QUEUE_IDS: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rb"\bqueued as ([0-9a-z][0-9a-z._+/=-]{2,99})",
        rb"\bid=([0-9a-z][0-9a-z._+/=-]{2,99})",
        rb"\bInternalId=([0-9]{3,40})",
        rb"([0-9a-z]{8,40}) Message accepted for delivery",
        rb"\bOk ([0-9a-f]{16}-[0-9a-f]{8}-[0-9a-f-]{27}-[0-9]{6})",
        rb"\bOK +[0-9]{6,15} ([0-9a-z][0-9a-z._-]{5,99}) - gsmtp",
    )
)
"""Where Postfix, Exim, Exchange, Sendmail, Amazon SES and Gmail put the id; no ``@`` can match."""


class BadReplyError(Exception):
    """Is raised for bytes that are no SMTP reply or pass a bound; it holds none of them."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One complete reply; the server's text stays in here, since it may hold addresses."""

    code: int
    texts: tuple[bytes, ...] = field(repr=False)

    @property
    def enhanced(self) -> str | None:
        """Return the enhanced code (RFC 2034) when it agrees with the basic one, else None."""
        found = _ENHANCED.match(self.texts[-1])
        if found is None or int(found[1]) != self.code // 100:
            return None
        return ".".join(part.decode("ascii") for part in found.groups())

    @property
    def label(self) -> str:
        """Return basic and enhanced code, such as ``550 5.1.1``, and never the text."""
        return f"{self.code} {self.enhanced}" if self.enhanced else str(self.code)

    @property
    def queue_id(self) -> str | None:
        """Return the id under which the server queued the mail, where its text names one."""
        for pattern in _QUEUE_IDS:
            if found := pattern.search(self.texts[-1]):
                return found[1].decode("ascii")
        return None


class ReplyParser:
    """Turns received bytes into replies and holds at most one line and one reply meanwhile.

    ``feed`` takes what one ``recv`` gave, so its size bounds the rest of the memory.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._buffer = bytearray()
        self._code: int | None = None
        self._texts: list[bytes] = []

    @property
    def is_empty(self) -> bool:
        """Tell that nothing is waiting: no whole reply, no part of one."""
        return not self._buffer and self._code is None

    def feed(self, received: bytes) -> None:
        """Add what arrived."""
        self._buffer += received

    def next_reply(self) -> Reply | None:
        """Return the next complete reply, or None until more bytes are fed.

        Raises:
            BadReplyError: a line is no reply line, is longer than 512 octets, has another code
                than the line before it, or is the 101st of its reply.

        """
        while (end := self._buffer.find(b"\n", 0, LINE_OCTETS_MAX)) >= 0:
            line = bytes(self._buffer[:end]).removesuffix(b"\r")
            del self._buffer[: end + 1]
            if (reply := self._add(line)) is not None:
                return reply
        if len(self._buffer) >= LINE_OCTETS_MAX:
            raise BadReplyError("a reply line is longer than 512 octets")
        return None

    def _add(self, line: bytes) -> Reply | None:
        found = _LINE.fullmatch(line)
        if found is None:
            raise BadReplyError("a line is not a reply line")
        code = int(found[1])
        if self._code not in {None, code}:
            raise BadReplyError("the lines of one reply have different codes")
        if len(self._texts) >= LINES_MAX:
            raise BadReplyError("a reply has more than 100 lines")
        self._code = code
        self._texts.append(found[3] or b"")
        if found[2] == b"-":
            return None
        reply = Reply(code, tuple(self._texts))
        self._code, self._texts = None, []
        return reply
