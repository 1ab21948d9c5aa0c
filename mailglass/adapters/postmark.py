"""Postmark: the email API (https://postmarkapp.com/developer/api/email-api) and its webhooks."""

from __future__ import annotations

import re
from dataclasses import replace
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
    everyone,
    json_request,
    mailboxes,
    present,
    token_for,
    token_of,
)
from mailglass.adapters.features import for_one
from mailglass.adapters.http import Request, Response, Transport, checked_base_url
from mailglass.adapters.options import merged
from mailglass.address import Address
from mailglass.clock import Clock, system_clock
from mailglass.envelope import Envelope, Verdict
from mailglass.errors import FailureClass
from mailglass.events import EventType, RejectReason
from mailglass.failures import Signal, class_of
from mailglass.message import Attachment, Message, StoredTemplate
from mailglass.webhook import (
    TOKEN_KEY,
    ProviderEvent,
    WebhookRequest,
    event_id_from,
    from_iso,
    labels,
    mapping,
    parse_json,
    text,
    texts,
    token_in,
    url_hash,
    without_token,
)

_RECORDS: Final = MappingProxyType(
    {
        "Delivery": (EventType.DELIVERED, None),
        "Open": (EventType.OPENED, None),
        "Click": (EventType.CLICKED, None),
        "SpamComplaint": (EventType.COMPLAINED, RejectReason.SPAM),
    }
)
_BOUNCES: Final = MappingProxyType(
    {
        "HardBounce": (EventType.BOUNCED, RejectReason.BOUNCED),
        "SoftBounce": (EventType.BOUNCED, RejectReason.BOUNCED),
        "Transient": (EventType.DEFERRED, None),
        "DnsError": (EventType.DEFERRED, None),
        "OpenRelayTest": (EventType.DEFERRED, None),
        "Unsubscribe": (EventType.UNSUBSCRIBED, RejectReason.UNSUBSCRIBED),
        "Subscribe": (EventType.SUBSCRIBED, None),
        "AutoResponder": (EventType.AUTORESPONDED, None),
        "AddressChange": (EventType.AUTORESPONDED, None),
        "ChallengeVerification": (EventType.AUTORESPONDED, None),
        "SpamNotification": (EventType.BOUNCED, RejectReason.SPAM),
        "SpamComplaint": (EventType.COMPLAINED, RejectReason.SPAM),
        "VirusNotification": (EventType.BOUNCED, RejectReason.OTHER),
        "BadEmailAddress": (EventType.REJECTED, RejectReason.INVALID),
        "ManuallyDeactivated": (EventType.REJECTED, RejectReason.BLOCKED),
        "Blocked": (EventType.REJECTED, RejectReason.BLOCKED),
        "DMARCPolicy": (EventType.REJECTED, RejectReason.BLOCKED),
        "Unconfirmed": (EventType.REJECTED, None),
        "SMTPApiError": (EventType.FAILED, None),
        "TemplateRenderingFailed": (EventType.FAILED, None),
    }
)
"""A spam notification is a filter's verdict, and the address stays active; a complaint is a person's.

https://postmarkapp.com/developer/api/bounce-api#bounce-types.
"""
_PERMANENT: Final = frozenset({"HardBounce", "BadEmailAddress"})
_SUPPRESSIONS: Final = MappingProxyType(
    {
        "HardBounce": (EventType.UNSUBSCRIBED, RejectReason.BOUNCED),
        "SpamComplaint": (EventType.COMPLAINED, RejectReason.SPAM),
        "ManualSuppression": (EventType.UNSUBSCRIBED, RejectReason.UNSUBSCRIBED),
    }
)
"""A change of Postmark's list is no second bounce: its reason tells where it comes from."""
_LINKS: Final = MappingProxyType({None: None, True: "HtmlAndText", False: "None"})
_TIMES: Final = ("DeliveredAt", "BouncedAt", "ReceivedAt", "ChangedAt")
_INACTIVE: Final = 406
_CODES: Final = MappingProxyType(
    {
        10: Signal.HTTP_ACCOUNT_REFUSED,
        100: Signal.HTTP_PROVIDER_ERROR,
        400: Signal.HTTP_ACCOUNT_REFUSED,
        401: Signal.HTTP_ACCOUNT_REFUSED,
        405: Signal.HTTP_ACCOUNT_REFUSED,
        _INACTIVE: Signal.HTTP_RECIPIENT_SUPPRESSED,
        412: Signal.HTTP_ACCOUNT_REFUSED,
        413: Signal.HTTP_ACCOUNT_REFUSED,
    }
)
"""Postmark's error codes; they share numbers with HTTP statuses and mean other things."""
_REFUSED_ADDRESSES: Final = re.compile(
    r"inactive addresses:([^.]*(?:\.[^\s.,][^.]*)*)", re.IGNORECASE
)


class PostmarkAdapter(ApiAdapter):
    """Hands mail to one Postmark server.

    ``message_stream`` is Postmark's stream, such as ``outbound``. Postmark signs no webhook: give
    ``webhooks`` the credentials that stand in the webhook's address, and its networks if you like.
    """

    PROVIDER: ClassVar[str] = "postmark"
    FEATURES: ClassVar[Features] = Features(
        tags_max=1,
        metadata_keys_max=10,
        metadata_key_chars_max=20,
        metadata_value_chars_max=80,
        stored_templates=True,
        own_metadata=True,
        own_headers=True,
        provider_options=True,
        message_bytes_max=10 * 1024 * 1024,
    )

    def __init__(  # noqa: PLR0913 - each is a keyword and has its own meaning
        self,
        *,
        server_token: SecretSource,
        message_stream: str | None = None,
        base_url: str = "https://api.postmarkapp.com",
        webhooks: WebhookAuth | None = None,
        transport: Transport | None = None,
        clock: Clock = system_clock,
    ) -> None:
        super().__init__(webhooks=webhooks, transport=transport, clock=clock)
        self._server_token = Secret(server_token, key="postmark_server_token")
        self._message_stream = message_stream
        self._base_url = checked_base_url(base_url, key="postmark_base_url")

    def lacking(self, message: Message) -> str | None:
        """Name what a stored template has of its own, for which its call has no field.

        https://postmarkapp.com/developer/api/templates-api#email-with-template
        """
        stored = message.stored_template
        if stored is None or stored.id is None:
            return None
        own = {"a subject": message.subject, "bodies": message.text or message.html}
        return next((f"{what} beside a stored template" for what, it in own.items() if it), None)

    def request(self, envelope: Envelope) -> Request:
        """Return one call: of one mail, or of a batch where each recipient gets a mail of their own."""
        message, whom = self._thawed(envelope)
        stored = message.stored_template
        token = self._server_token.reveal()
        headers = {"X-Postmark-Server-Token": token}
        if stored is None or not stored.is_individual:
            body = self._mail(message, whom, token_of(envelope))
            path = "email/withTemplate/" if stored else "email"
            return json_request(f"{self._base_url}/{path}", headers, body)
        mails = [
            self._mail(for_one(message, one), replace(whom, to=(one,)), token_for(envelope, one))
            for one in whom.to
        ]
        if stored.id is None:
            return json_request(f"{self._base_url}/email/batch", headers, mails)
        return json_request(
            f"{self._base_url}/email/batchWithTemplates", headers, {"Messages": mails}
        )

    def _mail(self, message: Message, whom: Addressed, token: str) -> dict[str, Any]:
        body = present(
            From=str(message.sender),
            To=mailboxes(whom.to),
            Cc=mailboxes(whom.cc),
            Bcc=mailboxes(whom.bcc),
            ReplyTo=mailboxes(message.reply_to),
            Subject=message.subject,
            Tag=next(iter(message.tags), None),
            TextBody=message.text,
            HtmlBody=message.html,
            Headers=[{"Name": name, "Value": value} for name, value in message.headers],
            Attachments=[_attachment(one) for one in message.attachments],
            Metadata={**message.metadata, TOKEN_KEY: token},
            MessageStream=self._message_stream,
            TrackOpens=message.tracking.opens,
            TrackLinks=_LINKS[message.tracking.clicks],
        )
        if message.stored_template is None or message.stored_template.id is None:
            body.setdefault("Subject", "")
        else:
            body |= _template(message.stored_template, whom.to[0])
        return merged(body, message.provider_options)

    def ruling(self, response: Response, answer: Any) -> tuple[Signal, str | None]:
        """Read Postmark's own code, which a 200 may hold too."""
        number = mapping(answer).get("ErrorCode")
        signal, _ = super().ruling(response, answer)
        if not isinstance(number, int) or number == 0:
            return signal, None
        if number in _CODES:
            return _CODES[number], str(number)
        refused = signal is Signal.HTTP_ACCEPTED
        return (Signal.HTTP_REFUSED if refused else signal), str(number)

    def accepted(
        self,
        envelope: Envelope,
        response: Response,  # noqa: ARG002 - the base asks every provider alike
        answer: Any,
    ) -> tuple[Verdict, ...] | None:
        """Read the id, and who of the recipients is inactive: Postmark says so in a sentence."""
        if isinstance(answer, list):
            return _of_batch(envelope, answer)
        found = mapping(answer)
        message_id = text(found.get("MessageID"))
        if message_id is None or found.get("ErrorCode") != 0:
            return None
        named = _REFUSED_ADDRESSES.search(text(found.get("Message")) or "")
        if named is None:
            return everyone(envelope, provider_message_id=message_id)
        inactive = {one.strip().lower() for one in named[1].split(",")}
        return each(
            envelope,
            lambda address: (
                (FailureClass.SUPPRESSED, f"http 200 {_INACTIVE}", None)
                if address.addr_spec.lower() in inactive
                else (None, None, message_id)
            ),
        )

    def verify(self, request: WebhookRequest) -> None:
        """Check credentials and network: Postmark signs nothing."""
        self._webhooks.require_credentials(self.PROVIDER)
        self._webhooks.check_origin(request, provider=self.PROVIDER)

    def events(self, request: WebhookRequest) -> tuple[ProviderEvent, ...]:
        """Return the one event of the request; a received mail is none."""
        record = mapping(parse_json(request.body, provider=self.PROVIDER))
        if record.get("RecordType") == "Inbound":
            return ()
        return (_event(record),)


def _attachment(one: Attachment) -> dict[str, str]:
    return present(
        Name=one.filename,
        Content=content_of(one),
        ContentType=one.content_type,
        ContentID=f"cid:{one.content_id}" if one.content_id else None,
    )


def _template(stored: StoredTemplate, address: Address) -> dict[str, Any]:
    """Name the template by its number, or by its alias where it is none."""
    number = stored.id or ""
    is_number = number.isascii() and number.isdigit()
    named = {"TemplateId": int(number)} if is_number else {"TemplateAlias": number}
    return {**named, "TemplateModel": stored.variables_for(address)}


def _of_batch(envelope: Envelope, items: list[Any]) -> tuple[Verdict, ...] | None:
    """Read one item a To recipient, in their order; Cc and Bcc share the verdict of the first."""
    whom = addressed(envelope, envelope.thaw())
    if len(items) != len(whom.to):
        return None
    said = {one.key: _of_item(mapping(item)) for one, item in zip(whom.to, items, strict=True)}
    first = next(iter(said.values()))
    return each(envelope, lambda address: said.get(address.key, first))


def _of_item(item: dict[str, Any]) -> tuple[FailureClass | None, str | None, str | None]:
    number, message_id = item.get("ErrorCode"), text(item.get("MessageID"))
    if number == 0 and message_id is not None:
        return None, None, message_id
    if not isinstance(number, int) or number == 0:
        return FailureClass.UNKNOWN, "http 200", None
    signal = _CODES.get(number, Signal.HTTP_REFUSED)
    return class_of(signal), f"http 200 {number}", None


def _event(record: dict[str, Any]) -> ProviderEvent:
    word = text(record.get("RecordType")) or ""
    kind, reason, word = _meaning(record, word)
    metadata = labels(record.get("Metadata"))
    message_id = text(record.get("MessageID"))
    recipient = text(record.get("Recipient")) or text(record.get("Email"))
    moment = next((record[name] for name in _TIMES if record.get(name)), None)
    bounce_id = text(record.get("ID"))
    return ProviderEvent(
        type=kind,
        occurred_at=from_iso(moment),
        provider=PostmarkAdapter.PROVIDER,
        provider_event_id=bounce_id
        or event_id_from(word, message_id, recipient, moment, record.get("OriginalLink")),
        provider_message_ids=texts(message_id),
        recipient=recipient,
        reject_reason=reason,
        is_permanent=word in _PERMANENT or kind is EventType.COMPLAINED,
        word=word or None,
        description=text(record.get("Description")),
        mta_response=text(record.get("Details")),
        tags=texts(record.get("Tag")),
        metadata=without_token(metadata),
        delivery_token=token_in(metadata),
        click_url=text(record.get("OriginalLink")),
        user_agent=text(record.get("UserAgent")),
        click_url_sha256=url_hash(record.get("OriginalLink")),
        is_machine=_is_machine(record),
    )


def _meaning(record: dict[str, Any], word: str) -> tuple[EventType, RejectReason | None, str]:
    if word == "SubscriptionChange":
        if record.get("SuppressSending") is not True:
            return EventType.SUBSCRIBED, None, word
        word = text(record.get("SuppressionReason")) or word
        return *_SUPPRESSIONS.get(word, (EventType.UNSUBSCRIBED, None)), word
    if word == "Bounce" or (not word and "Type" in record):
        word = text(record.get("Type")) or word
        return *_BOUNCES.get(word, (EventType.UNKNOWN, None)), word
    return *_RECORDS.get(word, (EventType.UNKNOWN, None)), word


def _is_machine(record: dict[str, Any]) -> bool:
    families = (mapping(record.get(name)).get("Family") for name in ("Client", "OS"))
    return any(isinstance(one, str) and "bot" in one.lower() for one in families)
