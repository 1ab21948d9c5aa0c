"""``mailglass adapters``: which providers there are, what each can do, is sent, and keeps back."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, quote_plus

import click

from mailglass.adapters.api import ApiAdapter
from mailglass.adapters.http import Request
from mailglass.adapters.providers import (
    API_PROVIDERS,
    adapter_class,
    build_offline,
    names,
    options,
    secret_values,
)
from mailglass.cli.breakers import close, history, status
from mailglass.cli.documents import gathered, message, read_document, set_option
from mailglass.delivery.freeze import freeze
from mailglass.envelope import Envelope, Recipient
from mailglass.errors import Json
from mailglass.message import Message

_MASK: Final = "**********"
_OPEN_HEADERS: Final = frozenset(
    {
        "accept",
        "content-type",
        "idempotency-key",
        "user-agent",
        "x-amz-content-sha256",
        "x-amz-date",
        "host",
    }
)
"""Any other header of a request may be a credential."""
_SHOWN: Final = (
    ("stored_templates", "template"),
    ("schedules", "schedule"),
    ("envelope_sender", "envelope"),
    ("inline_images", "inline"),
    ("tracks_opens", "opens"),
    ("tracks_clicks", "clicks"),
    ("provider_options", "options"),
)


@click.group("adapters", invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def command(ctx: click.Context, *, as_json: bool) -> None:
    """List providers and what each can do."""
    if ctx.invoked_subcommand is not None:
        return
    found = [described(name) for name in names()]
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    click.echo(f"{'adapter':<14}{'tags':>5}  {'webhooks':<9} can carry")
    for one in found:
        click.echo(_line(one))


for one in (status, close, history):
    command.add_command(one)


def described(name: str) -> dict[str, Any]:
    """Return an adapter's name, its options without their values, and its features."""
    kind = adapter_class(name)
    features = asdict(kind.FEATURES) if issubclass(kind, ApiAdapter) else None
    return {
        "name": name,
        "sends_webhooks": name in API_PROVIDERS,
        "options": [
            {
                "name": one.name,
                "kind": one.kind.value,
                "required": one.is_required,
                "choices": list(one.choices),
            }
            for one in options(name)
        ],
        "features": features,
    }


def _line(one: Mapping[str, Any]) -> str:
    features = one["features"]
    webhooks = "yes" if one["sends_webhooks"] else "no"
    if features is None:
        return f"{one['name']:<14}{'-':>5}  {webhooks:<9} any MIME message"
    can = [word for feature, word in _SHOWN if features[feature]]
    return f"{one['name']:<14}{features['tags_max']:>5}  {webhooks:<9} {', '.join(can)}"


@command.command("request")
@click.argument("provider")
@click.option(
    "--message",
    "content",
    required=True,
    type=click.File("rb", lazy=True),
    help="The file; - is the input.",
)
@click.option("--show-secrets", is_flag=True, help="Print credentials too.")
@set_option
def request(
    *, provider: str, content: Any, show_secrets: bool, settings: tuple[tuple[str, str], ...]
) -> None:
    """Print the request that would hand a message to PROVIDER; nothing is sent.

    The file is one JSON object; all but sender (or from), to and a body may be left out:

    \b
      sender, to, cc, bcc, reply_to   "Name <address>", one or a list
      subject, text, html
      headers             a mapping, or a list of [name, value]
      attachments         [{"filename", "content" (base64), "content_type", "content_id"}]
      tags, metadata      a list, and a mapping of texts
      tracking            {"opens", "clicks"}: true, false, or null as the account is set;
                          null where the file says nothing
      stored_template     {"id", "variables", "per_recipient": {address: variables},
                          "own_metadata", "own_headers": {address: {name: text}}}
      provider_send_at    when the provider sends, ISO 8601 or Unix seconds
      envelope_sender     where bounces go
      provider_options    merged into the provider's request
      stream, mailable, authenticates

    Prints {"requests": [{"method", "url", "headers", "body", "body_encoding"}]}, the body parsed
    where it is JSON. Credentials are masked, those that are not set read "not-set". A feature that
    the provider lacks is an error. Exits with 0, 1 when the message is refused, 2 when misused.
    """  # noqa: D301 - click's mark for a paragraph that is not wrapped
    given = gathered(settings)
    if provider in names() and provider not in API_PROVIDERS:
        raise click.UsageError(f"{provider} is not sent any HTTP request")
    adapter = build_offline(provider, given)
    if not isinstance(adapter, ApiAdapter):
        raise TypeError(provider)
    mail = message(read_document(content.read()))
    adapter.check(mail)
    secrets = frozenset() if show_secrets else _spellings(secret_values(provider, given))
    found = adapter.requests(enveloped(mail, provider=provider, now=datetime.now(UTC)))
    told = [_shown(one, secrets, masks=not show_secrets) for one in found]
    click.echo(json.dumps({"requests": told}, indent=2, ensure_ascii=False))


def enveloped(mail: Message, *, provider: str, now: datetime) -> Envelope:
    """Return the envelope that dispatch would hand over for all recipients of a message."""
    frozen = freeze(mail, tenant_id="default", adapter_ref=provider, now=now)
    payload = frozen.parameters["payload"]
    if not isinstance(payload, bytes):
        raise TypeError("the payload")
    people = zip(frozen.delivery_ids, mail.recipients, strict=True)
    return Envelope(
        message_id=frozen.message_id,
        tenant_id="default",
        stream=mail.stream,
        mail_from=mail.envelope_sender or mail.sender,
        recipients=tuple(
            Recipient(delivery_id=delivery_id, kind=kind, address=address)
            for delivery_id, (kind, address) in people
        ),
        payload=payload,
        token=1,
        attempt=1,
        idempotency_key=frozen.message_id.hex,
        thaw=lambda: mail,
    )


def _shown(made: Request, secrets: frozenset[str], *, masks: bool) -> dict[str, Json]:
    body, encoding = _body(made.body)
    headers = {
        name: _MASK if masks and name.lower() not in _OPEN_HEADERS else value
        for name, value in made.headers
    }
    return {
        "method": made.method,
        "url": _masked(made.url, secrets),
        "headers": {name: _masked(value, secrets) for name, value in headers.items()},
        "body": _masked(body, secrets),
        "body_encoding": encoding,
    }


def _body(raw: bytes) -> tuple[Json, str]:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return base64.b64encode(raw).decode("ascii"), "base64"
    try:
        return json.loads(text), "json"
    except ValueError:
        return text, "utf-8"


def _spellings(secrets: frozenset[str]) -> frozenset[str]:
    """Return each secret as it may stand in a body or an address too."""
    return frozenset(form(one) for one in secrets for form in (str, quote, quote_plus))


def _masked(value: Any, secrets: frozenset[str]) -> Any:
    match value:
        case str():
            for one in sorted(secrets, key=len, reverse=True):
                value = value.replace(one, _MASK)
            return value
        case list():
            return [_masked(one, secrets) for one in value]
        case dict():
            return {key: _masked(one, secrets) for key, one in value.items()}
        case _:
            return value
