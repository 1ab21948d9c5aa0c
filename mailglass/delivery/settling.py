"""Settling: what came of an attempt, and the row that it becomes."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from mailglass.clock import boot_seconds
from mailglass.deliveries import DispatchState
from mailglass.delivery.outcome import Jitter, Settlement, counts_as_attempt, given_back, settle
from mailglass.delivery.routing import Choice
from mailglass.delivery.steering import about, kept_back, passed_on, routing_after, spread_s
from mailglass.envelope import Verdict
from mailglass.errors import FailureClass, Json, MailglassError
from mailglass.ledger.rows import Claim
from mailglass.settings import Settings
from mailglass.telemetry import Signal, report

_WAIT_S_MAX: Final = 366 * 24 * 3600.0
"""A mail that a check puts off for longer is looked at again after a year."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What came of one claim: a verdict a recipient, and the error that refused or failed it.

    ``released`` says why the claim is given back where nothing was tried; there are no verdicts then,
    and ``due_at`` is when it is due again, on the clock of ``boot_seconds``. ``choice`` is the adapter
    that it went by, or was kept from; None where it was held up before. ``next_ref`` is the adapter
    that has its turn at once, since nobody accepted anything.
    """

    claim: Claim
    provider: str | None
    verdicts: tuple[Verdict, ...]
    error: MailglassError | None = None
    released: str | None = None
    due_at: float = 0.0
    choice: Choice | None = None
    next_ref: str | None = None

    @property
    def goes_on(self) -> bool:
        """Tell whether another adapter has its turn at once."""
        return self.next_ref is not None


def released(claim: Claim, why: str, *, due_at: float = 0.0) -> Attempt:
    """Return what gives a claim back with nothing sent: it is due again and has used up no attempt."""
    return Attempt(claim=claim, provider=None, verdicts=(), released=why, due_at=due_at)


def row_of(attempt: Attempt, settings: Settings, jitter: Jitter) -> dict[str, Json]:
    """Return what is written of an attempt, in the form that the statement takes."""
    claim, choice = attempt.claim, attempt.choice
    settled = _settled(attempt, settings, jitter)
    was_called = choice is not None and choice.adapter_ref is not None
    return {
        "message_id": str(claim.message_id),
        "tenant_id": claim.tenant_id,
        "token": claim.token,
        "provider": attempt.provider,
        "retry_in_s": min(
            max(attempt.due_at - boot_seconds(), *(one.retry_in_s for one in settled), 0.0),
            _WAIT_S_MAX,
        ),
        "counts": not attempt.goes_on and counts_as_attempt(attempt.verdicts),
        "verdicts": [about(one, choice, attempt.provider, attempt.next_ref) for one in settled],
        "adapter_ref": claim.adapter_ref if was_called else None,
        "routing": routing_after(claim, attempt.verdicts, attempt.next_ref).value
        if was_called
        else None,
        "waits_for": _waits_for(attempt),
    }


def _settled(attempt: Attempt, settings: Settings, jitter: Jitter) -> list[Settlement]:
    claim, choice = attempt.claim, attempt.choice
    if attempt.released is not None:
        ids = [UUID(one["delivery_id"]) for one in claim.recipients]
        if choice is None:
            return [given_back(one, attempt.released) for one in ids]
        wait_s = spread_s(choice.wait_s, claim.expires_in_s, jitter)
        return [kept_back(one, wait_s) for one in ids]
    return [
        (passed_on(one) if attempt.goes_on else None)
        or settle(
            one,
            attempt=claim.attempt,
            expires_in_s=claim.expires_in_s,
            settings=settings,
            jitter=jitter,
        )
        for one in attempt.verdicts
    ]


def _waits_for(attempt: Attempt) -> str | None:
    """Return the adapter whose breaker the message waits for: the one that kept it, or refused us."""
    if attempt.choice is None or attempt.goes_on:
        return None
    is_refused = any(one.failure_class is FailureClass.CONFIGURATION for one in attempt.verdicts)
    return attempt.claim.adapter_ref if is_refused else attempt.choice.waits_for


def report_settled(attempt: Attempt, state: DispatchState | None) -> None:
    """Tell how an attempt ended; no state means that its token was lost, so nothing was written."""
    claim = attempt.claim
    wrong = [one for one in attempt.verdicts if one.failure_class is FailureClass.CONFIGURATION]
    report(
        Signal.FENCED if state is None else Signal.SETTLED,
        level=logging.INFO if state is not None and not wrong else logging.WARNING,
        tenant_id=claim.tenant_id,
        message_id=claim.message_id,
        stream=claim.stream.value,
        provider=attempt.provider,
        adapter=None if attempt.choice is None else attempt.choice.adapter_ref,
        state=state.value if state else None,
        attempt=claim.attempt,
        error_type=f"configuration: {wrong[0].code}" if wrong else None,
    )
