"""Reporting: a provider's signed webhook about a mail of a test, taken in as any other is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from mailglass.deliveries import Delivery
from mailglass.events import Event, EventType
from mailglass.ledger.webhooks import WebhookStore
from mailglass.tenancy import tenant
from mailglass.testing.facts import FOUND_BY_MESSAGE
from mailglass.testing.webhooks import signed_webhook, webhook_endpoint
from mailglass.webhooks.endpoint import by_path
from mailglass.webhooks.ingest import Ingest

if TYPE_CHECKING:
    from mailglass.testing.private import PrivateMailglass


def report_by(
    mail: PrivateMailglass,
    provider: str,
    about: Delivery | UUID,
    event: EventType,
    **known: Any,
) -> Event | None:
    """Return the event that a webhook of the provider left; None where it was there before.

    Raises:
        ValueError: nothing of the delivery was sent, or the provider does not report this of it.

    """
    found = _delivery(mail, about)
    if provider in FOUND_BY_MESSAGE and found.provider != provider:
        raise ValueError(
            f"{provider} finds a mail by an id of its own: "
            f"let the mailbox go by its name, with the part provider={provider!r}"
        )
    request = signed_webhook(
        provider,
        event,
        recipient=_recipient(mail, found.id),
        delivery_id=found.id,
        message_id=found.provider_message_id,
        now=mail.clock(),
        **known,
    )
    endpoints = by_path([webhook_endpoint(provider, tenant_id=found.tenant_id)])
    before = len(_events(mail, found))
    answer = Ingest(endpoints=endpoints, webhooks=WebhookStore(store=mail.store)).take(
        provider, request
    )
    if not answer.is_taken:
        raise AssertionError(f"the webhook of {provider} was answered with {answer.status}")
    return next((one for one in _events(mail, found)[before:] if one.type is event), None)


def _delivery(mail: PrivateMailglass, about: Delivery | UUID) -> Delivery:
    if not isinstance(about, UUID):
        with tenant(about.tenant_id):
            return _delivery(mail, about.id)  # asked again: it may have been sent since
    found = mail.delivery(about)
    if found is None:
        raise ValueError("this tenant has no such delivery")
    return found


def _recipient(mail: PrivateMailglass, delivery_id: UUID) -> str:
    sent = (one for handed in mail.adapter.sent for one in handed.recipients)
    address = next((one.address.addr_spec for one in sent if one.delivery_id == delivery_id), None)
    if address is None:
        raise ValueError("nothing of this delivery was sent, so no provider reports on it")
    return address


def _events(mail: PrivateMailglass, delivery: Delivery) -> tuple[Event, ...]:
    return mail.store.events_of_delivery(delivery.tenant_id, delivery.id)
