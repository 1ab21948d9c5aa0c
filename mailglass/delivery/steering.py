"""Steering: the choice of an adapter is written down before its bytes leave, and told of afterwards."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

from mailglass.deliveries import DispatchState
from mailglass.delivery.breakers import Call
from mailglass.delivery.gate import Pass
from mailglass.delivery.outcome import Jitter, Settlement, given_back
from mailglass.delivery.routing import Choice, Router, end_of_call, fails_over
from mailglass.envelope import Verdict
from mailglass.errors import FailureClass, Json, SendError, SendErrorType
from mailglass.events import EventType
from mailglass.ledger.faults import DatabaseAwayError
from mailglass.ledger.rows import Claim, Routing
from mailglass.telemetry import Signal, report

BREAKER_OPEN: Final = "breaker_open"
"""The code of a delivery that waits for a breaker."""
DAY_SPENT: Final = "daily_limit"
"""Why a mail goes by another adapter than the one that has had its number of the day."""
_TRIED_AGAIN: Final = frozenset({FailureClass.NOT_SENT, FailureClass.CONFIGURATION})


def set_out(router: Router, claims: tuple[Claim, ...]) -> tuple[Claim, ...]:
    """Write down by whom fresh claims will go, all in one statement, where that is not written yet."""
    choices = router.first_choices(claims)
    if not choices:
        return claims
    asked = [choices[one.message_id].row(one) for one in claims if one.message_id in choices]
    try:
        held = router.breakers.breakers.route(asked)
    except DatabaseAwayError as error:
        _unwritten(error)
        return claims  # each attempt writes its own, or nothing leaves
    return tuple(
        replace(one, adapter_ref=choices[one.message_id].adapter_ref or one.adapter_ref)
        if one.message_id in held
        else one
        for one in claims
    )


def written(router: Router, claim: Claim, choice: Choice) -> Claim | None:
    """Write down by whom a claim goes; None when that could not be, and nothing may leave."""
    ref = choice.adapter_ref or claim.adapter_ref
    if (ref, choice.routing) == (claim.adapter_ref, claim.routing) and choice.departure is None:
        return claim
    try:
        held = router.breakers.breakers.route([choice.row(claim)])
    except DatabaseAwayError as error:
        _unwritten(error)
        return None
    if claim.message_id not in held:
        return None
    if choice.departure is not None:
        report(
            Signal.ROUTED,
            level=logging.WARNING,
            tenant_id=claim.tenant_id,
            message_id=claim.message_id,
            stream=claim.stream.value,
            adapter=ref,
            state=str(choice.departure["reason"]),
        )
    return replace(claim, adapter_ref=ref, routing=choice.routing)


def instead(router: Router | None, claim: Claim, turn: Pass) -> Claim | None:
    """Write down by whom a claim goes whose adapter has had its number of the day; None: it waits.

    The next of its route takes it, to which it then belongs, as after a refusal.
    """
    if router is None or not turn.is_day_spent:
        return None
    ref = router.next_after(claim, claim.adapter_ref)
    if ref is None:
        return None
    departure: dict[str, Json] = {"from": claim.adapter_ref, "to": ref, "reason": DAY_SPENT}
    return written(router, claim, Choice(adapter_ref=ref, routing=Routing.AT, departure=departure))


def next_ref(router: Router, claim: Claim, verdicts: Sequence[Verdict]) -> str | None:
    """Return who has its turn at once; None where nobody has, or anything may have been accepted unseen."""
    waiting = [one for one in verdicts if one.failure_class in _TRIED_AGAIN]
    is_uncertain = any(one.failure_class is FailureClass.UNKNOWN for one in verdicts)
    if is_uncertain or not waiting or not all(fails_over(one) for one in waiting):
        return None
    return router.next_after(claim, claim.adapter_ref)


def passed_on(verdict: Verdict) -> Settlement | None:
    """Return what is written for a recipient whom another adapter serves next; None for the others."""
    if verdict.failure_class not in _TRIED_AGAIN:
        return None
    return Settlement(
        delivery_id=verdict.delivery_id,
        state=DispatchState.QUEUED,
        event=EventType.ATTEMPT_FAILED,
        failure_class=verdict.failure_class,
        code=verdict.code,
        provider_message_id=None,
    )


def spread_s(wait_s: float, expires_in_s: float | None, jitter: Jitter) -> float:
    """Return when mail that waits for a breaker is due: not all of it together with the probe.

    It is spread over twice the wait, or over half of what is left until the mail's time is over.
    """
    late_s = jitter(wait_s)
    if expires_in_s is not None and expires_in_s > wait_s:
        late_s = min(late_s, (expires_in_s - wait_s) / 2)
    return wait_s + late_s


def kept_back(delivery_id: UUID, wait_s: float) -> Settlement:
    """Return what is written for a delivery that waits for a breaker; nothing was tried."""
    given = given_back(delivery_id, BREAKER_OPEN)
    return replace(given, failure_class=FailureClass.NOT_SENT, retry_in_s=wait_s)


def kept_back_error(choice: Choice) -> SendError:
    """Return what a caller is told of a mail that waits for a breaker."""
    return SendError(
        f"the adapter {choice.waits_for} fails, so mail waits until it works again",
        type=SendErrorType.ADAPTER_FAILURE,
        failure_class=FailureClass.NOT_SENT,
        code=BREAKER_OPEN,
    )


def routing_after(claim: Claim, verdicts: Sequence[Verdict], following: str | None) -> Routing:
    """Return whose turn it is after an attempt by an adapter.

    What may have been accepted, or may yet be, stays with its adapter, whatever becomes of the other
    recipients.
    """
    if claim.routing is Routing.FIXED or any(map(_is_bound, verdicts)):
        return Routing.FIXED
    return Routing.FREE if following is None else Routing.AFTER


def _is_bound(verdict: Verdict) -> bool:
    """Tell whether an adapter may have a recipient's mail, or still works on a request for it."""
    is_tried_again = verdict.failure_class in _TRIED_AGAIN
    return verdict.failure_class is FailureClass.UNKNOWN or (
        is_tried_again and not fails_over(verdict)
    )


def about(
    settled: Settlement, choice: Choice | None, provider: str | None, following: str | None
) -> dict[str, Json]:
    """Return the row of a delivery with who was called for it, whom that told and who is next."""
    row = settled.row()
    if choice is None or choice.adapter_ref is None:
        return row
    told = {
        "adapter": choice.adapter_ref,
        "provider_name": provider,  # a provider's own report is what names its "provider"
        "provider_message_id": settled.provider_message_id,
        "next_adapter": following if settled.state is DispatchState.QUEUED else None,
    }
    payload = row["payload"]
    known: dict[str, Json] = {name: one for name, one in told.items() if one is not None}
    return row | {"payload": (payload if isinstance(payload, dict) else {}) | known}


def calls(
    ended: Iterable[tuple[Claim, Choice | None, Sequence[Verdict]]], adapters: Mapping[str, object]
) -> list[Call]:
    """Return what attempts tell about the health of the adapters that they went by."""
    return [
        Call(
            tenant_id=claim.tenant_id,
            adapter_ref=choice.adapter_ref,
            end=end_of_call(verdicts),
            is_probe=choice.is_probe,
        )
        for claim, choice, verdicts in ended
        if choice is not None and choice.adapter_ref is not None and verdicts
        if choice.adapter_ref in adapters
    ]


def _unwritten(error: DatabaseAwayError) -> None:
    report(Signal.DATABASE_AWAY, level=logging.ERROR, error_type=type(error).__name__)
