-- Messages, deliveries and the append-only event ledger; the three roles; what refuses a change of history.
--
-- Roles belong to the whole server, so they may be there already. Without the right to create them
-- the objects belong to whoever migrates, and the application has to connect as somebody else.
do $$
declare
    wanted text;
begin
    foreach wanted in array array['mailglass_owner', 'mailglass_app', 'mailglass_audit'] loop
        begin
            if not exists (select from pg_catalog.pg_roles where rolname = wanted) then
                execute format('create role %I nologin', wanted);
            end if;
        exception
            when duplicate_object or unique_violation then null;  -- another migrate made it meanwhile
            when insufficient_privilege then
                raise notice 'role % is not there and may not be created by %', wanted, current_user;
        end;
    end loop;
end
$$;

do $$
begin
    if exists (select from pg_catalog.pg_roles where rolname = 'mailglass_owner')
       and pg_catalog.pg_has_role(session_user, 'mailglass_owner', 'member') then
        create schema if not exists mailglass authorization mailglass_owner;
    else
        create schema if not exists mailglass;
    end if;
end
$$;

create extension if not exists citext with schema mailglass;

do $$
begin
    if (select nspowner::regrole::text from pg_catalog.pg_namespace where nspname = 'mailglass')
       = 'mailglass_owner' then
        set local role mailglass_owner;
    end if;
end
$$;

-- An extension that was there before may stand in another schema; only this file resolves by path.
set local search_path = mailglass, public;

create table mailglass.migrations (
    name text primary key,
    sha256 bytea not null,
    applied_at timestamptz not null default now(),
    applied_by text not null default session_user
);

create table mailglass.messages (
    id uuid primary key,
    tenant_id text not null check (tenant_id <> ''),
    stream text not null check (stream in ('transactional', 'operational', 'bulk')),
    mailable text,
    authenticates boolean not null default false,
    mail_from text not null,
    payload bytea,
    payload_sha256 bytea not null check (octet_length(payload_sha256) = 32),
    payload_bytes integer not null check (payload_bytes > 0),
    rfc_message_id text not null,
    settings jsonb not null default '{}',
    state text not null check (state in (
        'queued', 'sending', 'unknown', 'sent', 'failed', 'suppressed', 'cancelled', 'expired', 'unknown_final'
    )),
    token bigint not null default 0,
    attempts integer not null default 0 check (attempts >= 0),
    run_at timestamptz not null,
    order_at timestamptz not null default now(),
    expires_at timestamptz,
    held boolean not null default false,
    lease_until timestamptz,
    owner_key bigint,
    owner_server_start timestamptz,
    on_unknown text not null check (on_unknown in ('park', 'resend')),
    ordering_key text,
    adapter_ref text not null,
    idempotency_key text,
    resend_of uuid,
    trace_id text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    check (state <> 'sending' or (lease_until is not null and token > 0))
) with (fillfactor = 50);

-- A message is written twice more, when it is claimed and when it is settled; on its own page that costs
-- two thirds of the log that a move to another page costs, and the table ends up smaller.

comment on column mailglass.messages.payload is
    'The frozen MIME bytes, the same at every attempt; null once scrubbed. Size and hash stay.';
comment on column mailglass.messages.token is
    'The fencing token: one more at every claim; each write of an attempt carries it.';

comment on column mailglass.messages.order_at is
    'When it was first due: its place among the mail of its ordering key, which no attempt changes.';

comment on column mailglass.messages.owner_key is
    'The advisory lock that the claiming process holds as long as its session lives; null when nobody can tell.';

create index messages_due on mailglass.messages (stream, run_at, id)
    where state = 'queued' and not held and ordering_key is null;
create index messages_of_key on mailglass.messages (tenant_id, ordering_key, order_at, id)
    where state = 'queued' and not held and ordering_key is not null;
create index messages_due_in_order on mailglass.messages (stream, run_at, id)
    where state = 'queued' and not held and ordering_key is not null;
-- It holds what ends and nothing else: a claim, which looks past that, is then planned by messages_due
-- whatever the statistics say, and reads no more of a long queue than it takes.
create index messages_expiring on mailglass.messages (expires_at)
    where state = 'queued' and expires_at is not null;
create index messages_leased on mailglass.messages (lease_until) where state = 'sending';
create index messages_unknown on mailglass.messages (updated_at) where state = 'unknown';
create index messages_to_scrub on mailglass.messages (updated_at)
    where payload is not null and state in ('sent', 'failed', 'suppressed', 'cancelled', 'expired', 'unknown_final');
create index messages_by_tenant on mailglass.messages (tenant_id, id);
create unique index messages_one_in_flight on mailglass.messages (tenant_id, ordering_key)
    where state = 'sending' and ordering_key is not null;

create table mailglass.deliveries (
    id uuid primary key,
    message_id uuid not null references mailglass.messages (id),
    tenant_id text not null,
    kind text not null check (kind in ('to', 'cc', 'bcc')),
    position smallint not null,
    address citext not null,
    address_key text not null,
    state text not null check (state in (
        'queued', 'sending', 'unknown', 'sent', 'failed', 'suppressed', 'cancelled', 'expired', 'unknown_final'
    )),
    provider text,
    provider_message_id text,
    failure_class text check (failure_class in (
        'not_sent', 'permanent', 'unknown', 'suppressed', 'configuration'
    )),
    code text,
    outcome text not null default 'none' check (outcome in (
        'none', 'accepted', 'deferred', 'soft_bounced', 'delivered', 'hard_bounced', 'complained'
    )),
    outcome_rank smallint not null default 0,
    outcome_at timestamptz,
    opened_at timestamptz,
    clicked_at timestamptz,
    unsubscribed_at timestamptz,
    seq integer not null default 0 check (seq >= 0),
    prior_hash bytea not null,
    chain_hash bytea not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    unique (message_id, position)
) with (fillfactor = 50);

-- Half of a page is left for what happens to its deliveries, most of them at about the same time: their
-- new versions then stay on it, and no index has to be told.
comment on column mailglass.deliveries.address is
    'The address as it was given; kept here and in no event, so that it can be erased.';
comment on column mailglass.deliveries.chain_hash is
    'The hash of the delivery''s newest event, prior_hash that of the one before.';

create index deliveries_by_address on mailglass.deliveries (tenant_id, address_key, id);
create index deliveries_by_provider_id on mailglass.deliveries (provider, provider_message_id)
    where provider_message_id is not null;

create table mailglass.events (
    tenant_id text not null,
    delivery_id uuid not null,
    seq integer not null check (seq > 0),
    type text not null check (type in (
        'queued', 'sent', 'rejected', 'failed', 'bounced', 'deferred', 'delivered', 'autoresponded', 'opened',
        'clicked', 'complained', 'unsubscribed', 'subscribed', 'unknown',
        'attempt_started', 'attempt_failed', 'dispatched', 'suppressed', 'outcome_unknown', 'unknown_final',
        'reconciled', 'requeued', 'cancelled', 'expired', 'quarantined', 'resent', 'held', 'released',
        'rescheduled', 'routed'
    )),
    occurred_at timestamptz not null,
    recorded_at timestamptz not null,
    reject_reason text check (reject_reason in (
        'invalid', 'bounced', 'timed_out', 'blocked', 'spam', 'unsubscribed', 'other'
    )),
    payload jsonb not null default '{}',
    provider_event_id text,
    trace_id text,
    prev_hash bytea not null check (octet_length(prev_hash) = 32),
    hash bytea not null check (octet_length(hash) = 32),
    xid xid8 not null default pg_current_xact_id(),
    primary key (delivery_id, seq)
);

comment on table mailglass.events is
    'The ledger: rows are added and never changed. It holds no address, subject or body.';
comment on column mailglass.events.xid is
    'For readers that follow the ledger: read below pg_snapshot_xmin(pg_current_snapshot()), never by id.';

create index events_by_xid on mailglass.events (xid);

-- Keys live in a table of their own: a unique index on a partitioned table must hold the partition key.
create table mailglass.event_keys (
    tenant_id text not null,
    scope text not null,
    key text not null,
    subject_id uuid not null,
    content_sha256 bytea not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, scope, key)
);

-- The keys of what providers report, of which there are most. They lead with a time-ordered id, so that
-- those of one time lie together in the index, whatever its size.
create table mailglass.report_keys (
    tenant_id text not null,
    key bytea primary key check (octet_length(key) = 32)
);

comment on table mailglass.report_keys is
    'What was reported once: a delivery''s id and 16 octets of a hash of provider, type and provider event id.';

create table mailglass.suppressions (
    id uuid primary key,
    tenant_id text not null check (tenant_id <> ''),
    scope text not null check (scope in ('address', 'domain', 'address_stream')),
    value text not null check (value <> ''),
    stream text check (stream in ('transactional', 'operational', 'bulk')),
    reason text not null check (reason in (
        'hard_bounce', 'complaint', 'unsubscribe', 'manual', 'policy', 'invalid_recipient'
    )),
    source text not null,
    expires_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    check ((scope = 'address_stream') = (stream is not null)),
    check ((scope = 'domain') = (position('@' in value) = 0)),
    check (reason <> 'complaint' or expires_at is null)
);

create unique index suppressions_by_value
    on mailglass.suppressions (tenant_id, value, scope, (coalesce(stream, '')));

create table mailglass.webhook_receipts (
    id uuid primary key,
    tenant_id text not null,
    provider text not null,
    endpoint text not null default '',
    dedupe_key text not null,
    headers jsonb not null,
    body bytea,
    body_sha256 bytea not null,
    state text not null default 'received' check (state in ('received', 'processed', 'dead')),
    reason text,
    received_at timestamptz not null default now(),
    processed_at timestamptz,
    unique (tenant_id, provider, endpoint, dedupe_key)
);

-- The chain: every event's hash covers the row and the hash of the event before it. The array within is
-- what jsonb_build_array(reject_reason, payload, provider_event_id, trace_id) writes, in a fifth of its time.
create function mailglass.genesis_hash(delivery_id uuid) returns bytea
language sql immutable parallel safe
return sha256(uuid_send(delivery_id));

create function mailglass.event_hash(
    tenant_id text, delivery_id uuid, seq integer, type text, occurred_at timestamptz, recorded_at timestamptz,
    reject_reason text, payload jsonb, provider_event_id text, trace_id text, prev_hash bytea
) returns bytea
language sql stable parallel safe
return sha256(
    convert_to('mg1', 'UTF8')
    || int4send(octet_length(tenant_id)) || convert_to(tenant_id, 'UTF8')
    || uuid_send(delivery_id)
    || int4send(seq)
    || int4send(octet_length(type)) || convert_to(type, 'UTF8')
    || timestamptz_send(occurred_at)
    || timestamptz_send(recorded_at)
    || sha256(convert_to(
        '[' || coalesce(to_json(reject_reason)::text, 'null')
        || ', ' || coalesce(payload::text, 'null')
        || ', ' || coalesce(to_json(provider_event_id)::text, 'null')
        || ', ' || coalesce(to_json(trace_id)::text, 'null') || ']', 'UTF8'))
    || prev_hash
);

create function mailglass.refuse_ledger_change() returns trigger
language plpgsql
set search_path = pg_catalog
as $$
begin
    raise exception 'the event ledger is append-only: % refused', tg_op
        using errcode = '45A01', detail = lower(tg_op) || '_attempt',
              hint = 'Record what is true now as a new event.';
end
$$;

create trigger events_refuse_update before update on mailglass.events
    for each statement execute function mailglass.refuse_ledger_change();
create trigger events_refuse_delete before delete on mailglass.events
    for each statement execute function mailglass.refuse_ledger_change();
create trigger events_refuse_truncate before truncate on mailglass.events
    for each statement execute function mailglass.refuse_ledger_change();
-- A statement that names a partitioned parent fires no statement trigger here, but row triggers.
create trigger events_refuse_row before update or delete on mailglass.events
    for each row execute function mailglass.refuse_ledger_change();
alter table mailglass.events enable always trigger events_refuse_row;
alter table mailglass.events enable always trigger events_refuse_update;
alter table mailglass.events enable always trigger events_refuse_delete;
alter table mailglass.events enable always trigger events_refuse_truncate;

-- A new event continues its delivery's chain, now: it cannot be dated back, nor be put where none
-- is missing. Whoever may insert can therefore add to the history but not rewrite it. The hashes are
-- made here; whoever brings some has to bring the same.
create function mailglass.refuse_forged_event() returns trigger
language plpgsql
set search_path = pg_catalog
as $$
declare
    before bytea;
    before_at timestamptz;
    own bytea;
begin
    if new.seq = 1 then
        before := mailglass.genesis_hash(new.delivery_id);
    else
        select e.hash, e.recorded_at into before, before_at
        from mailglass.events e
        where e.delivery_id = new.delivery_id and e.seq = new.seq - 1;
    end if;
    own := mailglass.event_hash(new.tenant_id, new.delivery_id, new.seq, new.type, new.occurred_at,
        new.recorded_at, new.reject_reason, new.payload, new.provider_event_id, new.trace_id, before);
    -- A clock that was set back leaves the time of the event before, which is then the latest known.
    if before is null
       or new.prev_hash <> before
       or new.hash <> own
       or (new.recorded_at not between now() and clock_timestamp()
           and new.recorded_at is distinct from before_at)
       or new.xid <> pg_current_xact_id()
    then
        raise exception 'the event ledger is append-only: an event that does not continue it refused'
            using errcode = '45A01', detail = 'update_attempt',
                  hint = 'Only the newest event of a delivery can be followed, and only by one recorded now.';
    end if;
    new.prev_hash := before;
    new.hash := own;
    return new;
end
$$;

create trigger events_refuse_forgery before insert on mailglass.events
    for each row execute function mailglass.refuse_forged_event();
alter table mailglass.events enable always trigger events_refuse_forgery;
create unique index events_dispatched_once on mailglass.events (delivery_id) where type = 'dispatched';

-- What the ledger speaks of is not taken away under it: addresses are erased, rows stay.
create trigger messages_refuse_delete before delete or truncate on mailglass.messages
    for each statement execute function mailglass.refuse_ledger_change();
create trigger deliveries_refuse_delete before delete or truncate on mailglass.deliveries
    for each statement execute function mailglass.refuse_ledger_change();
create trigger event_keys_refuse_change before update or delete or truncate on mailglass.event_keys
    for each statement execute function mailglass.refuse_ledger_change();
create trigger report_keys_refuse_change before update or delete or truncate on mailglass.report_keys
    for each statement execute function mailglass.refuse_ledger_change();
alter table mailglass.messages enable always trigger messages_refuse_delete;
alter table mailglass.deliveries enable always trigger deliveries_refuse_delete;
alter table mailglass.event_keys enable always trigger event_keys_refuse_change;
alter table mailglass.report_keys enable always trigger report_keys_refuse_change;

-- What a message is, seen from all its deliveries: at work while one of them is, then what came of
-- the one that matters most. One that may still be on its way hides none that is unknown.
create function mailglass.folded_state(states text[]) returns text
language sql immutable parallel safe
return (
    select s.state
    from unnest(array['sending', 'queued', 'unknown', 'sent', 'unknown_final', 'failed', 'suppressed', 'expired',
        'cancelled']) with ordinality as s (state, place)
    where s.state = any (states)
    order by s.place
    limit 1
);

-- The dispatch machine: whatever is not in this list is refused. A message follows its deliveries, so
-- that one of several recipients may take it on from a state in which another was.
create function mailglass.refuse_wrong_transition() returns trigger
language plpgsql
set search_path = pg_catalog
as $$
begin
    if (old.state, new.state) not in (
        ('queued', 'sending'), ('queued', 'suppressed'), ('queued', 'cancelled'), ('queued', 'expired'),
        ('queued', 'failed'),
        ('sending', 'sent'), ('sending', 'queued'), ('sending', 'failed'), ('sending', 'suppressed'),
        ('sending', 'unknown'),
        ('unknown', 'sent'), ('unknown', 'suppressed'), ('unknown', 'queued'), ('unknown', 'failed'),
        ('unknown', 'unknown_final')
    ) and (tg_table_name <> 'messages' or old.state not in ('queued', 'sending', 'unknown')) then
        raise exception '% may not follow %', new.state, old.state using errcode = '45A03';
    end if;
    return new;
end
$$;

create trigger messages_transition before update of state on mailglass.messages
    for each row when (old.state is distinct from new.state)
    execute function mailglass.refuse_wrong_transition();
create trigger deliveries_transition before update of state on mailglass.deliveries
    for each row when (old.state is distinct from new.state)
    execute function mailglass.refuse_wrong_transition();

create function mailglass.refuse_thawing() returns trigger
language plpgsql
set search_path = pg_catalog
as $$
begin
    if new.payload is not null or new.payload_sha256 <> old.payload_sha256
       or new.payload_bytes <> old.payload_bytes then
        raise exception 'a frozen payload may be scrubbed but not changed' using errcode = '45A03';
    end if;
    return new;
end
$$;

create trigger messages_frozen
    before update of payload, payload_sha256, payload_bytes on mailglass.messages
    for each row execute function mailglass.refuse_thawing();

-- The application may reach the triggers on the ledger so that they name what was tried; it can
-- neither disable nor drop them. The auditor reads the ledger and the states, not the payloads.
do $$
begin
    if exists (select from pg_catalog.pg_roles where rolname = 'mailglass_app') then
        grant usage on schema mailglass to mailglass_app;
        grant select on mailglass.migrations to mailglass_app;
        grant select, insert, update on
            mailglass.messages, mailglass.deliveries, mailglass.suppressions,
            mailglass.webhook_receipts to mailglass_app;
        grant delete on mailglass.suppressions to mailglass_app;
        grant select, insert on mailglass.event_keys, mailglass.report_keys to mailglass_app;
        grant select, insert, update, delete, truncate on mailglass.events to mailglass_app;
    end if;
    if exists (select from pg_catalog.pg_roles where rolname = 'mailglass_audit') then
        grant usage on schema mailglass to mailglass_audit;
        grant select on mailglass.events, mailglass.deliveries to mailglass_audit;
        grant select (id, tenant_id, stream, mailable, payload_sha256, payload_bytes, state, attempts,
            created_at, updated_at) on mailglass.messages to mailglass_audit;
    end if;
end
$$;
