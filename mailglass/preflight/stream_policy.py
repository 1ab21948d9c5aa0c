"""The rules of each stream, each a named function; a broken one is a StreamPolicyError."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mailglass.errors import StreamPolicyError
from mailglass.message import Message, Stream
from mailglass.preflight import Check, Context, Phase

LIST_UNSUBSCRIBE: Final = "list-unsubscribe"
LIST_UNSUBSCRIBE_POST: Final = "list-unsubscribe-post"
ONE_CLICK: Final = "List-Unsubscribe=One-Click"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule: its name, what it asks in a sentence, what to do about a breach, and its test.

    Make one with the decorator ``rule``. ``is_kept`` returns False for a message that breaks it.
    """

    name: str
    text: str
    suggestion: str
    is_kept: Callable[[Message, Context], bool]


def rule(suggestion: str) -> Callable[[Callable[[Message, Context], bool]], Rule]:
    """Make a rule of a function: its name, and the first line of its docstring, are the rule's own."""

    def made(is_kept: Callable[[Message, Context], bool]) -> Rule:
        text = (is_kept.__doc__ or "").strip().partition("\n")[0]
        return Rule(name=is_kept.__name__, text=text, suggestion=suggestion, is_kept=is_kept)

    return made


@rule("Define a Mailable for this mail, or send it on another stream.")
def bulk_requires_mailable(message: Message, _context: Context) -> bool:
    """Ask that bulk mail comes from a mailable, so that it can be explained and opted out of."""
    return message.mailable is not None


@rule("Send one message to each recipient.")
def bulk_requires_one_recipient(message: Message, _context: Context) -> bool:
    """Ask that nobody sees who else gets a bulk mail."""
    return len(message.recipients) == 1


@rule("Set MAILGLASS_PHYSICAL_ADDRESS and show the address in the text of the mail.")
def bulk_requires_physical_address(message: Message, context: Context) -> bool:
    """Ask that the sender's postal address stands in the body (CAN-SPAM, 15 U.S.C. 7704(a)(5))."""
    address = context.settings.physical_address
    if address is None:
        return False
    # The body is frozen, so what held at intake holds at dispatch, where it is not read again.
    return context.phase is Phase.DISPATCH or _folded(address) in _folded(
        message.text or message.html or ""
    )


@rule("Set stream = Stream.TRANSACTIONAL on this mailable.")
def auth_mail_is_transactional(message: Message, _context: Context) -> bool:
    """Ask that mail which authenticates somebody cannot be opted out of."""
    return not message.authenticates or message.stream is Stream.TRANSACTIONAL


@rule("Remove the header, or send the mail on the operational or bulk stream.")
def transactional_has_no_unsubscribe(message: Message, _context: Context) -> bool:
    """Ask that mail which cannot be opted out of does not say that it can."""
    return not _unsubscribe_headers(message)


@rule(
    "Give both List-Unsubscribe with an https address and List-Unsubscribe-Post, or neither: "
    "mailglass then sets the pair."
)
def unsubscribe_is_one_click(message: Message, _context: Context) -> bool:
    """Ask that an author's own unsubscribe headers are the pair of RFC 8058 §3.1."""
    found = _unsubscribe_headers(message)
    return not found or _is_one_click(found)


@rule("Set MAILGLASS_UNSUBSCRIBE_URL, so that mailglass sets the pair, or give both headers.")
def bulk_requires_one_click(message: Message, context: Context) -> bool:
    """Ask that whoever gets bulk mail can leave in one click (RFC 8058)."""
    is_ours = context.settings.unsubscribe_url is not None
    return is_ours or _is_one_click(_unsubscribe_headers(message))


RULES: Final[dict[Stream, tuple[Rule, ...]]] = {
    Stream.TRANSACTIONAL: (auth_mail_is_transactional, transactional_has_no_unsubscribe),
    Stream.OPERATIONAL: (auth_mail_is_transactional, unsubscribe_is_one_click),
    Stream.BULK: (
        auth_mail_is_transactional,
        bulk_requires_mailable,
        bulk_requires_one_recipient,
        bulk_requires_physical_address,
        unsubscribe_is_one_click,
        bulk_requires_one_click,
    ),
}
"""What mailglass itself asks, in the order in which it is asked."""


def stream_policy(
    more: Mapping[Stream, Sequence[Rule]], *, rules: Mapping[Stream, Sequence[Rule]] = RULES
) -> Check:
    """Return the check with rules of your own after those of mailglass.

    Give it in place of the last of ``mailglass.preflight.standard.CHECKS``. No rule is taken away by it.
    """
    asked = {one: (*rules.get(one, ()), *more.get(one, ())) for one in Stream}

    def stream_rules_are_kept(message: Message, context: Context) -> None:
        """Refuse a message that breaks a rule of its stream."""
        for one in asked[message.stream]:
            if not one.is_kept(message, context):
                raise StreamPolicyError(
                    f"the message breaks the rule {one.name} of the {message.stream.value} stream",
                    rule=one.name,
                    suggestion=one.suggestion,
                )

    return stream_rules_are_kept


stream_rules_are_kept: Final[Check] = stream_policy({})
"""Refuses a message that breaks a rule of its stream."""


def _unsubscribe_headers(message: Message) -> dict[str, str]:
    names = (LIST_UNSUBSCRIBE, LIST_UNSUBSCRIBE_POST)
    return {name.lower(): value for name, value in message.headers if name.lower() in names}


def _is_one_click(found: Mapping[str, str]) -> bool:
    has_https = "<https://" in found.get(LIST_UNSUBSCRIBE, "").lower()
    return has_https and found.get(LIST_UNSUBSCRIBE_POST, "").strip() == ONE_CLICK


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()
