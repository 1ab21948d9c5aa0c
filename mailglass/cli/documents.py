"""The JSON files that commands read: a captured webhook request, and a message."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import click

from mailglass.errors import SendError
from mailglass.message import Attachment, Message, StoredTemplate, Tracking
from mailglass.webhook import HeaderMap, WebhookRequest

_REQUEST_KEYS: Final = frozenset(
    {"method", "url", "headers", "body", "body_encoding", "now", "remote_ip"}
)
_PLAIN_KEYS: Final = (
    "cc",
    "bcc",
    "reply_to",
    "subject",
    "text",
    "html",
    "stream",
    "tags",
    "metadata",
    "envelope_sender",
    "provider_options",
    "mailable",
    "authenticates",
)
_MESSAGE_KEYS: Final = frozenset(
    {
        *_PLAIN_KEYS,
        "sender",
        "to",
        "headers",
        "attachments",
        "tracking",
        "stored_template",
        "provider_send_at",
    }
)


class SettingType(click.ParamType[tuple[str, str], str]):
    """One ``key=value``."""

    name = "key=value"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Split at the first equals sign."""
        key, equals, rest = str(value).partition("=")
        if not equals or not key:
            self.fail("is written key=value", param, ctx)
        return key, rest


set_option = click.option(
    "--set",
    "settings",
    multiple=True,
    type=SettingType(),
    help="An option of the provider, key=value; once more for another value of the same key.",
)
"""The options of a provider, on the command line."""


def gathered(settings: tuple[tuple[str, str], ...]) -> dict[str, str | list[str]]:
    """Return each key with its value, or with its values in order where it stands several times."""
    found: dict[str, list[str]] = {}
    for key, value in settings:
        found.setdefault(key, []).append(value)
    return {key: many[0] if len(many) == 1 else many for key, many in found.items()}


def read_document(content: bytes) -> dict[str, Any]:
    """Return the JSON object of a file.

    Raises:
        click.UsageError: when it holds none.

    """
    try:
        found = json.loads(content)
    except ValueError:
        raise click.UsageError("the file is not JSON") from None
    if not isinstance(found, dict):
        raise click.UsageError("the file holds no JSON object")
    return found


def webhook_request(document: Mapping[str, Any]) -> WebhookRequest:
    """Return the request that a file describes; without ``now`` it came at this moment.

    Raises:
        click.UsageError: for an unknown key or a value of the wrong form.

    """
    _refuse_unknown(document, _REQUEST_KEYS)
    try:
        now = document.get("now")
        return WebhookRequest(
            method=str(document.get("method", "POST")),
            url=str(document.get("url", "")),
            headers=_header_map(document.get("headers") or {}),
            body=_body(document),
            remote_ip=document.get("remote_ip"),
            now=_moment(now) if now is not None else datetime.now(UTC),
        )
    except (TypeError, ValueError, AttributeError):
        raise click.UsageError("the file describes no request: look at --help") from None


def message(document: Mapping[str, Any]) -> Message:
    """Return the message that a file describes.

    A switch for tracking that is not in the file stays as the provider's account is set.

    Raises:
        click.UsageError: for an unknown key or a value of the wrong form.
        SendError: ``serialization_failed`` for what is no mail.

    """
    given = dict(document)
    if "from" in given:
        given["sender"] = given.pop("from")
    _refuse_unknown(given, _MESSAGE_KEYS)
    try:
        plain = {key: given[key] for key in _PLAIN_KEYS if given.get(key) is not None}
        return Message(
            **{"subject": ""} | plain,
            sender=given["sender"],
            to=given["to"],
            headers=[(str(name), str(one)) for name, one in _pairs(given.get("headers") or {})],
            attachments=[_attachment(one) for one in given.get("attachments") or ()],
            tracking=Tracking(**({"opens": None, "clicks": None} | (given.get("tracking") or {}))),
            stored_template=_template(given.get("stored_template")),
            provider_send_at=_optional_moment(given.get("provider_send_at")),
        )
    except (TypeError, ValueError, AttributeError, KeyError):
        raise click.UsageError("the file describes no message: look at --help") from None
    except SendError as error:
        if error.code != "wrong_type":
            raise
        raise click.UsageError(f"the file describes no message: {error}") from None


def _refuse_unknown(document: Mapping[str, Any], known: frozenset[str]) -> None:
    unknown = sorted(set(document) - known)
    if unknown:
        raise click.UsageError(
            f"the file holds the unknown key {unknown[0]!r}; known are {', '.join(sorted(known))}"
        )


def _pairs(value: Any) -> list[tuple[str, str]]:
    return list(value.items()) if isinstance(value, dict) else [(name, one) for name, one in value]


def _header_map(value: Any) -> HeaderMap:
    return HeaderMap([(str(name), str(one)) for name, one in _pairs(value)])


def _body(document: Mapping[str, Any]) -> bytes:
    body = document.get("body") or ""
    match document.get("body_encoding", "utf-8"):
        case "utf-8":
            return str(body).encode("utf-8", "surrogatepass")
        case "base64":
            return _decoded(body)
        case _:
            raise click.UsageError("body_encoding is utf-8 or base64")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise click.UsageError("a value is not base64") from None


def _moment(value: Any) -> datetime:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return datetime.fromtimestamp(value, tz=UTC)
    moment = datetime.fromisoformat(value)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _optional_moment(value: Any) -> datetime | None:
    return None if value is None else _moment(value)


def _attachment(given: Mapping[str, Any]) -> Attachment:
    rest = {key: one for key, one in given.items() if key != "content"}
    return Attachment(content=_decoded(given["content"]), **rest)


def _template(given: Mapping[str, Any] | None) -> StoredTemplate | None:
    return None if given is None else StoredTemplate(**given)
