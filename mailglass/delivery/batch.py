"""Batches: many mails checked with few questions and queued with few statements, in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Final, Self

from mailglass.deliveries import Delivery
from mailglass.delivery.freeze import Common, Frozen
from mailglass.errors import MailglassError
from mailglass.ledger.columns import MailRow, RecipientRow
from mailglass.ledger.store import Store
from mailglass.message import Message, Stream
from mailglass.suppression import Suppression, asked_values

STATEMENT_MAX: Final = 500
"""Messages in one statement; the figures stop rising well before it."""
_STATEMENT_BYTES_MAX: Final = 16 * 1_048_576
"""Payloads in one statement, but for the last: Postgres takes 1 GB, in its own writing."""
_AT_ONCE: Final = 2
"""Statements on their way: one is worked on while the other waits for the disk."""
PART_MAX: Final = 2 * STATEMENT_MAX
"""Messages that are rendered, checked and frozen before any of the next ones is rendered."""


@dataclass(slots=True, kw_only=True)
class Item:
    """One mail of a batch on its way: what it became so far, or the error that refused it.

    A mail that a suppression refused has an error, and a delivery that records it. What it was before
    is let go at each step, so that a large batch does not fill the memory. ``is_checked`` tells that
    preflight was asked, ``is_new`` that this batch put it into the queue.
    """

    message: Message | None = None
    frozen: Frozen | None = None
    error: MailglassError | None = None
    delivery: Delivery | None = None
    is_checked: bool = False
    is_new: bool = False


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


def parts_of(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Cut a batch into parts of ``PART_MAX``, each made when the one before it is done with."""
    rest = iter(items)
    while part := list(islice(rest, PART_MAX)):
        yield part


class Batches:
    """Queues messages as they come, in statements of ``STATEMENT_MAX``, while others are still made.

    Each statement is a transaction of its own: what was queued before an error, or beside it, stays
    queued. Use it in a ``with`` block, at whose end each item that is new has its first delivery.
    ``keys`` are the idempotency keys of what was added.
    """

    def __init__(self, store: Store) -> None:
        self.keys: set[str] = set()
        self._store = store
        self._part: list[Item] = []
        self._part_bytes = 0
        self._writer = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="mailglass-batch")
        self._writing: deque[Future[None]] = deque()
        self._is_alone = False

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

    def add(self, item: Item) -> None:
        """Queue a frozen message with others; at most two statements are on their way meanwhile.

        A statement with mail that has a key of either kind is on its way alone: of two mails with one
        idempotency key the first is queued, and those of one ordering key keep their order.

        Raises:
            psycopg.Error: an earlier statement failed.

        """
        self._part.append(item)
        if item.frozen is not None:
            self._part_bytes += item.frozen.payload_bytes
            if item.frozen.idempotency_key is not None:
                self.keys.add(item.frozen.idempotency_key)
        if len(self._part) >= STATEMENT_MAX or self._part_bytes >= _STATEMENT_BYTES_MAX:
            part, self._part, self._part_bytes = self._part, [], 0
            self._write(part)

    def _flush(self) -> None:
        if self._part:
            self._write(self._part)
        self._settle(0)

    def _write(self, part: list[Item]) -> None:
        is_alone = any(map(_has_key, part))
        self._settle(0 if is_alone or self._is_alone else _AT_ONCE - 1)
        self._is_alone = is_alone
        self._writing.append(self._writer.submit(_queue, self._store, part))

    def _settle(self, left: int) -> None:
        """Wait until no more than so many statements are on their way."""
        while len(self._writing) > left:
            self._writing.popleft().result()


def _has_key(item: Item) -> bool:
    one = item.frozen
    return one is not None and (one.idempotency_key is not None or one.ordering_key is not None)


def _queue(store: Store, part: Sequence[Item]) -> None:
    frozen = [(item, item.frozen) for item in part if item.frozen is not None]
    if not frozen:
        return
    commons: dict[Common, int] = {}
    for _, one in frozen:
        commons.setdefault(one.common, len(commons))
    new, created_at = store.queue_messages(
        [{**one.columns, "settings": one.settings, "place": at} for one, at in commons.items()],
        [_mail(one, commons[one.common]) for _, one in frozen],
        [row for place, (_, one) in enumerate(frozen, start=1) for row in _recipients(one, place)],
    )
    for place, (item, one) in enumerate(frozen, start=1):
        if place in new:
            item.delivery, item.is_new = one.first_delivery(created_at), True
        item.frozen = None


def _mail(frozen: Frozen, common: int) -> MailRow:
    return (
        frozen.message_id,
        common,
        frozen.payload,
        frozen.payload_sha256,
        frozen.payload_bytes,
        frozen.rfc_message_id,
        frozen.run_at,
        frozen.expires_at,
        frozen.ordering_key,
        frozen.idempotency_key,
        frozen.content_sha256,
    )


def _recipients(frozen: Frozen, place: int) -> Iterator[RecipientRow]:
    found = zip(frozen.delivery_ids, frozen.recipients, strict=True)
    for position, (delivery_id, (kind, address)) in enumerate(found):
        yield place, delivery_id, kind.value, position, address.addr_spec, address.key
