"""Batches: many mails checked with few questions and queued with few statements, in their order."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from mailglass.deliveries import Delivery
from mailglass.delivery.freeze import Frozen
from mailglass.errors import MailglassError
from mailglass.ledger.store import Store
from mailglass.message import Message, Stream
from mailglass.suppression import Suppression, asked_values

STATEMENT_MAX: Final = 500
"""Messages in one statement; the figures stop rising well before it."""
_BINARY: Final = ("payload_sha256", "content_sha256")
_MOMENTS: Final = ("run_at", "expires_at")
_DOCUMENTS: Final = ("settings", "recipients")


@dataclass(slots=True, kw_only=True)
class Item:
    """One mail of a batch on its way: what it became so far, or the error that refused it.

    A mail that a suppression refused has an error, and a delivery that records it.
    """

    message: Message | None = None
    frozen: Frozen | None = None
    error: MailglassError | None = None
    delivery: Delivery | None = None


def suppressions_of(
    store: Store, tenant_id: str, messages: Sequence[Message], *, erasure_key: bytes | None
) -> Callable[[Sequence[str], Stream], Sequence[Suppression]]:
    """Ask once a stream for everybody in the batch, and answer each message's question from that."""
    asked: dict[Stream, set[str]] = {}
    for message in messages:
        keys = [address.key for _, address in message.recipients]
        asked.setdefault(message.stream, set()).update(
            asked_values(keys, tenant_id=tenant_id, erasure_key=erasure_key)
        )
    return known_suppressions(store, tenant_id, asked)


def known_suppressions(
    store: Store, tenant_id: str, asked: Mapping[Stream, set[str]]
) -> Callable[[Sequence[str], Stream], Sequence[Suppression]]:
    """Ask once a stream for the values, and answer later questions from that."""
    found: dict[tuple[Stream, str], list[Suppression]] = {}
    for stream, values in asked.items():
        for hit in store.matching_suppressions(tenant_id, sorted(values), stream):
            found.setdefault((stream, hit.value), []).append(hit)

    def answer(values: Sequence[str], stream: Stream) -> Sequence[Suppression]:
        return [hit for value in values for hit in found.get((stream, value), ())]

    return answer


def queue_all(store: Store, tenant_id: str, frozen: Sequence[Frozen]) -> dict[UUID, Delivery]:
    """Queue every message; the first delivery of each that is new, by message id.

    Each statement is a transaction of its own: what was queued before an error stays queued.
    """
    first: dict[UUID, UUID] = {}
    for start in range(0, len(frozen), STATEMENT_MAX):
        part = frozen[start : start + STATEMENT_MAX]
        documents = [_document(place, one) for place, one in enumerate(part, start=1)]
        payloads = [one.parameters["payload"] for one in part]
        first |= store.queue_messages(json.dumps(documents), payloads)
    found = {one.id: one for one in store.deliveries_by_id(tenant_id, list(first.values()))}
    return {message_id: found[delivery_id] for message_id, delivery_id in first.items()}


def _document(place: int, frozen: Frozen) -> dict[str, object]:
    kept = {name: value for name, value in frozen.parameters.items() if name != "payload"}
    for name in _BINARY:
        value = kept[name]
        kept[name] = value.hex() if isinstance(value, bytes) else value
    for name in _MOMENTS:
        value = kept[name]
        kept[name] = value.isoformat() if hasattr(value, "isoformat") else value
    for name in _DOCUMENTS:
        kept[name] = json.loads(str(kept[name]))
    return kept | {"place": place, "message_id": str(kept["message_id"])}
