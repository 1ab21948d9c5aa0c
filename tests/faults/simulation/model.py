"""A model of the store: the statements of ``dispatch.sql`` and ``ledger.sql`` over plain objects.

Each method is one transaction, as each statement is. It holds what the statements promise and the
tables check: transitions, tokens, leases, one ``dispatched`` event a delivery.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from types import MappingProxyType
from typing import Any, Concatenate, Final, ParamSpec, TypeVar
from uuid import UUID

from mailglass.deliveries import DispatchState
from mailglass.errors import Json
from mailglass.ledger.rows import Claim, Move, Pending
from mailglass.message import OnUnknown, Stream
from mailglass.suppression import Suppression, SuppressionReason, SuppressionScope
from tests.faults.simulation.world import BreachError, Bug, World, cut_off

S = DispatchState
STEPS: Final = frozenset(
    {
        (S.QUEUED, S.SENDING), (S.QUEUED, S.SUPPRESSED), (S.QUEUED, S.CANCELLED),
        (S.QUEUED, S.EXPIRED), (S.QUEUED, S.FAILED), (S.SENDING, S.SENT), (S.SENDING, S.QUEUED),
        (S.SENDING, S.FAILED), (S.SENDING, S.SUPPRESSED), (S.SENDING, S.UNKNOWN),
        (S.UNKNOWN, S.SENT), (S.UNKNOWN, S.SUPPRESSED), (S.UNKNOWN, S.QUEUED),
        (S.UNKNOWN, S.FAILED), (S.UNKNOWN, S.UNKNOWN_FINAL),
    }
)  # fmt: skip
FOLD: Final = (
    S.SENDING, S.QUEUED, S.UNKNOWN, S.SENT, S.UNKNOWN_FINAL, S.FAILED, S.SUPPRESSED, S.EXPIRED,
    S.CANCELLED,
)  # fmt: skip
RANK: Final = {state: rank for rank, state in enumerate(FOLD)}
AT_WORK: Final = (S.SENDING, S.UNKNOWN)
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(slots=True, kw_only=True)
class ModelDelivery:
    """One recipient; ``events`` are (type, payload, time)."""

    id: UUID
    address: str
    state: DispatchState = S.QUEUED
    outcome_rank: int = 0
    of: ModelMessage | None = None
    events: list[tuple[str, Mapping[str, Any], float]] = field(default_factory=list)

    def step(
        self, state: DispatchState, event: str, payload: Mapping[str, Any], now: float
    ) -> None:
        """Take a step of the dispatch machine, or refuse it as the trigger does."""
        if state is not self.state and (self.state, state) not in STEPS:
            raise BreachError(f"{state} may not follow {self.state}")
        if event == "dispatched" and any(kind == event for kind, _, _ in self.events):
            raise BreachError("dispatched twice")
        self.state = state
        if self.of is not None:
            self.of.folded = None
        self.events.append((event, dict(payload), now))


@dataclass(slots=True, kw_only=True)
class ModelMessage:
    """One message and its deliveries."""

    id: UUID
    on_unknown: OnUnknown
    payload: bytes
    expires_at: float
    deliveries: list[ModelDelivery]
    run_at: float
    is_short: bool = False
    token: int = 0
    attempts: int = 0
    lease_until: float = 0.0
    owner_key: int = 0
    owner_epoch: int = -1
    updated_at: float = 0.0
    folded: DispatchState | None = None
    """What ``state`` found, until a delivery takes a step."""

    def __post_init__(self) -> None:
        """Hear of each step."""
        for one in self.deliveries:
            one.of = self

    @property
    def state(self) -> DispatchState:
        """Return the fold of the deliveries' states."""
        if self.folded is None:
            self.folded = min((one.state for one in self.deliveries), key=RANK.__getitem__)
        return self.folded


@dataclass(slots=True, kw_only=True)
class Tables:
    """What all processes share."""

    messages: dict[UUID, ModelMessage] = field(default_factory=dict)
    suppressed_at: dict[str, float] = field(default_factory=dict)
    report_keys: set[str] = field(default_factory=set)


def _transaction(
    method: Callable[Concatenate[ModelStore, P], R],
) -> Callable[Concatenate[ModelStore, P], R]:
    """Make a method a transaction over a connection that may be cut before it or after it."""

    @wraps(method)
    def wrapped(self: ModelStore, /, *args: P.args, **kwargs: P.kwargs) -> R:
        self.world.point()
        self.reconnect()
        if self.world.cut():
            raise cut_off()
        found = method(self, *args, **kwargs)
        if self.world.cut():
            raise cut_off()
        return found

    return wrapped


class ModelStore:
    """A process's store: the shared tables over a session of its own."""

    def __init__(self, world: World, tables: Tables) -> None:
        """Open the session."""
        self.world, self.tables = world, tables
        self.key, self.epoch = world.open_session(), world.epoch

    def reconnect(self) -> None:
        """Tell of a restart of Postgres once, and open a session afterwards."""
        if self.epoch != self.world.epoch:
            self.key, self.epoch = self.world.open_session(), self.world.epoch
            raise cut_off()

    def die(self) -> None:
        """End the session, as the kernel does for a killed process."""
        self.world.sessions.discard(self.key)

    @_transaction
    def claim_due(
        self, stream: Stream, *, limit: int, lease_s: float, wait_s: float = 0.0
    ) -> tuple[Claim, ...]:
        """Claim the longest waiting."""
        now = self.world.now
        due = [
            one
            for one in self.tables.messages.values()
            if one.state is S.QUEUED and one.run_at <= now < one.expires_at
        ]
        due.sort(key=lambda one: one.run_at)
        return tuple(self._claimed(one, lease_s, wait_s) for one in due[:limit])

    def _claimed(self, one: ModelMessage, lease_s: float, wait_s: float) -> Claim:
        now = self.world.now
        waiting = [each for each in one.deliveries if each.state is S.QUEUED]
        one.token += 1
        one.attempts += 1
        one.lease_until = now + wait_s + lease_s * len(waiting)
        one.owner_key, one.owner_epoch, one.updated_at = self.key, self.world.epoch, now
        for each in waiting:
            each.step(S.SENDING, "attempt_started", {"token": one.token}, now)
        return Claim(
            message_id=one.id,
            tenant_id="default",
            stream=Stream.TRANSACTIONAL,
            mailable=None,
            authenticates=False,
            mail_from="orders@shop.example",
            payload=one.payload,
            payload_sha256=hashlib.sha256(one.payload).digest(),
            settings=MappingProxyType({}),
            token=one.token,
            attempt=one.attempts,
            taken_at=now,
            expires_in_s=one.expires_at - now,
            adapter_ref="default",
            recipients=tuple(
                {"delivery_id": str(each.id), "kind": "to", "address": each.address,
                 "address_key": each.address}
                for each in waiting
            ),
        )  # fmt: skip

    @_transaction
    def finalize_attempts(
        self, attempts: Sequence[Mapping[str, Json]]
    ) -> Mapping[UUID, DispatchState]:
        """Write verdicts under their tokens."""
        found: dict[UUID, DispatchState] = {}
        for row in attempts:
            one = self.tables.messages[UUID(str(row["message_id"]))]
            is_fenced = one.token != row["token"] or one.state not in AT_WORK
            if is_fenced and self.world.bug is not Bug.NO_FENCE:
                continue
            moved = self._verdicts(one, row)
            if moved:
                one.attempts -= 0 if row["counts"] else 1
                if one.state is S.QUEUED:
                    one.run_at = self.world.now + float(row["retry_in_s"])  # type: ignore[arg-type]  # a number
                one.updated_at = self.world.now
                found[one.id] = one.state
        return found

    def _verdicts(self, one: ModelMessage, row: Mapping[str, Json]) -> int:
        moved = 0
        by_id = {str(each.id): each for each in one.deliveries}
        verdicts: Any = row["verdicts"]
        for verdict in verdicts:
            each = by_id[verdict["delivery_id"]]
            if each.state in AT_WORK or self.world.bug is Bug.NO_FENCE:
                about = verdict["payload"] | {"token": row["token"]}
                each.step(S(verdict["state"]), verdict["type"], about, self.world.now)
                moved += 1
        return moved

    @_transaction
    def move_messages(
        self, messages: Sequence[Pending], move: Move
    ) -> Mapping[UUID, DispatchState]:
        """Move deliveries without an attempt, where all is as the caller saw it."""
        found: dict[UUID, DispatchState] = {}
        for asked in messages:
            one = self.tables.messages[asked.id]
            is_sweeper = move.payload.get("by") == "sweep"
            is_blind = is_sweeper and self.world.bug is Bug.BLIND_SWEEPER
            if not self._may_move(one, asked, move) and not is_blind:
                continue
            moved = [
                each for each in one.deliveries
                if (each.state is move.from_state or (is_blind and not each.state.is_terminal))
                and (not move.when_reported or each.outcome_rank >= 10)
                and (move.found is None or each.id in move.found)
            ]  # fmt: skip
            for each in moved:
                each.step(move.to_state, move.event.value, move.payload, self.world.now)
            if moved:
                one.updated_at = self.world.now
                one.run_at = self.world.now if move.to_state is S.QUEUED else one.run_at
                found[one.id] = one.state
        return found

    def _may_move(self, one: ModelMessage, asked: Pending, move: Move) -> bool:
        now = self.world.now
        return (
            (one.state is move.from_state or move.whatever_else)
            and (asked.token is None or asked.token == one.token)
            and (not move.when_expired or one.expires_at <= now)
            and (not move.when_lease_over or one.lease_until <= now)
        )

    @_transaction
    def expired_messages(self, *, limit: int) -> tuple[Pending, ...]:
        """Return queued messages whose time is over."""
        now = self.world.now
        return self._pending(
            lambda one: one.state is S.QUEUED and one.expires_at <= now, limit=limit
        )

    @_transaction
    def abandoned_messages(self, *, limit: int) -> tuple[Pending, ...]:
        """Return claimed messages whose lease is over."""
        now = self.world.now
        return self._pending(
            lambda one: one.state is S.SENDING and one.lease_until <= now, limit=limit
        )

    @_transaction
    def reported_messages(self, *, limit: int) -> tuple[Pending, ...]:
        """Return unknown messages that their provider reported on."""
        return self._pending(
            lambda one: (
                one.state is S.UNKNOWN
                and any(
                    each.state is S.UNKNOWN and each.outcome_rank >= 10 for each in one.deliveries
                )
            ),
            limit=limit,
        )

    @_transaction
    def unknown_messages(self, *, limit: int) -> tuple[Pending, ...]:
        """Return the other unknown messages, with what the rule for them asks."""
        found = [
            self._unknown(one)
            for one in self.tables.messages.values()
            if one.state is S.UNKNOWN
            and not any(
                each.state is S.UNKNOWN and each.outcome_rank >= 10 for each in one.deliveries
            )
        ]
        return tuple(found[:limit])

    def _unknown(self, one: ModelMessage) -> Pending:
        now = self.world.now
        unknown = [each for each in one.deliveries if each.state is S.UNKNOWN]
        started = [
            at for each in unknown for kind, _, at in each.events if kind == "attempt_started"
        ]
        is_from_lease = self.world.bug is Bug.LAG_FROM_THE_LEASE
        is_gone = one.owner_epoch == self.world.epoch and one.owner_key not in self.world.sessions
        return Pending(
            id=one.id,
            tenant_id="default",
            token=one.token,
            adapter_ref="default",
            unknown_for_s=now if is_from_lease else now - one.updated_at,
            tried_for_s=now - min(started),
            abandoned=max(
                sum(about.get("code") == "lease_over" for _, about, _ in each.events)
                for each in unknown
            ),
            is_expired=one.expires_at <= now,
            on_unknown=one.on_unknown,
            lease_over_for_s=now - one.lease_until,
            is_owner_gone=is_gone or self.world.bug is Bug.TIME_ONLY,
            is_attempt_over=is_from_lease or all(_is_over(each) for each in unknown),
        )

    def _pending(
        self, wanted: Callable[[ModelMessage], bool], *, limit: int
    ) -> tuple[Pending, ...]:
        found = [
            Pending(id=one.id, tenant_id="default", token=one.token, adapter_ref="default")
            for one in self.tables.messages.values()
            if wanted(one)
        ]
        return tuple(found[:limit])

    def deliveries_of_message(self, _tenant_id: str, message_id: UUID) -> list[ModelDelivery]:
        """Return the deliveries of a message."""
        return self.tables.messages[message_id].deliveries

    @_transaction
    def matching_suppressions(
        self, _tenant_id: str, values: Sequence[str], _stream: Stream
    ) -> Sequence[Suppression]:
        """Return the refusals that hold now."""
        return [
            Suppression(
                scope=SuppressionScope.ADDRESS,
                value=value,
                reason=SuppressionReason.MANUAL,
                source="simulation",
            )
            for value in values
            if value in self.tables.suppressed_at
        ]

    @_transaction
    def add_suppression(self, _id: UUID, _tenant_id: str, entry: Suppression) -> None:
        """Refuse an address from now on."""
        self.tables.suppressed_at.setdefault(entry.value, self.world.now)

    @_transaction
    def report(self, delivery_id: UUID, key: str, rank: int) -> None:
        """Fold a provider's report, once, and settle the unknown that it proves sent."""
        if key in self.tables.report_keys:
            return
        self.tables.report_keys.add(key)
        for one in self.tables.messages.values():
            for each in one.deliveries:
                if each.id == delivery_id:
                    each.outcome_rank = max(each.outcome_rank, rank)

    def rows(self, name: str, parameters: Mapping[str, object]) -> list[dict[str, Any]]:
        """Scrub nothing, and tell what speaks against one more attempt."""
        if name == "evidence_of_claim":
            return self._evidence(UUID(str(parameters["message_id"])))
        if name != "scrub_payloads":
            raise BreachError(f"the model has no {name}: {json.dumps(sorted(parameters))}")
        return []

    @_transaction
    def _evidence(self, message_id: UUID) -> list[dict[str, Any]]:
        found = [
            {
                "delivery_id": each.id,
                "is_reported": each.outcome_rank >= 10,
                "is_keyed": _put_back_for(each) == "safe_to_repeat",
                "tried_for_s": self.world.now - _first_attempt_at(each),
            }
            for each in self.tables.messages[message_id].deliveries
            if each.state is S.SENDING
        ]
        return [row for row in found if row["is_reported"] or row["is_keyed"]]


def _put_back_for(one: ModelDelivery) -> str | None:
    words = [about.get("code") for kind, about, _ in one.events if kind == "requeued"]
    return next((word for word in words[::-1] if word in {"safe_to_repeat", "not_found"}), None)


def _first_attempt_at(one: ModelDelivery) -> float:
    return min(at for kind, _, at in one.events if kind == "attempt_started")


def _is_over(one: ModelDelivery) -> bool:
    started = max(place for place, each in enumerate(one.events) if each[0] == "attempt_started")
    ended = [
        place
        for place, (kind, about, _) in enumerate(one.events)
        if kind == "outcome_unknown" and ("token" in about or about.get("code") == "owner_gone")
    ]
    return bool(ended) and ended[-1] > started
