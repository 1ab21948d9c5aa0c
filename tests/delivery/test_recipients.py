"""One message to several people: each has a state of its own, and the message tells the truth of all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from front_desk import front_desk, note, write_verdict
from mailglass import (
    BatchFailed,
    Delivery,
    DispatchState,
    EventType,
    Mailglass,
    Report,
    SendError,
    Suppression,
    SuppressionReason,
    SuppressionScope,
)
from mailglass.adapters.fake import FakeAdapter, FakeMode
from mailglass.delivery.sweep import Swept
from mailglass.errors import BatchFailedType, SendErrorType

BOTH = {"to": "zoe@mail.example", "cc": "ann@mail.example"}


def _message_state(database_url: str, message_id: UUID) -> str:
    with psycopg.connect(database_url) as owner:
        row = owner.execute(
            "select state from mailglass.messages where id = %s", [message_id]
        ).fetchone()
    assert row is not None
    return str(row[0])


def _states(mail: Mailglass, message_id: UUID) -> list[str]:
    return [one.state.value for one in mail.deliveries_of(message_id)]


def _half_done(mail: Mailglass, fake: FakeAdapter, first: FakeMode, second: FakeMode) -> Delivery:
    """Attempt a mail to two people of whom each is treated in another way."""
    fake.for_recipient("zoe@mail.example", first)
    fake.for_recipient("ann@mail.example", second)
    delivery = mail.deliver_later(note(**BOTH))
    mail.dispatch_due()
    return delivery


def test_cancelling_what_has_left_for_one_recipient_is_not_called_cancelled(
    database_url: str,
) -> None:
    """T12: who waited is cancelled, who has it has it, and the answer is no lie."""
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail:
        half = _half_done(mail, fake, FakeMode.ACCEPT, FakeMode.REJECT_TEMPORARY)
        assert not mail.cancel(half.id)
        assert _states(mail, half.message_id) == ["sent", "cancelled"]
        assert _message_state(database_url, half.message_id) == "sent"
        assert mail.dispatch_due() == 0
        assert mail.store.broken_chains() == ()


def test_cancelling_what_waits_for_everybody_is(database_url: str) -> None:
    """The plain case, for two."""
    with front_desk(database_url) as mail:
        delivery = mail.deliver_later(note(**BOTH))
        assert mail.cancel(delivery.id)
        assert _states(mail, delivery.message_id) == ["cancelled", "cancelled"]
        assert not mail.cancel(delivery.id)


def test_an_unknown_recipient_beside_a_cancelled_one_is_still_swept(database_url: str) -> None:
    """T11: nobody is forgotten because somebody else was settled."""
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail:
        half = _half_done(mail, fake, FakeMode.UNKNOWN_TIMEOUT, FakeMode.REJECT_TEMPORARY)
        assert _message_state(database_url, half.message_id) == "queued"
        assert not mail.cancel(half.id)
        assert _message_state(database_url, half.message_id) == "unknown"
        with psycopg.connect(database_url) as owner:
            owner.execute("update mailglass.messages set updated_at = now() - interval '73 hours'")
        assert mail.sweep() == Swept(given_up=1)
        assert _states(mail, half.message_id) == ["unknown_final", "cancelled"]
        assert _message_state(database_url, half.message_id) == "unknown_final"


def test_expiry_ends_only_who_still_waited(database_url: str) -> None:
    """T13: a recipient that has the mail does not become expired with the other."""
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail:
        half = _half_done(mail, fake, FakeMode.ACCEPT, FakeMode.REJECT_TEMPORARY)
        with psycopg.connect(database_url) as owner:
            owner.execute("update mailglass.messages set expires_at = now() - interval '1 second'")
        assert mail.sweep() == Swept(expired=1)
        assert _states(mail, half.message_id) == ["sent", "expired"]
        assert _message_state(database_url, half.message_id) == "sent"


def test_a_report_settles_one_unknown_of_several(database_url: str) -> None:
    """T9: evidence about one recipient says nothing about another."""
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail:
        half = _half_done(mail, fake, FakeMode.UNKNOWN_TIMEOUT, FakeMode.UNKNOWN_TIMEOUT)
        mail.record(
            Report(
                delivery_id=half.id, provider="fake", type=EventType.DELIVERED, key="1",
                occurred_at=datetime.now(UTC),
            )
        )  # fmt: skip
        assert _states(mail, half.message_id) == ["sent", "unknown"]
        assert _message_state(database_url, half.message_id) == "unknown"
        assert mail.store.broken_chains() == ()


def test_a_mail_that_leaves_for_some_only_raises_and_says_for_whom_not(database_url: str) -> None:
    """Nobody takes it for sent when a copy was refused."""
    fake = FakeAdapter()
    fake.for_recipient("ann@mail.example", FakeMode.REJECT_PERMANENT)
    with front_desk(database_url, fake) as mail:
        with pytest.raises(BatchFailed) as caught:
            mail.deliver(note(**BOTH))
        assert caught.value.type is BatchFailedType.PARTIAL_FAILURE
        (failure,) = caught.value.failures
        assert isinstance(failure, SendError)
        assert failure.delivery_id is not None
        refused = mail.delivery(failure.delivery_id)
        assert refused is not None
        assert refused.kind.value == "cc"
        assert _states(mail, refused.message_id) == ["sent", "failed"]


def test_a_mail_that_leaves_for_nobody_raises_its_own_error(database_url: str) -> None:
    """One error, not a batch of equal ones."""
    fake = FakeAdapter()
    fake.next(FakeMode.REJECT_PERMANENT)
    with front_desk(database_url, fake) as mail:
        with pytest.raises(SendError) as caught:
            mail.deliver(note(**BOTH))
        assert caught.value.type is SendErrorType.ADAPTER_FAILURE


def test_a_late_suppression_verdict_settles_an_unknown(database_url: str) -> None:
    """T7 after T8: a slow worker's `suppressed` is written under its own token."""
    with front_desk(database_url) as mail:
        delivery = mail.deliver_later(note())
        claim = mail.store.claim_message("default", delivery.message_id, lease_s=60)
        assert claim is not None
        with psycopg.connect(database_url) as owner:
            owner.execute("update mailglass.messages set lease_until = now() - interval '1 day'")
        assert mail.sweep().abandoned == 1
        written = write_verdict(
            mail,
            claim,
            state=DispatchState.SUPPRESSED,
            event=EventType.SUPPRESSED,
            code="550 5.1.1",
        )
        assert written is DispatchState.SUPPRESSED


def test_a_retry_that_would_come_after_the_mails_time_is_a_failure_now(database_url: str) -> None:
    """T6: the caller is not told that a mail waits which will never be tried again."""
    fake = FakeAdapter()
    fake.next(FakeMode.REJECT_TEMPORARY)
    soon = datetime.now(UTC) + timedelta(seconds=30)
    with front_desk(database_url, fake, jitter_s=60.0) as mail:
        with pytest.raises(SendError) as caught:
            mail.deliver(note(expires_at=soon))
        assert caught.value.type is SendErrorType.ADAPTER_FAILURE
        assert caught.value.delivery_id is not None
        failed = mail.delivery(caught.value.delivery_id)
        assert failed is not None
        assert failed.state is DispatchState.FAILED


def test_a_suppression_met_at_dispatch_names_no_provider(database_url: str) -> None:
    """A second look at such a delivery tells the same as the first: preflight refused it."""
    with front_desk(database_url) as mail:
        delivery = mail.deliver_later(note(idempotency_key="k"))
        mail.suppress(
            Suppression(
                scope=SuppressionScope.DOMAIN,
                value="mail.example",
                reason=SuppressionReason.POLICY,
                source="test",
            )
        )
        mail.dispatch_due()
        with pytest.raises(Exception, match="suppression refused this recipient") as caught:
            mail.dispatch(delivery.id)
        assert caught.value.to_dict()["type"] == "domain"  # type: ignore[attr-defined]  # one of ours
