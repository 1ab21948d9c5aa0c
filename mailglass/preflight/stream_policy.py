"""The rules of each stream, each a named function; a broken one is a StreamPolicyError."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mailglass.errors import StreamPolicyError
from mailglass.message import Message, Stream
from mailglass.preflight import Context, Phase

Rule = Callable[[Message, Context], str | None]
"""Returns what to change, or None when the message keeps the rule."""


def bulk_requires_mailable(message: Message, _context: Context) -> str | None:
    """Ask that bulk mail comes from a mailable, so that it can be explained and opted out of."""
    if message.mailable is None:
        return "Define a Mailable for this mail, or send it on another stream."
    return None


def bulk_requires_one_recipient(message: Message, _context: Context) -> str | None:
    """Ask that nobody sees who else gets a bulk mail."""
    if len(message.recipients) > 1:
        return "Send one message to each recipient."
    return None


def bulk_requires_physical_address(message: Message, context: Context) -> str | None:
    """Ask that the sender's postal address stands in the body (CAN-SPAM, 15 U.S.C. 7704(a)(5))."""
    address = context.settings.physical_address
    if address is None:
        return "Set MAILGLASS_PHYSICAL_ADDRESS and show it in the template."
    # The body is frozen, so what held at intake holds at dispatch, where it is not read again.
    shown = context.phase is Phase.DISPATCH or _folded(address) in _folded(
        message.text or message.html or ""
    )
    return None if shown else "Show the physical address in the text of the mail."


def auth_mail_is_transactional(message: Message, _context: Context) -> str | None:
    """Ask that mail which authenticates somebody cannot be opted out of."""
    if message.authenticates and message.stream is not Stream.TRANSACTIONAL:
        return "Set stream = Stream.TRANSACTIONAL on this mailable."
    return None


RULES: Final[dict[Stream, tuple[Rule, ...]]] = {
    Stream.TRANSACTIONAL: (auth_mail_is_transactional,),
    Stream.OPERATIONAL: (auth_mail_is_transactional,),
    Stream.BULK: (
        auth_mail_is_transactional,
        bulk_requires_mailable,
        bulk_requires_one_recipient,
        bulk_requires_physical_address,
    ),
}


def stream_rules_are_kept(message: Message, context: Context) -> None:
    """Refuse a message that breaks a rule of its stream."""
    for rule in RULES[message.stream]:
        suggestion = rule(message, context)
        if suggestion is not None:
            raise StreamPolicyError(
                f"the message breaks the rule {rule.__name__} of the {message.stream.value} stream",
                rule=rule.__name__,
                suggestion=suggestion,
            )


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()
