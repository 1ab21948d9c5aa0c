"""Unisender Go, and UniOne, which is the same: the email API, and webhooks with a digest in the body.

https://godocs.unisender.ru/web-api-ref, https://docs.unione.io/en/web-api-ref and
https://docs.unione.io/en/simple-template-engine.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from datetime import UTC
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
)
from mailglass.adapters.http import Request, Response, Transport, checked_base_url
from mailglass.adapters.options import merged
from mailglass.adapters.providers import UNSET
from mailglass.adapters.signatures import check_mac
from mailglass.adapters.unisender_go_events import PROVIDER, events_of
from mailglass.address import Address
from mailglass.clock import Clock, system_clock
from mailglass.envelope import Envelope, Verdict
from mailglass.errors import FailureClass, SignatureErrorType
from mailglass.failures import Signal
from mailglass.message import Attachment, Message, StoredTemplate
from mailglass.webhook import (
    TOKEN_KEY,
    ProviderEvent,
    WebhookRequest,
    malformed,
    mapping,
    parse_json,
    refused,
    text,
)

_TIME: Final = "%Y-%m-%d %H:%M:%S"
_DIGEST: Final = re.compile(r"[0-9a-f]{32}")
_CONFUSING: Final = re.compile(r"[,;@<>\\\"]")
"""What in a quoted name Unisender Go takes for the end of an address."""
_PLAIN: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
_WORD_CHARS_MAX: Final = 63
"""Of an encoded word without its frame; with it there may be 75 characters (RFC 2047 §2)."""
_ENGINE: Final = "template_engine"
_FILLING: Final = frozenset({_ENGINE, "template_id", "global_substitutions", "recipients"})
"""With one of these fields among the provider's options the placeholders are the author's."""
_BRACES: Final = "{{"
_PLACEHOLDER: Final = re.compile(
    r"\{\{[A-Za-z][A-Za-z0-9_-]*(?:[|?](?:(?!\{\{).)*?)?\}\}", re.DOTALL
)
"""A variable by itself, with a default, and with the text of a condition; the innermost of several."""
_FAILED: Final = {
    "invalid": FailureClass.PERMANENT,
    "permanent_unavailable": FailureClass.SUPPRESSED,
    "unsubscribed": FailureClass.SUPPRESSED,
    "temporary_unavailable": FailureClass.NOT_SENT,
}
_SAME_AGAIN: Final = "duplicate"
"""The same address stood in the call before, and its mail was taken."""


class UnisenderGoAdapter(ApiAdapter):
    """Hands mail to one account of Unisender Go, in the data centre of ``base_url``.

    It is ``https://go1.unisender.ru/ru/transactional/api/v1`` or ``go2``, and for UniOne
    ``https://us1.unione.io/en/transactional/api/v1`` or ``eu1``. Webhooks are signed with the API
    key; give ``webhooks.keys`` the old and the new one while it is replaced. Every mail is read as
    a template: the engine is turned off for double braces of a mail without variables. This it
    allows only to mail that is not tracked, of an account that may leave out the link for
    unsubscribing. ``template_engine`` among the provider's options chooses the engine instead.
    """

    PROVIDER: ClassVar[str] = PROVIDER
    WEBHOOK_PARTS: ClassVar[frozenset[str]] = frozenset({"keys"})
    FEATURES: ClassVar[Features] = Features(
        stored_templates=True,
        own_metadata=True,
        body_templates=True,
        provider_options=True,
        schedules=True,
        reply_to_max=1,
        tags_max=4,
        tag_chars_max=50,
        message_bytes_max=10 * 1024 * 1024,
    )

    def __init__(
        self,
        *,
        api_key: SecretSource,
        base_url: str,
        webhooks: WebhookAuth | None = None,
        transport: Transport | None = None,
        clock: Clock = system_clock,
    ) -> None:
        super().__init__(webhooks=webhooks, transport=transport, clock=clock)
        self._api_key = Secret(api_key, key="unisender_go_api_key")
        self._base_url = checked_base_url(base_url, key="unisender_go_base_url")

    def lacking(self, message: Message) -> str | None:
        """Name what mails of one recipient each cannot have, and words that a template would lose."""
        if any(name.lower() in {"to", "cc"} for name, _ in message.headers):
            return "a field of the name To or Cc"
        stored = message.stored_template
        if stored is not None and stored.is_individual and (message.cc or message.bcc):
            return "a Cc or Bcc recipient beside variables of each recipient"
        is_read = _is_finished(message) and not _is_untracked(message)
        if is_read and any(map(_PLACEHOLDER.search, _written(message))):
            return "double braces in a tracked mail, which its template engine would replace"
        return None

    def request(self, envelope: Envelope) -> Request:
        """Return the call of ``email/send``: everyone is a recipient, whom two fields name apart."""
        message, whom = self._thawed(envelope)
        body = _content(message, whom) | {"recipients": _recipients(envelope, message, whom)}
        if _is_finished(message) and _is_untracked(message) and _has_braces(message):
            body[_ENGINE] = "none"
        return json_request(
            f"{self._base_url}/email/send.json",
            {"X-API-KEY": self._api_key.reveal()},
            {"message": merged(body, message.provider_options)},
        )

    def ruling(self, response: Response, answer: Any) -> tuple[Signal, str | None]:
        """Read the code of an error, and whether every recipient is on Unisender Go's own list."""
        signal, _ = super().ruling(response, answer)
        said = mapping(answer)
        code = text(said.get("code"))
        if signal is Signal.HTTP_ACCEPTED and said.get("status") == "error":
            signal = Signal.HTTP_REFUSED
        known = {_failure(one) for one in mapping(said.get("failed_emails")).values()}
        if signal is Signal.HTTP_REFUSED and known == {FailureClass.SUPPRESSED}:
            return Signal.HTTP_RECIPIENT_SUPPRESSED, code
        return signal, code

    def accepted(
        self,
        envelope: Envelope,
        response: Response,  # noqa: ARG002 - the base asks every provider alike
        answer: Any,
    ) -> tuple[Verdict, ...] | None:
        """Read the job's id, and the recipients that failed by name."""
        said = mapping(answer)
        job = text(said.get("job_id"))
        if said.get("status") != "success" or job is None:
            return None
        failed = {key.lower(): one for key, one in mapping(said.get("failed_emails")).items()}

        def judged(address: str) -> tuple[FailureClass | None, str | None, str | None]:
            word = failed.get(address.lower())
            if word is None or word == _SAME_AGAIN:
                return None, text(word), job
            return _failure(word), text(word), None

        return each(envelope, lambda address: judged(address.addr_spec))

    def verify(self, request: WebhookRequest) -> None:
        """Check the digest in the body; a GET, which tries an address, carries nothing."""
        self._webhooks.check_origin(request, provider=PROVIDER)
        if _is_trial(request):
            return
        given = mapping(parse_json(request.body, provider=PROVIDER)).get("auth")
        if given is None:
            raise refused(SignatureErrorType.MISSING_HEADER, PROVIDER, "auth")
        if not isinstance(given, str) or _DIGEST.fullmatch(given) is None:
            raise malformed(PROVIDER, "auth")
        parts = request.body.split(f'"{given}"'.encode())
        if len(parts) != 2:  # noqa: PLR2004 - before and after: it stands once
            raise malformed(PROVIDER, "auth")
        macs = [_digest(f'"{key}"'.encode().join(parts)) for key in self._keys()]
        check_mac(bytes.fromhex(given), macs, provider=PROVIDER)

    def events(self, request: WebhookRequest) -> tuple[ProviderEvent, ...]:
        """Return one event a record."""
        if _is_trial(request):
            return ()
        return events_of(parse_json(request.body, provider=PROVIDER))

    def _keys(self) -> list[str]:
        """Return the API keys that may have signed; a placeholder for one is none."""
        own = self._api_key.plain()
        if self._webhooks.keys or own == UNSET:
            return self._webhooks.secrets(PROVIDER)
        return [own]


def _is_trial(request: WebhookRequest) -> bool:
    return request.method in {"GET", "HEAD"} and not request.body


def _digest(signed: bytes) -> bytes:
    return hashlib.md5(signed, usedforsecurity=False).digest()


def _failure(word: Any) -> FailureClass:
    return (
        _FAILED.get(word, FailureClass.UNKNOWN) if isinstance(word, str) else FailureClass.UNKNOWN
    )


def _is_finished(message: Message) -> bool:
    """Tell whether nobody wants anything filled in."""
    stored = message.stored_template
    is_template = stored is not None and (stored.id is not None or stored.fills)
    return not is_template and _FILLING.isdisjoint(message.provider_options)


def _is_untracked(message: Message) -> bool:
    """Tell whether both switches are off in the request: the account's setting may be on."""
    switches = {"track_read": message.tracking.opens, "track_links": message.tracking.clicks}
    options = message.provider_options
    return all(options.get(name, is_on) == 0 for name, is_on in switches.items())


def _has_braces(message: Message) -> bool:
    return any(_BRACES in shown for shown in _written(message))


def _written(message: Message) -> Iterator[str]:
    """Yield what Unisender Go reads as templates."""
    yield from (message.subject, message.text or "", message.html or "", message.sender.name)
    yield from (value for _, value in message.headers)
    yield from (one.name for one in (*message.to, *message.cc))


def _content(message: Message, whom: Addressed) -> dict[str, Any]:
    stored, send_at = message.stored_template, message.provider_send_at
    reply_to = message.reply_to[0] if message.reply_to else None
    return present(
        template_id=stored.id if stored else None,
        from_email=message.sender.addr_spec,
        from_name=message.sender.name,
        reply_to=reply_to.addr_spec if reply_to else None,
        reply_to_name=reply_to.name if reply_to else None,
        subject=message.subject,
        body=present(plaintext=message.text, html=message.html),
        headers={**dict(message.headers), **_named(whom, stored)},
        attachments=[_file(one) for one in message.attachments if not one.content_id],
        inline_attachments=[_file(one) for one in message.attachments if one.content_id],
        tags=list(message.tags),
        global_metadata=dict(message.metadata),
        global_substitutions=dict(stored.variables) if stored else None,
        track_read=_switch(is_on=message.tracking.opens),
        track_links=_switch(is_on=message.tracking.clicks),
        options=present(send_at=send_at.astimezone(UTC).strftime(_TIME) if send_at else None),
    )


def _recipients(envelope: Envelope, message: Message, whom: Addressed) -> list[dict[str, Any]]:
    stored = message.stored_template
    return [
        present(
            email=one.addr_spec,
            substitutions=present(to_name=one.name) | (stored.own_variables(one) if stored else {}),
            metadata={
                **(stored.metadata_of(one) if stored else {}),
                TOKEN_KEY: token_for(envelope, one),
            },
        )
        for one in (*whom.to, *whom.cc, *whom.bcc)
    ]


def _named(whom: Addressed, stored: StoredTemplate | None) -> dict[str, str]:
    """Return the fields that name the recipients to each other, where they may see each other."""
    if stored is not None and stored.is_individual:
        return {}
    return present(to=_mailboxes(whom.to), cc=_mailboxes(whom.cc))


def _mailboxes(addresses: tuple[Address, ...]) -> str:
    return ", ".join(
        f"{_encoded_word(one.name)} <{one.addr_spec}>" if _CONFUSING.search(one.name) else str(one)
        for one in addresses
    )


def _encoded_word(name: str) -> str:
    """Return a name as encoded words of the Q encoding (RFC 2047 §4.2), none of which is too long."""
    words, word = [], ""
    for char in name:
        shown = "".join(
            "_" if byte == ord(" ") else chr(byte) if byte in _PLAIN else f"={byte:02X}"
            for byte in char.encode("utf-8", "replace")
        )
        if len(word) + len(shown) > _WORD_CHARS_MAX:
            words.append(word)
            word = ""
        word += shown
    return " ".join(f"=?utf-8?q?{one}?=" for one in (*words, word))


def _switch(*, is_on: bool | None) -> int | None:
    return None if is_on is None else int(is_on)


def _file(attachment: Attachment) -> dict[str, str]:
    return {
        "type": attachment.content_type,
        "name": attachment.content_id or attachment.filename,
        "content": content_of(attachment),
    }
