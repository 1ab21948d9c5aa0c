-- Features and the switch that stops sending, each change of them on record; and the record of erasures.
do $$
begin
    if (select nspowner::regrole::text from pg_catalog.pg_namespace where nspname = 'mailglass')
       = 'mailglass_owner' then
        set local role mailglass_owner;
    end if;
end
$$;

create table mailglass.features (
    name text not null check (name ~ '^[a-z][a-z0-9_.-]{0,62}$'),
    tenant_id text check (tenant_id <> ''),
    stream text check (stream in ('transactional', 'operational', 'bulk')),
    share integer check (share between 0 and 10000),
    changed_by text not null,
    why text,
    updated_at timestamptz not null default clock_timestamp(),
    check (name <> 'sending' or share in (0, 10000))
);

comment on table mailglass.features is
    'One rule a feature and scope; a null tenant or stream stands for all of them.';
comment on column mailglass.features.share is
    'How many of 10,000 subjects have it: 0 is off, 10000 on; null once the rule was taken away.';

create unique index features_by_scope
    on mailglass.features (name, (coalesce(tenant_id, '')), (coalesce(stream, '')));

create table mailglass.feature_history (
    id bigint generated always as identity primary key,
    name text not null,
    tenant_id text,
    stream text,
    share_before integer,
    share integer,
    changed_by text not null,
    why text,
    at timestamptz not null default clock_timestamp()
);

comment on table mailglass.feature_history is
    'What was done to features: rows are added, by a trigger alone, and never changed.';

create index feature_history_by_name on mailglass.feature_history (name, id);

create function mailglass.refuse_record_change() returns trigger
language plpgsql
set search_path = pg_catalog
as $$
begin
    raise exception '% is append-only: % refused', tg_table_name, tg_op
        using errcode = '45A01', detail = lower(tg_op) || '_attempt';
end
$$;

create trigger feature_history_refuse_change before update or delete or truncate
    on mailglass.feature_history
    for each statement execute function mailglass.refuse_record_change();
alter table mailglass.feature_history enable always trigger feature_history_refuse_change;

-- It writes with the owner's rights, so the application can read the history and not forge it.
create function mailglass.note_feature() returns trigger
language plpgsql security definer
set search_path = pg_catalog
as $$
begin
    insert into mailglass.feature_history (name, tenant_id, stream, share_before, share, changed_by, why)
    values (new.name, new.tenant_id, new.stream, case tg_op when 'UPDATE' then old.share end, new.share,
        new.changed_by, new.why);
    return null;
end
$$;

create trigger features_note after insert or update on mailglass.features
    for each row execute function mailglass.note_feature();
alter table mailglass.features enable always trigger features_note;
create trigger features_refuse_delete before delete or truncate on mailglass.features
    for each statement execute function mailglass.refuse_record_change();
alter table mailglass.features enable always trigger features_refuse_delete;

-- The switch: whichever rule says off wins, and no claim that begins after it was written takes mail.
create function mailglass.keep_stopped_mail() returns trigger
language plpgsql
set search_path = pg_catalog
as $$
begin
    if exists (
        select from mailglass.features f
        where f.name = 'sending' and f.share = 0
          and (f.tenant_id is null or f.tenant_id = new.tenant_id)
          and (f.stream is null or f.stream = new.stream)
    ) then
        return null;
    end if;
    return new;
end
$$;

create trigger messages_stopped before update of state on mailglass.messages
    for each row when (old.state = 'queued' and new.state = 'sending')
    execute function mailglass.keep_stopped_mail();
alter table mailglass.messages enable always trigger messages_stopped;

-- Stopped mail is held besides, so that it does not stand in the way of what may leave.
alter table mailglass.messages add column stopped_at timestamptz;

comment on column mailglass.messages.stopped_at is
    'Set while the message is held because sending is switched off, and not by an operator.';

create index messages_stopped_since on mailglass.messages (stopped_at) where stopped_at is not null;

create table mailglass.erasures (
    id uuid primary key,
    tenant_id text not null,
    subject text not null check (subject ~ '^hmac1:[0-9a-f]{64}@erased$'),
    deliveries integer not null,
    messages integer not null,
    receipts integer not null,
    changed_by text not null,
    at timestamptz not null default clock_timestamp()
);

comment on table mailglass.erasures is
    'That an address was erased: under its keyed hash, by whom, and how many rows it was taken from.';

create trigger erasures_refuse_change before update or delete or truncate on mailglass.erasures
    for each statement execute function mailglass.refuse_record_change();
alter table mailglass.erasures enable always trigger erasures_refuse_change;

do $$
begin
    if exists (select from pg_catalog.pg_roles where rolname = 'mailglass_app') then
        grant select, insert, update on mailglass.features to mailglass_app;
        grant select on mailglass.feature_history to mailglass_app;
        grant select, insert on mailglass.erasures to mailglass_app;
    end if;
    if exists (select from pg_catalog.pg_roles where rolname = 'mailglass_audit') then
        grant select on mailglass.features, mailglass.feature_history, mailglass.erasures to mailglass_audit;
    end if;
end
$$;
