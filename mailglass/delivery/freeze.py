"""Freeze: a message becomes bytes, ids and one statement's parameters; nothing is made anew later."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from mailglass.address import Address
from mailglass.deliveries import Delivery, DispatchState, Outcome
from mailglass.delivery.finish import Finishing
from mailglass.errors import Json
from mailglass.events import EventType
from mailglass.ids import new_id
from mailglass.message import Message, OnUnknown, RecipientKind, StoredTemplate, Stream, Tracking
from mailglass.rendering import mime

_AUTH_EXPIRES_AFTER_S: Final = 15 * 60.0
_EXPIRES_AFTER_S: Final = {
    Stream.TRANSACTIONAL: 24 * 3600.0,
    Stream.OPERATIONAL: 24 * 3600.0,
    Stream.BULK: 72 * 3600.0,
}


_PLAIN: Final = Finishing()
_KEPT_MAX: Final = 256
"""Combinations of what mails have in common that are kept, to be made once."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Common:
    """What a frozen message has in common with others; those of a batch often share one.

    ``settings`` is JSON. ``code`` is why it was refused, None where it is queued.
    """

    tenant_id: str
    stream: str
    mailable: str | None
    authenticates: bool
    mail_from: str = field(repr=False)
    adapter_ref: str
    on_unknown: str
    settings: str = field(repr=False)
    code: str | None

    @property
    def columns(self) -> Mapping[str, Any]:
        """Return the parameters that it gives to the statements."""
        refused = self.code is not None
        return {
            "tenant_id": self.tenant_id,
            "stream": self.stream,
            "mailable": self.mailable,
            "authenticates": self.authenticates,
            "mail_from": self.mail_from,
            "adapter_ref": self.adapter_ref,
            "on_unknown": self.on_unknown,
            "code": self.code,
            "state": (DispatchState.SUPPRESSED if refused else DispatchState.QUEUED).value,
            "event_type": (EventType.SUPPRESSED if refused else EventType.QUEUED).value,
            "expires_after_s": expires_after_s(
                Stream(self.stream), authenticates=self.authenticates
            ),
        }


_STREAMS: Final = {one.value: one for one in Stream}


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """A message as it is stored: the ids it will have, and what its statement takes.

    ``payload`` is None where it was refused. ``content_sha256`` is what a repetition is compared by,
    None for a mail without an idempotency key, to which nothing is ever compared.
    """

    message_id: UUID
    delivery_ids: tuple[UUID, ...]
    common: Common
    recipients: tuple[tuple[RecipientKind, Address], ...]
    payload: bytes | None = field(repr=False)
    payload_sha256: bytes
    payload_bytes: int
    rfc_message_id: str
    run_at: datetime | None
    expires_at: datetime | None
    ordering_key: str | None
    idempotency_key: str | None
    content_sha256: bytes | None

    @property
    def parameters(self) -> Mapping[str, object]:
        """Return the parameters of ``queue_message``."""
        recipients = [
            {
                "id": str(delivery_id),
                "kind": kind.value,
                "position": position,
                "address": address.addr_spec,
                "address_key": address.key,
            }
            for position, (delivery_id, (kind, address)) in enumerate(
                zip(self.delivery_ids, self.recipients, strict=True)
            )
        ]
        return {
            **self.common.columns,
            "settings": self.common.settings,
            "recipients": json.dumps(recipients),
            "message_id": self.message_id,
            "payload": self.payload,
            "payload_sha256": self.payload_sha256,
            "payload_bytes": self.payload_bytes,
            "rfc_message_id": self.rfc_message_id,
            "run_at": self.run_at,
            "expires_at": self.expires_at,
            "ordering_key": self.ordering_key,
            "idempotency_key": self.idempotency_key,
            "content_sha256": self.content_sha256,
            "trace_id": None,
            "asked": None,
        }

    def first_delivery(self, now: datetime) -> Delivery:
        """Return the delivery of its first recipient as it is stored at that moment."""
        common = self.common
        return Delivery(
            id=self.delivery_ids[0],
            message_id=self.message_id,
            tenant_id=common.tenant_id,
            kind=RecipientKind.TO,
            stream=_STREAMS[common.stream],
            state=DispatchState.QUEUED if common.code is None else DispatchState.SUPPRESSED,
            outcome=Outcome.NONE,
            mailable=common.mailable,
            provider=None,
            provider_message_id=None,
            failure_class=None,
            code=common.code,
            attempts=0,
            run_at=self.run_at or now,
            created_at=now,
            updated_at=now,
            payload_bytes=self.payload_bytes,
            payload_sha256=self.payload_sha256,
        )


def freeze(  # noqa: PLR0913 - each is a keyword and has its own meaning
    message: Message,
    *,
    tenant_id: str,
    adapter_ref: str,
    now: datetime,
    finishing: Finishing = _PLAIN,
    refused_as: str | None = None,
) -> Frozen:
    """Build the MIME bytes, the ids and the statement's parameters.

    ``finishing`` adds what the mail gets besides its author's words, with the ids of its deliveries.
    ``refused_as`` stores the message as suppressed, for that reason and without its bytes.
    """
    message_id, recipients = new_id(), message.recipients
    delivery_ids = tuple([new_id() for _ in recipients])
    rfc_message_id = f"<{message_id.hex}@{message.sender.domain}>"
    key = None if refused_as is not None else message.idempotency_key
    content = None if key is None else content_sha256(message)
    message = finishing.message(message, delivery_ids, now)
    added = finishing.headers(message, tenant_id, delivery_ids, now)
    payload = mime.build(
        _with_body(message),
        message_id=rfc_message_id,
        date=now,
        extra_headers=added,
        boundary_seed=message_id.bytes,
    )
    payload = finishing.signed(payload, message, tenant_id, now)
    return Frozen(
        message_id=message_id,
        delivery_ids=delivery_ids,
        common=_common_of(message, added, tenant_id, adapter_ref, refused_as),
        recipients=recipients,
        payload=payload if refused_as is None else None,
        payload_sha256=hashlib.sha256(payload).digest(),
        payload_bytes=len(payload),
        rfc_message_id=rfc_message_id,
        run_at=message.send_at,
        expires_at=message.expires_at,
        ordering_key=message.ordering_key,
        idempotency_key=key,
        content_sha256=content,
    )


def _common_of(
    message: Message,
    added: Sequence[tuple[str, str]],
    tenant_id: str,
    adapter_ref: str,
    refused_as: str | None,
) -> Common:
    """Return what is stored with a message beside its bytes; what is its own alone is not kept."""
    names = tuple([name.lower() for name, _ in added])
    if message.metadata or message.send_at is not None or _for_provider(message):
        make, settings = _common, json.dumps(_settings(message, names))
    else:
        make, settings = (
            _kept_common,
            _kept_settings(
                names, message.tags, message.tracking, message.locale, message.unsubscribe
            ),
        )
    return make(
        tenant_id,
        message.stream,
        message.mailable,
        message.authenticates,
        (message.envelope_sender or message.sender).addr_spec,
        adapter_ref,
        on_unknown(message),
        refused_as,
        settings,
    )


def _common(  # noqa: PLR0913, PLR0917 - by place, so that what is kept is found by it
    tenant_id: str,
    stream: Stream,
    mailable: str | None,
    authenticates: bool,  # noqa: FBT001 - as above
    mail_from: str,
    adapter_ref: str,
    unknown: OnUnknown,
    code: str | None,
    settings: str,
) -> Common:
    return Common(
        tenant_id=tenant_id,
        stream=stream.value,
        mailable=mailable,
        authenticates=authenticates,
        mail_from=mail_from,
        adapter_ref=adapter_ref,
        on_unknown=unknown.value,
        settings=settings,
        code=code,
    )


_kept_common: Final = lru_cache(maxsize=_KEPT_MAX)(_common)


@lru_cache(maxsize=_KEPT_MAX)
def _kept_settings(
    added: tuple[str, ...],
    tags: tuple[str, ...],
    tracking: Tracking,
    locale: str | None,
    unsubscribe: bool,  # noqa: FBT001 - by place, as above
) -> str:
    return json.dumps(_plain_settings(added, tags, tracking, locale, unsubscribe))


def expires_after_s(stream: Stream, *, authenticates: bool) -> float:
    """Return how long a mail without ``expires_at`` is worth sending."""
    return _AUTH_EXPIRES_AFTER_S if authenticates else _EXPIRES_AFTER_S[stream]


def on_unknown(message: Message) -> OnUnknown:
    """Return what is wanted when this mail's outcome is unknown: its own word, else its stream's.

    Mail that authenticates somebody and bulk mail is rather parked: nobody wants a second code, and
    a second newsletter is a complaint. A receipt is rather doubled than lost. The sweep puts neither
    back unless the provider's idempotency key makes a second attempt harmless.
    """
    if message.on_unknown is not None:
        return message.on_unknown
    parked = message.authenticates or message.stream is Stream.BULK
    return OnUnknown.PARK if parked else OnUnknown.RESEND


def content_sha256(message: Message) -> bytes:
    """Return a hash of what the author set, equal for equal mails whenever they are frozen."""
    parts: list[object] = [
        str(message.sender),
        [[kind.value, str(address)] for kind, address in message.recipients],
        [str(address) for address in message.reply_to],
        message.subject,
        message.text,
        message.html,
        list(message.headers),
        [
            [
                one.filename,
                one.content_type,
                one.content_id,
                hashlib.sha256(one.content or b"").hexdigest(),
            ]
            for one in message.attachments
        ],
        message.stream.value,
        message.mailable,
        list(message.tags),
        sorted(message.metadata.items()),
    ]
    for_provider = _for_provider(message)
    if for_provider:
        parts.append(for_provider)
    return hashlib.sha256(json.dumps(parts).encode()).digest()


def _with_body(message: Message) -> Message:
    """Return the message with an empty text where the provider's template is all of its body."""
    has_body = message.text is not None or message.html is not None
    return message if has_body else message.replace(text="")


def _for_provider(message: Message) -> dict[str, Json]:
    """Return what only the provider's request can carry; empty for most mail."""
    found: dict[str, Json] = {}
    if message.stored_template is not None:
        found["stored_template"] = _stored_template(message.stored_template)
    if message.envelope_sender is not None:
        found["envelope_sender"] = str(message.envelope_sender)
    if message.provider_send_at is not None:
        found["provider_send_at"] = message.provider_send_at.isoformat()
    if message.provider_options:
        found["provider_options"] = dict(message.provider_options)
    return found


def _stored_template(stored: StoredTemplate) -> dict[str, Json]:
    found: dict[str, Json] = {
        "id": stored.id,
        "variables": dict(stored.variables),
        "per_recipient": None,
    }
    for name in ("per_recipient", "own_metadata", "own_headers"):
        own = getattr(stored, name)
        if own is not None:
            found[name] = {one: dict(its) for one, its in own.items()}
    return found


def _settings(message: Message, added: tuple[str, ...]) -> dict[str, Json]:
    plain = _plain_settings(
        added, message.tags, message.tracking, message.locale, message.unsubscribe
    )
    return {
        **plain,
        "metadata": dict(message.metadata),
        "send_at": message.send_at.isoformat() if message.send_at else None,
        **_for_provider(message),
    }


def _plain_settings(
    added: tuple[str, ...],
    tags: tuple[str, ...],
    tracking: Tracking,
    locale: str | None,
    unsubscribe: bool,  # noqa: FBT001 - by place, as above
) -> dict[str, Json]:
    """Return what is stored of a mail with no metadata, no time and nothing for its provider alone."""
    return {
        "added": list(added),
        "tags": list(tags),
        "metadata": {},
        "tracking": {"opens": tracking.opens, "clicks": tracking.clicks},
        "send_at": None,
        "locale": locale,
        "unsubscribe": unsubscribe,
    }
