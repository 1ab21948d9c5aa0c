"""Postal, which its users host themselves: the message API, and webhooks that its server signs.

https://docs.postalserver.io/developer/api and https://docs.postalserver.io/developer/webhooks.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, ClassVar, Final

from mailglass.adapters.api import (
    ApiAdapter,
    Features,
    Secret,
    SecretSource,
    WebhookAuth,
    content_of,
    each,
    json_request,
    present,
)
from mailglass.adapters.http import Request, Response, Transport, checked_base_url
from mailglass.adapters.options import merged
from mailglass.adapters.postal_events import PROVIDER, events_of
from mailglass.adapters.signatures import check_public_key
from mailglass.clock import Clock, system_clock
from mailglass.envelope import Envelope, Verdict
from mailglass.errors import FailureClass, SignatureErrorType
from mailglass.failures import Signal
from mailglass.message import Attachment, Message
from mailglass.webhook import (
    ProviderEvent,
    WebhookRequest,
    decoded_base64,
    mapping,
    parse_json,
    refused,
    text,
)

_SHA256: Final = "X-Postal-Signature-256"
_SHA1: Final = "X-Postal-Signature"
_ERRORS: Final = MappingProxyType(
    {
        "AccessDenied": Signal.HTTP_ACCOUNT_REFUSED,
        "InvalidServerAPIKey": Signal.HTTP_ACCOUNT_REFUSED,
        "ServerSuspended": Signal.HTTP_ACCOUNT_REFUSED,
        "UnauthenticatedFromAddress": Signal.HTTP_ACCOUNT_REFUSED,
        "InternalServerError": Signal.HTTP_GATEWAY_ERROR,
    }
)
"""Postal's own errors come with status 200; those that are not here are about the mail itself."""
_REFUSALS: Final = frozenset({"error", "parameter-error"})


class PostalAdapter(ApiAdapter):
    """Hands mail to one Postal server at ``base_url``, such as ``https://postal.example.org``.

    Postal takes no metadata, so that its events are known by the provider's id alone, and handles
    bounces itself: an envelope sender becomes the Sender field. ``webhooks.keys`` are the server's
    public keys, in PEM or as in its DKIM record. Servers older than version 3 sign with SHA-1 only,
    which counts as long as ``accepts_sha1``.
    """

    PROVIDER: ClassVar[str] = PROVIDER
    WEBHOOK_PARTS: ClassVar[frozenset[str]] = frozenset({"keys"})
    FEATURES: ClassVar[Features] = Features(
        provider_options=True,
        envelope_sender=True,
        tracks_opens=False,
        tracks_clicks=False,
        inline_images=False,
        reply_to_max=1,
        tags_max=1,
    )

    def __init__(  # noqa: PLR0913 - each is a keyword and has its own meaning
        self,
        *,
        api_key: SecretSource,
        base_url: str,
        accepts_sha1: bool = True,
        webhooks: WebhookAuth | None = None,
        transport: Transport | None = None,
        clock: Clock = system_clock,
    ) -> None:
        super().__init__(webhooks=webhooks, transport=transport, clock=clock)
        self._api_key = Secret(api_key, key="postal_api_key")
        self._base_url = checked_base_url(base_url, key="postal_base_url")
        self._accepts_sha1 = accepts_sha1

    def lacking(self, message: Message) -> str | None:
        """Name metadata, which Postal has no place for."""
        return "metadata" if message.metadata else None

    def request(self, envelope: Envelope) -> Request:
        """Return the call of ``/api/v1/send/message``."""
        message, whom = self._thawed(envelope)
        body = present(
            **{"from": str(message.sender)},
            sender=message.envelope_sender.addr_spec if message.envelope_sender else None,
            subject=message.subject,
            plain_body=message.text,
            html_body=message.html,
            reply_to=str(message.reply_to[0]) if message.reply_to else None,
            headers=dict(message.headers),
            tag=next(iter(message.tags), None),
            attachments=[_file(one) for one in message.attachments],
        )
        lists = {"to": whom.to, "cc": whom.cc, "bcc": whom.bcc}
        body |= {kind: [str(one) for one in people] for kind, people in lists.items()}
        headers = {"X-Server-API-Key": self._api_key.reveal()}
        url = f"{self._base_url}/api/v1/send/message"
        return json_request(url, headers, merged(body, message.provider_options))

    def ruling(self, response: Response, answer: Any) -> tuple[Signal, str | None]:
        """Read the status in the body: Postal answers 200 to what it refuses too."""
        signal, _ = super().ruling(response, answer)
        said = mapping(answer)
        if signal is not Signal.HTTP_ACCEPTED or said.get("status") not in _REFUSALS:
            return signal, None
        code = text(mapping(said.get("data")).get("code"))
        return _ERRORS.get(code or "", Signal.HTTP_REFUSED), code or "parameter-error"

    def accepted(
        self,
        envelope: Envelope,
        response: Response,  # noqa: ARG002 - the base asks every provider alike
        answer: Any,
    ) -> tuple[Verdict, ...] | None:
        """Read the id of each recipient's message; one that is not listed is unknown."""
        said = mapping(answer)
        listed = mapping(mapping(said.get("data")).get("messages"))
        if said.get("status") != "success" or not listed:
            return None
        ids = {key.lower(): text(mapping(item).get("id")) for key, item in listed.items()}

        def judged(address: str) -> tuple[FailureClass | None, str | None, str | None]:
            known_as = ids.get(address.lower())
            if known_as is None:
                return FailureClass.UNKNOWN, "not_listed", None
            return None, None, known_as

        return each(envelope, lambda address: judged(address.addr_spec))

    def verify(self, request: WebhookRequest) -> None:
        """Check the server's RSA signature over the raw body, with SHA-256 where there is one."""
        self._webhooks.check_origin(request, provider=PROVIDER)
        keys = self._webhooks.secrets(PROVIDER)
        header, digest = _SHA256, "sha256"
        if not request.headers.all(_SHA256):
            header, digest = _SHA1, "sha1"
            if not self._accepts_sha1:
                raise refused(SignatureErrorType.MISSING_HEADER, PROVIDER, _SHA256.lower())
        given = request.header(header, provider=PROVIDER)
        signature = decoded_base64(given, provider=PROVIDER, detail="signature")
        check_public_key(signature, request.body, keys, provider=PROVIDER, digest=digest)

    def events(self, request: WebhookRequest) -> tuple[ProviderEvent, ...]:
        """Return the one event of the request; what is not about a mail of ours has none."""
        return events_of(parse_json(request.body, provider=PROVIDER))


def _file(attachment: Attachment) -> dict[str, str]:
    return {
        "name": attachment.filename,
        "content_type": attachment.content_type,
        "data": content_of(attachment),
    }
