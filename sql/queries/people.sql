-- name: deliveries_of_person
-- A page of the deliveries to an address, under its key or under the keyed hash that it has once it is
-- erased: as many as have so many bytes of mail together, and one at least.
with page as (
    select d.id, m.payload_bytes as size
    from mailglass.deliveries d
    join mailglass.messages m on m.id = d.message_id
    where d.tenant_id = %(tenant_id)s::text and d.address_key = any (%(keys)s::text[])
      and d.id > %(after)s::uuid
    order by d.id
    limit %(limit)s::integer
), measured as (
    select p.id, p.size, sum(p.size) over (order by p.id rows unbounded preceding) as bytes from page p
)
select d.id, d.message_id, d.tenant_id, d.kind, m.stream, d.state, d.outcome, m.mailable, d.provider,
       d.provider_message_id, d.failure_class, d.code, m.attempts, m.run_at, d.created_at, d.updated_at,
       m.payload_bytes, m.payload_sha256, d.address::text as address, m.payload, m.settings
from measured s
join mailglass.deliveries d on d.id = s.id
join mailglass.messages m on m.id = d.message_id
where s.bytes - s.size < %(bytes)s::bigint
order by d.id;

-- name: ids_of_person
-- A page of the ids under which providers speak of the deliveries to an address.
select d.id, d.provider_message_id
from mailglass.deliveries d
where d.tenant_id = %(tenant_id)s::text and d.address_key = any (%(keys)s::text[])
  and d.id > %(after)s::uuid
order by d.id
limit %(limit)s::integer;

-- name: payloads_after
-- A page of the bytes that are still kept, for whoever looks for an address in them: so many bytes, and
-- one message at least. Where asked, of messages alone that were queued of late.
with page as (
    select m.id, m.payload_bytes as size
    from mailglass.messages m
    where m.tenant_id = %(tenant_id)s::text and m.id > %(after)s::uuid and m.payload is not null
      and (%(within_s)s::double precision is null
           or m.created_at > clock_timestamp() - make_interval(secs => %(within_s)s::double precision))
    order by m.id
    limit %(limit)s::integer
), measured as (
    select p.id, p.size, sum(p.size) over (order by p.id rows unbounded preceding) as bytes from page p
)
select m.id, m.payload
from measured s
join mailglass.messages m on m.id = s.id
where s.bytes - s.size < %(bytes)s::bigint
order by m.id;

-- name: receipts_after
-- A page of the webhook receipts that still have their bodies: so many bytes, and one receipt at least.
-- Where asked, those alone that came of late.
with page as (
    select r.id, octet_length(r.body) as size
    from mailglass.webhook_receipts r
    where r.tenant_id = %(tenant_id)s::text and r.id > %(after)s::uuid and r.body is not null
      and (%(within_s)s::double precision is null
           or r.received_at > clock_timestamp() - make_interval(secs => %(within_s)s::double precision))
    order by r.id
    limit %(limit)s::integer
), measured as (
    select p.id, p.size, sum(p.size) over (order by p.id rows unbounded preceding) as bytes from page p
)
select r.id, r.provider, r.endpoint, r.received_at, r.headers, r.body
from measured s
join mailglass.webhook_receipts r on r.id = s.id
where s.bytes - s.size < %(bytes)s::bigint
order by r.id;

-- name: messages_of_person
-- The messages that hold an address outside their bytes, and those that were found to have it in
-- there, with whether they are still on their way.
select m.id, m.state
from mailglass.messages m
where m.tenant_id = %(tenant_id)s::text
  and (m.id = any (%(naming)s::uuid[])
       or m.id in (
           select d.message_id from mailglass.deliveries d
           where d.tenant_id = %(tenant_id)s::text and d.address_key = %(address_key)s::text)
       or lower(concat_ws(' ', m.mail_from, m.settings::text, m.idempotency_key, m.ordering_key,
           m.rfc_message_id)) ~ %(pattern)s::text);

-- name: empty_receipts
-- Takes the bodies of webhook receipts: a receipt is a copy that is kept for a replay.
with receipt as (
    update mailglass.webhook_receipts r
    set body = null, headers = '{}'
    where r.id = any (%(ids)s::uuid[]) and r.tenant_id = %(tenant_id)s::text and r.body is not null
    returning r.id
)
select count(*)::integer as rows from receipt;

-- name: erase_orphans
-- Takes away reports of deliveries that are not known yet, where they hold an address.
with gone as (
    delete from mailglass.webhook_orphans o
    where o.tenant_id = %(tenant_id)s::text
      and exists (
          select from unnest(%(spellings)s::text[]) as s (spelling)
          where position(s.spelling in lower(o.document::text)) > 0)
    returning o.id
)
select count(*)::integer as rows from gone;

-- name: erase_person
-- Takes an address out of deliveries and messages in one statement, and writes down that it was done.
-- Messages keep their size, hash and state; a message that is on its way is left alone, and so are
-- its deliveries.
with found as (
    select m.id
    from mailglass.messages m
    where m.id = any (%(message_ids)s::uuid[]) and m.tenant_id = %(tenant_id)s::text
      and m.state in ('sent', 'failed', 'suppressed', 'cancelled', 'expired', 'unknown_final')
    order by m.id
    for update
), message as (
    update mailglass.messages m
    set payload = null,
        settings = '{}',
        mail_from = case when lower(m.mail_from) ~ %(pattern)s::text
            then %(erased)s::text else m.mail_from end,
        rfc_message_id = case when lower(m.rfc_message_id) ~ %(pattern)s::text
            then %(erased)s::text else m.rfc_message_id end,
        idempotency_key = case when lower(m.idempotency_key) ~ %(pattern)s::text
            then null else m.idempotency_key end,
        ordering_key = case when lower(m.ordering_key) ~ %(pattern)s::text
            then null else m.ordering_key end
    from found
    where m.id = found.id
    returning m.id
), delivery as (
    update mailglass.deliveries d
    set address = case when d.address_key = %(address_key)s::text
            then %(erased)s::text::mailglass.citext else d.address end,
        address_key = case when d.address_key = %(address_key)s::text
            then %(erased)s::text else d.address_key end,
        provider_message_id = case when lower(d.provider_message_id) ~ %(pattern)s::text
            then null else d.provider_message_id end
    from found
    where d.message_id = found.id
      and (d.address_key = %(address_key)s::text or lower(d.provider_message_id) ~ %(pattern)s::text)
    returning d.address_key = %(erased)s::text as is_theirs
), noted as (
    insert into mailglass.erasures (id, tenant_id, subject, deliveries, messages, receipts, changed_by)
    select %(id)s::uuid, %(tenant_id)s::text, %(erased)s::text,
           (select count(*) from delivery where is_theirs), (select count(*) from message),
           %(receipts)s::integer, %(changed_by)s::text
    returning deliveries, messages, receipts
)
select n.deliveries, n.messages, n.receipts from noted n;

-- name: suppressions_of_person
-- Every refusal of an address, also those that hold no more, under its key or its keyed hash.
select s.scope, s.stream, s.reason, s.source, s.note, s.changed_by, s.why, s.expires_at, s.created_at,
       s.updated_at, s.removed_at
from mailglass.suppressions s
where s.tenant_id = %(tenant_id)s::text and s.value = any (%(keys)s::text[])
order by s.created_at, s.id
limit %(limit)s::integer;
