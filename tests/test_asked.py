"""What is passed to the front desk by mistake is told with what to pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from front_desk import note
from mailglass import Mailable, Message, SendError
from mailglass.asked import a_mail, an_id, mails
from mailglass.testing import PrivateMailglass


class Reset(Mailable):
    """Lets somebody in."""

    sender = "shop@shop.example"
    subject = "Reset"
    template = "reset.html.jinja"
    code: str = "canary7f3a"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("canary7f3a", "a mail is a Mailable or a Message, not str"),
        (None, "not NoneType"),
        ([note()], "not a list: deliver_many takes several"),
        (Reset, r"Reset is a class: make a mail of it, Reset\(…\)"),
        (Message, "Message is a class"),
        (int, "not int"),
    ],
)
def test_what_is_no_mail_is_told_with_what_to_pass(given: Any, said: str) -> None:
    """By its type, never its value."""
    with pytest.raises(TypeError, match=said) as caught:
        a_mail(given)
    assert "canary7f3a" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (Reset(), "give it a list, not Reset"),
        (note(), "give it a list, not Message"),
        ("canary7f3a", "not str"),
        (None, "not NoneType"),
        ([note(), "canary7f3a"], "a mail is a Mailable or a Message, not str"),
    ],
)
def test_what_is_not_several_mails_is_told(given: Any, said: str) -> None:
    """One mailable can be iterated over, but its fields are no mails."""
    with pytest.raises(TypeError, match=said) as caught:
        mails(given)
    assert "canary7f3a" not in str(caught.value)


def test_several_mails_come_from_any_iterable() -> None:
    """A generator too."""
    assert len(mails(note() for _ in range(2))) == 2


@pytest.mark.parametrize(
    "verb", [lambda mail: mail.deliver, lambda mail: mail.deliver_later, lambda mail: mail.prepare,
             lambda mail: mail.render, lambda mail: mail.deliver_many]
)  # fmt: skip
def test_every_verb_tells_it(
    mailbox: PrivateMailglass, verb: Callable[[Any], Callable[[Any], Any]]
) -> None:
    """A class in place of a mail is the usual slip; nothing is queued."""
    with pytest.raises(TypeError, match="Reset"):
        verb(mailbox)(Reset)
    assert mailbox.store.list_deliveries(tenant_id=None) == ()


def test_a_text_that_is_no_id_names_nothing(mailbox: PrivateMailglass) -> None:
    """As an id that nobody has; a text that is one names its delivery."""
    for unknown in ("nope", str(uuid4())):
        asked: Any = unknown
        assert mailbox.delivery(asked) is None
        assert mailbox.events(asked) == ()
        assert mailbox.deliveries_of(asked) == ()
        assert mailbox.unsubscribe(asked) is False
        with pytest.raises(SendError, match="no such delivery"):
            mailbox.dispatch(asked)
    sent = mailbox.deliver(note())
    as_text: Any = str(sent.id)
    assert mailbox.delivery(as_text) == sent


def test_what_can_be_no_id_is_told() -> None:
    """None, above all."""
    with pytest.raises(TypeError, match="an id is a UUID, not NoneType"):
        an_id(None)
