"""Batches: many mails checked with few questions and queued with few statements, in their order."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Self
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


class Batches:
    """Queues messages as they come, in statements of ``STATEMENT_MAX``, while others are still made.

    Each statement is a transaction of its own: what was queued before an error stays queued. Use it in
    a ``with`` block, at whose end ``first`` has the first delivery of each message that is new.
    """

    def __init__(self, store: Store) -> None:
        self.first: dict[UUID, Delivery] = {}
        self._store = store
        self._part: list[Frozen] = []
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="mailglass-batch")
        self._writing: Future[dict[UUID, Delivery]] | None = None

    def __enter__(self) -> Self:
        """Return the object itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_exc: object) -> None:
        """Queue the rest, unless something went wrong, and wait for what is being written."""
        try:
            if kind is None:
                self._flush()
        finally:
            self._writer.shutdown()

    def add(self, frozen: Frozen) -> None:
        """Queue a message with others; at most one statement is on its way meanwhile.

        Raises:
            psycopg.Error: an earlier statement failed.

        """
        self._part.append(frozen)
        if len(self._part) >= STATEMENT_MAX:
            self._settle()
            part, self._part = self._part, []
            self._writing = self._writer.submit(_queued, self._store, part)

    def _flush(self) -> None:
        self._settle()
        if self._part:
            self.first |= _queued(self._store, self._part)

    def _settle(self) -> None:
        if self._writing is not None:
            writing, self._writing = self._writing, None
            self.first |= writing.result()


def _queued(store: Store, part: Sequence[Frozen]) -> dict[UUID, Delivery]:
    documents = [_document(place, one) for place, one in enumerate(part, start=1)]
    payloads = [one.columns["payload"] for one in part]
    new = store.queue_messages(json.dumps(documents), payloads)
    return {
        one.message_id: one.first_delivery(*new[one.message_id])
        for one in part
        if one.message_id in new
    }


def _document(place: int, frozen: Frozen) -> dict[str, object]:
    kept = {name: value for name, value in frozen.columns.items() if name != "payload"}
    for name in _BINARY:
        kept[name] = kept[name].hex()
    for name in _MOMENTS:
        kept[name] = kept[name].isoformat() if kept[name] else None
    return {**kept, **frozen.documents, "place": place, "message_id": str(frozen.message_id)}
