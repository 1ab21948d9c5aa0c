"""Dispatch: claim one message, ask preflight again, hand it over, write what came of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Final
from uuid import UUID

from mailglass.adapters import Adapter
from mailglass.clock import boot_seconds
from mailglass.delivery.call import call, same_for_all, verdict_of_refusal
from mailglass.delivery.claiming import CLAIM_WAIT_S_MAX, claim_group, claim_one
from mailglass.delivery.evidence import left_out
from mailglass.delivery.gate import FREE, Gate, Pass, unknown_turn
from mailglass.delivery.outcome import Jitter
from mailglass.delivery.redirect import Redirect
from mailglass.delivery.refusals import Refusals, refusals_of, untouched
from mailglass.delivery.refused import kept_of
from mailglass.delivery.routing import Choice, Router
from mailglass.delivery.settling import Attempt, released, report_settled, row_of
from mailglass.delivery.steering import (
    BREAKER_OPEN,
    calls,
    instead,
    kept_back_error,
    next_ref,
    set_out,
    written,
)
from mailglass.delivery.thaw import as_checked
from mailglass.delivery.tokens import TokensLater
from mailglass.envelope import Verdict
from mailglass.errors import (
    ConfigError,
    FailureClass,
    MailglassError,
    RateLimitError,
    SendError,
    SendErrorType,
)
from mailglass.ledger.faults import DatabaseAwayError, persistently
from mailglass.ledger.features import SendingSwitch
from mailglass.ledger.rows import Claim, Routing
from mailglass.ledger.store import Store
from mailglass.ledger.suppressions import Suppressions
from mailglass.message import Stream
from mailglass.preflight import Check, Context, Phase, run
from mailglass.preflight.own_checks import refusal_of_bug
from mailglass.preflight.suppression import erasure_key_of
from mailglass.settings import Settings
from mailglass.telemetry import SpanName, span

_FRESH_S: Final = 1.0
"""How long an answer about suppressions may be old when the bytes leave."""


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
    gate: Gate | None = None
    router: Router | None = None

    def dispatch(self, tenant_id: str, message_id: UUID) -> MailglassError | None:
        """Attempt a due message and return the error that refused or failed it, if any.

        Where an adapter refuses it and the route has another, that one is tried at once, by a claim of
        its own. Nothing happens when the message is not due, is settled, or is another's. No
        transaction is open while the adapter works: the claim is committed before, the verdicts after.
        """
        error = None
        while (claim := self.claim(tenant_id, message_id)) is not None:
            attempt = self._dispatch(claim)
            error = attempt.error
            if not attempt.goes_on:
                break
        return error

    def _dispatch(self, claim: Claim) -> Attempt:
        tenant_id, message_id = claim.tenant_id, claim.message_id
        with span(SpanName.ATTEMPT) as step:
            step.note(tenant_id=tenant_id, message_id=message_id, stream=claim.stream.value)
            attempt = self.attempt(claim)
            step.note(provider=attempt.provider, attempt=claim.attempt)
        with span(SpanName.FINALIZE) as step:
            step.note(tenant_id=tenant_id, message_id=message_id, count=1)
            self.finalize([attempt])
        return attempt

    def claim(self, tenant_id: str, message_id: UUID) -> Claim | None:
        """Claim one message; None when it is not due, settled, somebody else's or refused by the ledger."""
        return claim_one(self.store, tenant_id, message_id, lease_s=self.lease_s)

    def claim_due(self, stream: Stream, *, limit: int) -> tuple[Claim, ...]:
        """Claim up to ``limit`` due messages of a stream that need no order."""
        self.switch.settle()
        claims = claim_group(self.store, stream, limit=limit, lease_s=self.lease_s)
        return claims if self.router is None else set_out(self.router, claims)

    def suppressions_of(self, claims: Sequence[Claim]) -> Mapping[str, Refusals]:
        """Ask for the refusals that touch any of the claims, once a tenant and stream."""
        return refusals_of(self.store, claims, erasure_key=erasure_key_of(self.settings))

    def passes_of(
        self, claims: Sequence[Claim], known: Mapping[str, Refusals] | None = None
    ) -> Mapping[UUID, Pass]:
        """Ask for the claims' turns, all in one statement; what is left out asks when it is tried.

        With ``known``, by tenant, so is what a suppression touches: it may use up nothing.
        """
        if self.gate is None:
            return MappingProxyType({})
        if known is not None and self.gate.limits:
            claims = untouched(claims, known, erasure_key=erasure_key_of(self.settings))
        try:
            return self.gate.passes_of(claims)
        except DatabaseAwayError:
            return MappingProxyType({})

    def attempt(
        self, claim: Claim, suppressions: Refusals | None = None, turn: Pass | None = None
    ) -> Attempt:
        """Ask preflight again and call the adapter once; nothing is written but rate tokens.

        Whatever goes wrong becomes a verdict, so that no claim is held for it. A claim that has waited
        too long is given back: its lease might end before the adapter does. ``suppressions`` answers
        what was asked together with the claim; after a second it is asked anew. ``turn`` is what came
        of the limits then; a mail whose turn has not come goes back and is due when it comes. Which
        adapter it goes by is decided last, and committed before any byte leaves. A recipient whose
        mail the provider has, or may have under a key that it forgot meanwhile, is left out.
        """
        if self.switch.is_off(claim.tenant_id, claim.stream):
            return released(claim, "sending_off")
        try:
            unsure = self._left_out(claim)
        except DatabaseAwayError as error:
            return released(claim, "database_away", due_at=unknown_turn(claim, error).at)
        if not unsure:
            return self._attempt(claim, suppressions, turn)
        names = {str(one.delivery_id) for one in unsure}
        rest = tuple(one for one in claim.recipients if str(one["delivery_id"]) not in names)
        if not rest:
            return Attempt(claim=claim, provider=None, verdicts=unsure)
        ended = self._attempt(replace(claim, recipients=rest), suppressions, turn)
        return _with_the_rest(ended, claim, unsure)

    def _left_out(self, claim: Claim) -> tuple[Verdict, ...]:
        try:
            adapter = self.adapter_named(claim.adapter_ref)
        except ConfigError:  # it leaves nothing then, or another one that the attempt chooses
            return left_out(self.store, claim, None)
        return left_out(self.store, claim, adapter.capabilities.idempotency_window_s)

    def _attempt(self, claim: Claim, suppressions: Refusals | None, turn: Pass | None) -> Attempt:
        hope = self._hope(claim)
        if hope.adapter_ref is None:
            return _kept_back(claim, hope)
        is_its_own = hope.adapter_ref == claim.adapter_ref
        aimed = claim if is_its_own else replace(claim, adapter_ref=hope.adapter_ref)
        try:
            self.adapter_named(aimed.adapter_ref)
        except ConfigError as missing:
            return _refused(claim, missing, provider=aimed.adapter_ref)
        known, later = turn if is_its_own else None, TokensLater()
        if known is None and (refusal := self._refusal(claim, suppressions, later)) is not None:
            return _stopped(claim, refusal)
        turn = self._turn(aimed, known)
        if (steered := instead(self.router, aimed, turn)) is not None:
            return self._attempt(steered, suppressions, None)
        if not turn.is_taken:
            return released(claim, "rate_limited", due_at=turn.at)
        # What callers are allowed is taken now, so that a mail that is put off takes it once.
        is_open = known is not None or later.was_asked
        if is_open and (refusal := self._refusal(claim, suppressions)) is not None:
            return _stopped(claim, refusal)
        turn = self._turn_now(aimed, turn)
        if (steered := instead(self.router, aimed, turn)) is not None:
            return self._attempt(steered, suppressions, None)
        if not turn.is_taken:
            return released(claim, "rate_limited", due_at=turn.at)
        if _is_too_old(claim):
            return released(claim, "claim_too_old")
        return self._steered(claim, aimed.adapter_ref)

    def _hope(self, claim: Claim) -> Choice:
        """Return the adapter that the claim will probably go by."""
        if self.router is None:
            return Choice(adapter_ref=claim.adapter_ref, routing=claim.routing)
        return self.router.choose(claim, rests=self._rests)

    def _rests(self, adapter_ref: str) -> bool:
        return self.gate is not None and self.gate.rests(adapter_ref)

    def _steered(self, claim: Claim, aimed_ref: str) -> Attempt:
        """Choose the adapter, write that down, and call it; the limits were asked for ``aimed_ref``."""
        if self.router is None:
            return self._called(claim, self._hope(claim))
        lease_s = CLAIM_WAIT_S_MAX + self.lease_s * len(claim.recipients)
        choice = self.router.choose(claim, rests=self._rests, lease_s=lease_s, aimed_ref=aimed_ref)
        if choice.adapter_ref is None:
            return _kept_back(claim, choice)
        steered = written(self.router, claim, choice)
        if steered is None or _is_too_old(steered):  # the writing may have waited for the database
            return released(claim, "claim_lost" if steered is None else "claim_too_old")
        if steered.adapter_ref != aimed_ref:
            turn = self._turn_now(steered, self._turn(steered, None))
            if not turn.is_taken:
                return released(steered, "rate_limited", due_at=turn.at)
        return self._called(steered, choice)

    def _called(self, claim: Claim, choice: Choice) -> Attempt:
        try:
            adapter = self.adapter_named(claim.adapter_ref)
        except ConfigError as missing:
            error: MailglassError | None = missing
            provider, verdicts = claim.adapter_ref, _refused(claim, missing).verdicts
        else:
            provider = adapter.name
            verdicts, error = call(claim, adapter)
            if self.gate is not None:
                verdicts = self.gate.learnt(claim, verdicts)
        return Attempt(
            claim=claim,
            provider=provider,
            verdicts=verdicts,
            error=error,
            choice=choice,
            next_ref=None if self.router is None else next_ref(self.router, claim, verdicts),
        )

    def finalize(self, attempts: Sequence[Attempt]) -> None:
        """Write what came of attempts, all in one statement."""
        rows = [row_of(one, self.settings, self.jitter) for one in attempts]
        states = persistently(partial(self.store.finalize_attempts, rows))
        for one in attempts:
            report_settled(one, states.get(one.claim.message_id))
        # What was sent is written first: losing that would be worse than losing a suppression.
        for one in attempts:
            if one.provider is not None:  # preflight's own refusal is no news
                self._suppress_refused(one.claim, one.verdicts)
        if self.router is not None:
            ended = ((one.claim, one.choice, one.verdicts) for one in attempts)
            self.router.breakers.note(calls(ended, self.router.adapters))

    def _turn(self, claim: Claim, known: Pass | None) -> Pass:
        """Return when the claim may leave, as it was asked with the others or as it is asked now."""
        if self.gate is None:
            return FREE
        try:
            return known or self.gate.passes_of([claim])[claim.message_id]
        except DatabaseAwayError as error:
            return unknown_turn(claim, error)

    def _turn_now(self, claim: Claim, turn: Pass) -> Pass:
        """Wait for the claim's turn; one that is not taken says when the mail is due again."""
        if self.gate is None:
            return turn
        try:
            return self.gate.turn_now(claim, turn)
        except DatabaseAwayError as error:
            return unknown_turn(claim, error)

    def _refusal(
        self, claim: Claim, suppressions: Refusals | None, later: TokensLater | None = None
    ) -> MailglassError | None:
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
            context = self._context(claim, suppressions)
            context = context if later is None else replace(context, take=later.take)
            run(self.checks, as_checked(claim, self.checks), context)
        except MailglassError as error:
            return error
        except Exception as error:  # noqa: BLE001 - a check's bug must not hold the claim until its lease ends
            return refusal_of_bug(error, tenant_id=claim.tenant_id, message_id=claim.message_id)
        return None

    def _context(self, claim: Claim, suppressions: Refusals | None) -> Context:
        context = self.context_of(claim.tenant_id, Phase.DISPATCH)
        if suppressions is None or boot_seconds() - claim.taken_at > _FRESH_S:
            suppressions = context.suppressions
        # The turn of another adapter is no first attempt: tokens were taken for the one before.
        turns = claim.routing in {Routing.AFTER, Routing.AT}
        return Context(
            tenant_id=context.tenant_id,
            phase=context.phase,
            settings=context.settings,
            suppressions=suppressions,
            take=context.take,
            attempt=claim.attempt + turns,
            message_bytes_max=context.message_bytes_max,
        )

    def _suppress_refused(self, claim: Claim, verdicts: tuple[Verdict, ...]) -> None:
        """Record that a provider refuses a recipient, so that the next mail stops at preflight."""
        refused = [one for one in verdicts if one.failure_class is FailureClass.SUPPRESSED]
        for row in claim.recipients if refused else ():
            said = [one.code for one in refused if one.delivery_id == UUID(row["delivery_id"])]
            kept = kept_of(said[0]) if said else None
            if kept is not None:
                entry = kept.entry(
                    row["address"], claim.stream, source=f"adapter:{claim.adapter_ref}"
                )
                Suppressions(store=self.store, tenant_id=claim.tenant_id, by="dispatch").add(entry)


def _is_too_old(claim: Claim) -> bool:
    return boot_seconds() - claim.taken_at > CLAIM_WAIT_S_MAX


def _with_the_rest(ended: Attempt, claim: Claim, unsure: tuple[Verdict, ...]) -> Attempt:
    """Return an attempt that left some recipients out as one of all; no other adapter has its turn."""
    if ended.released is not None:
        return replace(ended, claim=_steered_as(claim, ended.claim))
    return replace(
        ended,
        claim=_steered_as(claim, ended.claim),
        verdicts=(*ended.verdicts, *unsure),
        next_ref=None,
    )


def _steered_as(claim: Claim, steered: Claim) -> Claim:
    return replace(claim, adapter_ref=steered.adapter_ref, routing=steered.routing)


def _kept_back(claim: Claim, choice: Choice) -> Attempt:
    return replace(released(claim, BREAKER_OPEN), choice=choice, error=kept_back_error(choice))


def _stopped(claim: Claim, refusal: MailglassError) -> Attempt:
    if not isinstance(refusal, RateLimitError):
        return _refused(claim, refusal)
    due_at = boot_seconds() + refusal.retry_after_ms / 1000
    return released(claim, refusal.type.value, due_at=due_at)


def _refused(claim: Claim, error: MailglassError, provider: str | None = None) -> Attempt:
    verdicts = same_for_all(claim, verdict_of_refusal(error))
    return Attempt(claim=claim, provider=provider, verdicts=verdicts, error=error)
