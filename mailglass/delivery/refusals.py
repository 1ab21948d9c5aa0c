"""Refusals: what suppressions say of many claims at once, asked before anything is taken for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

from mailglass.delivery.batch import known_suppressions
from mailglass.ledger.rows import Claim
from mailglass.ledger.store import Store
from mailglass.message import Stream
from mailglass.suppression import Suppression, asked_values

Refusals: TypeAlias = Callable[[Sequence[str], Stream], Sequence[Suppression]]
"""Returns the refusals that hold for any of the address keys and domains on a stream."""


def refusals_of(
    store: Store, claims: Iterable[Claim], *, erasure_key: bytes | None
) -> Mapping[str, Refusals]:
    """Ask for the refusals that touch any of the claims, once a tenant and stream."""
    asked: dict[str, dict[Stream, set[str]]] = {}
    for claim in claims:
        values = asked.setdefault(claim.tenant_id, {}).setdefault(claim.stream, set())
        values |= _values(claim, erasure_key)
    return {
        tenant_id: known_suppressions(store, tenant_id, of_streams)
        for tenant_id, of_streams in asked.items()
    }


def untouched(
    claims: Iterable[Claim], known: Mapping[str, Refusals], *, erasure_key: bytes | None
) -> list[Claim]:
    """Return the claims of which no recipient is refused, by what was asked for all of them."""
    return [
        one
        for one in claims
        if not known[one.tenant_id](sorted(_values(one, erasure_key)), one.stream)
    ]


def _values(claim: Claim, erasure_key: bytes | None) -> set[str]:
    keys = [row["address_key"] for row in claim.recipients]
    return set(asked_values(keys, tenant_id=claim.tenant_id, erasure_key=erasure_key))
