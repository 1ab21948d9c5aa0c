"""Batches: requests that hold many mails, of which one that cannot be read must lose no other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from mailglass.errors import ConfigError, MailglassError, SendError
from mailglass.inbound.message import InboundMessage

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """Stands in the place of a mail that cannot be read; ``error`` says why."""

    error: Exception = field(repr=False)

    @property
    def reason(self) -> str:
        """Return the error's type in lower case, or the name of an exception that has none."""
        return reason_of(self.error)


def reason_of(error: Exception) -> str:
    """Return in a word why something cannot be read."""
    kind = error.type.value if isinstance(error, MailglassError) else type(error).__name__
    return kind.lower()


def may_pass(error: Exception) -> bool:
    """Tell whether the same request may be read later."""
    return isinstance(error, ConfigError) or (isinstance(error, SendError) and error.retryable)


def each(
    items: Iterable[_Item], read: Callable[[_Item], InboundMessage]
) -> tuple[InboundMessage | Unread, ...]:
    """Read the mails of a batch one by one, each in its place.

    Raises:
        Exception: what may pass, as the whole batch is then read again; and, where no mail at all
            can be read, what is wrong with the first.

    """
    found = tuple(_one(item, read) for item in items)
    first = next(iter(found), None)
    if isinstance(first, Unread) and all(isinstance(one, Unread) for one in found):
        raise first.error
    return found


def _one(item: _Item, read: Callable[[_Item], InboundMessage]) -> InboundMessage | Unread:
    try:
        return read(item)
    except Exception as error:
        if may_pass(error):
            raise
        return Unread(error=error)
