-- What providers report, in batches: events whose delivery is not known yet, and those that were refused.
do $$
begin
    if (select nspowner::regrole::text from pg_catalog.pg_namespace where nspname = 'mailglass')
       = 'mailglass_owner' then
        set local role mailglass_owner;
    end if;
end
$$;

-- Bodies are read back only for a replay: packing a batch of 1,000 events took longer than storing it.
alter table mailglass.webhook_receipts alter column body set storage external;
-- Whoever hands a received mail to its handler holds it until then.
alter table mailglass.webhook_receipts add column lease_until timestamptz;
create index webhook_receipts_open on mailglass.webhook_receipts (id) where state = 'received';
create index webhook_receipts_by_time on mailglass.webhook_receipts (received_at, id);

create table mailglass.webhook_orphans (
    id uuid primary key,
    tenant_id text not null check (tenant_id <> ''),
    provider text not null,
    endpoint text not null,
    receipt_id uuid not null,
    dedupe_key text not null,
    document jsonb not null,
    received_at timestamptz not null default now(),
    unique (tenant_id, provider, dedupe_key)
);

comment on table mailglass.webhook_orphans is
    'Reports about a delivery that is not known yet; they hold an address and are linked or gone in days.';

create index webhook_orphans_by_receipt on mailglass.webhook_orphans (receipt_id);

create table mailglass.webhook_dead (
    receipt_id uuid not null,
    place integer not null,
    tenant_id text not null,
    provider text not null,
    endpoint text not null,
    reason text not null check (reason ~ '^[a-z0-9_]{1,64}$'),
    at timestamptz not null default now(),
    primary key (receipt_id, place)
);

comment on table mailglass.webhook_dead is
    'Reports that were refused, and why: place counts from 0 in the receipt, whose body holds the report.';

create index webhook_dead_by_time on mailglass.webhook_dead (at);

create table mailglass.inbound_messages (
    receipt_id uuid not null,
    place integer not null,
    tenant_id text not null check (tenant_id <> ''),
    provider text not null,
    endpoint text not null,
    route text,
    outcome text not null check (outcome in (
        'accepted', 'ignored', 'rejected', 'bounced', 'unrouted', 'failed'
    )),
    reason text,
    runs integer not null default 1,
    received_at timestamptz not null default now(),
    handled_at timestamptz not null default now(),
    primary key (receipt_id, place)
);

comment on table mailglass.inbound_messages is
    'What became of received mails: place counts from 0 in the receipt, whose body holds the mail. No address.';

do $$
begin
    if exists (select from pg_catalog.pg_roles where rolname = 'mailglass_app') then
        grant select, insert, delete on mailglass.webhook_orphans, mailglass.webhook_dead to mailglass_app;
        grant select, insert, update, delete on mailglass.inbound_messages to mailglass_app;
        grant delete on mailglass.webhook_receipts to mailglass_app;
    end if;
end
$$;
