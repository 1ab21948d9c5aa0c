"""Unknown mail at a provider without keys: put back only when every condition of the rule holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
import pytest

from front_desk import front_desk, note
from mailglass import DispatchState, Mailglass, OnUnknown, SendError, Stream
from mailglass.adapters.fake import FakeAdapter, FakeMode, SimulatedCrash
from mailglass.delivery.sweep import Swept
from mailglass.errors import SendErrorType


def _sql(database_url: str, statement: str) -> None:
    with psycopg.connect(database_url) as owner:
        owner.execute(statement.encode())


@contextmanager
def _abandoned(
    database_url: str,
    fake: FakeAdapter,
    mode: FakeMode = FakeMode.CRASH_BEFORE_SEND,
    **changes: Any,
) -> Iterator[tuple[Mailglass, UUID]]:
    """Yield a front desk and a delivery whose sender died an hour ago, session and all."""
    fake.next(mode)
    with front_desk(database_url, fake) as dying:
        with pytest.raises(SimulatedCrash):
            dying.deliver(note(**changes))
        delivery_id = dying.store.list_deliveries(tenant_id="default")[0].id
    with front_desk(database_url, fake) as mail:
        _sql(database_url, "update mailglass.messages set lease_until = now() - interval '1 hour'")
        yield mail, delivery_id


def _an_hour_later(database_url: str) -> None:
    _sql(database_url, "update mailglass.messages set updated_at = updated_at - interval '1 hour'")


def _state(mail: Mailglass, delivery_id: UUID) -> DispatchState:
    delivery = mail.delivery(delivery_id)
    assert delivery is not None
    return delivery.state


def test_a_receipt_that_nobody_has_and_nobody_is_sending_is_sent_again(database_url: str) -> None:
    """T10, W4: never lost."""
    fake = FakeAdapter(search_lag_s=60)
    with _abandoned(database_url, fake) as (mail, delivery_id):
        assert mail.sweep() == Swept(abandoned=1)
        _an_hour_later(database_url)
        assert mail.sweep() == Swept(requeued=1)
        assert mail.dispatch_due() == 1
        assert _state(mail, delivery_id) is DispatchState.SENT
        assert mail.store.broken_chains() == ()
    assert len(fake.sent) == 1


def test_a_receipt_that_the_provider_has_is_settled_and_not_sent_again(database_url: str) -> None:
    """T9, W6: the search is the evidence."""
    fake = FakeAdapter(search_lag_s=60)
    with _abandoned(database_url, fake, FakeMode.ACCEPTED_THEN_CRASH) as (mail, delivery_id):
        assert mail.sweep() == Swept(abandoned=1)
        _an_hour_later(database_url)
        assert mail.sweep() == Swept(found=1)
        assert _state(mail, delivery_id) is DispatchState.SENT
        assert mail.events(delivery_id)[-1].payload == {"by": "provider_search"}
        assert mail.dispatch_due() == 0
    assert len(fake.sent) == 1


def test_of_several_recipients_only_those_whom_the_provider_has_not_get_it_again(
    database_url: str,
) -> None:
    """Each recipient's evidence is its own."""
    fake = FakeAdapter(search_lag_s=60)
    fake.for_recipient("ann@mail.example", FakeMode.CRASH_BEFORE_SEND)
    with _abandoned(
        database_url, fake, FakeMode.ACCEPT, to="zoe@mail.example", cc="ann@mail.example"
    ) as (mail, delivery_id):
        message_id = mail.store.list_deliveries(tenant_id="default")[0].message_id
        fake.for_recipient("ann@mail.example", FakeMode.ACCEPT)
        assert mail.sweep() == Swept(abandoned=1)
        _an_hour_later(database_url)
        assert mail.sweep() == Swept(found=1)
        _an_hour_later(database_url)
        assert mail.sweep() == Swept(requeued=1)
        mail.dispatch_due()
        everyone = mail.deliveries_of(message_id)
        assert {one.state for one in everyone} == {DispatchState.SENT}
        assert delivery_id in {one.id for one in everyone}
    got = [one.address.key for mail_ in fake.sent for one in mail_.recipients]
    assert sorted(got) == ["ann@mail.example", "zoe@mail.example"]


def test_while_the_senders_session_lives_nothing_is_concluded(database_url: str) -> None:
    """W10: a paused sender may wake up and send; its session tells that it may."""
    fake = FakeAdapter(search_lag_s=60)
    fake.next(FakeMode.CRASH_BEFORE_SEND)
    with front_desk(database_url, fake) as zombie, front_desk(database_url, fake) as mail:
        with pytest.raises(SimulatedCrash):
            zombie.deliver(note())
        _sql(database_url, "update mailglass.messages set lease_until = now() - interval '1 hour'")
        assert mail.sweep() == Swept(abandoned=1)
        assert mail.sweep() == Swept()
        zombie.close()
        # The session is closed here at once and gone in Postgres soon after.
        assert any(_has_seen_the_end(mail) for _ in range(5000))
        assert mail.sweep() == Swept()  # only now does the provider's time to show the mail begin
        _an_hour_later(database_url)
        assert mail.sweep() == Swept(requeued=1)


def test_an_attempt_at_one_recipient_is_not_over_since_that_at_another_is(
    database_url: str,
) -> None:
    """W10: the first attempt left one unknown; the second, at the other, may be running still."""
    fake = FakeAdapter(search_lag_s=60)
    fake.for_recipient("zoe@mail.example", FakeMode.UNKNOWN_TIMEOUT)
    fake.for_recipient("ann@mail.example", FakeMode.REJECT_TEMPORARY)
    with front_desk(database_url, fake) as zombie, front_desk(database_url, fake) as mail:
        zombie.deliver_later(note(to="zoe@mail.example", cc="ann@mail.example"))
        zombie.dispatch_due()
        fake.for_recipient("ann@mail.example", FakeMode.CRASH_BEFORE_SEND)
        _sql(database_url, "update mailglass.messages set run_at = now()")
        with pytest.raises(SimulatedCrash):
            zombie.dispatch_due()
        _sql(database_url, "update mailglass.messages set lease_until = now() - interval '1 hour'")
        assert mail.sweep() == Swept(abandoned=1)
        _an_hour_later(database_url)
        zombie.close()
        found: set[Swept] = set()
        assert any(_has_seen_the_end(mail, found) for _ in range(5000))
        assert found == {Swept()}
        assert mail.sweep() == Swept()


def _has_seen_the_end(mail: Mailglass, found: set[Swept] | None = None) -> bool:
    swept = mail.sweep()
    if found is not None:
        found.add(swept)
    delivery = mail.store.list_deliveries(tenant_id="default")[0]
    return mail.events(delivery.id)[-1].payload.get("code") == "owner_gone"


def test_an_attempt_that_ended_is_nobodys_any_more(database_url: str) -> None:
    """T8: a worker that has written that it does not know is not sending, though it lives."""
    fake = FakeAdapter(search_lag_s=0.0)
    with front_desk(database_url, fake) as mail:
        fake.next(FakeMode.UNKNOWN_TIMEOUT)
        delivery = mail.deliver_later(note(on_unknown=OnUnknown.RESEND))
        mail.dispatch_message(delivery.tenant_id, delivery.message_id)
        _sql(database_url, "update mailglass.messages set lease_until = now() - interval '1 s'")
        assert mail.sweep() == Swept(requeued=1)


def test_a_mail_that_may_have_left_is_not_called_cancelled(database_url: str) -> None:
    """T12: put back after an unknown end it waits again, and yet the provider has it."""
    fake = FakeAdapter(honours_idempotency_key=True)
    with _abandoned(database_url, fake, FakeMode.ACCEPTED_THEN_CRASH) as (mail, delivery_id):
        assert mail.sweep().requeued == 1
        assert not mail.cancel(delivery_id)
        assert _state(mail, delivery_id) is DispatchState.CANCELLED


CONDITIONS = {
    "before a restart of Postgres": "owner_server_start = owner_server_start - interval '1 day'",
    "behind a pooler": "owner_key = null",
    "after its time": "expires_at = now() - interval '1 second'",
}


@pytest.mark.parametrize("change", CONDITIONS.values(), ids=CONDITIONS.keys())
def test_where_a_condition_cannot_be_established_it_stays_parked(
    database_url: str, change: str
) -> None:
    """Each condition of the rule alone keeps the mail from being doubled."""
    fake = FakeAdapter(search_lag_s=60)
    with _abandoned(database_url, fake) as (mail, delivery_id):
        _sql(database_url, f"update mailglass.messages set {change}")
        assert mail.sweep() == Swept(abandoned=1)
        _an_hour_later(database_url)
        assert mail.sweep() == Swept()
        assert _state(mail, delivery_id) is DispatchState.UNKNOWN


@pytest.mark.parametrize(
    "changes",
    [
        {"authenticates": True},
        {"on_unknown": OnUnknown.PARK},
        {"stream": Stream.OPERATIONAL, "on_unknown": OnUnknown.PARK},
    ],
    ids=str,
)
def test_mail_that_is_rather_lost_than_doubled_stays_parked(
    database_url: str, changes: dict[str, Any]
) -> None:
    """A second code confuses; the author's word counts."""
    fake = FakeAdapter(search_lag_s=60)
    with _abandoned(database_url, fake, **changes) as (mail, delivery_id):
        assert mail.sweep() == Swept(abandoned=1)
        assert _state(mail, delivery_id) is DispatchState.UNKNOWN


def test_a_provider_that_cannot_be_asked_leaves_it_parked(database_url: str) -> None:
    """W6 without a search: nobody can tell, so nobody doubles it."""
    with _abandoned(database_url, FakeAdapter()) as (mail, delivery_id):
        assert mail.sweep() == Swept(abandoned=1)
        assert _state(mail, delivery_id) is DispatchState.UNKNOWN


class Silent(FakeAdapter):
    """A fake whose search fails."""

    def find(
        self, tenant_id: str, message_id: UUID, delivery_ids: Sequence[UUID]
    ) -> Mapping[UUID, str | None]:
        """Answer nothing."""
        raise SendError("no answer", type=SendErrorType.ADAPTER_FAILURE)


def test_a_search_that_fails_is_no_empty_answer(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """F16: only a certain no allows a second attempt."""
    with _abandoned(database_url, Silent(search_lag_s=60)) as (mail, delivery_id):
        assert mail.sweep() == Swept(abandoned=1)
        _an_hour_later(database_url)
        assert mail.sweep() == Swept()
        assert _state(mail, delivery_id) is DispatchState.UNKNOWN
    assert "sweep.search_failed" in caplog.text
