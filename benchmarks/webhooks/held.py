"""A ledger that holds much: delivered and opened mails, written by SQL and without triggers."""

# ruff: noqa: INP001 - part of a script that is run as a folder
from __future__ import annotations

from typing import Final
from uuid import UUID

import psycopg

EVENTS_A_MESSAGE: Final = 5
_PART: Final = 100_000
"""Messages in one statement of the filling."""
_TABLES: Final = ("messages", "deliveries", "events", "report_keys")
_FILL: Final = b"""
with number as (
    -- Like UUIDv7, the ids grow with time: a year ago and on.
    select n, lpad(to_hex((extract(epoch from now() - interval '1 year') * 1000)::bigint + n), 12, '0')
        || '7' || lpad(to_hex(n %% 4096), 3, '0') || '8' || substr(md5(n::text), 1, 14) as id
    from generate_series(%(first)s::bigint, %(last)s::bigint) n
), message as (
    insert into mailglass.messages (id, tenant_id, stream, mail_from, payload_sha256, payload_bytes,
        rfc_message_id, state, token, attempts, run_at, on_unknown, adapter_ref)
    select (id || 'f')::uuid, 'default', 'operational', 'a@shop.example', sha256('a'), 600, '<' || id || '@a>',
        'sent', 1, 1, now() - interval '1 year', 'resend', 'default'
    from number
), delivery as (
    insert into mailglass.deliveries (id, message_id, tenant_id, kind, position, address, address_key, state,
        provider, provider_message_id, outcome, outcome_rank, seq, prior_hash, chain_hash)
    select (id || '0')::uuid, (id || 'f')::uuid, 'default', 'to', 0, 'c' || n || '@mail.example',
        'c' || n || '@mail.example', 'sent', 'postmark', id, 'delivered', 30, 5, sha256('a'), sha256('b')
    from number
), key as (
    insert into mailglass.report_keys (tenant_id, key)
    select 'default', uuid_send((id || '0')::uuid) || decode(md5(id || told), 'hex')
    from number
    cross join unnest(array['delivered', 'opened']) as told
)
insert into mailglass.events (tenant_id, delivery_id, seq, type, occurred_at, recorded_at, payload,
    provider_event_id, prev_hash, hash)
select 'default', (id || '0')::uuid, seq, type, now(), now(), '{"word": "Delivery", "provider": "postmark"}',
    md5(id), sha256('a'), sha256('b')
from number
cross join unnest(array['queued', 'attempt_started', 'dispatched', 'delivered', 'opened'])
    with ordinality as e (type, seq)
"""
_SOME: Final = b"""
select d.id, d.message_id, d.address_key
from mailglass.deliveries d
join generate_series(0, %(step)s::bigint * (%(many)s::bigint - 1), %(step)s::bigint) as n
    on d.tenant_id = 'default' and d.address_key = 'c' || n || '@mail.example'
order by md5(d.id::text)
"""


def hold(url: str, events: int) -> None:
    """Fill the tables up to so many events."""
    messages = events // EVENTS_A_MESSAGE
    with psycopg.connect(url, autocommit=True) as owner:
        # What guards the ledger is always on: only a superuser can do this, and does in a benchmark.
        owner.execute("alter event trigger mailglass_refuse_ddl disable")
        owner.execute("alter table mailglass.events disable trigger events_refuse_forgery")
        owner.execute("set session_replication_role = replica")  # no foreign keys either
        for first in range(0, messages, _PART):
            last = min(first + _PART, messages) - 1
            owner.execute(_FILL, {"first": first, "last": last})
        owner.execute("alter table mailglass.events enable always trigger events_refuse_forgery")
        owner.execute("alter event trigger mailglass_refuse_ddl enable always")
        for name in _TABLES:
            owner.execute(f"vacuum analyze mailglass.{name}".encode())
        owner.execute("checkpoint")


def some_held(url: str, many: int, events: int) -> list[tuple[UUID, UUID, str]]:
    """Return delivery, message and recipient of some of those, spread over all of them."""
    step = max(1, events // EVENTS_A_MESSAGE // many)
    with psycopg.connect(url) as reader:
        found = reader.execute(_SOME, {"step": step, "many": many}).fetchall()
    return [(row[0], row[1], row[2]) for row in found]
