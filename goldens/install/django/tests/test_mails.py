"""Every mail renders, and the welcome mail reaches its customer."""

import pytest

from mailglass import Mailable
from mailglass.testing import PrivateMailglass
from mails import Welcome

MAILS: list[type[Mailable]] = [Welcome]


@pytest.mark.parametrize("kind", MAILS)
def test_every_preview_renders(mailbox: PrivateMailglass, kind: type[Mailable]) -> None:
    """A template with a mistake fails here and not at a customer's."""
    assert kind.previews()
    for mail in kind.previews().values():
        assert mailbox.render(mail).html


def test_a_new_customer_is_welcomed(mailbox: PrivateMailglass) -> None:
    """By name, at the customer's own address."""
    mailbox.deliver(Welcome(address="max@mail.example", name="Max"))
    mailbox.assert_mail_sent(to="max@mail.example", mailable=Welcome, contains="Welcome, Max")
