"""Dispatch: claim one message, ask preflight again, hand it over, write what came of it."""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Final, TypeAlias
from uuid import UUID

from mailglass.adapters import Adapter
from mailglass.address import parse_address
from mailglass.clock import boot_seconds
from mailglass.deliveries import DispatchState
from mailglass.delivery.batch import known_suppressions
from mailglass.delivery.outcome import (
    Jitter,
    class_of_error,
    counts_as_attempt,
    given_back,
    settle,
)
from mailglass.delivery.redirect import Redirect
from mailglass.delivery.thaw import thaw
from mailglass.envelope import Envelope, Recipient, Verdict
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
from mailglass.ledger.faults import DatabaseAwayError
from mailglass.ledger.features import SendingSwitch
from mailglass.ledger.rows import Claim
from mailglass.ledger.store import Store
from mailglass.ledger.suppressions import Suppressions
from mailglass.message import Message, RecipientKind, Stream
from mailglass.preflight import Check, Context, Phase, network_guard, run
from mailglass.preflight.suppression import erasure_key_of
from mailglass.settings import Settings
from mailglass.suppression import (
    Suppression,
    SuppressionReason,
    SuppressionScope,
    asked_values,
)
from mailglass.telemetry import Signal, SpanName, report, span

CLAIM_WAIT_S_MAX: Final = 30.0
"""How long a claim may wait for its turn; the lease holds that much more than the adapter needs."""
_FRESH_S: Final = 1.0
"""How long an answer about suppressions may be old when the bytes leave."""
_WRITES_MAX: Final = 3
"""How often an attempt's verdicts are written before a cut connection is told."""


Refusals: TypeAlias = Callable[[Sequence[str], Stream], Sequence[Suppression]]
"""Returns the refusals that hold for any of the address keys and domains on a stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What came of one claim: a verdict a recipient, and the error that refused or failed it.

    ``released`` says why the claim is given back where nothing was tried; there are no verdicts then.
    """

    claim: Claim
    provider: str | None
    verdicts: tuple[Verdict, ...]
    error: MailglassError | None = None
    released: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatcher:
    """Attempts messages; holds no state of its own, so threads may share it.

    ``lease_s`` is how long one recipient may take at the slowest adapter; the claim multiplies it by
    the recipients.
    """

    store: Store
    settings: Settings
    checks: Sequence[Check]
    adapter_named: Callable[[str], Adapter]
    context_of: Callable[[str, Phase], Context]
    jitter: Jitter
    lease_s: float
    switch: SendingSwitch = field(default_factory=SendingSwitch)
    redirect: Redirect = field(default_factory=Redirect)

    def dispatch(self, tenant_id: str, message_id: UUID) -> MailglassError | None:
        """Attempt a due message once and return the error that refused or failed it, if any.

        Nothing happens when the message is not due, is settled, or is another's. No transaction is
        open while the adapter works: the claim is committed before, the verdicts after.
        """
        claim = self.claim(tenant_id, message_id)
        if claim is None:
            return None
        with span(SpanName.ATTEMPT) as step:
            step.note(tenant_id=tenant_id, message_id=message_id, stream=claim.stream.value)
            attempt = self.attempt(claim)
            step.note(provider=attempt.provider, attempt=claim.attempt)
        with span(SpanName.FINALIZE) as step:
            step.note(tenant_id=tenant_id, message_id=message_id, count=1)
            self.finalize([attempt])
        return attempt.error

    def claim(self, tenant_id: str, message_id: UUID) -> Claim | None:
        """Claim one message; None when it is not due, settled or somebody else's."""
        return self.store.claim_message(
            tenant_id, message_id, lease_s=self.lease_s, wait_s=CLAIM_WAIT_S_MAX
        )

    def claim_due(self, stream: Stream, *, limit: int) -> tuple[Claim, ...]:
        """Claim up to ``limit`` due messages of a stream that need no order."""
        self.switch.settle()
        return self.store.claim_due(
            stream, limit=limit, lease_s=self.lease_s, wait_s=CLAIM_WAIT_S_MAX
        )

    def suppressions_of(self, claims: Sequence[Claim]) -> Mapping[str, Refusals]:
        """Ask for the refusals that touch any of the claims, once a tenant and stream."""
        erasure_key = erasure_key_of(self.settings)
        asked: dict[str, dict[Stream, set[str]]] = {}
        for claim in claims:
            values = asked.setdefault(claim.tenant_id, {}).setdefault(claim.stream, set())
            keys = [row["address_key"] for row in claim.recipients]
            values |= asked_values(keys, tenant_id=claim.tenant_id, erasure_key=erasure_key)
        return {
            tenant_id: known_suppressions(self.store, tenant_id, of_streams)
            for tenant_id, of_streams in asked.items()
        }

    def attempt(self, claim: Claim, suppressions: Refusals | None = None) -> Attempt:
        """Ask preflight again and call the adapter once; nothing is written but rate tokens.

        Whatever goes wrong becomes a verdict, so that no claim is held for it. A claim that has waited
        too long is given back: its lease might end before the adapter does. ``suppressions`` answers
        what was asked together with the claim; after a second it is asked anew.
        """
        if self.switch.is_off(claim.tenant_id, claim.stream):
            return released(claim, "sending_off")
        try:
            adapter = self.adapter_named(claim.adapter_ref)
        except ConfigError as missing:
            return _refused(claim, claim.adapter_ref, missing)
        refusal = self._refusal(claim, suppressions)
        if refusal is not None:
            return _refused(claim, adapter.name, refusal)
        if boot_seconds() - claim.taken_at > CLAIM_WAIT_S_MAX:
            return released(claim, "claim_too_old")
        verdicts, error = _attempt(claim, adapter)
        return Attempt(claim=claim, provider=adapter.name, verdicts=verdicts, error=error)

    def finalize(self, attempts: Sequence[Attempt]) -> None:
        """Write what came of attempts, all in one statement."""
        rows = [self._row(one) for one in attempts]
        states = _persistently(partial(self.store.finalize_attempts, rows))
        for one in attempts:
            _report(one, states.get(one.claim.message_id))
        # What was sent is written first: losing that would be worse than losing a suppression.
        for one in attempts:
            self._suppress_refused(one.claim, one.verdicts)

    def _row(self, attempt: Attempt) -> dict[str, Json]:
        claim = attempt.claim
        if attempt.released is not None:
            settled = [
                given_back(UUID(one["delivery_id"]), attempt.released) for one in claim.recipients
            ]
        else:
            settled = [
                settle(
                    one,
                    attempt=claim.attempt,
                    expires_in_s=claim.expires_in_s,
                    settings=self.settings,
                    jitter=self.jitter,
                )
                for one in attempt.verdicts
            ]
        return {
            "message_id": str(claim.message_id),
            "tenant_id": claim.tenant_id,
            "token": claim.token,
            "provider": attempt.provider,
            "retry_in_s": max((one.retry_in_s for one in settled), default=0.0),
            "counts": counts_as_attempt(attempt.verdicts),
            "verdicts": [one.row() for one in settled],
        }

    def _refusal(self, claim: Claim, suppressions: Refusals | None) -> MailglassError | None:
        """Ask preflight again, now that time has passed since the message was queued."""
        stranger = self.redirect.refusal(claim.recipients)
        if stranger is not None:
            return stranger
        if claim.payload is None:
            return SendError(
                "the message's payload was scrubbed, so it cannot be sent any more",
                type=SendErrorType.PAYLOAD_MISSING,
            )
        if hashlib.sha256(claim.payload).digest() != claim.payload_sha256:
            return SendError(
                "the message's payload is not the one that was frozen",
                type=SendErrorType.SERIALIZATION_FAILED,
                code="payload_hash",
            )
        try:
            run(self.checks, _as_frozen(claim), self._context(claim, suppressions))
        except MailglassError as error:
            return error
        except Exception as error:  # noqa: BLE001 - a check's bug must not hold the claim until its lease ends
            name = type(error).__name__
            report(
                Signal.CHECK_RAISED,
                level=logging.ERROR,
                tenant_id=claim.tenant_id,
                message_id=claim.message_id,
                error_type=name,
            )
            return SendError(
                f"a check of preflight raised {name}; nothing has left",
                type=SendErrorType.PREFLIGHT_REJECTED,
                failure_class=FailureClass.NOT_SENT,
                code=name,
            )
        return None

    def _context(self, claim: Claim, suppressions: Refusals | None) -> Context:
        context = self.context_of(claim.tenant_id, Phase.DISPATCH)
        if suppressions is None or boot_seconds() - claim.taken_at > _FRESH_S:
            suppressions = context.suppressions
        return replace(context, attempt=claim.attempt, suppressions=suppressions)

    def _suppress_refused(self, claim: Claim, verdicts: tuple[Verdict, ...]) -> None:
        """Record that a provider refuses a recipient, so that the next mail stops at preflight."""
        refused = {
            one.delivery_id for one in verdicts if one.failure_class is FailureClass.SUPPRESSED
        }
        for row in claim.recipients:
            if UUID(row["delivery_id"]) in refused:
                entry = Suppression(
                    scope=SuppressionScope.ADDRESS,
                    value=parse_address(row["address"]).key,
                    reason=SuppressionReason.INVALID_RECIPIENT,
                    source=f"adapter:{claim.adapter_ref}",
                )
                Suppressions(store=self.store, tenant_id=claim.tenant_id, by="dispatch").add(entry)


def released(claim: Claim, why: str) -> Attempt:
    """Return what gives a claim back with nothing sent: it is due again and has used up no attempt."""
    return Attempt(claim=claim, provider=None, verdicts=(), released=why)


def _refused(claim: Claim, provider: str, error: MailglassError) -> Attempt:
    verdicts = _same_for_all(claim, _verdict_of_refusal(error))
    return Attempt(claim=claim, provider=provider, verdicts=verdicts, error=error)


def _report(attempt: Attempt, state: DispatchState | None) -> None:
    claim = attempt.claim
    report(
        Signal.FENCED if state is None else Signal.SETTLED,
        level=logging.WARNING if state is None else logging.INFO,
        tenant_id=claim.tenant_id,
        message_id=claim.message_id,
        stream=claim.stream.value,
        provider=attempt.provider,
        state=state.value if state else None,
        attempt=claim.attempt,
    )


def _persistently(
    write: Callable[[], Mapping[UUID, DispatchState]],
) -> Mapping[UUID, DispatchState]:
    """Write again over another connection when one was cut: the fencing tokens make that safe.

    Where the first writing took place after all, the second finds nothing left to settle.
    """
    for _ in range(_WRITES_MAX - 1):
        try:
            return write()
        except DatabaseAwayError:
            continue
    return write()


def _as_frozen(claim: Claim) -> Message:
    """Return the message as preflight saw it, with the time it was scheduled for."""
    message = thaw(claim)
    send_at = claim.settings.get("send_at")
    return message.replace(send_at=datetime.fromisoformat(send_at)) if send_at else message


def _attempt(claim: Claim, adapter: Adapter) -> tuple[tuple[Verdict, ...], MailglassError | None]:
    """Call the adapter once; whatever it raises becomes a verdict for each recipient."""
    envelope = _envelope(claim)
    try:
        return _complete(envelope, adapter.send(envelope).verdicts), None
    except MailglassError as error:
        code = getattr(error, "code", None) or error.type.value
        wait_s = error.retry_after_ms / 1000 if isinstance(error, RateLimitError) else None
        verdict = Verdict(
            delivery_id=claim.message_id,
            failure_class=class_of_error(error),
            code=code,
            retry_after_s=wait_s,
        )
        return _same_for_all(claim, verdict), error
    except Exception as error:  # noqa: BLE001 - an adapter's bug must leave a verdict: nobody knows what left
        report(
            Signal.ADAPTER_RAISED,
            level=logging.ERROR,
            tenant_id=claim.tenant_id,
            message_id=claim.message_id,
            provider=adapter.name,
            error_type=type(error).__name__,
        )
        verdict = Verdict(
            delivery_id=claim.message_id,
            failure_class=FailureClass.UNKNOWN,
            code=type(error).__name__,
        )
        return _same_for_all(claim, verdict), None


def _complete(envelope: Envelope, verdicts: tuple[Verdict, ...]) -> tuple[Verdict, ...]:
    """Give every recipient a verdict; one that the adapter forgot is unknown."""
    known = {one.delivery_id: one for one in verdicts}
    return tuple(
        known.get(one.delivery_id)
        or Verdict(
            delivery_id=one.delivery_id, failure_class=FailureClass.UNKNOWN, code="no_verdict"
        )
        for one in envelope.recipients
    )


def _same_for_all(claim: Claim, verdict: Verdict) -> tuple[Verdict, ...]:
    return tuple(replace(verdict, delivery_id=UUID(row["delivery_id"])) for row in claim.recipients)


def _verdict_of_refusal(error: MailglassError) -> Verdict:
    """Return what preflight's second no makes of the attempt: nothing has left."""
    match error:
        case SuppressedError():
            failure, code, wait_s = FailureClass.SUPPRESSED, error.type.value, None
        case RateLimitError():
            failure, code, wait_s = (
                FailureClass.NOT_SENT,
                error.type.value,
                error.retry_after_ms / 1000,
            )
        case SendError():
            failure = error.failure_class or FailureClass.PERMANENT
            code, wait_s = error.code or error.type.value, None
        case ConfigError(key="adapters"):
            failure, code, wait_s = FailureClass.CONFIGURATION, "adapter_missing", None
        case ConfigError(key=network_guard.SETTING):
            failure, code, wait_s = FailureClass.CONFIGURATION, "real_network_off", None
        case _:
            failure, code, wait_s = FailureClass.PERMANENT, "preflight_rejected", None
    return Verdict(delivery_id=UUID(int=0), failure_class=failure, code=code, retry_after_s=wait_s)


def _envelope(claim: Claim) -> Envelope:
    payload = claim.payload or b""
    key = f"{claim.tenant_id}\0{claim.message_id}\0{claim.payload_sha256.hex()}"
    digest = hashlib.sha256(key.encode()).digest()
    return Envelope(
        message_id=claim.message_id,
        tenant_id=claim.tenant_id,
        stream=claim.stream,
        mail_from=parse_address(claim.mail_from),
        recipients=tuple(
            Recipient(
                delivery_id=UUID(row["delivery_id"]),
                kind=RecipientKind(row["kind"]),
                address=parse_address(row["address"]),
            )
            for row in claim.recipients
        ),
        payload=payload,
        token=claim.token,
        attempt=claim.attempt,
        idempotency_key=base64.b32encode(digest).decode()[:32],
        thaw=partial(thaw, claim),
    )
