"""Replay: a kept request is read again, as after an adapter learnt a word; nothing counts twice."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from uuid import UUID

from mailglass.errors import ConfigError, ConfigErrorType
from mailglass.ledger.webhooks import Receipt, ReceiptState
from mailglass.webhook import HeaderMap, WebhookRequest
from mailglass.webhooks.ingest import Ingest


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What became of a receipt that was read again: its state, and its reports by status."""

    receipt_id: UUID
    state: ReceiptState
    counts: dict[str, int] = field(default_factory=dict)


def replay(
    ingest: Ingest, receipt_id: UUID, tenant_id: str | None = None, *, is_again: bool = True
) -> Replayed | None:
    """Read a kept request again; None when there is none of that id and tenant.

    It was verified when it came and is not verified again. What was recorded then stays as it is;
    received mail is handed to its route once more, unless ``is_again`` is False and it was handled.
    One that was erased has nothing left to read, and is done. One whose mails are in work at this
    moment is left to who has it.

    Raises:
        ConfigError: ``missing`` when its endpoint is not configured any more, or belongs to another
            tenant now.

    """
    receipt = ingest.webhooks.receipt(receipt_id, tenant_id)
    if receipt is None:
        return None
    if receipt.body is None:
        return _erased(ingest, receipt)
    endpoint = ingest.endpoints.get(f"{receipt.provider}/{receipt.endpoint}")
    if endpoint is None or not endpoint.is_of(receipt.tenant_id):
        raise ConfigError(
            "the endpoint that this receipt came in at is not configured",
            type=ConfigErrorType.MISSING,
            key="endpoints",
            hint="Configure the provider's adapter under the name that the receipt has.",
        )
    recorded = ingest.read(
        replace(endpoint, tenant_id=receipt.tenant_id),
        _request(receipt),
        receipt_id,
        is_again=is_again,
    )
    after = ingest.webhooks.receipt(receipt_id)
    counts = Counter(one.status.value for one in recorded)
    return Replayed(
        receipt_id=receipt_id,
        state=after.state if after else receipt.state,
        counts=dict(sorted(counts.items())),
    )


def _erased(ingest: Ingest, receipt: Receipt) -> Replayed:
    state = receipt.state
    if state is ReceiptState.RECEIVED:
        state = ReceiptState.PROCESSED
        ingest.webhooks.settle(receipt.id, state, "erased")
    return Replayed(receipt_id=receipt.id, state=state)


def _request(receipt: Receipt) -> WebhookRequest:
    return WebhookRequest(
        url="",
        headers=HeaderMap(receipt.headers),
        body=receipt.body or b"",
        now=receipt.received_at,
    )
