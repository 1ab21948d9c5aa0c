"""The sweep beside others: it starves nobody, overwrites no verdict, and mail in order is not stuck by it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import psycopg
import pytest

from front_desk import front_desk, note, write_verdict
from mailglass import Delivery, DispatchState, EventType, Mailglass, SendError
from mailglass.adapters.fake import FakeAdapter, FakeMode
from mailglass.delivery import sweep
from mailglass.delivery.sweep import Sweeper
from mailglass.ledger.store import Store
from mailglass.message import OnUnknown

PARKED = 12
PAGE = 3
SWEEPS_MAX = 400


def _unknown(mail: Mailglass, fake: FakeAdapter, **changes: Any) -> Delivery:
    """Return a mail of which nobody knows whether it left."""
    fake.next(FakeMode.UNKNOWN_TIMEOUT)
    with pytest.raises(SendError) as told:
        mail.deliver(note(**changes))
    assert told.value.delivery_id is not None
    found = mail.delivery(told.value.delivery_id)
    assert found is not None
    return found


def _let_leases_end(database_url: str, state: str) -> None:
    with psycopg.connect(database_url) as owner:
        owner.execute("update mailglass.messages set lease_until = now() where state = %s", [state])


def test_mail_that_waits_for_evidence_starves_no_other(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """River #1318: more rows than a page that cannot be moved, and behind them one that can."""
    monkeypatch.setattr(sweep, "BATCH_MAX", PAGE)
    fake = FakeAdapter(search_lag_s=0.0)
    with front_desk(database_url, fake, breaker=None) as mail:
        for _ in range(PARKED):
            _unknown(mail, fake, on_unknown=OnUnknown.PARK)
        last = _unknown(mail, fake, on_unknown=OnUnknown.RESEND)
        _let_leases_end(database_url, "unknown")
        for _ in range(SWEEPS_MAX):
            if mail.sweep().requeued:
                break
        known = mail.delivery(last.id)
    assert known is not None
    assert known.state is DispatchState.QUEUED


class _Paused:
    """A store in which something happens between what a sweep reads and what it writes."""

    def __init__(self, store: Store, meanwhile: Callable[[], object]) -> None:
        self._store, self._meanwhile = store, meanwhile

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def abandoned_messages(self, *, limit: int) -> object:
        """Read, and let it happen."""
        found = self._store.abandoned_messages(limit=limit)
        assert found
        self._meanwhile()
        return found


def test_a_sweep_that_was_paused_overwrites_no_verdict(database_url: str) -> None:
    """River #1302, #1373: between its look at an abandoned mail and its step the verdict came."""
    with front_desk(database_url) as mail:
        asked = mail.deliver_later(note())
        claim = mail.dispatcher.claim(asked.tenant_id, asked.message_id)
        assert claim is not None
        _let_leases_end(database_url, "sending")

        def settle() -> None:
            write_verdict(
                mail, claim, state=DispatchState.SENT, event=EventType.DISPATCHED, code="250"
            )

        paused = cast("Store", _Paused(mail.store, settle))
        swept = replace(mail._sweeper, store=paused).sweep()
        kinds = [one.type for one in mail.events(asked.id)]
        known = mail.delivery(asked.id)
    assert isinstance(mail._sweeper, Sweeper)
    assert swept.abandoned == 0
    assert known is not None
    assert (known.state, kinds[-1]) == (DispatchState.SENT, EventType.DISPATCHED)


def test_an_unknown_mail_does_not_hold_up_those_behind_it(database_url: str) -> None:
    """Oban #424: what a dead worker left behind blocks no other mail with its key for ever."""
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail:
        _unknown(mail, fake, ordering_key="order-7")
        assert mail.deliver(note(ordering_key="order-7")).state is DispatchState.SENT


def test_a_mail_put_back_while_another_of_its_key_is_on_its_way_waits(database_url: str) -> None:
    """Procrastinate #1446: one in flight a key is unique; who is second waits and is not stuck."""
    fake = FakeAdapter(search_lag_s=0.0)
    with front_desk(database_url, fake) as mail:
        first = _unknown(mail, fake, ordering_key="order-7", on_unknown=OnUnknown.RESEND)
        second = mail.deliver_later(note(ordering_key="order-7"))
        claim = mail.dispatcher.claim(second.tenant_id, second.message_id)
        assert claim is not None
        _let_leases_end(database_url, "unknown")
        assert mail.sweep().requeued == 1
        assert mail.dispatcher.claim(first.tenant_id, first.message_id) is None
        mail.dispatcher.finalize([mail.dispatcher.attempt(claim)])
        mail.dispatch_due()
        known = [mail.delivery(one.id) for one in (first, second)]
    assert [one.state for one in known if one] == [DispatchState.SENT, DispatchState.SENT]
    assert [one.recipients[0].delivery_id for one in fake.sent] == [second.id, first.id]
