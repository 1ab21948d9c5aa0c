"""Reconcile: reports that came before their delivery was known are linked, unfinished requests finished."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from mailglass.errors import MailglassError
from mailglass.ledger.faults import DatabaseAwayError
from mailglass.ledger.webhooks import (
    Orphan,
    ReceiptState,
    Recorded,
    ReportStatus,
    Source,
    WebhookStore,
)
from mailglass.telemetry import Signal, report
from mailglass.webhooks.ingest import Ingest, settle_unknown
from mailglass.webhooks.normalise import Document, linked
from mailglass.webhooks.replay import replay

ORPHANS_KEPT_S: Final = 7 * 86_400.0
"""A complaint may come days after the mail; one that found no delivery for so long never will."""
GRACE_S: Final = 60.0
"""A request that is younger may still be in work."""
EXPIRED: Final = "orphan_expired"
UNREAD: Final = "never_read"
"""A request whose mail could not be fetched for as long as an orphan is kept; a replay still reads it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """What one pass did: orphans linked, refused, given up and still waiting, and requests finished."""

    linked: int = 0
    refused: int = 0
    expired: int = 0
    waiting: int = 0
    finished: int = 0


def reconcile(ingest: Ingest, tenant_id: str | None = None) -> Reconciled:
    """Link what waits for its delivery, give up what waited too long, finish what was left open.

    Each link is an event of its own, ``reconciled``. Any number of processes may do it at once.
    """
    finished = _finish_all(ingest)
    for one in ingest.webhooks.open_receipts(older_than_s=ORPHANS_KEPT_S):
        ingest.webhooks.settle(one, ReceiptState.DEAD, UNREAD)
    ended: dict[UUID, str | None] = {}
    seen, after = 0, None
    while page := ingest.webhooks.orphans(tenant_id, after):
        after = page[-1].id
        seen += len(page)
        ends = _page(ingest.webhooks, page)
        ingest.webhooks.end_orphans(ends)
        ended |= ends
    reasons = list(ended.values())
    return Reconciled(
        linked=reasons.count(None),
        expired=reasons.count(EXPIRED),
        refused=len(reasons) - reasons.count(None) - reasons.count(EXPIRED),
        waiting=seen - len(ended),
        finished=finished,
    )


def _finish_all(ingest: Ingest) -> int:
    """Read what was left open, page by page: one that cannot be read now keeps no other waiting."""
    finished, after = 0, None
    while page := ingest.webhooks.open_receipts(older_than_s=GRACE_S, after=after):
        after = page[-1]
        finished += sum(_finish(ingest, one) for one in page)
    return finished


def _finish(ingest: Ingest, receipt_id: UUID) -> bool:
    """Read a request again; whatever is wrong with it, it stops no other from being finished."""
    try:
        done = replay(ingest, receipt_id, is_again=False)
    except DatabaseAwayError:
        raise
    except Exception as error:  # noqa: BLE001 - it is tried again at every pass, and dead after a week
        kind = error.type.value if isinstance(error, MailglassError) else type(error).__name__
        report(Signal.WEBHOOK_FAILED, level=logging.WARNING, error_type=kind)
        return False
    return done is not None and done.state is not ReceiptState.RECEIVED


def _page(webhooks: WebhookStore, page: Sequence[Orphan]) -> dict[UUID, str | None]:
    sources: dict[Source, list[Orphan]] = defaultdict(list)
    for orphan in page:
        sources[Source(tenant_id=orphan.tenant_id, provider=orphan.provider)].append(orphan)
    ended: dict[UUID, str | None] = {}
    for source, orphans in sources.items():
        recorded = webhooks.record(source, list(_documents(orphans)))
        settle_unknown(webhooks, recorded)
        for orphan, became in zip(orphans, recorded[::2], strict=True):
            ended |= _end(orphan, became)
    return ended


def _documents(orphans: Iterable[Orphan]) -> Iterable[Document]:
    """Return two reports an orphan: what it says, and that it was linked."""
    for number, orphan in enumerate(orphans):
        own = {**orphan.document, "place": number * 2}
        yield own
        yield {**linked(own), "place": number * 2 + 1}


def _end(orphan: Orphan, became: Recorded) -> dict[UUID, str | None]:
    match became.status:
        case ReportStatus.RECORDED | ReportStatus.DUPLICATE:
            return {orphan.id: None}
        case ReportStatus.ORPHAN if orphan.waited_s <= ORPHANS_KEPT_S:
            return {}
        case ReportStatus.ORPHAN:
            return {orphan.id: EXPIRED}
        case fault:
            return {orphan.id: fault.value}
