"""Checks of the database: the server, the schema, what keeps the ledger, and what the role may."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mailglass.doctor.check import Check, Fault, Need, Status
from mailglass.doctor.patient import Patient
from mailglass.ledger.inspection import EVENT_TRIGGERS, TRIGGERS

_VERSION_MIN: Final = 14
_SKEW_WARNING_S: Final = 5.0
_SKEW_ERROR_S: Final = 60.0
_SHARE_MAX: Final = 0.5


def _reachable(patient: Patient) -> Iterator[Fault]:
    if patient.database is None:
        yield Fault(
            seen="no database is named"
            if patient.database_error is None
            else patient.database_error
        )
    elif patient.facts is None:
        yield Fault(seen=f"{patient.database.describe()}: {patient.database_error or 'not asked'}")


def _version(patient: Patient) -> Iterator[Fault]:
    major = patient.the_facts.version_num // 10_000
    if major < _VERSION_MIN:
        yield Fault(seen=f"the server is PostgreSQL {major}")


def _encoding(patient: Patient) -> Iterator[Fault]:
    if patient.the_facts.encoding != "UTF8":
        yield Fault(seen=f"the database's encoding is {patient.the_facts.encoding}")


def _migrated(patient: Patient) -> Iterator[Fault]:
    found = patient.the_facts.migrations
    if found.pending:
        yield Fault(seen=f"not applied: {', '.join(found.pending)}")
    if found.edited:
        yield Fault(seen=f"edited after it was applied: {', '.join(found.edited)}")
    if found.unknown:
        yield Fault(seen=f"newer than this mailglass: {', '.join(found.unknown)}")


def _triggers(patient: Patient) -> Iterator[Fault]:
    yield from _missing_guards(patient, TRIGGERS)


def _event_triggers(patient: Patient) -> Iterator[Fault]:
    yield from _missing_guards(patient, EVENT_TRIGGERS)


def _missing_guards(patient: Patient, wanted: frozenset[str]) -> Iterator[Fault]:
    guards = patient.the_facts.guards
    missing = sorted(wanted - guards.keys())
    weak = sorted(name for name in wanted & guards.keys() if not guards[name])
    if missing:
        yield Fault(seen=f"not there: {', '.join(missing)}")
    if weak:
        yield Fault(seen=f"not ENABLE ALWAYS: {', '.join(weak)}")


def _role_can_be_taken(patient: Patient) -> Iterator[Fault]:
    facts = patient.the_facts
    if not facts.role_exists:
        yield Fault(seen=f"there is no role {facts.role}")
    elif not facts.role_can_be_taken:
        yield Fault(seen=f"the login may not SET ROLE {facts.role}")


def _worse_in_production(patient: Patient, seen: str) -> Fault:
    return Fault(seen=seen, status=Status.ERROR if patient.is_production else Status.WARNING)


def _role_is_superuser(patient: Patient) -> Iterator[Fault]:
    facts = patient.the_facts
    if facts.role_is_superuser:
        yield _worse_in_production(patient, f"{facts.role} is a superuser")


def _role_owns_ledger(patient: Patient) -> Iterator[Fault]:
    facts = patient.the_facts
    if facts.role_owns_ledger:
        yield _worse_in_production(patient, f"{facts.role} owns mailglass.events")


def _role_bypasses_rls(patient: Patient) -> Iterator[Fault]:
    facts = patient.the_facts
    if facts.role_bypasses_rls and not facts.role_is_superuser:
        yield _worse_in_production(patient, f"{facts.role} has BYPASSRLS")


def _login_is_superuser(patient: Patient) -> Iterator[Fault]:
    facts = patient.the_facts
    is_embedded = patient.database is not None and patient.database.is_embedded
    if facts.login_is_superuser and not facts.role_is_superuser and not is_embedded:
        yield Fault(seen=f"the login is a superuser, though it works as {facts.role}")


def _clock(patient: Patient) -> Iterator[Fault]:
    skew_s = patient.the_facts.clock_skew_s
    if abs(skew_s) >= _SKEW_WARNING_S:
        status = Status.ERROR if abs(skew_s) >= _SKEW_ERROR_S else Status.WARNING
        yield Fault(seen=f"the server's clock is {skew_s:+.0f} s from ours", status=status)


def _durability(patient: Patient) -> Iterator[Fault]:
    facts = patient.the_facts
    off = [
        name
        for name in ("fsync", "full_page_writes", "synchronous_commit")
        if getattr(facts, name) == "off"
    ]
    if off and not (patient.database is not None and patient.database.is_embedded):
        yield _worse_in_production(patient, f"off: {', '.join(off)}")


def _connections(patient: Patient) -> Iterator[Fault]:
    facts, wanted = patient.the_facts, patient.the_settings.database_connections_max
    free = facts.connections_max - facts.connections_reserved
    if wanted > free * _SHARE_MAX:
        status = Status.ERROR if wanted > free else Status.WARNING
        seen = f"one process may take {wanted} of the server's {free} connections"
        yield Fault(seen=seen, status=status)


CHECKS: Final = (
    Check(
        id="database.reachable", need=Need.SETTINGS, status=Status.ERROR, look=_reachable,
        title="The database can be reached",
        fix="Set MAILGLASS_DATABASE_URL, and look at host, port, user and password.",
    ),
    Check(
        id="database.version", need=Need.DATABASE, status=Status.ERROR, look=_version,
        title="The server is recent enough", fix="Use PostgreSQL 14 or later.",
    ),
    Check(
        id="database.encoding", need=Need.DATABASE, status=Status.ERROR, look=_encoding,
        title="The database is in UTF-8", fix="Create the database with ENCODING 'UTF8'.",
    ),
    Check(
        id="database.migrated", need=Need.DATABASE, status=Status.ERROR, look=_migrated,
        title="The schema is up to date",
        fix="Run `mailglass migrate`; a database that is newer needs a newer mailglass.",
    ),
    Check(
        id="database.triggers", need=Need.SCHEMA, status=Status.ERROR, look=_triggers,
        title="The ledger's triggers are there and always on",
        fix="Find out who took them away; then restore them from the first migration.",
    ),
    Check(
        id="database.event_triggers", need=Need.SCHEMA, status=Status.WARNING,
        look=_event_triggers, title="The ledger's guard against its owner is there",
        fix="Let a superuser run the guard migration; without one, keep the owner's login apart.",
    ),
    Check(
        id="database.role_can_be_taken", need=Need.DATABASE, status=Status.ERROR,
        look=_role_can_be_taken, title="The application's role can be taken",
        fix="GRANT mailglass_app to the login, or correct MAILGLASS_DATABASE_ROLE.",
    ),
    Check(
        id="database.role_is_superuser", need=Need.DATABASE, status=Status.WARNING,
        look=_role_is_superuser, title="The application is no superuser",
        fix="Set MAILGLASS_DATABASE_ROLE=mailglass_app, or log in as a member of that role alone.",
    ),
    Check(
        id="database.role_owns_ledger", need=Need.SCHEMA, status=Status.WARNING,
        look=_role_owns_ledger, title="The application does not own the ledger",
        fix="Migrate as one role and run as another: MAILGLASS_DATABASE_ROLE=mailglass_app.",
    ),
    Check(
        id="database.role_bypasses_rls", need=Need.DATABASE, status=Status.WARNING,
        look=_role_bypasses_rls, title="The application cannot pass row security",
        fix="ALTER ROLE … NOBYPASSRLS for the application's role.",
    ),
    Check(
        id="database.login_is_superuser", need=Need.DATABASE, status=Status.WARNING,
        look=_login_is_superuser, title="The login is no superuser",
        fix="Log in as a role of its own that is a member of mailglass_app: RESET ROLE gives the "
        "login's rights back.",
    ),
    Check(
        id="database.clock", need=Need.DATABASE, status=Status.WARNING, look=_clock,
        title="The clocks agree", fix="Run a time service on both hosts.",
    ),
    Check(
        id="database.durability", need=Need.DATABASE, status=Status.WARNING, look=_durability,
        title="What is committed survives a power cut",
        fix="Switch it on again: a claim that is lost can send a mail twice.",
    ),
    Check(
        id="database.connections", need=Need.DATABASE, status=Status.WARNING,
        look=_connections, title="The server has connections enough",
        fix="Lower MAILGLASS_DATABASE_CONNECTIONS_MAX, or raise max_connections.",
    ),
)  # fmt: skip
