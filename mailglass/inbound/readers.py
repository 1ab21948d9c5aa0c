"""Readers: whose mail can be read, and how a verified request becomes mails."""

from __future__ import annotations

from typing import Final, Protocol, cast

from mailglass.inbound.batch import Unread
from mailglass.inbound.fetched import FETCHED
from mailglass.inbound.message import InboundMessage
from mailglass.inbound.providers import WHOLE
from mailglass.webhook import WebhookRequest

READERS: Final = frozenset({*WHOLE, *FETCHED})
"""The names of the providers whose mail can be read."""


class Named(Protocol):
    """An adapter, of which its name alone is asked here."""

    @property
    def name(self) -> str:
        """Return the provider's name."""


class Fetcher(Named, Protocol):
    """An adapter that can fetch what its provider keeps of a received mail."""

    def fetch(self, address: str) -> bytes:
        """Return what lies at a path of the API, or at an address that the API named."""


def read_each(adapter: Named, request: WebhookRequest) -> tuple[InboundMessage | Unread, ...]:
    """Return the mails that a verified request hands over, fetched where they lie at the provider.

    In the place of a mail that cannot be read stands why not, if another of its request can be.

    Raises:
        SignatureError: ``malformed_header`` for what is no received mail.
        SendError: something could not be fetched: now where it is retryable, else for good.
        ConfigError: ``invalid`` for credentials that the provider refuses.

    """
    reader = FETCHED.get(adapter.name)
    if reader is None:
        return WHOLE[adapter.name](request)
    return reader(request, cast("Fetcher", adapter).fetch)


def read_mails(adapter: Named, request: WebhookRequest) -> tuple[InboundMessage, ...]:
    """Return the mails of a verified request where every one of them can be read.

    Raises:
        MailglassError: as ``read_each`` does, and what is wrong with one mail.

    """
    found = read_each(adapter, request)
    for one in found:
        if isinstance(one, Unread):
            raise one.error
    return tuple(one for one in found if not isinstance(one, Unread))
