-- Suppressions say who made them and why; whatever becomes of one is written to a history that only grows.
--
-- A removed suppression stays as a row that no longer holds, so that nobody is mailed again because a
-- list was emptied. The history has no address: it names a suppression by its id, so that an address
-- can be erased while what was done to it stays on record.
do $$
begin
    if (select nspowner::regrole::text from pg_catalog.pg_namespace where nspname = 'mailglass')
       = 'mailglass_owner' then
        set local role mailglass_owner;
    end if;
end
$$;

alter table mailglass.suppressions
    add column note text,
    add column changed_by text not null default 'application',
    add column why text,
    add column removed_at timestamptz;

comment on column mailglass.suppressions.value is
    'An address key, a domain, or hmac1:HEX@erased, the keyed hash of an address that was erased.';
comment on column mailglass.suppressions.removed_at is
    'Set: it no longer holds. The row stays until its address is erased.';

-- A process without the key could not see that an erased person left, and would mail them.
create table mailglass.erasure_marks (
    tenant_id text primary key,
    mark text not null check (mark like 'hmac1:%@erased'),
    created_at timestamptz not null default now()
);

comment on table mailglass.erasure_marks is
    'Which erasure key made a tenant''s keyed hashes: the hash of no address. Mail waits for that key.';

create table mailglass.suppression_history (
    id bigint generated always as identity primary key,
    tenant_id text not null,
    suppression_id uuid not null,
    action text not null check (action in ('added', 'changed', 'removed', 'restored', 'deleted')),
    scope text not null,
    stream text,
    reason text not null,
    source text not null,
    changed_by text not null,
    why text,
    expires_at timestamptz,
    at timestamptz not null default clock_timestamp()
);

comment on table mailglass.suppression_history is
    'What was done to suppressions: rows are added, by triggers alone, and never changed. No address.';

create index suppression_history_by_suppression on mailglass.suppression_history (suppression_id, id);

create function mailglass.refuse_history_change() returns trigger
language plpgsql
set search_path = pg_catalog
as $$
begin
    raise exception 'the history of suppressions is append-only: % refused', tg_op
        using errcode = '45A01', detail = lower(tg_op) || '_attempt';
end
$$;

create trigger suppression_history_refuse_update before update on mailglass.suppression_history
    for each statement execute function mailglass.refuse_history_change();
create trigger suppression_history_refuse_delete before delete on mailglass.suppression_history
    for each statement execute function mailglass.refuse_history_change();
create trigger suppression_history_refuse_truncate before truncate on mailglass.suppression_history
    for each statement execute function mailglass.refuse_history_change();
alter table mailglass.suppression_history enable always trigger suppression_history_refuse_update;
alter table mailglass.suppression_history enable always trigger suppression_history_refuse_delete;
alter table mailglass.suppression_history enable always trigger suppression_history_refuse_truncate;

-- The triggers write with the owner's rights, so the application can read the history and not forge it.
create function mailglass.note_added_suppressions() returns trigger
language plpgsql security definer
set search_path = pg_catalog
as $$
begin
    insert into mailglass.suppression_history
        (tenant_id, suppression_id, action, scope, stream, reason, source, changed_by, why, expires_at)
    select n.tenant_id, n.id, 'added', n.scope, n.stream, n.reason, n.source, n.changed_by, n.why, n.expires_at
    from new_rows n;
    return null;
end
$$;

create function mailglass.note_changed_suppressions() returns trigger
language plpgsql security definer
set search_path = pg_catalog
as $$
begin
    insert into mailglass.suppression_history
        (tenant_id, suppression_id, action, scope, stream, reason, source, changed_by, why, expires_at)
    select n.tenant_id, n.id,
        case when o.removed_at is null and n.removed_at is not null then 'removed'
            when o.removed_at is not null and n.removed_at is null then 'restored'
            else 'changed' end,
        n.scope, n.stream, n.reason, n.source, n.changed_by, n.why, n.expires_at
    from new_rows n join old_rows o on o.id = n.id;
    return null;
end
$$;

create function mailglass.note_deleted_suppressions() returns trigger
language plpgsql security definer
set search_path = pg_catalog
as $$
begin
    insert into mailglass.suppression_history
        (tenant_id, suppression_id, action, scope, stream, reason, source, changed_by, why, expires_at)
    select o.tenant_id, o.id, 'deleted', o.scope, o.stream, o.reason, o.source, session_user, o.why, o.expires_at
    from old_rows o;
    return null;
end
$$;

create trigger suppressions_note_added after insert on mailglass.suppressions
    referencing new table as new_rows
    for each statement execute function mailglass.note_added_suppressions();
create trigger suppressions_note_changed after update on mailglass.suppressions
    referencing old table as old_rows new table as new_rows
    for each statement execute function mailglass.note_changed_suppressions();
create trigger suppressions_note_deleted after delete on mailglass.suppressions
    referencing old table as old_rows
    for each statement execute function mailglass.note_deleted_suppressions();

-- What may replace what: a complaint outranks an unsubscribe, and both outrank everything else.
create function mailglass.suppression_rank(reason text) returns integer
language sql immutable parallel safe
return case reason when 'complaint' then 3 when 'unsubscribe' then 2 else 1 end;

create function mailglass.suppression_is_over(held mailglass.suppressions) returns boolean
language sql volatile parallel safe
return held.removed_at is not null or coalesce(held.expires_at <= clock_timestamp(), false);

-- Whether the given reason takes the place of the held one: a lesser never does, and of two equals
-- one that ends does not replace one that stands.
create function mailglass.suppression_takes(held mailglass.suppressions, given mailglass.suppressions)
returns boolean
language sql volatile parallel safe
return mailglass.suppression_is_over(held)
    or mailglass.suppression_rank(given.reason) > mailglass.suppression_rank(held.reason)
    or mailglass.suppression_rank(given.reason) = mailglass.suppression_rank(held.reason)
       and (held.expires_at is not null or given.expires_at is null);

-- Whether adding the given suppression to the held one changes anything: the same list, imported
-- twice, writes neither rows nor history.
create function mailglass.suppression_changes(held mailglass.suppressions, given mailglass.suppressions)
returns boolean
language sql volatile parallel safe
return mailglass.suppression_is_over(held)
    or mailglass.suppression_takes(held, given)
       and (given.reason <> held.reason or given.note is not null and given.note is distinct from held.note)
    or held.expires_at is not null and (given.expires_at is null or given.expires_at > held.expires_at);

create function mailglass.merged_suppression(held mailglass.suppressions, given mailglass.suppressions)
returns mailglass.suppressions
language plpgsql volatile parallel safe
set search_path = pg_catalog
as $$
declare
    merged mailglass.suppressions := held;
begin
    if mailglass.suppression_is_over(held) then
        merged := given;
        merged.id := held.id;
        return merged;
    end if;
    if mailglass.suppression_takes(held, given) then
        merged.reason := given.reason;
        merged.source := given.source;
        merged.note := coalesce(given.note, held.note);
    end if;
    merged.expires_at := case when held.expires_at is null or given.expires_at is null then null
        else greatest(held.expires_at, given.expires_at) end;
    merged.created_at := least(held.created_at, given.created_at);
    merged.changed_by := given.changed_by;
    merged.why := null;
    return merged;
end
$$;

-- Where rows of an import, or of an erasure, wait for the one statement that merges them. Unlogged:
-- a crash empties it, and what was not merged is imported again.
create unlogged table mailglass.suppression_intake (
    batch_id uuid not null,
    id uuid not null,
    tenant_id text not null,
    scope text not null,
    value text not null,
    stream text,
    reason text not null,
    source text not null,
    note text,
    changed_by text not null,
    expires_at timestamptz,
    created_at timestamptz
);

create index suppression_intake_by_batch on mailglass.suppression_intake (batch_id);

do $$
begin
    if exists (select from pg_catalog.pg_roles where rolname = 'mailglass_app') then
        grant select on mailglass.suppression_history to mailglass_app;
        grant select, insert, delete on mailglass.suppression_intake to mailglass_app;
        grant select, insert on mailglass.erasure_marks to mailglass_app;
    end if;
    if exists (select from pg_catalog.pg_roles where rolname = 'mailglass_audit') then
        grant select on mailglass.suppression_history to mailglass_audit;
    end if;
end
$$;
