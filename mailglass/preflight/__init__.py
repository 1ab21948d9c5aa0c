"""Preflight: what must hold before a mail is queued, and again right before its bytes leave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum, unique

from mailglass.message import Message, Stream
from mailglass.pacing.buckets import Request
from mailglass.settings import Settings
from mailglass.suppression import Suppression


@unique
class Phase(StrEnum):
    """When the checks run: at ``intake``, or at ``dispatch`` just before the bytes leave."""

    INTAKE = "intake"
    DISPATCH = "dispatch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a check may ask beyond the message itself.

    ``attempt`` counts from 1 at dispatch and is 0 at intake. ``suppressions(values, stream)`` returns
    the refusals that hold now; ``take(request)`` takes what one mail asks for, or returns the limit that
    has too little and the wait in ms. ``message_bytes_max`` is what the provider takes, encoded; None
    where it says nothing.
    """

    tenant_id: str
    phase: Phase
    settings: Settings
    suppressions: Callable[[Sequence[str], Stream], Sequence[Suppression]]
    take: Callable[[Request], tuple[str, int] | None]
    attempt: int = 0
    message_bytes_max: int | None = None


Check = Callable[[Message, Context], None]
"""Raises an error of ours to refuse the message; returns nothing to let it pass."""


def run(checks: Sequence[Check], message: Message, context: Context) -> None:
    """Run the checks in order; the first that refuses ends it."""
    for check in checks:
        check(message, context)
