"""One seed: the product's dispatcher and sweeper over the model of the store, then every invariant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final, cast
from uuid import UUID

import psycopg
import pytest

from mailglass.address import parse_address
from mailglass.deliveries import DispatchState
from mailglass.delivery import claiming, dispatch, gate, settling, sweep
from mailglass.delivery.dispatch import Dispatcher
from mailglass.delivery.freeze import freeze
from mailglass.delivery.record import REPORTED
from mailglass.delivery.settling import Attempt
from mailglass.delivery.sweep import Sweeper
from mailglass.envelope import Verdict
from mailglass.errors import FailureClass
from mailglass.events import EventType
from mailglass.ids import new_id
from mailglass.ledger.rows import Claim, Move, Pending
from mailglass.ledger.store import Store
from mailglass.message import Message, OnUnknown, Stream
from mailglass.preflight import Check, Context, Phase, own_checks
from mailglass.preflight.suppression import no_recipient_is_suppressed
from mailglass.settings import Settings, load_settings
from mailglass.suppression import Suppression, SuppressionReason, SuppressionScope
from tests.faults.simulation.model import (
    ModelDelivery,
    ModelMessage,
    ModelStore,
    S,
    Tables,
)
from tests.faults.simulation.provider import LAG_S, Kind, Provider
from tests.faults.simulation.world import CALM, BreachError, Bug, Chances, DiedError, Turn, World

MESSAGES: Final = 6
STEPS: Final = 40
PROCESSES: Final = 3
DAY_S: Final = 86_400.0
ENDS: Final = frozenset(
    {"dispatched", "failed", "suppressed", "cancelled", "expired", "unknown_final", "quarantined",
     "reconciled"}
)  # fmt: skip


@cache
def _payload() -> bytes:
    message = Message(
        sender="orders@shop.example", to="zoe@mail.example", subject="Order", text="Thanks."
    )
    frozen = freeze(
        message, tenant_id="default", adapter_ref="default", now=datetime(2026, 3, 1, tzinfo=UTC)
    )
    return cast("bytes", frozen.parameters["payload"])


@cache
def _settings() -> Settings:
    return load_settings(rate_limit_per_domain=None)


@cache
def _thawed(addresses: tuple[str, ...]) -> Message:
    return Message(sender="orders@shop.example", to=addresses, subject="Order", text="Thanks.")


class _Dispatcher(Dispatcher):
    """The dispatcher as it is, but for the one write that the model takes in another way."""

    __slots__ = ()

    def _suppress_refused(self, claim: Claim, verdicts: tuple[Verdict, ...]) -> None:
        refused = {
            one.delivery_id for one in verdicts if one.failure_class is FailureClass.SUPPRESSED
        }
        for row in claim.recipients:
            if UUID(row["delivery_id"]) in refused:
                entry = Suppression(
                    scope=SuppressionScope.ADDRESS,
                    value=parse_address(row["address"]).key,
                    reason=SuppressionReason.INVALID_RECIPIENT,
                    source="simulation",
                )
                cast("ModelStore", self.store).add_suppression(new_id(), claim.tenant_id, entry)


@dataclass(slots=True, kw_only=True)
class Process:
    """A worker: dispatcher and sweeper over a store of its own; killed, another takes its place."""

    world: World
    tables: Tables
    provider: Provider
    store: ModelStore = field(init=False)
    unwritten: list[Attempt] = field(default_factory=list)
    turn: Turn = field(default_factory=Turn)
    is_busy: bool = False

    def __post_init__(self) -> None:
        """Start it."""
        self.store = ModelStore(self.world, self.tables)

    def step(self) -> None:
        """Take one turn; what a killed process had in its hands is gone."""
        if self.is_busy:
            return
        self.is_busy = True
        self.world.turns.append(self.turn)
        try:
            self._turn()
        except DiedError:
            self.restart()
        except psycopg.OperationalError:
            return  # as the worker does: wait, and go on with what is unwritten
        finally:
            self.world.turns.pop()
            self.is_busy = False

    def restart(self) -> None:
        """Be killed, and be another process."""
        self.store.die()
        self.store = ModelStore(self.world, self.tables)
        self.unwritten = []
        self.turn.late_until = 0.0

    def _turn(self) -> None:
        if self.world.dice.random() < 0.4:
            self.sweeper().sweep()
        else:
            self._work()

    def _work(self) -> None:
        dispatcher = self.dispatcher()
        claims = dispatcher.claim_due(Stream.TRANSACTIONAL, limit=self.world.dice.randint(1, 3))
        known = dispatcher.suppressions_of(claims)
        for claim in claims:
            self.world.point()
            self.unwritten.append(dispatcher.attempt(claim, known["default"]))
        if self.unwritten:
            self.world.point()
            dispatcher.finalize(self.unwritten)
            self.unwritten.clear()
            self.turn.late_until = min(self.turn.late_until, self.world.now + LAG_S)

    def sweeper(self) -> Sweeper:
        """Return the product's sweeper on this process's store."""
        store = cast("Store", self.store)
        return Sweeper(store=store, adapters={"default": self.provider}, settings=_settings())

    def dispatcher(self) -> Dispatcher:
        """Return the product's dispatcher on this process's store."""
        is_unchecked = self.world.bug is Bug.SUPPRESSION_AT_INTAKE_ONLY
        return _Dispatcher(
            store=cast("Store", self.store),
            settings=_settings(),
            checks=() if is_unchecked else (no_recipient_is_suppressed,),
            adapter_named=lambda _ref: self.provider,
            context_of=self._context,
            jitter=lambda bound: bound * self.world.dice.random(),
            lease_s=self.provider.capabilities.lease_s,
        )

    def _context(self, tenant_id: str, phase: Phase) -> Context:
        store = self.store
        return Context(
            tenant_id=tenant_id,
            phase=phase,
            settings=_settings(),
            suppressions=lambda values, stream: store.matching_suppressions(
                "default", values, stream
            ),
            take=lambda _request: None,
        )


@dataclass(slots=True, kw_only=True)
class Tally:
    """What a seed came to."""

    deliveries: int = 0
    parked: int = 0
    steps: int = 0


class Simulation:
    """One seed at one kind of provider."""

    def __init__(self, seed: int, kind: Kind, bug: Bug | None) -> None:
        """Set the world up."""
        self.world = World(seed=seed, chances=Chances(), bug=bug)
        self.tables = Tables()
        self.provider = Provider(world=self.world, tables=self.tables, kind=kind)
        self.processes = [
            Process(world=self.world, tables=self.tables, provider=self.provider)
            for _ in range(PROCESSES)
        ]
        self.client = ModelStore(self.world, self.tables)
        self.is_client_busy = False
        self.world.others = [*(one.step for one in self.processes), self._outside]

    def run(self) -> Tally:
        """Run it to its end.

        Raises:
            BreachError: an invariant does not hold.

        """
        for _ in range(MESSAGES):
            self._queue()
        for _ in range(STEPS):
            self.world.dice.choice(self.world.others)()
            self.world.now += self.world.dice.expovariate(1 / 20)
        self._settle()
        return self._checked()

    def _queue(self) -> None:
        dice, now = self.world.dice, self.world.now
        number = len(self.tables.messages)
        deliveries = [
            ModelDelivery(
                id=UUID(int=number * 10 + place + 1), address=f"{number}.{place}@mail.example"
            )
            for place in range(1 if dice.random() < 0.7 else 2)
        ]
        for one in deliveries:
            one.events.append(("queued", {}, now))
        wish = OnUnknown.PARK if self.provider.kind is Kind.KEYLESS else OnUnknown.RESEND
        is_short = dice.random() < 0.15
        message = ModelMessage(
            id=UUID(int=(number + 1) << 64),
            on_unknown=wish,
            payload=_payload(),
            expires_at=now + (dice.uniform(1, 600) if is_short else DAY_S),
            is_short=is_short,
            deliveries=deliveries,
            run_at=now + (0.0 if dice.random() < 0.8 else dice.uniform(0, 300)),
        )
        self.tables.messages[message.id] = message

    def _outside(self) -> None:
        """Cancel, suppress or report something."""
        if self.is_client_busy:
            return
        self.is_client_busy = True
        try:
            self._act()
        except (DiedError, psycopg.OperationalError):
            return
        finally:
            self.is_client_busy = False

    def _act(self) -> None:
        dice = self.world.dice
        due = [one for one in self.provider.reports if one[0] <= self.world.now]
        if due:
            self._report(due[0])
            return
        one = dice.choice(list(self.tables.messages.values()))
        if dice.random() < 0.1:
            self.client.move_messages([Pending(id=one.id)], _CANCEL)
        elif dice.random() < 0.1:
            address = dice.choice(one.deliveries).address
            self.tables.suppressed_at.setdefault(address, self.world.now)

    def _report(self, due: tuple[float, UUID, int]) -> None:
        _, delivery_id, rank = due
        self.client.report(delivery_id, f"{delivery_id}:{rank}", rank)
        self.provider.reports.remove(due)
        message = next(
            one for one in self.tables.messages.values()
            if any(each.id == delivery_id for each in one.deliveries)
        )  # fmt: skip
        self.client.move_messages([Pending(id=message.id)], REPORTED)

    def _settle(self) -> None:
        """End all faults, replace all processes, and let time pass until all is said."""
        self.world.chances = CALM
        self.provider.is_calm = True
        for one in self.processes:
            one.restart()
        for wait_s in (*[600.0] * 9, *[DAY_S] * 5):
            self.world.now += wait_s
            for one in self.processes * 3:
                one.step()
                if all(one.state.is_terminal for one in self.tables.messages.values()):
                    return
        raise BreachError("I2: not settled")

    def _checked(self) -> Tally:
        tally = Tally(steps=self.world.steps)
        for message in self.tables.messages.values():
            for one in message.deliveries:
                self._check(message, one)
                tally.deliveries += 1
                tally.parked += one.state is S.UNKNOWN_FINAL
        return tally

    def _check(self, message: ModelMessage, one: ModelDelivery) -> None:
        copies, kinds = self.provider.copies[one.id], [kind for kind, _, _ in one.events]
        if sum(kind in ENDS for kind in kinds) != 1:
            raise BreachError(f"I2: terminal events {kinds}")
        if one.state is S.SENT and copies == 0:
            raise BreachError("I5: sent, and the provider has it not")
        # After an attempt of unknown end nobody can promise that a cancelled mail does not arrive.
        if one.state is S.CANCELLED and copies and "outcome_unknown" not in kinds:
            raise BreachError("I11: cancelled, and sent")
        _tokens_are_in_order(one)
        if one.state not in self._allowed(message, one, kinds):
            raise BreachError(f"lost: {one.state} after {kinds}")

    def _allowed(
        self, message: ModelMessage, one: ModelDelivery, kinds: list[str]
    ) -> set[DispatchState]:
        """Return the states in which this delivery may have ended, by what happened to it."""
        allowed = {S.SENT}
        if self.provider.kind is Kind.KEYLESS or self.world.epoch > 0:
            allowed.add(S.UNKNOWN_FINAL)
        if self.provider.kind is Kind.KEYED:
            allowed.discard(S.UNKNOWN_FINAL)
        if message.is_short:
            allowed |= {S.EXPIRED, S.FAILED, S.UNKNOWN_FINAL}
        if any(each.address in self.tables.suppressed_at for each in message.deliveries):
            allowed.add(S.SUPPRESSED)
        if one.id in self.provider.refused:
            allowed |= {S.FAILED, S.SUPPRESSED}
        if "quarantined" in kinds:
            allowed.add(S.FAILED)
        if "cancelled" in kinds:
            allowed.add(S.CANCELLED)
        return allowed


_CANCEL: Final = Move(
    from_state=S.QUEUED,
    to_state=S.CANCELLED,
    event=EventType.CANCELLED,
    payload={"by": "application"},
    code="cancelled",
)


def _tokens_are_in_order(one: ModelDelivery) -> None:
    """Check I9: tokens go up, and a verdict carries that of the attempt before it."""
    newest = 0
    for kind, about, _ in one.events:
        token: int | None = about.get("token")
        if kind == "attempt_started":
            if token is None or token <= newest:
                raise BreachError("I9: a token does not go up")
            newest = token
        elif token is not None and token != newest:
            raise BreachError("I9: a verdict without authority")


@contextmanager
def virtual(world: World) -> Iterator[None]:
    """Give the product the simulation's clock and take its log away."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (dispatch, gate, settling):
            patch.setattr(module, "boot_seconds", world.clock)
        for module in (claiming, gate, own_checks, settling, sweep):
            patch.setattr(module, "report", _silent)
        patch.setattr(dispatch, "as_checked", _as_checked)
        yield


def _silent(*_said: Any, **_fields: Any) -> None:
    """Say nothing."""


def _as_checked(claim: Claim, _checks: Sequence[Check]) -> Message:
    """Read back what the preflight checks ask for, once for the same recipients."""
    return _thawed(tuple(one["address"] for one in claim.recipients))


def simulate(seed: int, kind: Kind, bug: Bug | None = None) -> Tally:
    """Run one seed.

    Raises:
        BreachError: an invariant does not hold; the same seed shows it again.

    """
    simulation = Simulation(seed, kind, bug)
    with virtual(simulation.world):
        return simulation.run()
