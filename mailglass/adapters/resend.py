"""Resend: the emails API with its idempotency key, and webhooks signed as Standard Webhooks.

https://resend.com/docs/api-reference/emails/send-email and
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md.
"""

from __future__ import annotations

import hmac
import json
import mimetypes
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, ClassVar, Final

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
    present,
    sent_with_id,
    token_for,
    token_of,
)
from mailglass.adapters.download import downloaded, of_api, of_domains
from mailglass.adapters.features import for_one
from mailglass.adapters.http import Request, Response, Transport, checked_base_url
from mailglass.adapters.options import merged
from mailglass.adapters.resend_events import PROVIDER, events_of
from mailglass.address import Address
from mailglass.clock import Clock, system_clock
from mailglass.envelope import Envelope, Verdict
from mailglass.errors import FailureClass, SignatureError, SignatureErrorType
from mailglass.failures import Signal
from mailglass.message import Attachment, Message
from mailglass.webhook import (
    TOKEN_KEY,
    ProviderEvent,
    WebhookRequest,
    check_age,
    decoded_base64,
    malformed,
    mapping,
    parse_json,
    refused,
    same,
    sequence,
    signed_seconds,
    text,
)

_DAY_S: Final = 86_400.0
_MAC_BYTES: Final = 32
_ID_CHARS_MAX: Final = 256
_KEY_MARK: Final = "whsec_"
_ANY_TYPE: Final = "application/octet-stream"
DOWNLOAD_DOMAINS: Final = ("resend.com", "resend.app")
"""Where the API says that received mails and their attachments lie."""
_SIGNED_AS: Final = ("svix", "webhook")
"""The names that the three headers begin with: those of Resend's service, and the standard's own."""
_NAMES: Final = MappingProxyType(
    {
        "invalid_idempotent_request": Signal.HTTP_REFUSED,
        "invalid_idempotency_key": Signal.HTTP_REFUSED,
        "concurrent_idempotent_requests": Signal.HTTP_IDEMPOTENCY_CONCURRENT,
        "daily_quota_exceeded": Signal.HTTP_ACCOUNT_REFUSED,
        "monthly_quota_exceeded": Signal.HTTP_ACCOUNT_REFUSED,
        "rate_limit_exceeded": Signal.HTTP_RATE_LIMITED,
        "missing_api_key": Signal.HTTP_ACCOUNT_REFUSED,
        "restricted_api_key": Signal.HTTP_ACCOUNT_REFUSED,
        "invalid_api_key": Signal.HTTP_ACCOUNT_REFUSED,
    }
)
"""Resend's names of errors, where the status alone would say less: a quota is no rate."""


class ResendAdapter(ApiAdapter):
    """Hands mail to one Resend account.

    ``webhooks.keys`` are signing secrets, ``whsec_…``; credentials alone do as well, where a proxy
    in front of Resend adds them. Tags and metadata travel as the headers ``X-Tags`` and
    ``X-Metadata``, which recipients can see. Opens and clicks are switched in Resend's domain and
    nowhere else. An event names every To recipient: the first of them is meant. A received mail is
    fetched from the API and from ``download_domains`` alone.
    """

    PROVIDER: ClassVar[str] = PROVIDER
    WEBHOOK_PARTS: ClassVar[frozenset[str]] = frozenset({"keys", "tolerance_s"})
    FEATURES: ClassVar[Features] = Features(
        tracks_opens=False,
        tracks_clicks=False,
        stored_templates=True,
        own_metadata=True,
        own_headers=True,
        body_templates=True,
        schedules=True,
        provider_options=True,
        message_bytes_max=40 * 1024 * 1024,
        idempotency_window_s=_DAY_S,
    )

    def __init__(  # noqa: PLR0913 - each is a keyword and has its own meaning
        self,
        *,
        api_key: SecretSource,
        base_url: str = "https://api.resend.com",
        download_domains: Sequence[str] = DOWNLOAD_DOMAINS,
        webhooks: WebhookAuth | None = None,
        transport: Transport | None = None,
        clock: Clock = system_clock,
    ) -> None:
        super().__init__(webhooks=webhooks, transport=transport, clock=clock)
        self._api_key = Secret(api_key, key="resend_api_key")
        self._base_url = checked_base_url(base_url, key="resend_base_url")
        self._download_domains = tuple(download_domains)

    def lacking(self, message: Message) -> str | None:
        """Name variables without a template, what a template replaces, and what no batch carries."""
        stored = message.stored_template
        own = stored.per_recipient if stored else None
        is_stored = stored is not None and stored.id is not None
        has_variables = stored is not None and bool(stored.variables or any((own or {}).values()))
        is_batch = stored is not None and stored.is_individual
        rules = (
            (has_variables and not is_stored, "variables without a template id"),
            (is_stored and bool(message.text or message.html), "bodies beside a stored template"),
            (is_batch and bool(message.attachments), "attachments of mails sent as a batch"),
            (is_batch and message.provider_send_at is not None, "a batch for later"),
            (any(map(_is_misnamed, message.attachments)), "a file whose name is of another type"),
        )
        return next((words for is_so, words in rules if is_so), None)

    def request(self, envelope: Envelope) -> Request:
        """Return the call of ``/emails``, or of ``/emails/batch`` where each gets a mail of their own."""
        message, whom = self._thawed(envelope)
        if message.stored_template is None or not message.stored_template.is_individual:
            return self._call("emails", envelope, _mail(message, whom, token_of(envelope)))
        mails = [
            _mail(for_one(message, one), replace(whom, to=(one,)), token_for(envelope, one))
            for one in whom.to
        ]
        return self._call("emails/batch", envelope, mails)

    def _call(self, path: str, envelope: Envelope, body: Any) -> Request:
        headers = {
            "Authorization": f"Bearer {self._api_key.reveal()}",
            "Idempotency-Key": envelope.idempotency_key[:_ID_CHARS_MAX],
            "Accept": "application/json",
            "Content-Type": "application/json",
        }
        raw = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        return Request(url=f"{self._base_url}/{path}", headers=tuple(headers.items()), body=raw)

    def ruling(self, response: Response, answer: Any) -> tuple[Signal, str | None]:
        """Read the error's name, which tells a quota from a rate and one 409 from the other."""
        signal, _ = super().ruling(response, answer)
        name = text(mapping(answer).get("name"))
        if signal is Signal.HTTP_ACCEPTED or name is None:
            return signal, None
        return _NAMES.get(name, signal), name

    def accepted(
        self,
        envelope: Envelope,
        response: Response,  # noqa: ARG002 - the base asks every provider alike
        answer: Any,
    ) -> tuple[Verdict, ...] | None:
        """Read the id, or those of a batch: one a To recipient in order, the first for all others."""
        found = mapping(answer)
        if "data" not in found:
            return sent_with_id(envelope, text(found.get("id")))
        ids = [text(mapping(one).get("id")) for one in sequence(found["data"])]
        whom = addressed(envelope, envelope.thaw())
        if len(ids) != len(whom.to):
            return None
        known = {one.key: its for one, its in zip(whom.to, ids, strict=True)}
        return each(envelope, lambda address: _taken(known.get(address.key, ids[0])))

    def verify(self, request: WebhookRequest) -> None:
        """Check the MAC over id, whole seconds and body with every key, and the age of the request."""
        self._webhooks.check_origin(request, provider=PROVIDER)
        keys = [_key(one) for one in self._webhooks.optional_secrets(PROVIDER)]
        if not keys:
            return
        prefix = _prefix_of(request)
        known_as = request.header(f"{prefix}-id", provider=PROVIDER)
        moment = request.header(f"{prefix}-timestamp", provider=PROVIDER)
        given = request.header(f"{prefix}-signature", provider=PROVIDER)
        seconds = signed_seconds(moment, provider=PROVIDER)
        signed = f"{known_as}.{int(seconds)}.".encode("utf-8", "replace") + request.body
        _check_any(given, [hmac.digest(key, signed, "sha256") for key in keys])
        tolerance_s = self._webhooks.tolerance_s
        check_age(seconds, now=request.now, tolerance_s=tolerance_s, provider=PROVIDER)

    def events(self, request: WebhookRequest) -> tuple[ProviderEvent, ...]:
        """Return the one event of the request, under the id of its header; a received mail is none."""
        known_as = request.headers.first(f"{_prefix_of(request)}-id")
        return events_of(parse_json(request.body, provider=PROVIDER), known_as)

    def fetch(self, address: str) -> bytes:
        """Return what lies at a path of the API, or at an address that the API named for a download.

        The key goes to the API alone.

        Raises:
            SendError: ``adapter_failure``, retryable or not.
            SignatureError: ``malformed_header`` for an address on another domain.
            ConfigError: ``invalid`` for credentials.

        """
        if not address.startswith("/"):
            request = of_domains(self._download_domains, address, provider=PROVIDER)
        else:
            headers = (("Authorization", f"Bearer {self._api_key.reveal()}"),)
            request = of_api(self._base_url, address, headers)
        return downloaded(self._transport, request, provider=PROVIDER)


def _prefix_of(request: WebhookRequest) -> str:
    known = (one for one in _SIGNED_AS if request.headers.first(f"{one}-id") is not None)
    return next(known, _SIGNED_AS[0])


def _key(secret: str) -> bytes:
    """Return the bytes of a signing secret.

    Raises:
        SignatureError: ``malformed_key``; the secret is not in it.

    """
    try:
        key = decoded_base64(secret.removeprefix(_KEY_MARK), provider=PROVIDER, detail="key")
    except SignatureError:
        raise refused(SignatureErrorType.MALFORMED_KEY, PROVIDER, "key") from None
    if not key:
        raise refused(SignatureErrorType.MALFORMED_KEY, PROVIDER, "key")
    return key


def _check_any(given: str, macs: list[bytes]) -> None:
    """Accept when any signature of the first version in the list is one of ours."""
    found = [one.removeprefix("v1,") for one in given.split() if one.startswith("v1,")]
    if not found:
        raise malformed(PROVIDER, "signature")
    shown = [decoded_base64(one, provider=PROVIDER, detail="signature") for one in found]
    if any(len(one) != _MAC_BYTES for one in shown):
        raise malformed(PROVIDER, "signature")
    if not any([same(one, mac) for one in shown for mac in macs]):  # noqa: C419 - each is compared
        raise refused(SignatureErrorType.BAD_SIGNATURE, PROVIDER, "signature")


def _taken(known_as: str | None) -> tuple[FailureClass | None, str | None, str | None]:
    return (None if known_as else FailureClass.UNKNOWN), None, known_as


def _mail(message: Message, whom: Addressed, token: str) -> dict[str, Any]:
    send_at = message.provider_send_at
    body = present(
        **{"from": str(message.sender)},
        to=_each_as_text(whom.to),
        cc=_each_as_text(whom.cc),
        bcc=_each_as_text(whom.bcc),
        reply_to=_each_as_text(message.reply_to),
        subject=message.subject,
        text=message.text,
        html=message.html,
        headers=_headers(message),
        attachments=[_file(one) for one in message.attachments],
        scheduled_at=send_at.isoformat() if send_at else None,
        template=_template(message, whom),
        tags=[{"name": TOKEN_KEY, "value": token}],
    )
    if "template" not in body:
        body.setdefault("subject", "")
    return merged(body, message.provider_options)


def _each_as_text(addresses: tuple[Address, ...]) -> list[str]:
    return [str(one) for one in addresses]


def _template(message: Message, whom: Addressed) -> dict[str, Any] | None:
    stored = message.stored_template
    if stored is None or stored.id is None:
        return None
    return present(id=stored.id, variables=stored.variables_for(whom.to[0]))


def _headers(message: Message) -> dict[str, str]:
    ours = {
        "X-Tags": json.dumps(list(message.tags)) if message.tags else None,
        "X-Metadata": json.dumps(dict(message.metadata)) if message.metadata else None,
    }
    return {**dict(message.headers), **present(**ours)}


def _file(attachment: Attachment) -> dict[str, str]:
    """Return a file; Resend reads its type from the name, so that it is told only where it must."""
    shown = _bare_type(attachment)
    is_told = shown not in {_ANY_TYPE, mimetypes.guess_type(attachment.filename)[0]}
    return present(
        filename=attachment.filename,
        content=content_of(attachment),
        content_type=shown if is_told else None,
        content_id=attachment.content_id,
    )


def _is_misnamed(attachment: Attachment) -> bool:
    """Tell whether name and type contradict each other: Resend loses such a mail without a word."""
    shown, guessed = _bare_type(attachment), mimetypes.guess_type(attachment.filename)[0]
    if guessed is None or shown in {_ANY_TYPE, guessed}:
        return False
    suffix = PurePosixPath(attachment.filename).suffix.lower()
    return suffix not in mimetypes.guess_all_extensions(shown)


def _bare_type(attachment: Attachment) -> str:
    return attachment.content_type.partition(";")[0].strip().lower()
