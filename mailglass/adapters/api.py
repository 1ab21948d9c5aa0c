"""What the adapters of HTTP providers share: one call an envelope, one verdict a recipient.

A provider's file holds its words, its request and its webhooks; everything that is the same for all
of them stands here, so that the same status never means two things.
"""

from __future__ import annotations

import base64
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from email.utils import formataddr
from typing import Any, ClassVar, Final

from mailglass.adapters import Capabilities
from mailglass.adapters.features import Features, lacking_of, people
from mailglass.adapters.http import HttpTransport, Request, Response, Transport
from mailglass.adapters.signatures import Secret, SecretSource, WebhookAuth
from mailglass.address import Address
from mailglass.clock import Clock, system_clock
from mailglass.envelope import Accepted, Envelope, Verdict
from mailglass.errors import (
    ConfigError,
    ConfigErrorType,
    FailureClass,
    SendError,
    SendErrorType,
)
from mailglass.failures import Signal, class_of, http_signal
from mailglass.headers import refuse
from mailglass.message import Attachment, Message, RecipientKind
from mailglass.webhook import TOKEN_KEY, ProviderEvent, WebhookRequest

__all__ = ["ApiAdapter", "Features", "Secret", "SecretSource", "WebhookAuth"]

_LEASE_MARGIN_S: Final = 30.0
_CODE: Final = re.compile(r"[A-Za-z0-9_.#-]{1,64}")
"""What of a provider's own code may be kept: nothing that could be an address or a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addressed:
    """The recipients that this call is for, with the names that the message gives them."""

    to: tuple[Address, ...]
    cc: tuple[Address, ...]
    bcc: tuple[Address, ...]


class ApiAdapter(ABC):
    """Is the part of an adapter that no provider does differently.

    ``transport`` sends one request once; without one a pooled HttpTransport is used.
    """

    PROVIDER: ClassVar[str]
    FEATURES: ClassVar[Features]
    WEBHOOK_PARTS: ClassVar[frozenset[str]] = frozenset()
    """Which of ``keys``, ``url`` and ``tolerance_s`` the check of its webhooks looks at."""

    def __init__(
        self,
        *,
        webhooks: WebhookAuth | None = None,
        transport: Transport | None = None,
        clock: Clock = system_clock,
    ) -> None:
        self._own = HttpTransport() if transport is None else None
        self._transport: Transport = self._own if self._own is not None else transport  # type: ignore[assignment]  # one of the two is there
        self._webhooks = webhooks or WebhookAuth()
        self._webhooks.refuse_unused(self.PROVIDER, self.WEBHOOK_PARTS)
        self._clock = clock

    def __repr__(self) -> str:
        """Show the provider and nothing of the account."""
        return f"{type(self).__name__}()"

    @property
    def name(self) -> str:
        """Return the provider's name."""
        return self.PROVIDER

    @property
    def capabilities(self) -> Capabilities:
        """Return what the provider can do; the lease covers one exchange with every timeout used up."""
        known = self._own or HttpTransport()
        return Capabilities(
            smtputf8=self.FEATURES.utf8_local_parts,
            message_bytes_max=self.FEATURES.message_bytes_max,
            idempotency_window_s=self.FEATURES.idempotency_window_s,
            lease_s=known.connect_timeout_s + known.total_timeout_s + _LEASE_MARGIN_S,
        )

    def check(self, message: Message) -> None:
        """Refuse what this provider cannot carry, so that nothing is dropped in silence.

        Raises:
            SendError: ``serialization_failed`` with code ``unsupported_feature``.

        """
        lacking = lacking_of(message, self.FEATURES) or self.lacking(message)
        if lacking is not None:
            raise self._unsupported(lacking)

    def lacking(self, message: Message) -> str | None:  # noqa: ARG002 - providers that lack more look at it
        """Return what else of the message the provider cannot carry, in words; None when nothing."""
        return None

    @abstractmethod
    def request(self, envelope: Envelope) -> Request:
        """Return the request that hands over the envelope, without sending it."""

    @abstractmethod
    def accepted(
        self, envelope: Envelope, response: Response, answer: Any
    ) -> tuple[Verdict, ...] | None:
        """Return the verdicts in the answer to a request that was taken; None when it is unreadable."""

    @abstractmethod
    def verify(self, request: WebhookRequest) -> None:
        """Raise SignatureError unless the provider sent the request, or ConfigError without a key."""

    @abstractmethod
    def events(self, request: WebhookRequest) -> tuple[ProviderEvent, ...]:
        """Return what a verified request reports; an unknown word is ``unknown``.

        Raises:
            SignatureError: ``malformed_header`` when the body as a whole cannot be read.

        """

    def ruling(self, response: Response, answer: Any) -> tuple[Signal, str | None]:
        """Return the row of an answer and the provider's own code; the status decides by default."""
        return http_signal(response.status, has_json_body=answer is not None), None

    def requests(self, envelope: Envelope) -> tuple[Request, ...]:
        """Return every request that ``send`` would make for the envelope, without sending any."""
        return tuple(self.request(part) for part in apart(envelope))

    def send(self, envelope: Envelope) -> Accepted:
        """Make one call; several where Bcc recipients alone are left, who must not see each other.

        Raises:
            SendError: ``unsupported_feature``, or that no status came back to the only call.
            ConfigError: ``invalid`` for credentials or the certificate.

        """
        verdicts: list[Verdict] = []
        parts = apart(envelope)
        for place, part in enumerate(parts):
            try:
                verdicts += self._verdicts(part)
            except (SendError, ConfigError) as error:
                if place == 0 and len(parts) == 1:
                    raise
                verdicts += everyone(part, failure_class=_class_of(error), code=_code_of(error))
        return Accepted(provider=self.PROVIDER, verdicts=tuple(verdicts))

    def close(self) -> None:
        """Close idle connections; the adapter may be used again."""
        if self._own is not None:
            self._own.close()

    def _verdicts(self, envelope: Envelope) -> tuple[Verdict, ...]:
        response = self._transport(self.request(envelope))
        answer = response.json()
        signal, word = self.ruling(response, answer)
        failure = class_of(signal)
        code = f"http {response.status}"
        if word is not None and _CODE.fullmatch(word):
            code = f"{code} {word}"
        if failure is None:
            found = self.accepted(envelope, response, answer)
            if found is not None:
                return found
            failure = class_of(Signal.HTTP_ACCEPTED_UNPARSEABLE)
        if failure is FailureClass.CONFIGURATION:
            raise ConfigError(
                f"{self.PROVIDER} refuses this account ({code})",
                type=ConfigErrorType.INVALID,
                key=self.PROVIDER,
                hint="Look at the credentials, the sender's domain and the account's state.",
                code=code,
            )
        wait_s = response.retry_after_s(self._clock()) if failure is FailureClass.NOT_SENT else None
        return everyone(envelope, failure_class=failure, code=code, retry_after_s=wait_s)

    def _unsupported(self, what: str) -> SendError:
        return SendError(
            f"{self.PROVIDER} cannot carry {what}",
            type=SendErrorType.SERIALIZATION_FAILED,
            provider=self.PROVIDER,
            failure_class=FailureClass.PERMANENT,
            code="unsupported_feature",
        )

    def _thawed(self, envelope: Envelope) -> tuple[Message, Addressed]:
        message = envelope.thaw()
        self.check(message)
        return message, addressed(envelope, message)


def _class_of(error: SendError | ConfigError) -> FailureClass:
    if isinstance(error, ConfigError):
        return FailureClass.CONFIGURATION
    return error.failure_class or FailureClass.PERMANENT


def _code_of(error: SendError | ConfigError) -> str:
    return error.code or error.type.value


def apart(envelope: Envelope) -> tuple[Envelope, ...]:
    """Return the calls that an envelope needs: one, or one a Bcc recipient when they alone are left.

    A provider builds the To header from whom it is told to mail, so that Bcc recipients without any
    other would have to see the first of themselves.
    """
    kinds = {recipient.kind for recipient in envelope.recipients}
    if kinds != {RecipientKind.BCC} or len(envelope.recipients) == 1:
        return (envelope,)
    return tuple(
        replace(
            envelope,
            recipients=(recipient,),
            idempotency_key=f"{envelope.idempotency_key[:26]}{number:06d}",
        )
        for number, recipient in enumerate(envelope.recipients)
    )


def addressed(envelope: Envelope, message: Message) -> Addressed:
    """Return whom this call is for; where no To recipient is left, the first of the rest is To."""
    named = {address.key: address for address in people(message)}
    kinds: dict[RecipientKind, list[Address]] = {kind: [] for kind in RecipientKind}
    for recipient in envelope.recipients:
        address = named.get(recipient.address.key, recipient.address)
        kinds[recipient.kind].append(address)
    to, cc, bcc = (kinds[kind] for kind in (RecipientKind.TO, RecipientKind.CC, RecipientKind.BCC))
    if not to:
        to.append((cc or bcc).pop(0))
    return Addressed(to=tuple(to), cc=tuple(cc), bcc=tuple(bcc))


def token_of(envelope: Envelope) -> str:
    """Return the id that travels with the mail: the first recipient's delivery.

    Webhooks bring it back. With several recipients it names the message, and the address of the
    event tells which of its deliveries is meant.
    """
    return str(envelope.recipients[0].delivery_id)


def token_for(envelope: Envelope, address: Address) -> str:
    """Return the id that travels with one recipient's own mail: the delivery to that address."""
    own = (one.delivery_id for one in envelope.recipients if one.address.key == address.key)
    return str(next(own, envelope.recipients[0].delivery_id))


def metadata_with_token(envelope: Envelope, message: Message) -> dict[str, str]:
    """Return the author's metadata and our own id."""
    return {**message.metadata, TOKEN_KEY: token_of(envelope)}


def everyone(
    envelope: Envelope,
    *,
    failure_class: FailureClass | None = None,
    code: str | None = None,
    provider_message_id: str | None = None,
    retry_after_s: float | None = None,
) -> tuple[Verdict, ...]:
    """Return the same verdict for each recipient."""
    return tuple(
        Verdict(
            delivery_id=recipient.delivery_id,
            failure_class=failure_class,
            code=code,
            provider_message_id=provider_message_id,
            retry_after_s=retry_after_s,
        )
        for recipient in envelope.recipients
    )


def each(
    envelope: Envelope,
    judge: Callable[[Address], tuple[FailureClass | None, str | None, str | None]],
) -> tuple[Verdict, ...]:
    """Return one verdict a recipient: its class, its code and the provider's id."""
    verdicts = []
    for recipient in envelope.recipients:
        failure, code, provider_id = judge(recipient.address)
        verdicts.append(
            Verdict(
                delivery_id=recipient.delivery_id,
                failure_class=failure,
                code=code,
                provider_message_id=provider_id,
            )
        )
    return tuple(verdicts)


def json_request(
    url: str, headers: Mapping[str, str], body: Mapping[str, Any] | Sequence[Any]
) -> Request:
    """Return a POST of compact JSON."""
    return Request(
        url=url,
        headers=(
            *headers.items(),
            ("Accept", "application/json"),
            ("Content-Type", "application/json"),
        ),
        body=json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(),
    )


def present(**fields: Any) -> dict[str, Any]:
    """Return the fields that hold something; False and 0 do."""
    return {
        name: value
        for name, value in fields.items()
        if value is not None and value not in ("", [], {})
    }


def mailboxes(addresses: Sequence[Address]) -> str:
    """Return addresses as one header value would list them."""
    return ", ".join(map(str, addresses))


def ascii_mailboxes(addresses: Sequence[Address]) -> str:
    """Return addresses as one header value in ASCII, for providers that do not encode headers.

    Names are encoded words where they need to be (RFC 2047); local parts must be ASCII.
    """
    return ", ".join(formataddr((one.name, one.addr_spec)) for one in addresses)


def email_and_name(address: Address) -> dict[str, str]:
    """Return an address in the form that most providers take."""
    return present(email=address.addr_spec, name=address.name)


def content_bytes(attachment: Attachment) -> bytes:
    """Return the content.

    Raises:
        SendError: ``serialization_failed`` with code ``attachment_not_loaded``.

    """
    if attachment.content is None:
        raise refuse("an attachment is not loaded", code="attachment_not_loaded")
    return attachment.content


def content_of(attachment: Attachment) -> str:
    """Return the content in base64."""
    return base64.b64encode(content_bytes(attachment)).decode("ascii")


def sent_with_id(envelope: Envelope, provider_id: str | None) -> tuple[Verdict, ...] | None:
    """Return acceptance of everyone under one id; None without an id: then nothing is certain."""
    return None if provider_id is None else everyone(envelope, provider_message_id=provider_id)
