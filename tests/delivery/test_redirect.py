"""Redirection: who gets a mail outside production, what it still counts as, and what stays here."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from front_desk import front_desk, note, rows
from mailglass import (
    ConfigError,
    DispatchState,
    Message,
    RateLimitError,
    SendError,
    StoredTemplate,
    SuppressedError,
    Suppression,
    SuppressionReason,
    SuppressionScope,
    load_settings,
)
from mailglass.adapters.fake import FakeAdapter
from mailglass.delivery.finish import Finishing
from mailglass.delivery.redirect import HEADER, Redirect
from mailglass.message import RecipientKind
from mailglass.rendering import mime

ME = "dev@team.example"


def _crowd(**changes: Any) -> Message:
    given: dict[str, Any] = {
        "to": ["Zoe <zoe@mail.example>", "yan@mail.example"],
        "cc": "cleo@other.example",
        "bcc": "bob@mail.example",
    }
    return note(**(given | changes))


def _redirect(**settings: Any) -> Redirect:
    return Redirect.of(load_settings(**settings))


def _shown(message: Message) -> list[tuple[str, str]]:
    return [(kind.value, one.addr_spec) for kind, one in message.recipients]


def test_everybody_is_replaced_by_one_recipient(database_url: str) -> None:
    """To, Cc and Bcc alike: one mail, to one address, which says whom it was for."""
    fake = FakeAdapter()
    with front_desk(database_url, fake, deliver_to=ME) as mail:
        delivery = mail.deliver(_crowd())
        assert [one.id for one in mail.deliveries_of(delivery.message_id)] == [delivery.id]
    (sent,) = fake.sent
    assert [one.address.addr_spec for one in sent.recipients] == [ME]
    thawed = mime.thaw(sent.envelope.payload)
    assert [one.addr_spec for one in (*thawed.to, *thawed.cc)] == [ME]
    assert dict(thawed.headers)[HEADER] == (
        "zoe@mail.example, yan@mail.example, cleo@other.example, bob@mail.example"
    )


def test_the_originals_stand_in_no_column_and_in_no_event(database_url: str) -> None:
    """Whom it was for is in the frozen bytes alone, which are scrubbed in time."""
    with front_desk(database_url, deliver_to=ME) as mail:
        mail.deliver(_crowd())
    with psycopg.connect(database_url) as owner:
        told = [
            str(row)
            for table in ("events", "deliveries", "event_keys")
            for row in owner.execute(f"select t::text from mailglass.{table} t".encode())
        ]
        told += [
            str(row)
            for row in owner.execute("select settings::text, mail_from from mailglass.messages")
        ]
    assert "mail.example" not in "".join(told)


def test_a_long_list_of_originals_is_cut() -> None:
    """The header keeps within its limits, and says how many are left out."""
    long = [f"{'x' * 60}{number}@{'y' * 60}.example" for number in range(50)]
    with pytest.raises(SendError):
        _redirect(allowed_recipients=()).of_message(note(to=long))
    frozen: list[str] = []
    redirect = _redirect(deliver_to=ME)

    def freeze(message: Message, finishing: Any) -> Any:
        frozen.append(finishing.original_to)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        redirect.frozen(note(to=long), Finishing(), freeze)
    assert len(frozen[0]) < 2_100
    assert frozen[0].endswith(" more")


def test_who_is_allowed_gets_their_own_mail() -> None:
    """Others are replaced, in the place of the first of them, and named once."""
    redirect = _redirect(deliver_to=ME, allowed_recipients=("Cleo@OTHER.example", "team.example"))
    sent, replaced = redirect.of_message(_crowd(cc=["cleo@other.example", "ann@team.example"]))
    assert _shown(sent) == [
        ("to", ME),
        ("cc", "cleo@other.example"),
        ("cc", "ann@team.example"),
    ]
    assert [one.local for one in replaced] == ["zoe", "yan", "bob"]
    assert redirect.of_message(note(to="cleo@other.example"))[1] == ()


def test_a_mail_to_the_stand_in_is_left_alone() -> None:
    """Nothing was replaced, so nothing is added."""
    message = note(to=ME.upper())
    assert _redirect(deliver_to=ME).of_message(message) == (message, ())


@pytest.mark.parametrize(
    ("listed", "is_allowed"),
    [
        ("zoe@mail.example", True),
        ("ZOE@MAIL.Example", True),
        ("mail.example", True),
        ("@Mail.Example", True),
        ("example", False),
        ("sub.mail.example", False),
        ("zoe+x@mail.example", False),
    ],
)
def test_the_list_takes_addresses_and_domains(listed: str, *, is_allowed: bool) -> None:
    """Capitals do not matter; a domain is not those below it, a tag is another address."""
    redirect = _redirect(allowed_recipients=(listed,))
    if is_allowed:
        assert redirect.of_message(note())[1] == ()
        return
    with pytest.raises(SendError) as caught:
        redirect.of_message(note())
    assert caught.value.code == "recipient_not_allowed"
    assert "zoe" not in f"{caught.value!r}"


@pytest.mark.parametrize("kind", list(RecipientKind))
def test_one_stranger_refuses_the_mail_before_any_row(
    database_url: str, kind: RecipientKind
) -> None:
    """A copy is a mail too."""
    given: dict[str, Any] = {"to": ME, kind.value: ["zoe@mail.example"]}
    with front_desk(database_url, allowed_recipients=["team.example"]) as mail:
        with pytest.raises(SendError) as caught:
            mail.deliver(note(**given))
        assert caught.value.type.value == "preflight_rejected"
        (late,) = mail.deliver_many([note(**given)])
        assert isinstance(late.error, SendError)
        assert mail.deliver(note(to=ME)).state is DispatchState.SENT
    assert rows(database_url)["messages"] == 1


def test_suppression_sees_whom_the_mail_was_for(database_url: str) -> None:
    """What production would refuse is refused here, and recorded for that recipient."""
    fake = FakeAdapter()
    with front_desk(database_url, fake, deliver_to=ME) as mail:
        mail.suppress(_refusal("zoe@mail.example"))
        with pytest.raises(SuppressedError):
            mail.deliver(note())
    assert fake.sent == ()
    with psycopg.connect(database_url) as owner:
        row = owner.execute("select address::text, state from mailglass.deliveries").fetchone()
    assert row == ("zoe@mail.example", "suppressed")


def test_suppression_sees_who_really_gets_it(database_url: str) -> None:
    """A developer who has had enough is left in peace as anybody."""
    fake = FakeAdapter()
    with front_desk(database_url, fake, deliver_to=ME) as mail:
        mail.suppress(_refusal(ME))
        with pytest.raises(SuppressedError):
            mail.deliver(note())
    assert fake.sent == ()


def test_rate_limits_see_whom_the_mail_was_for(database_url: str) -> None:
    """A limit by domain works as in production, not as if all mail went to one domain."""
    limit = {"capacity": 1, "per_s": 0.001}
    given: dict[str, Any] = {"stream": "operational"}
    with front_desk(database_url, deliver_to=ME, rate_limit_per_domain=limit) as mail:
        mail.deliver(note(to="a@one.example", **given))
        mail.deliver(note(to="a@two.example", **given))
        with pytest.raises(RateLimitError):
            mail.deliver(note(to="b@one.example", **given))


def test_a_repetition_is_known_whichever_way_the_redirection_stands(database_url: str) -> None:
    """The key belongs to the mail as it was written: the same is found, another is a mismatch."""
    with front_desk(database_url, deliver_to=ME) as mail:
        first = mail.deliver_later(note(idempotency_key="k"))
        assert mail.deliver_later(note(idempotency_key="k")).id == first.id
        with pytest.raises(SendError) as caught:
            mail.deliver_later(note(idempotency_key="k", to="yan@mail.example"))
        assert caught.value.code == "idempotency_mismatch"
    with front_desk(database_url) as mail:
        assert mail.deliver_later(note(idempotency_key="k")).id == first.id


@pytest.mark.parametrize("settings", [{"deliver_to": ME}, {"allowed_recipients": ["team.example"]}])
def test_mail_frozen_for_a_stranger_stays_queued(
    database_url: str, settings: dict[str, Any]
) -> None:
    """A copy of production's queue reaches nobody, and is there when the settings change back."""
    fake = FakeAdapter()
    with front_desk(database_url) as mail:
        delivery = mail.deliver_later(_crowd())
    with front_desk(database_url, fake, **settings) as copy:
        copy.dispatch_due()
        found = copy.delivery(delivery.id)
        assert found is not None
        assert (found.state, found.code) == (DispatchState.QUEUED, "recipient_not_allowed")
    assert fake.sent == ()


def test_who_stands_in_sees_the_first_ones_variables() -> None:
    """A stored template of the provider shows what its first recipient would have seen."""
    stored = StoredTemplate(id="t", per_recipient={"zoe@mail.example": {"name": "Zoe"}})
    sent, _ = _redirect(deliver_to=ME).of_message(note(stored_template=stored))
    assert sent.stored_template is not None
    assert sent.stored_template.per_recipient == {ME: {"name": "Zoe"}}


@pytest.mark.parametrize(
    ("settings", "key", "kind"),
    [
        ({"deliver_to": "secret person"}, "deliver_to", "invalid"),
        ({"allowed_recipients": ["a@b@c"]}, "allowed_recipients", "invalid"),
        ({"deliver_to": ME, "environment": "production"}, "deliver_to", "conflicting"),
    ],
)
def test_wrong_settings_are_told_at_boot(settings: dict[str, Any], key: str, kind: str) -> None:
    """And the address that is wrong is not repeated."""
    with pytest.raises(ConfigError) as caught:
        _redirect(**settings)
    assert (caught.value.key, caught.value.type.value) == (key, kind)
    assert "secret" not in f"{caught.value!r}"


def _refusal(address: str) -> Suppression:
    return Suppression(
        scope=SuppressionScope.ADDRESS,
        value=address,
        reason=SuppressionReason.MANUAL,
        source="test",
    )
