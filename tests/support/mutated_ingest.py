"""Spoiled requests through the whole way: whatever comes, there is an answer, and it is kept or refused."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from mailglass.adapters.http import Request, Response
from mailglass.adapters.providers import build_offline
from mailglass.inbound.mailbox import Mailbox
from mailglass.inbound.readers import READERS
from mailglass.webhook import HeaderMap, ProviderEvent, WebhookRequest
from mailglass.webhooks.answers import Answer
from mailglass.webhooks.endpoint import Endpoint, Receiving
from mutated import mutated, subjects
from posted_webhooks import BASE_URL, NOW, SPEAKERS, Speaker

Ingest = Callable[[str, WebhookRequest], Answer]
_REFUSED: Final = frozenset({400, 401, 403, 405, 406, 413, 415, 422})
_LATER: Final = 503
_FETCHING: Final = frozenset({"amazon_ses", "scaleway"})
"""What they sign is proven by a certificate: one that cannot be had now may be had later."""
_TOKEN: Final = "0197a000-0000-7000-8000-00000000000a"
_SETTLED: Final = _REFUSED | {200}


@dataclass(frozen=True, kw_only=True)
class Trusting:
    """Reads what the provider's adapter reads, and takes every request for genuine."""

    inner: Receiving

    @property
    def name(self) -> str:
        """Return the provider's name."""
        return self.inner.name

    def verify(self, request: WebhookRequest) -> None:
        """Believe it, so that what is spoiled comes further than a signature lets it."""

    def events(self, request: WebhookRequest) -> tuple[ProviderEvent, ...]:
        """Return the events."""
        return self.inner.events(request)

    def fetch(self, address: str) -> bytes:
        """Return what the provider's adapter fetches."""
        found: bytes = self.inner.fetch(address)  # type: ignore[attr-defined]  # only who keeps mails is asked
        return found


def _gone(_: Request) -> Response:
    return Response(status=404)


def endpoints() -> tuple[Endpoint, ...]:
    """Return, for each provider, one that checks, one that believes, and one for received mail."""
    mailbox = Mailbox()
    mailbox.route(name="all")(lambda _message: None)
    found = []
    for one in SPEAKERS:
        trusting = Trusting(inner=build_offline(one.name, {}, transport=_gone))  # type: ignore[arg-type]  # each of them receives
        found += [
            Endpoint(name="checked", adapter=one.adapter(), tenant_id="default"),
            Endpoint(name="believed", adapter=trusting, tenant_id="default"),
        ]
        if one.name in READERS:
            found.append(
                Endpoint(name="mail", adapter=trusting, tenant_id="default", mailbox=mailbox)
            )
    return tuple(found)


def ingest_finding(ingest: Ingest, provider: str, seed: int) -> str | None:
    """Return what the way in did with a spoiled request that it may not do; None when nothing."""
    chance = random.Random(f"ingest {provider} {seed}")  # noqa: S311 - repeatable on purpose
    names = ("checked", "believed", "mail") if provider in READERS else ("checked", "believed")
    name = chance.choice(names)
    written = tuple(one.request for one in subjects()[provider])
    known = _spoken()[provider] if name == "checked" else written
    request = mutated(chance.choice(known), chance)
    try:
        status = ingest(f"{provider}/{name}", request).status
    except Exception as error:  # noqa: BLE001 - any error at all is what is looked for
        return f"{provider}/{name} with seed {seed} raised {type(error).__name__}: {error}"
    if status in _SETTLED or (status == _LATER and name == "checked" and provider in _FETCHING):
        return None
    return f"{provider}/{name} with seed {seed} is answered {status}"


@cache
def _spoken() -> Mapping[str, tuple[WebhookRequest, ...]]:
    """Return genuine requests, so that a spoiled one may still verify."""
    return {one.name: (_request(one),) for one in SPEAKERS}


def _request(speaker: Speaker) -> WebhookRequest:
    headers, body = speaker.of(_TOKEN)
    url = f"{BASE_URL}/webhooks/{speaker.name}/main"
    return WebhookRequest(url=url, headers=HeaderMap(headers), body=body, now=NOW)
