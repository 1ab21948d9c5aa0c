"""Call: one attempt becomes an envelope for one adapter, and whatever comes back a verdict a recipient."""

from __future__ import annotations

import base64
import hashlib
import logging
from dataclasses import replace
from functools import partial
from typing import Final
from uuid import UUID

from mailglass.adapters import Adapter
from mailglass.address import parse_address
from mailglass.delivery.outcome import class_of_error
from mailglass.delivery.thaw import thaw
from mailglass.envelope import Envelope, Recipient, Verdict
from mailglass.errors import (
    ConfigError,
    FailureClass,
    MailglassError,
    RateLimitError,
    SendError,
    SuppressedError,
)
from mailglass.ledger.rows import Claim
from mailglass.message import RecipientKind
from mailglass.preflight import network_guard
from mailglass.telemetry import Signal, report

_KEY_OCTETS: Final = 20
"""Of a hash: 32 letters in base32."""


def call(claim: Claim, adapter: Adapter) -> tuple[tuple[Verdict, ...], MailglassError | None]:
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
        return same_for_all(claim, verdict), error
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
        return same_for_all(claim, verdict), None


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


def same_for_all(claim: Claim, verdict: Verdict) -> tuple[Verdict, ...]:
    """Return the verdict for each recipient of a claim."""
    return tuple(replace(verdict, delivery_id=UUID(row["delivery_id"])) for row in claim.recipients)


def verdict_of_refusal(error: MailglassError) -> Verdict:
    """Return what preflight's second no makes of the attempt: nothing has left."""
    match error:
        case SuppressedError():
            failure, code = FailureClass.SUPPRESSED, error.type.value
        case SendError():
            failure = error.failure_class or FailureClass.PERMANENT
            code = error.code or error.type.value
        case ConfigError(key="adapters"):
            failure, code = FailureClass.CONFIGURATION, "adapter_missing"
        case ConfigError(key=network_guard.SETTING):
            failure, code = FailureClass.CONFIGURATION, "real_network_off"
        case ConfigError(key="erasure_key"):
            failure, code = FailureClass.CONFIGURATION, "erasure_key_unknown"
        case _:
            failure, code = FailureClass.PERMANENT, "preflight_rejected"
    return Verdict(delivery_id=UUID(int=0), failure_class=failure, code=code)


def _envelope(claim: Claim) -> Envelope:
    payload = claim.payload or b""
    key = f"{claim.tenant_id}\0{claim.message_id}\0{claim.payload_sha256.hex()}"
    digest = hashlib.sha256(key.encode()).digest()[:_KEY_OCTETS]
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
        idempotency_key=base64.b32encode(digest).decode(),
        thaw=partial(thaw, claim),
    )
