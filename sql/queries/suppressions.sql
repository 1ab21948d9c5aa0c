-- name: matching_suppressions
-- The standing refusals that hold now for any of the values (address keys and domains) on a stream.
select s.scope, s.value, s.stream, s.reason, s.source, s.expires_at
from mailglass.suppressions s
where s.tenant_id = %(tenant_id)s::text
  and s.value = any (%(values)s::text[])
  and (s.stream is null or s.stream = %(stream)s::text)
  and (s.expires_at is null or s.expires_at > clock_timestamp())
order by array_position(array['address', 'domain', 'address_stream'], s.scope), s.value;

-- name: add_suppression
-- A complaint is never replaced by a lesser reason, nor a standing refusal by one that ends.
insert into mailglass.suppressions as s (id, tenant_id, scope, value, stream, reason, source, expires_at)
values (%(id)s::uuid, %(tenant_id)s::text, %(scope)s::text, %(value)s::text, %(stream)s::text,
        %(reason)s::text, %(source)s::text, %(expires_at)s::timestamptz)
on conflict (tenant_id, value, scope, (coalesce(stream, ''))) do update
set reason = case when s.expires_at is null and excluded.expires_at is not null then s.reason
        else excluded.reason end,
    source = case when s.expires_at is null and excluded.expires_at is not null then s.source
        else excluded.source end,
    expires_at = case when s.expires_at is null or excluded.expires_at is null then null
        else greatest(s.expires_at, excluded.expires_at) end,
    updated_at = now()
where s.reason <> 'complaint' or excluded.reason = 'complaint';
