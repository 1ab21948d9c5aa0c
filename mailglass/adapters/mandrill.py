"""Mandrill (Mailchimp Transactional): the messages API, and webhooks signed with their address.

https://mailchimp.com/developer/transactional/api/messages/ and
https://mailchimp.com/developer/transactional/guides/track-respond-activity-webhooks/.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import UTC
from types import MappingProxyType
from typing import Any, ClassVar, Final

from mailglass.adapters.api import (
    Addressed,
    ApiAdapter,
    Features,
    Secret,
    SecretSource,
    WebhookAuth,
    content_of,
    each,
    json_request,
    mailboxes,
    metadata_with_token,
    present,
)
from mailglass.adapters.forms import form_fields
from mailglass.adapters.http import Request, Response, Transport, checked_base_url
from mailglass.adapters.mandrill_events import PROVIDER, events_of
from mailglass.adapters.options import merged
from mailglass.adapters.signatures import check_mac
from mailglass.address import Address
from mailglass.clock import Clock, system_clock
from mailglass.envelope import Envelope, Verdict
from mailglass.errors import FailureClass, SignatureErrorType
from mailglass.failures import Signal
from mailglass.message import Attachment, Message, StoredTemplate
from mailglass.webhook import (
    TOKEN_KEY,
    ProviderEvent,
    WebhookRequest,
    decoded_base64,
    malformed,
    mapping,
    parse_json,
    refused,
    same,
    text,
)

_TIME: Final = "%Y-%m-%d %H:%M:%S"
_FIELD: Final = "mandrill_events"
_SIGNATURE: Final = "X-Mandrill-Signature"
_SIGNATURE_BYTES: Final = 20
_METADATA_BYTES_MAX: Final = 250
_TOKEN_SHAPE: Final = "0" * 36
_PING_KEY: Final = "test-webhook"
"""With this key, which is no secret, Mandrill signs the empty batch that tries a new address."""
_ERRORS: Final = MappingProxyType(
    {
        "Invalid_Key": Signal.HTTP_ACCOUNT_REFUSED,
        "PaymentRequired": Signal.HTTP_ACCOUNT_REFUSED,
        "Unknown_Subaccount": Signal.HTTP_ACCOUNT_REFUSED,
        "UserError": Signal.HTTP_REFUSED,
        "ValidationError": Signal.HTTP_REFUSED,
        "Unknown_Template": Signal.HTTP_REFUSED,
        "Unknown_Message": Signal.HTTP_REFUSED,
        "Invalid_Template": Signal.HTTP_REFUSED,
        "GeneralError": Signal.HTTP_PROVIDER_ERROR,
        "ServiceUnavailable": Signal.HTTP_PROVIDER_ERROR,
    }
)
"""Mandrill answers 500 to a wrong request too, so that the name decides and not the status."""
_ACCEPTED: Final = frozenset({"sent", "queued", "scheduled"})
_ON_ITS_LIST: Final = frozenset({"hard-bounce", "soft-bounce", "spam", "unsub", "custom"})
"""The refusals that come from Mandrill's own list of addresses."""


class MandrillAdapter(ApiAdapter):
    """Hands mail to one Mandrill account, or to a ``subaccount`` of it.

    ``webhooks.keys`` are webhook keys, and ``webhooks.url`` is the address exactly as Mandrill has
    it, user name included: it is part of what is signed. Without it the request's own is tried, also
    with the user name that came as Basic credentials. Of an envelope sender Mandrill takes only the
    domain.
    """

    PROVIDER: ClassVar[str] = PROVIDER
    WEBHOOK_PARTS: ClassVar[frozenset[str]] = frozenset({"keys", "url"})
    FEATURES: ClassVar[Features] = Features(
        utf8_local_parts=True,
        stored_templates=True,
        own_metadata=True,
        envelope_sender=True,
        provider_options=True,
        body_templates=True,
        schedules=True,
        tag_chars_max=50,
        message_bytes_max=25 * 1024 * 1024,
    )

    def __init__(  # noqa: PLR0913 - each is a keyword and has its own meaning
        self,
        *,
        api_key: SecretSource,
        subaccount: str | None = None,
        base_url: str = "https://mandrillapp.com/api/1.0",
        webhooks: WebhookAuth | None = None,
        transport: Transport | None = None,
        clock: Clock = system_clock,
    ) -> None:
        super().__init__(webhooks=webhooks, transport=transport, clock=clock)
        self._api_key = Secret(api_key, key="mandrill_api_key")
        self._subaccount = subaccount
        self._base_url = checked_base_url(base_url, key="mandrill_base_url")

    def lacking(self, message: Message) -> str | None:
        """Name the tags that Mandrill keeps for itself, and metadata beyond its bound."""
        if any(tag.startswith("_") for tag in message.tags):
            return "a tag that begins with an underscore"
        with_ours = {**message.metadata, TOKEN_KEY: _TOKEN_SHAPE}
        if len(json.dumps(with_ours, separators=(",", ":"))) > _METADATA_BYTES_MAX:
            return f"metadata that is over {_METADATA_BYTES_MAX} bytes together with our own id"
        return None

    def request(self, envelope: Envelope) -> Request:
        """Return the call of ``messages/send``, or of ``messages/send-template``."""
        message, whom = self._thawed(envelope)
        send_at, stored = message.provider_send_at, message.stored_template
        body = present(
            key=self._api_key.reveal(),
            message=self._message(envelope, message, whom) | _merge_fields(whom, stored),
            send_at=send_at.astimezone(UTC).strftime(_TIME) if send_at else None,
        )
        call = "send"
        if stored is not None and stored.id is not None:
            call = "send-template"
            body |= {"template_name": stored.id, "template_content": []}
        body = merged(body, message.provider_options)
        blocks = body.get("template_content")
        if isinstance(blocks, Mapping):
            body["template_content"] = _named(blocks)
        return json_request(f"{self._base_url}/messages/{call}.json", {}, body)

    def _message(self, envelope: Envelope, message: Message, whom: Addressed) -> dict[str, Any]:
        bounces = message.envelope_sender
        return present(
            from_email=message.sender.addr_spec,
            from_name=message.sender.name,
            to=_recipients(whom),
            subject=message.subject,
            text=message.text,
            html=message.html,
            headers=_headers(message),
            tags=list(message.tags),
            metadata=metadata_with_token(envelope, message),
            track_opens=message.tracking.opens,
            track_clicks=message.tracking.clicks,
            return_path_domain=bounces.domain if bounces else None,
            subaccount=self._subaccount,
            attachments=[_file(one) for one in message.attachments if not one.content_id],
            images=[_file(one) for one in message.attachments if one.content_id],
        )

    def ruling(self, response: Response, answer: Any) -> tuple[Signal, str | None]:
        """Read the error's name before the status."""
        signal, _ = super().ruling(response, answer)
        name = text(mapping(answer).get("name"))
        if mapping(answer).get("status") != "error" or name is None:
            return signal, None
        known = _ERRORS.get(name)
        if known is None:
            is_ours = signal in {Signal.HTTP_ACCEPTED, Signal.HTTP_PROVIDER_ERROR}
            known = Signal.HTTP_REFUSED if is_ours else signal
        return known, name

    def accepted(
        self,
        envelope: Envelope,
        response: Response,  # noqa: ARG002 - the base asks every provider alike
        answer: Any,
    ) -> tuple[Verdict, ...] | None:
        """Read the status of each recipient; one that is not listed is unknown."""
        if not isinstance(answer, list):
            return None
        items = {str(text(one.get("email"))).lower(): one for one in map(mapping, answer)}
        return each(envelope, lambda address: _judged(items.get(address.addr_spec.lower(), {})))

    def verify(self, request: WebhookRequest) -> None:
        """Check the MAC over address and form; HEAD, which tries an address, carries nothing."""
        self._webhooks.check_origin(request, provider=PROVIDER)
        if request.method == "HEAD" and not request.body:
            return
        fields = sorted(form_fields(request, provider=PROVIDER))
        given = request.header(_SIGNATURE, provider=PROVIDER)
        mac = decoded_base64(given, provider=PROVIDER, detail="signature")
        if len(mac) != _SIGNATURE_BYTES:
            raise malformed(PROVIDER, "signature")
        signed = [f"{url}{''.join(map(''.join, fields))}" for url in self._urls(request)]
        if dict(fields).get(_FIELD) == "[]" and _matches(mac, signed, [_PING_KEY]):
            return
        keys = self._webhooks.secrets(PROVIDER)
        check_mac(mac, _macs(signed, keys), provider=PROVIDER)

    def events(self, request: WebhookRequest) -> tuple[ProviderEvent, ...]:
        """Return one event a record; a received mail is none."""
        if request.method == "HEAD" and not request.body:
            return ()
        batch = dict(form_fields(request, provider=PROVIDER)).get(_FIELD)
        if batch is None:
            raise refused(SignatureErrorType.MALFORMED_HEADER, PROVIDER, _FIELD)
        return events_of(parse_json(batch, provider=PROVIDER))

    def _urls(self, request: WebhookRequest) -> list[str]:
        """Return the addresses that Mandrill may have signed: the one it was told, or as called."""
        if self._webhooks.url is not None:
            return [self._webhooks.url]
        scheme, mark, rest = request.url.partition("://")
        user = _basic_user(request)
        named = [f"{scheme}{mark}{user}@{rest}"] if user and "@" not in rest.split("/")[0] else []
        return [request.url, *named]


def _recipients(whom: Addressed) -> list[dict[str, Any]]:
    kinds: tuple[tuple[str, Sequence[Address]], ...] = (
        ("to", whom.to),
        ("cc", whom.cc),
        ("bcc", whom.bcc),
    )
    return [
        present(email=one.addr_spec, name=one.name, type=kind)
        for kind, many in kinds
        for one in many
    ]


def _merge_fields(whom: Addressed, stored: StoredTemplate | None) -> dict[str, Any]:
    if stored is None:
        return {}
    everybody = (*whom.to, *whom.cc, *whom.bcc)
    own = [(one.addr_spec, stored.own_variables(one)) for one in everybody]
    known = [(one.addr_spec, dict(stored.metadata_of(one))) for one in everybody]
    return present(
        global_merge_vars=_named(stored.variables),
        merge_vars=[{"rcpt": email, "vars": _named(mine)} for email, mine in own if mine],
        recipient_metadata=[{"rcpt": email, "values": its} for email, its in known if its],
        preserve_recipients=False if stored.is_individual else None,
    )


def _named(variables: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"name": name, "content": content} for name, content in variables.items()]


def _headers(message: Message) -> dict[str, str]:
    reply_to = {"Reply-To": mailboxes(message.reply_to)} if message.reply_to else {}
    return {**dict(message.headers), **reply_to}


def _file(attachment: Attachment) -> dict[str, str]:
    return {
        "type": attachment.content_type,
        "name": attachment.content_id or attachment.filename,
        "content": content_of(attachment),
    }


def _judged(item: dict[str, Any]) -> tuple[FailureClass | None, str | None, str | None]:
    status, known_as = text(item.get("status")), text(item.get("_id"))
    if status in _ACCEPTED:
        return None, status, known_as
    reason = text(item.get("reject_reason"))
    code = " ".join(word for word in (status, reason) if word) or "not_listed"
    match status:
        case "rejected" if reason in _ON_ITS_LIST:
            return FailureClass.SUPPRESSED, code, known_as
        case "rejected" | "invalid":
            return FailureClass.PERMANENT, code, known_as
        case _:
            return FailureClass.UNKNOWN, code, known_as


def _basic_user(request: WebhookRequest) -> str | None:
    scheme, _, given = (request.headers.first("authorization") or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    return decoded_base64(given.strip(), provider=PROVIDER, detail="authorization").decode(
        "utf-8", "replace"
    )


def _macs(signed: Sequence[str], keys: Sequence[str]) -> list[bytes]:
    return [
        hmac.digest(key.encode(), one.encode("utf-8", "replace"), "sha1")
        for key in keys
        for one in signed
    ]


def _matches(mac: bytes, signed: Sequence[str], keys: Sequence[str]) -> bool:
    return any([same(mac, one) for one in _macs(signed, keys)])  # noqa: C419 - each is compared
