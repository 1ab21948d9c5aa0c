"""Own checks: a bug in one of the application's refuses the mail that it was asked about, and no other."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from uuid import UUID

from mailglass.errors import FailureClass, MailglassError, SendError, SendErrorType
from mailglass.message import Message
from mailglass.preflight import Check, Context
from mailglass.preflight.standard import CHECKS
from mailglass.telemetry import Signal, report


def run_guarded(checks: Sequence[Check], message: Message, context: Context) -> None:
    """Run the checks in order; the first that refuses ends it.

    What a standard check raises passes as it is: the database is away.

    Raises:
        SendError: ``preflight_rejected`` for whatever else a check of the application raises.

    """
    for check in checks:
        if check in CHECKS:
            check(message, context)
        else:
            _run_own(check, message, context)


def refusal_of_bug(
    error: Exception, *, tenant_id: str, message_id: UUID | None = None
) -> SendError:
    """Report that a check raised something that is no error of ours; return how its mail is refused."""
    name = type(error).__name__
    report(
        Signal.CHECK_RAISED,
        level=logging.ERROR,
        tenant_id=tenant_id,
        message_id=message_id,
        error_type=name,
    )
    return SendError(
        f"a check of preflight raised {name}; nothing has left",
        type=SendErrorType.PREFLIGHT_REJECTED,
        failure_class=FailureClass.NOT_SENT,
        code=name,
    )


def _run_own(check: Check, message: Message, context: Context) -> None:
    try:
        check(message, context)
    except MailglassError:
        raise
    except Exception as error:
        raise refusal_of_bug(error, tenant_id=context.tenant_id) from error
