"""Answers: what a caller of ``deliver`` or ``dispatch`` gets back, and what is raised instead."""

from __future__ import annotations

from dataclasses import replace

from mailglass.deliveries import Delivery, DispatchState
from mailglass.errors import (
    FailureClass,
    MailglassError,
    SendError,
    SendErrorType,
    SuppressedError,
    SuppressedErrorType,
)


def returned_or_raised(delivery: Delivery, error: MailglassError | None) -> Delivery:
    """Return a delivery that is sent or will be tried again; raise for one that will not leave."""
    match delivery.state:
        case DispatchState.FAILED | DispatchState.EXPIRED | DispatchState.UNKNOWN_FINAL:
            raise _failed(delivery, error) from error
        case DispatchState.UNKNOWN:
            raise SendError(
                "the provider may have accepted the mail, but no answer came back",
                type=SendErrorType.OUTCOME_UNKNOWN,
                delivery_id=delivery.id,
                provider=delivery.provider,
                failure_class=FailureClass.UNKNOWN,
                code=delivery.code,
            ) from error
        case DispatchState.SUPPRESSED:
            raise _suppressed(delivery, error)
        case DispatchState.QUEUED | DispatchState.SENDING if delivery.failure_class is not None:
            return replace(delivery, error=error or _failed(delivery, None))
        case _:
            return delivery


def _failed(delivery: Delivery, error: MailglassError | None) -> SendError:
    if delivery.state is DispatchState.EXPIRED:
        kind, text = SendErrorType.EXPIRED, "the mail's time was over before it could leave"
    elif isinstance(error, SendError):
        kind, text = error.type, error.message
    elif error is not None:
        kind, text = (
            SendErrorType.PREFLIGHT_REJECTED,
            f"preflight refused the mail: {error.message}",
        )
    else:
        kind = SendErrorType.ADAPTER_FAILURE
        text = f"{delivery.provider} did not take the mail ({delivery.code or 'no code'})"
    return SendError(
        text,
        type=kind,
        delivery_id=delivery.id,
        provider=delivery.provider,
        failure_class=FailureClass(delivery.failure_class) if delivery.failure_class else None,
        code=delivery.code,
    )


def _suppressed(delivery: Delivery, error: MailglassError | None) -> MailglassError:
    if isinstance(error, SuppressedError):
        return error
    return SuppressedError(
        f"{delivery.provider} refuses this recipient ({delivery.code or 'no code'})",
        type=SuppressedErrorType.ADDRESS,
        tenant_id=delivery.tenant_id,
        stream=delivery.stream.value,
        reason="invalid_recipient",
        source=f"adapter:{delivery.provider}",
    )
