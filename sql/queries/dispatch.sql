-- name: queue_message
-- Stores the message, its deliveries and each delivery's first event, or nothing at all when the
-- idempotency key is taken, or a refusal holds for one of the values asked (as matching_suppressions has
-- it). One row a delivery comes back, as it is now, in the order of the recipients.
with refusal as (
    select
    from (select distinct u.value from jsonb_array_elements_text(%(asked)s::jsonb) as u (value)) v
    cross join lateral (
        select
        from mailglass.suppressions s
        where s.tenant_id = %(tenant_id)s::text
          and s.value = v.value
          and (s.stream is null or s.stream = %(stream)s::text)
          and (s.expires_at is null or s.expires_at > clock_timestamp())
          and s.removed_at is null
        offset 0
    ) f
    union all
    select
    from mailglass.erasure_marks k
    where k.tenant_id = %(tenant_id)s::text and not jsonb_exists(%(asked)s::jsonb, k.mark)
), key_taken as (
    insert into mailglass.event_keys (tenant_id, scope, key, subject_id, content_sha256)
    select %(tenant_id)s::text, 'deliver', %(idempotency_key)s::text, %(message_id)s::uuid,
           %(content_sha256)s::bytea
    where %(idempotency_key)s::text is not null and not exists (select from refusal)
    on conflict do nothing
    returning subject_id
), message as (
    insert into mailglass.messages (
        id, tenant_id, stream, mailable, authenticates, mail_from, payload, payload_sha256, payload_bytes,
        rfc_message_id, settings, state, run_at, order_at, expires_at, on_unknown, ordering_key, adapter_ref,
        idempotency_key, trace_id
    )
    select %(message_id)s::uuid, %(tenant_id)s::text, %(stream)s::text, %(mailable)s::text,
           %(authenticates)s::boolean, %(mail_from)s::text, %(payload)s::bytea, %(payload_sha256)s::bytea,
           %(payload_bytes)s::integer, %(rfc_message_id)s::text, %(settings)s::jsonb, %(state)s::text,
           coalesce(%(run_at)s::timestamptz, now()), coalesce(%(run_at)s::timestamptz, now()),
           coalesce(%(expires_at)s::timestamptz, coalesce(%(run_at)s::timestamptz, now())
               + make_interval(secs => %(expires_after_s)s::double precision)),
           %(on_unknown)s::text,
           %(ordering_key)s::text, %(adapter_ref)s::text, %(idempotency_key)s::text, %(trace_id)s::text
    where (%(idempotency_key)s::text is null or exists (select from key_taken))
      and not exists (select from refusal)
    returning id, run_at
), recipient as (
    select r.*, mailglass.genesis_hash(r.id) as genesis,
           jsonb_build_object('stream', %(stream)s::text, 'mailable', %(mailable)s::text,
               'bytes', %(payload_bytes)s::integer, 'sha256', encode(%(payload_sha256)s::bytea, 'hex'),
               'kind', r.kind)
               || case when %(code)s::text is null then '{}'
                      else jsonb_build_object('reason', %(code)s::text) end as event_payload
    from jsonb_to_recordset(%(recipients)s::jsonb)
        as r (id uuid, kind text, position smallint, address text, address_key text)
), delivery as (
    insert into mailglass.deliveries (
        id, message_id, tenant_id, kind, position, address, address_key, state, seq, prior_hash, chain_hash,
        code
    )
    select r.id, message.id, %(tenant_id)s::text, r.kind, r.position, r.address, r.address_key,
           %(state)s::text, 1, r.genesis,
           mailglass.event_hash(%(tenant_id)s::text, r.id, 1, %(event_type)s::text, now(), now(), null,
               r.event_payload, null, %(trace_id)s::text, r.genesis),
           %(code)s::text
    from recipient r cross join message
    returning id, message_id, tenant_id, kind, position, state, outcome, code, prior_hash, chain_hash, created_at,
        updated_at
), event as (
    insert into mailglass.events (
        tenant_id, delivery_id, seq, type, occurred_at, recorded_at, payload, trace_id, prev_hash, hash
    )
    select %(tenant_id)s::text, d.id, 1, %(event_type)s::text, now(), now(), r.event_payload,
           %(trace_id)s::text, d.prior_hash, d.chain_hash
    from delivery d join recipient r on r.id = d.id
)
select d.id, d.message_id, d.tenant_id, d.kind, %(stream)s::text as stream, d.state, d.outcome,
       %(mailable)s::text as mailable, null::text as provider, null::text as provider_message_id,
       null::text as failure_class, d.code, 0 as attempts, message.run_at, d.created_at, d.updated_at,
       %(payload_bytes)s::integer as payload_bytes, %(payload_sha256)s::bytea as payload_sha256
from delivery d cross join message
order by d.position;

-- name: deliveries_of_keys
-- The first delivery that each of a caller's idempotency keys made, with the hash of its content.
select k.key, d.id as delivery_id, d.message_id, k.content_sha256
from mailglass.event_keys k
join mailglass.deliveries d on d.message_id = k.subject_id and d.position = 0
where k.tenant_id = %(tenant_id)s::text and k.scope = 'deliver' and k.key = any (%(keys)s::text[]);

-- name: claim_messages
-- Takes due messages for one attempt each: those named by their ids, and up to a number of one stream
-- that need no order, fewer where their payloads come to more than so many bytes. The fencing token goes
-- up, the lease starts, and each delivery still to be served gets its attempt_started event. No row for a
-- message: somebody else has it, it is not due, it is settled, or its time is over.
with named as (
    select m.id
    from mailglass.messages m
    where m.id = any (%(message_ids)s::uuid[])
      and m.tenant_id = %(tenant_id)s::text
      and m.state = 'queued' and not m.held
      and m.run_at <= clock_timestamp()
      and (m.expires_at is null or m.expires_at > clock_timestamp())
      and (m.ordering_key is null or not exists (
          select from mailglass.messages o
          where o.tenant_id = m.tenant_id and o.ordering_key = m.ordering_key
            and o.state = 'queued' and not o.held and (o.order_at, o.id) < (m.order_at, m.id)
            and (o.expires_at is null or o.expires_at > clock_timestamp()))
        -- Seen when this began, so that one which was put back meanwhile is not overtaken.
        and not exists (
          select from mailglass.messages o
          where o.tenant_id = m.tenant_id and o.ordering_key = m.ordering_key and o.state = 'sending'))
    for update skip locked
), waiting as (
    select m.id, m.run_at, m.payload_bytes
    from mailglass.messages m
    where m.state = 'queued' and not m.held
      and m.stream = %(stream)s::text
      and m.run_at <= now()  -- which is the same for all rows, so that the index ends what is read
      and m.ordering_key is null
      and (m.expires_at is null or m.expires_at > clock_timestamp())
    order by m.run_at, m.id
    limit %(limit)s::integer
    for update skip locked
), fitting as (
    select w.id
    from (select waiting.id, sum(waiting.payload_bytes) over (order by waiting.run_at, waiting.id)
                 - waiting.payload_bytes as bytes_before
          from waiting) w
    where w.bytes_before < %(bytes_max)s::bigint
), claimed as (
    update mailglass.messages m
    set state = 'sending',
        token = m.token + 1,
        attempts = m.attempts + 1,
        lease_until = clock_timestamp()
            + make_interval(secs => %(wait_s)s::double precision + %(lease_s)s::double precision * (
                select count(*) from mailglass.deliveries d
                where d.message_id = m.id and d.state = 'queued')),
        owner_key = %(owner_key)s::bigint,
        owner_server_start = pg_postmaster_start_time(),
        updated_at = now()
    where m.id = any (array(select named.id from named union all select fitting.id from fitting))
    returning m.*
), taken as materialized (
    -- Without the payloads: where statistics are old, this is read once for each delivery.
    select c.id, c.token, c.attempts, c.trace_id from claimed c
), started as (
    update mailglass.deliveries d
    set state = 'sending',
        seq = d.seq + 1,
        prior_hash = d.chain_hash,
        chain_hash = mailglass.event_hash(d.tenant_id, d.id, d.seq + 1, 'attempt_started',
            greatest(now(), d.updated_at), greatest(now(), d.updated_at), null,
            jsonb_build_object('token', taken.token, 'attempt', taken.attempts), null,
            taken.trace_id, d.chain_hash),
        updated_at = greatest(now(), d.updated_at)
    from taken
    where d.message_id = any (array(select t.id from taken t))  -- by the index, whatever the statistics say
      and d.message_id = taken.id and d.state = 'queued'
    returning d.*, taken.token, taken.attempts, taken.trace_id
), event as (
    insert into mailglass.events (
        tenant_id, delivery_id, seq, type, occurred_at, recorded_at, payload, trace_id, prev_hash, hash
    )
    select s.tenant_id, s.id, s.seq, 'attempt_started', s.updated_at, s.updated_at,
           jsonb_build_object('token', s.token, 'attempt', s.attempts), s.trace_id, s.prior_hash, s.chain_hash
    from started s
), recipient as (
    select s.message_id,
           jsonb_agg(jsonb_build_object('delivery_id', s.id, 'kind', s.kind, 'address', s.address::text,
                     'address_key', s.address_key, 'is_reported', s.outcome_rank >= 10)
               order by s.position) as recipients
    from started s
    group by s.message_id
)
select c.id, c.tenant_id, c.stream, c.mailable, c.authenticates, c.mail_from, c.payload, c.payload_sha256,
       c.settings, c.token, c.attempts, c.adapter_ref, c.routing,
       extract(epoch from c.expires_at - clock_timestamp())::double precision as expires_in_s, r.recipients
from claimed c
join recipient r on r.message_id = c.id
order by c.run_at, c.id;

-- name: finalize_attempts
-- Writes the verdicts of attempts, each under its fencing token, one event a delivery, and folds each
-- message's own state from all its deliveries. No row for a message: the token is no longer that of the
-- attempt, and nothing was written.
with asked as (
    select a.*
    from jsonb_to_recordset(%(attempts)s::jsonb) as a (
        message_id uuid, tenant_id text, token bigint, provider text, retry_in_s double precision,
        counts boolean, verdicts jsonb, adapter_ref text, routing text, waits_for text)
), held as (
    select m.id, m.trace_id, m.token, m.attempts, a.provider, a.retry_in_s, a.counts, a.verdicts,
           a.adapter_ref, a.routing, a.waits_for
    from mailglass.messages m
    join asked a on a.message_id = m.id and a.tenant_id = m.tenant_id and a.token = m.token
    where m.id = any (array(select asked.message_id from asked)) and m.state in ('sending', 'unknown')
    order by m.id
    for update of m
), verdict as (
    select v.*, held.id as message_id, held.trace_id, held.provider, held.adapter_ref,
           v.payload || jsonb_build_object('token', held.token, 'attempt', held.attempts) as event_payload
    from held
    cross join lateral jsonb_to_recordset(held.verdicts) as v (
        delivery_id uuid, state text, type text, failure_class text, code text, provider_message_id text,
        payload jsonb)
), settled as (
    update mailglass.deliveries d
    set state = v.state,
        provider = coalesce(v.provider, d.provider),
        adapter_ref = coalesce(v.adapter_ref, d.adapter_ref),
        provider_message_id = coalesce(v.provider_message_id, d.provider_message_id),
        failure_class = v.failure_class,
        code = v.code,
        seq = d.seq + 1,
        prior_hash = d.chain_hash,
        chain_hash = mailglass.event_hash(d.tenant_id, d.id, d.seq + 1, v.type,
            greatest(now(), d.updated_at), greatest(now(), d.updated_at), null,
            v.event_payload, null, v.trace_id, d.chain_hash),
        updated_at = greatest(now(), d.updated_at)
    from verdict v
    where d.id = any (array(select verdict.delivery_id from verdict))
      and d.id = v.delivery_id and d.message_id = v.message_id and d.state in ('sending', 'unknown')
    returning d.*, v.type, v.event_payload, v.trace_id
), event as (
    insert into mailglass.events (
        tenant_id, delivery_id, seq, type, occurred_at, recorded_at, payload, trace_id, prev_hash, hash
    )
    select s.tenant_id, s.id, s.seq, s.type, s.updated_at, s.updated_at, s.event_payload, s.trace_id,
           s.prior_hash, s.chain_hash
    from settled s
), other as (
    select d.id, d.message_id, d.state, d.state in ('queued', 'sending', 'unknown') as may_move
    from mailglass.deliveries d
    where d.message_id = any (array(select settled.message_id from settled))
      and not exists (select from settled s where s.id = d.id)
), current as (
    -- Locked, so that they are read as they are now: somebody may have moved them since this began.
    select d.message_id, d.state
    from mailglass.deliveries d
    where d.id = any (array(select o.id from other o where o.may_move))
    order by d.id
    for no key update of d
), folded as (
    select message_id, mailglass.folded_state(array_agg(state)) as state
    from (
        select s.message_id, s.state from settled s
        union all
        select o.message_id, o.state from other o where not o.may_move
        union all
        select c.message_id, c.state from current c
    ) every_delivery
    group by message_id
)
update mailglass.messages m
set state = folded.state,
    owner_key = 0,  -- nobody's lock: whoever wrote this is not sending any more
    attempts = m.attempts - case when held.counts then 0 else 1 end,
    run_at = case when folded.state = 'queued'
        then clock_timestamp() + make_interval(secs => held.retry_in_s) else m.run_at end,
    routing = coalesce(held.routing, m.routing),
    waits_for = held.waits_for,
    updated_at = now()
from held
join folded on folded.message_id = held.id
where m.id = any (array(select held.id from held)) and m.id = held.id
returning m.id, m.state;

-- name: move_messages
-- Takes messages from one state to another without an attempt: cancelled, expired, abandoned, put
-- back, given up, or settled by what a provider reported. Each must still be in the state, under the
-- token, that the caller saw, and where asked its lease or its time must be over now. The deliveries
-- that are in that state move, the others stay, and the message's own state is folded from all of
-- them: it comes back with the id of each message of which a delivery was moved. Where asked, the message
-- may be in another state because of its other deliveries, or is passed over while somebody holds its row.
with asked as (
    select a.id, a.token
    from jsonb_to_recordset(%(messages)s::jsonb) as a (id uuid, token bigint)
), unlocked as (
    select m.id
    from mailglass.messages m
    join asked on asked.id = m.id
    where %(skips_locked)s::boolean
    for update of m skip locked
), held as (
    select m.id, m.trace_id
    from mailglass.messages m
    join asked on asked.id = m.id
    where (%(tenant_id)s::text is null or m.tenant_id = %(tenant_id)s::text)
      and (not %(skips_locked)s::boolean or m.id in (select u.id from unlocked u))
      and (m.state = %(from_state)s::text or %(whatever_else)s::boolean)
      and (asked.token is null or m.token = asked.token)
      and (not %(when_expired)s::boolean or m.expires_at <= clock_timestamp())
      and (not %(when_lease_over)s::boolean or m.lease_until <= clock_timestamp())
    order by m.id
    for update of m
), ended as (
    update mailglass.deliveries d
    set state = %(to_state)s::text,
        code = coalesce(%(code)s::text, d.code),
        provider_message_id = coalesce(%(found)s::jsonb ->> d.id::text, d.provider_message_id),
        seq = d.seq + 1,
        prior_hash = d.chain_hash,
        chain_hash = mailglass.event_hash(d.tenant_id, d.id, d.seq + 1, %(type)s::text,
            greatest(now(), d.updated_at), greatest(now(), d.updated_at), null,
            %(payload)s::jsonb, null, held.trace_id, d.chain_hash),
        updated_at = greatest(now(), d.updated_at)
    from held
    where d.message_id = held.id and d.state = %(from_state)s::text
      and (not %(when_reported)s::boolean or d.outcome_rank >= 10)
      and (%(found)s::jsonb is null or jsonb_exists(%(found)s::jsonb, d.id::text))
    returning d.*, held.trace_id
), event as (
    insert into mailglass.events (
        tenant_id, delivery_id, seq, type, occurred_at, recorded_at, payload, trace_id, prev_hash, hash
    )
    select e.tenant_id, e.id, e.seq, %(type)s::text, e.updated_at, e.updated_at, %(payload)s::jsonb, e.trace_id,
           e.prior_hash, e.chain_hash
    from ended e
), other as (
    select d.id, d.message_id, d.state, d.state in ('queued', 'sending', 'unknown') as may_move
    from mailglass.deliveries d
    where d.message_id = any (array(select ended.message_id from ended))
      and not exists (select from ended e where e.id = d.id)
), current as (
    -- Locked, so that they are read as they are now: somebody may have moved them since this began.
    select d.message_id, d.state
    from mailglass.deliveries d
    where d.id = any (array(select o.id from other o where o.may_move))
    order by d.id
    for no key update of d
), folded as (
    select message_id, mailglass.folded_state(array_agg(state)) as state
    from (
        select e.message_id, e.state from ended e
        union all
        select o.message_id, o.state from other o where not o.may_move
        union all
        select c.message_id, c.state from current c
    ) every_delivery
    group by message_id
)
update mailglass.messages m
set state = folded.state,
    run_at = case when %(to_state)s::text = 'queued' then clock_timestamp() else m.run_at end,
    -- What may have been accepted by one adapter goes by no other: a key means nothing elsewhere.
    routing = case when %(from_state)s::text = 'unknown' then 'fixed' else m.routing end,
    updated_at = now()
from folded
where m.id = folded.message_id
returning m.id, m.state;

-- name: expired_messages
-- Queued messages whose time is over.
select m.id, m.tenant_id, m.token, m.adapter_ref
from mailglass.messages m
where m.state = 'queued' and m.expires_at <= now()
order by m.expires_at
limit %(limit)s::integer;

-- name: abandoned_messages
-- Claimed messages whose lease is over: whoever claimed them is gone or far too late.
select m.id, m.tenant_id, m.token, m.adapter_ref
from mailglass.messages m
where m.state = 'sending' and m.lease_until <= now()
order by m.lease_until
limit %(limit)s::integer;

-- name: unknown_messages
-- Unknown messages, but for those that a provider has reported on since, with what the rule for them
-- asks: how long ago the first attempt was, how long nothing has been learnt, and how many attempts
-- ended with nobody left to tell. Whichever of them, as by lot: most wait for evidence for days, and
-- the oldest of them would keep every other from being looked at.
select m.id, m.tenant_id, m.token, m.adapter_ref,
       extract(epoch from clock_timestamp() - m.updated_at)::double precision as unknown_for_s,
       extract(epoch from clock_timestamp() - u.first_attempt_at)::double precision as tried_for_s,
       u.abandoned,
       coalesce(m.expires_at <= clock_timestamp(), false) as is_expired,
       m.on_unknown,
       extract(epoch from clock_timestamp() - m.lease_until)::double precision as lease_over_for_s,
       coalesce(m.owner_key = 0
           or m.owner_server_start = pg_postmaster_start_time() and not pg_is_in_recovery()
           and not exists (
               select from pg_catalog.pg_locks l
               where l.locktype = 'advisory' and l.objsubid = 1
                 and (l.classid::bigint << 32 | l.objid::bigint) = m.owner_key), false)
           and m.owner_key is not null as is_owner_gone,
       -- Of each recipient the attempt wrote itself that it does not know, or its owner was seen to be
       -- gone: since that event, and not before, nobody can be sending to anybody any more.
       u.is_over as is_attempt_over
from (
    select w.id, w.tenant_id, w.token, w.adapter_ref, w.updated_at, w.expires_at, w.on_unknown, w.lease_until,
           w.owner_key, w.owner_server_start
    from mailglass.messages w
    where w.state = 'unknown'
      and not exists (
          select from mailglass.deliveries d
          where d.message_id = w.id and d.state = 'unknown' and d.outcome_rank >= 10)
    order by random()
    limit %(limit)s::integer
) m
cross join lateral (
    select min(o.first_attempt_at) as first_attempt_at, coalesce(max(o.abandoned), 0) as abandoned,
           coalesce(bool_and(o.ended_seq > o.started_seq), false) as is_over
    from (
        select min(e.recorded_at) filter (where e.type = 'attempt_started') as first_attempt_at,
               count(*) filter (where e.payload ->> 'code' = 'lease_over')::integer as abandoned,
               max(e.seq) filter (where e.type = 'attempt_started') as started_seq,
               coalesce(max(e.seq) filter (where e.type = 'outcome_unknown'
                   and (jsonb_exists(e.payload, 'token') or e.payload ->> 'code' = 'owner_gone')), 0) as ended_seq
        from mailglass.deliveries d
        join mailglass.events e on e.delivery_id = d.id
        where d.message_id = m.id and d.state = 'unknown'
        group by d.id
    ) o
) u;

-- name: reported_messages
-- Messages with a delivery that is unknown to us though a provider has reported on it.
select m.id, m.tenant_id, m.token, m.adapter_ref
from mailglass.messages m
where m.state = 'unknown' and exists (
    select from mailglass.deliveries d
    where d.message_id = m.id and d.state = 'unknown' and d.outcome_rank >= 10)
order by m.updated_at
limit %(limit)s::integer;

-- name: due_messages
-- Ids of messages without an ordering key whose time has come: all of one stream before any of the
-- next, the longest waiting first in each. Claiming them is another step.
select due.id, due.tenant_id, s.stream
from unnest(%(streams)s::text[]) with ordinality as s (stream, place)
cross join lateral (
    select m.id, m.tenant_id, m.run_at
    from mailglass.messages m
    where m.state = 'queued' and not m.held and m.stream = s.stream and m.run_at <= now()
      and m.ordering_key is null
      and (m.expires_at is null or m.expires_at > clock_timestamp())
    order by m.run_at, m.id
    limit %(limit)s::integer
) due
order by s.place, due.run_at, due.id
limit %(limit)s::integer;

-- name: put_off_message
-- Lets a message that cannot be claimed be due later. No event tells of it: none can follow in its chain.
update mailglass.messages m
set run_at = clock_timestamp() + make_interval(secs => %(s)s::double precision),
    updated_at = now()
where m.tenant_id = %(tenant_id)s::text and m.id = %(message_id)s::uuid and m.state = 'queued'
returning m.id;

-- name: due_in_order
-- Due messages of a stream that have an ordering key and are the first of it, while none of it is on its
-- way: the longest due before others. Only so many of those that are due are looked at: where ``seen`` is
-- their number, others may be due of which the keys know. One row.
with due as materialized (
    select m.id, m.tenant_id, m.ordering_key, m.run_at
    from mailglass.messages m
    where m.state = 'queued' and not m.held and m.ordering_key is not null
      and m.stream = %(stream)s::text
      and m.run_at <= now()  -- which is the same for all rows, so that the index ends what is read
      and (m.expires_at is null or m.expires_at > clock_timestamp())
    order by m.run_at, m.id
    limit %(window)s::integer
), first as (
    select due.id, due.tenant_id, due.run_at
    from due
    where not exists (
        select from mailglass.messages o
        where o.tenant_id = due.tenant_id and o.ordering_key = due.ordering_key and o.state = 'sending')
      and due.id = (
        select o.id
        from mailglass.messages o
        where o.tenant_id = due.tenant_id and o.ordering_key = due.ordering_key
          and o.state = 'queued' and not o.held
          and (o.expires_at is null or o.expires_at > clock_timestamp())
        order by o.tenant_id, o.ordering_key, o.order_at, o.id
        limit 1)
    order by due.run_at, due.id
    limit %(limit)s::integer
)
select coalesce(array_agg(first.id order by first.run_at, first.id), '{}') as ids,
       coalesce(array_agg(first.tenant_id order by first.run_at, first.id), '{}') as tenant_ids,
       (select count(*) from due) as seen
from first;

-- name: due_of_keys
-- The same, found from key to key, for a key with more due mail than the query above looks at. It goes on
-- after the given key, for so many keys: ``walked`` tells how many there were, and which was the last. One row.
with recursive step as (
    (select m.tenant_id, m.ordering_key, 1 as place
     from mailglass.messages m
     where m.state = 'queued' and not m.held and m.ordering_key is not null
       and (m.tenant_id, m.ordering_key) > (%(after_tenant_id)s::text, %(after_key)s::text)
     order by m.tenant_id, m.ordering_key
     limit 1)
    union all
    select further.tenant_id, further.ordering_key, step.place + 1
    from step
    cross join lateral (
        select m.tenant_id, m.ordering_key
        from mailglass.messages m
        where m.state = 'queued' and not m.held and m.ordering_key is not null
          and (m.tenant_id, m.ordering_key) > (step.tenant_id, step.ordering_key)
        order by m.tenant_id, m.ordering_key
        limit 1
    ) further
    where step.place < %(keys)s::integer
), first as (
    select head.id, step.tenant_id, head.run_at
    from step
    cross join lateral (
        select m.id, m.stream, m.run_at
        from mailglass.messages m
        where m.state = 'queued' and not m.held and m.ordering_key is not null
          and m.tenant_id = step.tenant_id and m.ordering_key = step.ordering_key
          and (m.expires_at is null or m.expires_at > clock_timestamp())
        order by m.tenant_id, m.ordering_key, m.order_at, m.id
        limit 1
    ) head
    where head.stream = %(stream)s::text and head.run_at <= now()
      and not exists (
          select from mailglass.messages o
          where o.tenant_id = step.tenant_id and o.ordering_key = step.ordering_key and o.state = 'sending')
    order by head.run_at, head.id
    limit %(limit)s::integer
), last as (
    select step.tenant_id, step.ordering_key, step.place
    from step
    order by step.place desc
    limit 1
)
select coalesce(array_agg(first.id order by first.run_at, first.id), '{}') as ids,
       coalesce(array_agg(first.tenant_id order by first.run_at, first.id), '{}') as tenant_ids,
       coalesce((select last.place from last), 0) as walked,
       (select last.tenant_id from last) as last_tenant_id, (select last.ordering_key from last) as last_key
from first;

-- name: queue_messages
-- Queues many messages at once, in the order given: what queue_message does, for each of them. What
-- several have in common is given once. One row comes back: the places of the messages that are new,
-- counted from 1, and the moment at which they were made; one whose key is taken is left out.
with common as materialized (
    select c.*, c.settings::jsonb as settings_document
    from jsonb_to_recordset(%(commons)s::jsonb) as c (
        place integer, tenant_id text, stream text, mailable text, authenticates boolean, mail_from text,
        settings text, state text, event_type text, code text, expires_after_s double precision,
        on_unknown text, adapter_ref text)
), asked as (
    select m.message_id, m.payload, m.payload_sha256, m.payload_bytes, m.rfc_message_id, m.run_at, m.expires_at,
           m.ordering_key, m.idempotency_key, m.content_sha256, m.place, c.tenant_id, c.stream, c.mailable,
           c.authenticates, c.mail_from, c.settings_document, c.state, c.event_type, c.code, c.expires_after_s,
           c.on_unknown, c.adapter_ref
    from unnest(
        %(message_ids)b::uuid[], %(in_common)b::integer[], %(payloads)b::bytea[], %(payload_sha256s)b::bytea[],
        %(payload_sizes)b::integer[], %(rfc_message_ids)b::text[], %(run_ats)b::timestamptz[],
        %(expires_ats)b::timestamptz[], %(ordering_keys)b::text[], %(idempotency_keys)b::text[],
        %(content_sha256s)b::bytea[]
    ) with ordinality as m (
        message_id, in_common, payload, payload_sha256, payload_bytes, rfc_message_id, run_at, expires_at,
        ordering_key, idempotency_key, content_sha256, place)
    join common c on c.place = m.in_common
), key_taken as (
    insert into mailglass.event_keys (tenant_id, scope, key, subject_id, content_sha256)
    select a.tenant_id, 'deliver', a.idempotency_key, a.message_id, a.content_sha256
    from asked a
    where a.idempotency_key is not null
    order by a.tenant_id, a.idempotency_key, a.place
    on conflict do nothing
    returning subject_id
), fresh as (
    select a.*
    from asked a
    where a.idempotency_key is null or exists (select from key_taken k where k.subject_id = a.message_id)
), message as (
    insert into mailglass.messages (
        id, tenant_id, stream, mailable, authenticates, mail_from, payload, payload_sha256, payload_bytes,
        rfc_message_id, settings, state, run_at, order_at, expires_at, on_unknown, ordering_key, adapter_ref,
        idempotency_key
    )
    select f.message_id, f.tenant_id, f.stream, f.mailable, f.authenticates, f.mail_from, f.payload,
           f.payload_sha256, f.payload_bytes, f.rfc_message_id, f.settings_document, f.state,
           coalesce(f.run_at, now()), coalesce(f.run_at, now()),
           coalesce(f.expires_at, coalesce(f.run_at, now()) + make_interval(secs => f.expires_after_s)),
           f.on_unknown, f.ordering_key, f.adapter_ref, f.idempotency_key
    from fresh f
), recipient as (
    select f.message_id, f.tenant_id, f.state, f.event_type, f.code, r.id, r.kind, r.position, r.address,
           r.address_key, mailglass.genesis_hash(r.id) as genesis,
           jsonb_build_object('stream', f.stream, 'mailable', f.mailable, 'bytes', f.payload_bytes,
               'sha256', encode(f.payload_sha256, 'hex'), 'kind', r.kind)
               || case when f.code is null then '{}' else jsonb_build_object('reason', f.code) end
               as event_payload
    from fresh f
    join unnest(
        %(places)b::integer[], %(delivery_ids)b::uuid[], %(kinds)b::text[], %(positions)b::integer[],
        %(addresses)b::text[], %(address_keys)b::text[]
    ) as r (place, id, kind, position, address, address_key) on r.place = f.place
), delivery as (
    insert into mailglass.deliveries (
        id, message_id, tenant_id, kind, position, address, address_key, state, seq, prior_hash, chain_hash,
        code
    )
    select r.id, r.message_id, r.tenant_id, r.kind, r.position, r.address, r.address_key, r.state, 1, r.genesis,
           mailglass.event_hash(r.tenant_id, r.id, 1, r.event_type, now(), now(), null, r.event_payload, null,
               null, r.genesis),
           r.code
    from recipient r
    returning id, prior_hash, chain_hash
), event as (
    insert into mailglass.events (
        tenant_id, delivery_id, seq, type, occurred_at, recorded_at, payload, prev_hash, hash
    )
    select r.tenant_id, d.id, 1, r.event_type, now(), now(), r.event_payload, d.prior_hash, d.chain_hash
    from delivery d join recipient r on r.id = d.id
)
select coalesce(array_agg(f.place::integer), '{}') as places, now() as created_at from fresh f;
