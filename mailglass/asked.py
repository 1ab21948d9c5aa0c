"""What callers pass to the front desk: told apart from what is easily passed instead."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from mailglass.mailable import Mailable
from mailglass.message import Message

_WANTED = "a Mailable or a Message"


def a_mail(given: object) -> Mailable | Message:
    """Return what is one mail.

    Raises:
        TypeError: with what to pass instead; it names the type alone.

    """
    if isinstance(given, Mailable | Message):
        return given
    if isinstance(given, type) and issubclass(given, Mailable | Message):
        raise TypeError(f"{given.__name__} is a class: make a mail of it, {given.__name__}(…)")
    if isinstance(given, Iterable) and not isinstance(given, str | bytes):
        raise TypeError(f"one mail is {_WANTED}, not a {_name(given)}: deliver_many takes several")
    raise TypeError(f"a mail is {_WANTED}, not {_name(given)}")


def mails(given: object) -> list[Mailable | Message]:
    """Return several mails as a list.

    Raises:
        TypeError: for one mail alone, and for what holds anything else.

    """
    if isinstance(given, Mailable | Message | str | bytes) or not isinstance(given, Iterable):
        raise TypeError(
            f"deliver_many takes several mails, each {_WANTED}: give it a list, not {_name(given)}"
        )
    return [a_mail(one) for one in given]


def an_id(given: object) -> UUID | None:
    """Return an id, or None for a text that is none, as one that stood in an address may be.

    Raises:
        TypeError: for what is neither a UUID nor a text.

    """
    if isinstance(given, UUID):
        return given
    if not isinstance(given, str):
        raise TypeError(f"an id is a UUID, not {_name(given)}")
    try:
        return UUID(given)
    except ValueError:
        return None


def _name(given: object) -> str:
    kind = given if isinstance(given, type) else type(given)
    return kind.__name__
