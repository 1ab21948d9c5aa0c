"""Routes and failover: who carries a mail, who follows, and when nobody may."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from front_desk import note
from mailglass import (
    ConfigError,
    DispatchState,
    FailureClass,
    Mailglass,
    MailglassError,
    SendError,
    Stream,
    tenant,
)
from mailglass.adapters.fake import FakeAdapter, FakeMode, SimulatedCrash
from mailglass.adapters.from_settings import adapters_from
from mailglass.delivery.breakers import Breakers
from mailglass.delivery.routing import Router, fails_over
from mailglass.envelope import Verdict
from mailglass.errors import ConfigErrorType
from mailglass.failures import TABLE, Signal, class_of
from mailglass.headers import refuse
from mailglass.settings import Route, load_settings
from routed import departures, pair, routed, sql, told

NEVER = {FailureClass.PERMANENT, FailureClass.UNKNOWN, FailureClass.SUPPRESSED, None}


def _code(signal: Signal) -> str:
    return "http 409 concurrent" if signal is Signal.HTTP_IDEMPOTENCY_CONCURRENT else signal.value


@pytest.mark.parametrize("signal", TABLE, ids=str)
def test_only_what_nobody_accepted_fails_over(signal: Signal) -> None:
    """The whole closed table: no unknown, no refusal for good, no request that still runs."""
    verdict = Verdict(delivery_id=uuid4(), failure_class=class_of(signal), code=_code(signal))
    is_running = signal is Signal.HTTP_IDEMPOTENCY_CONCURRENT
    assert fails_over(verdict) is (verdict.failure_class not in NEVER and not is_running)


MODES = {
    FakeMode.ACCEPT: ("main", "sent"),
    FakeMode.REJECT_TEMPORARY: ("backup", "sent"),
    FakeMode.RATE_LIMITED: ("backup", "sent"),
    FakeMode.BAD_CREDENTIALS: ("backup", "sent"),
    FakeMode.REJECT_PERMANENT: ("main", "failed"),
    FakeMode.SUPPRESSED: ("main", "suppressed"),
    FakeMode.UNKNOWN_TIMEOUT: ("main", "unknown"),
    FakeMode.ACCEPTED_THEN_CRASH: ("main", "sending"),
    FakeMode.CRASH_BEFORE_SEND: ("main", "sending"),
}


@pytest.mark.parametrize("mode", FakeMode, ids=str)
def test_what_a_provider_does_decides_who_ends_up_with_the_mail(
    database_url: str, mode: FakeMode
) -> None:
    """Every way in which the first can fail, seen from the database."""
    main, backup = pair()
    main.next(mode)
    with routed(database_url, {"main": main, "backup": backup}) as mail:
        try:
            mail.deliver(note())
        except (MailglassError, SimulatedCrash):
            assert MODES[mode][1] != "sent"
        (found,) = sql(
            database_url,
            "select m.adapter_ref, m.state, m.attempts from mailglass.messages m",
        )
        assert found == (*MODES[mode], 1)
        assert len(backup.sent) == (MODES[mode][0] == "backup")
        assert mail.store.broken_chains() == ()


def test_each_hop_is_told_with_its_reason(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A failover that nobody sees is a bug: events, delivery and telemetry name the adapter."""
    main, backup = pair()
    main.next(FakeMode.REJECT_TEMPORARY)
    with routed(database_url, {"main": main, "backup": backup}) as mail:
        delivery = mail.deliver(note())
        assert delivery.state is DispatchState.SENT
        assert told(mail, delivery) == [
            ("queued", None),
            ("attempt_started", None),
            ("attempt_failed", "main"),
            ("attempt_started", None),
            ("routed", None),
            ("dispatched", "backup"),
        ]
        assert departures(mail, delivery) == [("main", "backup", "refused")]
        failed = mail.events(delivery.id)[2].payload
        assert (failed["next_adapter"], failed["code"]) == ("backup", "450 4.0.0")
        assert mail.events(delivery.id)[-1].payload["provider_name"] == "fake"
        assert (
            mail.events(delivery.id)[-1].payload["provider_message_id"]
            == delivery.provider_message_id
        )
        kept = sql(database_url, "select d.adapter_ref, d.provider from mailglass.deliveries d")
        assert kept == [("backup", "fake")]
    assert "attempt.routed" in caplog.text


def test_when_all_refuse_it_waits_and_begins_anew(database_url: str) -> None:
    """A round has one turn for each adapter and costs one attempt."""
    adapters = {name: FakeAdapter() for name in ("one", "two", "three")}
    for each in adapters.values():
        each.next(FakeMode.REJECT_TEMPORARY)
    with routed(database_url, adapters) as mail:
        delivery = mail.deliver(note())
        assert (delivery.state, delivery.attempts) == (DispatchState.QUEUED, 1)
        assert departures(mail, delivery) == [
            ("one", "two", "refused"),
            ("two", "three", "refused"),
        ]
        assert mail.dispatch(delivery.id).state is DispatchState.SENT
        assert len(adapters["one"].sent) == 1


def test_the_turn_of_another_adapter_takes_no_second_token(database_url: str) -> None:
    """A scheduled mail takes its rate tokens once, however many adapters it tries."""
    main, backup = pair()
    main.next(FakeMode.REJECT_TEMPORARY)
    limit = {"capacity": 1, "per_s": 0.0001}
    both = {"main": main, "backup": backup}
    with routed(database_url, both, rate_limit_per_tenant=limit, breaker=None) as mail:
        soon = datetime.now(UTC) + timedelta(hours=1)
        delivery = mail.deliver_later(note(stream=Stream.OPERATIONAL, send_at=soon))
        sql(database_url, "update mailglass.messages set run_at = now()")
        assert mail.dispatch(delivery.id).state is DispatchState.SENT
        assert len(backup.sent) == 1


def test_failover_needs_no_attempt_that_is_left(database_url: str) -> None:
    """One attempt may still go by each adapter of the route."""
    main, backup = pair()
    main.next(FakeMode.REJECT_TEMPORARY)
    with routed(database_url, {"main": main, "backup": backup}, attempts_max=1) as mail:
        assert mail.deliver(note()).state is DispatchState.SENT


def test_recipients_who_have_it_are_left_out_of_the_failover(database_url: str) -> None:
    """One recipient was accepted, the other was asked to come later: only that one goes on."""
    main, backup = pair()
    main.for_recipient("zoe@mail.example", FakeMode.REJECT_TEMPORARY)
    with routed(database_url, {"main": main, "backup": backup}) as mail:
        mail.deliver(note(to=["ann@mail.example", "zoe@mail.example"]))
    assert [[one.address.key for one in each.recipients] for each in backup.sent] == [
        ["zoe@mail.example"]
    ]


def test_while_one_recipient_is_unknown_nobody_else_gets_the_mail(database_url: str) -> None:
    """The unknown one is bound to its provider, and so is the message."""
    main, backup = pair()
    main.for_recipient("ann@mail.example", FakeMode.UNKNOWN_TIMEOUT)
    main.for_recipient("zoe@mail.example", FakeMode.REJECT_TEMPORARY)
    with routed(database_url, {"main": main, "backup": backup}) as mail:
        delivery = mail.deliver_later(note(to=["ann@mail.example", "zoe@mail.example"]))
        mail.dispatch_message("default", delivery.message_id)
        kept = sql(database_url, "select m.token, m.routing from mailglass.messages m")
        assert kept == [(1, "fixed")]
        for _ in range(3):
            mail.dispatch_message("default", delivery.message_id)
    assert backup.sent == ()


def test_after_an_unknown_only_the_same_adapter_tries_again(database_url: str) -> None:
    """Its idempotency key means nothing elsewhere."""
    main, backup = FakeAdapter(honours_idempotency_key=True), FakeAdapter()
    main.next(FakeMode.UNKNOWN_TIMEOUT)
    main.next(FakeMode.REJECT_TEMPORARY)
    with routed(database_url, {"main": main, "backup": backup}) as mail:
        with pytest.raises(SendError):
            mail.deliver(note())
        assert mail.sweep().requeued == 1
        mail.dispatch_due()
        assert (main.sent, backup.sent) == ((), ())
        mail.dispatch_due()
        assert len(main.sent) == 1


def test_an_operator_may_name_the_adapter(database_url: str) -> None:
    """Then it goes by that one and by no other."""
    main, backup = pair()
    main.next(FakeMode.REJECT_PERMANENT)
    backup.next(FakeMode.REJECT_TEMPORARY)
    with routed(database_url, {"main": main, "backup": backup}) as mail:
        with pytest.raises(SendError) as caught:
            mail.deliver(note())
        assert caught.value.delivery_id is not None
        again = mail.outbox.retry(caught.value.delivery_id, actor="ann", adapter_ref="backup")
        mail.dispatch(again.id)
        assert (main.sent, backup.sent) == ((), ())
        assert mail.dispatch(again.id).state is DispatchState.SENT
        assert len(backup.sent) == 1


def test_a_retry_of_what_was_given_up_as_unknown_stays_with_its_adapter(database_url: str) -> None:
    """The one that may have it is the one that may notice the second."""
    main, backup = pair()
    main.next(FakeMode.UNKNOWN_TIMEOUT)
    main.next(FakeMode.REJECT_TEMPORARY)
    with routed(database_url, {"main": main, "backup": backup}) as mail:
        with pytest.raises(SendError) as caught:
            mail.deliver(note())
        found = caught.value.delivery_id
        assert found is not None
        sql(database_url, "update mailglass.messages set updated_at = now() - interval '4 days'")
        assert mail.sweep().given_up == 1
        again = mail.outbox.retry(found, actor="ann", confirm_duplicate_risk=True)
        assert mail.dispatch(again.id).state is DispatchState.QUEUED
        assert backup.sent == ()


def test_routes_are_by_tenant_and_stream(database_url: str) -> None:
    """The first that fits counts."""
    adapters = {name: FakeAdapter() for name in ("main", "codes", "theirs")}
    routes = [
        {"tenant": "acme", "adapters": ["theirs"]},
        {"stream": "operational", "adapters": ["codes"]},
        {"adapters": ["main"]},
    ]
    with routed(database_url, adapters, routes=routes) as mail:
        mail.deliver(note())
        mail.deliver(note(stream=Stream.OPERATIONAL))
        with tenant("acme"):
            mail.deliver(note(stream=Stream.OPERATIONAL))
    assert [len(adapters[name].sent) for name in ("main", "codes", "theirs")] == [1, 1, 1]
    assert adapters["theirs"].sent[0].envelope.tenant_id == "acme"


def _router(route: Route, *names: str) -> Router:
    return Router.of(
        {name: FakeAdapter() for name in names},
        [route],
        Breakers(breakers=None, limits=None),  # type: ignore[arg-type]  # nothing is asked of it
    )


def test_weights_are_kept_and_a_message_keeps_its_place() -> None:
    """Chi-square over 10,000 ids, two degrees of freedom, bound for one false alarm in 10,000."""
    weights = {"a": 7.0, "b": 2.0, "c": 1.0}
    router = _router(Route(adapters=("a", "b", "c", "d"), weights=weights), "a", "b", "c", "d")
    ids = [uuid4() for _ in range(10_000)]
    orders = [router.order("t", Stream.BULK, one) for one in ids]
    firsts = Counter(order[0] for order in orders)
    chi = sum((firsts[ref] - 1000 * w) ** 2 / (1000 * w) for ref, w in weights.items())
    assert chi < 18.42
    assert all(order[3] == "d" and len(set(order)) == 4 for order in orders)
    assert orders == [router.order("t", Stream.BULK, one) for one in ids]


def test_a_new_adapter_takes_from_the_others_and_moves_nothing_else() -> None:
    """What did not move to the new one stays where it was."""
    old = _router(Route(adapters=("a", "b"), weights={"a": 1, "b": 1}), "a", "b")
    both = {"a": 1.0, "b": 1.0, "c": 1.0}
    new = _router(Route(adapters=("a", "b", "c"), weights=both), "a", "b", "c")
    for _ in range(500):
        one = uuid4()
        first = new.order("t", Stream.BULK, one)[0]
        assert first in {"c", old.order("t", Stream.BULK, one)[0]}


def test_a_drained_queue_goes_by_the_weights(database_url: str) -> None:
    """Claims in numbers are written down in one statement, and each goes where its id says."""
    main, backup = pair()
    route = {"adapters": ["main", "backup"], "weights": {"main": 1, "backup": 1}}
    with routed(database_url, {"main": main, "backup": backup}, routes=[route]) as mail:
        mail.deliver_many([note() for _ in range(60)])
        claims = mail.dispatcher.claim_due(Stream.TRANSACTIONAL, limit=60)
        mail.dispatcher.finalize([mail.dispatcher.attempt(one) for one in claims])
        for adapter, name in ((main, "main"), (backup, "backup")):
            for one in adapter.sent:
                of = mail.router.order("default", Stream.TRANSACTIONAL, one.envelope.message_id)
                assert of[0] == name
        assert len(main.sent) + len(backup.sent) == 60
        assert min(len(main.sent), len(backup.sent)) > 10
        wrong = sql(
            database_url,
            "select 1 from mailglass.messages m join mailglass.deliveries d on d.message_id = m.id"
            " where d.adapter_ref <> m.adapter_ref",
        )
        assert wrong == []


class Plain(FakeAdapter):
    """A fake that carries no tags."""

    def check(self, message: Any) -> None:
        """Refuse tags."""
        if message.tags:
            raise refuse("the fake carries no tags", code="unsupported_feature")


def test_what_one_adapter_of_the_route_cannot_carry_is_refused_at_once(database_url: str) -> None:
    """Failover would lose it at the worst moment."""
    with (
        routed(database_url, {"main": FakeAdapter(), "backup": Plain()}) as mail,
        pytest.raises(SendError),
    ):
        mail.deliver(note(tags=["receipt"]))


WRONG = {
    "an unknown adapter": ([{"adapters": ["nowhere"]}], ConfigErrorType.INVALID),
    "mail without a route": ([{"adapters": ["main"], "stream": "bulk"}], ConfigErrorType.MISSING),
    "no route at all": ([], ConfigErrorType.MISSING),
    "weights of a stranger": (
        [{"adapters": ["main"], "weights": {"backup": 1}}],
        ConfigErrorType.INVALID,
    ),
    "one adapter twice": ([{"adapters": ["main", "main"]}], ConfigErrorType.INVALID),
}


@pytest.mark.parametrize(("routes", "kind"), WRONG.values(), ids=WRONG.keys())
def test_a_route_that_leads_nowhere_is_refused_at_boot(
    database_url: str, routes: list[dict[str, Any]], kind: ConfigErrorType
) -> None:
    """Not at three in the morning, when the first mail takes it."""
    main, backup = pair()
    with (
        pytest.raises(ConfigError) as caught,
        routed(database_url, {"main": main, "backup": backup}, routes=routes),
    ):
        pass
    assert (caught.value.type, caught.value.key) == (kind, "routes")


def test_adapters_are_built_from_settings_by_their_names() -> None:
    """No credential of one reaches the other."""
    settings = load_settings(
        named_adapters={
            "relay": {"adapter": "smtp", "smtp_host": "relay.internal"},
            "spare": {"adapter": "fake"},
        },
        smtp_username="ann",
        smtp_password="secret",
    )
    built = adapters_from(settings)
    assert {name: one.name for name, one in built.items()} == {"relay": "smtp", "spare": "fake"}
    assert settings.named_adapters["relay"].smtp_username is None
    for one in built.values():
        one.close()


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"named_adapters": {"main": {}}}, ConfigErrorType.MISSING),
        (
            {"adapter": "fake", "named_adapters": {"default": {"adapter": "fake"}}},
            ConfigErrorType.CONFLICTING,
        ),
        ({"named_adapters": {"main": {"adapter": "smtp"}}}, ConfigErrorType.MISSING),
        ({"named_adapters": {"Main!": {"adapter": "fake"}}}, ConfigErrorType.INVALID),
    ],
    ids=str,
)
def test_adapters_that_are_not_described_are_refused(
    given: dict[str, Any], kind: ConfigErrorType
) -> None:
    """A name says which adapter it is, once."""
    with pytest.raises(ConfigError) as caught:
        adapters_from(load_settings(**given))
    assert caught.value.type is kind


def test_settings_alone_make_a_desk_with_failover(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two variables of the environment, no code."""
    named = '{"main": {"adapter": "fake"}, "backup": {"adapter": "fake"}}'
    monkeypatch.setenv("MAILGLASS_NAMED_ADAPTERS", named)
    monkeypatch.setenv("MAILGLASS_ROUTES", '[{"adapters": ["main", "backup"]}]')
    with Mailglass.from_env(database_url=database_url) as mail:
        main = mail.router.named("main")
        assert isinstance(main, FakeAdapter)
        main.next(FakeMode.BAD_CREDENTIALS)
        delivery = mail.deliver(note())
        assert departures(mail, delivery) == [("main", "backup", "refused")]


def test_the_single_adapter_of_the_settings_is_named_default() -> None:
    """What worked before routes goes on working."""
    assert list(adapters_from(load_settings())) == ["default"]


def test_a_mail_queued_before_a_route_changed_goes_by_the_new_one(database_url: str) -> None:
    """The adapter is decided when it leaves, not when it was queued."""
    main, backup = pair()
    both = {"main": main, "backup": backup}
    with routed(database_url, both) as mail:
        delivery = mail.deliver_later(note())
    with routed(database_url, both, routes=[{"adapters": ["backup"]}]) as mail:
        mail.dispatch(delivery.id)
        assert departures(mail, delivery) == []
    assert (len(main.sent), len(backup.sent)) == (0, 1)


@pytest.mark.tampers
def test_a_claim_that_was_lost_meanwhile_sends_nothing(database_url: str) -> None:
    """The choice is written under the fencing token, before any byte."""
    main, backup = pair()
    both = {"main": main, "backup": backup}
    with routed(database_url, both, routes=[{"adapters": ["backup"]}]) as mail:
        delivery = mail.deliver_later(note())
        sql(database_url, "update mailglass.messages set adapter_ref = 'main'")
        claim = mail.dispatcher.claim("default", delivery.message_id)
        assert claim is not None
        sql(database_url, "update mailglass.messages set token = token + 1")
        attempt = mail.dispatcher.attempt(claim)
        assert attempt.released == "claim_lost"
    assert (main.sent, backup.sent) == ((), ())


def test_a_choice_that_cannot_be_written_down_sends_nothing(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A crash would leave nobody who knows which provider to ask."""
    main, backup = pair()
    both = {"main": main, "backup": backup}
    weighted = [{"adapters": ["main", "backup"], "weights": {"main": 0.001, "backup": 1e6}}]
    with routed(database_url, both, routes=weighted) as mail:
        mail.deliver_later(note())
        sql(database_url, "update mailglass.messages set adapter_ref = 'main'")
        rows = mail.store.rows

        def cut(name: str, parameters: Any) -> Any:
            if name == "route_messages":
                raise psycopg.OperationalError
            return rows(name, parameters)

        mail.store.rows = cut  # type: ignore[method-assign]  # cuts one statement
        claims = mail.dispatcher.claim_due(Stream.TRANSACTIONAL, limit=5)
        attempts = [mail.dispatcher.attempt(one) for one in claims]
        assert [one.released for one in attempts] == ["claim_lost"]
        mail.store.rows = rows  # type: ignore[method-assign]  # and mends it
        mail.dispatcher.finalize(attempts)
        mail.dispatch_due()
    assert (main.sent, len(backup.sent)) == ((), 1)
    assert "worker.database_away" in caplog.text


def test_mail_without_a_route_goes_by_the_default(database_url: str) -> None:
    """No failover that nobody asked for."""
    adapters = {"default": FakeAdapter(), "spare": FakeAdapter()}
    with routed(database_url, adapters, routes=[]) as mail:
        mail.deliver(note())
    assert (len(adapters["default"].sent), adapters["spare"].sent) == (1, ())
