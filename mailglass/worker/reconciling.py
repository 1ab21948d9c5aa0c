"""Reconciling: a worker links reports that came before their delivery, some at a time, beside the mail."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import UUID

from mailglass.app import Mailglass
from mailglass.ledger.webhooks import PAGE_MAX, Orphan, WebhookStore
from mailglass.telemetry import Signal, SpanName, report, span
from mailglass.webhooks.endpoint import Endpoint
from mailglass.webhooks.reconcile import ORPHANS_KEPT_S, Reconciled, reconcile

PAGES_MAX: Final = 2
"""Pages of waiting reports, 500 each, that one pass looks at; the next goes on behind them."""
RECEIPTS_MAX: Final = 20
"""Unfinished requests that one pass reads again."""


@dataclass(slots=True)
class _Place:
    """How far the passes of one worker have come, and how much of the current one is left."""

    after: UUID | None = None
    receipt: UUID | None = None
    pages_left: int = PAGES_MAX
    may_read: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part(WebhookStore):
    """Shows one pass as much as it may do, beginning where the last one stopped."""

    endpoints: Mapping[str, Endpoint] = field(repr=False)
    place: _Place
    stopped: threading.Event

    def orphans(self, tenant_id: str | None, after: UUID | None) -> tuple[Orphan, ...]:
        """Return the next page, or nothing once the pass has had its part."""
        if self.place.pages_left <= 0 or self.stopped.is_set():
            return ()
        self.place.pages_left -= 1
        page = WebhookStore.orphans(self, tenant_id, after or self.place.after)
        self.place.after = page[-1].id if len(page) == PAGE_MAX else None
        return page

    def open_receipts(
        self, *, older_than_s: float, after: UUID | None = None, limit: int = PAGE_MAX
    ) -> tuple[UUID, ...]:
        """Return the next of this worker's endpoints; all of those that are too old to be read again."""
        if older_than_s >= ORPHANS_KEPT_S:
            return WebhookStore.open_receipts(
                self, older_than_s=older_than_s, after=after, limit=limit
            )
        if not self.place.may_read or self.stopped.is_set():
            return ()
        self.place.may_read = False
        page = WebhookStore.open_receipts(
            self, older_than_s=older_than_s, after=self.place.receipt, limit=RECEIPTS_MAX
        )
        self.place.receipt = page[-1] if len(page) == RECEIPTS_MAX else None
        return tuple(one for one in page if self._is_ours(one))

    def _is_ours(self, receipt_id: UUID) -> bool:
        receipt = self.receipt(receipt_id)
        if receipt is None:
            return False
        return f"{receipt.provider}/{receipt.endpoint}" in self.endpoints


@dataclass(slots=True, kw_only=True)
class Reconciler:
    """Reconciles now and then until a flag is raised; any number may, on any host.

    What it does has bounds, whatever waits: reports on mail of others may wait by the million, since
    whoever sends through the same account has their events sent here too.
    """

    mail: Mailglass
    every_s: float
    stopped: threading.Event
    _place: _Place = field(default_factory=_Place)

    def run(self) -> None:
        """Do a pass at each interval; what goes wrong is reported, and the next pass tries again."""
        while not self.stopped.wait(self.every_s):
            try:
                self.once()
            except Exception as error:  # noqa: BLE001 - linking reports must never stop the mail
                name = type(error).__name__
                report(Signal.WEBHOOK_FAILED, level=logging.ERROR, error_type=name)

    def once(self) -> Reconciled:
        """Do one pass: link, give up and finish what its part of the waiting holds."""
        with span(SpanName.SWEEP) as step:
            whole = self.mail.webhooks
            self._place.pages_left = PAGES_MAX
            self._place.may_read = True
            part = _Part(
                store=whole.webhooks.store,
                erasure_key=whole.webhooks.erasure_key,
                endpoints=whole.endpoints,
                place=self._place,
                stopped=self.stopped,
            )
            done = reconcile(replace(whole, webhooks=part))
            moved = done.linked + done.refused + done.expired + done.finished
            step.note(count=moved)
            if not moved:
                step.drop()
        return done
