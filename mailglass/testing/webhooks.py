"""Signed webhooks: what each provider would send about a delivery, and the adapter that believes it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, cast
from uuid import UUID

from mailglass.adapters.http import Request, Response
from mailglass.adapters.providers import build_offline
from mailglass.clock import system_clock
from mailglass.errors import ConfigError, ConfigErrorType
from mailglass.events import EventType
from mailglass.ids import new_id
from mailglass.testing import signing
from mailglass.testing.facts import WRITERS, Fact
from mailglass.testing.signing import SIGNERS, Unsigned
from mailglass.webhook import HeaderMap, WebhookRequest
from mailglass.webhooks.endpoint import Endpoint, Receiving

URL: Final = "https://shop.example/webhooks"
CLICKED_URL: Final = "https://shop.example/clicked"


def signed_webhook(  # noqa: PLR0913 - what a provider can say of an event, each with a default
    provider: str,
    event: EventType,
    *,
    recipient: str,
    delivery_id: UUID | None = None,
    message_id: str | None = None,
    event_id: str | None = None,
    at: datetime | None = None,
    is_permanent: bool = True,
    clicked_url: str = CLICKED_URL,
    url: str | None = None,
    secret: str | None = None,
    now: datetime | None = None,
) -> WebhookRequest:
    """Return the request by which a provider reports an event, signed so that it verifies.

    ``webhook_adapter(provider)`` verifies it; ``secret`` signs for an adapter of yours instead, where
    provider and application share one. The delivery is found by ``delivery_id``, with MailerSend and
    Postal by ``message_id`` alone. ``at`` is the provider's time, to the second; with Amazon SES it is
    always ``now``. ``url`` is the address that is called, which Mandrill signs.

    Raises:
        ValueError: the provider does not report such an event.
        ConfigError: ``invalid`` for a name that is no provider with webhooks.

    """
    _check(provider)
    moment = now or system_clock()
    told = Fact(
        event=event,
        recipient=recipient,
        delivery_id=delivery_id,
        message_id=message_id or f"message-{delivery_id or new_id()}",
        event_id=event_id or str(new_id()),
        at=at or moment,
        is_permanent=is_permanent,
        url=clicked_url,
    )
    address = url or f"{URL}/{provider}"
    headers, body = SIGNERS[provider](
        Unsigned(
            written=WRITERS[provider](told),
            fact=told,
            url=address,
            now=moment,
            secret=secret or _secret(provider),
        )
    )
    return WebhookRequest(url=address, headers=HeaderMap(headers), body=body, now=moment)


def webhook_options(provider: str) -> dict[str, Any]:
    """Return the options with which an adapter believes the kit, for ``provider_options``.

    Those of Amazon SES and Scaleway are not enough: their adapters fetch a certificate, and
    ``webhook_adapter`` gives them the kit's.

    Raises:
        ConfigError: ``invalid`` for a name that is no provider with webhooks.

    """
    _check(provider)
    if provider in signing.BY_CREDENTIALS:
        return {"webhook_secret": signing.CREDENTIALS}
    if provider in signing.BY_TOPIC:
        return {"topic_arns": [signing.BY_TOPIC[provider]]}
    return {"webhook_key": signing.public_key(provider) or _secret(provider)}


def webhook_adapter(provider: str) -> Receiving:
    """Return an adapter that believes the kit, and sends nothing.

    Raises:
        ConfigError: ``invalid`` for a name that is no provider with webhooks.

    """
    parts = {"transport": _certificate_alone} if provider in signing.BY_TOPIC else {}
    return cast("Receiving", build_offline(provider, webhook_options(provider), **parts))


def webhook_endpoint(
    provider: str, *, tenant_id: str = "default", name: str = "testing"
) -> Endpoint:
    """Return an endpoint with that adapter, for ``Mailglass(endpoints=[…])``.

    Raises:
        ConfigError: ``invalid`` for a name that is no provider with webhooks.

    """
    return Endpoint(name=name, adapter=webhook_adapter(provider), tenant_id=tenant_id)


def _secret(provider: str) -> str:
    return signing.CREDENTIALS if provider in signing.BY_CREDENTIALS else signing.KEY


def _certificate_alone(_request: Request) -> Response:
    return Response(status=200, body=signing.certificate())


def _check(provider: str) -> None:
    if provider not in WRITERS:
        raise ConfigError(
            "the testing kit knows no webhooks of this provider",
            type=ConfigErrorType.INVALID,
            key="provider",
            hint=f"It knows those of {', '.join(sorted(WRITERS))}.",
        )
