"""Brevo: the transactional API with its idempotency key, and webhooks that bring credentials.

https://developers.brevo.com/reference/sendtransacemail and
https://developers.brevo.com/docs/transactional-webhooks.
"""

from __future__ import annotations

import json
from email.header import Header
from types import MappingProxyType
from typing import Any, ClassVar, Final
from uuid import NAMESPACE_URL, uuid5

from mailglass.adapters.api import (
    Addressed,
    ApiAdapter,
    Features,
    Secret,
    SecretSource,
    WebhookAuth,
    addressed,
    content_of,
    each,
    everyone,
    json_request,
    present,
    sent_with_id,
    token_for,
    token_of,
)
from mailglass.adapters.brevo_events import METADATA, PROVIDER, events_of
from mailglass.adapters.download import downloaded, of_api
from mailglass.adapters.features import for_one, people
from mailglass.adapters.http import Request, Response, Transport, checked_base_url
from mailglass.adapters.options import merged
from mailglass.address import Address
from mailglass.clock import Clock, system_clock
from mailglass.envelope import Envelope, Verdict
from mailglass.failures import Signal
from mailglass.message import Message, StoredTemplate
from mailglass.webhook import (
    TOKEN_KEY,
    ProviderEvent,
    WebhookRequest,
    mapping,
    parse_json,
    text,
    texts,
)

_WINDOW_S: Final = 900.0
"""Brevo keeps a key for half an hour; an older page says a quarter, and the shorter is safe."""
_NAME_CHARS_MAX: Final = 70
_DUPLICATE: Final = "duplicate_parameter"
_CODES: Final = MappingProxyType(
    {
        _DUPLICATE: Signal.HTTP_ACCEPTED,
        "unauthorized": Signal.HTTP_ACCOUNT_REFUSED,
        "not_enough_credits": Signal.HTTP_ACCOUNT_REFUSED,
        "permission_denied": Signal.HTTP_ACCOUNT_REFUSED,
        "account_under_validation": Signal.HTTP_ACCOUNT_REFUSED,
        "too_many_requests": Signal.HTTP_RATE_LIMITED,
    }
)
"""Brevo's codes of errors. A key that it has seen means that the mail was taken before."""


class BrevoAdapter(ApiAdapter):
    """Hands mail to one Brevo account.

    Brevo signs no webhook: give ``webhooks`` the credentials that stand in the webhook's address,
    or its token. Metadata travels as the header ``X-Mailin-custom``, which recipients can see.
    A mail whose key Brevo has seen is accepted without an id: a webhook brings it.
    """

    PROVIDER: ClassVar[str] = PROVIDER
    FEATURES: ClassVar[Features] = Features(
        reply_to_max=1,
        inline_images=False,
        tracks_opens=False,
        tracks_clicks=False,
        utf8_local_parts=True,
        stored_templates=True,
        own_metadata=True,
        own_headers=True,
        body_templates=True,
        schedules=True,
        provider_options=True,
        message_bytes_max=20 * 1024 * 1024,
        idempotency_window_s=_WINDOW_S,
    )

    def __init__(
        self,
        *,
        api_key: SecretSource,
        base_url: str = "https://api.brevo.com/v3",
        webhooks: WebhookAuth | None = None,
        transport: Transport | None = None,
        clock: Clock = system_clock,
    ) -> None:
        super().__init__(webhooks=webhooks, transport=transport, clock=clock)
        self._api_key = Secret(api_key, key="brevo_api_key")
        self._base_url = checked_base_url(base_url, key="brevo_base_url")

    def lacking(self, message: Message) -> str | None:
        """Name what Brevo refuses or would send as raw bytes, and what its template replaces."""
        stored = message.stored_template
        number = stored.id if stored else None
        named = (*message.headers, *message.metadata.items())
        everybody = (message.sender, *message.reply_to, *people(message))
        rules = (
            (
                not all(one.isascii() for pair in named for one in pair),
                "a header or metadata that is not ASCII",
            ),
            (number is not None and not _is_number(number), "a template id that is no number"),
            (
                number is not None and bool(message.text or message.html),
                "bodies beside a stored template",
            ),
            (
                any(len(_person(one).get("name", "")) > _NAME_CHARS_MAX for one in everybody),
                f"a name of more than {_NAME_CHARS_MAX} characters",
            ),
        )
        return next((words for is_so, words in rules if is_so), None)

    def request(self, envelope: Envelope) -> Request:
        """Return the call of ``/smtp/email``; mails of their own are versions of one message."""
        message, whom = self._thawed(envelope)
        stored, send_at = message.stored_template, message.provider_send_at
        is_individual = stored is not None and stored.is_individual
        key = {"idempotencyKey": str(uuid5(NAMESPACE_URL, envelope.idempotency_key))}
        body = present(
            sender=_person(message.sender),
            subject=message.subject,
            textContent=message.text,
            htmlContent=message.html,
            replyTo=_person(message.reply_to[0]) if message.reply_to else None,
            headers={**dict(message.headers), **_metadata(message, token_of(envelope)), **key},
            attachment=[
                {"name": one.filename, "content": content_of(one)} for one in message.attachments
            ],
            tags=list(message.tags),
            templateId=int(stored.id) if stored and stored.id else None,
            params=dict(stored.variables) if stored else None,
            scheduledAt=send_at.isoformat(timespec="milliseconds") if send_at else None,
        )
        if is_individual and stored is not None:
            body["messageVersions"] = _versions(envelope, message, whom, stored)
        else:
            body |= _people(whom)
        body = merged(body, message.provider_options)
        headers = {"api-key": self._api_key.reveal()}
        return json_request(f"{self._base_url}/smtp/email", headers, body)

    def ruling(self, response: Response, answer: Any) -> tuple[Signal, str | None]:
        """Read the error's code before the status."""
        signal, _ = super().ruling(response, answer)
        code = text(mapping(answer).get("code"))
        if signal is Signal.HTTP_ACCEPTED or code is None or response.status >= 500:  # noqa: PLR2004 - a server's error, whatever it says
            return signal, code
        return _CODES.get(code, signal), code

    def accepted(
        self,
        envelope: Envelope,
        response: Response,  # noqa: ARG002 - the base asks every provider alike
        answer: Any,
    ) -> tuple[Verdict, ...] | None:
        """Read the id, those of the versions in their order, or that the key has been seen."""
        found = mapping(answer)
        if found.get("code") == _DUPLICATE:
            return everyone(envelope, code=_DUPLICATE)
        if "messageIds" not in found:
            return sent_with_id(envelope, text(found.get("messageId")))
        ids = texts(found["messageIds"])
        whom = addressed(envelope, envelope.thaw())
        if len(ids) != len(whom.to):
            return None
        known = {one.key: its for one, its in zip(whom.to, ids, strict=True)}
        return each(envelope, lambda address: (None, None, known.get(address.key, ids[0])))

    def verify(self, request: WebhookRequest) -> None:
        """Check credentials and network: Brevo signs nothing."""
        self._webhooks.require_credentials(PROVIDER)
        self._webhooks.check_origin(request, provider=PROVIDER)

    def events(self, request: WebhookRequest) -> tuple[ProviderEvent, ...]:
        """Return one event a record; a received mail is none."""
        return events_of(parse_json(request.body, provider=PROVIDER))

    def fetch(self, address: str) -> bytes:
        """Return what lies at a path of the API, such as a received mail's attachment.

        Raises:
            SendError: ``adapter_failure``, retryable or not.
            ConfigError: ``invalid`` for credentials.

        """
        headers = (("api-key", self._api_key.reveal()),)
        return downloaded(
            self._transport, of_api(self._base_url, address, headers), provider=PROVIDER
        )


def _is_number(shown: str) -> bool:
    return shown.isascii() and shown.isdigit()


def _person(address: Address) -> dict[str, str]:
    """Return an address; Brevo splits a name at a comma unless it is encoded (RFC 2047)."""
    name = address.name
    if name and "," in name and not name.isascii():
        name = Header(name, "utf-8").encode(linesep="")
    return present(email=address.addr_spec, name=name)


def _people(whom: Addressed) -> dict[str, Any]:
    return present(
        to=[_person(one) for one in whom.to],
        cc=[_person(one) for one in whom.cc],
        bcc=[_person(one) for one in whom.bcc],
    )


def _metadata(message: Message, token: str) -> dict[str, str]:
    return {METADATA: json.dumps({**message.metadata, TOKEN_KEY: token})}


def _versions(
    envelope: Envelope, message: Message, whom: Addressed, stored: StoredTemplate
) -> list[dict[str, Any]]:
    """Return one version a To recipient; Brevo reads Cc and Bcc in the versions alone."""
    copies = _people(Addressed(to=(), cc=whom.cc, bcc=whom.bcc))
    return [
        present(
            to=[_person(one)],
            **copies,
            params=stored.variables_for(one) if stored.own_variables(one) else None,
            headers={
                **stored.headers_of(one),
                **_metadata(for_one(message, one), token_for(envelope, one)),
            },
        )
        for one in whom.to
    ]
