"""Features: whether one is on for a subject, by which rule, and why; the deciding is pure."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from mailglass.forks import ProcessLock
from mailglass.message import Stream

WHOLE: Final = 10_000
SWITCHES: Final = frozenset({"sending"})
"""Features that are on unless a rule says off, and off where any rule does."""
FRESH_S: Final = 1.0
"""How long rules are used before they are read again."""


class Rule(Protocol):
    """A rule as it is stored: ``share`` of 10,000 subjects; None for tenant or stream is all."""

    @property
    def name(self) -> str:
        """Return whose rule it is."""

    @property
    def tenant_id(self) -> str | None:
        """Return the one tenant that it speaks of."""

    @property
    def stream(self) -> Stream | None:
        """Return the one stream that it speaks of."""

    @property
    def share(self) -> int:
        """Return how many of 10,000 have the feature."""

    def covers(self, tenant_id: str, stream: Stream | None) -> bool:
        """Tell whether it speaks of this tenant and stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether a feature is on, and what decided: a rule, or that there is none.

    ``bucket`` is the subject's place of 10,000, set where a share decided. ``why`` is for people.
    """

    name: str
    is_on: bool
    why: str
    rule: Rule | None = None
    bucket: int | None = None


def bucket_of(name: str, subject: str) -> int:
    """Return a subject's place, 0 to 9,999, the same everywhere and for ever.

    Each feature has its own order of subjects, so that not the same people meet every new one first.
    Since a subject has a feature below its share, raising that adds some and takes it from nobody.
    """
    digest = hashlib.sha256(f"{len(name)}:{name}{subject}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % WHOLE


def decide(
    name: str,
    rules: Sequence[Rule],
    *,
    tenant_id: str,
    stream: Stream | None = None,
    subject: str | None = None,
) -> Decision:
    """Decide by the most specific rule: tenant and stream, tenant, stream, all; without one, off.

    Of a switch any rule that says off wins. Without a subject the tenant is one.
    """
    covering = [one for one in rules if one.name == name and one.covers(tenant_id, stream)]
    if name in SWITCHES:
        return _of_switch(name, covering)
    if not covering:
        return Decision(name=name, is_on=False, why="no rule speaks of it, so it is off")
    rule = max(covering, key=lambda one: (one.tenant_id is not None, one.stream is not None))
    if rule.share in {0, WHOLE}:
        is_on = rule.share == WHOLE
        return Decision(name=name, is_on=is_on, why=f"{'on' if is_on else 'off'} for {_scope(rule)}",
                        rule=rule)  # fmt: skip
    bucket = bucket_of(name, subject if subject is not None else tenant_id)
    is_on = bucket < rule.share
    return Decision(
        name=name,
        is_on=is_on,
        why=f"on for {rule.share / 100:g} % of {_scope(rule)}; this one stands at "
        f"{bucket / 100:g} %",
        rule=rule,
        bucket=bucket,
    )


def _of_switch(name: str, covering: Sequence[Rule]) -> Decision:
    for rule in covering:
        if rule.share == 0:
            return Decision(name=name, is_on=False, why=f"off for {_scope(rule)}", rule=rule)
    return Decision(name=name, is_on=True, why="nobody switched it off")


def _scope(rule: Rule) -> str:
    tenant = "all tenants" if rule.tenant_id is None else f"tenant {rule.tenant_id}"
    stream = "" if rule.stream is None else f", stream {rule.stream.value}"
    return f"{tenant}{stream}"


@dataclass(slots=True, kw_only=True)
class Features:
    """Answers for the current tenant from rules that are a second old at most; threads may share it.

    ``read`` returns every rule; ``tenant`` the current tenant.
    """

    read: Callable[[], Sequence[Rule]]
    tenant: Callable[[], str]
    _lock: ProcessLock = field(default_factory=ProcessLock, init=False)
    _rules: Sequence[Rule] = field(default=(), init=False)
    _read_at: float = field(default=float("-inf"), init=False)

    def is_on(self, name: str, *, subject: str | None = None, stream: Stream | None = None) -> bool:
        """Tell whether a feature is on; ``subject`` is whatever a share is counted by, such as a user."""
        return self.explain(name, subject=subject, stream=stream).is_on

    def explain(
        self, name: str, *, subject: str | None = None, stream: Stream | None = None
    ) -> Decision:
        """Return the decision with the rule that made it."""
        return decide(name, self._known(), tenant_id=self.tenant(), stream=stream, subject=subject)

    def _known(self) -> Sequence[Rule]:
        with self._lock:
            if time.monotonic() - self._read_at >= FRESH_S:
                self._rules, self._read_at = self.read(), time.monotonic()
            return self._rules
