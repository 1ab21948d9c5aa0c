"""Unsubscribing by mail: the mailbox behind ``List-Unsubscribe: <mailto:…>`` (RFC 2369 §3.2).

The token in the subject is all that is looked at: who sent the mail and what it says prove nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from uuid import UUID

from mailglass.clock import Clock, system_clock
from mailglass.compliance.unsubscribe import UnsubscribeLinks
from mailglass.errors import ConfigError, ConfigErrorType, SignatureError, SignatureErrorType
from mailglass.inbound.mailbox import Handler, InboundOutcome, Mailbox, Ruling
from mailglass.inbound.message import InboundMessage

ROUTE: Final = "unsubscribe"
_WORDS_MAX: Final = 20
_TELLING: Final = frozenset({SignatureErrorType.BAD_SIGNATURE, SignatureErrorType.TIMESTAMP_SKEW})
"""What is wrong with a token; of a word that is none there is nothing to tell."""
_NO_TOKEN: Final = Ruling(outcome=InboundOutcome.REJECTED, reason="no_token")


def take_unsubscribes(
    mailbox: Mailbox,
    *,
    links: UnsubscribeLinks | None,
    unsubscribe: Callable[[UUID], object],
    clock: Clock = system_clock,
) -> None:
    """Add the route that takes people off a stream who ask by mail, at the address of ``links``.

    ``links`` are those that wrote the headers, ``mail.finishing.unsubscribe``, and ``unsubscribe``
    is ``mail.unsubscribe``, as the page uses it. Routes before it that take every mail hide it.
    A token that is forged, too old or for something else changes nothing.

    Raises:
        ConfigError: ``missing`` without ``unsubscribe_mailto``, ``conflicting`` when the mailbox has
            a route of this name.

    """
    if links is None or links.mailto is None:
        raise ConfigError(
            "no mail asks for unsubscribes by mail",
            type=ConfigErrorType.MISSING,
            key="unsubscribe_mailto",
            hint="Set unsubscribe_url and unsubscribe_mailto.",
        )
    route = mailbox.route(to=links.mailto, name=ROUTE)
    route(_handler(links, unsubscribe, clock))


def _handler(
    links: UnsubscribeLinks, unsubscribe: Callable[[UUID], object], clock: Clock
) -> Handler:
    def leave(message: InboundMessage) -> Ruling:
        """Try each word: on its way a subject may get a mark such as [EXTERNAL] in front."""
        ruling = _NO_TOKEN
        for word in message.subject.split()[:_WORDS_MAX]:
            try:
                delivery_id = links.delivery_of(word, now=clock())
            except SignatureError as error:
                if error.type in _TELLING:
                    ruling = Ruling(outcome=InboundOutcome.REJECTED, reason=error.type.value)
                continue
            if unsubscribe(delivery_id) is False:
                return Ruling(outcome=InboundOutcome.IGNORED, reason="unknown_delivery")
            return Ruling(reason="unsubscribed")
        return ruling

    return leave
