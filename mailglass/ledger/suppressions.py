"""The suppressions in the database: added, imported by COPY, removed, listed, erased; and their history."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Final
from uuid import UUID

from psycopg.rows import DictRow

from mailglass.errors import ConfigError, ConfigErrorType, SuppressedError, SuppressedErrorType
from mailglass.headers import refuse
from mailglass.ids import new_id
from mailglass.ledger.sql import queries, query
from mailglass.ledger.store import Store
from mailglass.message import Stream
from mailglass.suppression import (
    NOTE_CHARS_MAX,
    SOURCE_CHARS_MAX,
    Suppression,
    SuppressionReason,
    SuppressionScope,
    check_remark,
    erased_value,
    key_mark,
    unknown_erasure_key,
    value_key,
)

BATCH_MAX: Final = 20_000
"""Rows in one transaction of an import; a crash loses at most these."""
PAGE_MAX: Final = 10_000
HISTORY_MAX: Final = 1_000
_LAST: Final = "\U0010ffff"
"""Comes after every scope."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What became of many suppressions: new, merged into one that was held, or known already."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0

    def __add__(self, other: Tally) -> Tally:
        """Return the sums."""
        return Tally(
            added=self.added + other.added,
            changed=self.changed + other.changed,
            unchanged=self.unchanged + other.unchanged,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A suppression with who touched it last, and whether it still holds.

    ``removed_at`` and ``why`` are set for one that was removed.
    """

    entry: Suppression
    changed_by: str
    created_at: datetime
    updated_at: datetime
    removed_at: datetime | None
    why: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """One line of the history: what was done to a suppression, by whom and why."""

    action: str
    scope: SuppressionScope
    stream: Stream | None
    reason: SuppressionReason
    source: str
    changed_by: str
    why: str | None
    expires_at: datetime | None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which suppressions to list; None stands for all, ``with_over`` adds removed and expired ones."""

    scope: SuppressionScope | None = None
    stream: Stream | None = None
    reason: SuppressionReason | None = None
    with_over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppressions:
    """Runs the named queries on suppressions of one tenant; ``by`` names who acts, for the history.

    ``erasure_key`` finds, and makes, the keyed hashes of erased addresses.
    """

    store: Store
    tenant_id: str
    by: str = "application"
    erasure_key: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse a name that could not stand in the history."""
        check_remark("name of who acts", self.by, chars_max=SOURCE_CHARS_MAX)

    def add(self, entry: Suppression) -> Tally:
        """Add one refusal; a complaint or unsubscribe that is held is never softened by it."""
        return self._written([entry])

    def add_many(self, entries: Iterable[Suppression]) -> Tally:
        """Add any number of refusals, 20,000 in a transaction, and count what became of them."""
        found = Tally()
        for tally in self.adding(entries):
            found += tally
        return found

    def adding(self, entries: Iterable[Suppression]) -> Iterator[Tally]:
        """Add as ``add_many`` does and yield after each transaction, for a bar that shows progress.

        While the database merges one batch the next is read, so the slower of the two sets the pace.
        What was read before an error is written.
        """
        rest = iter(entries)
        with ThreadPoolExecutor(max_workers=1) as pool:
            pending: Future[Tally] | None = None
            while batch := list(islice(rest, BATCH_MAX)):
                if pending is not None:
                    yield pending.result()
                pending = pool.submit(self._written, batch)
            if pending is not None:
                yield pending.result()

    def matching(self, values: Sequence[str], stream: Stream) -> tuple[Suppression, ...]:
        """Return the refusals that hold now for any of the keys, in one statement."""
        return self.store.matching_suppressions(self.tenant_id, values, stream)

    def remove(
        self,
        scope: SuppressionScope,
        value: str,
        *,
        stream: Stream | None = None,
        why: str | None = None,
        force: bool = False,
    ) -> bool:
        """Let mail through again; False when nothing holds there. The row and its history stay.

        Raises:
            SuppressedError: a complaint or an unsubscribe, without ``force``.
            SendError: ``serialization_failed``: ``force`` without ``why``, or a wrong value.

        """
        if force and why is None:
            raise refuse("force needs a reason", code="removal_without_reason")
        if why is not None:
            check_remark("reason", why, chars_max=NOTE_CHARS_MAX)
        rows = self._rows(
            "remove_suppression",
            {
                "values": self._spellings(scope, value),
                "scope": scope.value,
                "stream": stream.value if stream else None,
                "changed_by": self.by,
                "why": why,
                "force": force,
            },
        )
        if rows and not rows[0]["is_removed"]:
            raise self._protected(rows[0], stream)
        return bool(rows)

    def page(
        self, wanted: Wanted, *, after: Suppression | str | None = None, limit: int = 50
    ) -> tuple[Listed, ...]:
        """Return suppressions in the order of their values, after one of them or after all of a value."""
        rows = self._rows(
            "list_suppressions",
            {
                "scope": wanted.scope.value if wanted.scope else None,
                "stream": wanted.stream.value if wanted.stream else None,
                "reason": wanted.reason.value if wanted.reason else None,
                "with_over": wanted.with_over,
                "limit": limit,
                **_after(after),
            },
        )
        return tuple(_listed(row) for row in rows)

    def every(self, wanted: Wanted) -> Iterator[Listed]:
        """Yield all that are wanted, a page at a time, so that memory does not grow with the list."""
        after: Suppression | None = None
        while page := self.page(wanted, after=after, limit=PAGE_MAX):
            yield from page
            after = page[-1].entry

    def history(self, scope: SuppressionScope, value: str) -> tuple[Deed, ...]:
        """Return what was done to the suppressions of an address or domain, the first first."""
        values = self._spellings(scope, value)
        rows = self._rows("suppression_history", {"values": values, "limit": HISTORY_MAX})
        return tuple(_deed(row) for row in rows)

    def erase(self, address: str) -> int:
        """Forget an address and go on refusing it under its keyed hash; the number of rows it was in.

        Raises:
            ConfigError: ``missing`` without an erasure key: the refusal would be lost;
                ``conflicting`` where others were erased with another key.

        """
        if self.erasure_key is None:
            raise ConfigError(
                "without an erasure key an erased person would be mailed again",
                type=ConfigErrorType.MISSING,
                key="erasure_key",
                hint="Set MAILGLASS_ERASURE_KEY to a secret that is kept for as long as the list.",
            )
        key = value_key(SuppressionScope.ADDRESS, address)
        batch_id, erased = new_id(), erased_value(self.erasure_key, self.tenant_id, key)
        parameters = {
            "tenant_id": self.tenant_id,
            "value": key,
            "hash": erased,
            "mark": key_mark(self.erasure_key, self.tenant_id),
            "batch_id": batch_id,
            "changed_by": self.by,
        }
        with self.store.connection() as connection, connection.transaction():
            row = connection.execute(query("erase_suppressed_address"), parameters).fetchone()
            if row is None or not row["is_known_key"]:
                raise unknown_erasure_key([erased])
            connection.execute(query("merge_suppressions"), {"batch_id": batch_id})
        return int(row["gone"])

    def _rows(self, name: str, parameters: dict[str, object]) -> list[DictRow]:
        with self.store.connection() as connection:
            given = {"tenant_id": self.tenant_id, **parameters}
            return connection.execute(query(name), given).fetchall()

    def _spellings(self, scope: SuppressionScope, value: str) -> list[str]:
        """Return the key of a value and, for an address, the hash that it has once it is erased."""
        key = value_key(scope, value)
        if scope is SuppressionScope.DOMAIN or self.erasure_key is None:
            return [key]
        return [key, erased_value(self.erasure_key, self.tenant_id, key)]

    def _written(self, batch: Sequence[Suppression]) -> Tally:
        batch_id = new_id()
        with (
            self.store.connection() as connection,
            connection.transaction(),
            connection.cursor() as cursor,
        ):
            with cursor.copy(queries("copies")["copy_suppressions"]) as copy:
                for entry in batch:
                    copy.write_row(self._row(batch_id, entry))
            row = cursor.execute(query("merge_suppressions"), {"batch_id": batch_id}).fetchone()
        added, changed = (int(row["added"]), int(row["changed"])) if row else (0, 0)
        return Tally(added=added, changed=changed, unchanged=len(batch) - added - changed)

    def _row(self, batch_id: UUID, entry: Suppression) -> tuple[object, ...]:
        return (
            batch_id,
            new_id(),
            self.tenant_id,
            entry.scope.value,
            entry.value,
            entry.stream.value if entry.stream else None,
            entry.reason.value,
            entry.source,
            entry.note,
            self.by,
            entry.expires_at,
            entry.since,
        )

    def _protected(self, row: DictRow, stream: Stream | None) -> SuppressedError:
        reason = SuppressionReason(row["reason"])
        return SuppressedError(
            f"the recipient's {reason.value} is removed with force and a reason alone",
            type=SuppressedErrorType(row["scope"]),
            tenant_id=self.tenant_id,
            stream=stream.value if stream else None,
            reason=reason.value,
            source=row["source"],
        )


def _after(last: Suppression | str | None) -> dict[str, object]:
    match last:
        case None:
            place = ("", "", "")
        case str():
            place = (last, _LAST, "")
        case Suppression():
            place = (last.value, last.scope.value, last.stream.value if last.stream else "")
    return dict(zip(("after_value", "after_scope", "after_stream"), place, strict=True))


def _listed(row: DictRow) -> Listed:
    return Listed(
        entry=Suppression(
            scope=SuppressionScope(row["scope"]),
            value=row["value"],
            stream=Stream(row["stream"]) if row["stream"] else None,
            reason=SuppressionReason(row["reason"]),
            source=row["source"],
            expires_at=row["expires_at"],
            note=row["note"],
            since=row["created_at"],
        ),
        changed_by=row["changed_by"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        removed_at=row["removed_at"],
        why=row["why"],
    )


def _deed(row: DictRow) -> Deed:
    return Deed(
        action=row["action"],
        scope=SuppressionScope(row["scope"]),
        stream=Stream(row["stream"]) if row["stream"] else None,
        reason=SuppressionReason(row["reason"]),
        source=row["source"],
        changed_by=row["changed_by"],
        why=row["why"],
        expires_at=row["expires_at"],
        at=row["at"],
    )
