"""One person in the database: what is held on an address, and taking it out everywhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from mailglass.deliveries import Delivery, DispatchState
from mailglass.errors import Json
from mailglass.ids import new_id
from mailglass.ledger.rows import parse_delivery
from mailglass.ledger.spellings import escaped_spellings, pattern_of
from mailglass.ledger.store import Store

PAGE_MAX: Final = 500
PAGE_BYTES: Final = 4_000_000
"""Bytes of mails or requests in one statement, unless a single one has more."""
SUPPRESSIONS_MAX: Final = 1_000
_FIRST: Final = UUID(int=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One delivery to a person, with what its message still keeps; ``payload`` is None once scrubbed."""

    delivery: Delivery
    address: str = field(repr=False)
    settings: Mapping[str, Any] = field(repr=False)
    payload: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One webhook receipt that still has its body."""

    id: UUID
    provider: str
    endpoint: str
    received_at: datetime
    headers: Json = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """From how many rows an address was taken."""

    deliveries: int
    messages: int
    receipts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PeopleStore:
    """Runs the queries of ``people.sql`` for one tenant, each of them a transaction of its own."""

    store: Store
    tenant_id: str

    def deliveries(self, keys: Sequence[str]) -> Iterator[Held]:
        """Yield every delivery to any of the address keys, the first first, a page at a time."""
        for row in self._pages("deliveries_of_person", {"keys": list(keys)}):
            payload = row["payload"]
            yield Held(
                delivery=parse_delivery(row),
                address=row["address"],
                settings=row["settings"],
                payload=None if payload is None else bytes(payload),
            )

    def ids(self, keys: Sequence[str]) -> Iterator[tuple[UUID, str | None]]:
        """Yield of every delivery to any of the address keys its id and the provider's."""
        for row in self._pages("ids_of_person", {"keys": list(keys)}):
            yield row["id"], row["provider_message_id"]

    def payloads(self, *, within_s: float | None = None) -> Iterator[tuple[UUID, bytes]]:
        """Yield the bytes of every message that still has them, and was queued so lately."""
        for row in self._pages("payloads_after", {"within_s": within_s}):
            yield row["id"], bytes(row["payload"])

    def receipts(self, *, within_s: float | None = None) -> Iterator[Kept]:
        """Yield every webhook receipt that still has its body, and came so lately."""
        for row in self._pages("receipts_after", {"within_s": within_s}):
            yield Kept(**{**row, "body": bytes(row["body"])})

    def messages(self, address_key: str, naming: Sequence[UUID]) -> dict[UUID, DispatchState]:
        """Return the messages that hold an address, ``naming`` among them, and their states."""
        given = {
            "tenant_id": self.tenant_id,
            "address_key": address_key,
            "pattern": pattern_of(address_key),
            "naming": list(naming),
        }
        rows = self.store.rows("messages_of_person", given)
        return {row["id"]: DispatchState(row["state"]) for row in rows}

    def suppressions(self, keys: Sequence[str]) -> list[Mapping[str, Any]]:
        """Return every refusal of an address, also those that hold no more."""
        given = {"tenant_id": self.tenant_id, "keys": list(keys), "limit": SUPPRESSIONS_MAX}
        return [dict(row) for row in self.store.rows("suppressions_of_person", given)]

    def erase(
        self, address_key: str, erased: str, message_ids: Sequence[UUID], *, receipts: int, by: str
    ) -> Taken:
        """Put ``erased`` in the place of the address in deliveries and messages: all of it or nothing.

        ``receipts``, of how many rows of what came in it was taken, goes into the record.
        """
        (row,) = self.store.rows(
            "erase_person",
            {
                "id": new_id(),
                "tenant_id": self.tenant_id,
                "address_key": address_key,
                "pattern": pattern_of(address_key),
                "erased": erased,
                "message_ids": list(message_ids),
                "receipts": receipts,
                "changed_by": by,
            },
        )
        return Taken(**row)

    def empty_receipts(self, ids: Sequence[UUID]) -> int:
        """Take the bodies and headers of webhook receipts; of how many."""
        given = {"tenant_id": self.tenant_id, "ids": list(ids)}
        return int(self.store.rows("empty_receipts", given)[0]["rows"])

    def erase_orphans(self, address_key: str, known_as: Sequence[str]) -> int:
        """Take away what waits for its delivery and holds an address; how many.

        ``known_as`` are the ids under which providers speak of the person's deliveries.
        """
        wanted = [*escaped_spellings(address_key), *known_as]
        given = {"tenant_id": self.tenant_id, "spellings": wanted}
        return int(self.store.rows("erase_orphans", given)[0]["rows"])

    def _pages(self, name: str, given: Mapping[str, object]) -> Iterator[Mapping[str, Any]]:
        after = _FIRST
        asked = {"tenant_id": self.tenant_id, "limit": PAGE_MAX, "bytes": PAGE_BYTES, **given}
        while rows := self.store.rows(name, {**asked, "after": after}):
            yield from rows
            after = rows[-1]["id"]
