"""What a check is, what it finds, and how a finding is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mailglass.doctor.patient import Patient

GUIDE: Final = "guides/doctor.md"


@unique
class Status(StrEnum):
    """How a check ended; ``cannot_verify`` is neither good nor bad: something kept us from looking."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"
    CANNOT_VERIFY = "cannot_verify"


@unique
class Need(StrEnum):
    """What has to be there before a check can look."""

    ENVIRONMENT = "environment"
    SETTINGS = "settings"
    DATABASE = "database"
    SCHEMA = "schema"
    NETWORK = "network"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong.

    ``seen`` says what was found and holds no secret, address or body. ``status`` replaces the
    check's own where the same fault is worse in one place than in another.
    """

    seen: str
    status: Status | None = None


class UnverifiableError(Exception):
    """Is raised by a check that cannot look; its text holds no secret or address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that has to be so.

    ``look`` returns what is wrong, or nothing; ``status`` is what a fault of it amounts to.
    """

    id: str
    need: Need
    status: Status
    title: str
    fix: str
    look: Callable[[Patient], Iterable[Fault]]

    @property
    def guide(self) -> str:
        """Return where the guide speaks of it."""
        return f"{GUIDE}#{self.id.replace('.', '-').replace('_', '-')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one check found; a check with several faults has as many results."""

    id: str
    status: Status
    title: str
    seen: str = ""
    fix: str = ""
    guide: str = ""
