"""What an attempt's verdict makes of a delivery: its next state, its event, and how long to wait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never
from uuid import UUID

from mailglass.deliveries import DispatchState
from mailglass.envelope import Verdict
from mailglass.errors import (
    ConfigError,
    FailureClass,
    Json,
    MailglassError,
    RateLimitError,
    SendError,
    SendErrorType,
    SuppressedError,
)
from mailglass.events import EventType
from mailglass.settings import Settings

Jitter = Callable[[float], float]
"""Returns a random wait between 0 and its argument, in seconds (full jitter)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What is written for one delivery after an attempt."""

    delivery_id: UUID
    state: DispatchState
    event: EventType
    failure_class: FailureClass | None
    code: str | None
    provider_message_id: str | None
    retry_in_s: float = 0.0

    def row(self) -> dict[str, Json]:
        """Return the form that the statement takes."""
        about = {"code": self.code, "failure_class": self.failure_class}
        return {
            "delivery_id": str(self.delivery_id),
            "state": self.state.value,
            "type": self.event.value,
            "failure_class": self.failure_class,
            "code": self.code,
            "provider_message_id": self.provider_message_id,
            "payload": {name: value for name, value in about.items() if value is not None},
        }


def settle(
    verdict: Verdict,
    *,
    attempt: int,
    expires_in_s: float | None,
    settings: Settings,
    jitter: Jitter,
) -> Settlement:
    """Decide what follows from one verdict; ``attempt`` counts from 1.

    What could only be tried again after its time is over has failed now; a wrong configuration may be
    mended at any moment, so there it is tried within what is left, and expires.
    """
    counts = counts_as_attempt((verdict,))
    state, event = _step(verdict.failure_class, is_last=counts and attempt >= settings.attempts_max)
    wait_s = 0.0
    if state is DispatchState.QUEUED:
        wait_s = max(
            verdict.retry_after_s or 0.0,
            backoff_s(verdict.failure_class, attempt, settings, jitter),
        )
        if verdict.failure_class is FailureClass.CONFIGURATION:
            left_s = wait_s if expires_in_s is None else expires_in_s / 2
            wait_s = min(wait_s, max(settings.retry_base_s, left_s))
        elif expires_in_s is not None and wait_s >= expires_in_s:
            state, event, wait_s = DispatchState.FAILED, EventType.FAILED, 0.0
    return Settlement(
        delivery_id=verdict.delivery_id,
        state=state,
        event=event,
        failure_class=verdict.failure_class,
        code=verdict.code,
        provider_message_id=verdict.provider_message_id,
        retry_in_s=wait_s,
    )


def given_back(delivery_id: UUID, why: str) -> Settlement:
    """Return what is written for a delivery whose claim is given back with nothing tried."""
    return Settlement(
        delivery_id=delivery_id,
        state=DispatchState.QUEUED,
        event=EventType.REQUEUED,
        failure_class=None,
        code=why,
        provider_message_id=None,
    )


def backoff_s(
    failure: FailureClass | None, attempt: int, settings: Settings, jitter: Jitter
) -> float:
    """Return the wait before the next attempt: full jitter below a doubling bound.

    A wrong configuration waits the longest time: another attempt cannot mend it.
    """
    if failure is FailureClass.CONFIGURATION:
        return settings.retry_cap_s
    return jitter(min(settings.retry_cap_s, settings.retry_base_s * 2.0 ** min(attempt - 1, 32)))


def counts_as_attempt(verdicts: tuple[Verdict, ...]) -> bool:
    """Tell whether the attempt uses up one of ``attempts_max``.

    A wrong configuration does not, nor does a provider that asked to come back later.
    """
    return any(
        one.failure_class is not FailureClass.CONFIGURATION and one.retry_after_s is None
        for one in verdicts
    )


def _step(failure: FailureClass | None, *, is_last: bool) -> tuple[DispatchState, EventType]:
    match failure:
        case None:
            return DispatchState.SENT, EventType.DISPATCHED
        case FailureClass.NOT_SENT if is_last:
            return DispatchState.FAILED, EventType.FAILED
        case FailureClass.NOT_SENT | FailureClass.CONFIGURATION:
            return DispatchState.QUEUED, EventType.ATTEMPT_FAILED
        case FailureClass.PERMANENT:
            return DispatchState.FAILED, EventType.FAILED
        case FailureClass.UNKNOWN:
            return DispatchState.UNKNOWN, EventType.OUTCOME_UNKNOWN
        case FailureClass.SUPPRESSED:
            return DispatchState.SUPPRESSED, EventType.SUPPRESSED
        case _:
            assert_never(failure)


def class_of_error(error: MailglassError) -> FailureClass:
    """Return what an error that an adapter raised says about the whole envelope."""
    match error:
        case SendError(failure_class=FailureClass() as known):
            return known
        case SendError(type=SendErrorType.OUTCOME_UNKNOWN):
            return FailureClass.UNKNOWN
        case ConfigError():
            return FailureClass.CONFIGURATION
        case SuppressedError():
            return FailureClass.SUPPRESSED
        case RateLimitError():
            return FailureClass.NOT_SENT
        case _:
            return FailureClass.PERMANENT
