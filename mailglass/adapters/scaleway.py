"""Scaleway Transactional Email: the emails API, and webhooks that come through Topics and Events.

https://www.scaleway.com/en/developers/api/transactional-email/ and
https://www.scaleway.com/en/docs/transactional-email/reference-content/webhook-events-payloads/.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from mailglass.adapters.api import (
    ApiAdapter,
    Features,
    Secret,
    SecretSource,
    WebhookAuth,
    ascii_mailboxes,
    content_of,
    each,
    email_and_name,
    json_request,
    present,
    token_of,
)
from mailglass.adapters.http import (
    HttpTransport,
    Request,
    Response,
    Transport,
    checked_base_url,
    failed,
    is_ok,
)
from mailglass.adapters.options import merged
from mailglass.adapters.scaleway_events import (
    METADATA_HEADER,
    TAGS_HEADER,
    TOKEN_HEADER,
    events_of,
)
from mailglass.adapters.scaleway_sns import PROVIDER, Topics, confirmation_url, record_of
from mailglass.clock import Clock, system_clock
from mailglass.envelope import Envelope, Verdict
from mailglass.errors import ConfigError, ConfigErrorType, FailureClass
from mailglass.failures import Signal
from mailglass.message import Attachment, Message
from mailglass.webhook import ProviderEvent, WebhookRequest, mapping, sequence, text, texts

_REGION: Final = re.compile(r"[a-z]{2}-[a-z]{3}")
_HEADER_CHARS_MAX: Final = 900
"""Of one header field, which must not pass 998 octets on a line (RFC 5322 §2.1.1)."""
_OWN_FIELDS: Final = (METADATA_HEADER, TAGS_HEADER, TOKEN_HEADER, "Reply-To")
_ACCEPTED: Final = frozenset({"new", "sending", "sent", "unknown"})
_ON_ITS_LIST: Final = "blocklisted"


class ScalewayAdapter(ApiAdapter):
    """Hands mail to one project of Scaleway in one region.

    Tags, metadata and our own id travel as the header fields ``X-Tags``, ``X-Metadata`` and
    ``X-Mailglass-Delivery``, which everybody who gets the mail can read. Webhooks verify by the
    topic's ARN and the certificates of Scaleway: ``webhooks.keys`` pins its authority, as PEM;
    without one it is fetched from where Scaleway publishes it.
    """

    PROVIDER: ClassVar[str] = PROVIDER
    WEBHOOK_PARTS: ClassVar[frozenset[str]] = frozenset({"keys", "tolerance_s"})
    FEATURES: ClassVar[Features] = Features(
        provider_options=True,
        inline_images=False,
        tracks_opens=False,
        tracks_clicks=False,
        message_bytes_max=2_000_000,
    )

    def __init__(  # noqa: PLR0913 - each is a keyword and has its own meaning
        self,
        *,
        api_key: SecretSource,
        project_id: str,
        region: str = "fr-par",
        base_url: str | None = None,
        topic_arns: Sequence[str] = (),
        accepts_sha1: bool = True,
        confirms_subscriptions: bool = True,
        webhooks: WebhookAuth | None = None,
        transport: Transport | None = None,
        clock: Clock = system_clock,
    ) -> None:
        super().__init__(webhooks=webhooks, transport=transport, clock=clock)
        if _REGION.fullmatch(region) is None:
            raise ConfigError(
                "the region is none of Scaleway",
                type=ConfigErrorType.INVALID,
                key="scaleway_region",
            )
        usual = f"https://api.scaleway.com/transactional-email/v1alpha1/regions/{region}"
        self._api_key = Secret(api_key, key="scaleway_api_key")
        self._project_id = project_id
        self._base_url = checked_base_url(base_url or usual, key="scaleway_base_url")
        self._quick = HttpTransport(
            connect_timeout_s=3.0, read_timeout_s=3.0, total_timeout_s=6.0, connections_max=2
        )
        self._lookups: Transport = transport or self._quick
        self._confirms_subscriptions = confirms_subscriptions
        self._topics = Topics(
            topic_arns=tuple(topic_arns),
            authorities=tuple(
                Secret(one, key="webhook_key").plain() for one in self._webhooks.keys
            ),
            accepts_sha1=accepts_sha1,
            tolerance_s=self._webhooks.tolerance_s,
            fetch=self._fetched,
        )

    def lacking(self, message: Message) -> str | None:
        """Name what does not fit into one header field, and fields that mailglass fills itself."""
        given = {name.lower() for name, _ in message.headers}
        taken = next((name for name in _OWN_FIELDS if name.lower() in given), None)
        if taken is not None:
            return f"a field of the name {taken}, which mailglass fills itself"
        if len(json.dumps(dict(message.metadata))) > _HEADER_CHARS_MAX:
            return f"metadata of more than {_HEADER_CHARS_MAX} characters"
        if len(json.dumps(list(message.tags))) > _HEADER_CHARS_MAX:
            return f"tags of more than {_HEADER_CHARS_MAX} characters"
        return None

    def request(self, envelope: Envelope) -> Request:
        """Return the call of ``/emails``."""
        message, whom = self._thawed(envelope)
        body = present(
            project_id=self._project_id,
            **{"from": email_and_name(message.sender)},
            to=[email_and_name(one) for one in whom.to],
            cc=[email_and_name(one) for one in whom.cc],
            bcc=[email_and_name(one) for one in whom.bcc],
            subject=message.subject,
            text=message.text,
            html=message.html,
            attachments=[_file(one) for one in message.attachments],
            additional_headers=_headers(envelope, message),
        )
        return json_request(
            f"{self._base_url}/emails",
            {"X-Auth-Token": self._api_key.reveal()},
            merged(body, message.provider_options),
        )

    def ruling(self, response: Response, answer: Any) -> tuple[Signal, str | None]:
        """Keep the kind of error that Scaleway names."""
        signal, _ = super().ruling(response, answer)
        return signal, text(mapping(answer).get("type"))

    def accepted(
        self,
        envelope: Envelope,
        response: Response,  # noqa: ARG002 - the base asks every provider alike
        answer: Any,
    ) -> tuple[Verdict, ...] | None:
        """Read the mail of each recipient; one that is not listed is unknown."""
        emails = sequence(mapping(answer).get("emails"))
        items = {str(text(one.get("mail_rcpt"))).lower(): one for one in map(mapping, emails)}
        if not items:
            return None
        return each(envelope, lambda address: _judged(items.get(address.addr_spec.lower(), {})))

    def verify(self, request: WebhookRequest) -> None:
        """Check topic, age, certificate and signature.

        Raises:
            SignatureError: whatever is wrong with the request.
            ConfigError: ``webhook_verification_key_missing`` when no topic is allowed.
            SendError: ``adapter_failure`` when a certificate cannot be fetched now: the message may
                be genuine, and comes again after an answer such as 503.

        """
        self._webhooks.check_origin(request, provider=PROVIDER)
        self._topics.verify(request)

    def events(self, request: WebhookRequest) -> tuple[ProviderEvent, ...]:
        """Return the event of a notification; a request to confirm a subscription has none."""
        return events_of(record_of(request))

    def confirmation_url(self, request: WebhookRequest) -> str | None:
        """Return the address that confirms a verified subscription; None for anything else.

        Raises:
            SignatureError: when the address is on another host or the request does not verify.

        """
        self.verify(request)
        return confirmation_url(record_of(request))

    def confirm(self, request: WebhookRequest) -> bool:
        """Confirm a verified subscription; tell whether the request asked for one and may have it.

        Raises:
            SignatureError: when the request does not verify or names an address of another host.
            SendError: ``adapter_failure`` when Scaleway does not answer; the request comes again.

        """
        url = self.confirmation_url(request)
        if url is None or not self._confirms_subscriptions:
            return False
        self._fetched(url)
        return True

    def close(self) -> None:
        """Close idle connections; the adapter may be used again."""
        self._quick.close()
        super().close()

    def _fetched(self, url: str) -> bytes:
        response = self._lookups(Request(method="GET", url=url))
        if not is_ok(response.status) or not response.is_complete:
            raise failed(Signal.CONNECT_FAILED)
        return response.body


def _headers(envelope: Envelope, message: Message) -> list[dict[str, str]]:
    fields = present(
        **{"Reply-To": ascii_mailboxes(message.reply_to)},
        **dict(message.headers),
        **{METADATA_HEADER: json.dumps(dict(message.metadata)) if message.metadata else None},
        **{TAGS_HEADER: json.dumps(list(message.tags)) if message.tags else None},
        **{TOKEN_HEADER: token_of(envelope)},
    )
    return [{"key": name, "value": value} for name, value in fields.items()]


def _file(attachment: Attachment) -> dict[str, str]:
    return {
        "name": attachment.filename,
        "type": attachment.content_type,
        "content": content_of(attachment),
    }


def _judged(item: dict[str, Any]) -> tuple[FailureClass | None, str | None, str | None]:
    status, known_as = text(item.get("status")), text(item.get("id"))
    if known_as is None:
        return FailureClass.UNKNOWN, "not_listed", None
    if status in _ACCEPTED:
        return None, status, known_as
    if status in {"failed", "canceled"}:
        is_listed = _ON_ITS_LIST in texts(item.get("flags"))
        failure = FailureClass.SUPPRESSED if is_listed else FailureClass.PERMANENT
        return failure, f"{status} {_ON_ITS_LIST}" if is_listed else status, known_as
    return FailureClass.UNKNOWN, "status", known_as
