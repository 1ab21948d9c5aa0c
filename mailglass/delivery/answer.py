"""Answers: what a caller of ``deliver`` or ``dispatch`` gets back, and what is raised instead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final
from uuid import UUID

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
from mailglass.mailable import Mailable
from mailglass.message import Message, RecipientKind

_NIL: Final = UUID(int=0)


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
    if delivery.code in set(SuppressedErrorType):
        return SuppressedError(
            "a suppression refused this recipient before the mail left",
            type=SuppressedErrorType(delivery.code),
            tenant_id=delivery.tenant_id,
            stream=delivery.stream.value,
            source="preflight",
        )
    return SuppressedError(
        f"{delivery.provider} refuses this recipient ({delivery.code or 'no code'})",
        type=SuppressedErrorType.ADDRESS,
        tenant_id=delivery.tenant_id,
        stream=delivery.stream.value,
        reason="invalid_recipient",
        source=f"adapter:{delivery.provider}",
    )


def answers_of(
    deliveries: Sequence[Delivery], error: MailglassError | None
) -> tuple[Delivery, ...]:
    """Return every recipient's delivery, or raise when the mail will not leave for somebody.

    Raises:
        BatchFailed: ``partial_failure``, when it is or will be sent to some recipients and not to
            others; ``failures`` has one error for each of those.
        MailglassError: the first recipient's error, when it will not leave for anybody.

    """
    answers: list[Delivery] = []
    failures: list[MailglassError] = []
    for one in deliveries:
        try:
            answers.append(returned_or_raised(one, error))
        except MailglassError as refused:
            failures.append(refused)
    if not failures:
        return tuple(answers)
    if not answers:
        raise failures[0]
    raise BatchFailed(
        f"the mail will not leave for {len(failures)} of {len(deliveries)} recipients",
        type=BatchFailedType.PARTIAL_FAILURE,
        failures=tuple(failures),
    ) from error


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


def answer_of(tenant_id: str, mail: Mailable | Message, item: Item, now: datetime) -> Delivery:
    """Return a mail's place in a batch's results: its delivery, with the error if it was refused.

    A refused mail without a row is stood for by a delivery whose ids are nil (RFC 9562 §5.9).
    """
    if item.delivery is not None:
        return replace(item.delivery, error=item.error) if item.error else item.delivery
    name = mail.mailable if isinstance(mail, Message) else type(mail).qualified_name()
    return Delivery(
        id=_NIL,
        message_id=_NIL,
        tenant_id=tenant_id,
        kind=RecipientKind.TO,
        stream=mail.stream,
        state=DispatchState.FAILED,
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
