"""Signed webhooks of the testing kit, by each adapter's own verification."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from mailglass import ConfigError, EventType, SignatureError
from mailglass.adapters.providers import API_PROVIDERS, build_offline
from mailglass.ids import new_id
from mailglass.testing import signed_webhook, webhook_adapter, webhook_options
from mailglass.testing.facts import WRITERS

AT: Final = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ID: Final = new_id()
FOUND_BY_MESSAGE: Final = {"mailersend", "postal"}
NEVER_PERMANENT: Final = {"postal"}
NO_SOFT_BOUNCE: Final = {"scaleway"}
REPORTED_BY_ALL: Final = (EventType.DELIVERED, EventType.BOUNCED, EventType.DEFERRED)
OTHERS: Final = {
    EventType.COMPLAINED: {"postal", "scaleway"},
    EventType.OPENED: {"scaleway"},
    EventType.CLICKED: {"scaleway"},
    EventType.UNSUBSCRIBED: {"postal", "resend", "scaleway"},
    EventType.REJECTED: {"postal", "unisender_go"},
}
"""Events that not every provider reports, and those that do not."""
CASES: Final = [
    (provider, event)
    for provider in sorted(WRITERS)
    for event in (*REPORTED_BY_ALL, *OTHERS)
    if provider not in OTHERS.get(event, ())
]


def test_every_provider_with_webhooks_is_in_the_kit() -> None:
    """A new adapter is not forgotten."""
    assert set(WRITERS) == set(API_PROVIDERS)


@pytest.mark.parametrize(("provider", "event"), CASES)
def test_each_provider_verifies_and_gives_the_event(provider: str, event: EventType) -> None:
    """What the kit writes is what the adapter reads."""
    adapter = webhook_adapter(provider)
    request = signed_webhook(
        provider, event, recipient="zoe@mail.example", delivery_id=ID, message_id="m-1", now=AT
    )
    adapter.verify(request)
    (told,) = adapter.events(request)
    assert (told.type, told.recipient, told.occurred_at) == (event, "zoe@mail.example", AT)
    assert told.delivery_token == (None if provider in FOUND_BY_MESSAGE else ID)
    assert "m-1" in told.provider_message_ids
    if event is EventType.BOUNCED:
        assert told.is_permanent is (provider not in NEVER_PERMANENT)
    if event is EventType.CLICKED:
        assert told.click_url == "https://shop.example/clicked"


@pytest.mark.parametrize("provider", sorted(set(WRITERS) - NO_SOFT_BOUNCE))
def test_a_soft_bounce_is_not_permanent(provider: str) -> None:
    """It suppresses nobody by itself."""
    request = signed_webhook(
        provider, EventType.BOUNCED, recipient="zoe@mail.example", is_permanent=False, now=AT
    )
    adapter = webhook_adapter(provider)
    adapter.verify(request)
    (told,) = adapter.events(request)
    assert (told.type, told.is_permanent) == (EventType.BOUNCED, False)


@pytest.mark.parametrize("provider", sorted(NO_SOFT_BOUNCE))
def test_what_a_provider_does_not_report_is_refused(provider: str) -> None:
    """A test must not prove what never happens."""
    with pytest.raises(ValueError, match="reports no such bounced"):
        signed_webhook(provider, EventType.BOUNCED, recipient="a@b.example", is_permanent=False)
    with pytest.raises(ConfigError, match="no webhooks"):
        signed_webhook("smtp", EventType.BOUNCED, recipient="a@b.example")


@pytest.mark.parametrize("provider", sorted(WRITERS))
def test_a_changed_request_does_not_verify(provider: str) -> None:
    """The kit proves that the application checks, too."""
    request = signed_webhook(provider, EventType.DELIVERED, recipient="zoe@mail.example", now=AT)
    forged = replace(request, headers=type(request.headers)(), body=b'{"Type": "Notification"}')
    with pytest.raises(SignatureError):
        webhook_adapter(provider).verify(forged)


@pytest.mark.parametrize("provider", ["postmark", "mailgun", "resend", "mandrill"])
def test_a_secret_of_the_application_signs(provider: str) -> None:
    """So that the application's own configuration is what is tested."""
    secret = "whsec_c2VjcmV0IG9mIHRoZSBhcHA="
    option = next(iter(webhook_options(provider)))
    adapter = build_offline(provider, {option: secret})
    request = signed_webhook(
        provider, EventType.DELIVERED, recipient="zoe@mail.example", secret=secret, now=AT
    )
    adapter.verify(request)  # type: ignore[attr-defined]  # each of these receives webhooks
    with pytest.raises(SignatureError):
        webhook_adapter(provider).verify(request)


def test_the_providers_time_is_told() -> None:
    """Also long before the request."""
    earlier = AT - timedelta(days=3)
    request = signed_webhook(
        "sendgrid", EventType.OPENED, recipient="zoe@mail.example", at=earlier, now=AT
    )
    (told,) = webhook_adapter("sendgrid").events(request)
    assert told.occurred_at == earlier
