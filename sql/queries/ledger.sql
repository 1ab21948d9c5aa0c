-- name: append_event
-- Adds one event to a delivery and folds it into the delivery's outcome. A key makes it happen once:
-- no row comes back for a repetition, nor for a delivery that the tenant does not have.
with fresh as (
    insert into mailglass.event_keys (tenant_id, scope, key, subject_id, content_sha256)
    select %(tenant_id)s::text, %(key_scope)s::text, %(key)s::text, d.id, sha256(convert_to(%(key)s::text, 'UTF8'))
    from mailglass.deliveries d
    where d.id = %(delivery_id)s::uuid and d.tenant_id = %(tenant_id)s::text
    on conflict do nothing
    returning subject_id
), folded as (
    update mailglass.deliveries d
    set seq = d.seq + 1,
        prior_hash = d.chain_hash,
        chain_hash = mailglass.event_hash(d.tenant_id, d.id, d.seq + 1, %(type)s::text,
            %(occurred_at)s::timestamptz, greatest(now(), d.updated_at), %(reject_reason)s::text, %(payload)s::jsonb,
            %(provider_event_id)s::text, %(trace_id)s::text, d.chain_hash),
        -- Of two outcomes of one rank the later in the alphabet stands, and of one outcome the earliest
        -- time: whatever came first, the same is left.
        outcome = case
            when (%(outcome_rank)s::smallint, %(outcome)s::text collate "C") > (d.outcome_rank, d.outcome collate "C")
            then %(outcome)s::text else d.outcome end,
        outcome_at = case
            when (%(outcome_rank)s::smallint, %(outcome)s::text collate "C") > (d.outcome_rank, d.outcome collate "C")
                then %(occurred_at)s::timestamptz
            when %(outcome)s::text = d.outcome and %(outcome_rank)s::smallint > 0
                then least(d.outcome_at, %(occurred_at)s::timestamptz)
            else d.outcome_at end,
        outcome_rank = greatest(d.outcome_rank, %(outcome_rank)s::smallint),
        opened_at = least(d.opened_at,
            case when %(type)s::text = 'opened' then %(occurred_at)s::timestamptz end),
        clicked_at = least(d.clicked_at,
            case when %(type)s::text = 'clicked' then %(occurred_at)s::timestamptz end),
        unsubscribed_at = least(d.unsubscribed_at,
            case when %(type)s::text = 'unsubscribed' then %(occurred_at)s::timestamptz end),
        updated_at = greatest(now(), d.updated_at)
    from fresh
    where d.id = fresh.subject_id
    returning d.*
), event as (
    insert into mailglass.events (
        tenant_id, delivery_id, seq, type, occurred_at, recorded_at, reject_reason, payload, provider_event_id,
        trace_id, prev_hash, hash
    )
    select f.tenant_id, f.id, f.seq, %(type)s::text, %(occurred_at)s::timestamptz, f.updated_at,
           %(reject_reason)s::text, %(payload)s::jsonb, %(provider_event_id)s::text, %(trace_id)s::text,
           f.prior_hash, f.chain_hash
    from folded f
    returning *
)
select e.tenant_id, e.delivery_id, e.seq, e.type, e.occurred_at, e.recorded_at, e.reject_reason, e.payload,
       e.provider_event_id, e.trace_id, e.prev_hash, e.hash, f.message_id, f.state
from event e join folded f on f.id = e.delivery_id;

-- name: events_of_delivery
select e.tenant_id, e.delivery_id, e.seq, e.type, e.occurred_at, e.recorded_at, e.reject_reason, e.payload,
       e.provider_event_id, e.trace_id, e.prev_hash, e.hash
from mailglass.events e
where e.delivery_id = %(delivery_id)s::uuid
  and (%(tenant_id)s::text is null or e.tenant_id = %(tenant_id)s::text)
order by e.seq;

-- name: broken_chains
-- Every event whose hash, place or predecessor is not what it must be, every delivery whose chain does
-- not end where its newest event does, and every event whose delivery is gone. No row: the ledger is whole.
with chained as (
    select e.*,
           lag(e.hash) over chain as expected_prev,
           row_number() over chain as expected_seq
    from mailglass.events e
    where (%(delivery_id)s::uuid is null or e.delivery_id = %(delivery_id)s::uuid)
    window chain as (partition by e.delivery_id order by e.seq)
)
select c.delivery_id, c.seq, case
        when c.seq <> c.expected_seq then 'missing_event'
        when c.prev_hash <> coalesce(c.expected_prev, mailglass.genesis_hash(c.delivery_id)) then 'wrong_predecessor'
        else 'changed_event'
    end as fault
from chained c
where c.seq <> c.expected_seq
   or c.prev_hash <> coalesce(c.expected_prev, mailglass.genesis_hash(c.delivery_id))
   or c.hash <> mailglass.event_hash(c.tenant_id, c.delivery_id, c.seq, c.type, c.occurred_at, c.recorded_at,
        c.reject_reason, c.payload, c.provider_event_id, c.trace_id, c.prev_hash)
union all
select d.id, d.seq, 'wrong_end'
from mailglass.deliveries d
where (%(delivery_id)s::uuid is null or d.id = %(delivery_id)s::uuid)
  and (not exists (
          select from mailglass.events e
          where e.delivery_id = d.id and e.seq = d.seq and e.hash = d.chain_hash)
      or exists (select from mailglass.events e where e.delivery_id = d.id and e.seq > d.seq))
union all
select e.delivery_id, max(e.seq), 'lost_delivery'
from mailglass.events e
where (%(delivery_id)s::uuid is null or e.delivery_id = %(delivery_id)s::uuid)
  and not exists (select from mailglass.deliveries d where d.id = e.delivery_id)
group by e.delivery_id
order by 1, 2
limit %(limit)s::integer;
