"""``mailglass webhooks``: what a captured request says, and what became of those that were kept."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Protocol, cast
from uuid import UUID

import click

from mailglass.adapters.http import Request, Response, Transport, failed
from mailglass.adapters.keywords import Given
from mailglass.adapters.providers import API_PROVIDERS, build_offline
from mailglass.cli import EXIT_REFUSED
from mailglass.cli.ages import AGE
from mailglass.cli.database import database_option, store
from mailglass.cli.documents import gathered, read_document, set_option, webhook_request
from mailglass.cli.progress import progress
from mailglass.errors import Json, MailglassError, SignatureError
from mailglass.failures import Signal
from mailglass.webhook import ProviderEvent, WebhookRequest

if TYPE_CHECKING:
    from mailglass.ledger.webhooks import Receipt
    from mailglass.webhooks.replay import Replayed

_DIGEST: Final = "sha256:"
_STATES: Final = ("received", "processed", "dead")
_CERTIFICATE: Final = ".pem"
_KEPT_S: Final = 30 * 86_400.0


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


def _certified(content: bytes | None) -> Transport:
    """Return what answers a check with the certificate that was given, and with nothing else."""

    def answer(request: Request) -> Response:
        if content is None or not request.url.endswith(_CERTIFICATE):
            raise failed(Signal.CONNECT_FAILED)
        return Response(status=200, body=content)

    return answer


@click.group("webhooks")
def command() -> None:
    """Look at what providers send, and at what became of it."""


@command.command("inspect")
@click.argument("provider")
@click.option(
    "--request",
    "content",
    required=True,
    type=click.File("rb", lazy=True),
    help="The file; - is the input.",
)
@click.option(
    "--certificate",
    type=click.File("rb"),
    help="PEM: what the request's SigningCertURL has, as nothing is fetched.",
)
@set_option
def inspect(
    *, provider: str, content: Any, certificate: Any, settings: tuple[tuple[str, str], ...]
) -> None:
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
    webhook_key and so on, or their django-anymail names. Amazon SES needs --certificate as well.

    Prints {"verified", "error", "events"}. Events are printed whenever they can be read, also
    when verified is false: then they are what the request claims, and nobody has vouched for it.
    Times are the provider's. Exits with 0 when it verifies, 1 when not, 2 when misused.
    """  # noqa: D301 - click's mark for a paragraph that is not wrapped
    pem = certificate.read() if certificate else None
    hooks = hooks_of(provider, gathered(settings), transport=_certified(pem))
    told = inspected(hooks, webhook_request(read_document(content.read())))
    click.echo(json.dumps(told, indent=2))
    if not told["verified"]:
        raise click.exceptions.Exit(EXIT_REFUSED)


def _receipt_json(receipt: Receipt) -> dict[str, Json]:
    return {
        "id": str(receipt.id),
        "tenant_id": receipt.tenant_id,
        "provider": receipt.provider,
        "endpoint": receipt.endpoint,
        "state": receipt.state.value,
        "reason": receipt.reason,
        "received_at": receipt.received_at.isoformat(),
        "processed_at": receipt.processed_at.isoformat() if receipt.processed_at else None,
        "body_bytes": receipt.body_bytes,
        "dead": receipt.dead,
        "orphans": receipt.orphans,
    }


def _harmless(content: str) -> str:
    """Return text whose controls a terminal does not obey; lines and tabs stay as they are."""
    return "".join(
        one if one.isprintable() or one in "\n\t" else one.encode("unicode_escape").decode()
        for one in content.replace("\r\n", "\n")
    )


def _receipt_line(receipt: Receipt) -> str:
    shown = f"{receipt.id} {receipt.received_at:%Y-%m-%d %H:%M:%S} {receipt.provider}/{receipt.endpoint}"
    more = f" {receipt.reason}" if receipt.reason else ""
    counts = f" dead={receipt.dead} orphans={receipt.orphans}"
    return f"{shown} {receipt.state.value}{more}{counts if receipt.dead or receipt.orphans else ''}"


@command.command("list")
@click.option("--tenant", "tenant_id", help="Only this tenant's.")
@click.option("--provider", help="Only this provider's.")
@click.option("--state", type=click.Choice(_STATES), help="Only those in this state.")
@click.option("--refused", "is_refused", is_flag=True, help="Only those that hold refused reports.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@database_option
def list_(  # noqa: PLR0913 - the filters, each an option
    *,
    tenant_id: str | None,
    provider: str | None,
    state: str | None,
    is_refused: bool,
    limit: int,
    as_json: bool,
    database_url: str | None,
) -> None:
    """List the requests that were kept, the newest first, without what stands in them."""
    from mailglass.ledger.webhooks import ReceiptState, WebhookStore

    with store(database_url) as opened:
        found = WebhookStore(store=opened).receipts(
            tenant_id=tenant_id,
            provider=provider,
            state=ReceiptState(state) if state else None,
            is_refused=is_refused,
            limit=limit,
        )
    if as_json:
        click.echo(json.dumps([_receipt_json(one) for one in found], indent=2))
        return
    for one in found:
        click.echo(_receipt_line(one))


@command.command("show")
@click.argument("receipt_id", type=click.UUID)
@click.option(
    "--body",
    "with_body",
    is_flag=True,
    help="Print the body, which holds addresses; controls are escaped.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@database_option
def show(*, receipt_id: UUID, with_body: bool, as_json: bool, database_url: str | None) -> None:
    """Show one request: what became of it, and which of its reports were refused and why."""
    from mailglass.ledger.webhooks import WebhookStore

    with store(database_url) as opened:
        webhooks = WebhookStore(store=opened)
        found = webhooks.receipt(receipt_id)
        dead = webhooks.dead_of(receipt_id)
    if found is None:
        click.echo("mailglass: there is no such receipt", err=True)
        raise click.exceptions.Exit(EXIT_REFUSED)
    if with_body:
        click.echo(_harmless((found.body or b"").decode("utf-8", "replace")))
        return
    if as_json:
        refused: list[Json] = [{"place": one.place, "reason": one.reason} for one in dead]
        click.echo(json.dumps({**_receipt_json(found), "refused": refused}, indent=2))
        return
    click.echo(_receipt_line(found))
    for one in dead:
        click.echo(f"  report {one.place}: {one.reason}")


@command.command("replay")
@click.argument("receipt_ids", nargs=-1, required=True, type=click.UUID)
@click.option("--tenant", "tenant_id", help="Only where it is this tenant's.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@database_option
def replay(
    *,
    receipt_ids: tuple[UUID, ...],
    tenant_id: str | None,
    as_json: bool,
    database_url: str | None,
) -> None:
    """Read kept requests again, as after an upgrade; what was recorded counts once.

    The provider's adapter is the configured one. Exits with 1 when one of them is not there.
    """
    from mailglass.app import Mailglass

    given: dict[str, Any] = {} if database_url is None else {"database_url": database_url}
    done: list[tuple[UUID, Replayed | None]] = []
    with (
        Mailglass.from_env(**given) as mail,
        progress("replaying", total=len(receipt_ids), hidden=as_json) as replayed_so_far,
    ):
        for one in receipt_ids:
            done.append((one, mail.replay(one, tenant_id)))
            replayed_so_far(len(done))
    told: list[Json] = []
    for receipt_id, replayed in done:
        state = replayed.state.value if replayed else "missing"
        counts = replayed.counts if replayed else {}
        told.append({"id": str(receipt_id), "state": state, "counts": dict(counts)})
        if not as_json:
            shown = "".join(f" {name}={number}" for name, number in counts.items())
            click.echo(f"{receipt_id} {state}{shown}")
    if as_json:
        click.echo(json.dumps(told, indent=2))
    if any(replayed is None for _, replayed in done):
        raise click.exceptions.Exit(EXIT_REFUSED)


@command.command("prune")
@click.option("--older-than", type=AGE, default=_KEPT_S, show_default="30d", help="Such as 30d.")
@click.option("--tenant", "tenant_id", help="Only this tenant's.")
@click.option("--dead", "with_dead", is_flag=True, help="Also those that hold refused reports.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@database_option
def prune(
    *,
    older_than: float,
    tenant_id: str | None,
    with_dead: bool,
    as_json: bool,
    database_url: str | None,
) -> None:
    """Delete requests that are finished and old; the events that they brought stay."""
    from mailglass.ledger.webhooks import WebhookStore

    with store(database_url) as opened, progress("pruning", hidden=as_json) as done:
        pruned = WebhookStore(store=opened).prune(
            older_than_s=older_than, tenant_id=tenant_id, with_dead=with_dead, on_page=done
        )
    click.echo(json.dumps({"pruned": pruned}) if as_json else f"pruned {pruned}")
