"""Webhooks in the database: receipts, batches of reports, orphans, and what was refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum, unique
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg import errors
from psycopg.rows import tuple_row

from mailglass.errors import Json, MailglassError
from mailglass.ids import new_id
from mailglass.ledger.pool import Connection
from mailglass.ledger.rows import Row
from mailglass.ledger.sql import query
from mailglass.ledger.store import Store
from mailglass.suppression import erased_value

REPORTS_MAX: Final = 1_000
"""Reports in one statement; a longer batch takes several."""
TRIES_MAX: Final = 3
"""How often a batch is written again that met another one over the same deliveries."""
SOFT_BOUNCES: Final = 5
SOFT_BOUNCES_WINDOW_S: Final = 7 * 86_400.0
PAGE_MAX: Final = 500
_COLLISIONS: Final = (errors.DeadlockDetected, errors.SerializationFailure)
_REFUSALS: Final = (psycopg.DataError, psycopg.IntegrityError, psycopg.ProgrammingError)
"""What Postgres says of one bad value; the rest of its batch is then written without it."""


@unique
class ReceiptState(StrEnum):
    """What became of a request: kept, made into events, or unreadable as a whole."""

    RECEIVED = "received"
    PROCESSED = "processed"
    DEAD = "dead"


@unique
class ReportStatus(StrEnum):
    """What became of one report; the last three are refusals and are kept with their receipt."""

    RECORDED = "recorded"
    DUPLICATE = "duplicate"
    ORPHAN = "orphan"
    RECIPIENT_MISMATCH = "recipient_mismatch"
    TENANT_MISMATCH = "tenant_mismatch"
    REFUSED = "refused"


_STATUSES: Final = MappingProxyType({one.value: one for one in ReportStatus})
_SOFT: Final = 1
"""The column of the delivery that a new report of a soft bounce is about."""
_ENCODED: Final = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A verified request, as it is kept; ``dedupe_key`` is the same at every repetition."""

    id: UUID
    tenant_id: str
    provider: str
    endpoint: str
    dedupe_key: str
    headers: Sequence[tuple[str, str]] = field(repr=False)
    body: bytes = field(repr=False)
    body_sha256: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A request that was kept; ``body`` is None in a list, and once it was erased."""

    id: UUID
    tenant_id: str
    provider: str
    endpoint: str
    state: ReceiptState
    reason: str | None
    received_at: datetime
    processed_at: datetime | None
    headers: Sequence[tuple[str, str]] = field(default=(), repr=False)
    body: bytes | None = field(default=None, repr=False)
    body_bytes: int = 0
    dead: int = 0
    orphans: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where reports come from; without a receipt nothing is made an orphan and nothing buried."""

    tenant_id: str
    provider: str
    endpoint: str = ""
    receipt_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What became of one report.

    ``unknown_message_id`` is its message, where the report is new and nobody knew whether that had
    left. ``is_erased`` tells that the report is about a person who was erased.
    """

    place: int
    status: ReportStatus
    unknown_message_id: UUID | None = None
    is_erased: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """A report whose delivery is not known; ``document`` is the report as it is recorded."""

    id: UUID
    tenant_id: str
    provider: str
    endpoint: str
    receipt_id: UUID
    document: Mapping[str, Any] = field(repr=False)
    waited_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadReport:
    """One refused report of a receipt: its place in the request, from 0, and why."""

    place: int
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookStore:
    """Runs the queries of ``webhooks.sql``."""

    store: Store
    erasure_key: bytes | None = field(default=None, repr=False)
    """Makes the keyed hash under which the deliveries of an erased person are found."""

    def receive(self, incoming: Incoming) -> tuple[UUID, ReceiptState, bool] | None:
        """Keep a request; id, state and whether it is new, or None while another one takes it in."""
        rows = self.store.rows(
            "receive_webhook",
            {
                "id": incoming.id,
                "tenant_id": incoming.tenant_id,
                "provider": incoming.provider,
                "endpoint": incoming.endpoint,
                "dedupe_key": incoming.dedupe_key,
                "headers": json.dumps([list(pair) for pair in incoming.headers]),
                "body": incoming.body,
                "body_sha256": incoming.body_sha256,
            },
        )
        if not rows:
            return None
        return rows[0]["id"], ReceiptState(rows[0]["state"]), rows[0]["is_new"]

    def settle(self, receipt_id: UUID, state: ReceiptState, reason: str | None = None) -> None:
        """Write what became of a request as a whole."""
        asked = {"id": receipt_id, "state": state.value, "reason": reason}
        self.store.rows("settle_receipt", asked)

    def record(self, source: Source, documents: Sequence[Mapping[str, Json]]) -> list[Recorded]:
        """Append and fold reports, a thousand in a statement; one that Postgres refuses alone is buried.

        What is new of a batch is appended together with the suppressions it brings, or not at all.
        The receipt is settled with the last of it. Doing it again changes nothing.
        """
        found: list[Recorded] = []
        is_settled = False
        for start in range(0, len(documents), REPORTS_MAX):
            part = documents[start : start + REPORTS_MAX]
            is_last = start + REPORTS_MAX >= len(documents)
            try:
                found += self._together(source, part, is_last=is_last)
                is_settled = is_last
            except (*_REFUSALS, MailglassError):
                for one in part:
                    found += self._alone(source, one)
        if not is_settled and source.receipt_id is not None:
            self.settle(source.receipt_id, ReceiptState.PROCESSED)
        if source.receipt_id is not None and any(one.is_erased for one in found):
            self.store.rows("empty_receipt", {"id": source.receipt_id})
        return found

    def _together(
        self, source: Source, part: Sequence[Mapping[str, Json]], *, is_last: bool
    ) -> list[Recorded]:
        for _ in range(1, TRIES_MAX):
            with suppress(*_COLLISIONS):
                return self._written(source, part, is_last=is_last)
        return self._written(source, part, is_last=is_last)

    def _alone(self, source: Source, document: Mapping[str, Json]) -> list[Recorded]:
        try:
            return self._together(source, [document], is_last=False)
        except (*_REFUSALS, MailglassError) as error:
            place = int(str(document["place"]))
            if source.receipt_id is not None:
                self.bury(source, place, _reason(error))
            return [Recorded(place=place, status=ReportStatus.REFUSED)]

    def _written(
        self, source: Source, part: Sequence[Mapping[str, Json]], *, is_last: bool
    ) -> list[Recorded]:
        asked = {
            "tenant_id": source.tenant_id,
            "provider": source.provider,
            "endpoint": source.endpoint,
            "receipt_id": source.receipt_id,
            "first_id": new_id(),
            "reports": self._reports(source.tenant_id, part),
            "is_last": is_last,
        }
        with self.store.connection() as connection, ExitStack() as block:
            if any(map(_is_soft, part)):
                block.enter_context(connection.transaction())
            rows = connection.cursor(row_factory=tuple_row)
            found = rows.execute(query("record_reports"), asked).fetchall()
            self._escalate(connection, source, [row[_SOFT] for row in found if row[_SOFT]])
        return [
            Recorded(
                place=int(str(one["place"])),
                status=_STATUSES[status],
                unknown_message_id=unknown_message_id,
                is_erased=is_erased,
            )
            for one, (status, _, unknown_message_id, is_erased) in zip(part, found, strict=True)
        ]

    def _reports(self, tenant_id: str, part: Sequence[Mapping[str, Json]]) -> str:
        """Return the documents as JSON, each with the hash that its recipient has once erased."""
        if self.erasure_key is None:
            return _ENCODED(part)
        key = self.erasure_key
        return _ENCODED(
            [
                {**one, "erased_key": erased_value(key, tenant_id, str(one["address_key"]))}
                if one.get("address_key") is not None
                else one
                for one in part
            ]
        )

    def _escalate(
        self, connection: Connection, source: Source, soft_bounced: Sequence[UUID]
    ) -> None:
        """Suppress whom mail soft-bounced to often enough."""
        if soft_bounced:
            asked = {
                "delivery_ids": soft_bounced,
                "tenant_id": source.tenant_id,
                "provider": source.provider,
                "window_s": SOFT_BOUNCES_WINDOW_S,
                "bounces": SOFT_BOUNCES,
            }
            connection.execute(query("suppress_soft_bounced"), asked)

    def bury(self, source: Source, place: int, reason: str) -> None:
        """Note that one report of a receipt was refused."""
        self.store.rows(
            "bury_report",
            {
                "receipt_id": source.receipt_id,
                "place": place,
                "tenant_id": source.tenant_id,
                "provider": source.provider,
                "endpoint": source.endpoint,
                "reason": reason,
            },
        )

    def orphans(self, tenant_id: str | None, after: UUID | None) -> tuple[Orphan, ...]:
        """Return a page of what waits for its delivery, the oldest first."""
        asked = {"tenant_id": tenant_id, "after": after, "limit": PAGE_MAX}
        return tuple(Orphan(**row) for row in self.store.rows("waiting_orphans", asked))

    def end_orphans(self, ended: Mapping[UUID, str | None]) -> int:
        """Take orphans away; those with a reason are buried under it."""
        told = [{"id": str(one), "reason": reason} for one, reason in ended.items()]
        rows = self.store.rows("end_orphans", {"ended": json.dumps(told)})
        return int(rows[0]["ended"])

    def open_receipts(
        self, *, older_than_s: float, after: UUID | None = None, limit: int = PAGE_MAX
    ) -> tuple[UUID, ...]:
        """Return a page of receipts that were kept longer ago than that and never finished."""
        asked = {"older_than_s": older_than_s, "after": after, "limit": limit}
        return tuple(row["id"] for row in self.store.rows("open_receipts", asked))

    def receipt(self, receipt_id: UUID, tenant_id: str | None = None) -> Receipt | None:
        """Return one receipt with its body, if that was not erased; or None."""
        rows = self.store.rows("webhook_receipt", {"id": receipt_id, "tenant_id": tenant_id})
        if not rows:
            return None
        row = rows[0]
        body = None if row["body"] is None else bytes(row["body"])
        size = 0 if body is None else len(body)
        return _receipt(row, headers=_pairs(row["headers"]), body=body, body_bytes=size)

    def receipts(
        self,
        *,
        tenant_id: str | None = None,
        provider: str | None = None,
        state: ReceiptState | None = None,
        is_refused: bool = False,
        limit: int = 50,
    ) -> tuple[Receipt, ...]:
        """Return receipts without their bodies, the newest first."""
        rows = self.store.rows(
            "list_receipts",
            {
                "tenant_id": tenant_id,
                "provider": provider,
                "state": state.value if state else None,
                "refused": is_refused,
                "limit": limit,
            },
        )
        return tuple(
            _receipt(
                row, body_bytes=row["body_bytes"] or 0, dead=row["dead"], orphans=row["orphans"]
            )
            for row in rows
        )

    def dead_of(self, receipt_id: UUID) -> tuple[DeadReport, ...]:
        """Return the refused reports of a receipt, in their order."""
        rows = self.store.rows("dead_reports", {"receipt_id": receipt_id})
        return tuple(DeadReport(**row) for row in rows)

    def prune(
        self,
        *,
        older_than_s: float,
        tenant_id: str | None = None,
        with_dead: bool = False,
        on_page: Callable[[int], None] = lambda _pruned: None,
    ) -> int:
        """Delete finished receipts that are older than that, 500 in a statement; how many."""
        asked = {"older_than_s": older_than_s, "with_dead": with_dead, "tenant_id": tenant_id}
        pruned = 0
        while True:
            rows = self.store.rows("prune_webhooks", asked | {"limit": PAGE_MAX})
            page = int(rows[0]["pruned"])
            pruned += page
            on_page(pruned)
            if page < PAGE_MAX:
                return pruned


def _receipt(row: Row, **more: Any) -> Receipt:
    return Receipt(
        id=row["id"],
        tenant_id=row["tenant_id"],
        provider=row["provider"],
        endpoint=row["endpoint"],
        state=ReceiptState(row["state"]),
        reason=row["reason"],
        received_at=row["received_at"],
        processed_at=row["processed_at"],
        **more,
    )


def _pairs(headers: Any) -> tuple[tuple[str, str], ...]:
    return tuple((str(name), str(value)) for name, value in headers)


def _is_soft(document: Mapping[str, Json]) -> bool:
    payload = document["payload"]
    return (
        document["type"] == "bounced"
        and isinstance(payload, dict)
        and payload.get("permanent") is False
    )


def _reason(error: Exception) -> str:
    state = getattr(error, "sqlstate", None) or getattr(error, "pg_code", None)
    return f"sqlstate_{state}".lower() if state else "refused"
