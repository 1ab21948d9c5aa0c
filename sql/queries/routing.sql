-- name: route_messages
-- Writes down which adapter an attempt goes by before its bytes leave, under the attempt's fencing token.
-- Where that is a departure, from the first of the route or from the adapter before, each delivery of the
-- attempt gets a routed event with the reason. No row for a message: the token is another's by now.
with asked as (
    select a.*
    from jsonb_to_recordset(%(choices)s::jsonb) as a (
        message_id uuid, tenant_id text, token bigint, adapter_ref text, routing text, departure jsonb)
), routed as (
    update mailglass.messages m
    set adapter_ref = asked.adapter_ref, routing = asked.routing
    from asked
    where m.id = any (array(select a.message_id from asked a))
      and m.id = asked.message_id and m.tenant_id = asked.tenant_id and m.token = asked.token
      and m.state = 'sending'
    returning m.id, m.trace_id,
        asked.departure || jsonb_build_object('token', m.token, 'attempt', m.attempts) as payload
), told as (
    update mailglass.deliveries d
    set seq = d.seq + 1,
        prior_hash = d.chain_hash,
        chain_hash = mailglass.event_hash(d.tenant_id, d.id, d.seq + 1, 'routed',
            greatest(now(), d.updated_at), greatest(now(), d.updated_at), null,
            routed.payload, null, routed.trace_id, d.chain_hash),
        updated_at = greatest(now(), d.updated_at)
    from routed
    where d.message_id = any (array(select r.id from routed r where r.payload is not null))
      and d.message_id = routed.id and d.state = 'sending'
    returning d.*, routed.payload, routed.trace_id
), event as (
    insert into mailglass.events (
        tenant_id, delivery_id, seq, type, occurred_at, recorded_at, payload, trace_id, prev_hash, hash
    )
    select t.tenant_id, t.id, t.seq, 'routed', t.updated_at, t.updated_at, t.payload, t.trace_id, t.prior_hash,
           t.chain_hash
    from told t
)
select r.id from routed r;

-- name: evidence_of_claim
-- What speaks against one more attempt: a provider has reported on a delivery since, or it was put back
-- because its provider honoured our key, with the time since the first attempt.
select d.id as delivery_id, d.outcome_rank >= 10 as is_reported,
       coalesce(p.put_back_for = 'safe_to_repeat', false) as is_keyed,
       coalesce(extract(epoch from clock_timestamp() - p.first_attempt_at), 0)::double precision as tried_for_s
from mailglass.deliveries d
cross join lateral (
    select min(e.recorded_at) filter (where e.type = 'attempt_started') as first_attempt_at,
           (array_agg(e.payload ->> 'code' order by e.seq desc) filter (
               where e.type = 'requeued' and e.payload ->> 'code' in ('safe_to_repeat', 'not_found')))[1]
               as put_back_for
    from mailglass.events e
    where e.delivery_id = d.id
) p
where d.message_id = %(message_id)s::uuid and d.tenant_id = %(tenant_id)s::text and d.state = 'sending'
  and (d.outcome_rank >= 10 or p.put_back_for = 'safe_to_repeat');

-- name: restless_breakers
-- The breakers that are not simply closed: what every worker knows of, at most a second late.
select b.tenant_id, b.adapter_ref, b.state, b.wait_s,
       extract(epoch from b.retry_at - clock_timestamp())::double precision as retry_in_s
from mailglass.breakers b
where b.state <> 'closed' or b.failures > 0
   or b.window_failures > 0
      and b.window_started_at > clock_timestamp() - make_interval(secs => %(window_s)s::double precision)
order by (b.state = 'closed'), b.changed_at desc
limit %(limit)s::integer;

-- name: begin_probe
-- Takes the right to send the one probe of an open breaker whose time has come, or of a half open one
-- whose probe never told its end. No row: somebody else has it, or it is not time.
update mailglass.breakers b
set state = 'half_open',
    retry_at = clock_timestamp() + make_interval(secs => %(lease_s)s::double precision),
    reason = 'probe', changed_by = 'dispatch', changed_at = clock_timestamp()
where b.tenant_id = %(tenant_id)s::text and b.adapter_ref = %(adapter_ref)s::text
  and b.state <> 'closed' and b.retry_at <= clock_timestamp()
returning b.tenant_id;

-- name: note_calls
-- Counts what came of calls; each breaker that changed its state by it comes back.
select n.tenant_id, n.adapter_ref, n.state_before, n.state
from mailglass.note_calls(%(reports)s::jsonb, %(limits)s::jsonb) n;

-- name: close_breakers
-- Closes the breakers of one adapter, of one tenant or of all, and lets through what waits for them.
with closed as (
    update mailglass.breakers b
    set state = 'closed', failures = 0, window_calls = 0, window_failures = 0, retry_at = null,
        reason = 'operator', changed_by = %(actor)s::text, changed_at = clock_timestamp()
    where b.adapter_ref = %(adapter_ref)s::text
      and (%(tenant_id)s::text is null or b.tenant_id = %(tenant_id)s::text)
      and b.state <> 'closed'
    returning b.tenant_id, b.adapter_ref
)
select c.tenant_id, mailglass.let_through(c.tenant_id, c.adapter_ref) as let_through
from closed c
order by c.tenant_id;

-- name: breaker_status
-- The breakers as operators see them, the troubled first, with how much mail waits for each.
select b.tenant_id, b.adapter_ref, b.state, b.failures, b.reason, b.changed_by, b.changed_at,
       extract(epoch from b.retry_at - clock_timestamp())::double precision as retry_in_s,
       (select count(*) from mailglass.messages m
        where m.tenant_id = b.tenant_id and m.waits_for = b.adapter_ref and m.state = 'queued') as waiting
from mailglass.breakers b
where %(tenant_id)s::text is null or b.tenant_id = %(tenant_id)s::text
order by (b.state = 'closed'), b.tenant_id, b.adapter_ref
limit %(limit)s::integer;

-- name: breaker_history
-- What was done to the breakers of one adapter, the newest first.
select h.tenant_id, h.from_state, h.to_state, h.reason, h.changed_by, h.at
from mailglass.breaker_history h
where h.adapter_ref = %(adapter_ref)s::text
  and (%(tenant_id)s::text is null or h.tenant_id = %(tenant_id)s::text)
order by h.id desc
limit %(limit)s::integer;
