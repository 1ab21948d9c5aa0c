"""The vocabulary of limits: per what, how fast, how many a day, and what becomes of the rest."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from enum import StrEnum, unique
from math import ceil
from types import MappingProxyType
from typing import Annotated, Final, Self, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mailglass.errors import ConfigError, ConfigErrorType

_RATE: Final = re.compile(r"([1-9][0-9]{0,8})/(s|min|h|day)")
_PERIODS_S: Final[Mapping[str, float]] = MappingProxyType(
    {"s": 1.0, "min": 60.0, "h": 3600.0, "day": 86_400.0}
)
THROTTLED: Final = re.compile(
    r"^http 4(?:29|20)\b|^454\b"
    r"|\b(?:Throttling|ThrottlingException|TooManyRequestsException|ACCOUNT_THROTTLED"
    r"|rate_limit_exceeded|too_many_requests|MS42903)\b"
)
"""How providers say that it was too much: HTTP 429 (RFC 6585 §4), SparkPost's 420, Amazon SES by SMTP."""
LATE_S: Final = 0.05
"""How long after its time a mail may still begin to leave; rates are kept with that much to spare."""
_KEY_CHARS_MAX: Final = 256
_SCHEDULE_DAYS_MAX: Final = 366
LIMITS_MAX: Final = 100

_Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
_Text = Annotated[str, Field(min_length=1, max_length=_KEY_CHARS_MAX)]


@unique
class LimitKey(StrEnum):
    """What a limit can count by; ``provider`` is the name under which an adapter was given."""

    RECIPIENT_DOMAIN = "recipient_domain"
    SENDER_DOMAIN = "sender_domain"
    TENANT = "tenant"
    STREAM = "stream"
    PROVIDER = "provider"


@unique
class Beyond(StrEnum):
    """What becomes of a mail beyond the limit: its caller is refused, or it leaves later."""

    REFUSE = "refuse"
    DELAY = "delay"


_OF_CALLERS: Final = frozenset({LimitKey.TENANT, LimitKey.STREAM})
_HAS_DOMAIN: Final = frozenset({LimitKey.RECIPIENT_DOMAIN, LimitKey.SENDER_DOMAIN})


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class WarmUp(_Value):
    """A warm-up: from the day ``starts`` on, at most ``daily[0]`` mails, then ``daily[1]``, and so on.

    After the last day the limit's own ``daily`` holds. Before the first, nothing may leave.
    """

    starts: date
    daily: tuple[_Count, ...] = Field(min_length=1, max_length=_SCHEDULE_DAYS_MAX)


class Limit(_Value):
    """One limit; every combination of what ``per`` names has a count of its own.

    ``rate`` is a number of recipients a second, minute, hour or day: ``14/s``, ``100/min``. ``daily``
    counts from midnight in ``zone``. ``match`` narrows it to what it names; of limits with the same
    ``per`` the one that matches most holds alone, so that a tenant can have a limit of its own. What
    goes ``beyond`` is refused for limits per tenant and stream and delayed for all others, unless
    said otherwise. ``burst`` is how many may go at once: 1 where mail is delayed, the whole rate
    where callers are refused.

    Raises:
        ConfigError: ``invalid`` or ``conflicting``, key ``limits``.

    """

    per: tuple[LimitKey, ...] = Field(min_length=1)
    match: dict[LimitKey, _Text] = Field(default_factory=dict)
    rate: str | None = None
    burst: _Count | None = None
    daily: _Count | None = None
    warm_up: WarmUp | None = None
    zone: _Text = "UTC"
    beyond: Beyond | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        """Refuse what could not be kept or would be passed by all it speaks of."""
        for is_wrong, kind, reason, hint in (
            (len(set(self.per)) != len(self.per), _INVALID, "names a key twice in `per`", ""),
            (
                self.rate is not None and not _RATE.fullmatch(self.rate),
                _INVALID,
                "has a rate that is not written like 14/s, 100/min, 5000/h or 10000/day",
                "",
            ),
            (
                self.rate is None and self.daily is None and self.warm_up is None,
                _INVALID,
                "limits nothing",
                "Give it a rate, a daily number or a warm_up.",
            ),
            (not _is_zone(self.zone), _INVALID, "has a zone that is not known", "Use Area/City."),
            (
                self.burst is not None and (self.rate is None or self.burst > self.count),
                _CONFLICTING,
                "has a burst without a rate, or above it",
                "",
            ),
            (
                self.is_hard and self.beyond is Beyond.REFUSE,
                _CONFLICTING,
                "is per provider, which is not known when callers ask",
                "Leave `beyond` out: what a provider takes is sent later.",
            ),
            (
                not self.is_hard and self.match.get(LimitKey.STREAM) == "transactional",
                _CONFLICTING,
                "is for transactional mail, which passes it",
                "Only limits per provider hold for transactional mail.",
            ),
        ):
            if is_wrong:
                raise _refused(kind, reason, hint)
        return self

    @property
    def is_hard(self) -> bool:
        """Tell whether it holds for every stream: a provider's limits know no exceptions."""
        return LimitKey.PROVIDER in self.per

    @property
    def delays(self) -> bool:
        """Tell whether mail beyond it leaves later, rather than being refused to its caller."""
        if self.beyond is None:
            return not _OF_CALLERS.issuperset(self.per)
        return self.beyond is Beyond.DELAY

    @property
    def name(self) -> str:
        """Return what its rows are called: the same for all processes, whatever else is configured."""
        per = "+".join(sorted(self.per))
        match = ",".join(f"{key}={self.match[key]}" for key in sorted(self.match))
        return f"{per}[{match}]" if match else per

    @property
    def count(self) -> int:
        """Return the number in the rate; 0 without one."""
        found = _RATE.fullmatch(self.rate or "")
        return int(found[1]) if found else 0

    @property
    def period_s(self) -> float:
        """Return the seconds in which ``count`` may leave; 0 without a rate."""
        found = _RATE.fullmatch(self.rate or "")
        return _PERIODS_S[found[2]] if found else 0.0

    @property
    def burst_held(self) -> int:
        """Return how many may go at once."""
        return self.burst or (1 if self.delays else max(1, self.count))

    @property
    def interval_s(self) -> float | None:
        """Return the seconds between two mails; None without a rate.

        Where mail is delayed, no window of the period, wherever it begins, sees more than the number:
        the burst comes out of it, and so does what leaves a little late. Where callers are refused it
        is the bucket that they know: the whole number at once, refilled over the period.
        """
        if self.rate is None:
            return None
        if not self.delays:
            return self.period_s / self.count
        exact = (self.period_s + LATE_S) / (self.count - self.burst_held + 1)
        return (
            ceil(round(exact * 1_000_000, 3)) / 1_000_000
        )  # the stores count microseconds: never too short

    def allowed_on(self, day: date) -> int | None:
        """Return how many may leave on a day; None where no number is set."""
        if self.warm_up is None:
            return self.daily
        number = (day - self.warm_up.starts).days
        if number < 0:
            return 0
        return self.warm_up.daily[number] if number < len(self.warm_up.daily) else self.daily

    def holds(self, facts: Mapping[LimitKey, str]) -> bool:
        """Tell whether it speaks of mail of which these are the facts."""
        return all(facts.get(key) == value for key, value in self._matched())

    def _matched(self) -> Sequence[tuple[LimitKey, str]]:
        return [
            (key, value.lower() if key in _HAS_DOMAIN else value)
            for key, value in self.match.items()
        ]


_INVALID: Final = ConfigErrorType.INVALID
_CONFLICTING: Final = ConfigErrorType.CONFLICTING
Limits: TypeAlias = tuple[Limit, ...]


def refuse_ambiguous(limits: Limits) -> None:
    """Refuse limits of which nobody could say which holds.

    Raises:
        ConfigError: ``conflicting``, for two limits with the same ``per`` and the same ``match``.

    """
    if len({one.name for one in limits}) != len(limits):
        raise _refused(
            _CONFLICTING, "stands twice: same `per`, same `match`", "Leave one of them out."
        )
    if len(limits) > LIMITS_MAX:
        raise _refused(_INVALID, f"is one of more than {LIMITS_MAX}", "")


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _refused(kind: ConfigErrorType, reason: str, hint: str) -> ConfigError:
    return ConfigError(
        f"a limit {reason}",
        type=kind,
        key="limits",
        hint=hint or "Look at MAILGLASS_LIMITS, or at what the code passes for limits.",
    )
