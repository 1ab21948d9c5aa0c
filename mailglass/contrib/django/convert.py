"""From Django's EmailMessage to a Message; whatever cannot be carried over is refused, never dropped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from django.core.mail import message as djangos

from mailglass.headers import refuse
from mailglass.message import Attachment, Message

_BAD_HEADER: Final[type[ValueError]] = getattr(djangos, "BadHeaderError", ValueError)
"""Django 7 has ValueError alone."""


def converted(mail: Any) -> Message:
    """Return the Message of a Django mail; ``tags`` and ``metadata`` on it are carried over.

    Raises:
        BadHeaderError: a line end in the subject, an address or a header: what a form is asked to
            catch, whatever the backend.
        SendError: ``serialization_failed`` for what mailglass does not send: an alternative other
            than one of HTML, a header that mailglass writes itself, and all that ``Message`` refuses.

    """
    headers = {str(name): str(value) for name, value in mail.extra_headers.items()}
    sender = headers.pop("From", mail.from_email)
    _refuse_line_ends(mail, headers | {"From": str(sender)})
    text, html = _bodies(mail)
    return Message(
        sender=str(sender),
        to=[str(one) for one in mail.to],
        cc=[str(one) for one in mail.cc],
        bcc=[str(one) for one in mail.bcc],
        reply_to=[str(one) for one in mail.reply_to],
        subject=str(mail.subject),
        text=text,
        html=html,
        headers=headers,
        attachments=tuple(_attachments(mail)),
        tags=tuple(getattr(mail, "tags", ())),
        metadata=getattr(mail, "metadata", None),
    )


def _refuse_line_ends(mail: Any, headers: Mapping[str, str]) -> None:
    people = (*mail.to, *mail.cc, *mail.bcc, *mail.reply_to)
    values = {"To": people, "Subject": (mail.subject,)} | {
        name: (value,) for name, value in headers.items()
    }
    for name, given in values.items():
        if any("\n" in str(one) or "\r" in str(one) for one in given):
            raise _BAD_HEADER(f"Header values can't contain newlines (header {name})")


def _bodies(mail: Any) -> tuple[str | None, str | None]:
    body = str(mail.body or "")
    text, html = (None, body) if mail.content_subtype == "html" else (body, None)
    for content, kind in getattr(mail, "alternatives", ()):
        if kind != "text/html" or html is not None:
            raise refuse("a mail has an alternative other than one of HTML", code="alternative")
        html = str(content)
    return text, html


def _attachments(mail: Any) -> Iterator[Attachment]:
    for number, one in enumerate(mail.attachments, start=1):
        if isinstance(one, tuple):
            filename, content, kind = one
            content_id = None
        else:  # a MIME part that the application made
            filename, kind = one.get_filename(), one.get_content_type()
            content = one.get_payload(decode=True)
            content_id = (one["Content-ID"] or "").strip("<>") or None
        if not isinstance(content, str | bytes):
            raise refuse("an attachment is neither text nor bytes", code="attachment_source")
        yield Attachment(
            filename=filename or f"attachment-{number}",
            content=content.encode() if isinstance(content, str) else content,
            content_type=kind or "application/octet-stream",
            content_id=content_id,
        )
