"""MailerSend: the email API, and webhooks whose body is signed.

https://developers.mailersend.com/api/v1/email.html,
https://developers.mailersend.com/api/v1/features.html and
https://developers.mailersend.com/api/v1/webhooks.html#security.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from enum import StrEnum, unique
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
    email_and_name,
    present,
    token_for,
)
from mailglass.adapters.features import people
from mailglass.adapters.http import Request, Response, Transport, checked_base_url
from mailglass.adapters.mailersend_events import OWN_TAG, PING, PROVIDER, events_of
from mailglass.adapters.options import merged
from mailglass.adapters.signatures import check_hmac_hex
from mailglass.address import Address
from mailglass.clock import Clock, system_clock
from mailglass.envelope import Envelope, Verdict
from mailglass.errors import FailureClass
from mailglass.failures import Signal
from mailglass.message import Attachment, Message, StoredTemplate
from mailglass.webhook import (
    ProviderEvent,
    WebhookRequest,
    mapping,
    parse_json,
    same,
    sequence,
    text,
    texts,
)

_SIGNATURE: Final = "Signature"
_PING_KEY: Final = "test_Am3L1GuOIc4blLUuHqAPxxwkZaJyEk8G"
"""With this key, which MailerSend publishes and which is no secret, it signs the test of an address."""
_COPIES_MAX: Final = 10
_BULK_MIN: Final = 2
_TAGS_MAX: Final = 5
_AHEAD_MAX: Final = timedelta(hours=72)
_NOT_IN_NAMES: Final = frozenset(",;")
_NUMBER: Final = re.compile(r"#(MS[0-9]{3,6})\b")
_NUMBERS: Final = MappingProxyType(
    {
        "MS42204": Signal.HTTP_ACCOUNT_REFUSED,
        "MS42207": Signal.HTTP_ACCOUNT_REFUSED,
        "MS42222": Signal.HTTP_ACCOUNT_REFUSED,
        "MS42225": Signal.HTTP_ACCOUNT_REFUSED,
        "MS42901": Signal.HTTP_ACCOUNT_REFUSED,
        "MS42903": Signal.HTTP_RATE_LIMITED,
    }
)
"""The quota, a sender's domain that is not verified, the two limits of a trial, the quota of the day,
and the rate: only the last is over within a minute."""
_SUPPRESSED: Final = "_SUPPRESSED"
_IS_BULK: Final = frozenset({"bulk", "junk", "list"})
_OWN_FIELDS: Final = frozenset({"in-reply-to", "precedence"})
_MODE: Final = "batch_send_mode"


@unique
class BatchSendMode(StrEnum):
    """How a mail with variables of each recipient goes to several of them."""

    USE_BULK_EMAIL = "use-bulk-email"
    EXPOSE_TO_LIST = "expose-to-list"


class MailerSendAdapter(ApiAdapter):
    """Hands mail to one MailerSend domain.

    ``webhooks.keys`` are the signing secrets of webhooks. ``batch_send_mode`` tells how a mail with
    variables of each recipient goes to several: as mails of their own, of whose ids MailerSend
    returns none but the batch's, or as one mail in which they see each other. Each mail of a batch
    has a tag of our own, ``mailglass_delivery-`` and an id, by which its events are known.
    MailerSend keeps no metadata; custom headers need a plan that has them.
    """

    PROVIDER: ClassVar[str] = PROVIDER
    WEBHOOK_PARTS: ClassVar[frozenset[str]] = frozenset({"keys"})
    FEATURES: ClassVar[Features] = Features(
        tags_max=_TAGS_MAX,
        reply_to_max=1,
        utf8_local_parts=True,
        stored_templates=True,
        body_templates=True,
        schedules=True,
        provider_options=True,
        message_bytes_max=25 * 1024 * 1024,
    )

    def __init__(  # noqa: PLR0913 - each is a keyword and has its own meaning
        self,
        *,
        api_key: SecretSource,
        batch_send_mode: BatchSendMode = BatchSendMode.USE_BULK_EMAIL,
        base_url: str = "https://api.mailersend.com/v1",
        webhooks: WebhookAuth | None = None,
        transport: Transport | None = None,
        clock: Clock = system_clock,
    ) -> None:
        super().__init__(webhooks=webhooks, transport=transport, clock=clock)
        self._api_key = Secret(api_key, key="mailersend_api_key")
        self._batch_send_mode = batch_send_mode
        self._base_url = checked_base_url(base_url, key="mailersend_base_url")

    def lacking(self, message: Message) -> str | None:
        """Name what MailerSend refuses, has no place for, or would have a template replace."""
        stored, moment = message.stored_template, message.provider_send_at
        is_stored = stored is not None and stored.id is not None
        names = (one.name for one in people(message))
        tags_max = _TAGS_MAX - self._is_bulk(message)
        rules = (
            (bool(message.metadata), "metadata"),
            (max(len(message.cc), len(message.bcc)) > _COPIES_MAX, "more than 10 copies of a kind"),
            (is_stored and bool(message.text or message.html), "bodies beside a stored template"),
            (len(message.tags) > tags_max, f"more than {tags_max} tags beside our own"),
            (
                any(tag.startswith(OWN_TAG) for tag in message.tags),
                "a tag that is ours by its name",
            ),
            (
                moment is not None and moment - self._clock() > _AHEAD_MAX,
                "a time more than 72 hours ahead",
            ),
            (
                any(not _NOT_IN_NAMES.isdisjoint(name) for name in names),
                "a recipient's name with a comma or a semicolon",
            ),
        )
        return next((words for is_so, words in rules if is_so), None)

    def request(self, envelope: Envelope) -> Request:
        """Return the call of ``/email``, or of ``/bulk-email`` for several mails of their own."""
        message, whom = self._thawed(envelope)
        options = dict(message.provider_options)
        options.pop(_MODE, None)
        stored = message.stored_template
        mail = _mail(message)
        if not self._is_bulk(message) or len(whom.to) == 1:
            return self._call("email", merged(mail | _people(whom, whom.to, stored), options))
        mails = [merged(mail | _people(whom, (one,), stored), options) for one in whom.to]
        for one, its in zip(whom.to, mails, strict=True):
            its["tags"] = [*sequence(its.get("tags")), f"{OWN_TAG}{token_for(envelope, one)}"]
        return self._call("bulk-email", mails)

    def _is_bulk(self, message: Message) -> bool:
        """Tell whether several recipients get a mail of their own in one call."""
        stored = message.stored_template
        if stored is None or not stored.is_individual or len(message.to) < _BULK_MIN:
            return False
        mode = message.provider_options.get(_MODE, self._batch_send_mode)
        return mode != BatchSendMode.EXPOSE_TO_LIST

    def _call(self, path: str, body: Any) -> Request:
        headers = {
            "Authorization": f"Bearer {self._api_key.reveal()}",
            "Accept": "application/json",
            "Content-Type": "application/json",
        }
        raw = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        return Request(url=f"{self._base_url}/{path}", headers=tuple(headers.items()), body=raw)

    def ruling(self, response: Response, answer: Any) -> tuple[Signal, str | None]:
        """Read the number in the error's text or in a field's; a 202 says yes without a body."""
        signal, _ = super().ruling(response, answer)
        numbers = tuple(_numbers(mapping(answer)))
        number = next((one for one in numbers if one in _NUMBERS), next(iter(numbers), None))
        is_empty = signal is Signal.HTTP_ACCEPTED_UNPARSEABLE and not response.body.strip()
        if is_empty and response.is_complete:
            return Signal.HTTP_ACCEPTED, number
        return _NUMBERS.get(number or "", signal), number

    def accepted(
        self, envelope: Envelope, response: Response, answer: Any
    ) -> tuple[Verdict, ...] | None:
        """Read the id in the header or that of the batch, and who is on MailerSend's own list."""
        found = mapping(answer)
        known_as = text(response.headers.first("x-message-id"))
        batch = text(found.get("bulk_email_id"))
        if known_as is None and batch is not None:
            known_as = f"bulk:{batch}"
        refused = _refused(found)
        if known_as is None and not refused:
            return None

        def judge(address: Address) -> tuple[FailureClass | None, str | None, str | None]:
            if address.addr_spec.lower() in refused:
                return FailureClass.SUPPRESSED, refused[address.addr_spec.lower()], None
            return (None if known_as else FailureClass.UNKNOWN), None, known_as

        return each(envelope, judge)

    def verify(self, request: WebhookRequest) -> None:
        """Check the MAC over the body with every key; the test of an address has a public one."""
        self._webhooks.check_origin(request, provider=PROVIDER)
        keys = self._webhooks.secrets(PROVIDER)
        given = request.header(_SIGNATURE, provider=PROVIDER)
        if _is_ping(request, given):
            return
        check_hmac_hex(given, request.body, keys, provider=PROVIDER)

    def events(self, request: WebhookRequest) -> tuple[ProviderEvent, ...]:
        """Return the one event of the request; a test of the address has none."""
        return events_of(parse_json(request.body, provider=PROVIDER))


def _is_ping(request: WebhookRequest, given: str) -> bool:
    """Tell the test of an address: it reports nothing, so that its key may be known to everyone."""
    mac = hmac.new(_PING_KEY.encode(), request.body, "sha256").hexdigest()
    if not same(given.encode("utf-8", "replace"), mac.encode()):
        return False
    return mapping(parse_json(request.body, provider=PROVIDER)).get("type") == PING


def _numbers(answer: dict[str, Any]) -> Iterator[str]:
    """Yield MailerSend's numbers, which stand in the message and in what is said of each field."""
    fields = mapping(answer.get("errors")).values()
    for said in (*texts(answer.get("message")), *(one for field in fields for one in texts(field))):
        yield from _NUMBER.findall(said)


def _refused(found: dict[str, Any]) -> dict[str, str]:
    """Return the addresses that a warning names as suppressed, in small letters, with type and reason."""
    return {
        (text(mapping(one).get("email")) or "").lower(): _why(kind, mapping(one))
        for warning in map(mapping, sequence(found.get("warnings")))
        if (kind := text(warning.get("type")) or "").endswith(_SUPPRESSED)
        for one in sequence(warning.get("recipients"))
    }


def _why(kind: str, recipient: dict[str, Any]) -> str:
    return " ".join((kind, *texts(recipient.get("reasons"))[:1]))


def _mail(message: Message) -> dict[str, Any]:
    send_at, stored = message.provider_send_at, message.stored_template
    return present(
        **{"from": email_and_name(message.sender)},
        reply_to=email_and_name(message.reply_to[0]) if message.reply_to else None,
        subject=message.subject,
        text=message.text,
        html=message.html,
        attachments=[_file(one) for one in message.attachments],
        tags=list(message.tags),
        template_id=stored.id if stored else None,
        send_at=int(send_at.timestamp()) if send_at else None,
        settings=present(track_opens=message.tracking.opens, track_clicks=message.tracking.clicks),
        **_headers(message),
    )


def _headers(message: Message) -> dict[str, Any]:
    """Return the headers; two of them are fields of their own."""
    known = {name.lower(): value for name, value in message.headers}
    precedence = known.get("precedence")
    return {
        "in_reply_to": known.get("in-reply-to"),
        "precedence_bulk": None if precedence is None else precedence.lower() in _IS_BULK,
        "headers": [
            {"name": name, "value": value}
            for name, value in message.headers
            if name.lower() not in _OWN_FIELDS
        ],
    }


def _people(
    whom: Addressed, to: tuple[Address, ...], stored: StoredTemplate | None
) -> dict[str, Any]:
    """Return the recipients, and their variables: without any MailerSend compiles no template."""
    has_variables = stored is not None and bool(stored.variables or stored.per_recipient)
    return present(
        to=[email_and_name(one) for one in to],
        cc=[email_and_name(one) for one in whom.cc],
        bcc=[email_and_name(one) for one in whom.bcc],
        personalization=[{"email": one.addr_spec, "data": stored.variables_for(one)} for one in to]
        if stored is not None and has_variables
        else None,
    )


def _file(attachment: Attachment) -> dict[str, str]:
    return present(
        filename=attachment.filename,
        content=content_of(attachment),
        disposition="inline" if attachment.content_id else "attachment",
        id=attachment.content_id,
    )
