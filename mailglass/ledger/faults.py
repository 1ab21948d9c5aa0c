"""The one place where a SQLSTATE of ours becomes an error of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

import psycopg
from psycopg import errors

from mailglass.errors import (
    ConfigError,
    ConfigErrorType,
    EventLedgerImmutableError,
    EventLedgerImmutableErrorType,
    MailglassError,
    SendError,
    SendErrorType,
)

DatabaseAwayError = psycopg.OperationalError
"""Is raised, as psycopg's own, when the database cannot be reached or cut the connection."""

WRITES_MAX: Final = 3
"""How often something is written before a cut connection is told."""
REPEATS_MAX: Final = 3
"""How often a statement is run again that Postgres rolled back for the sake of another one."""

RowHeldError = errors.LockNotAvailable
"""Is raised, as psycopg's own, where somebody's transaction holds a row for too long."""
_OF_A_ROW: Final = (errors.DataError, errors.IntegrityError, RowHeldError)
ROLLED_BACK: Final = (errors.SerializationFailure, errors.DeadlockDetected)
READ_ONLY: Final = "25006"

LEDGER_CHANGE: Final = "45A01"
LEDGER_DDL: Final = "45A02"
WRONG_TRANSITION: Final = "45A03"
INSUFFICIENT_PRIVILEGE: Final = "42501"

_Answer = TypeVar("_Answer")


def persistently(write: Callable[[], _Answer]) -> _Answer:
    """Write again over another connection when one was cut; only for what may be written twice.

    Where the first writing of verdicts took place after all, the second finds nothing left to settle.

    Raises:
        psycopg.OperationalError: the database stays away.

    """
    for _ in range(WRITES_MAX - 1):
        try:
            return write()
        except DatabaseAwayError:
            continue
    return write()


def repeatedly(run: Callable[[], _Answer]) -> _Answer:
    """Run one statement, a transaction of its own, again where it met another and was rolled back whole.

    Raises:
        psycopg.OperationalError: ``ROLLED_BACK``, it met others ``REPEATS_MAX`` times more.

    """
    for _ in range(REPEATS_MAX):
        try:
            return run()
        except ROLLED_BACK:
            continue
    return run()


def is_of_a_row(error: Exception) -> bool:
    """Tell whether a statement was refused for what one of its rows holds, or for who holds that row.

    Without that row the rest passes. What is wrong with the database itself, as a right that is
    lacking, is no row's fault.
    """
    match error:
        case EventLedgerImmutableError():
            return error.pg_code == LEDGER_CHANGE
        case SendError():
            return error.type is SendErrorType.INVALID_TRANSITION
        case _:
            return isinstance(error, _OF_A_ROW)


@contextmanager
def translated() -> Iterator[None]:
    """Raise our own errors in place of psycopg's where the SQLSTATE is one of ours.

    Everything else passes as it is: a database that is down is psycopg's OperationalError. One that
    lets only read, as after a fail-over, is as good as down.

    Raises:
        psycopg.OperationalError: for a database that takes no writes now.
        EventLedgerImmutableError: for an UPDATE, DELETE, TRUNCATE or DDL command on the ledger.
        SendError: ``invalid_transition`` for a step that the dispatch machine does not have.
        ConfigError: ``missing`` for a database that is not migrated.

    """
    try:
        yield
    except psycopg.Error as error:
        if error.sqlstate == READ_ONLY:
            raise DatabaseAwayError("the database takes no writes now") from error
        ours = translate(error)
        if ours is None:
            raise
        raise ours from error


def translate(error: psycopg.Error) -> MailglassError | None:
    """Return our error for psycopg's, or None where it is not about a rule of ours.

    psycopg has no class of its own for SQLSTATE class 45, so only the code decides.
    """
    match error.sqlstate:
        case "45A01":
            operation = error.diag.message_detail or EventLedgerImmutableErrorType.UPDATE_ATTEMPT
            return _immutable(EventLedgerImmutableErrorType(operation), LEDGER_CHANGE)
        case "45A02":
            return _immutable(EventLedgerImmutableErrorType.DDL_ATTEMPT, LEDGER_DDL)
        case "42501" if _is_about_the_ledger(error):
            denied = EventLedgerImmutableErrorType.UPDATE_ATTEMPT
            if "must be owner" in (error.diag.message_primary or ""):
                denied = EventLedgerImmutableErrorType.DDL_ATTEMPT
            return _immutable(denied, INSUFFICIENT_PRIVILEGE)
        case "45A03":
            return SendError(
                "the dispatch machine has no such step from the state the message is in",
                type=SendErrorType.INVALID_TRANSITION,
                code=WRONG_TRANSITION,
            )
        case "42P01" | "42883" | "3F000" | "42703" if "mailglass" in str(
            error.diag.message_primary
        ):
            return ConfigError(
                "the database lacks something that this version of mailglass needs",
                type=ConfigErrorType.MISSING,
                key="migrations",
                hint="Run `mailglass migrate` on it.",
            )
        case _:
            return None


def _immutable(kind: EventLedgerImmutableErrorType, code: str) -> EventLedgerImmutableError:
    return EventLedgerImmutableError(
        f"the event ledger is append-only: {kind.value.replace('_', ' ')} refused by Postgres ({code})",
        type=kind,
        pg_code=code,
    )


def _is_about_the_ledger(error: psycopg.Error) -> bool:
    return "table events" in (error.diag.message_primary or "")
