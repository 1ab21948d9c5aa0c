-- name: projection_differences
-- Folds every delivery's events anew and compares with what the deliveries table shows, both ways. One row
-- for each delivery that differs, with the names of what differs; `delivery` or `events` alone where
-- the other side has nothing at all. What a provider reported says so by naming the provider.
with told as (
    select e.*,
           case
               when jsonb_exists(e.payload, 'provider') then null
               when e.type = 'reconciled' then
                   case when e.payload ->> 'was_sent' = 'false' then 'failed' else 'sent' end
               else m.state
           end as state,
           case when not jsonb_exists(e.payload, 'provider') then null
               when e.type = 'bounced' and e.payload ->> 'permanent' = 'false' then 'soft_bounced'
               else o.outcome
           end as outcome
    from mailglass.events e
    left join (values ('queued', 'queued'), ('suppressed', 'suppressed'), ('attempt_started', 'sending'),
        ('attempt_failed', 'queued'), ('dispatched', 'sent'), ('failed', 'failed'), ('outcome_unknown', 'unknown'),
        ('unknown_final', 'unknown_final'), ('requeued', 'queued'), ('cancelled', 'cancelled'),
        ('expired', 'expired'), ('quarantined', 'failed')) as m (type, state) on m.type = e.type
    left join (values ('sent', 'accepted'), ('deferred', 'deferred'), ('delivered', 'delivered'),
        ('bounced', 'hard_bounced'), ('rejected', 'hard_bounced'), ('complained', 'complained'))
        as o (type, outcome) on o.type = e.type
    where %(delivery_id)s::uuid is null or e.delivery_id = %(delivery_id)s::uuid
), ranked as (
    select t.*, coalesce(r.rank, 0)::smallint as outcome_rank
    from told t
    left join (values ('accepted', 10), ('deferred', 20), ('soft_bounced', 20), ('delivered', 30),
        ('hard_bounced', 50), ('complained', 60)) as r (outcome, rank) on r.outcome = t.outcome
), folded as (
    select r.delivery_id,
           min(r.tenant_id) as tenant_id,
           (array_agg(r.state order by r.seq desc) filter (where r.state is not null))[1] as state,
           coalesce((array_agg(r.outcome order by r.outcome_rank desc, r.outcome collate "C" desc)
               filter (where r.outcome is not null))[1], 'none') as outcome,
           max(r.outcome_rank) as outcome_rank,
           (array_agg(r.occurred_at order by r.outcome_rank desc, r.outcome collate "C" desc, r.occurred_at)
               filter (where r.outcome is not null))[1] as outcome_at,
           min(r.occurred_at) filter (where r.type = 'opened') as opened_at,
           min(r.occurred_at) filter (where r.type = 'clicked') as clicked_at,
           min(r.occurred_at) filter (where r.type = 'unsubscribed') as unsubscribed_at,
           max(r.seq) as seq,
           (array_agg(r.prev_hash order by r.seq desc))[1] as prior_hash,
           (array_agg(r.hash order by r.seq desc))[1] as chain_hash,
           (array_agg(r.recorded_at order by r.seq))[1] as created_at,
           (array_agg(r.recorded_at order by r.seq desc))[1] as updated_at
    from ranked r
    group by r.delivery_id
), shown as (
    select d.id as delivery_id, d.tenant_id, d.state, d.outcome, d.outcome_rank, d.outcome_at, d.opened_at,
           d.clicked_at, d.unsubscribed_at, d.seq, d.prior_hash, d.chain_hash, d.created_at, d.updated_at
    from mailglass.deliveries d
    where %(delivery_id)s::uuid is null or d.id = %(delivery_id)s::uuid
), only_told as (
    select * from folded except select * from shown
), only_shown as (
    select * from shown except select * from folded
)
select coalesce(t.delivery_id, s.delivery_id) as delivery_id,
       case
           when s.delivery_id is null then array['delivery']
           when t.delivery_id is null then array['events']
           else array(
               select f.name
               from jsonb_each(to_jsonb(t)) as f (name, told)
               where f.told is distinct from to_jsonb(s) -> f.name
               order by f.name)
       end as fields
from only_told t
full join only_shown s on s.delivery_id = t.delivery_id
order by 1
limit %(limit)s::integer;

-- name: message_differences
-- Messages whose state is not the fold of their deliveries' states, or whose fencing token is not the
-- highest that an attempt at one of them told of. The delivery of the first recipient stands for the
-- message, the message's own id where it has none. Events are looked up a delivery at a time, whatever the
-- statistics say: without any, all of them would be read for each message.
select coalesce(d.first_id, m.id) as delivery_id,
       array_remove(array[
           case when m.state is distinct from d.state then 'message_state' end,
           case when m.token is distinct from coalesce(a.token, 0) then 'message_token' end], null) as fields
from mailglass.messages m
cross join lateral (
    select mailglass.folded_state(array_agg(x.state)) as state,
           (array_agg(x.id order by x.position))[1] as first_id
    from mailglass.deliveries x
    where x.message_id = m.id
) d
cross join lateral (
    select max(t.token) as token
    from mailglass.deliveries x
    cross join lateral (
        select (e.payload ->> 'token')::bigint as token
        from mailglass.events e
        where e.delivery_id = x.id and e.type = 'attempt_started'
        offset 0
    ) t
    where x.message_id = m.id
) a
where (%(delivery_id)s::uuid is null or m.id = (
        select x.message_id from mailglass.deliveries x where x.id = %(delivery_id)s::uuid))
  and (m.state is distinct from d.state or m.token is distinct from coalesce(a.token, 0))
order by 1
limit %(limit)s::integer;

-- name: wrong_attempts
-- Deliveries with an attempt whose token does not go up, or with a verdict that carries another token than
-- the attempt before it: somebody wrote who had no authority.
with attempt as (
    select e.delivery_id, e.seq, e.type, (e.payload ->> 'token')::bigint as token,
           max((e.payload ->> 'token')::bigint) filter (where e.type = 'attempt_started')
               over (partition by e.delivery_id order by e.seq rows between unbounded preceding and 1 preceding)
               as token_before
    from mailglass.events e
    where jsonb_exists(e.payload, 'token')
      and (%(delivery_id)s::uuid is null or e.delivery_id = %(delivery_id)s::uuid)
)
select a.delivery_id, array['attempt_token'] as fields
from attempt a
where case when a.type = 'attempt_started' then a.token <= a.token_before
    else a.token is distinct from a.token_before end
group by a.delivery_id
order by 1
limit %(limit)s::integer;

-- name: ledger_size
-- How much there is to check.
select (select count(*) from mailglass.deliveries) as deliveries, (select count(*) from mailglass.events) as events;
