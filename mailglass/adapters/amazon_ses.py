"""Amazon SES: the v2 API signed with SigV4, the frozen bytes as they are, and events through SNS.

https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html and
https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar, Final

from mailglass.adapters.amazon_ses_bulk import (
    BULK_PATH,
    bulk_body,
    bulk_verdicts,
    lacking_with_template,
)
from mailglass.adapters.amazon_ses_events import events_of
from mailglass.adapters.amazon_ses_s3 import InboundBuckets, fetched_object
from mailglass.adapters.amazon_ses_sns import PROVIDER, Sns, parsed_notification
from mailglass.adapters.api import (
    Addressed,
    ApiAdapter,
    Features,
    WebhookAuth,
    addressed,
    present,
    sent_with_id,
    token_of,
)
from mailglass.adapters.aws_signing import AwsCredentials, checked_region, signed
from mailglass.adapters.http import HttpTransport, Request, Response, Transport, checked_base_url
from mailglass.adapters.options import merged
from mailglass.clock import Clock, system_clock
from mailglass.envelope import Envelope, Verdict
from mailglass.errors import FailureClass, SendError, SendErrorType
from mailglass.failures import Signal
from mailglass.message import Message
from mailglass.webhook import TOKEN_KEY, ProviderEvent, WebhookRequest, mapping, text

__all__ = ["AmazonSesAdapter", "AwsCredentials"]

ALIASES: Final = MappingProxyType(
    {
        "configuration_set_name": "configuration_set",
        "auto_confirm_sns_subscriptions": "confirms_subscriptions",
        "message_tag_name": "tag_name",
    }
)
"""What django-anymail calls some options."""
_SERVICE: Final = "ses"
_PATH: Final = "/v2/email/outbound-emails"
_TAG_VALUE: Final = re.compile(r"[A-Za-z0-9_.@-]{1,256}", re.ASCII)
_OK: Final = 200
_HEADER_CHARS_MAX: Final = 900
_ERRORS: Final = MappingProxyType(
    {
        "TooManyRequestsException": Signal.HTTP_RATE_LIMITED,
        "ThrottlingException": Signal.HTTP_RATE_LIMITED,
        "Throttling": Signal.HTTP_RATE_LIMITED,
        "InternalServiceErrorException": Signal.HTTP_PROVIDER_ERROR,
        "AccountSuspendedException": Signal.HTTP_ACCOUNT_REFUSED,
        "SendingPausedException": Signal.HTTP_ACCOUNT_REFUSED,
        "MailFromDomainNotVerifiedException": Signal.HTTP_ACCOUNT_REFUSED,
        "LimitExceededException": Signal.HTTP_ACCOUNT_REFUSED,
        "AccessDeniedException": Signal.HTTP_ACCOUNT_REFUSED,
        "ExpiredTokenException": Signal.HTTP_ACCOUNT_REFUSED,
        "InvalidSignatureException": Signal.HTTP_ACCOUNT_REFUSED,
        "MissingAuthenticationTokenException": Signal.HTTP_ACCOUNT_REFUSED,
        "UnrecognizedClientException": Signal.HTTP_ACCOUNT_REFUSED,
        "MessageRejected": Signal.HTTP_REFUSED,
        "BadRequestException": Signal.HTTP_REFUSED,
        "NotFoundException": Signal.HTTP_REFUSED,
    }
)
_OF_THE_ACCOUNT: Final = re.compile("not verified|daily message quota", re.IGNORECASE)
"""What SES says of an identity that is not set up and of a day's quota that is used up, under names
that it uses for other things too; neither passes at the next attempt."""


class AmazonSesAdapter(ApiAdapter):
    """Hands mail to SES in one region, as the very bytes that were frozen.

    ``credentials`` may be a callable, asked at each call, for temporary keys. Our own id travels as
    an email tag, which only event publishing brings back; with ``tag_name`` a message's one tag
    does too, under that name. Of an envelope sender SES makes the address that bounces are
    forwarded to. A stored template is sent with SendBulkEmail.

    ``topic_arns`` are the SNS topics whose messages are believed; a message of any other is refused,
    however well it is signed. ``accepts_sha1`` believes SNS signature version 1 too, and without
    ``confirms_subscriptions`` a person confirms them. ``fetch_certificate`` gets an address that was
    checked and returns PEM; without it one GET of at most 6 s fetches. ``inbound`` names the S3
    buckets into which receipt rules put received mail.
    """

    PROVIDER: ClassVar[str] = PROVIDER
    WEBHOOK_PARTS: ClassVar[frozenset[str]] = frozenset({"tolerance_s"})
    FEATURES: ClassVar[Features] = Features(
        stored_templates=True,
        envelope_sender=True,
        provider_options=True,
        tracks_opens=False,
        tracks_clicks=False,
        message_bytes_max=40 * 1024 * 1024,
    )

    def __init__(  # noqa: PLR0913 - each is a keyword and has its own meaning
        self,
        *,
        region: str,
        credentials: AwsCredentials | Callable[[], AwsCredentials],
        configuration_set: str | None = None,
        tag_name: str | None = None,
        base_url: str | None = None,
        topic_arns: Sequence[str] = (),
        accepts_sha1: bool = False,
        confirms_subscriptions: bool = True,
        fetch_certificate: Callable[[str], bytes] | None = None,
        inbound: InboundBuckets | None = None,
        webhooks: WebhookAuth | None = None,
        transport: Transport | None = None,
        clock: Clock = system_clock,
    ) -> None:
        super().__init__(webhooks=webhooks, transport=transport, clock=clock)
        self._quick = HttpTransport(
            connect_timeout_s=3.0, read_timeout_s=3.0, total_timeout_s=6.0, connections_max=2
        )
        self._lookups: Transport = transport or self._quick
        self._region = checked_region(region, key="aws_region")
        self._inbound = inbound or InboundBuckets()
        self._credentials = credentials
        self._configuration_set = configuration_set
        self._tag_name = tag_name
        self._confirms_subscriptions = confirms_subscriptions
        own_url = f"https://email.{region}.amazonaws.com"
        self._base_url = checked_base_url(base_url or own_url, key="amazon_ses_base_url")
        self._sns = Sns(
            topic_arns=tuple(topic_arns),
            accepts_sha1=accepts_sha1,
            tolerance_s=self._webhooks.tolerance_s,
            fetch=fetch_certificate or self._fetched,
        )

    def lacking(self, message: Message) -> str | None:
        """Name what SES has no switch for, and what does not fit into one header field."""
        if not all(tag.isascii() for tag in message.tags):
            return "tags that are not ASCII"
        if self._tag_name and len(message.tags) > 1:
            return "more than one tag under one name"
        if self._tag_name and not all(map(_TAG_VALUE.fullmatch, message.tags)):
            return "a tag that holds more than letters, digits and _.@-"
        if len(json.dumps(dict(message.metadata))) > _HEADER_CHARS_MAX:
            return f"metadata of more than {_HEADER_CHARS_MAX} characters"
        return lacking_with_template(message) if message.stored_template is not None else None

    def request(self, envelope: Envelope) -> Request:
        """Return the signed call of SendEmail, or of SendBulkEmail for a stored template."""
        message, whom = self._thawed(envelope)
        stored, bounces = message.stored_template, message.envelope_sender
        tags = [{"Name": self._tag_name, "Value": tag} for tag in message.tags if self._tag_name]
        body = present(
            FeedbackForwardingEmailAddress=bounces.addr_spec if bounces else None,
            ConfigurationSetName=self._configuration_set,
        )
        if stored is None:
            path, body = _PATH, body | _raw_body(envelope, message, whom, tags)
        else:
            path, body = BULK_PATH, body | bulk_body(envelope, message, whom, stored, tags)
        encoded = json.dumps(merged(body, message.provider_options), separators=(",", ":")).encode()
        return self._signed(Request(url=f"{self._base_url}{path}", body=encoded))

    def ruling(self, response: Response, answer: Any) -> tuple[Signal, str | None]:
        """Read the exception's name, which stands in a header or in the body."""
        signal, _ = super().ruling(response, answer)
        name = response.headers.first("x-amzn-errortype") or text(mapping(answer).get("__type"))
        if signal is Signal.HTTP_ACCEPTED or not name:
            return signal, None
        bare = name.partition(":")[0].rpartition("#")[2]
        if _OF_THE_ACCOUNT.search(_said(answer)):
            return Signal.HTTP_ACCOUNT_REFUSED, bare
        return _ERRORS.get(bare, signal), bare

    def accepted(
        self,
        envelope: Envelope,
        response: Response,  # noqa: ARG002 - the base asks every provider alike
        answer: Any,
    ) -> tuple[Verdict, ...] | None:
        """Read the one id of the call, or the result of each mail of a stored template."""
        message = envelope.thaw()
        stored = message.stored_template
        if stored is None:
            return sent_with_id(envelope, text(mapping(answer).get("MessageId")))
        to = addressed(envelope, message).to
        return bulk_verdicts(envelope, to, answer, is_individual=stored.is_individual)

    def verify(self, request: WebhookRequest) -> None:
        """Check topic, age, certificate and signature of the SNS message, in this order.

        Raises:
            SignatureError: whatever is wrong with the request.
            ConfigError: ``webhook_verification_key_missing`` when no topic is allowed.
            SendError: ``adapter_failure`` when the certificate cannot be fetched now: the message
                may be genuine, and comes again after an answer such as 503.

        """
        self._webhooks.check_origin(request, provider=self.PROVIDER)
        self._sns.verify(request)

    def events(self, request: WebhookRequest) -> tuple[ProviderEvent, ...]:
        """Return one event a recipient; a request to confirm a subscription has none."""
        return events_of(parsed_notification(request))

    def confirmation_url(self, request: WebhookRequest) -> str | None:
        """Return the address that confirms a verified subscription, on SNS's own host; else None.

        Raises:
            SignatureError: when the address is on another host or the request does not verify.

        """
        self.verify(request)
        return self._sns.confirmation_url(request)

    def confirm(self, request: WebhookRequest) -> bool:
        """Confirm a verified subscription; tell whether the request asked for one and may have it.

        Raises:
            SignatureError: when the request does not verify or names an address of another host.
            SendError: ``adapter_failure`` when SNS does not answer; the request comes again.

        """
        url = self.confirmation_url(request)
        if url is None or not self._confirms_subscriptions:
            return False
        self._fetched(url)
        return True

    def fetch(self, address: str) -> bytes:
        """Return the received mail at ``/bucket/key`` of S3, as one signed GET brings it.

        Raises:
            SendError: ``adapter_failure``: retryable where S3 may answer later, permanent for an
                object that is not there, is too large or was encrypted by SES (``object_encrypted``).
            ConfigError: ``invalid`` for a bucket that is not among ``inbound_buckets`` and for
                credentials that S3 refuses.

        """
        request = self._inbound.request(address, region=self._region)
        region = self._inbound.inbound_region or self._region
        made = signed(
            request, credentials=self._keys(), region=region, now=self._clock(), service="s3"
        )
        return fetched_object(self._transport, made)

    def close(self) -> None:
        """Close idle connections; the adapter may be used again."""
        super().close()
        self._quick.close()

    def _fetched(self, url: str) -> bytes:
        """Return what SNS has at an address that was checked: one GET, which follows nothing."""
        response = self._lookups(Request(method="GET", url=url))
        if response.status != _OK or not response.is_complete:
            raise SendError(
                "SNS does not answer",
                type=SendErrorType.ADAPTER_FAILURE,
                provider=PROVIDER,
                failure_class=FailureClass.NOT_SENT,
                code=f"http {response.status}",
            )
        return response.body

    def _signed(self, request: Request) -> Request:
        whole = replace(request, headers=(("content-type", "application/json"),))
        made = signed(
            whole,
            credentials=self._keys(),
            region=self._region,
            now=self._clock(),
            service=_SERVICE,
        )
        return replace(made, headers=(*made.headers, ("accept", "application/json")))

    def _keys(self) -> AwsCredentials:
        return self._credentials() if callable(self._credentials) else self._credentials


def _said(answer: Any) -> str:
    told = mapping(answer)
    return text(told.get("message")) or text(told.get("Message")) or ""


def _raw_body(
    envelope: Envelope, message: Message, whom: Addressed, tags: Sequence[dict[str, str]]
) -> dict[str, Any]:
    raw = _labelled(message) + envelope.payload
    return {
        "Content": {"Raw": {"Data": base64.b64encode(raw).decode("ascii")}},
        "Destination": present(
            ToAddresses=[one.addr_spec for one in whom.to],
            CcAddresses=[one.addr_spec for one in whom.cc],
            BccAddresses=[one.addr_spec for one in whom.bcc],
        ),
        "EmailTags": [*tags, {"Name": TOKEN_KEY, "Value": token_of(envelope)}],
    }


def _labelled(message: Message) -> bytes:
    """Return tags and metadata as header fields in front of the frozen ones."""
    lines = [f"X-Tag: {tag}\r\n" for tag in message.tags]
    if message.metadata:
        lines.append(f"X-Metadata: {json.dumps(dict(message.metadata))}\r\n")
    return "".join(lines).encode("ascii")
