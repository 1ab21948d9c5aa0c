"""What preflight looks at before the bytes leave: as little as mailglass's own checks need."""

from __future__ import annotations

from dataclasses import replace

import pytest

from front_desk import front_desk, note
from mailglass import DispatchState, Message, SendError
from mailglass.adapters.fake import FakeAdapter, FakeMode
from mailglass.delivery.thaw import as_checked
from mailglass.errors import SendErrorType
from mailglass.ledger.rows import Claim
from mailglass.preflight import Context, Phase
from mailglass.preflight.standard import CHECKS


def _claim(database_url: str, message: Message) -> Claim:
    with front_desk(database_url) as mail:
        queued = mail.deliver_later(message)
        claim = mail.dispatcher.claim(queued.tenant_id, queued.message_id)
    assert claim is not None
    return claim


def test_checks_of_mailglass_read_no_body_again(database_url: str) -> None:
    """Parsing a frozen mail costs more than everything else that a worker does with it."""
    seen = as_checked(_claim(database_url, note(cc="ann@mail.example", html="<p>Hi</p>")), CHECKS)
    assert seen.html is None
    assert [address.key for _, address in seen.recipients] == [
        "zoe@mail.example",
        "ann@mail.example",
    ]


def test_mails_of_one_kind_keep_their_own_recipients(database_url: str) -> None:
    """What they share is made once; whom a check is asked about is read from each claim."""
    first, second = (
        as_checked(_claim(database_url, note(to=to)), CHECKS)
        for to in (["ann@mail.example"], ["bob@mail.example", "zoe@mail.example"])
    )
    assert [one.key for one in first.to] == ["ann@mail.example"]
    assert [one.key for one in second.to] == ["bob@mail.example", "zoe@mail.example"]
    assert (first.sender, first.cc, first.bcc) == (second.sender, (), ())
    assert first == first.replace()


def test_a_check_of_your_own_sees_the_whole_mail_at_dispatch(database_url: str) -> None:
    """Nobody else's check is guessed about."""
    seen: dict[Phase, Message] = {}

    def remember(message: Message, context: Context) -> None:
        seen[context.phase] = message

    with front_desk(database_url, checks=(*CHECKS, remember)) as mail:
        mail.deliver(note(html="<p>Hi</p>", cc="ann@mail.example"))
    intake, dispatch = seen[Phase.INTAKE], seen[Phase.DISPATCH]
    assert (dispatch.subject, dispatch.html, dispatch.cc) == (
        intake.subject,
        intake.html,
        intake.cc,
    )


@pytest.mark.parametrize("name", ["List-Unsubscribe", "LIST-UNSUBSCRIBE"])
def test_the_rules_about_leaving_see_the_headers_for_it(database_url: str, name: str) -> None:
    """However an author spells them; a body that speaks of them is not looked at."""
    pair = {
        name: "<https://leave.shop.example/u>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }
    seen = as_checked(_claim(database_url, note(stream="operational", headers=pair)), CHECKS)
    assert dict(seen.headers)[name] == pair[name]
    plain = as_checked(_claim(database_url, note(text="Hi\nList-Unsubscribe: x")), CHECKS)
    assert plain.subject == ""


def test_when_it_was_to_leave_is_known_to_the_checks(database_url: str) -> None:
    """A scheduled mail takes its tokens at its first attempt."""
    claim = _claim(database_url, note())
    settings = dict(claim.settings) | {"send_at": "2026-03-01T12:00:00+00:00"}
    scheduled = replace(claim, settings=settings)
    assert as_checked(scheduled, CHECKS).send_at is not None


def test_those_in_copy_are_tried_again_when_the_first_has_it(database_url: str) -> None:
    """An attempt for somebody in copy alone is a mail without a To, and no error."""
    fake = FakeAdapter()
    fake.for_recipient("ann@mail.example", FakeMode.REJECT_TEMPORARY)
    with front_desk(database_url, fake) as mail:
        first = mail.deliver(note(cc="ann@mail.example"))
        fake.clear()
        assert mail.dispatch_due() == 1
        states = {one.state for one in mail.deliveries_of(first.message_id)}
    assert states == {DispatchState.SENT}


def test_a_changed_payload_is_refused_before_anything_reads_it(database_url: str) -> None:
    """What is not parsed is still compared with its hash."""
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail:
        claim = mail.dispatcher.claim("default", mail.deliver_later(note()).message_id)
        assert claim is not None
        error = mail.dispatcher.attempt(replace(claim, payload=b"To: x\r\n\r\n")).error
    assert isinstance(error, SendError)
    assert error.type is SendErrorType.SERIALIZATION_FAILED
    assert fake.sent == ()
