-- name: delivery_by_id
select d.id, d.message_id, d.tenant_id, d.kind, m.stream, d.state, d.outcome, m.mailable, d.provider,
       d.provider_message_id, d.failure_class, d.code, m.attempts, m.run_at, d.created_at, d.updated_at,
       m.payload_bytes, m.payload_sha256
from mailglass.deliveries d
join mailglass.messages m on m.id = d.message_id
where d.id = %(delivery_id)s::uuid
  and (%(tenant_id)s::text is null or d.tenant_id = %(tenant_id)s::text);

-- name: deliveries_of_message
select d.id, d.message_id, d.tenant_id, d.kind, m.stream, d.state, d.outcome, m.mailable, d.provider,
       d.provider_message_id, d.failure_class, d.code, m.attempts, m.run_at, d.created_at, d.updated_at,
       m.payload_bytes, m.payload_sha256
from mailglass.deliveries d
join mailglass.messages m on m.id = d.message_id
where d.message_id = %(message_id)s::uuid and d.tenant_id = %(tenant_id)s::text
order by d.position;

-- name: list_deliveries
-- The newest first; `before` is the id of the last row of the page before.
select d.id, d.message_id, d.tenant_id, d.kind, m.stream, d.state, d.outcome, m.mailable, d.provider,
       d.provider_message_id, d.failure_class, d.code, m.attempts, m.run_at, d.created_at, d.updated_at,
       m.payload_bytes, m.payload_sha256
from mailglass.deliveries d
join mailglass.messages m on m.id = d.message_id
where (%(tenant_id)s::text is null or d.tenant_id = %(tenant_id)s::text)
  and (%(state)s::text is null or d.state = %(state)s::text)
  and (%(address_key)s::text is null or d.address_key = %(address_key)s::text)
  and (%(before)s::uuid is null or d.id < %(before)s::uuid)
order by d.id desc
limit %(limit)s::integer;

-- name: recipient_of_delivery
-- Whose mail a delivery is, for a link that speaks for that delivery alone.
select d.tenant_id, d.address_key, m.stream
from mailglass.deliveries d
join mailglass.messages m on m.id = d.message_id
where d.id = %(delivery_id)s::uuid;

-- name: frozen_payload
select m.payload, m.payload_sha256, m.payload_bytes
from mailglass.messages m
where m.id = %(message_id)s::uuid and m.tenant_id = %(tenant_id)s::text;
