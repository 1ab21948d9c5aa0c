-- name: feature_rules
-- Every rule that stands, of one feature or of all.
select f.name, f.tenant_id, f.stream, f.share, f.changed_by, f.why, f.updated_at
from mailglass.features f
where f.share is not null and (%(name)s::text is null or f.name = %(name)s::text)
order by f.name, f.tenant_id nulls first, f.stream nulls first
limit %(limit)s::integer;

-- name: set_feature
-- Sets a rule, or takes it away with a null share. No row: that would take the feature from some who
-- have it, and nobody said that this is wanted.
insert into mailglass.features as f (name, tenant_id, stream, share, changed_by, why)
values (%(name)s::text, %(tenant_id)s::text, %(stream)s::text, %(share)s::integer, %(changed_by)s::text,
    %(why)s::text)
on conflict (name, (coalesce(tenant_id, '')), (coalesce(stream, ''))) do update
set share = excluded.share, changed_by = excluded.changed_by, why = excluded.why,
    updated_at = clock_timestamp()
where %(may_shrink)s::boolean or f.share is null or coalesce(excluded.share, 0) in (0, 10000)
    or excluded.share >= f.share
returning f.name, f.tenant_id, f.stream, f.share, f.changed_by, f.why, f.updated_at;

-- name: feature_history
-- What was done to a feature, the newest first.
select h.name, h.tenant_id, h.stream, h.share_before, h.share, h.changed_by, h.why, h.at
from mailglass.feature_history h
where h.name = %(name)s::text
order by h.id desc
limit %(limit)s::integer;

-- name: settle_stopped
-- Holds due mail of which the sending is switched off, and lets go what was held so and may leave
-- again. The first condition is asked once, so that nothing is read while nothing is switched off.
with stopped as (
    update mailglass.messages m
    set held = true, stopped_at = clock_timestamp()
    where m.id = any (array(
        select w.id
        from mailglass.messages w
        where exists (select from mailglass.features f where f.name = 'sending' and f.share = 0)
          and w.state = 'queued' and not w.held and w.run_at <= clock_timestamp()
          and exists (
              select from mailglass.features f
              where f.name = 'sending' and f.share = 0
                and (f.tenant_id is null or f.tenant_id = w.tenant_id)
                and (f.stream is null or f.stream = w.stream))
        limit %(limit)s::integer
        for update of w skip locked))
    returning m.id
), freed as (
    update mailglass.messages m
    set held = false, stopped_at = null
    where m.id = any (array(
        select w.id
        from mailglass.messages w
        where w.stopped_at is not null
          and not exists (
              select from mailglass.features f
              where f.name = 'sending' and f.share = 0
                and (f.tenant_id is null or f.tenant_id = w.tenant_id)
                and (f.stream is null or f.stream = w.stream))
        order by w.stopped_at
        limit %(limit)s::integer
        for update of w skip locked))
    returning m.id
)
select (select count(*) from stopped)::integer as stopped, (select count(*) from freed)::integer as freed;
