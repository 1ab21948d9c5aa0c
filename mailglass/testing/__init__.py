"""The testing kit: a Mailglass that sends nothing, on a database of the test's own.

With pytest the fixture ``mailbox`` is there as soon as mailglass is installed::

    def test_a_receipt_is_sent(mailbox):
        shop = Shop(mail=mailbox)
        shop.pay(order=1042)
        mailbox.assert_mail_sent(to="zoe@mail.example", mailable=Receipt, contains="11.50")

``PrivateMailglass`` says what the fixture can do; ``signed_webhook`` writes what a provider would send.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mailglass.adapters.fake import FakeMode, SentMail
    from mailglass.testing.clock import TestClock
    from mailglass.testing.matching import Criteria
    from mailglass.testing.private import PrivateMailglass, private_mailglass
    from mailglass.testing.webhooks import (
        signed_webhook,
        webhook_adapter,
        webhook_endpoint,
        webhook_options,
    )

_HOME: Final = {
    "Criteria": "testing.matching",
    "FakeMode": "adapters.fake",
    "PrivateMailglass": "testing.private",
    "SentMail": "adapters.fake",
    "TestClock": "testing.clock",
    "private_mailglass": "testing.private",
    "signed_webhook": "testing.webhooks",
    "webhook_adapter": "testing.webhooks",
    "webhook_endpoint": "testing.webhooks",
    "webhook_options": "testing.webhooks",
}
"""Where each name lives; it is imported at its first use, since every run of pytest loads the plugin."""

__all__ = [
    "Criteria",
    "FakeMode",
    "PrivateMailglass",
    "SentMail",
    "TestClock",
    "private_mailglass",
    "signed_webhook",
    "webhook_adapter",
    "webhook_endpoint",
    "webhook_options",
]


def __getattr__(name: str) -> object:
    """Import a name from its home at its first use."""
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"mailglass.{home}"), name)
    globals()[name] = value
    return value
