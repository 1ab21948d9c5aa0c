"""deliver(): what is written, what is returned, what is raised."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg_pool import PoolTimeout

from front_desk import count, front_desk, note, rows
from mailglass import (
    ConfigError,
    DispatchState,
    FailureClass,
    SendError,
    StreamPolicyError,
    SuppressedError,
    Suppression,
    SuppressionReason,
    SuppressionScope,
    TenancyError,
    tenant,
)
from mailglass.adapters.fake import FakeAdapter, FakeMode, SimulatedCrash
from mailglass.envelope import Accepted, Envelope, Verdict
from mailglass.errors import SendErrorType, SuppressedErrorType
from mailglass.events import EventType
from mailglass.preflight import Context

NOTHING = {"messages": 0, "deliveries": 0, "events": 0}


def _types(mail: object, delivery_id: object) -> list[str]:
    return [event.type.value for event in mail.events(delivery_id)]  # type: ignore[attr-defined]  # a Mailglass


def test_an_accepted_mail_is_sent_and_its_history_is_whole(database_url: str) -> None:
    """queued, attempt_started, dispatched: each a row, in order, in one unbroken chain."""
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail:
        delivery = mail.deliver(note())
        assert delivery.state is DispatchState.SENT
        assert delivery.outcome.value == "none"
        assert delivery.provider == "fake"
        assert _types(mail, delivery.id) == ["queued", "attempt_started", "dispatched"]
        assert [event.seq for event in mail.events(delivery.id)] == [1, 2, 3]
        assert mail.store.broken_chains() == ()
        assert len(fake.sent) == 1


def test_the_adapter_gets_the_frozen_bytes(database_url: str) -> None:
    """What is stored is what is handed over, byte for byte."""
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail:
        delivery = mail.deliver(note())
        stored = mail.store.frozen_payload("default", delivery.message_id)
        payload = fake.sent[0].envelope.payload
    assert stored == (payload, hashlib.sha256(payload).digest())
    assert delivery.payload_sha256 == hashlib.sha256(payload).digest()
    assert delivery.payload_bytes == len(payload)


def test_each_recipient_has_a_delivery_and_bcc_no_header(database_url: str) -> None:
    """Row 13: a blind copy is in the envelope and nowhere in the bytes."""
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail:
        first = mail.deliver(note(cc=["ann@mail.example"], bcc="secret@mail.example"))
        everyone = mail.deliveries_of(first.message_id)
    envelope = fake.sent[0].envelope
    assert [one.kind.value for one in everyone] == ["to", "cc", "bcc"]
    assert {one.state for one in everyone} == {DispatchState.SENT}
    assert b"secret" not in envelope.payload
    assert "secret@mail.example" in {one.address.addr_spec for one in envelope.recipients}


def test_a_permanent_no_fails_the_delivery_and_raises(database_url: str) -> None:
    """The caller learns that it will not leave; the ledger says why."""
    fake = FakeAdapter()
    fake.next(FakeMode.REJECT_PERMANENT)
    with front_desk(database_url, fake) as mail:
        with pytest.raises(SendError) as caught:
            mail.deliver(note())
        error = caught.value
        assert error.type is SendErrorType.ADAPTER_FAILURE
        assert error.failure_class is FailureClass.PERMANENT
        assert not error.retryable
        assert error.delivery_id is not None
        assert _types(mail, error.delivery_id) == ["queued", "attempt_started", "failed"]


def test_a_temporary_no_stays_queued_and_leaves_later(database_url: str) -> None:
    """deliver() returns: calling it again would double the mail, dispatch() does not."""
    fake = FakeAdapter()
    fake.next(FakeMode.REJECT_TEMPORARY)
    with front_desk(database_url, fake) as mail:
        delivery = mail.deliver(note())
        assert delivery.state is DispatchState.QUEUED
        assert isinstance(delivery.error, SendError)
        assert delivery.error.retryable
        again = mail.dispatch(delivery.id)
        assert again.state is DispatchState.SENT
        assert again.attempts == 2
        assert _types(mail, delivery.id) == [
            "queued", "attempt_started", "attempt_failed", "attempt_started", "dispatched",
        ]  # fmt: skip


def test_attempts_end(database_url: str) -> None:
    """A server that never says yes does not keep a mail for ever."""
    fake = FakeAdapter()
    for _ in range(3):
        fake.next(FakeMode.REJECT_TEMPORARY)
    with front_desk(database_url, fake, attempts_max=3) as mail:
        delivery = mail.deliver(note())
        assert mail.dispatch(delivery.id).state is DispatchState.QUEUED
        with pytest.raises(SendError) as caught:
            mail.dispatch(delivery.id)
        assert caught.value.failure_class is FailureClass.NOT_SENT
        assert _types(mail, delivery.id)[-1] == "failed"


def test_an_unknown_outcome_is_said_and_not_sent_again(database_url: str) -> None:
    """Neither sent nor failed: nobody knows, and dispatch() leaves it alone."""
    fake = FakeAdapter()
    fake.next(FakeMode.UNKNOWN_TIMEOUT)
    with front_desk(database_url, fake) as mail:
        with pytest.raises(SendError) as caught:
            mail.deliver(note())
        error = caught.value
        assert error.type is SendErrorType.OUTCOME_UNKNOWN
        assert not error.retryable
        assert error.delivery_id is not None
        tried = len(fake.sent)
        with pytest.raises(SendError):
            mail.dispatch(error.delivery_id)
        assert len(fake.sent) == tried
        assert _types(mail, error.delivery_id)[-1] == "outcome_unknown"


def test_wrong_credentials_keep_the_mail_and_use_up_no_attempt(database_url: str) -> None:
    """A password that was rotated loses no receipt."""
    fake = FakeAdapter()
    fake.next(FakeMode.BAD_CREDENTIALS)
    with front_desk(database_url, fake) as mail:
        delivery = mail.deliver(note())
        assert delivery.state is DispatchState.QUEUED
        assert delivery.attempts == 0
        assert isinstance(delivery.error, ConfigError)


def test_a_provider_that_asks_to_wait_is_waited_for(database_url: str) -> None:
    """429: the mail comes back when it was asked to, and no attempt is used up."""
    fake = FakeAdapter()
    fake.next(FakeMode.RATE_LIMITED, retry_after_s=3600.0)
    with front_desk(database_url, fake) as mail:
        delivery = mail.deliver(note())
        assert delivery.state is DispatchState.QUEUED
        assert delivery.attempts == 0
        assert delivery.run_at is not None
        assert delivery.run_at > datetime.now(UTC) + timedelta(minutes=59)
        assert mail.dispatch(delivery.id).state is DispatchState.QUEUED
        assert fake.sent == ()


def test_a_check_with_a_bug_holds_no_mail(database_url: str) -> None:
    """At dispatch it is tried again, since nothing has left."""
    said: list[str] = []

    def clumsy(_message: object, context: Context) -> None:
        said.append(context.phase)
        if said == ["intake", "dispatch"]:
            raise KeyError("canary@mail.example")

    with front_desk(database_url, checks=(clumsy,)) as mail:
        delivery = mail.deliver(note())
        assert delivery.state is DispatchState.QUEUED
        assert delivery.code == "KeyError"
        assert "canary" not in f"{delivery!r}"
        assert mail.dispatch(delivery.id).state is DispatchState.SENT


def test_an_adapter_that_is_gone_from_the_settings_keeps_the_mail(database_url: str) -> None:
    """A deploy that forgets an adapter loses nothing: the mail waits until it is back."""
    with front_desk(database_url) as mail:
        delivery = mail.deliver_later(note())
        mail._adapters["spare"] = mail._adapters.pop("default")
        waiting = mail.dispatch(delivery.id)
        assert waiting.state is DispatchState.QUEUED
        assert waiting.code == "adapter_missing"
        assert waiting.attempts == 0
        assert isinstance(waiting.error, ConfigError)


def test_a_crash_after_acceptance_leaves_the_claim(database_url: str) -> None:
    """W6: the row says `sending`, so nobody sends it again by mistake."""
    fake = FakeAdapter()
    fake.next(FakeMode.ACCEPTED_THEN_CRASH)
    with front_desk(database_url, fake) as mail:
        with pytest.raises(SimulatedCrash):
            mail.deliver(note())
        (delivery,) = mail.store.list_deliveries(tenant_id="default")
        assert delivery.state is DispatchState.SENDING
        assert mail.dispatch(delivery.id).state is DispatchState.SENDING
        assert len(fake.sent) == 1


def test_an_exception_of_an_adapter_is_unknown(database_url: str) -> None:
    """A bug in an adapter is no proof that nothing left."""

    class Broken(FakeAdapter):
        def send(self, envelope: Envelope) -> Accepted:
            raise KeyError("canary@mail.example")

    with front_desk(database_url, Broken()) as mail, pytest.raises(SendError) as caught:
        mail.deliver(note())
    assert caught.value.type is SendErrorType.OUTCOME_UNKNOWN
    assert caught.value.code == "KeyError"
    assert "canary" not in str(caught.value)


def _suppress(value: str, scope: SuppressionScope = SuppressionScope.ADDRESS) -> Suppression:
    return Suppression(
        scope=scope, value=value, reason=SuppressionReason.HARD_BOUNCE, source="test"
    )


@pytest.mark.parametrize("kind", ["to", "cc", "bcc"])
@pytest.mark.parametrize(
    "form", ["gone@mail.example", "GONE@MAIL.example", "Gus <Gone@mail.Example>"]
)
def test_a_suppressed_recipient_of_any_kind_stops_the_message(
    database_url: str, kind: str, form: str
) -> None:
    """Row 70: no copy, no case and no display name gets past."""
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail:
        mail.suppress(_suppress("gone@mail.example"))
        with pytest.raises(SuppressedError) as caught:
            mail.deliver(note(**{kind: form}))
        assert caught.value.type is SuppressedErrorType.ADDRESS
        assert fake.sent == ()
        refused = mail.store.list_deliveries(tenant_id="default")
        assert {one.state for one in refused} == {DispatchState.SUPPRESSED}
        assert [_types(mail, one.id) for one in refused] == [["suppressed"]] * len(refused)
        assert mail.store.frozen_payload("default", refused[0].message_id) is not None
        assert mail.store.frozen_payload("default", refused[0].message_id)[0] is None  # type: ignore[index]  # as above


def test_a_suppression_after_queueing_stops_the_bytes(database_url: str) -> None:
    """Row 70, T7: preflight is asked again right before they leave."""
    fake = FakeAdapter()
    fake.next(FakeMode.REJECT_TEMPORARY)
    with front_desk(database_url, fake) as mail:
        delivery = mail.deliver(note())
        mail.suppress(_suppress("mail.example", SuppressionScope.DOMAIN))
        with pytest.raises(SuppressedError) as caught:
            mail.dispatch(delivery.id)
        assert caught.value.type is SuppressedErrorType.DOMAIN
        assert _types(mail, delivery.id)[-1] == "suppressed"
        assert len(fake.sent) == 0


def test_a_rule_broken_at_dispatch_is_a_preflight_rejection(database_url: str) -> None:
    """What preflight refuses the second time is recorded and raised with its delivery."""
    fake = FakeAdapter()
    fake.next(FakeMode.REJECT_TEMPORARY)
    said: list[str] = []

    def freeze_on_friday(message: object, context: object) -> None:
        said.append(context.phase)  # type: ignore[attr-defined]  # a Context
        if said.count("dispatch") > 1:
            raise StreamPolicyError("no", rule="friday", suggestion="wait")

    with front_desk(database_url, fake, checks=(freeze_on_friday,)) as mail:
        delivery = mail.deliver(note())
        with pytest.raises(SendError) as caught:
            mail.dispatch(delivery.id)
    assert caught.value.type is SendErrorType.PREFLIGHT_REJECTED
    assert caught.value.delivery_id == delivery.id
    assert said == ["intake", "dispatch", "dispatch"]


def test_a_refusal_by_the_provider_is_remembered(database_url: str) -> None:
    """Class S: the next mail stops before it leaves."""
    fake = FakeAdapter()
    fake.next(FakeMode.SUPPRESSED)
    with front_desk(database_url, fake) as mail:
        with pytest.raises(SuppressedError):
            mail.deliver(note())
        with pytest.raises(SuppressedError):
            mail.deliver(note())
    assert len(fake.sent) == 0


def test_the_same_mail_twice_is_two_mails(database_url: str) -> None:
    """M2: only a caller's key makes it one."""
    with front_desk(database_url) as mail:
        assert mail.deliver(note()).id != mail.deliver(note()).id
    assert count(database_url, "messages") == 2


def test_one_key_is_one_mail(database_url: str) -> None:
    """Row 77: the same key and content give the first delivery; nothing is sent again."""
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail:
        first = mail.deliver(note(idempotency_key="order-7"))
        assert mail.deliver(note(idempotency_key="order-7")).id == first.id
        with pytest.raises(SendError) as caught:
            mail.deliver(note(idempotency_key="order-7", subject="Another"))
        assert caught.value.code == "idempotency_mismatch"
        with tenant("other"):
            assert mail.deliver(note(idempotency_key="order-7")).id != first.id
    assert len(fake.sent) == 2


def test_a_repeated_key_of_a_failed_mail_tells_of_the_failure(database_url: str) -> None:
    """The second call learns what the first did."""
    fake = FakeAdapter()
    fake.next(FakeMode.REJECT_PERMANENT)
    with front_desk(database_url, fake) as mail:
        for _ in range(2):
            with pytest.raises(SendError) as caught:
                mail.deliver(note(idempotency_key="order-8"))
            assert caught.value.failure_class is FailureClass.PERMANENT


def test_one_mail_of_an_ordering_key_is_in_flight(database_url: str) -> None:
    """The others wait their turn and stop nobody else."""
    fake = FakeAdapter()
    fake.next(FakeMode.ACCEPTED_THEN_CRASH)
    with front_desk(database_url, fake) as mail:
        with pytest.raises(SimulatedCrash):
            mail.deliver(note(ordering_key="zoe"))
        second = mail.deliver(note(ordering_key="zoe"))
        assert second.state is DispatchState.QUEUED
        other = mail.deliver_later(note())
        assert mail.store.due_messages(limit=5) == (("default", other.message_id),)


def test_a_connection_that_is_cut_during_the_send_loses_no_verdict(database_url: str) -> None:
    """A firewall that drops an idle session makes no delivered mail unknown."""

    class Cutting(FakeAdapter):
        def send(self, envelope: Envelope) -> Accepted:
            with psycopg.connect(database_url, autocommit=True) as other:
                other.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity"
                    " where datname = current_database() and pid <> pg_backend_pid()"
                )
            return super().send(envelope)

    with front_desk(database_url, Cutting()) as mail:
        assert mail.deliver(note()).state is DispatchState.SENT


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ({"code": "550 \x00 x"}, {"code": "550 ? x"}),
        ({"code": "550 zoe@mail.example"}, {"code": "withheld"}),
        ({"code": "x" * 99}, {"code": "x" * 64}),
        ({"provider_message_id": "a\ud800\x00b"}, {"provider_message_id": "a??b"}),
        ({"retry_after_s": float("inf")}, {"retry_after_s": 86_400.0}),
        ({"retry_after_s": float("nan")}, {"retry_after_s": 86_400.0}),
        ({"retry_after_s": -5.0}, {"retry_after_s": 0.0}),
    ],
)
def test_what_a_provider_says_is_kept_within_bounds(
    said: dict[str, Any], kept: dict[str, object]
) -> None:
    """No answer can leave a claim open or put an address into the ledger."""
    verdict = Verdict(delivery_id=uuid4(), **said)
    assert {name: getattr(verdict, name) for name in kept} == kept


def test_an_adapter_that_answers_nothing_is_unknown(database_url: str) -> None:
    """Its bug is no proof either."""

    class Silent(FakeAdapter):
        def send(self, envelope: Envelope) -> Accepted:
            return None  # type: ignore[return-value]  # the bug

    with front_desk(database_url, Silent()) as mail, pytest.raises(SendError) as caught:
        mail.deliver(note())
    assert caught.value.type is SendErrorType.OUTCOME_UNKNOWN


def test_a_scheduled_mail_waits_and_can_be_cancelled(database_url: str) -> None:
    """T12: cancelling says the truth about whether it was in time."""
    later = datetime.now(UTC) + timedelta(hours=1)
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail:
        delivery = mail.deliver(note(send_at=later))
        assert delivery.state is DispatchState.QUEUED
        assert mail.dispatch(delivery.id).state is DispatchState.QUEUED
        assert mail.cancel(delivery.id) is True
        assert mail.cancel(delivery.id) is False
        assert _types(mail, delivery.id) == ["queued", "cancelled"]
        sent = mail.deliver(note())
        assert mail.cancel(sent.id) is False
    assert len(fake.sent) == 1


def test_a_mail_whose_time_is_over_is_not_queued(database_url: str) -> None:
    """A code that nobody can use any more is not sent."""
    with front_desk(database_url) as mail, pytest.raises(SendError) as caught:
        mail.deliver(note(expires_at=datetime.now(UTC) - timedelta(seconds=1)))
    assert caught.value.type is SendErrorType.EXPIRED
    assert rows(database_url) == NOTHING


@pytest.mark.parametrize("step", ["deliver", "deliver_later", "deliver_many", "prepare"])
def test_a_mail_that_expires_before_it_is_due_is_refused(database_url: str, step: str) -> None:
    """It would be queued and could never leave; at the same moment is too late as well."""
    due = datetime.now(UTC) + timedelta(hours=1)
    late = note(send_at=due, expires_at=due)
    with front_desk(database_url) as mail:
        if step == "deliver_many":
            (refused,) = mail.deliver_many([late])
            error = refused.error
        else:
            with pytest.raises(SendError) as caught:
                getattr(mail, step)(late)
            error = caught.value
        assert isinstance(error, SendError)
        assert (error.type, error.code) == (SendErrorType.EXPIRED, "expires_first")
    assert rows(database_url) == NOTHING


def test_times_of_the_call_are_held_against_each_other(database_url: str) -> None:
    """``at`` and ``expires_at`` are the mail's; without one it is counted from when it is due."""
    due = datetime.now(UTC) + timedelta(days=30)
    with front_desk(database_url) as mail:
        with pytest.raises(SendError) as caught:
            mail.deliver_later(note(expires_at=due - timedelta(seconds=1)), at=due)
        assert caught.value.code == "expires_first"
        for mail_expires_at in (None, due + timedelta(seconds=1)):
            queued = mail.deliver_later(note(), at=due, expires_at=mail_expires_at)
            assert queued.state is DispatchState.QUEUED


def test_a_queued_mail_expires(database_url: str) -> None:
    """T13: what waited too long ends as expired, and says so."""
    fake = FakeAdapter()
    fake.next(FakeMode.REJECT_TEMPORARY)
    soon = datetime.now(UTC) + timedelta(seconds=1)
    with front_desk(database_url, fake) as mail:
        delivery = mail.deliver(note(expires_at=soon))
        with psycopg.connect(database_url) as owner:
            owner.execute("select pg_sleep(1.1)")
        with pytest.raises(SendError) as caught:
            mail.dispatch(delivery.id)
        assert caught.value.type is SendErrorType.EXPIRED
        assert _types(mail, delivery.id)[-1] == "expired"


def test_a_scrubbed_payload_cannot_be_sent(database_url: str) -> None:
    """The tombstone says what it was, and dispatch says that it is gone."""
    fake = FakeAdapter()
    fake.next(FakeMode.REJECT_TEMPORARY)
    with front_desk(database_url, fake) as mail:
        delivery = mail.deliver(note())
        with psycopg.connect(database_url) as owner:
            owner.execute("update mailglass.messages set payload = null")
        with pytest.raises(SendError) as caught:
            mail.dispatch(delivery.id)
        assert caught.value.type is SendErrorType.PAYLOAD_MISSING


def test_without_a_tenant_nothing_is_written(database_url: str) -> None:
    """Row 71: refused before any row exists."""
    with front_desk(database_url, default_tenant=None) as mail, pytest.raises(TenancyError):
        mail.deliver(note())
    assert rows(database_url) == NOTHING


def test_another_tenants_delivery_is_not_there(database_url: str) -> None:
    """Rows 71, 95: a stolen id opens nothing."""
    with front_desk(database_url) as mail:
        with tenant("a"):
            delivery = mail.deliver(note())
        with tenant("b"):
            assert mail.delivery(delivery.id) is None
            assert mail.events(delivery.id) == ()
            assert mail.deliveries_of(delivery.message_id) == ()
            with pytest.raises(SendError):
                mail.cancel(delivery.id)
            with pytest.raises(SendError):
                mail.dispatch(delivery.id)


def test_an_unknown_delivery_is_a_typed_error(database_url: str) -> None:
    """A mistyped id is told as such."""
    with front_desk(database_url) as mail, pytest.raises(SendError, match="no such delivery"):
        mail.dispatch(uuid4())


def test_a_database_that_is_down_is_psycopgs_own_error() -> None:
    """Nothing is hidden and nothing is half-written."""
    down = "postgresql://postgres@127.0.0.1:1/none"
    with (
        front_desk(down, database_connect_timeout_s=0.5) as mail,
        pytest.raises(psycopg.OperationalError, match="refused") as caught,
    ):
        mail.deliver(note())
    assert not isinstance(caught.value, PoolTimeout)


def test_a_closed_mailglass_says_so(database_url: str) -> None:
    """Neither a timeout nor a wait for a database that is there."""
    with front_desk(database_url) as mail:
        mail.deliver(note())
    with pytest.raises(ConfigError, match="closed"):
        mail.deliver(note())


def test_adeliver_is_deliver(database_url: str) -> None:
    """The async twin writes the same rows and keeps the tenant."""
    with front_desk(database_url) as mail:

        async def send() -> object:
            with tenant("async"):
                return await mail.adeliver(note())

        delivery = asyncio.run(send())
        assert delivery.tenant_id == "async"  # type: ignore[attr-defined]  # a Delivery
        assert delivery.state is DispatchState.SENT  # type: ignore[attr-defined]  # a Delivery


def test_a_prepared_mail_is_the_callers_transaction(database_url: str) -> None:
    """W0: a rollback leaves nothing, a commit exactly one; psycopg runs the statement as it is."""
    with front_desk(database_url) as mail:
        prepared = mail.prepare(note())
        with psycopg.connect(database_url) as connection:
            connection.execute(prepared.statement.encode(), prepared.parameters)
            connection.rollback()
        assert rows(database_url) == NOTHING
        with psycopg.connect(database_url) as connection:
            connection.execute(prepared.statement.encode(), prepared.parameters)
        assert rows(database_url) == {"messages": 1, "deliveries": 1, "events": 1}
        assert mail.dispatch(prepared.delivery_ids[0]).state is DispatchState.SENT


def test_the_ledger_holds_no_address_subject_or_body(database_url: str) -> None:
    """Row 52: a person can be erased and the ledger stay."""
    fake = FakeAdapter()
    fake.next(FakeMode.REJECT_TEMPORARY)
    with front_desk(database_url, fake) as mail:
        delivery = mail.deliver(
            note(
                to="canary1@mail.example", subject="canary2", text="canary3", cc="canary4@x.example"
            )
        )
        mail.dispatch(delivery.id)
    with psycopg.connect(database_url) as owner:
        told = owner.execute("select e::text from mailglass.events e").fetchall()
    assert len(told) == 10
    assert not [line for (line,) in told if "canary" in line or "@" in line]


def test_event_types_of_the_schema_are_those_of_the_code(database_url: str) -> None:
    """The database refuses what the code does not know, and nothing that it knows."""
    with psycopg.connect(database_url) as owner:
        row = owner.execute(
            "select pg_get_constraintdef(oid) from pg_constraint where conname = 'events_type_check'"
        ).fetchone()
    assert row is not None
    import re  # noqa: PLC0415 - only here

    assert set(re.findall(r"'(\w+)'", row[0])) == {one.value for one in EventType}
