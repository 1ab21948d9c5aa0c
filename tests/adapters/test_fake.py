"""The fake adapter: what it keeps, how it fails on demand, and how it dies."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest

from mailglass.adapters import Adapter
from mailglass.adapters.fake import FakeAdapter, FakeMode, SimulatedCrash
from mailglass.errors import ConfigError, FailureClass
from tests.adapters.envelopes import SUBJECT, an_envelope

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def test_it_keeps_what_it_is_given() -> None:
    """Envelope, time, and the message read back when asked for."""
    fake = FakeAdapter(clock=lambda: NOW)
    assert (fake.sent, fake.last) == ((), None)
    envelope = an_envelope("ada@recipient.test", "bob@recipient.test")
    verdicts = fake.send(envelope).verdicts
    assert [verdict.is_accepted for verdict in verdicts] == [True, True]
    assert len({verdict.provider_message_id for verdict in verdicts}) == 2
    (mail,) = fake.sent
    assert mail is fake.last
    assert (mail.envelope, mail.at, mail.recipients) == (envelope, NOW, envelope.recipients)
    assert mail.message.subject == SUBJECT
    assert mail.message is mail.message
    fake.clear()
    assert fake.sent == ()


REFUSALS = {
    FakeMode.REJECT_PERMANENT: FailureClass.PERMANENT,
    FakeMode.REJECT_TEMPORARY: FailureClass.NOT_SENT,
    FakeMode.SUPPRESSED: FailureClass.SUPPRESSED,
    FakeMode.RATE_LIMITED: FailureClass.NOT_SENT,
    FakeMode.UNKNOWN_TIMEOUT: FailureClass.UNKNOWN,
}


@pytest.mark.parametrize(("mode", "expected"), REFUSALS.items())
def test_a_call_can_be_made_to_fail(mode: FakeMode, expected: FailureClass) -> None:
    """As often as told, then all is well again."""
    fake = FakeAdapter()
    fake.next(mode, times=2)
    answers = [fake.send(an_envelope()).verdicts[0].failure_class for _ in range(3)]
    assert answers == [expected, expected, None]
    assert len(fake.sent) == 1


def test_plans_queue_up() -> None:
    """In the order in which they were made."""
    fake = FakeAdapter()
    fake.next(FakeMode.REJECT_PERMANENT)
    fake.next(FakeMode.ACCEPT)
    fake.next(FakeMode.RATE_LIMITED, retry_after_s=7.5)
    verdicts = [fake.send(an_envelope()).verdicts[0] for _ in range(3)]
    assert [verdict.is_accepted for verdict in verdicts] == [False, True, False]
    assert verdicts[2].retry_after_s == 7.5


def test_a_recipient_can_be_made_to_fail_alone() -> None:
    """By the key of its address, in every call, whatever the call does."""
    fake = FakeAdapter()
    fake.for_recipient("bob@recipient.test", FakeMode.SUPPRESSED)
    fake.next(FakeMode.REJECT_PERMANENT)
    envelope = an_envelope("ada@recipient.test", "Bob@Recipient.test")
    first = [verdict.failure_class for verdict in fake.send(envelope).verdicts]
    second = [verdict.failure_class for verdict in fake.send(envelope).verdicts]
    assert first == [FailureClass.PERMANENT, FailureClass.SUPPRESSED]
    assert second == [None, FailureClass.SUPPRESSED]
    (mail,) = fake.sent
    assert mail.recipients == envelope.recipients[:1]


def test_bad_credentials_refuse_the_whole_envelope() -> None:
    """As from a real provider: a ConfigError, and nothing kept."""
    fake = FakeAdapter()
    fake.next(FakeMode.BAD_CREDENTIALS)
    with pytest.raises(ConfigError):
        fake.send(an_envelope("ada@recipient.test", "bob@recipient.test"))
    assert fake.sent == ()
    fake.for_recipient("bob@recipient.test", FakeMode.BAD_CREDENTIALS)
    verdicts = fake.send(an_envelope("ada@recipient.test", "bob@recipient.test")).verdicts
    assert [v.failure_class for v in verdicts] == [None, FailureClass.CONFIGURATION]


@pytest.mark.parametrize(
    ("mode", "kept"), [(FakeMode.ACCEPTED_THEN_CRASH, 1), (FakeMode.CRASH_BEFORE_SEND, 0)]
)
def test_a_crash_passes_every_except_exception(mode: FakeMode, kept: int) -> None:
    """No verdict is written, as when the process dies in windows W5 and W6."""
    fake = FakeAdapter()
    fake.next(mode)
    with pytest.raises(SimulatedCrash) as caught:
        fake.send(an_envelope())
    assert not isinstance(caught.value, Exception)
    assert len(fake.sent) == kept


def test_a_repeated_key_gets_the_first_verdicts() -> None:
    """After a crash behind the acceptance the same key doubles nothing (window W6)."""
    fake = FakeAdapter(honours_idempotency_key=True)
    assert fake.capabilities.idempotency_window_s == 86_400
    envelope = an_envelope("ada@recipient.test", "bob@recipient.test")
    fake.next(FakeMode.ACCEPTED_THEN_CRASH)
    with pytest.raises(SimulatedCrash):
        fake.send(envelope)
    first, second = fake.send(envelope), fake.send(envelope)
    assert first == second
    assert all(verdict.is_accepted for verdict in first.verdicts)
    kept = [recipient for mail in fake.sent for recipient in mail.recipients]
    assert sorted(kept, key=str) == sorted(envelope.recipients, key=str)


@pytest.mark.parametrize("mode", [FakeMode.REJECT_TEMPORARY, FakeMode.UNKNOWN_TIMEOUT])
def test_a_key_without_a_final_verdict_may_be_tried_again(mode: FakeMode) -> None:
    """A 429 or a timeout is not the provider's answer for ever."""
    fake = FakeAdapter(honours_idempotency_key=True)
    envelope = an_envelope()
    fake.next(mode)
    fake.send(envelope)
    assert fake.send(envelope).verdicts[0].is_accepted
    assert len(fake.sent) == 1


def test_without_keys_a_repetition_is_a_second_mail() -> None:
    """Most providers double what is sent twice; tests of dispatch need one that does."""
    fake = FakeAdapter()
    envelope = an_envelope()
    fake.send(envelope)
    fake.send(envelope)
    assert len(fake.sent) == 2
    assert fake.capabilities.idempotency_window_s is None


def test_threads_lose_nothing() -> None:
    """Eight threads, fifty mails each."""
    fake = FakeAdapter()
    envelope = an_envelope()
    threads = [
        threading.Thread(target=lambda: [fake.send(envelope) for _ in range(50)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(fake.sent) == 400


def test_the_adapter_satisfies_the_protocol() -> None:
    """Dispatch sees only this, and the repr names nobody."""
    fake = FakeAdapter()
    assert isinstance(fake, Adapter)
    assert fake.name == "fake"
    fake.check(an_envelope().thaw())
    fake.send(an_envelope())
    fake.close()
    assert repr(fake) == "FakeAdapter(1 sent)"
