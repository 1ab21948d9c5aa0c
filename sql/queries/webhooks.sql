-- name: receive_webhook
-- Keep a request before anything is made of it. A repetition adds nothing and says what became of the
-- first; no row at all means that another process is taking the same request in at this moment.
with kept as (
    insert into mailglass.webhook_receipts
        (id, tenant_id, provider, endpoint, dedupe_key, headers, body, body_sha256)
    values (%(id)s::uuid, %(tenant_id)s::text, %(provider)s::text, %(endpoint)s::text, %(dedupe_key)s::text,
        %(headers)s::jsonb, %(body)s::bytea, %(body_sha256)s::bytea)
    on conflict (tenant_id, provider, endpoint, dedupe_key) do nothing
    returning id, state
)
select k.id, k.state, true as is_new from kept k
union all
select r.id, r.state, false
from mailglass.webhook_receipts r
where r.tenant_id = %(tenant_id)s::text
  and r.provider = %(provider)s::text
  and r.endpoint = %(endpoint)s::text
  and r.dedupe_key = %(dedupe_key)s::text
  and not exists (select from kept);

-- name: record_reports
-- Any number of reports in one statement: find the delivery of each, by our own token or else by the
-- provider's ids, within the tenant; count each once; append those that are new, several of one
-- delivery in the order given; fold them; suppress. What has no delivery waits as an orphan and what
-- may not be recorded is buried with its reason, both only where a receipt is named. A person who was
-- erased is found under the keyed hash. The trigger on the events makes their hashes. What gets an id of
-- its own, which is little of it, has the first id with the report's number in its last four digits.
with given as materialized (
    select g.*
    from rows from (jsonb_to_recordset(%(reports)s::jsonb) as (
        token uuid, ids text[], address_key text, erased_key text, type text, outcome text, outcome_rank smallint,
        occurred_at timestamptz, reject_reason text, payload jsonb, provider_event_id text, key text,
        suppress text, place integer)) with ordinality
        as g (token, ids, address_key, erased_key, type, outcome, outcome_rank, occurred_at, reject_reason,
            payload, provider_event_id, key, suppress, place, n)
), matched as materialized (
    select g.n,
        case when t.is_theirs then t.id else coalesce(r.id, case when i.is_theirs then i.id end) end as delivery_id,
        -- Without a delivery: it is about somebody who was erased and has had no mail since.
        coalesce(case when t.is_theirs then t.address_key else coalesce(r.address_key, i.address_key) end
                like 'hmac1:%%@erased',
            g.erased_key is not null
            and exists (select from mailglass.deliveries d
                where d.tenant_id = %(tenant_id)s::text and d.address_key = g.erased_key)
            and not exists (select from mailglass.deliveries d
                where d.tenant_id = %(tenant_id)s::text and d.address_key = g.address_key)) as is_erased,
        case when t.tenant_id <> %(tenant_id)s::text then 'tenant_mismatch'
            when t.is_theirs then null
            when t.id is not null and r.id is null or not i.is_theirs then 'recipient_mismatch'
            when r.id is null and i.id is null then 'orphan'
        end as fault
    from given g
    left join lateral (
        select d.id, d.tenant_id, d.message_id, d.address_key, d.tenant_id = %(tenant_id)s::text
            and coalesce(d.address_key in (g.address_key, g.erased_key), false) as is_theirs
        from mailglass.deliveries d
        where d.id = g.token
    ) t on true
    left join lateral (
        select d.id, d.address_key
        from mailglass.deliveries d
        where d.message_id = t.message_id
          and not t.is_theirs
          and t.tenant_id = %(tenant_id)s::text
          and (d.address_key in (g.address_key, g.erased_key) or g.address_key is null and not exists (
                select from mailglass.deliveries o where o.message_id = d.message_id and o.id <> d.id))
        order by d.id <> t.id, d.position
        limit 1
    ) r on true
    left join lateral (
        select c.id, c.address_key, coalesce(c.address_key in (g.address_key, g.erased_key), false)
            or g.address_key is null and not exists (
                select from mailglass.deliveries o where o.message_id = c.message_id and o.id <> c.id) as is_theirs
        from (
            select d.id, d.tenant_id, d.message_id, d.address_key, d.position
            from mailglass.deliveries d
            where t.id is null
              and d.provider = %(provider)s::text
              and d.provider_message_id = any (g.ids)
            offset 0
        ) c
        where c.tenant_id = %(tenant_id)s::text
        order by is_theirs desc, c.position
        limit 1
    ) i on true
), first as materialized (
    select distinct on (m.key) m.key, m.n, m.delivery_id
    from (
        select o.n, o.delivery_id, uuid_send(o.delivery_id) || decode(g.key, 'hex') as key
        from matched o
        join given g on g.n = o.n
        where o.delivery_id is not null
    ) m
    order by m.key, m.n
), fresh as (
    insert into mailglass.report_keys (tenant_id, key)
    select %(tenant_id)s::text, f.key from first f order by f.key
    on conflict do nothing
    returning key
), locked as materialized (
    select d.id, d.message_id, d.address_key, d.state, d.seq, greatest(now(), d.updated_at) as recorded_at
    from mailglass.deliveries d
    where d.id in (select f.delivery_id from first f join fresh k on k.key = f.key)
    order by d.id
    for update
), placed as materialized (
    select f.n, f.delivery_id, l.recorded_at, l.message_id, l.address_key, l.state,
        (l.seq + row_number() over (partition by f.delivery_id order by f.n))::integer as seq
    from first f
    join fresh k on k.key = f.key
    join locked l on l.id = f.delivery_id
), written as (
    insert into mailglass.events (
        tenant_id, delivery_id, seq, type, occurred_at, recorded_at, reject_reason, payload, provider_event_id
    )
    select %(tenant_id)s::text, p.delivery_id, p.seq, g.type, g.occurred_at, p.recorded_at, g.reject_reason,
        g.payload, g.provider_event_id
    from placed p
    join given g on g.n = p.n
    order by p.delivery_id, p.seq
    returning delivery_id, seq, type, occurred_at, recorded_at, prev_hash, hash
), highest as (
    select distinct on (p.delivery_id) p.delivery_id, g.outcome, g.outcome_rank, g.occurred_at
    from placed p
    join given g on g.n = p.n
    order by p.delivery_id, g.outcome_rank desc, g.outcome collate "C" desc, g.occurred_at
), newest as (
    select distinct on (e.delivery_id) e.delivery_id, e.seq, e.prev_hash, e.hash, e.recorded_at,
        min(e.occurred_at) filter (where e.type = 'opened') over delivery as opened_at,
        min(e.occurred_at) filter (where e.type = 'clicked') over delivery as clicked_at,
        min(e.occurred_at) filter (where e.type = 'unsubscribed') over delivery as unsubscribed_at
    from written e
    window delivery as (partition by e.delivery_id)
    order by e.delivery_id, e.seq desc
), folded as (
    -- Of two outcomes of one rank the later in the alphabet stands, and of one outcome the earliest
    -- time: whatever came first, the same is left.
    update mailglass.deliveries d
    set seq = w.seq,
        prior_hash = w.prev_hash,
        chain_hash = w.hash,
        outcome = case when (h.outcome_rank, h.outcome collate "C") > (d.outcome_rank, d.outcome collate "C")
            then h.outcome else d.outcome end,
        outcome_at = case
            when (h.outcome_rank, h.outcome collate "C") > (d.outcome_rank, d.outcome collate "C") then h.occurred_at
            when h.outcome = d.outcome and h.outcome_rank > 0 then least(d.outcome_at, h.occurred_at)
            else d.outcome_at end,
        outcome_rank = greatest(d.outcome_rank, h.outcome_rank),
        opened_at = least(d.opened_at, w.opened_at),
        clicked_at = least(d.clicked_at, w.clicked_at),
        unsubscribed_at = least(d.unsubscribed_at, w.unsubscribed_at),
        updated_at = w.recorded_at
    from newest w
    join highest h on h.delivery_id = w.delivery_id
    where d.id = w.delivery_id
), refused as (
    insert into mailglass.suppressions as s
        (id, tenant_id, scope, value, stream, reason, source, changed_by)
    select distinct on (p.address_key, a.scope, coalesce(a.stream, ''))
        (left(%(first_id)s::uuid::text, 32) || lpad(to_hex(g.n), 4, '0'))::uuid, %(tenant_id)s::text, a.scope, p.address_key, a.stream, g.suppress,
        'webhook:' || %(provider)s::text, 'webhook'
    from given g
    join placed p on p.n = g.n
    left join mailglass.messages m on m.id = p.message_id
    cross join lateral (
        select case g.suppress when 'unsubscribe' then 'address_stream' else 'address' end as scope,
            case g.suppress when 'unsubscribe' then m.stream end as stream
    ) a
    where g.suppress is not null
    order by p.address_key, a.scope, coalesce(a.stream, ''), mailglass.suppression_rank(g.suppress) desc
    on conflict (tenant_id, value, scope, (coalesce(stream, ''))) do update
    set (reason, source, note, changed_by, why, expires_at, created_at, removed_at, updated_at) = (
        select m.reason, m.source, m.note, m.changed_by, m.why, m.expires_at, m.created_at, m.removed_at, now()
        from mailglass.merged_suppression(s, excluded) m)
    where mailglass.suppression_changes(s, excluded)
), waiting as (
    insert into mailglass.webhook_orphans (id, tenant_id, provider, endpoint, receipt_id, dedupe_key, document)
    select (left(%(first_id)s::uuid::text, 32) || lpad(to_hex(g.n), 4, '0'))::uuid, %(tenant_id)s::text,
        %(provider)s::text, %(endpoint)s::text, %(receipt_id)s::uuid,
        encode(sha256(convert_to(g.key || coalesce(g.address_key, ''), 'UTF8')), 'hex'),
        case when m.is_erased
            then jsonb_set(%(reports)s::jsonb -> (g.n - 1)::integer, '{address_key}', to_jsonb(g.erased_key))
            else %(reports)s::jsonb -> (g.n - 1)::integer end
    from matched m
    join given g on g.n = m.n
    where m.fault = 'orphan' and %(receipt_id)s::uuid is not null
    on conflict do nothing
), buried as (
    insert into mailglass.webhook_dead (receipt_id, place, tenant_id, provider, endpoint, reason)
    select %(receipt_id)s::uuid, g.place, %(tenant_id)s::text, %(provider)s::text,
        %(endpoint)s::text, m.fault
    from matched m
    join given g on g.n = m.n
    where m.fault <> 'orphan' and %(receipt_id)s::uuid is not null
    on conflict do nothing
), settled as (
    update mailglass.webhook_receipts r
    set state = 'processed', reason = null, processed_at = now()
    where r.id = %(receipt_id)s::uuid and %(is_last)s::boolean
)
select coalesce(m.fault, case when p.n is null then 'duplicate' else 'recorded' end) as status,
    case when g.type = 'bounced' and g.payload -> 'permanent' = 'false' then p.delivery_id end as soft_bounced,
    case when p.state = 'unknown' then p.message_id end as unknown_message_id,
    coalesce(m.is_erased, false) as is_erased
from matched m
join given g on g.n = m.n
left join placed p on p.n = m.n
order by m.n;

-- name: settle_receipt
-- A receipt is done, or dead as a whole.
update mailglass.webhook_receipts r
set state = %(state)s::text, reason = %(reason)s::text, processed_at = now()
where r.id = %(id)s::uuid
returning r.id;

-- name: empty_receipt
-- Takes the body of a receipt that speaks of a person who was erased: it holds the address.
update mailglass.webhook_receipts r
set body = null, headers = '{}'
where r.id = %(id)s::uuid
returning r.id;

-- name: bury_report
-- One report that could not be recorded for itself, and why.
insert into mailglass.webhook_dead (receipt_id, place, tenant_id, provider, endpoint, reason)
values (%(receipt_id)s::uuid, %(place)s::integer, %(tenant_id)s::text, %(provider)s::text, %(endpoint)s::text,
    %(reason)s::text)
on conflict do nothing
returning receipt_id;

-- name: suppress_soft_bounced
-- Of these deliveries' recipients, those whose mail soft-bounced often enough of late are suppressed.
with known as (
    select distinct d.tenant_id, d.address_key
    from mailglass.deliveries d
    where d.id = any (%(delivery_ids)s::uuid[]) and d.tenant_id = %(tenant_id)s::text
), often as (
    select k.tenant_id, k.address_key
    from known k
    join mailglass.deliveries d on d.tenant_id = k.tenant_id and d.address_key = k.address_key
    join mailglass.events e on e.delivery_id = d.id
    where e.type = 'bounced'
      and e.payload ->> 'permanent' = 'false'
      and e.recorded_at > now() - make_interval(secs => %(window_s)s::double precision)
    group by k.tenant_id, k.address_key
    having count(*) >= %(bounces)s::integer
)
insert into mailglass.suppressions as s (id, tenant_id, scope, value, reason, source, changed_by)
select gen_random_uuid(), o.tenant_id, 'address', o.address_key, 'hard_bounce', 'soft_bounces:' || %(provider)s::text,
    'webhook'
from often o
on conflict (tenant_id, value, scope, (coalesce(stream, ''))) do update
set (reason, source, note, changed_by, why, expires_at, created_at, removed_at, updated_at) = (
    select m.reason, m.source, m.note, m.changed_by, m.why, m.expires_at, m.created_at, m.removed_at, now()
    from mailglass.merged_suppression(s, excluded) m)
where mailglass.suppression_changes(s, excluded)
returning s.id;

-- name: waiting_orphans
-- A page of reports that wait for their delivery, the oldest first, after the last of the page before.
select o.id, o.tenant_id, o.provider, o.endpoint, o.receipt_id, o.document,
    extract(epoch from now() - o.received_at)::double precision as waited_s
from mailglass.webhook_orphans o
where (%(tenant_id)s::text is null or o.tenant_id = %(tenant_id)s::text)
  and (%(after)s::uuid is null or o.id > %(after)s::uuid)
order by o.id
limit %(limit)s::integer;

-- name: end_orphans
-- These orphans wait no longer; those with a reason are buried under it.
with asked as (
    select a.id, a.reason from jsonb_to_recordset(%(ended)s::jsonb) as a (id uuid, reason text)
), gone as (
    delete from mailglass.webhook_orphans o using asked a where o.id = a.id
    returning o.tenant_id, o.provider, o.endpoint, o.receipt_id, o.document, a.reason
), buried as (
    insert into mailglass.webhook_dead (receipt_id, place, tenant_id, provider, endpoint, reason)
    select g.receipt_id, (g.document ->> 'place')::integer, g.tenant_id, g.provider, g.endpoint, g.reason
    from gone g
    where g.reason is not null
    on conflict do nothing
)
select count(*) as ended from gone;

-- name: open_receipts
-- A page of receipts that were kept but not finished, as after a crash: older than a grace, in work
-- with nobody, the oldest first, after the last of the page before.
select r.id
from mailglass.webhook_receipts r
where r.state = 'received'
  and r.received_at < now() - make_interval(secs => %(older_than_s)s::double precision)
  and (r.lease_until is null or r.lease_until < now())
  and (%(after)s::uuid is null or r.id > %(after)s::uuid)
order by r.id
limit %(limit)s::integer;

-- name: webhook_receipt
select r.id, r.tenant_id, r.provider, r.endpoint, r.state, r.reason, r.headers, r.body, r.body_sha256,
    r.received_at, r.processed_at
from mailglass.webhook_receipts r
where r.id = %(id)s::uuid
  and (%(tenant_id)s::text is null or r.tenant_id = %(tenant_id)s::text);

-- name: list_receipts
-- The newest first; a receipt with refused reports counts them.
select r.id, r.tenant_id, r.provider, r.endpoint, r.state, r.reason, r.received_at, r.processed_at,
    octet_length(r.body) as body_bytes,
    (select count(*) from mailglass.webhook_dead x where x.receipt_id = r.id) as dead,
    (select count(*) from mailglass.webhook_orphans o
     where o.receipt_id = r.id and o.tenant_id = r.tenant_id and o.provider = r.provider) as orphans
from mailglass.webhook_receipts r
where (%(tenant_id)s::text is null or r.tenant_id = %(tenant_id)s::text)
  and (%(provider)s::text is null or r.provider = %(provider)s::text)
  and (%(state)s::text is null or r.state = %(state)s::text)
  and (not %(refused)s::boolean or r.state = 'dead' or exists (
        select from mailglass.webhook_dead x where x.receipt_id = r.id))
order by r.received_at desc, r.id desc
limit %(limit)s::integer;

-- name: dead_reports
select x.place, x.reason, x.at from mailglass.webhook_dead x
where x.receipt_id = %(receipt_id)s::uuid
order by x.place;

-- name: prune_webhooks
-- Take what nobody needs any more, some at a time: finished receipts, dead ones where asked, and
-- what was noted of them.
with old as (
    select r.id
    from mailglass.webhook_receipts r
    where r.received_at < now() - make_interval(secs => %(older_than_s)s::double precision)
      and (r.state = 'processed' or r.state = 'dead' and %(with_dead)s::boolean)
      and (%(with_dead)s::boolean or not exists (
            select from mailglass.webhook_dead x where x.receipt_id = r.id))
      and not exists (select from mailglass.webhook_orphans o where o.receipt_id = r.id)
      and (%(tenant_id)s::text is null or r.tenant_id = %(tenant_id)s::text)
    order by r.received_at
    limit %(limit)s::integer
), letters as (
    delete from mailglass.webhook_dead x using old where x.receipt_id = old.id
), mails as (
    delete from mailglass.inbound_messages i using old where i.receipt_id = old.id
), gone as (
    delete from mailglass.webhook_receipts r using old where r.id = old.id returning r.id
)
select count(*) as pruned from gone;
