"""Mailgun: the messages API as a form, and webhooks whose signature does not cover the body.

https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/messages and
https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC
from email.utils import format_datetime
from typing import Any, ClassVar, Final
from urllib.parse import quote, urlencode

from mailglass.adapters.api import (
    Addressed,
    ApiAdapter,
    Features,
    Secret,
    SecretSource,
    WebhookAuth,
    content_bytes,
    mailboxes,
    metadata_with_token,
    sent_with_id,
)
from mailglass.adapters.forms import form_fields, form_kind
from mailglass.adapters.http import Request, Response, Transport, checked_base_url
from mailglass.adapters.mailgun_events import PROVIDER, form_event, json_event, signed_fields
from mailglass.adapters.signatures import check_hmac_hex
from mailglass.address import Address
from mailglass.clock import Clock, system_clock
from mailglass.envelope import Envelope, Verdict
from mailglass.errors import ConfigError, ConfigErrorType, Json, SignatureErrorType
from mailglass.failures import Signal
from mailglass.message import Attachment, Message, StoredTemplate
from mailglass.webhook import (
    ProviderEvent,
    WebhookRequest,
    check_age,
    mapping,
    parse_json,
    refused,
    signed_seconds,
    text,
)

_OPTION_BYTES_MAX: Final = 16_384
"""All o:, h:, v: and t: parameters together."""
_DOMAIN: Final = re.compile(r"[A-Za-z0-9.-]{1,253}")
_MAGNIFICENT: Final = b"Mailgun Magnificent API"
_TOKEN_CHARS_MAX: Final = 128
_RETRIED_S: Final = 86_400.0
"""Mailgun repeats a request for eight hours, under its first timestamp and token. The signature covers
no more than those two, so a token that was seen must not be good for long: its receipt is what
tells a repetition, and receipts are kept for longer than this."""
_DOMAIN_OPTION: Final = "sender_domain"
_NOT_FOUND: Final = 404
_LIMITED: Final = 420
"""Mailgun's own status for a domain's limit of recipients, with the time at which it ends."""

Pair = tuple[str, str]


class MailgunAdapter(ApiAdapter):
    """Hands mail to Mailgun; ``base_url`` ``https://api.eu.mailgun.net`` is the EU's.

    ``domain`` is the sending domain, that of the sender's address without it. Of an envelope sender
    Mailgun takes only the domain, which counts before both, and the provider option
    ``sender_domain`` before all. ``webhooks.keys`` are
    webhook signing keys, not API keys. The signature covers a timestamp and a token that is used
    once, and not the body: refuse a second event with the same ``provider_event_id``, and believe
    only what is about a delivery that went to that recipient. Answer 406 to a request that does not
    verify; Mailgun repeats whatever is answered otherwise for 8 hours.
    """

    PROVIDER: ClassVar[str] = PROVIDER
    REFUSAL_STATUS: ClassVar[int] = 406
    WEBHOOK_PARTS: ClassVar[frozenset[str]] = frozenset({"keys", "tolerance_s"})
    FEATURES: ClassVar[Features] = Features(
        tags_max=3,
        stored_templates=True,
        own_metadata=True,
        own_headers=True,
        envelope_sender=True,
        provider_options=True,
        body_templates=True,
        schedules=True,
        message_bytes_max=25 * 1024 * 1024,
        utf8_local_parts=True,
    )

    def __init__(  # noqa: PLR0913 - each is a keyword and has its own meaning
        self,
        *,
        api_key: SecretSource,
        domain: str | None = None,
        base_url: str = "https://api.mailgun.net",
        test_mode: bool = False,
        webhooks: WebhookAuth | None = None,
        transport: Transport | None = None,
        clock: Clock = system_clock,
    ) -> None:
        super().__init__(webhooks=webhooks, transport=transport, clock=clock)
        if domain is not None and _DOMAIN.fullmatch(domain) is None:
            raise ConfigError(
                "the Mailgun domain is not a domain",
                type=ConfigErrorType.INVALID,
                key="mailgun_domain",
            )
        self._api_key = Secret(api_key, key="mailgun_api_key")
        self._domain = domain
        self._test_mode = test_mode
        self._base_url = checked_base_url(base_url, key="mailgun_base_url")

    def lacking(self, message: Message) -> str | None:
        """Name what is over Mailgun's bound on options, and what it cannot write."""
        if message.sender.needs_smtputf8:
            return "a sender whose local part is not ASCII"
        if not all(map(str.isascii, message.tags)):
            return "a tag that is not ASCII"
        if _names(message.stored_template) & message.metadata.keys():
            return "metadata and a template's variable of the same name"
        options = [
            *message.headers,
            *message.metadata.items(),
            *(("", tag) for tag in message.tags),
        ]
        if sum(len(f"{name}{value}".encode()) + 8 for name, value in options) > _OPTION_BYTES_MAX:
            return "headers, metadata and tags of more than 16 kB"
        return None

    def request(self, envelope: Envelope) -> Request:
        """Return the call of ``/v3/DOMAIN/messages``: a form, multipart where there are files."""
        message, whom = self._thawed(envelope)
        fields = [
            *_mail(message, whom),
            *self._options(envelope, message),
            *_template(whom, message),
        ]
        fields = _replaced(fields, {name: f"%recipient.{name}%" for name in _own(message)})
        options = dict(message.provider_options)
        domain = str(options.pop(_DOMAIN_OPTION, None) or self._domain_of(message))
        kind, body = _encoded(_replaced(fields, options), message.attachments)
        login = base64.b64encode(f"api:{self._api_key.reveal()}".encode()).decode("ascii")
        return Request(
            url=f"{self._base_url}/v3/{quote(domain, safe='')}/messages",
            headers=(
                ("Authorization", f"Basic {login}"),
                ("Accept", "application/json"),
                ("Content-Type", kind),
            ),
            body=body,
        )

    def _domain_of(self, message: Message) -> str:
        if message.envelope_sender is not None:
            return message.envelope_sender.domain
        return self._domain or message.sender.domain

    def _options(self, envelope: Envelope, message: Message) -> list[Pair]:
        metadata = metadata_with_token(envelope, message)
        fields = [(f"h:{name}", value) for name, value in message.headers]
        fields += [(f"v:{name}", value) for name, value in metadata.items()]
        fields += [("o:tag", tag) for tag in message.tags]
        switches = (
            ("o:tracking-opens", message.tracking.opens),
            ("o:tracking-clicks", message.tracking.clicks),
        )
        fields += [(name, "yes" if on else "no") for name, on in switches if on is not None]
        if message.provider_send_at is not None:
            moment = message.provider_send_at.astimezone(UTC)
            fields.append(("o:deliverytime", format_datetime(moment, usegmt=True)))
        if self._test_mode:
            fields.append(("o:testmode", "yes"))
        return fields

    def ruling(self, response: Response, answer: Any) -> tuple[Signal, str | None]:
        """Tell a wrong address of the API, which answers 200 or "Domain not found", from a refusal."""
        if _MAGNIFICENT in response.body:
            return Signal.HTTP_ACCOUNT_REFUSED, "wrong-path"
        said = text(mapping(answer).get("message")) or ""
        if response.status == _NOT_FOUND and said.startswith("Domain not found"):
            return Signal.HTTP_ACCOUNT_REFUSED, "domain-not-found"
        if response.status == _LIMITED:
            return Signal.HTTP_RATE_LIMITED, None
        return super().ruling(response, answer)

    def accepted(
        self,
        envelope: Envelope,
        response: Response,  # noqa: ARG002 - the base asks every provider alike
        answer: Any,
    ) -> tuple[Verdict, ...] | None:
        """Read the id, angle brackets included."""
        return sent_with_id(envelope, text(mapping(answer).get("id")))

    def verify(self, request: WebhookRequest) -> None:
        """Check the MAC over timestamp and token, and the age of the timestamp."""
        self._webhooks.check_origin(request, provider=PROVIDER)
        keys = self._webhooks.secrets(PROVIDER)
        signed = _signed(request)
        stamp, token, given = (signed.get(one) for one in ("timestamp", "token", "signature"))
        if not (isinstance(stamp, str) and isinstance(token, str) and isinstance(given, str)):
            raise refused(SignatureErrorType.MISSING_HEADER, PROVIDER, "signature")
        if not 0 < len(token) <= _TOKEN_CHARS_MAX:
            raise refused(SignatureErrorType.MALFORMED_HEADER, PROVIDER, "token")
        seconds = signed_seconds(stamp, provider=PROVIDER)
        payload = f"{stamp}{token}".encode("utf-8", "replace")
        check_hmac_hex(given, payload, keys, provider=PROVIDER)
        check_age(
            seconds,
            now=request.now,
            tolerance_s=self._webhooks.tolerance_s,
            provider=PROVIDER,
            retried_s=_RETRIED_S,
        )

    def events(self, request: WebhookRequest) -> tuple[ProviderEvent, ...]:
        """Return the one event of the request."""
        if form_kind(request) is not None:
            return (form_event(form_fields(request, provider=PROVIDER)),)
        return (json_event(mapping(parse_json(request.body, provider=PROVIDER))),)


def _mail(message: Message, whom: Addressed) -> list[Pair]:
    fields = [("from", str(message.sender))]
    for kind, many in (("to", whom.to), ("cc", whom.cc), ("bcc", whom.bcc)):
        fields += [(kind, str(one)) for one in many]
    if message.subject:
        fields.append(("subject", message.subject))
    fields += [
        (kind, body) for kind, body in (("text", message.text), ("html", message.html)) if body
    ]
    if message.reply_to:
        fields.append(("h:Reply-To", mailboxes(message.reply_to)))
    return fields


def _names(stored: StoredTemplate | None) -> set[str]:
    if stored is None:
        return set()
    own = (stored.per_recipient or {}).values()
    return {*stored.variables, *(name for variables in own for name in variables)}


def _own(message: Message) -> dict[str, str]:
    """Return each field that a recipient may have of their own, and what it is for all others."""
    stored = message.stored_template
    if stored is None:
        return {}
    metadata = {name for its in (stored.own_metadata or {}).values() for name in its}
    headers = {name for its in (stored.own_headers or {}).values() for name in its}
    usual = dict(message.headers)
    return {f"v:{name}": message.metadata.get(name, "") for name in sorted(metadata)} | {
        f"h:{name}": usual.get(name, "") for name in sorted(headers)
    }


def _own_of(to: Address, stored: StoredTemplate) -> dict[str, str]:
    return {f"v:{name}": value for name, value in stored.metadata_of(to).items()} | {
        f"h:{name}": value for name, value in stored.headers_of(to).items()
    }


def _template(whom: Addressed, message: Message) -> list[Pair]:
    """Return the fields of a template: its name, and the variables the way it can read them.

    A placeholder in the mail's own bodies is filled in only where each To recipient has a mail of
    their own, so that variables there make it so. A stored template reads ``v:`` fields, which then
    point at the recipient's own, or else ``t:variables``.
    """
    stored = message.stored_template
    if stored is None:
        return []
    fields = [("template", stored.id)] if stored.id is not None else []
    names = sorted(_names(stored))
    if stored.id is not None and not stored.is_individual:
        return [*fields, ("t:variables", json.dumps(dict(stored.variables)))] if names else fields
    if stored.id is not None:
        fields += [(f"v:{name}", f"%recipient.{name}%") for name in names]
    if not names and not stored.is_individual:
        return fields
    usual = dict.fromkeys(names, "") | _own(message)
    own = {
        to.addr_spec: {**usual, **stored.variables_for(to), **_own_of(to, stored)} for to in whom.to
    }
    return [*fields, ("recipient-variables", json.dumps(own))]


def _replaced(fields: Sequence[Pair], options: Mapping[str, Json]) -> list[Pair]:
    """Return the fields with the author's options in place of those of the same name."""
    kept = [(name, value) for name, value in fields if name not in options]
    return [*kept, *((name, one) for name, value in options.items() for one in _values(value))]


def _values(value: Json) -> list[str]:
    match value:
        case list():
            return [one for many in value for one in _values(many)]
        case bool():
            return ["yes" if value else "no"]
        case dict():
            return [json.dumps(value)]
        case None:
            return []
        case _:
            return [str(value)]


def _signed(request: WebhookRequest) -> dict[str, Any]:
    if form_kind(request) is not None:
        return dict(signed_fields(form_fields(request, provider=PROVIDER)))
    return mapping(mapping(parse_json(request.body, provider=PROVIDER)).get("signature"))


def _encoded(fields: Sequence[Pair], attachments: Sequence[Attachment]) -> tuple[str, bytes]:
    if not attachments:
        return "application/x-www-form-urlencoded", urlencode(fields).encode()
    parts = [_part(f'name="{_quoted(name)}"', None, value.encode()) for name, value in fields]
    for one in attachments:
        # Mailgun refers to an inline image by its filename, so that name is the content id here.
        name = one.content_id or one.filename
        where = "inline" if one.content_id else "attachment"
        shown = f'name="{where}"; filename="{_quoted(name)}"'
        parts.append(_part(shown, one.content_type, content_bytes(one)))
    boundary = f"mailglass-{hashlib.sha256(b''.join(parts)).hexdigest()[:32]}"
    lines = b"".join(b"--%b\r\n%b\r\n" % (boundary.encode(), part) for part in parts)
    return f"multipart/form-data; boundary={boundary}", lines + f"--{boundary}--\r\n".encode()


def _part(disposition: str, kind: str | None, content: bytes) -> bytes:
    head = f"Content-Disposition: form-data; {disposition}\r\n"
    head += f"Content-Type: {kind}\r\n" if kind else ""
    return head.encode() + b"\r\n" + content


def _quoted(name: str) -> str:
    """Escape as browsers do (WHATWG, multipart/form-data encoding algorithm)."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
