"""Freeze: a message becomes bytes, ids and one statement's parameters; nothing is made anew later."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from mailglass.deliveries import Delivery, DispatchState, Outcome
from mailglass.delivery.finish import Finishing
from mailglass.errors import Json
from mailglass.events import EventType
from mailglass.ids import new_id
from mailglass.message import Message, OnUnknown, RecipientKind, StoredTemplate, Stream
from mailglass.rendering import mime

_AUTH_EXPIRES_AFTER_S: Final = 15 * 60.0
_EXPIRES_AFTER_S: Final = {
    Stream.TRANSACTIONAL: 24 * 3600.0,
    Stream.OPERATIONAL: 24 * 3600.0,
    Stream.BULK: 72 * 3600.0,
}


_PLAIN: Final = Finishing()


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """A message as it is stored: the ids it will have, and what its statement takes.

    ``documents`` are the parameters that travel as JSON, not yet encoded; ``columns`` are the others.
    """

    message_id: UUID
    delivery_ids: tuple[UUID, ...]
    content_sha256: bytes
    columns: Mapping[str, Any]
    documents: Mapping[str, Json]

    @property
    def parameters(self) -> Mapping[str, object]:
        """Return the parameters of ``queue_message``."""
        return dict(self.columns) | {name: json.dumps(one) for name, one in self.documents.items()}

    def first_delivery(self, run_at: datetime, created_at: datetime) -> Delivery:
        """Return the delivery of its first recipient as it is stored; the moments are the database's."""
        column = self.columns
        return Delivery(
            id=self.delivery_ids[0],
            message_id=self.message_id,
            tenant_id=column["tenant_id"],
            kind=RecipientKind.TO,
            stream=Stream(column["stream"]),
            state=DispatchState(column["state"]),
            outcome=Outcome.NONE,
            mailable=column["mailable"],
            provider=None,
            provider_message_id=None,
            failure_class=None,
            code=column["code"],
            attempts=0,
            run_at=run_at,
            created_at=created_at,
            updated_at=created_at,
            payload_bytes=column["payload_bytes"],
            payload_sha256=column["payload_sha256"],
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
    message_id = new_id()
    delivery_ids = tuple(new_id() for _ in message.recipients)
    rfc_message_id = f"<{message_id.hex}@{message.sender.domain}>"
    content = content_sha256(message)
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
    digest = hashlib.sha256(payload)
    about: dict[str, Json] = {
        "stream": message.stream.value,
        "mailable": message.mailable,
        "bytes": len(payload),
        "sha256": digest.hexdigest(),
    }
    if refused_as is not None:
        about["reason"] = refused_as
    recipients: list[Json] = [
        {
            "id": str(delivery_id),
            "kind": kind.value,
            "position": position,
            "address": address.addr_spec,
            "address_key": address.key,
            "event_payload": about | {"kind": kind.value},
        }
        for position, (delivery_id, (kind, address)) in enumerate(
            zip(delivery_ids, message.recipients, strict=True)
        )
    ]
    refused = refused_as is not None
    return Frozen(
        message_id=message_id,
        delivery_ids=delivery_ids,
        content_sha256=content,
        columns={
            "message_id": message_id,
            "tenant_id": tenant_id,
            "stream": message.stream.value,
            "mailable": message.mailable,
            "authenticates": message.authenticates,
            "mail_from": (message.envelope_sender or message.sender).addr_spec,
            "payload": None if refused else payload,
            "payload_sha256": digest.digest(),
            "payload_bytes": len(payload),
            "rfc_message_id": rfc_message_id,
            "state": (DispatchState.SUPPRESSED if refused else DispatchState.QUEUED).value,
            "event_type": (EventType.SUPPRESSED if refused else EventType.QUEUED).value,
            "code": refused_as,
            "run_at": message.send_at,
            "expires_at": message.expires_at,
            "expires_after_s": expires_after_s(message.stream, authenticates=message.authenticates),
            "on_unknown": on_unknown(message).value,
            "ordering_key": message.ordering_key,
            "adapter_ref": adapter_ref,
            "idempotency_key": None if refused else message.idempotency_key,
            "content_sha256": content,
            "trace_id": None,
        },
        documents={"settings": _settings(message, added), "recipients": recipients},
    )


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


def _settings(message: Message, added: Sequence[tuple[str, str]]) -> dict[str, Json]:
    return {
        "added": [name.lower() for name, _ in added],
        "tags": list(message.tags),
        "metadata": dict(message.metadata),
        "tracking": {"opens": message.tracking.opens, "clicks": message.tracking.clicks},
        "send_at": message.send_at.isoformat() if message.send_at else None,
        "locale": message.locale,
        "unsubscribe": message.unsubscribe,
        **_for_provider(message),
    }
