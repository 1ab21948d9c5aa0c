"""Spoiled requests: whatever is sent, a refusal has a type and an event can be stored."""

from __future__ import annotations

from typing import Final

import pytest

from mailglass.adapters.providers import API_PROVIDERS, names
from mailglass.ledger.webhooks import ReceiptState
from mutated import finding, subjects
from mutated_ingest import endpoints, ingest_finding
from webhook_requests import hooked

SEEDS: Final = 400
INGESTED: Final = 100


@pytest.mark.parametrize("provider", sorted(subjects()))
def test_a_spoiled_request_is_refused_or_read(provider: str) -> None:
    """No error leaves an adapter but its own, and no event holds what no database takes."""
    found = (finding(provider, seed) for seed in range(SEEDS))
    assert [one for one in found if one is not None] == []


def test_every_provider_has_requests_to_spoil() -> None:
    """A provider without a written case would never be tried."""
    assert set(names()) & set(API_PROVIDERS) <= set(subjects())


@pytest.mark.parametrize("provider", sorted(subjects()))
def test_a_spoiled_request_is_answered_and_settled(database_url: str, provider: str) -> None:
    """Through the whole way: no error comes out, and nothing stays open."""
    with hooked(database_url, endpoints=endpoints()) as mail:
        found = (ingest_finding(mail.ingest, provider, seed) for seed in range(INGESTED))
        assert [one for one in found if one is not None] == []
        assert mail.webhooks.webhooks.receipts(state=ReceiptState.RECEIVED) == ()
