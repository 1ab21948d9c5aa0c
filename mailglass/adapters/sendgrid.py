"""SendGrid: the v3 mail API and its event webhook, signed with ECDSA.

https://www.twilio.com/docs/sendgrid/api-reference/mail-send and
https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
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
    email_and_name,
    json_request,
    present,
    sent_with_id,
    token_for,
)
from mailglass.adapters.forms import form_kind
from mailglass.adapters.http import Request, Response, Transport, checked_base_url
from mailglass.adapters.options import merged
from mailglass.adapters.signatures import check_public_key
from mailglass.address import Address
from mailglass.clock import Clock, system_clock
from mailglass.envelope import Envelope, Verdict
from mailglass.errors import Json
from mailglass.events import EventType, RejectReason
from mailglass.failures import Signal
from mailglass.message import Attachment, Message, StoredTemplate, Tracking
from mailglass.webhook import (
    TOKEN_KEY,
    ProviderEvent,
    WebhookRequest,
    check_age,
    decoded_base64,
    event_id_from,
    from_unix,
    labels,
    mapping,
    parse_json,
    sequence,
    signed_seconds,
    text,
    texts,
    token_in,
    url_hash,
)

_EVENTS: Final = MappingProxyType(
    {
        "processed": (EventType.QUEUED, None),
        "deferred": (EventType.DEFERRED, None),
        "delivered": (EventType.DELIVERED, None),
        "bounce": (EventType.BOUNCED, None),
        "dropped": (EventType.REJECTED, RejectReason.OTHER),
        "open": (EventType.OPENED, None),
        "click": (EventType.CLICKED, None),
        "spamreport": (EventType.COMPLAINED, None),
        "unsubscribe": (EventType.UNSUBSCRIBED, None),
        "group_unsubscribe": (EventType.UNSUBSCRIBED, None),
        "group_resubscribe": (EventType.SUBSCRIBED, None),
    }
)
_DROPPED: Final = MappingProxyType(
    {
        "invalid": RejectReason.INVALID,
        "unsubscribed address": RejectReason.UNSUBSCRIBED,
        "bounced address": RejectReason.BOUNCED,
        "bounce": RejectReason.BOUNCED,
        "blocked": RejectReason.BLOCKED,
        "expired": RejectReason.TIMED_OUT,
        "spam reporting address": RejectReason.SPAM,
        "spam content": RejectReason.SPAM,
        "spam content (if spam checker app enabled)": RejectReason.SPAM,
        "recipient list over package quota": RejectReason.OTHER,
    }
)
_REFUSED_LATER: Final = frozenset({EventType.BOUNCED, EventType.DEFERRED})
"""Events whose ``reason`` is what the recipient's server said."""
_PERMANENT_DROPS: Final = frozenset(
    {RejectReason.INVALID, RejectReason.BOUNCED, RejectReason.SPAM, RejectReason.UNSUBSCRIBED}
)
_OWN_FIELDS: Final = frozenset(
    {
        "asm_group_id",
        "attempt",
        "bounce_classification",
        "category",
        "cert_err",
        "email",
        "event",
        "ip",
        "marketing_campaign_id",
        "marketing_campaign_name",
        "newsletter",
        "pool",
        "reason",
        "response",
        "send_at",
        "sg_content_type",
        "sg_event_id",
        "sg_machine_open",
        "sg_message_id",
        "smtp-id",
        "status",
        "timestamp",
        "tls",
        "type",
        "url",
        "url_offset",
        "useragent",
    }
)
"""What SendGrid writes into an event; our custom arguments stand flat among it."""
_NO_METADATA: Final = _OWN_FIELDS | {TOKEN_KEY}
_NONE: Final[Mapping[str, str]] = MappingProxyType({})
_PLAIN: Final = MappingProxyType(
    {
        word: (kind, reason, kind is EventType.COMPLAINED)
        for word, (kind, reason) in _EVENTS.items()
        if word not in {"bounce", "dropped"}
    }
)
"""What the words mean that need no look at the rest of the event."""
_SIGNATURE: Final = "X-Twilio-Email-Event-Webhook-Signature"
_TIMESTAMP: Final = "X-Twilio-Email-Event-Webhook-Timestamp"
_ID: Final = "x-message-id"
_ACCEPTED: Final = 202
_AHEAD_MAX: Final = timedelta(hours=72)
_RESERVED: Final = frozenset({"x-sg-eid", "x-sg-id"})
"""Headers that SendGrid writes itself, beside those that no message may have."""


class SendGridAdapter(ApiAdapter):
    """Hands mail to SendGrid; ``base_url`` ``https://api.eu.sendgrid.com`` is the EU's.

    ``webhooks.keys`` are public keys as the dashboard shows them. ``sandbox`` checks and sends not.
    """

    PROVIDER: ClassVar[str] = "sendgrid"
    WEBHOOK_PARTS: ClassVar[frozenset[str]] = frozenset({"keys", "tolerance_s"})
    FEATURES: ClassVar[Features] = Features(
        tags_max=10,
        message_bytes_max=30 * 1024 * 1024,
        stored_templates=True,
        own_metadata=True,
        own_headers=True,
        body_templates=True,
        schedules=True,
        provider_options=True,
    )

    def __init__(  # noqa: PLR0913 - each is a keyword and has its own meaning
        self,
        *,
        api_key: SecretSource,
        base_url: str = "https://api.sendgrid.com",
        sandbox: bool = False,
        webhooks: WebhookAuth | None = None,
        transport: Transport | None = None,
        clock: Clock = system_clock,
    ) -> None:
        super().__init__(webhooks=webhooks, transport=transport, clock=clock)
        self._api_key = Secret(api_key, key="sendgrid_api_key")
        self._sandbox = sandbox
        self._base_url = checked_base_url(base_url, key="sendgrid_base_url")

    def lacking(self, message: Message) -> str | None:
        """Name what SendGrid refuses, and metadata that its own fields would hide."""
        stored, moment = message.stored_template, message.provider_send_at
        if moment is not None and moment - self._clock() > _AHEAD_MAX:
            return "a time more than 72 hours ahead"
        if not _RESERVED.isdisjoint(_header_names(message)):
            return "a header that SendGrid writes itself"
        if not message.subject and (stored is None or stored.id is None):
            return "an empty subject"
        if not _OWN_FIELDS.isdisjoint(message.metadata):
            return "metadata with the name of a field of its own events"
        if stored is not None and not _is_dynamic(stored) and not _are_plain(stored):
            return "substitutions that are neither texts nor numbers"
        return None

    def request(self, envelope: Envelope) -> Request:
        """Return the call of ``/v3/mail/send``; one personalization, or one a To recipient."""
        message, whom = self._thawed(envelope)
        stored = message.stored_template
        bodies = (("text/plain", message.text), ("text/html", message.html))
        replies = [email_and_name(one) for one in message.reply_to]
        moment = message.provider_send_at
        body = present(
            personalizations=_personalizations(envelope, message, whom),
            subject=message.subject,
            content=[{"type": kind, "value": one} for kind, one in bodies if one],
            template_id=stored.id if stored else None,
            headers=dict(message.headers),
            categories=list(message.tags),
            custom_args=dict(message.metadata),
            attachments=[_attachment(one) for one in message.attachments],
            reply_to=replies[0] if len(replies) == 1 else None,
            reply_to_list=replies if len(replies) > 1 else None,
            send_at=int(moment.timestamp()) if moment else None,
            tracking_settings=_tracking(message.tracking),
            mail_settings={"sandbox_mode": {"enable": True}} if self._sandbox else None,
        )
        body["from"] = email_and_name(message.sender)
        headers = {"Authorization": f"Bearer {self._api_key.reveal()}"}
        url = f"{self._base_url}/v3/mail/send"
        return json_request(url, headers, merged(body, message.provider_options))

    def ruling(self, response: Response, answer: Any) -> tuple[Signal, str | None]:
        """Take a 202 for acceptance, whose body is empty; its id is looked for afterwards."""
        if response.status == _ACCEPTED:
            return Signal.HTTP_ACCEPTED, None
        if response.status == 200 and self._sandbox:  # noqa: PLR2004 - what the sandbox answers
            return Signal.HTTP_ACCEPTED, None
        return super().ruling(response, answer)

    def accepted(
        self,
        envelope: Envelope,
        response: Response,
        answer: Any,  # noqa: ARG002 - the base asks every provider alike
    ) -> tuple[Verdict, ...] | None:
        """Read the id from its header; each recipient's events add a suffix of their own to it."""
        known = response.headers.first(_ID) or ("sandbox" if self._sandbox else None)
        return sent_with_id(envelope, text(known))

    def verify(self, request: WebhookRequest) -> None:
        """Check the signature over timestamp and raw body, and the timestamp's age.

        Signing is switched on at SendGrid: without a key, credentials alone prove a request.
        """
        name = self.PROVIDER
        self._webhooks.check_origin(request, provider=name)
        keys = self._webhooks.optional_secrets(name)
        if not keys:
            return
        given = request.header(_SIGNATURE, provider=name)
        stamp = request.header(_TIMESTAMP, provider=name)
        seconds = signed_seconds(stamp, provider=name)
        signature = decoded_base64(given, provider=name, detail="signature")
        check_public_key(signature, stamp.encode() + request.body, keys, provider=name)
        check_age(seconds, now=request.now, tolerance_s=self._webhooks.tolerance_s, provider=name)

    def events(self, request: WebhookRequest) -> tuple[ProviderEvent, ...]:
        """Return the events of the batch; a received mail, which comes as a form, is none."""
        if form_kind(request) is not None:
            return ()
        batch = parse_json(request.body, provider=self.PROVIDER)
        many = sequence(batch) if isinstance(batch, list) else [batch]
        return tuple([_event(mapping(one)) for one in many])


def _header_names(message: Message) -> set[str]:
    """Return the name of each header, in small letters, everyone's or one recipient's own."""
    stored = message.stored_template
    own = (stored.own_headers or {}).values() if stored else ()
    names = (*(name for name, _ in message.headers), *(name for its in own for name in its))
    return {name.lower() for name in names}


def _personalizations(
    envelope: Envelope, message: Message, whom: Addressed
) -> list[dict[str, Any]]:
    """Return whom each copy is for; an individual mail repeats its Cc and Bcc for each To."""
    stored = message.stored_template
    apart = stored is not None and stored.is_individual
    groups = [(one,) for one in whom.to] if apart else [whom.to]
    return [
        present(
            to=[email_and_name(one) for one in group],
            cc=[email_and_name(one) for one in whom.cc],
            bcc=[email_and_name(one) for one in whom.bcc],
            headers=dict(stored.headers_of(group[0])) if stored else None,
            custom_args={
                **(stored.metadata_of(group[0]) if stored else {}),
                TOKEN_KEY: token_for(envelope, group[0]),
            },
            **_merge_data(stored, group[0]),
        )
        for group in groups
    ]


def _merge_data(stored: StoredTemplate | None, address: Address) -> dict[str, Any]:
    if stored is None:
        return {}
    variables = stored.variables_for(address)
    if _is_dynamic(stored):
        return {"dynamic_template_data": variables}
    return {"substitutions": {key: _substitution(one) for key, one in variables.items()}}


def _is_dynamic(stored: StoredTemplate) -> bool:
    """Tell a dynamic template, filled by Handlebars, from a legacy one, which replaces texts."""
    return stored.id is not None and stored.id.startswith("d-")


def _are_plain(stored: StoredTemplate) -> bool:
    own = (stored.per_recipient or {}).values()
    values = [*stored.variables.values(), *(one for its in own for one in its.values())]
    return not any(isinstance(one, list | dict | bool) for one in values)


def _substitution(value: Json) -> str | None:
    return None if value is None else str(value)


def _tracking(tracking: Tracking) -> dict[str, Any]:
    switches = (("click_tracking", tracking.clicks), ("open_tracking", tracking.opens))
    return {name: {"enable": on} for name, on in switches if on is not None}


def _attachment(one: Attachment) -> dict[str, str]:
    return present(
        content=content_of(one),
        type=one.content_type,
        filename=one.filename,
        disposition="inline" if one.content_id else None,
        content_id=one.content_id,
    )


def _event(record: dict[str, Any]) -> ProviderEvent:
    get = record.get
    word = text(get("event")) or ""
    kind, reason, is_permanent = _PLAIN.get(word) or _meaning(word, record)
    full_id = text(get("sg_message_id"))
    recipient = text(get("email"))
    url = get("url")
    return ProviderEvent(
        type=kind,
        occurred_at=from_unix(get("timestamp")),
        provider=SendGridAdapter.PROVIDER,
        provider_event_id=text(get("sg_event_id"))
        or event_id_from(word, full_id, recipient, get("timestamp"), url),
        provider_message_ids=_ids(full_id, text(get("smtp-id"))),
        recipient=recipient,
        reject_reason=reason,
        is_permanent=is_permanent,
        word=word or None,
        mta_response=text(get("response")) or _said(record, kind),
        tags=texts(get("category")),
        metadata=_metadata(record),
        delivery_token=token_in(record),
        click_url=text(url),
        click_url_sha256=url_hash(url),
        user_agent=text(get("useragent")),
        is_machine=get("sg_machine_open") is True,
    )


def _said(record: dict[str, Any], kind: EventType) -> str | None:
    reason = text(record.get("reason"))
    return reason if reason is not None and kind in _REFUSED_LATER else None


def _metadata(record: dict[str, Any]) -> Mapping[str, str]:
    """Return what is neither SendGrid's nor ours, which for most mail is nothing."""
    if _NO_METADATA.issuperset(record):
        return _NONE
    return MappingProxyType(
        labels({key: one for key, one in record.items() if key not in _NO_METADATA})
    )


def _meaning(word: str, record: Mapping[str, Any]) -> tuple[EventType, RejectReason | None, bool]:
    """Return type, reason and whether it is for good; the type of a bounce is a reason here."""
    kind, reason = _EVENTS.get(word, (EventType.UNKNOWN, None))
    if word == "dropped":
        reason = _DROPPED.get((text(record.get("reason")) or "").lower(), RejectReason.OTHER)
        return kind, reason, reason in _PERMANENT_DROPS
    if word == "bounce":
        is_block = record.get("type") == "blocked"
        is_soft = is_block or (text(record.get("status")) or "").startswith("4")
        return kind, RejectReason.BLOCKED if is_block else None, not is_soft
    return kind, reason, False


def _ids(full_id: str | None, smtp_id: str | None) -> tuple[str, ...]:
    """Return the id as sending returned it, as the event spells it, and the one on the wire."""
    if full_id is None:
        return texts(smtp_id)
    sent_id = full_id.partition(".")[0]
    known = (sent_id,) if sent_id == full_id else (sent_id, full_id)
    return known if smtp_id is None else (*known, smtp_id)
