"""Buckets: which counts of which limits a mail takes from, and how much from each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from types import MappingProxyType
from typing import Any, Final, Self

from mailglass.errors import Json
from mailglass.pacing.vocabulary import Limit, LimitKey, Limits

_RANKS: Final = MappingProxyType({"transactional": 0, "operational": 1, "bulk": 2})
_SEPARATOR: Final = "\x1f"
"""Between the parts of a bucket's key; no domain, tenant or adapter can hold it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What limits may know of one mail: whose, from where, through whom, and to how many at each domain."""

    tenant: str
    stream: str
    sender_domain: str
    provider: str | None
    recipients: Mapping[str, int]

    @property
    def rank(self) -> int:
        """Return the place of its stream: 0 goes first."""
        return _RANKS[self.stream]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """One count of one limit: ``key`` tells whose it is, ``spec`` how it fills, in the stores' form."""

    name: str
    key: str
    spec: Mapping[str, Json] = field(repr=False)

    @classmethod
    def of(cls, limit: Limit, key: str) -> Self:
        """Return the bucket of a limit."""
        warm_up = limit.warm_up
        spec: dict[str, Json] = {
            "interval_s": limit.interval_s,
            "burst": limit.burst_held,
            "daily": limit.daily,
            "zone": limit.zone,
            "starts": warm_up.starts.isoformat() if warm_up else None,
            "schedule": list(warm_up.daily) if warm_up else None,
        }
        return cls(name=limit.name, key=key, spec=spec)

    @classmethod
    def plain(cls, name: str, key: str, *, capacity: float, per_s: float) -> Self:
        """Return a bucket that holds ``capacity`` and is refilled by ``per_s`` a second."""
        return cls(name=name, key=key, spec={"interval_s": 1 / per_s, "burst": capacity})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """How many a mail takes from a bucket; ``is_counted`` only: it takes them and never waits."""

    bucket: Bucket
    cost: int
    is_counted: bool


@dataclass(slots=True)
class Request:
    """What is asked of a store in one call: the buckets once each, and the items in their order."""

    specs: list[dict[str, Json]] = field(default_factory=list)
    items: list[dict[str, Any]] = field(default_factory=list)
    """Each with its ``rank``, its ``adapter_ref``, whether it ``returns`` after it was put off, and its
    ``asks``, which count buckets from 1."""
    _places: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(
        self,
        traffic: Traffic,
        asks: Iterable[Ask],
        *,
        adapter_ref: str | None = None,
        returns: bool = False,
    ) -> None:
        """Add a mail; one that ``returns`` shows that the line in which it stood is no empty one."""
        self.items.append(
            {
                "rank": traffic.rank,
                "adapter_ref": adapter_ref,
                "returns": returns,
                "asks": [self._ask(one) for one in asks],
            }
        )

    def add_to(self, adapter_ref: str, ask: Ask) -> None:
        """Let each mail of an adapter take from one bucket more."""
        for item in self.items:
            if item["adapter_ref"] == adapter_ref:
                item["asks"].append(self._ask(ask))

    def _ask(self, ask: Ask) -> dict[str, Json]:
        return {
            "bucket": self._place(ask.bucket),
            "cost": ask.cost,
            "counted": ask.is_counted,
        }

    def _place(self, bucket: Bucket) -> int:
        at = self._places.setdefault((bucket.name, bucket.key), len(self.specs) + 1)
        if at > len(self.specs):
            self.specs.append({"name": bucket.name, "key": bucket.key, **bucket.spec})
        return at


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """What came of one item: taken, for use after ``wait_us`` microseconds, or put off until then.

    ``blocker`` names the limit that puts it off; ``paused`` and ``learnt`` are the provider's word.
    """

    is_taken: bool
    wait_us: int
    blocker: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitState:
    """How one bucket stands: ``full_in_s`` is 0 or less when the whole burst is there."""

    name: str
    key: str
    full_in_s: float
    day: date | None
    used: int
    at: datetime


def asks_of(limits: Limits, traffic: Traffic, *, delays: bool) -> tuple[Ask, ...]:
    """Return what a mail takes from the limits that delay it, or from those that refuse it.

    Of the limits per the same keys that match, the most specific holds; of equals the one listed
    first. Transactional mail is counted where mail is delayed, and waits for providers alone.
    """
    found: dict[tuple[str, str], Ask] = {}
    is_counted_only = traffic.rank == 0
    for domain, count in traffic.recipients.items():
        facts = _facts(traffic, domain)
        for limit in _holding(limits, facts):
            if limit.delays is not delays or (is_counted_only and not delays):
                continue
            key = _SEPARATOR.join(facts[one] for one in sorted(limit.per))
            known = found.get((limit.name, key))
            found[limit.name, key] = Ask(
                bucket=known.bucket if known else Bucket.of(limit, key),
                cost=count + (known.cost if known else 0),
                is_counted=is_counted_only and not limit.is_hard,
            )
    return tuple(found.values())


def readable(key: str) -> str:
    """Return a bucket's key as people read it."""
    return key.replace(_SEPARATOR, " ")


def _facts(traffic: Traffic, domain: str) -> Mapping[LimitKey, str]:
    known = {
        LimitKey.RECIPIENT_DOMAIN: domain,
        LimitKey.SENDER_DOMAIN: traffic.sender_domain,
        LimitKey.TENANT: traffic.tenant,
        LimitKey.STREAM: traffic.stream,
    }
    return known if traffic.provider is None else known | {LimitKey.PROVIDER: traffic.provider}


def _holding(limits: Sequence[Limit], facts: Mapping[LimitKey, str]) -> Iterator[Limit]:
    """Yield, of the limits per the same keys, the one that says most about this mail."""
    best: dict[frozenset[LimitKey], Limit] = {}
    for limit in limits:
        per = frozenset(limit.per)
        if not facts.keys() >= per or not limit.holds(facts):
            continue
        if per not in best or len(limit.match) > len(best[per].match):
            best[per] = limit
    yield from best.values()
