-- name: take_tokens
-- One token a recipient from every bucket, or none at all; a row for each bucket that is short.
select t.scope, t.key, t.wait_ms
from mailglass.take_tokens(%(tenant_id)s::text, %(buckets)s::jsonb) t
order by t.wait_ms desc;
