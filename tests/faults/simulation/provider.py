"""A provider of one seed: keyed, keyless or searchable, with answers that get lost and reports later."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum, unique
from functools import cache
from typing import Final
from uuid import UUID

from mailglass.adapters import Capabilities
from mailglass.envelope import Accepted, Envelope, Recipient, Verdict
from mailglass.errors import FailureClass, SendError, SendErrorType
from mailglass.message import Message
from tests.faults.simulation.model import Tables
from tests.faults.simulation.world import BreachError, Bug, World

LAG_S: Final = 300.0
WINDOW_S: Final = 86_400.0
FRESH_S: Final = 1.0


@unique
class Kind(StrEnum):
    """What a provider offers against doubles."""

    KEYED = "keyed"
    KEYLESS = "keyless"
    SEARCHABLE = "searchable"


_FATES: Final = (
    (0.06, "lost"), (0.06, "deaf"), (0.08, "busy"), (0.02, "refused"), (0.02, "suppressed"),
)  # fmt: skip
_ANSWERS: Final[Mapping[str, FailureClass | None]] = {
    "ok": None,
    "lost": FailureClass.UNKNOWN,
    "deaf": FailureClass.UNKNOWN,
    "busy": FailureClass.NOT_SENT,
    "refused": FailureClass.PERMANENT,
    "suppressed": FailureClass.SUPPRESSED,
}


@cache
def _promised(kind: Kind, bug: Bug | None) -> Capabilities:
    lag_s = 0.0 if bug is Bug.SEARCH_TOO_EARLY else LAG_S
    promises_key = kind is Kind.KEYED or bug is Bug.FENCE_WITHOUT_KEY
    return Capabilities(
        idempotency_window_s=WINDOW_S if promises_key else None,
        search_lag_s=lag_s if kind is Kind.SEARCHABLE else None,
    )


@dataclass(slots=True, kw_only=True)
class Provider:
    """What one provider has accepted, by delivery; also the adapter that talks to it."""

    world: World
    tables: Tables
    kind: Kind
    is_calm: bool = False
    copies: Counter[UUID] = field(default_factory=Counter)
    shown_at: dict[UUID, float] = field(default_factory=dict)
    refused: set[UUID] = field(default_factory=set)
    answered: dict[str, tuple[str, Mapping[UUID, str]]] = field(default_factory=dict)
    reports: list[tuple[float, UUID, int]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Return its name."""
        return "simulated"

    @property
    def capabilities(self) -> Capabilities:
        """Return what it promises, which a planted bug may make a lie."""
        return _promised(self.kind, self.world.bug)

    def check(self, message: Message) -> None:
        """Refuse nothing."""

    def close(self) -> None:
        """Do nothing."""

    def send(self, envelope: Envelope) -> Accepted:
        """Take one attempt; the process may die or pause before and after the moment it is taken."""
        self._nobody_is_suppressed(envelope)
        body = hashlib.sha256(envelope.payload).hexdigest()
        if self.world.bug is Bug.CHANGED_BODY:
            body += str(envelope.attempt)
        began_at = self.world.now
        self.world.point()
        if self.world.now - began_at > self.capabilities.lease_s / 2:
            self.world.turns[-1].late_until = float("inf")
        fates = self._taken(envelope, body)
        self.world.point()
        verdicts = [
            Verdict(delivery_id=one.delivery_id, failure_class=self._heard(fates[one.delivery_id]))
            for one in envelope.recipients
        ]
        return Accepted(provider=self.name, verdicts=tuple(verdicts))

    def _heard(self, fate: str) -> FailureClass | None:
        answer = _ANSWERS[fate]
        if answer is FailureClass.UNKNOWN and self.world.bug is Bug.UNKNOWN_AS_NOT_SENT:
            return FailureClass.NOT_SENT
        return answer

    def _nobody_is_suppressed(self, envelope: Envelope) -> None:
        for one in envelope.recipients:
            since = self.tables.suppressed_at.get(one.address.key, self.world.now)
            if since < self.world.now - FRESH_S:
                raise BreachError("I11: bytes left for a suppressed recipient")

    def _taken(self, envelope: Envelope, body: str) -> Mapping[UUID, str]:
        if self.kind is Kind.KEYED:
            first = self.answered.get(envelope.idempotency_key)
            if first is not None and first[0] != body:
                raise BreachError("I3: a key came with another body")
            known = first[1] if first else {}
        else:
            known = {}
        fates = {
            one.delivery_id: known.get(one.delivery_id) or self._fate(one)
            for one in envelope.recipients
        }
        final = {
            one: fate for one, fate in fates.items() if fate in {"ok", "refused", "suppressed"}
        }
        # A lost answer was an answer: asked again with its key, the provider repeats it.
        final |= {one: "ok" for one, fate in fates.items() if fate == "lost"}
        self.answered[envelope.idempotency_key] = (body, {**known, **final})
        return fates

    def _fate(self, one: Recipient) -> str:
        fate, dice = "ok", self.world.dice.random()
        for chance, name in () if self.is_calm else _FATES:
            if 0.0 <= dice < chance:
                fate = name
            dice -= chance
        if fate in {"refused", "suppressed"}:
            self.refused.add(one.delivery_id)
        if fate in {"ok", "lost"}:
            self._accept(one.delivery_id)
        return fate

    def _accept(self, delivery_id: UUID) -> None:
        now, dice = self.world.now, self.world.dice
        self.copies[delivery_id] += 1
        if self.copies[delivery_id] > 1:
            raise BreachError(f"I3: doubled at a {self.kind} provider")
        self.shown_at[delivery_id] = now + dice.uniform(LAG_S / 2, LAG_S)
        if dice.random() < 0.4:
            rank = dice.choice((10, 30, 50))
            self.reports.append((now + dice.expovariate(1 / 600), delivery_id, rank))

    def find(
        self, tenant_id: str, message_id: UUID, delivery_ids: Sequence[UUID]
    ) -> Mapping[UUID, str | None]:
        """Return those that the search shows by now."""
        self.world.point()
        if not self.is_calm and self.world.dice.random() < 0.1:
            raise SendError("no answer", type=SendErrorType.ADAPTER_FAILURE)
        now = self.world.now
        found = {one: None for one in delivery_ids if self.shown_at.get(one, now) < now}
        self.world.point()
        return found
