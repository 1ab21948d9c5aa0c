"""What the doctor asks the server itself: its extensions, and whether a worker's session is there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mailglass.doctor.check import Check, Fault, Need, Status, UnverifiableError
from mailglass.ledger.sql import query

if TYPE_CHECKING:
    from mailglass.doctor.patient import Patient
    from mailglass.ledger.store import Store

_QUESTION: Final = Path(__file__).with_name("server.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSigns:
    """What was seen on the server.

    ``listening`` counts the sessions of workers that wait for mail, ``hidden`` those of mailglass
    whose last statement this login may not see.
    """

    citext_is_there: bool
    citext_is_available: bool
    listening: int
    hidden: int


def signs_of(store: Store) -> ServerSigns:
    """Ask the server; ``store`` logs in as workers do and takes no role, or it would see less.

    Raises:
        psycopg.OperationalError: the database cannot be reached.

    """
    with store.connection() as connection:
        row = connection.execute(_QUESTION.read_bytes(), {"listen": query("listen")}).fetchone()
    if row is None:
        raise UnverifiableError("the server gave no answer")
    return ServerSigns(**row)


def _extensions(patient: Patient) -> Iterator[Fault]:
    signs = patient.the_signs
    if signs.citext_is_there:
        return
    if not signs.citext_is_available:
        yield Fault(seen="the server has no package of the extension citext")
    elif patient.the_facts.migrations.applied:
        yield Fault(seen="the extension citext is gone from the database")


CHECKS: Final = (
    Check(
        id="database.extensions", need=Need.DATABASE, status=Status.ERROR, look=_extensions,
        title="The extension that addresses are kept with is there",
        fix="Install PostgreSQL's contrib package on the server; `mailglass migrate` does the rest.",
    ),
)  # fmt: skip
