-- name: matching_suppressions
-- The standing refusals that hold now for any of the values (address keys, domains, keyed hashes of
-- erased addresses) on a stream. OFFSET 0 keeps it one look into the index for each value: for many
-- values the planner would rather read the whole list, which is slower and grows with it. The values come
-- as JSON: of an array the planner counts the members, and plans anew each time. A row of the scope
-- erasure_key says that erased people are refused under hashes of a key that the values were not made with.
select f.scope, f.value, f.stream, f.reason, f.source, f.expires_at
from (
    select found.*
    from (select distinct u.value from jsonb_array_elements_text(%(values)s::jsonb) as u (value)) v
    cross join lateral (
        select s.scope, s.value, s.stream, s.reason, s.source, s.expires_at
        from mailglass.suppressions s
        where s.tenant_id = %(tenant_id)s::text
          and s.value = v.value
          and (s.stream is null or s.stream = %(stream)s::text)
          and (s.expires_at is null or s.expires_at > clock_timestamp())
          and s.removed_at is null
        offset 0
    ) found
    union all
    select 'erasure_key', k.mark, null, null, null, null
    from mailglass.erasure_marks k
    where k.tenant_id = %(tenant_id)s::text and not jsonb_exists(%(values)s::jsonb, k.mark)
) f
order by array_position(array['erasure_key', 'address', 'domain', 'address_stream'], f.scope), f.value;

-- name: merge_suppressions
-- Move a batch out of the intake; of one value named twice the strongest reason, and then the one
-- that stands longest, is taken.
with taken as (
    delete from mailglass.suppression_intake i where i.batch_id = %(batch_id)s::uuid returning i.*
), strongest as (
    select distinct on (t.tenant_id, t.value, t.scope, coalesce(t.stream, '')) t.*
    from taken t
    order by t.tenant_id, t.value, t.scope, coalesce(t.stream, ''),
        mailglass.suppression_rank(t.reason) desc, t.expires_at desc nulls first
), written as (
    insert into mailglass.suppressions as s
        (id, tenant_id, scope, value, stream, reason, source, note, changed_by, expires_at, created_at)
    select t.id, t.tenant_id, t.scope, t.value, t.stream, t.reason, t.source, t.note, t.changed_by,
        t.expires_at, coalesce(t.created_at, now())
    from strongest t
    on conflict (tenant_id, value, scope, (coalesce(stream, ''))) do update
    set (reason, source, note, changed_by, why, expires_at, created_at, removed_at, updated_at) = (
        select m.reason, m.source, m.note, m.changed_by, m.why, m.expires_at, m.created_at, m.removed_at, now()
        from mailglass.merged_suppression(s, excluded) m)
    where mailglass.suppression_changes(s, excluded)
    returning (xmax = 0) as is_new
)
select (select count(*) from taken) as taken,
    count(*) filter (where w.is_new) as added,
    count(*) filter (where not w.is_new) as changed
from written w;

-- name: remove_suppression
-- A complaint and an unsubscribe are removed with force only. One row comes back when there is one.
with held as (
    select s.id, s.scope, s.reason, s.source, s.expires_at
    from mailglass.suppressions s
    where s.tenant_id = %(tenant_id)s::text
      and s.value = any (%(values)s::text[])
      and s.scope = %(scope)s::text
      and s.stream is not distinct from %(stream)s::text
      and s.removed_at is null
    for update
), gone as (
    update mailglass.suppressions s
    set removed_at = now(), updated_at = now(), changed_by = %(changed_by)s::text, why = %(why)s::text
    from held h
    where s.id = h.id and (%(force)s::boolean or mailglass.suppression_rank(h.reason) = 1)
    returning s.id
)
select h.scope, h.reason, h.source, h.expires_at, exists (select from gone g where g.id = h.id) as is_removed
from held h
order by is_removed, mailglass.suppression_rank(h.reason) desc;

-- name: list_suppressions
-- A page in the order of the values, after the last row of the page before; the first comes after
-- three empty strings, so that no page but reads its own part of the index.
select s.scope, s.value, s.stream, s.reason, s.source, s.note, s.changed_by, s.expires_at, s.created_at,
    s.updated_at, s.removed_at, s.why
from mailglass.suppressions s
where s.tenant_id = %(tenant_id)s::text
  and (s.value, s.scope, coalesce(s.stream, ''))
      > (%(after_value)s::text, %(after_scope)s::text, %(after_stream)s::text)
  and (%(scope)s::text is null or s.scope = %(scope)s::text)
  and (%(stream)s::text is null or s.stream = %(stream)s::text)
  and (%(reason)s::text is null or s.reason = %(reason)s::text)
  and (%(with_over)s::boolean
       or s.removed_at is null and (s.expires_at is null or s.expires_at > clock_timestamp()))
order by s.value, s.scope, coalesce(s.stream, '')
limit %(limit)s::integer;

-- name: suppression_history
-- What was done to the suppressions of a value, the first first.
select h.action, h.scope, h.stream, h.reason, h.source, h.changed_by, h.why, h.expires_at, h.at
from mailglass.suppressions s
join mailglass.suppression_history h on h.suppression_id = s.id
where s.tenant_id = %(tenant_id)s::text
  and s.value = any (%(values)s::text[])
order by h.id
limit %(limit)s::integer;

-- name: erase_suppressed_address
-- Take an address out of the suppressions and put its keyed hash into the intake, where the refusals
-- that still hold wait to be merged under it. The key's mark stays: another key is told, and undone.
with gone as (
    delete from mailglass.suppressions s
    where s.tenant_id = %(tenant_id)s::text
      and s.value = %(value)s::text
      and s.scope <> 'domain'
    returning s.*
), kept as (
    insert into mailglass.suppression_intake
        (batch_id, id, tenant_id, scope, value, stream, reason, source, changed_by, expires_at, created_at)
    select %(batch_id)s::uuid, g.id, g.tenant_id, g.scope, %(hash)s::text, g.stream, g.reason, g.source,
        %(changed_by)s::text, g.expires_at, g.created_at
    from gone g
    where g.removed_at is null
), marked as (
    insert into mailglass.erasure_marks (tenant_id, mark)
    select %(tenant_id)s::text, %(mark)s::text
    where exists (select from gone)
    on conflict do nothing
    returning mark
)
select count(*) as gone,
       count(*) = 0 or exists (select from marked) or exists (
           select from mailglass.erasure_marks k
           where k.tenant_id = %(tenant_id)s::text and k.mark = %(mark)s::text) as is_known_key
from gone;
