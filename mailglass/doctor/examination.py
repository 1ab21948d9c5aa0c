"""The examination: runs the registered checks; what cannot be looked at is said, never a crash."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from mailglass.doctor import (
    database,
    delivery,
    domain,
    mail,
    opening,
    server,
    services,
    settings,
    webhooks,
)
from mailglass.doctor.check import Check, Need, Result, Status, UnverifiableError
from mailglass.doctor.patient import Patient

CHECKS: Final[tuple[Check, ...]] = (
    *settings.CHECKS,
    *opening.CHECKS,
    *database.CHECKS,
    *server.CHECKS,
    *services.CHECKS,
    *delivery.CHECKS,
    *webhooks.CHECKS,
    *mail.CHECKS,
    *domain.CHECKS,
)
"""Every check, in the order in which they run; ``(*CHECKS, yours)`` adds one."""

_EXIT_ERROR: Final = 1


def examine(
    patient: Patient,
    checks: Sequence[Check] = CHECKS,
    *,
    on_check: Callable[[int], None] = lambda _checked: None,
) -> tuple[Result, ...]:
    """Run the checks and return what each found, in their order.

    Those that need the network are left out where the patient has no ``lookup``. ``on_check`` is told
    after each how many were run.
    """
    asked = [one for one in checks if one.need is not Need.NETWORK or patient.lookup is not None]
    results: list[Result] = []
    for checked, check in enumerate(asked, start=1):
        results += _run(check, patient)
        on_check(checked)
    return tuple(results)


def exit_code(results: Sequence[Result], *, is_strict: bool = False) -> int:
    """Return 1 when something is wrong, else 0; strictly, a warning or a blind spot is wrong too."""
    bad = {Status.ERROR, Status.WARNING, Status.CANNOT_VERIFY} if is_strict else {Status.ERROR}
    return _EXIT_ERROR if any(one.status in bad for one in results) else 0


def _run(check: Check, patient: Patient) -> Iterator[Result]:
    reason = _obstacle(check.need, patient)
    if reason is not None:
        yield _result(check, Status.CANNOT_VERIFY, reason)
        return
    found = False
    try:
        for fault in check.look(patient):
            found = True
            yield _result(check, fault.status or check.status, fault.seen)
    except UnverifiableError as error:
        yield _result(check, Status.CANNOT_VERIFY, str(error))
    except Exception as error:  # noqa: BLE001 - one check that fails must not hide the others
        yield _result(check, Status.CANNOT_VERIFY, f"the check failed: {type(error).__name__}")
    else:
        if not found:
            yield Result(id=check.id, status=Status.OK, title=check.title)


def _obstacle(need: Need, patient: Patient) -> str | None:
    match need:
        case Need.ENVIRONMENT:
            return None
        case Need.SETTINGS | Need.NETWORK:
            return None if patient.settings is not None else "the settings do not load"
        case Need.DATABASE:
            return None if patient.facts is not None else "the database was not reached"
        case Need.SCHEMA:
            if patient.facts is None:
                return "the database was not reached"
            is_whole = not patient.facts.migrations.pending
            return None if is_whole else "the database is not migrated"


def _result(check: Check, status: Status, seen: str) -> Result:
    return Result(
        id=check.id, status=status, title=check.title, seen=seen, fix=check.fix, guide=check.guide
    )
