"""SparkPost (Bird): the transmissions API, and webhooks that bring the credentials of their target.

https://developers.sparkpost.com/api/transmissions/,
https://developers.sparkpost.com/api/template-language/ and
https://developers.sparkpost.com/api/webhooks/.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
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
    everyone,
    json_request,
    mailboxes,
    metadata_with_token,
    present,
)
from mailglass.adapters.http import Request, Response, Transport, checked_base_url
from mailglass.adapters.options import merged
from mailglass.adapters.sparkpost_events import PROVIDER, batch_of, events_of
from mailglass.address import Address
from mailglass.clock import Clock, system_clock
from mailglass.envelope import Envelope, Verdict
from mailglass.errors import FailureClass, Json
from mailglass.failures import Signal
from mailglass.message import Attachment, Message, StoredTemplate
from mailglass.webhook import (
    ProviderEvent,
    WebhookRequest,
    mapping,
    parse_json,
    sequence,
    text,
)

_CAMPAIGN_BYTES_MAX: Final = 64
_BRACES: Final = re.compile(r"\{{2,}|\}{2,}")
_NO_BRACES: Final = re.compile(r"(?<!\{)\{(?=\}\})|\{\{\}(?!\})")
"""``{}}`` and ``{{}``: a macro cannot stand beside one more brace of its kind."""
_HEADER: Final = re.compile(r"[A-Za-z0-9-]+", re.ASCII)
ALIASES: Final = MappingProxyType({"track_initial_open_as_opened": "first_open_is_open"})
"""What django-anymail calls an option."""
_CODES: Final = MappingProxyType(
    {
        "1502": Signal.HTTP_PROVIDER_ERROR,
        "2101": Signal.HTTP_RATE_LIMITED,
        "2103": Signal.HTTP_ACCOUNT_REFUSED,
        "7000": Signal.HTTP_ACCOUNT_REFUSED,
        "7001": Signal.HTTP_ACCOUNT_REFUSED,
    }
)
"""Resources that are short for now, the hourly limit, the sandbox's limit, and a sending domain that
is blocked or not set up: https://support.sparkpost.com/docs/tech-resources/extended-error-codes."""
_STATUSES: Final = MappingProxyType({420: Signal.HTTP_RATE_LIMITED})
"""420 is SparkPost's own for a sending limit that is used up."""


class SparkPostAdapter(ApiAdapter):
    """Hands mail to one SparkPost account; ``https://api.eu.sparkpost.com/api/v1`` is the EU's.

    SparkPost signs no webhook: give ``webhooks`` the credentials of the webhook's target, as
    ``user:password`` or as a token. ``first_open_is_open`` counts the event of the pixel at the
    mail's beginning, which comes in addition to that of its end. A header of one recipient's own is
    a placeholder of SparkPost's template language, filled in for each; what a recipient has not is
    what the message has, and a header that some would have empty is refused.
    """

    PROVIDER: ClassVar[str] = PROVIDER
    FEATURES: ClassVar[Features] = Features(
        stored_templates=True,
        own_metadata=True,
        own_headers=True,
        envelope_sender=True,
        provider_options=True,
        body_templates=True,
        schedules=True,
        tags_max=1,
        tag_chars_max=_CAMPAIGN_BYTES_MAX,
        message_bytes_max=20 * 1024 * 1024,
        utf8_local_parts=True,
    )

    def __init__(  # noqa: PLR0913 - each is a keyword and has its own meaning
        self,
        *,
        api_key: SecretSource,
        subaccount: str | None = None,
        base_url: str = "https://api.sparkpost.com/api/v1",
        first_open_is_open: bool = False,
        webhooks: WebhookAuth | None = None,
        transport: Transport | None = None,
        clock: Clock = system_clock,
    ) -> None:
        super().__init__(webhooks=webhooks, transport=transport, clock=clock)
        self._api_key = Secret(api_key, key="sparkpost_api_key")
        self._subaccount = subaccount
        self._base_url = checked_base_url(base_url, key="sparkpost_base_url")
        self._first_open_is_open = first_open_is_open

    def lacking(self, message: Message) -> str | None:
        """Name a tag that is too long, an own header not all have, and what a template holds itself."""
        if any(len(tag.encode()) > _CAMPAIGN_BYTES_MAX for tag in message.tags):
            return f"a tag of more than {_CAMPAIGN_BYTES_MAX} bytes"
        if not _is_template(message) and any(map(_NO_BRACES.search, _written(message))):
            return "braces that its template language cannot write"
        if message.stored_template is None:
            return None
        if message.stored_template.id is None:
            return _lacking_headers(message, message.stored_template)
        own = {
            "a subject": message.subject,
            "bodies": message.text or message.html,
            "attachments": message.attachments,
            "headers": message.headers or message.stored_template.own_headers,
            "a reply address": message.reply_to,
            "a Cc recipient": message.cc,
        }
        return next((f"{what} beside a stored template" for what, it in own.items() if it), None)

    def request(self, envelope: Envelope) -> Request:
        """Return the call of ``/transmissions/``: everyone is a recipient, whom ``To`` names apart.

        A stored template has a sender of its own, which counts.
        """
        message, whom = self._thawed(envelope)
        stored = message.stored_template
        body = present(
            recipients=_recipients(whom, stored, metadata_with_token(envelope, message)),
            content={"template_id": stored.id} if stored and stored.id else _content(message, whom),
            options=_options(message),
            campaign_id=next(iter(message.tags), None),
            metadata=metadata_with_token(envelope, message),
            substitution_data={**stored.variables, **_usual_headers(message)} if stored else None,
            return_path=message.envelope_sender.addr_spec if message.envelope_sender else None,
        )
        body = merged(body, message.provider_options)
        headers = present(**{"X-MSYS-SUBACCOUNT": self._subaccount})
        headers["Authorization"] = self._api_key.reveal()
        return json_request(f"{self._base_url}/transmissions/", headers, body)

    def ruling(self, response: Response, answer: Any) -> tuple[Signal, str | None]:
        """Read SparkPost's own statuses and error codes."""
        signal, _ = super().ruling(response, answer)
        first = mapping(next(iter(sequence(mapping(answer).get("errors"))), None))
        code = text(first.get("code"))
        if signal is Signal.HTTP_ACCEPTED:
            return signal, code
        return _CODES.get(code or "", _STATUSES.get(response.status, signal)), code

    def accepted(
        self,
        envelope: Envelope,
        response: Response,  # noqa: ARG002 - the base asks every provider alike
        answer: Any,
    ) -> tuple[Verdict, ...] | None:
        """Read the id and the two counts; which recipient was refused SparkPost does not say."""
        results = mapping(mapping(answer).get("results"))
        known_as = text(results.get("id"))
        yes, no = (results.get(f"total_{one}_recipients") for one in ("accepted", "rejected"))
        if known_as is None or not (isinstance(yes, int) and isinstance(no, int)):
            return None
        if yes and not no:
            return everyone(envelope, provider_message_id=known_as)
        failure = FailureClass.UNKNOWN if yes else FailureClass.PERMANENT
        code = f"accepted {yes} rejected {no}"
        return everyone(envelope, failure_class=failure, code=code, provider_message_id=known_as)

    def verify(self, request: WebhookRequest) -> None:
        """Check the credentials of the target."""
        self._webhooks.require_credentials(PROVIDER)
        self._webhooks.check_origin(request, provider=PROVIDER)

    def events(self, request: WebhookRequest) -> tuple[ProviderEvent, ...]:
        """Return one event a record."""
        batch = batch_of(parse_json(request.body, provider=PROVIDER))
        return events_of(batch, first_open_is_open=self._first_open_is_open)


def _recipients(
    whom: Addressed, stored: StoredTemplate | None, metadata: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return a copy for everyone, or for everyone a copy of each To recipient's own mail."""
    if stored is None or not stored.is_individual:
        everybody = (*whom.to, *whom.cc, *whom.bcc)
        return [_recipient(one, mailboxes(whom.to)) for one in everybody]
    own = [
        (
            str(to),
            {**stored.own_variables(to), **_filled(stored.headers_of(to))},
            {**metadata, **its} if its else None,
        )
        for to, its in ((to, stored.metadata_of(to)) for to in whom.to)
    ]
    return [
        *(_recipient(to, *mine) for to, mine in zip(whom.to, own, strict=True)),
        *(_recipient(copied, *mine) for copied in (*whom.cc, *whom.bcc) for mine in own),
    ]


def _recipient(
    address: Address,
    header_to: str,
    variables: Mapping[str, Json] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    return present(
        address={"email": address.addr_spec, "header_to": header_to},
        substitution_data=dict(variables or {}),
        metadata=dict(metadata or {}),
    )


def _options(message: Message) -> dict[str, Any]:
    send_at = message.provider_send_at
    return present(
        start_time=send_at.isoformat(timespec="seconds") if send_at else None,
        open_tracking=message.tracking.opens,
        click_tracking=message.tracking.clicks,
    )


def _is_template(message: Message) -> bool:
    """Tell whether the provider is to fill placeholders in, of its own template or in the bodies."""
    stored = message.stored_template
    return stored is not None and (stored.id is not None or stored.fills)


def _written(message: Message) -> Iterator[str]:
    """Yield what SparkPost reads as templates."""
    yield from (str(message.sender), mailboxes(message.reply_to), mailboxes(message.cc))
    yield from (message.subject, message.text or "", message.html or "")
    yield from (value for _, value in message.headers)


def _literal(shown: str) -> str:
    """Escape double braces with the macros that the template language has for them."""
    return _BRACES.sub(lambda run: _macros(run[0]), shown)


def _macros(run: str) -> str:
    side = "opening" if run[0] == "{" else "closing"
    triple, double = (f"{{{{{side}_{size}_curly()}}}}" for size in ("triple", "double"))
    is_odd = len(run) % 2
    return triple * is_odd + double * ((len(run) - 3 * is_odd) // 2)


def _content(message: Message, whom: Addressed) -> dict[str, Any]:
    shown: Callable[[str], str] = str if _is_template(message) else _literal
    headers = {name: shown(value) for name, value in message.headers}
    copied = {"Cc": shown(mailboxes(whom.cc))} if whom.cc else {}
    return present(
        **{"from": shown(str(message.sender))},
        subject=shown(message.subject),
        text=shown(message.text or ""),
        html=shown(message.html or ""),
        reply_to=shown(mailboxes(message.reply_to)),
        headers={**headers, **_placeholders(message), **copied},
        attachments=[_file(one) for one in message.attachments if not one.content_id],
        inline_images=[_file(one) for one in message.attachments if one.content_id],
    )


def _placeholders(message: Message) -> dict[str, str]:
    """Return a placeholder for each header that some recipient has of their own."""
    own = _own_names(message.stored_template)
    shown = {name.lower(): name for name in own} | {
        name.lower(): name for name, _ in message.headers
    }
    return {shown[name.lower()]: f"{{{{{_variable(name)}}}}}" for name in own}


def _usual_headers(message: Message) -> dict[str, str]:
    """Return the shared value of each header that some recipient has of their own."""
    own = {name.lower() for name in _own_names(message.stored_template)}
    return _filled({name: value for name, value in message.headers if name.lower() in own})


def _filled(headers: Mapping[str, str]) -> dict[str, str]:
    return {_variable(name): value for name, value in headers.items()}


def _variable(name: str) -> str:
    """Return a header's variable: letters, digits and underscores, compared without case."""
    return f"header_{name.lower().replace('-', '_')}"


def _own_names(stored: StoredTemplate | None) -> list[str]:
    own = (stored.own_headers if stored else None) or {}
    return sorted({name for its in own.values() for name in its})


def _lacking_headers(message: Message, stored: StoredTemplate) -> str | None:
    """Name what an own header cannot be: it has a variable, whose value there is for everyone."""
    names = _own_names(stored)
    if not all(map(_HEADER.fullmatch, names)):
        return "a header of one recipient's own whose name holds more than letters, digits and -"
    usual = {name.lower() for name, _ in message.headers}
    for to in message.to:
        theirs = {name.lower() for name in stored.headers_of(to)}
        if not {name.lower() for name in names} <= theirs | usual:
            return "a header that only some recipients have, without one for all others"
    return None


def _file(attachment: Attachment) -> dict[str, str]:
    return {
        "name": attachment.content_id or attachment.filename,
        "type": attachment.content_type,
        "data": content_of(attachment),
    }
