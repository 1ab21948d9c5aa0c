"""Checks of the traffic: mail that is stuck, waits, or never leaves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mailglass.deliveries import DispatchState
from mailglass.delivery.outbox import Outbox
from mailglass.doctor.check import Check, Fault, Need, Status, UnverifiableError
from mailglass.doctor.patient import Patient
from mailglass.ledger.breakers import BreakerState
from mailglass.ledger.outbox import OutboxStore, Waiting

_STUCK_MAX: Final = 1000
_QUEUED_WARNING_S: Final = 300.0
_QUEUED_ERROR_S: Final = 3600.0
_UNKNOWN_S: Final = 3600.0
_HELD_S: Final = 86_400.0
_WORKER_S: Final = 60.0
"""A worker takes what is due within moments; mail that waits longer has none, or too few."""


def _stuck(patient: Patient) -> Iterator[Fault]:
    found = len(patient.the_store.abandoned_messages(limit=_STUCK_MAX))
    if found:
        more = " or more" if found == _STUCK_MAX else ""
        yield Fault(seen=f"{found}{more} messages are claimed by a process that is gone")


def _waiting(patient: Patient, state: DispatchState, *, is_held: bool = False) -> list[Waiting]:
    counts = OutboxStore(store=patient.the_store).counts(None)
    return [one for one in counts if one.state is state and one.is_held is is_held]


def _oldest_queued(patient: Patient) -> Iterator[Fault]:
    for one in _waiting(patient, DispatchState.QUEUED):
        if one.oldest_s >= _QUEUED_WARNING_S:
            status = Status.ERROR if one.oldest_s >= _QUEUED_ERROR_S else Status.WARNING
            seen = f"{one.stream} mail is due since {one.oldest_s:.0f} s"
            yield Fault(seen=seen, status=status)


def _unknown(patient: Patient) -> Iterator[Fault]:
    for one in _waiting(patient, DispatchState.UNKNOWN):
        if one.oldest_s >= _UNKNOWN_S:
            yield Fault(
                seen=f"{one.messages} {one.stream} messages, the oldest for {one.oldest_s:.0f} s"
            )


def _silence(patient: Patient) -> Iterator[Fault]:
    due = [one for one in _waiting(patient, DispatchState.QUEUED) if one.oldest_s > 0]
    if not due:
        return
    ago_s = OutboxStore(store=patient.the_store).last_dispatched_s(None)
    waited_s = max(one.oldest_s for one in due)
    quiet_s = waited_s if ago_s is None else min(ago_s, waited_s)
    if quiet_s >= patient.quiet_s:
        yield Fault(seen=f"mail waits, and none was sent for {quiet_s:.0f} s")


def _held(patient: Patient) -> Iterator[Fault]:
    for one in _waiting(patient, DispatchState.QUEUED, is_held=True):
        if one.oldest_s >= _HELD_S:
            yield Fault(seen=f"{one.messages} {one.stream} messages are held for over a day")


def _worker(patient: Patient) -> Iterator[Fault]:
    signs = patient.the_signs
    if signs.listening:
        return
    if signs.hidden:
        raise UnverifiableError(
            f"{signs.hidden} sessions of mailglass are there, and this login may not see what they do"
        )
    due_s = max((one.oldest_s for one in _waiting(patient, DispatchState.QUEUED)), default=0.0)
    if due_s >= _WORKER_S:
        yield Fault(seen=f"mail is due since {due_s:.0f} s, and no worker waits for mail")
        return
    raise UnverifiableError(
        "no worker waits for mail, and no mail waits for one; what Celery or a timer starts shows no sign"
    )


def _breakers(patient: Patient) -> Iterator[Fault]:
    for one in Outbox(store=patient.the_store).breakers(None):
        if one.state is not BreakerState.CLOSED:
            seen = (
                f"{one.adapter_ref} is {one.state} for {one.tenant_id}, {one.waiting} messages wait"
            )
            yield Fault(seen=f"{seen}: {one.reason}" if one.reason else seen)


CHECKS: Final = (
    Check(
        id="delivery.worker", need=Need.SCHEMA, status=Status.ERROR, look=_worker,
        title="A worker is there",
        fix="Run `mailglass worker`, and have the host's service manager keep it alive.",
    ),
    Check(
        id="delivery.stuck", need=Need.SCHEMA, status=Status.WARNING, look=_stuck,
        title="No claimed mail is left behind", fix="Run a worker: its sweep takes them up.",
    ),
    Check(
        id="delivery.oldest_queued", need=Need.SCHEMA, status=Status.WARNING, look=_oldest_queued,
        title="Mail that is due leaves",
        fix="Run `mailglass worker`, or more of them; `mailglass outbox list` shows what was tried "
        "before, and with which answer.",
    ),
    Check(
        id="delivery.breakers", need=Need.SCHEMA, status=Status.ERROR, look=_breakers,
        title="No provider is kept from mail",
        fix="Mend what it refuses, mostly the credentials; then restart the workers, and "
        "`mailglass adapters close NAME` sends what waits at once.",
    ),
    Check(
        id="delivery.unknown", need=Need.SCHEMA, status=Status.WARNING, look=_unknown,
        title="No mail is in doubt for long",
        fix="Ask the provider, then `mailglass outbox settle`; reports by webhook settle them too.",
    ),
    Check(
        id="delivery.silence", need=Need.SCHEMA, status=Status.ERROR, look=_silence,
        title="Mail is being sent", fix="See whether a worker runs and the provider takes mail.",
    ),
    Check(
        id="delivery.held", need=Need.SCHEMA, status=Status.WARNING, look=_held,
        title="Nothing is held and forgotten",
        fix="Release or cancel it with `mailglass outbox`.",
    ),
)  # fmt: skip
