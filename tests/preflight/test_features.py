"""Features: who has one, why, and that no mail is lost while sending is switched off."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import psycopg
import pytest

from front_desk import BULK, HERE, front_desk, note
from mailglass import ConfigError, DispatchState, EventType, Mailglass, SendError, Stream, tenant
from mailglass.adapters.fake import FakeAdapter
from mailglass.errors import EventLedgerImmutableError
from mailglass.ledger.features import SENDING, WHOLE, FeatureRule, FeatureStore
from mailglass.preflight.features import bucket_of, decide
from mailglass.worker import Worker

PEOPLE = [f"user-{number}" for number in range(2000)]


def _rule(share: int, **changes: Any) -> FeatureRule:
    fields: dict[str, Any] = {
        "name": "new_receipt",
        "tenant_id": None,
        "stream": None,
        "share": share,
        "changed_by": "ann",
        "why": None,
        "updated_at": datetime(2026, 3, 1, tzinfo=UTC),
    }
    return FeatureRule(**(fields | changes))


def _having(share: int, name: str = "new_receipt") -> set[str]:
    rules = [_rule(share, name=name)]
    return {one for one in PEOPLE if decide(name, rules, tenant_id="t", subject=one).is_on}


def test_a_raised_share_keeps_everybody_who_had_it() -> None:
    """From 0 to all in steps: each step adds some and takes the feature from nobody."""
    steps = [_having(share) for share in (0, 500, 1000, 2000, 5000, 9999, WHOLE)]
    for before, after in pairwise(steps):
        assert before <= after
    assert not steps[0]
    assert len(steps[-1]) == len(PEOPLE)


def test_a_share_is_about_that_many() -> None:
    """A quarter of 2,000 subjects is 500, give or take five standard deviations."""
    assert 400 < len(_having(2500)) < 600


def test_each_feature_meets_other_people_first() -> None:
    """Two features at one half share about a quarter, not the same half."""
    assert 380 < len(_having(5000) & _having(5000, "other")) < 620


def test_a_subjects_place_never_changes() -> None:
    """Another release, machine or language has to find the same."""
    assert [bucket_of("new_receipt", one) for one in ("user-1", "user-2", "")] == [3625, 7303, 3936]


@pytest.mark.parametrize(
    ("tenant_id", "stream", "is_on"),
    [
        ("acme", Stream.BULK, True),
        ("acme", Stream.OPERATIONAL, False),
        ("other", Stream.BULK, False),
        ("other", None, True),
    ],
)
def test_the_most_specific_rule_decides(
    tenant_id: str, stream: Stream | None, *, is_on: bool
) -> None:
    """Tenant and stream, then tenant, then stream, then all."""
    rules = [
        _rule(WHOLE),
        _rule(0, stream=Stream.BULK),
        _rule(0, tenant_id="acme"),
        _rule(WHOLE, tenant_id="acme", stream=Stream.BULK),
    ]
    assert decide("new_receipt", rules, tenant_id=tenant_id, stream=stream).is_on is is_on


def test_what_nobody_speaks_of_is_off_and_sending_is_on() -> None:
    """A feature waits to be switched on; sending waits to be switched off."""
    assert not decide("new_receipt", [], tenant_id="t").is_on
    assert decide(SENDING, [], tenant_id="t").is_on


def test_no_rule_lifts_another_ones_stop() -> None:
    """A tenant cannot be let out of a stop for everybody."""
    rules = [_rule(0, name=SENDING), _rule(WHOLE, name=SENDING, tenant_id="acme")]
    assert not decide(SENDING, rules, tenant_id="acme").is_on


def test_the_desk_answers_for_the_current_tenant(database_url: str) -> None:
    """Application code asks ``mail.features``."""
    with front_desk(database_url) as mail:
        _store(mail).set("new_receipt", WHOLE, by="ann", tenant_id="acme")
        with tenant("acme"):
            assert mail.features.is_on("new_receipt")
            assert mail.features.explain("new_receipt").why == "on for tenant acme"
        with tenant("other"):
            assert not mail.features.is_on("new_receipt")


def _store(mail: Mailglass) -> FeatureStore:
    return FeatureStore(store=mail.store)


def test_a_share_is_not_made_smaller_by_accident(database_url: str) -> None:
    """Off, and saying so, are the two ways to take a feature from somebody."""
    with front_desk(database_url) as mail:
        features = _store(mail)
        features.set("new_receipt", 2000, by="ann")
        with pytest.raises(ConfigError) as caught:
            features.set("new_receipt", 1000, by="ann")
        assert caught.value.key == "new_receipt"
        features.set("new_receipt", 1000, by="ann", may_shrink=True)
        features.set("new_receipt", 3000, by="ann")
        features.set("new_receipt", 0, by="ann")
        assert [one.share for one in features.rules()] == [0]


def test_every_change_is_on_record(database_url: str) -> None:
    """Who, when, from what to what, and why; a rule that was taken away as well."""
    with front_desk(database_url) as mail:
        features = _store(mail)
        features.set(SENDING, 0, by="ann", tenant_id="acme", stream=Stream.BULK, why="bounces")
        features.set(SENDING, None, by="bob", tenant_id="acme", stream=Stream.BULK)
        told = [
            (one.share_before, one.share, one.changed_by, one.why, one.tenant_id, one.stream)
            for one in features.history(SENDING)
        ]
        assert told == [
            (0, None, "bob", None, "acme", Stream.BULK),
            (None, 0, "ann", "bounces", "acme", Stream.BULK),
        ]
        assert features.rules() == ()


@pytest.mark.parametrize(
    "statement",
    [
        "update mailglass.feature_history set changed_by = 'x'",
        "delete from mailglass.feature_history",
        "truncate mailglass.feature_history",
        "delete from mailglass.features",
    ],
)
def test_the_record_is_not_changed(database_url: str, statement: str) -> None:
    """Not even by the owner of the tables."""
    with front_desk(database_url) as mail:
        _store(mail).set("new_receipt", WHOLE, by="ann")
    with psycopg.connect(database_url) as owner:
        with pytest.raises(psycopg.DatabaseError) as caught:
            owner.execute(statement.encode())
    assert caught.value.sqlstate == "45A01"


def test_the_application_cannot_forge_the_record(database_url: str) -> None:
    """It reads the history; the trigger alone writes it."""
    with front_desk(database_url) as mail, mail.store.connection() as connection:
        with pytest.raises((psycopg.errors.InsufficientPrivilege, EventLedgerImmutableError)):
            connection.execute(
                "insert into mailglass.feature_history (name, changed_by) values ('x', 'y')"
            )


@pytest.mark.parametrize("remark", ["zoe@mail.example", "", "two\nlines"])
def test_the_record_holds_no_address(database_url: str, remark: str) -> None:
    """It outlives erasure."""
    with front_desk(database_url) as mail:
        for by, why in ((remark, None), ("ann", remark)):
            with pytest.raises(SendError):
                _store(mail).set("new_receipt", 0, by=by, why=why)


def test_sending_has_no_share(database_url: str) -> None:
    """A switch that works for some is not one; the database agrees."""
    with front_desk(database_url) as mail, pytest.raises(ConfigError):
        _store(mail).set(SENDING, 5000, by="ann")


def _drain(mail: Mailglass) -> None:
    """Dispatch until nothing is due; stopped mail must not come up again and again."""
    assert any(not mail.dispatch_due() for _ in range(10))


def _bulk(**changes: Any) -> Any:
    given = {"stream": "bulk", "mailable": "shop.News", "text": f"News. {HERE}"}
    return note(**(given | changes))


@pytest.mark.parametrize(
    "scope",
    [
        {},
        {"tenant_id": "acme"},
        {"stream": Stream.BULK},
        {"tenant_id": "acme", "stream": Stream.BULK},
    ],
    ids=str,
)
def test_stopped_mail_stays_queued_and_leaves_when_it_may(
    database_url: str, scope: dict[str, Any]
) -> None:
    """Nothing is lost, no attempt is used up, and nothing is written of what was not tried."""
    fake = FakeAdapter()
    with front_desk(database_url, fake, **BULK) as mail, tenant("acme"):
        _store(mail).set(SENDING, 0, by="ann", **scope)
        now = mail.deliver(_bulk())
        later = mail.deliver_later(_bulk())
        _drain(mail)
        assert fake.sent == ()
        for one in (now, later):
            found = mail.delivery(one.id)
            assert found is not None
            assert (found.state, found.attempts) == (DispatchState.QUEUED, 0)
            assert [event.type for event in mail.events(one.id)] == [EventType.QUEUED]
        _store(mail).set(SENDING, None, by="ann", **scope)
        _drain(mail)
        assert len(fake.sent) == 2


def test_other_tenants_and_streams_are_not_held_up(database_url: str) -> None:
    """However much of the stopped mail stands in front of them."""
    fake = FakeAdapter()
    with front_desk(database_url, fake, **BULK) as mail:
        _store(mail).set(SENDING, 0, by="ann", tenant_id="acme", stream=Stream.BULK)
        with tenant("acme"):
            mail.deliver_many([_bulk(to=f"a{number}@x.example") for number in range(150)])
            mail.deliver_later(note())
        with tenant("other"):
            mail.deliver_later(_bulk())
        _drain(mail)
        assert sorted(one.envelope.tenant_id for one in fake.sent) == ["acme", "other"]


def test_what_an_operator_held_stays_held(database_url: str) -> None:
    """Switching sending on again releases what the switch held, and nothing else."""
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail:
        delivery = mail.deliver_later(note())
        mail.outbox.hold(delivery.id, actor="ann")
        for share in (0, None):
            _store(mail).set(SENDING, share, by="ann")
            mail.dispatch_due()
        assert fake.sent == ()


def test_what_an_operator_holds_of_stopped_mail_stays_held(database_url: str) -> None:
    """The switch held it first; the operator's word outlasts it."""
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail:
        delivery = mail.deliver_later(note())
        _store(mail).set(SENDING, 0, by="ann")
        mail.dispatch_due()
        mail.outbox.hold(delivery.id, actor="ann")
        _store(mail).set(SENDING, None, by="ann")
        mail.dispatch_due()
        assert fake.sent == ()
        mail.outbox.release(delivery.id, actor="ann")
        mail.dispatch_due()
        assert len(fake.sent) == 1


def test_stopped_mail_can_be_cancelled(database_url: str) -> None:
    """And does not leave afterwards."""
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail:
        _store(mail).set(SENDING, 0, by="ann")
        delivery = mail.deliver_later(note())
        mail.dispatch_due()
        assert mail.cancel(delivery.id)
        _store(mail).set(SENDING, None, by="ann")
        mail.dispatch_due()
        mail.dispatch_due()
        assert fake.sent == ()


def test_what_was_claimed_just_before_is_given_back(database_url: str) -> None:
    """A claim that waits for its thread when the switch falls does not leave any more."""
    fake = FakeAdapter()
    with front_desk(database_url, fake) as mail:
        delivery = mail.deliver_later(note())
        (claim,) = mail.dispatcher.claim_due(Stream.TRANSACTIONAL, limit=5)
        _store(mail).set(SENDING, 0, by="ann")
        with tenant("default"):
            mail.dispatcher.finalize([mail.dispatcher.attempt(claim)])
        found = mail.delivery(delivery.id)
        assert found is not None
        assert (found.state, found.attempts) == (DispatchState.QUEUED, 0)
    assert fake.sent == ()


def test_a_running_worker_stops_and_goes_on_within_seconds(database_url: str) -> None:
    """Both ways, without a restart."""
    fake = FakeAdapter()
    stopped = threading.Event()
    with front_desk(database_url, fake) as mail:
        worker = threading.Thread(target=Worker(mail=mail, poll_s=0.2).run, args=(stopped,))
        worker.start()
        try:
            mail.deliver_later(note())
            assert _comes_true(lambda: len(fake.sent) == 1)
            _store(mail).set(SENDING, 0, by="ann")
            mail.deliver_later(note())
            assert not _comes_true(lambda: len(fake.sent) > 1, within_s=2.0)
            _store(mail).set(SENDING, WHOLE, by="ann")
            began = time.monotonic()
            assert _comes_true(lambda: len(fake.sent) == 2)
            assert time.monotonic() - began < 5
        finally:
            stopped.set()
            worker.join()


def _comes_true(what: Any, *, within_s: float = 10.0) -> bool:
    end = time.monotonic() + within_s
    pause = threading.Event()
    while time.monotonic() < end:
        if what():
            return True
        pause.wait(0.02)
    return bool(what())
