"""The invariants: what must hold of the database, the sink and the requests, whatever was killed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row

from mailglass.ledger.checking import LedgerCheck
from mailglass.ledger.store import Store

TERMINAL: Final = ("sent", "failed", "suppressed", "cancelled", "expired", "unknown_final")
SHOWN_MAX: Final = 5

_STATES: Final = """
    select d.id::text, d.state, exists (
        select from mailglass.events e where e.delivery_id = d.id and e.type = 'outcome_unknown') as is_doubtful
    from mailglass.deliveries d"""
_TERMINAL_EVENTS: Final = """
    select d.id::text as id, d.state, count(e.seq) filter (where not jsonb_exists(e.payload, 'provider')
        and e.type in ('dispatched', 'failed', 'suppressed', 'cancelled', 'expired', 'unknown_final',
            'quarantined', 'reconciled')) as ends
    from mailglass.deliveries d left join mailglass.events e on e.delivery_id = d.id
    group by d.id, d.state"""
_STUCK: Final = """
    select m.id::text as id from mailglass.messages m
    where m.state = 'sending' and m.lease_until < clock_timestamp() - make_interval(secs => %s)"""
_LEFT_OPEN: Final = """
    select pid from pg_stat_activity where state like 'idle in transaction%%' and pid <> pg_backend_pid()
    and datname = current_database() and state_change < clock_timestamp() - interval '1 s'"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was asked for and what the sink says: ids of deliveries as text.

    ``accepted`` were promised to a caller, ``refused`` may not have left: suppressed or cancelled.
    ``copies`` may be more than one where a copy is allowed by the plan.
    """

    accepted: frozenset[str]
    refused: frozenset[str]
    copies: Mapping[str, int]
    changed: int = 0
    sweep_every_s: float = 0.25
    is_settled: bool = True


@dataclass(slots=True, kw_only=True)
class Findings:
    """What the check counted, and every breach as one line."""

    deliveries: int = 0
    lost: int = 0
    doubled: int = 0
    parked: int = 0
    breaches: list[str] = field(default_factory=list)

    def add(self, name: str, found: object) -> None:
        """Note a breach, with its first few cases."""
        cases = sorted(found) if isinstance(found, set | frozenset) else found
        if cases:
            shown = cases[:SHOWN_MAX] if isinstance(cases, list) else cases
            size = len(cases) if isinstance(cases, list) else 1
            self.breaches.append(f"{name}: {size}: {shown}")


def check(database_url: str, facts: Facts) -> Findings:
    """Check every invariant; read-only."""
    found = Findings()
    with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as connection:
        rows = connection.execute(_STATES).fetchall()
        states = {row["id"]: row["state"] for row in rows}
        doubtful = {row["id"] for row in rows if row["is_doubtful"]}
        _of_states(found, states, facts)
        _of_the_sink(found, states, doubtful, facts)
        ends = [
            row["id"]
            for row in connection.execute(_TERMINAL_EVENTS)
            if row["ends"] != (row["state"] in TERMINAL)
        ]
        found.add("I2 not exactly one terminal event", ends)
        slack_s = 4 * facts.sweep_every_s + 1.0
        stuck = [row["id"] for row in connection.execute(_STUCK, [slack_s])]
        found.add("I10 sending beyond its lease", stuck)
        open_ones = [row["pid"] for row in connection.execute(_LEFT_OPEN)]
        found.add("I12 idle in a transaction", open_ones)
    with Store(database_url, connections_max=1) as store:
        faults = LedgerCheck(store=store).faults()
    found.add("I6-I9 ledger", [f"{one.delivery_id} {one.fault}" for one in faults])
    return found


def _of_states(found: Findings, states: Mapping[str, Any], facts: Facts) -> None:
    found.deliveries = len(states)
    missing = facts.accepted - states.keys()
    found.add("I1 accepted without a delivery", missing)
    unsettled = {one for one, state in states.items() if state not in TERMINAL}
    found.parked = sum(state in {"unknown", "unknown_final"} for state in states.values())
    unfinished = {one for one in unsettled if states[one] != "unknown"}
    ended_otherwise = {
        one for one, state in states.items() if state in {"failed", "expired"}
    } - facts.refused
    if facts.is_settled:
        found.add("I2 not settled", unfinished)
        found.add("I2 failed or expired, though nothing refused it", ended_otherwise)
        found.lost = len(missing) + len(unfinished) + len(ended_otherwise)


def _of_the_sink(
    found: Findings, states: Mapping[str, Any], doubtful: set[str], facts: Facts
) -> None:
    """Compare with the sink; what was cancelled after an attempt of unknown end may be there."""
    doubled = {one for one, copies in facts.copies.items() if copies > 1}
    found.doubled = len(doubled)
    found.add("I3 more than one copy", doubled)
    found.add("I3 a key with another body", [facts.changed] if facts.changed else [])
    found.add("I4 sent by nobody", facts.copies.keys() - states.keys())
    sent = {one for one, state in states.items() if state == "sent"}
    ghosts = sent - facts.copies.keys()
    found.add("I5 sent, and the sink has it not", ghosts)
    found.lost += len(ghosts)
    stopped = {one for one, state in states.items() if state in {"suppressed", "cancelled"}}
    found.add("I11 suppressed or cancelled, and sent", (stopped & facts.copies.keys()) - doubtful)
