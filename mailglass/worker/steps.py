"""Steps: what a worker does with mail, each of them timed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from uuid import UUID

from mailglass.app import Mailglass
from mailglass.delivery.gate import Pass
from mailglass.delivery.refusals import Refusals
from mailglass.delivery.settling import Attempt
from mailglass.ledger.rows import Claim
from mailglass.message import Stream
from mailglass.telemetry import SpanName, span


def claim_due(mail: Mailglass, stream: Stream, *, limit: int) -> tuple[Claim, ...]:
    """Claim up to ``limit`` due messages of a stream that need no order."""
    with span(SpanName.CLAIM) as step:
        claims = mail.dispatcher.claim_due(stream, limit=limit)
        step.note(stream=stream.value, count=len(claims))
        if not claims:
            step.drop()
    return claims


def claim(mail: Mailglass, tenant_id: str, message_id: UUID) -> Claim | None:
    """Claim one message; None when it is not due, settled or somebody else's."""
    with span(SpanName.CLAIM) as step:
        found = mail.dispatcher.claim(tenant_id, message_id)
        step.note(tenant_id=tenant_id, message_id=message_id, count=1)
        if found is None:
            step.drop()
    return found


def attempt(
    mail: Mailglass, one: Claim, suppressions: Refusals | None = None, turn: Pass | None = None
) -> Attempt:
    """Attempt a claimed message once, when it is its turn; nothing is written yet."""
    with span(SpanName.ATTEMPT) as step:
        step.note(
            tenant_id=one.tenant_id,
            message_id=one.message_id,
            stream=one.stream.value,
            attempt=one.attempt,
        )
        ended = mail.dispatcher.attempt(one, suppressions, turn)
        error = ended.error
        step.note(
            provider=ended.provider,
            error_type=f"{type(error).__name__}.{error.type.value}" if error else None,
        )
    return ended


def finalize(mail: Mailglass, attempts: Sequence[Attempt]) -> None:
    """Write what came of attempts."""
    with span(SpanName.FINALIZE) as step:
        step.note(count=len(attempts))
        mail.dispatcher.finalize(attempts)


def sweep(mail: Mailglass) -> None:
    """Move what time alone decides."""
    with span(SpanName.SWEEP) as step:
        moved = sum(astuple(mail.sweep()))
        step.note(count=moved)
        if not moved:
            step.drop()
