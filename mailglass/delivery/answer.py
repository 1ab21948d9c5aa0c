"""Answers: what a caller of ``deliver`` or ``dispatch`` gets back, and what is raised instead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from mailglass.deliveries import Delivery, DispatchState, Outcome
from mailglass.delivery.batch import Item
from mailglass.errors import (
    BatchFailed,
    BatchFailedType,
    FailureClass,
    MailglassError,
    SendError,
    SendErrorType,
    SuppressedError,
    SuppressedErrorType,
)
from mailglass.ids import new_id
from mailglass.mailable import Mailable
from mailglass.message import Message, RecipientKind


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


def raise_for_refused(items: Sequence[Item]) -> None:
    """Raise BatchFailed when any item of a batch was refused."""
    failures = tuple(item.error for item in items if item.error is not None)
    if failures:
        everything = len(failures) == len(items)
        raise BatchFailed(
            f"{len(failures)} of {len(items)} mails were refused",
            type=BatchFailedType.ALL_FAILED if everything else BatchFailedType.PARTIAL_FAILURE,
            failures=failures,
        )


def stand_in(tenant_id: str, mail: Mailable | Message, item: Item, now: datetime) -> Delivery:
    """Return the delivery that stands for a refused mail in a batch's results; it has no row."""
    is_suppressed = isinstance(item.error, SuppressedError)
    name = mail.mailable if isinstance(mail, Message) else type(mail).qualified_name()
    return Delivery(
        id=new_id(),
        message_id=new_id(),
        tenant_id=tenant_id,
        kind=RecipientKind.TO,
        stream=mail.stream,
        state=DispatchState.SUPPRESSED if is_suppressed else DispatchState.FAILED,
        outcome=Outcome.NONE,
        mailable=name,
        provider=None,
        provider_message_id=None,
        failure_class=None,
        code=item.error.type.value if item.error else None,
        attempts=0,
        run_at=None,
        created_at=now,
        updated_at=now,
        payload_bytes=0,
        payload_sha256=b"",
        error=item.error,
    )
