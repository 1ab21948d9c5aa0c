-- Which adapter carries a message, and the breakers that keep mail from an adapter that refuses it.
do $$
begin
    if (select nspowner::regrole::text from pg_catalog.pg_namespace where nspname = 'mailglass')
       = 'mailglass_owner' then
        set local role mailglass_owner;
    end if;
end
$$;

alter table mailglass.messages
    add column routing text not null default 'free' check (routing in ('free', 'after', 'at', 'fixed')),
    add column waits_for text;

comment on column mailglass.messages.adapter_ref is
    'The adapter that the newest attempt goes by: written before its bytes leave.';
comment on column mailglass.messages.routing is
    'free: by the first of the route; after: adapter_ref refused it, the next one has its turn; at: it is '
    'adapter_ref''s turn; fixed: adapter_ref may have accepted it, or was named by an operator, so no other.';
comment on column mailglass.messages.waits_for is
    'The adapter whose breaker a queued message waits for.';

create index messages_behind_breakers on mailglass.messages (tenant_id, waits_for)
    where waits_for is not null and state = 'queued';

alter table mailglass.deliveries add column adapter_ref text;

comment on column mailglass.deliveries.adapter_ref is
    'The adapter that the newest attempt went by; provider is the name of who stands behind it.';

create table mailglass.breakers (
    tenant_id text not null check (tenant_id <> ''),
    adapter_ref text not null check (adapter_ref <> ''),
    state text not null default 'closed' check (state in ('closed', 'open', 'half_open')),
    failures integer not null default 0 check (failures >= 0),
    window_started_at timestamptz not null default clock_timestamp(),
    window_calls integer not null default 0,
    window_failures integer not null default 0,
    wait_s double precision not null default 0,
    retry_at timestamptz,
    reason text,
    changed_by text not null default 'dispatch',
    changed_at timestamptz not null default clock_timestamp(),
    primary key (tenant_id, adapter_ref),
    check (state = 'closed' or retry_at is not null)
) with (fillfactor = 70);

comment on column mailglass.breakers.failures is 'Failures since the last success.';
comment on column mailglass.breakers.retry_at is
    'Open: when one probe may go. Half open: when the probe is given up and another may go.';

create table mailglass.breaker_history (
    id bigint generated always as identity primary key,
    tenant_id text not null,
    adapter_ref text not null,
    from_state text not null,
    to_state text not null,
    reason text,
    changed_by text not null,
    at timestamptz not null default clock_timestamp()
);

comment on table mailglass.breaker_history is
    'Each change of a breaker and who made it: rows are added, by a trigger alone, and never changed.';

create index breaker_history_by_breaker on mailglass.breaker_history (adapter_ref, tenant_id, id);

create function mailglass.refuse_breaker_history_change() returns trigger
language plpgsql
set search_path = pg_catalog
as $$
begin
    raise exception 'the history of breakers is append-only: % refused', tg_op
        using errcode = '45A01', detail = lower(tg_op) || '_attempt';
end
$$;

create trigger breaker_history_refuse_change before update or delete or truncate on mailglass.breaker_history
    for each statement execute function mailglass.refuse_breaker_history_change();
alter table mailglass.breaker_history enable always trigger breaker_history_refuse_change;

-- It writes with the owner's rights, so the application can read the history and not forge it.
create function mailglass.note_breaker_change() returns trigger
language plpgsql security definer
set search_path = pg_catalog
as $$
begin
    insert into mailglass.breaker_history (tenant_id, adapter_ref, from_state, to_state, reason, changed_by, at)
    values (new.tenant_id, new.adapter_ref, old.state, new.state, new.reason, new.changed_by, new.changed_at);
    return null;
end
$$;

create trigger breakers_note_change after update on mailglass.breakers
    for each row when (old.state is distinct from new.state) execute function mailglass.note_breaker_change();

-- Mail that waits for an adapter is due now, the longest waiting first; so many at a time that the
-- statement stays short, the others come at the time they were given.
create function mailglass.let_through(tenant text, ref text) returns bigint
language sql
set search_path = pg_catalog
as $$
    with waiting as (
        select w.id from mailglass.messages w
        where w.tenant_id = tenant and w.waits_for = ref and w.state = 'queued'
        order by w.id
        limit 10000
        for update skip locked
    ), let as (
        update mailglass.messages m
        set run_at = clock_timestamp(), waits_for = null
        from waiting
        where m.id = waiting.id
        returning m.id
    )
    select count(*) from let
$$;

-- Counts what came of calls and moves the breakers by it. A breaker opens when so many calls failed one
-- after another, when such a share of enough calls within the window did, or when the account was
-- refused. While it is half open only the probe's end counts, while it is open nothing does.
create function mailglass.note_calls(reports jsonb, limits jsonb)
returns table (tenant_id text, adapter_ref text, state_before text, state text)
language plpgsql
set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
    told record;
    b mailglass.breakers;
    before text;
    trips text;
begin
    for told in
        select r.*
        from jsonb_to_recordset(reports) as r (
            tenant_id text, adapter_ref text, calls integer, failures integer, streak integer,
            passed boolean, refused boolean, probe text)
        order by r.tenant_id, r.adapter_ref
    loop
        insert into mailglass.breakers as n (tenant_id, adapter_ref)
        values (told.tenant_id, told.adapter_ref)
        on conflict do nothing;
        select * into b from mailglass.breakers r
        where r.tenant_id = told.tenant_id and r.adapter_ref = told.adapter_ref
        for update;
        before := b.state;
        trips := null;
        if b.state = 'closed' then
            if b.window_started_at <= clock_timestamp()
                    - make_interval(secs => (limits ->> 'window_s')::double precision) then
                b.window_started_at := clock_timestamp();
                b.window_calls := 0;
                b.window_failures := 0;
            end if;
            b.window_calls := b.window_calls + told.calls;
            b.window_failures := b.window_failures + told.failures;
            b.failures := told.streak + case when told.passed then 0 else b.failures end;
            trips := case
                when told.refused then 'account_refused'
                when b.failures >= (limits ->> 'failures')::integer then 'failures_in_a_row'
                when told.failures > 0 and b.window_calls >= (limits ->> 'calls')::integer
                    and b.window_failures >= (limits ->> 'share')::double precision * b.window_calls
                    then 'share_of_failures'
            end;
            b.wait_s := (limits ->> 'wait_s')::double precision;
        elsif b.state = 'half_open' and told.probe = 'failed' then
            trips := 'probe_failed';
            b.wait_s := least(2 * b.wait_s, (limits ->> 'wait_s_max')::double precision);
        elsif b.state = 'half_open' and told.probe = 'passed' then
            b.state := 'closed';
            b.reason := 'probe_passed';
            b.failures := 0;
            b.window_calls := 0;
            b.window_failures := 0;
            b.retry_at := null;
        end if;
        if trips is not null then
            b.state := 'open';
            b.reason := trips;
            b.retry_at := clock_timestamp() + make_interval(secs => b.wait_s);
        end if;
        if b.state <> before then
            b.changed_by := 'dispatch';
            b.changed_at := clock_timestamp();
        end if;
        update mailglass.breakers u
        set state = b.state, failures = b.failures, window_started_at = b.window_started_at,
            window_calls = b.window_calls, window_failures = b.window_failures, wait_s = b.wait_s,
            retry_at = b.retry_at, reason = b.reason, changed_by = b.changed_by, changed_at = b.changed_at
        where u.tenant_id = b.tenant_id and u.adapter_ref = b.adapter_ref;
        if b.state <> before then
            return query select b.tenant_id, b.adapter_ref, before, b.state;
        end if;
        if b.state = 'closed' and before <> 'closed' then
            perform mailglass.let_through(b.tenant_id, b.adapter_ref);
        end if;
    end loop;
end
$$;

do $$
begin
    if exists (select from pg_catalog.pg_roles where rolname = 'mailglass_app') then
        grant select, insert, update on mailglass.breakers to mailglass_app;
        grant select on mailglass.breaker_history to mailglass_app;
    end if;
    if exists (select from pg_catalog.pg_roles where rolname = 'mailglass_audit') then
        grant select on mailglass.breakers, mailglass.breaker_history to mailglass_audit;
    end if;
end
$$;
