"""Mailtrap: the sending API, and webhooks whose body is signed with a secret of the webhook.

https://docs.mailtrap.io/developers/email-sending and
https://docs.mailtrap.io/developers/email-sending/webhooks.
"""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any, ClassVar, Final

from mailglass.adapters.api import (
    Addressed,
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
    token_for,
    token_of,
)
from mailglass.adapters.features import for_one
from mailglass.adapters.http import Request, Response, Transport, checked_base_url
from mailglass.adapters.mailtrap_events import PROVIDER, events_in, records_of
from mailglass.adapters.options import merged
from mailglass.adapters.signatures import check_hmac_hex
from mailglass.address import Address
from mailglass.clock import Clock, system_clock
from mailglass.envelope import Envelope, Verdict
from mailglass.errors import ConfigError, ConfigErrorType, FailureClass
from mailglass.failures import Signal
from mailglass.message import Attachment, Message, StoredTemplate
from mailglass.webhook import (
    TOKEN_KEY,
    ProviderEvent,
    WebhookRequest,
    mapping,
    sequence,
    text,
    texts,
)

ALIASES: Final = MappingProxyType({"test_inbox_id": "sandbox_id", "tracking_secret": "webhook_key"})
"""What django-anymail calls some options."""
_LIVE_URL: Final = "https://send.api.mailtrap.io/api"
_SANDBOX_URL: Final = "https://sandbox.api.mailtrap.io/api"
_SIGNATURE: Final = "Mailtrap-Signature"
_VARIABLES_CHARS_MAX: Final = 1_000
"""What all custom variables of a mail may come to as JSON."""
_TOKEN_SHAPE: Final = "0" * 36

_Judgement = tuple[FailureClass | None, str | None, str | None]


class MailtrapAdapter(ApiAdapter):
    """Hands mail to one Mailtrap account; ``https://bulk.api.mailtrap.io/api`` is its bulk stream.

    With a ``sandbox_id`` the mail goes to that sandbox and reaches nobody. ``webhooks.keys`` are the
    signing secrets of the webhooks; without one, credentials in the webhook's address must be set.
    """

    PROVIDER: ClassVar[str] = PROVIDER
    WEBHOOK_PARTS: ClassVar[frozenset[str]] = frozenset({"keys"})
    FEATURES: ClassVar[Features] = Features(
        stored_templates=True,
        own_metadata=True,
        own_headers=True,
        provider_options=True,
        tracks_opens=False,
        tracks_clicks=False,
        utf8_local_parts=True,
        tags_max=1,
        message_bytes_max=25 * 1024 * 1024,
    )

    def __init__(  # noqa: PLR0913 - each is a keyword and has its own meaning
        self,
        *,
        api_key: SecretSource,
        sandbox_id: str | None = None,
        base_url: str | None = None,
        webhooks: WebhookAuth | None = None,
        transport: Transport | None = None,
        clock: Clock = system_clock,
    ) -> None:
        super().__init__(webhooks=webhooks, transport=transport, clock=clock)
        if sandbox_id is not None and not (sandbox_id.isascii() and sandbox_id.isdigit()):
            raise ConfigError(
                "the sandbox id is not a number",
                type=ConfigErrorType.INVALID,
                key="mailtrap_sandbox_id",
            )
        self._api_key = Secret(api_key, key="mailtrap_api_key")
        self._sandbox_id = sandbox_id
        usual = _SANDBOX_URL if sandbox_id else _LIVE_URL
        self._base_url = checked_base_url(base_url or usual, key="mailtrap_base_url")

    def lacking(self, message: Message) -> str | None:
        """Name what a stored template holds itself, and metadata beyond Mailtrap's bound."""
        if any(one.needs_smtputf8 for one in (message.sender, *message.reply_to)):
            return "a sender or reply address whose local part is not ASCII"
        if len(json.dumps({**message.metadata, TOKEN_KEY: _TOKEN_SHAPE})) > _VARIABLES_CHARS_MAX:
            return f"metadata that is over {_VARIABLES_CHARS_MAX} characters with our own id"
        if message.stored_template is None or message.stored_template.id is None:
            return None
        own = {
            "a subject": message.subject,
            "bodies": message.text or message.html,
            "a tag": message.tags,
        }
        return next((f"{what} beside a stored template" for what, it in own.items() if it), None)

    def request(self, envelope: Envelope) -> Request:
        """Return the call of ``/send``, or of ``/batch`` where each To recipient has a mail alone."""
        message, whom = self._thawed(envelope)
        stored = message.stored_template
        if stored is not None and stored.is_individual:
            path, body = "batch", _batch(envelope, message, whom, stored)
        else:
            path, body = "send", _content(message) | _people(whom)
            body["custom_variables"] = {**message.metadata, TOKEN_KEY: token_of(envelope)}
        place = f"/{self._sandbox_id}" if self._sandbox_id else ""
        return json_request(
            f"{self._base_url}/{path}{place}",
            {"Api-Token": self._api_key.reveal()},
            merged(body, message.provider_options),
        )

    def ruling(self, response: Response, answer: Any) -> tuple[Signal, str | None]:
        """Read the errors that come with a 2xx: then nothing was taken."""
        signal, _ = super().ruling(response, answer)
        said = mapping(answer)
        if signal is Signal.HTTP_ACCEPTED and said.get("success") is not True and _is_error(said):
            return Signal.HTTP_REFUSED, None
        return signal, None

    def accepted(
        self,
        envelope: Envelope,
        response: Response,  # noqa: ARG002 - the base asks every provider alike
        answer: Any,
    ) -> tuple[Verdict, ...] | None:
        """Read the ids in the order of To, Cc and Bcc; a sandbox gives one for them all."""
        said = mapping(answer)
        if said.get("success") is not True:
            return None
        message, whom = self._thawed(envelope)
        stored = message.stored_template
        if stored is not None and stored.is_individual:
            found = _of_batch(whom, sequence(said.get("responses")))
        else:
            found = _of_mail((*whom.to, *whom.cc, *whom.bcc), said)
        if not found:
            return None
        missing: _Judgement = (FailureClass.UNKNOWN, "not_listed", None)
        return each(envelope, lambda address: found.get(address.key, missing))

    def verify(self, request: WebhookRequest) -> None:
        """Check the MAC over the raw body, and credentials where any are set."""
        self._webhooks.check_origin(request, provider=PROVIDER)
        keys = self._webhooks.optional_secrets(PROVIDER)
        if keys:
            given = request.header(_SIGNATURE, provider=PROVIDER)
            check_hmac_hex(given, request.body, keys, provider=PROVIDER)

    def events(self, request: WebhookRequest) -> tuple[ProviderEvent, ...]:
        """Return one event a record, of a JSON body or of one with a record a line."""
        return events_in(records_of(request.body))


def _content(message: Message) -> dict[str, Any]:
    stored, many = message.stored_template, len(message.reply_to) > 1
    return present(
        **{"from": email_and_name(message.sender)},
        reply_to=email_and_name(message.reply_to[0]) if message.reply_to and not many else None,
        subject=message.subject,
        text=message.text,
        html=message.html,
        headers=_headers(message),
        category=next(iter(message.tags), None),
        attachments=[_file(one) for one in message.attachments],
        template_uuid=stored.id if stored else None,
        template_variables=dict(stored.variables) if stored else None,
    )


def _headers(message: Message) -> dict[str, str]:
    many = len(message.reply_to) > 1
    listed = {"Reply-To": ascii_mailboxes(message.reply_to)} if many else {}
    return {**dict(message.headers), **listed}


def _people(whom: Addressed) -> dict[str, Any]:
    return present(
        to=[email_and_name(one) for one in whom.to],
        cc=[email_and_name(one) for one in whom.cc],
        bcc=[email_and_name(one) for one in whom.bcc],
    )


def _batch(
    envelope: Envelope, message: Message, whom: Addressed, stored: StoredTemplate
) -> dict[str, Any]:
    """Return one mail for each To recipient; whoever is copied gets a copy of every one of them.

    What a mail says of its own replaces what stands in the base, and is not merged with it.
    """
    copied = _people(Addressed(to=(), cc=whom.cc, bcc=whom.bcc))
    mails = [
        present(
            to=[email_and_name(one)],
            **copied,
            headers=_headers(own) if own.headers != message.headers else None,
            custom_variables={**own.metadata, TOKEN_KEY: token_for(envelope, one)},
            template_variables=stored.variables_for(one) if stored.own_variables(one) else None,
        )
        for one, own in ((one, for_one(message, one)) for one in whom.to)
    ]
    return {"base": _content(message), "requests": mails}


def _file(attachment: Attachment) -> dict[str, str]:
    inline = {"disposition": "inline", "content_id": attachment.content_id}
    return present(
        filename=attachment.filename,
        type=attachment.content_type,
        content=content_of(attachment),
        **(inline if attachment.content_id else {}),
    )


def _is_error(said: dict[str, Any]) -> bool:
    return bool(said.get("errors") or said.get("error"))


def _of_mail(people: tuple[Address, ...], said: dict[str, Any]) -> dict[str, _Judgement]:
    """Return what one mail became for each of its recipients; nothing where the ids do not fit."""
    ids = texts(sequence(said.get("message_ids")))
    many = ids * len(people) if len(ids) == 1 else ids
    if len(many) != len(people):
        return {}
    return {one.key: (None, None, known_as) for one, known_as in zip(people, many, strict=True)}


def _of_batch(whom: Addressed, answers: list[Any]) -> dict[str, _Judgement]:
    """Return what each mail of a batch became; a copy counts as sent when one of them was."""
    if len(answers) != len(whom.to):
        return {}
    found: dict[str, _Judgement] = {}
    for to, item in zip(whom.to, map(mapping, answers), strict=True):
        people = (to, *whom.cc, *whom.bcc)
        for key, judgement in _of_item(people, item).items():
            if found.get(key, judgement)[0] is not None or key not in found:
                found[key] = judgement
    return found


def _of_item(people: tuple[Address, ...], item: dict[str, Any]) -> dict[str, _Judgement]:
    if item.get("success") is True:
        unclear: _Judgement = (FailureClass.UNKNOWN, "not_listed", None)
        return _of_mail(people, item) or dict.fromkeys((one.key for one in people), unclear)
    is_plain = item.get("success") is False and text(next(iter(sequence(item.get("errors"))), None))
    failure = FailureClass.PERMANENT if is_plain else FailureClass.UNKNOWN
    return dict.fromkeys((one.key for one in people), (failure, "refused_in_batch", None))
