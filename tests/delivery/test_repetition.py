"""A repeated idempotency key is answered with the first delivery, whatever has changed since."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from front_desk import count, front_desk, note
from mailglass import (
    DispatchState,
    Mailglass,
    Message,
    RateLimit,
    SendError,
    Stream,
    Suppression,
    SuppressionReason,
    SuppressionScope,
)
from mailglass.delivery import batch
from mailglass.errors import SendErrorType

ONE_AN_HOUR = RateLimit(capacity=1, per_s=1 / 3600)


def _suppress(mail: Mailglass) -> None:
    mail.suppress(
        Suppression(
            scope=SuppressionScope.ADDRESS,
            value="zoe@mail.example",
            reason=SuppressionReason.MANUAL,
            source="test",
        )
    )


def _keyed(**changes: object) -> Message:
    return note(idempotency_key="order-7", stream=Stream.OPERATIONAL, **changes)


@pytest.mark.parametrize("many", [False, True])
def test_a_repetition_takes_no_tokens(database_url: str, *, many: bool) -> None:
    """Row 77: a safe repeat does not meet the limit that the first one used up."""
    with front_desk(database_url, rate_limit_per_tenant=ONE_AN_HOUR) as mail:
        first = mail.deliver_later(_keyed())
        again = mail.deliver_many([_keyed()])[0] if many else mail.deliver_later(_keyed())
        assert again.id == first.id
        assert again.error is None
    assert count(database_url, "messages") == 1


def test_a_repetition_in_the_same_batch_takes_no_tokens(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the first one stands in another part of it, which may still be on its way."""
    monkeypatch.setattr(batch, "PART_MAX", 2)
    with front_desk(database_url, rate_limit_per_tenant=ONE_AN_HOUR) as mail:
        found = mail.deliver_many([_keyed()] * 5)
    assert {one.id for one in found} == {found[0].id}
    assert {one.error for one in found} == {None}
    assert count(database_url, "messages") == 1


def test_a_repetition_of_a_mail_that_was_refused_is_asked_about_anew(database_url: str) -> None:
    """The key is not taken by a mail that is not there, whoever it was for."""
    with front_desk(database_url) as mail:
        _suppress(mail)
        refused, other = mail.deliver_many([_keyed(), _keyed(to="ann@mail.example")])
    assert [refused.state, other.state] == [DispatchState.SUPPRESSED, DispatchState.QUEUED]


@pytest.mark.parametrize(("capacity", "state"), [(1, "failed"), (2, "queued")])
def test_a_repetition_of_a_mail_that_could_not_be_frozen_is_checked(
    database_url: str, capacity: int, state: str
) -> None:
    """What kept the first one from being stored comes to light after its tokens were taken."""
    limit = RateLimit(capacity=capacity, per_s=0.001)
    with front_desk(database_url, rate_limit_per_tenant=limit) as mail:
        refused, other = mail.deliver_many([_keyed(mailable="a\x00"), _keyed()])
    assert isinstance(refused.error, SendError)
    assert other.state == state


@pytest.mark.parametrize("many", [False, True])
def test_a_repetition_is_not_refused_for_what_happened_since(
    database_url: str, *, many: bool
) -> None:
    """Someone who opted out after the first gets neither a second mail nor a second row."""
    with front_desk(database_url) as mail:
        first = mail.deliver(_keyed())
        _suppress(mail)
        again = mail.deliver_many([_keyed()])[0] if many else mail.deliver(_keyed())
        assert (again.id, again.state) == (first.id, DispatchState.SENT)
    assert count(database_url, "messages") == 1


def test_a_repetition_after_the_mails_time_is_still_the_first(database_url: str) -> None:
    """`expires_at` is over for the second call, not for the question."""
    soon = datetime.now(UTC) + timedelta(hours=1)
    with front_desk(database_url) as mail:
        first = mail.deliver(_keyed(expires_at=soon))
        late = _keyed(expires_at=datetime.now(UTC) - timedelta(seconds=1))
        assert mail.deliver(late).id == first.id


def test_other_content_under_the_key_is_refused_before_any_check(database_url: str) -> None:
    """The mistake is named, and no token is spent on it."""
    with front_desk(database_url, rate_limit_per_tenant=ONE_AN_HOUR) as mail:
        first = mail.deliver_later(_keyed())
        with pytest.raises(SendError) as caught:
            mail.deliver_later(_keyed(subject="Another"))
        assert caught.value.type is SendErrorType.SERIALIZATION_FAILED
        assert caught.value.code == "idempotency_mismatch"
        assert caught.value.delivery_id == first.id
        (refused,) = mail.deliver_many([_keyed(subject="Another")])
        assert isinstance(refused.error, SendError)
        assert refused.error.code == "idempotency_mismatch"


def test_a_prepared_repetition_takes_no_tokens(database_url: str) -> None:
    """The statement then finds the key taken and writes nothing."""
    with front_desk(database_url, rate_limit_per_tenant=ONE_AN_HOUR) as mail:
        mail.deliver_later(_keyed())
        prepared = mail.prepare(_keyed())
        with mail.store.connection() as connection:
            found = connection.execute(prepared.statement.encode(), prepared.parameters).fetchall()
        assert found == []
    assert count(database_url, "messages") == 1
