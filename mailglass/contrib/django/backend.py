"""The email backend: what Django sends, its own password resets too, goes through the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.mail.backends.base import BaseEmailBackend
from django.db import connections

from mailglass.contrib.django.convert import converted
from mailglass.contrib.django.desk import (
    ALIAS,
    get_mailglass,
    queue,
    queue_after_commit,
    shares_database,
)
from mailglass.errors import MailglassError
from mailglass.message import Message


class EmailBackend(BaseEmailBackend):  # type: ignore[misc]  # Django publishes no types
    """Sends through mailglass.

    Outside a transaction a mail is attempted at once, and what fails is raised unless
    ``fail_silently``. Inside one it is queued on Django's connection and attempted after the commit;
    a rollback leaves nothing. ``later`` leaves the attempt to a worker in both cases.
    """

    def __init__(self, fail_silently: bool = False, *, later: bool = False, **kwargs: Any) -> None:  # noqa: FBT001, FBT002 - Django's own signature
        if "alias" in kwargs:  # Django 6.1 gives a name instead, and warns of the other
            super().__init__(**kwargs)
            self.fail_silently = fail_silently
        else:
            super().__init__(fail_silently=fail_silently, **kwargs)
        self._later = later

    def send_messages(self, email_messages: Sequence[Any]) -> int:
        """Send or queue messages and return how many; those without any recipient are left out.

        Raises:
            BadHeaderError: a line end in the subject, an address or a header, ``fail_silently`` or not,
                as with Django's own backends.
            MailglassError: unless ``fail_silently``; the messages before it have been sent.

        """
        sent = 0
        for one in email_messages:
            if not one.recipients():
                continue
            try:
                self._send(converted(one))
            except (MailglassError, BaseExceptionGroup):
                if not self.fail_silently:
                    raise
            else:
                sent += 1
        return sent

    def _send(self, message: Message) -> None:
        desk = get_mailglass()
        is_inside = connections[ALIAS].in_atomic_block
        if is_inside and shares_database(desk):
            queue(message, at_once=not self._later)
        elif is_inside:
            # The mails are elsewhere: they cannot be in the transaction, but can wait for it.
            queue_after_commit(message)
        elif self._later:
            desk.deliver_later(message)
        else:
            desk.deliver(message)
