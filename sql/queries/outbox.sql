-- name: outbox_counts
-- What the outbox holds: by state and stream how many messages, and how long the oldest has waited; of
-- queued ones only what is due counts as waiting. What was tried before waits since the first attempt, or
-- since somebody gave it another time: each attempt moves run_at, and a provider that refuses everything
-- would never show.
select m.state, m.stream, m.held, count(*)::integer as messages,
       coalesce(extract(epoch from clock_timestamp() - min(
           case when m.state <> 'queued' then m.updated_at
                else least(m.run_at, tried.first_at) end)), 0)::double precision as oldest_s
from mailglass.messages m
left join lateral (
    select min(e.occurred_at) as first_at
    from mailglass.deliveries d
    join mailglass.events e on e.delivery_id = d.id
    where m.state = 'queued' and m.token > 0 and d.message_id = m.id
      and e.type in ('attempt_started', 'requeued')
      and e.seq > coalesce((
          select max(g.seq) from mailglass.events g
          where g.delivery_id = d.id and g.type = 'rescheduled'), 0)
) tried on true
where m.state in ('queued', 'sending', 'unknown')
  and (%(tenant_id)s::text is null or m.tenant_id = %(tenant_id)s::text)
group by m.state, m.stream, m.held
order by m.state, m.stream, m.held;

-- name: last_dispatched
-- How long ago a provider last took a mail; no row where none ever did.
select extract(epoch from clock_timestamp() - m.updated_at)::double precision as ago_s
from mailglass.messages m
where m.state = 'sent' and (%(tenant_id)s::text is null or m.tenant_id = %(tenant_id)s::text)
order by m.updated_at desc
limit 1;

-- name: alter_queued
-- Holds, releases or reschedules queued messages; each delivery that still waits gets the event. The ids
-- of the messages that were queued, and held or not as the step needs it, come back: a message that would
-- have expired by its new time is left as it was.
with asked as (
    select m.id, m.trace_id,
           coalesce(%(run_at)s::timestamptz >= coalesce(%(expires_at)s::timestamptz, m.expires_at), false)
               as expires_first
    from mailglass.messages m
    where m.id = any (%(message_ids)s::uuid[])
      and m.tenant_id = %(tenant_id)s::text
      and m.state = 'queued'
      and (m.held is distinct from %(held)s::boolean or m.stopped_at is not null)
    order by m.id
    for update
), altered as (
    update mailglass.messages m
    set held = coalesce(%(held)s::boolean, m.held),
        stopped_at = case when %(held)s::boolean is null then m.stopped_at end,
        run_at = coalesce(%(run_at)s::timestamptz, m.run_at),
        order_at = coalesce(%(run_at)s::timestamptz, m.order_at),
        expires_at = coalesce(%(expires_at)s::timestamptz, m.expires_at),
        -- What has a time of its own now does not leave when a breaker closes.
        waits_for = case when %(run_at)s::timestamptz is null then m.waits_for end,
        updated_at = now()
    from asked
    where m.id = asked.id and not asked.expires_first
    returning m.id, m.trace_id
), told as (
    update mailglass.deliveries d
    set seq = d.seq + 1,
        prior_hash = d.chain_hash,
        chain_hash = mailglass.event_hash(d.tenant_id, d.id, d.seq + 1, %(type)s::text,
            greatest(now(), d.updated_at), greatest(now(), d.updated_at), null,
            %(payload)s::jsonb, null, altered.trace_id, d.chain_hash),
        updated_at = greatest(now(), d.updated_at)
    from altered
    where d.message_id = any (array(select a.id from altered a))
      and d.message_id = altered.id and d.state = 'queued'
    returning d.*, altered.trace_id
), event as (
    insert into mailglass.events (
        tenant_id, delivery_id, seq, type, occurred_at, recorded_at, payload, trace_id, prev_hash, hash
    )
    select t.tenant_id, t.id, t.seq, %(type)s::text, t.updated_at, t.updated_at, %(payload)s::jsonb,
           t.trace_id, t.prior_hash, t.chain_hash
    from told t
)
select a.id, case when a.expires_first then 'expires_first' else 'done' end as altered from asked a;

-- name: resend_message
-- Queues the frozen bytes of a message again as a new message, for the recipients whose delivery ended
-- in one of the states asked for and has had no event since it was looked at: of two that look at the
-- same moment, one finds it changed. The old deliveries get a resent event, the new ones say whose they
-- are. No row: there is no such recipient any more, or the bytes were scrubbed.
with old as (
    select m.*
    from mailglass.messages m
    where m.id = %(message_id)s::uuid and m.tenant_id = %(tenant_id)s::text and m.payload is not null
    for update
), unchanged as (
    select d.*, r.new_id
    from mailglass.deliveries d
    join jsonb_to_recordset(%(recipients)s::jsonb) as r (old_id uuid, new_id uuid, seq integer)
        on r.old_id = d.id and r.seq = d.seq
    join old on old.id = d.message_id
    where d.state = any (%(states)s::text[])
    for update of d
), wanted as (
    select u.*, mailglass.genesis_hash(u.new_id) as genesis,
           (row_number() over (order by u.position) - 1)::smallint as new_position
    from unchanged u
), message as (
    insert into mailglass.messages (
        id, tenant_id, stream, mailable, authenticates, mail_from, payload, payload_sha256, payload_bytes,
        rfc_message_id, settings, state, run_at, expires_at, on_unknown, ordering_key, adapter_ref,
        routing, resend_of, trace_id
    )
    select %(new_message_id)s::uuid, o.tenant_id, o.stream, o.mailable, o.authenticates, o.mail_from, o.payload,
           o.payload_sha256, o.payload_bytes, o.rfc_message_id, o.settings, 'queued', now(),
           now() + make_interval(secs => case when o.authenticates
               then %(auth_expires_after_s)s::double precision else %(expires_after_s)s::double precision end),
           o.on_unknown, o.ordering_key,
           coalesce(%(adapter_ref)s::text, o.adapter_ref),
           -- What may have been accepted by one adapter goes by no other, whatever became of other recipients.
           case when %(adapter_ref)s::text is not null
               or exists (select from wanted w where w.state in ('unknown', 'unknown_final'))
               then 'fixed' else 'free' end,
           o.id, o.trace_id
    from old o
    where exists (select from wanted)
    returning id, tenant_id, trace_id
), told as (
    update mailglass.deliveries d
    set seq = d.seq + 1,
        prior_hash = d.chain_hash,
        chain_hash = mailglass.event_hash(d.tenant_id, d.id, d.seq + 1, 'resent',
            greatest(now(), d.updated_at), greatest(now(), d.updated_at), null,
            %(payload)s::jsonb || jsonb_build_object('as', w.new_id), null, message.trace_id, d.chain_hash),
        updated_at = greatest(now(), d.updated_at)
    from wanted w
    cross join message
    where d.id = w.id
    returning d.*, w.new_id, message.trace_id
), delivery as (
    insert into mailglass.deliveries (
        id, message_id, tenant_id, kind, position, address, address_key, state, seq, prior_hash, chain_hash
    )
    select w.new_id, message.id, w.tenant_id, w.kind, w.new_position, w.address, w.address_key, 'queued', 1,
           w.genesis, mailglass.event_hash(w.tenant_id, w.new_id, 1, 'queued', now(), now(), null,
               %(payload)s::jsonb || jsonb_build_object('resend_of', w.id), null, message.trace_id, w.genesis)
    from wanted w
    cross join message
    returning id, position, tenant_id, prior_hash, chain_hash
), event as (
    insert into mailglass.events (
        tenant_id, delivery_id, seq, type, occurred_at, recorded_at, payload, trace_id, prev_hash, hash
    )
    select t.tenant_id, t.id, t.seq, 'resent', t.updated_at, t.updated_at,
           %(payload)s::jsonb || jsonb_build_object('as', t.new_id), t.trace_id, t.prior_hash, t.chain_hash
    from told t
    union all
    select d.tenant_id, d.id, 1, 'queued', now(), now(),
           %(payload)s::jsonb || jsonb_build_object('resend_of', w.id), message.trace_id, d.prior_hash,
           d.chain_hash
    from delivery d
    join wanted w on w.new_id = d.id
    cross join message
)
select id from delivery order by position;

-- name: scrub_payloads
-- Takes the bytes of messages that have ended long ago; size and hash stay. The ids come back.
with old as (
    select m.id
    from mailglass.messages m
    where m.payload is not null
      and m.state in ('sent', 'failed', 'suppressed', 'cancelled', 'expired', 'unknown_final')
      and m.updated_at < clock_timestamp() - make_interval(secs => least(%(settled_s)s::double precision,
          %(unknown_s)s::double precision))
      and (m.state <> 'unknown_final'
          or m.updated_at < clock_timestamp() - make_interval(secs => %(unknown_s)s::double precision))
      and (m.state = 'unknown_final'
          or m.updated_at < clock_timestamp() - make_interval(secs => %(settled_s)s::double precision))
    order by m.updated_at
    limit %(limit)s::integer
    for update skip locked
)
update mailglass.messages m
set payload = null, settings = m.settings - 'metadata' - 'tags'
from old
where m.id = old.id
returning m.id;
