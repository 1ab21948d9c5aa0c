"""The promise of failover: in any sequence of outcomes no mail is accepted by two adapters."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import suppress
from typing import Final

import pytest

from front_desk import note
from mailglass import DispatchState, FailureClass, Mailglass, MailglassError, SendError
from mailglass.adapters.fake import FakeAdapter, FakeMode, SimulatedCrash
from mailglass.envelope import Accepted, Envelope
from mailglass.errors import SendErrorType
from mailglass.ledger.checking import LedgerCheck
from mailglass.settings import Breaker
from routed import routed, sql

_MAILS: Final = 20
_STEPS: Final = 60
_LOST: Final = "lost_answer"
_MOODS: Final = (*FakeMode, _LOST, FakeMode.ACCEPT, FakeMode.REJECT_TEMPORARY)


class Moody(FakeAdapter):
    """A provider that does anything, also take a mail and lose the answer."""

    def __init__(self, moods: random.Random, *, honours_idempotency_key: bool) -> None:
        """Take its moods from a source that can be repeated."""
        super().__init__(honours_idempotency_key=honours_idempotency_key, search_lag_s=0.0)
        self._moods = moods

    def send(self, envelope: Envelope) -> Accepted:
        """Do anything."""
        mood = self._moods.choice(_MOODS)
        self.next(FakeMode.ACCEPT if mood == _LOST else FakeMode(mood), retry_after_s=0.0)
        answer = super().send(envelope)
        if mood == _LOST:
            raise SendError(
                "no answer came back",
                type=SendErrorType.OUTCOME_UNKNOWN,
                failure_class=FailureClass.UNKNOWN,
            )
        return answer


def _step(database_url: str, mail: Mailglass, moods: random.Random) -> None:
    """Let time pass, or a worker work, or an operator meddle."""
    match moods.randrange(8):
        case 0:
            sql(
                database_url,
                "update mailglass.messages set lease_until = now() where state = 'sending'",
            )
            mail.sweep()
        case 1:
            mail.outbox.close_breaker(moods.choice(["main", "backup"]), actor="ann")
        case 2:
            sql(
                database_url,
                "update mailglass.breakers set retry_at = now() where state <> 'closed'",
            )
        case _:
            sql(database_url, "update mailglass.messages set run_at = now() where state = 'queued'")
            with suppress(SimulatedCrash):
                mail.dispatch_due(messages_max=5)
    mail.router.breakers._read_at = float("-inf")
    sql(database_url, "delete from mailglass.adapter_paces")  # nobody waits for what 429 taught
    mail.gate._known.clear()


@pytest.mark.parametrize("honours_key", [True, False], ids=["keyed", "keyless"])
@pytest.mark.parametrize("seed", range(6))
def test_no_mail_is_accepted_by_two_adapters(
    database_url: str, seed: int, *, honours_key: bool
) -> None:
    """Refusals, lost answers, dead workers, breakers and operators in any order."""
    moods = random.Random(seed)  # noqa: S311 - a game that can be repeated, not a secret
    adapters = {
        name: Moody(moods, honours_idempotency_key=honours_key) for name in ("main", "backup")
    }
    breaker = Breaker(failures=4, wait_s=5, wait_s_max=5)
    with routed(database_url, adapters, breaker=breaker) as mail:
        for number in range(_MAILS):
            with suppress(MailglassError):
                mail.deliver_later(note(to=[f"a{number}@mail.example", f"b{number}@mail.example"]))
        for _ in range(_STEPS):
            _step(database_url, mail, moods)
        assert LedgerCheck(store=mail.store).faults() == ()
    took = {
        name: Counter(one.address.key for each in adapter.sent for one in each.recipients)
        for name, adapter in adapters.items()
    }
    assert took["main"].keys() & took["backup"].keys() == set()
    if honours_key:
        assert max((took["main"] + took["backup"]).values()) == 1
    told = sql(
        database_url,
        "select d.address::text, d.adapter_ref from mailglass.deliveries d where d.state = %(state)s",
        state=DispatchState.SENT.value,
    )
    assert all(took[ref][address] for address, ref in told)
    assert len(told) > 0
