"""``mailglass webhooks``: what one captured request of a provider says, and whether it is genuine."""

from __future__ import annotations

import json
from typing import Any, Final, Protocol, cast

import click

from mailglass.adapters.http import Request, Response, failed
from mailglass.adapters.keywords import Given
from mailglass.adapters.providers import API_PROVIDERS, build_offline
from mailglass.cli import EXIT_REFUSED
from mailglass.cli.documents import gathered, read_document, set_option, webhook_request
from mailglass.errors import Json, MailglassError, SignatureError
from mailglass.failures import Signal
from mailglass.webhook import ProviderEvent, WebhookRequest

_DIGEST: Final = "sha256:"


class Hooks(Protocol):
    """The part of an adapter that understands webhooks."""

    def verify(self, request: WebhookRequest) -> None:
        """Raise SignatureError unless the provider sent the request."""

    def events(self, request: WebhookRequest) -> tuple[ProviderEvent, ...]:
        """Return what the request reports."""


def hooks_of(provider: str, settings: Given, **parts: Any) -> Hooks:
    """Return a provider's webhooks.

    Raises:
        click.UsageError: for an adapter that receives none.
        ConfigError: ``invalid`` for a setting.

    """
    if provider not in API_PROVIDERS:
        raise click.UsageError(f"{provider} sends no webhooks")
    return cast("Hooks", build_offline(provider, settings, **parts))


def inspected(hooks: Hooks, request: WebhookRequest) -> dict[str, Json]:
    """Return whether the request verifies, why not, and the events in it."""
    refusal: MailglassError | None = None
    try:
        hooks.verify(request)
    except MailglassError as error:
        refusal = error
    try:
        found = hooks.events(request)
    except SignatureError as error:
        found = ()
        refusal = refusal or error
    return {
        "verified": refusal is None,
        "error": None if refusal is None else _refusal(refusal),
        "events": [shown(one) for one in found],
    }


def shown(event: ProviderEvent) -> dict[str, Json]:
    """Return an event as it is printed; ``event_id`` is null where the provider gives none."""
    own_id = event.provider_event_id
    return {
        "event_type": event.type.value,
        "timestamp": event.occurred_at.isoformat() if event.occurred_at else None,
        "event_id": None if own_id.startswith(_DIGEST) else own_id,
        "message_id": next(iter(event.provider_message_ids), None),
        "message_ids": list(event.provider_message_ids),
        "recipient": event.recipient,
        "reject_reason": event.reject_reason.value if event.reject_reason else None,
        "description": event.description,
        "mta_response": event.mta_response,
        "tags": list(event.tags),
        "metadata": dict(event.metadata),
        "click_url": event.click_url,
        "user_agent": event.user_agent,
        "permanent": event.is_permanent,
        "machine": event.is_machine,
        "word": event.word,
    }


def _refusal(error: MailglassError) -> dict[str, Json]:
    detail = error.detail if isinstance(error, SignatureError) else getattr(error, "key", None)
    return {"type": error.type.value, "class": type(error).__name__, "detail": detail}


def _offline(_: Request) -> Response:
    raise failed(Signal.CONNECT_FAILED)


@click.group("webhooks")
def command() -> None:
    """Look at what providers send."""


@command.command("inspect")
@click.argument("provider")
@click.option(
    "--request",
    "content",
    required=True,
    type=click.File("rb", lazy=True),
    help="The file; - is the input.",
)
@set_option
def inspect(*, provider: str, content: Any, settings: tuple[tuple[str, str], ...]) -> None:
    """Verify and read one captured request of PROVIDER, without a database or a network.

    The file is one JSON object:

    \b
      method         POST unless it says otherwise
      url            the address that the provider called; some sign it
      headers        a mapping, or a list of [name, value]
      body           the body as it came
      body_encoding  utf-8 (the default) or base64
      now            when it came, ISO 8601; now unless it says otherwise
      remote_ip      the caller, where --set webhook_networks is to be checked

    --set takes the provider's options (mailglass adapters --json lists them): webhook_secret,
    webhook_key and so on, or their django-anymail names.

    Prints {"verified", "error", "events"}. Events are printed whenever they can be read, also
    when verified is false: then they are what the request claims, and nobody has vouched for it.
    Times are the provider's. Exits with 0 when it verifies, 1 when not, 2 when misused.
    """  # noqa: D301 - click's mark for a paragraph that is not wrapped
    hooks = hooks_of(provider, gathered(settings), transport=_offline)
    told = inspected(hooks, webhook_request(read_document(content.read())))
    click.echo(json.dumps(told, indent=2))
    if not told["verified"]:
        raise click.exceptions.Exit(EXIT_REFUSED)
