"""trigger_event by a provider's own webhook, through the ledger."""

from __future__ import annotations

from datetime import timedelta

import pytest

from front_desk import note
from mailglass import EventType, Outcome, SuppressedError, tenant
from mailglass.ids import new_id
from mailglass.testing import PrivateMailglass, private_mailglass
from mailglass.testing.facts import FOUND_BY_MESSAGE, WRITERS


@pytest.mark.parametrize("provider", sorted(WRITERS))
def test_a_providers_webhook_lands_on_the_delivery(database_url: str, provider: str) -> None:
    """Verified, stored, found, folded; a repetition counts once."""
    with private_mailglass(database_url, parts={"provider": provider}) as mail:
        delivery = mail.deliver(note())
        event = mail.trigger_event(delivery, EventType.DELIVERED, via=provider, key="k-1")
        assert event is not None
        assert event.type is EventType.DELIVERED
        known = mail.delivery(delivery.id)
        assert known is not None
        assert (known.outcome, known.provider) == (Outcome.DELIVERED, provider)
        with mail.freeze(event.occurred_at):
            again = mail.trigger_event(delivery.id, EventType.DELIVERED, via=provider, key="k-1")
        assert again is None


@pytest.fixture
def mailbox(database_url: str) -> object:
    """Return a Mailglass that goes by the name of the fake."""
    with private_mailglass(database_url) as mail:
        yield mail


def test_a_bounce_suppresses_as_it_would(mailbox: PrivateMailglass) -> None:
    """Of any tenant, long after the mail, at the provider's own time."""
    with tenant("acme"):
        queued = mailbox.deliver_later(note())
        mailbox.send_queued()
    at = mailbox.clock() - timedelta(hours=1)
    event = mailbox.trigger_event(queued, EventType.BOUNCED, via="sendgrid", at=at)
    assert event is not None
    assert event.occurred_at == at.replace(microsecond=0)
    with tenant("acme"), pytest.raises(SuppressedError):
        mailbox.deliver(note())


@pytest.mark.parametrize("provider", sorted(FOUND_BY_MESSAGE))
def test_who_finds_a_mail_by_its_own_id_needs_its_name(
    mailbox: PrivateMailglass, provider: str
) -> None:
    """The failure says how to give it."""
    with pytest.raises(ValueError, match=f"provider='{provider}'"):
        mailbox.trigger_event(mailbox.deliver(note()), EventType.DELIVERED, via=provider)


def test_no_provider_reports_on_what_was_not_sent(mailbox: PrivateMailglass) -> None:
    """Nor on what is not there."""
    with pytest.raises(ValueError, match="nothing of this delivery was sent"):
        mailbox.trigger_event(mailbox.deliver_later(note()), EventType.DELIVERED, via="postmark")
    with pytest.raises(ValueError, match="no such delivery"):
        mailbox.trigger_event(new_id(), EventType.DELIVERED, via="postmark")
