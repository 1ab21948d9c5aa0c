"""What a refusal of one recipient is kept as: no more than it says, and nothing of our own saying."""

from __future__ import annotations

import pytest

from front_desk import BULK, HERE, front_desk, note
from mailglass import DispatchState, Mailglass, Stream, SuppressedError, Suppression
from mailglass.adapters.fake import FakeAdapter
from mailglass.delivery.refused import kept_of
from mailglass.envelope import Accepted, Envelope, Verdict
from mailglass.errors import FailureClass
from mailglass.ledger.suppressions import Suppressions, Wanted
from mailglass.suppression import SuppressionReason, SuppressionScope

ADDRESS = SuppressionScope.ADDRESS
OF_STREAM = SuppressionScope.ADDRESS_STREAM


class Refusing(FakeAdapter):
    """A provider that has everybody on its list, under a word of its own."""

    def __init__(self, code: str) -> None:
        super().__init__()
        self.code = code

    def send(self, envelope: Envelope) -> Accepted:
        """Refuse each recipient."""
        return Accepted(
            provider=self.name,
            verdicts=tuple(
                Verdict(
                    delivery_id=one.delivery_id,
                    failure_class=FailureClass.SUPPRESSED,
                    code=self.code,
                )
                for one in envelope.recipients
            ),
        )


def _kept(mail: Mailglass) -> list[tuple[SuppressionScope, SuppressionReason, Stream | None]]:
    held = Suppressions(store=mail.store, tenant_id="default")
    return [(one.entry.scope, one.entry.reason, one.entry.stream) for one in held.every(Wanted())]


@pytest.mark.parametrize(
    ("code", "scope", "reason"),
    [
        ("550 5.1.1", ADDRESS, SuppressionReason.INVALID_RECIPIENT),
        ("rejected hard-bounce", ADDRESS, SuppressionReason.HARD_BOUNCE),
        ("ALL_SUPPRESSED hard_bounced", ADDRESS, SuppressionReason.HARD_BOUNCE),
        ("rejected spam", ADDRESS, SuppressionReason.COMPLAINT),
        ("rejected unsub", OF_STREAM, SuppressionReason.UNSUBSCRIBE),
        ("unsubscribed", OF_STREAM, SuppressionReason.UNSUBSCRIBE),
        ("rejected custom", OF_STREAM, SuppressionReason.POLICY),
        ("http 422", OF_STREAM, SuppressionReason.POLICY),
        ("rejected soft-bounce", None, None),
    ],
)
def test_a_refusal_is_kept_as_what_the_provider_says(
    database_url: str, code: str, scope: SuppressionScope | None, reason: SuppressionReason | None
) -> None:
    """An address that is gone for all mail, an opt-out and an unknown list for the stream alone."""
    with front_desk(database_url, Refusing(code)) as mail:
        with pytest.raises(SuppressedError):
            mail.deliver(note(stream=Stream.OPERATIONAL))
        expected = [(scope, reason, Stream.OPERATIONAL if scope is OF_STREAM else None)]
        assert _kept(mail) == ([] if scope is None else expected)


def test_an_opt_out_of_one_stream_does_not_end_all_mail(database_url: str) -> None:
    """Who left the newsletter still gets a password reset."""
    with front_desk(database_url, Refusing("rejected unsub"), **BULK) as mail:
        news = note(stream=Stream.BULK, mailable="app.News", text=f"News. {HERE}")
        with pytest.raises(SuppressedError):
            mail.deliver(news)
        mail.deliver_later(note())
        with pytest.raises(SuppressedError):
            mail.deliver_later(news)


@pytest.mark.parametrize("scope", [OF_STREAM, SuppressionScope.DOMAIN])
def test_what_preflight_refuses_is_no_refusal_of_the_provider(
    database_url: str, scope: SuppressionScope
) -> None:
    """A suppression that came after the mail was queued stops it, and becomes no wider one."""
    with front_desk(database_url) as mail:
        queued = mail.deliver_later(note(stream=Stream.OPERATIONAL))
        mail.suppress(
            Suppression(
                scope=scope,
                value="zoe@mail.example" if scope is OF_STREAM else "mail.example",
                reason=SuppressionReason.MANUAL,
                source="test",
                stream=Stream.OPERATIONAL if scope is OF_STREAM else None,
            )
        )
        mail.dispatch_due()
        found = mail.delivery(queued.id)
        assert found is not None
        assert found.state is DispatchState.SUPPRESSED
        assert [one for one, _, _ in _kept(mail)] == [scope]


def test_nothing_is_kept_of_a_word_that_means_for_now() -> None:
    """A mailbox that is full today is not one that is gone."""
    assert kept_of("rejected soft-bounce") is None
