"""Matching: what a test expects of a mail, and how it reads when no mail is like it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from mailglass.adapters.fake import SentMail
from mailglass.address import Address, parse_address
from mailglass.mailable import Mailable
from mailglass.message import AddressLike, Stream

Text = str | re.Pattern[str]
"""A text that has to be equal (or, in a body, to occur), or a pattern that has to be found."""
_SHOWN_MAX = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Criteria:
    """What a mail has to be like; what is None is not looked at.

    ``to``, ``cc`` and ``bcc`` name addresses that have to be among the mail's own, whatever their
    capitals. ``mailable`` is a class or its ``module.Class``. ``contains`` are texts that have each to
    occur in the text or the HTML part; ``attachment`` is a file name, ``tag`` one of the tags.
    """

    to: AddressLike | Iterable[AddressLike] | None = None
    cc: AddressLike | Iterable[AddressLike] | None = None
    bcc: AddressLike | Iterable[AddressLike] | None = None
    sender: AddressLike | None = None
    subject: Text | None = None
    mailable: type[Mailable] | str | None = None
    contains: Text | Sequence[Text] | None = None
    stream: Stream | None = None
    tag: str | None = None
    attachment: str | None = None
    tenant: str | None = None

    def misfits(self, mail: SentMail) -> tuple[str, ...]:
        """Return the names of the criteria that a mail does not meet."""
        return tuple(
            one.name
            for one in fields(self)
            if getattr(self, one.name) is not None and not self._meets(one.name, mail)
        )

    def _meets(self, name: str, mail: SentMail) -> bool:
        message, wanted = mail.message, getattr(self, name)
        match name:
            case "to" | "cc" | "bcc":
                return _keys(wanted) <= {one.key for one in getattr(message, name)}
            case "sender":
                return _keys(wanted) == {message.sender.key}
            case "subject":
                return _is_or_is_found(wanted, message.subject)
            case "mailable":
                return message.mailable == _name_of(wanted)
            case "contains":
                bodies = [one for one in (message.text, message.html) if one is not None]
                return all(any(_occurs(one, body) for body in bodies) for one in _many(wanted))
            case "stream":
                return message.stream is Stream(wanted)
            case "tag":
                return wanted in message.tags
            case "attachment":
                return any(one.filename == wanted for one in message.attachments)
            case "tenant":
                return bool(mail.envelope.tenant_id == wanted)
            case _:
                raise AssertionError(f"{name} is matched by nothing")

    def __str__(self) -> str:
        """Return the criteria that are set, as they were written."""
        given = [(one.name, getattr(self, one.name)) for one in fields(self)]
        shown = [f"{name}={_shown(value)}" for name, value in given if value is not None]
        return ", ".join(shown) or "anything"


def describe(mails: Sequence[SentMail], wanted: Criteria | None = None) -> str:
    """Return one line a mail, the newest first; with criteria each says which it does not meet."""
    if not mails:
        return "no mail was sent"
    lines = [_line(mail, wanted) for mail in reversed(mails[-_SHOWN_MAX:])]
    if len(mails) > _SHOWN_MAX:
        lines.append(f"  … and {len(mails) - _SHOWN_MAX} before")
    return "\n".join([f"sent, the newest first ({len(mails)}):", *lines])


def _line(mail: SentMail, wanted: Criteria | None) -> str:
    message = mail.message
    to = ", ".join(one.addr_spec for one in message.to)
    parts = [f"  - {message.subject!r} to {to}", message.mailable or "a plain Message"]
    if wanted is not None and (missed := wanted.misfits(mail)):
        parts.append(f"differs in {', '.join(missed)}")
        if "contains" in missed:
            parts.append(f"text {(message.text or message.html or '').strip()[:120]!r}")
    return "; ".join(parts)


def _keys(value: AddressLike | Iterable[AddressLike]) -> set[str]:
    many = (value,) if isinstance(value, str | Address) else value
    return {(one if isinstance(one, Address) else parse_address(one)).key for one in many}


def _many(value: Text | Sequence[Text]) -> Sequence[Text]:
    return (value,) if isinstance(value, str | re.Pattern) else value


def _occurs(wanted: Text, body: str) -> bool:
    return wanted in body if isinstance(wanted, str) else wanted.search(body) is not None


def _is_or_is_found(wanted: Text, value: str) -> bool:
    return wanted == value if isinstance(wanted, str) else wanted.search(value) is not None


def _name_of(mailable: type[Mailable] | str) -> str:
    return mailable if isinstance(mailable, str) else mailable.qualified_name()


def _shown(value: object) -> str:
    if isinstance(value, type):
        return value.__name__
    return repr(value.pattern) if isinstance(value, re.Pattern) else repr(value)
