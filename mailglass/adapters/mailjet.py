"""Mailjet: the Send API v3.1, and webhooks that bring the credentials of their address.

https://dev.mailjet.com/email/reference/send-emails/ and
https://dev.mailjet.com/email/guides/webhooks/.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
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
    present,
    token_for,
    token_of,
)
from mailglass.adapters.features import for_one
from mailglass.adapters.http import Request, Response, Transport, checked_base_url
from mailglass.adapters.mailjet_events import PROVIDER, events_of
from mailglass.adapters.options import merged
from mailglass.address import Address
from mailglass.clock import Clock, system_clock
from mailglass.envelope import Envelope, Verdict
from mailglass.errors import FailureClass
from mailglass.failures import Signal, class_of, http_signal
from mailglass.message import Attachment, Message
from mailglass.webhook import ProviderEvent, WebhookRequest, mapping, parse_json, sequence, text

_SWITCHES: Final = MappingProxyType({None: None, True: "enabled", False: "disabled"})
_SUCCESS: Final = "success"
_PLACES: Final = ("To", "Cc", "Bcc")
_PER_ITEM: Final = frozenset({Signal.HTTP_ACCEPTED, Signal.HTTP_REFUSED})
"""A refused call may hold mails that were taken: each item has its own status then."""
Judged = tuple[FailureClass | None, str | None, str | None]


class MailjetAdapter(ApiAdapter):
    """Hands mail to one Mailjet account: ``api_key`` and ``secret_key`` are its pair.

    Mailjet signs no webhook: give ``webhooks`` the credentials that stand in the webhook's address.
    The one tag becomes the campaign.
    """

    PROVIDER: ClassVar[str] = PROVIDER
    FEATURES: ClassVar[Features] = Features(
        tags_max=1,
        reply_to_max=1,
        utf8_local_parts=True,
        stored_templates=True,
        own_metadata=True,
        own_headers=True,
        body_templates=True,
        envelope_sender=True,
        provider_options=True,
        message_bytes_max=15 * 1024 * 1024,
    )

    def __init__(  # noqa: PLR0913 - each is a keyword and has its own meaning
        self,
        *,
        api_key: SecretSource,
        secret_key: SecretSource,
        base_url: str = "https://api.mailjet.com/v3.1",
        webhooks: WebhookAuth | None = None,
        transport: Transport | None = None,
        clock: Clock = system_clock,
    ) -> None:
        super().__init__(webhooks=webhooks, transport=transport, clock=clock)
        self._api_key = Secret(api_key, key="mailjet_api_key")
        self._secret_key = Secret(secret_key, key="mailjet_secret_key")
        self._base_url = checked_base_url(base_url, key="mailjet_base_url")

    def lacking(self, message: Message) -> str | None:
        """Name a template id that is no number, as Mailjet's are, and bodies that it replaces."""
        stored = message.stored_template
        number = stored.id if stored else None
        if number is None:
            return None
        if not (number.isascii() and number.isdigit()):
            return "a template id that is no number"
        return "bodies beside a stored template" if message.text or message.html else None

    def request(self, envelope: Envelope) -> Request:
        """Return the call of ``/send``: what all mails share, and one message a mail."""
        message, whom = self._thawed(envelope)
        body = {"Globals": _shared(message, whom), "Messages": _mails(envelope, message, whom)}
        body = merged(body, message.provider_options)
        user = f"{self._api_key.plain()}:{self._secret_key.plain()}"
        headers = {"Authorization": f"Basic {base64.b64encode(user.encode()).decode('ascii')}"}
        return json_request(f"{self._base_url}/send", headers, body)

    def ruling(self, response: Response, answer: Any) -> tuple[Signal, str | None]:
        """Let the items decide where there are any: a refused call may hold mails that were taken."""
        signal, _ = super().ruling(response, answer)
        found = mapping(answer)
        if signal in _PER_ITEM and sequence(found.get("Messages")):
            return Signal.HTTP_ACCEPTED, None
        return signal, text(found.get("ErrorCode"))

    def accepted(
        self,
        envelope: Envelope,
        response: Response,  # noqa: ARG002 - the base asks every provider alike
        answer: Any,
    ) -> tuple[Verdict, ...] | None:
        """Read the id of each recipient; one that no item names shares the first refusal."""
        items = [mapping(one) for one in sequence(mapping(answer).get("Messages"))]
        if not items:
            return None
        taken = dict(pair for one in items if one.get("Status") == _SUCCESS for pair in _ids(one))
        refusal = next((_refused(one) for one in items if one.get("Status") != _SUCCESS), None)
        unlisted: Judged = refusal or (FailureClass.UNKNOWN, "not_listed", None)

        def judge(address: Address) -> Judged:
            known_as = taken.get(address.addr_spec.lower())
            return unlisted if known_as is None else (None, None, known_as)

        return each(envelope, judge)

    def verify(self, request: WebhookRequest) -> None:
        """Check credentials and network: Mailjet signs nothing."""
        self._webhooks.require_credentials(PROVIDER)
        self._webhooks.check_origin(request, provider=PROVIDER)

    def events(self, request: WebhookRequest) -> tuple[ProviderEvent, ...]:
        """Return one event a record."""
        return events_of(parse_json(request.body, provider=PROVIDER))


def _person(address: Address) -> dict[str, str]:
    return present(Email=address.addr_spec, Name=address.name)


def _shared(message: Message, whom: Addressed) -> dict[str, Any]:
    stored = message.stored_template
    bounces = message.envelope_sender
    is_stored = stored is not None and stored.id is not None
    return present(
        From=_person(message.sender),
        Sender=_person(bounces) if bounces else None,
        Cc=[_person(one) for one in whom.cc],
        Bcc=[_person(one) for one in whom.bcc],
        ReplyTo=_person(message.reply_to[0]) if message.reply_to else None,
        Subject=message.subject,
        TextPart=message.text,
        HTMLPart=message.html,
        Headers=dict(message.headers),
        Attachments=[_file(one) for one in message.attachments if not one.content_id],
        InlinedAttachments=[_file(one) for one in message.attachments if one.content_id],
        CustomCampaign=next(iter(message.tags), None),
        EventPayload=json.dumps(dict(message.metadata)) if message.metadata else None,
        TrackOpens=_SWITCHES[message.tracking.opens],
        TrackClicks=_SWITCHES[message.tracking.clicks],
        TemplateID=int(stored.id) if stored is not None and stored.id is not None else None,
        TemplateLanguage=True if is_stored or (stored and stored.variables) else None,
        Variables=dict(stored.variables) if stored else None,
    )


def _mails(envelope: Envelope, message: Message, whom: Addressed) -> list[dict[str, Any]]:
    """Return the mails, each with our own id, which every event brings back."""
    stored = message.stored_template
    if stored is None or not stored.is_individual:
        return [{"To": [_person(one) for one in whom.to], "CustomID": token_of(envelope)}]
    return [
        present(
            To=[_person(one)],
            CustomID=token_for(envelope, one),
            Variables=stored.own_variables(one),
            Headers=dict(own.headers) if own.headers != message.headers else None,
            EventPayload=json.dumps(dict(own.metadata)) if stored.metadata_of(one) else None,
        )
        for one, own in ((one, for_one(message, one)) for one in whom.to)
    ]


def _file(attachment: Attachment) -> dict[str, str]:
    return present(
        ContentType=attachment.content_type,
        Filename=attachment.filename,
        Base64Content=content_of(attachment),
        ContentID=attachment.content_id,
    )


def _ids(item: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for place in _PLACES:
        for one in map(mapping, sequence(item.get(place))):
            email, known_as = text(one.get("Email")), text(one.get("MessageID"))
            if email is not None and known_as is not None:
                yield email.lower(), known_as


def _refused(item: dict[str, Any]) -> Judged:
    first = mapping(next(iter(sequence(item.get("Errors"))), None))
    status, code = first.get("StatusCode"), text(first.get("ErrorCode"))
    if not isinstance(status, int):
        return FailureClass.UNKNOWN, code, None
    failure = class_of(http_signal(status, has_json_body=True))
    return failure or FailureClass.UNKNOWN, " ".join(filter(None, (f"http {status}", code))), None
