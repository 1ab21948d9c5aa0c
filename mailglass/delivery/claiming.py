"""Claiming: take due messages for an attempt, and leave aside one that the ledger refuses."""

from __future__ import annotations

import logging
from typing import Final
from uuid import UUID

from mailglass.ledger.faults import is_of_a_row
from mailglass.ledger.rows import Claim
from mailglass.ledger.store import CLAIM_BYTES_MAX, Store
from mailglass.message import Stream
from mailglass.telemetry import Signal, report

CLAIM_WAIT_S_MAX: Final = 30.0
"""How long a claim may wait for its turn; the lease holds that much more than the adapter needs."""
_PUT_OFF_S: Final = 60.0
"""When a message that could not be claimed is tried again: its row is free again, or was mended."""


def claim_one(store: Store, tenant_id: str, message_id: UUID, *, lease_s: float) -> Claim | None:
    """Claim one message; None when it is not due, settled or somebody else's.

    One whose rows the ledger refuses, as after a change by hand, or that somebody's transaction holds,
    is reported and put off for a minute: no event can follow now, so nothing may leave.
    """
    try:
        return store.claim_message(tenant_id, message_id, lease_s=lease_s, wait_s=CLAIM_WAIT_S_MAX)
    except Exception as error:
        if not is_of_a_row(error):
            raise
        report(
            Signal.CLAIM_REFUSED,
            level=logging.ERROR,
            tenant_id=tenant_id,
            message_id=message_id,
            error_type=type(error).__name__,
        )
        store.put_off(tenant_id, message_id, s=_PUT_OFF_S)
        return None


def claim_group(store: Store, stream: Stream, *, limit: int, lease_s: float) -> tuple[Claim, ...]:
    """Claim up to ``limit`` due messages of a stream that need no order, all in one statement.

    Where that is refused for the sake of one of them, each is claimed by itself.
    """
    try:
        return store.claim_due(stream, limit=limit, lease_s=lease_s, wait_s=CLAIM_WAIT_S_MAX)
    except Exception as error:
        if not is_of_a_row(error):
            raise
        return _claim_each(store, stream, limit=limit, lease_s=lease_s)


def _claim_each(store: Store, stream: Stream, *, limit: int, lease_s: float) -> tuple[Claim, ...]:
    found: list[Claim] = []
    for tenant_id, message_id in store.due_of(stream, limit=limit):
        try:
            claim = claim_one(store, tenant_id, message_id, lease_s=lease_s)
        except Exception:
            if not found:
                raise
            break  # what was claimed before is sent all the same; the next claim meets the error again
        found += () if claim is None else (claim,)
        if sum(len(one.payload or b"") for one in found) >= CLAIM_BYTES_MAX:
            break
    return tuple(found)
