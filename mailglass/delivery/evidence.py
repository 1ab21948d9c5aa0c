"""Evidence: which recipients an attempt leaves out, since their provider has the mail or may have it."""

from __future__ import annotations

from typing import Final

from mailglass.envelope import Verdict
from mailglass.errors import FailureClass
from mailglass.ledger.evidence import Evidence, evidence_of
from mailglass.ledger.rows import Claim, Routing
from mailglass.ledger.store import Store

_WINDOW_MARGIN: Final = 0.9
"""The part of a provider's idempotency window inside which an attempt still begins."""


def left_out(store: Store, claim: Claim, window_s: float | None) -> tuple[Verdict, ...]:
    """Return a verdict for each recipient to whom nothing may be sent now, ``unknown`` all of them.

    A first attempt leaves out nobody, without asking, unless somebody was reported on already: then a
    database was set back to a backup. ``window_s`` is how long the adapter's provider honours our key.
    What was reported the sweep settles as sent; what was put back for its key, and then waited longer
    than the window, is unknown again: the provider would take it once more.

    Raises:
        psycopg.OperationalError: the database cannot be asked.

    """
    is_first = claim.routing is Routing.FREE and claim.attempt == 1
    if is_first and not any(one.get("is_reported") for one in claim.recipients):
        return ()
    codes = {one.delivery_id: _code(one, window_s) for one in evidence_of(store, claim)}
    return tuple(
        Verdict(delivery_id=one, failure_class=FailureClass.UNKNOWN, code=code)
        for one, code in codes.items()
        if code is not None
    )


def _code(one: Evidence, window_s: float | None) -> str | None:
    if one.is_reported:
        return "reported"
    is_over = one.tried_for_s >= (window_s or 0.0) * _WINDOW_MARGIN
    return "key_window_over" if one.is_keyed and is_over else None
