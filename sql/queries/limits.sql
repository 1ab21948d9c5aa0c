-- name: take_passes
-- A pass for each item in all of its buckets or in none, in the order of the items.
select t.place, t.is_taken, t.wait_us, t.blocker
from mailglass.take_passes(%(buckets)s::jsonb, %(items)s::jsonb, %(hold_s)s::double precision,
    %(plans)s::boolean, %(at)s::timestamptz) t
order by t.place;

-- name: adapter_paces
-- What holds now of what the providers said; nothing of an adapter that is free.
select p.adapter_ref,
       extract(epoch from p.paused_until - clock_timestamp())::double precision as paused_for_s,
       mailglass.learnt_rate(p, clock_timestamp()) as rate_per_s
from mailglass.adapter_paces p
where (%(adapter_refs)s::text[] is null or p.adapter_ref = any (%(adapter_refs)s::text[]))
  and (p.paused_until > clock_timestamp() or mailglass.learnt_rate(p, clock_timestamp()) is not null)
order by p.adapter_ref;

-- name: pause_adapter
-- Lets an adapter rest; a longer rest that was asked for before stays.
insert into mailglass.adapter_paces as p (adapter_ref, paused_until)
values (%(adapter_ref)s::text, clock_timestamp() + make_interval(secs => %(pause_s)s::double precision))
on conflict (adapter_ref) do update set paused_until = greatest(p.paused_until, excluded.paused_until)
returning extract(epoch from p.paused_until - clock_timestamp())::double precision as paused_for_s,
    mailglass.learnt_rate(p, clock_timestamp()) as rate_per_s;

-- name: slow_adapter
-- Halves the rate of an adapter, of what has left through it lately where nothing was learnt yet, and
-- lets it rest for a moment. Refusals that come together are one: they were asked for at one rate.
with recent as (
    select count(*) / 10.0 as rate_per_s
    from mailglass.messages m
    where m.state = 'sent' and m.payload is not null and m.adapter_ref = %(adapter_ref)s::text
      and m.updated_at > clock_timestamp() - interval '10 seconds'
), held as (
    select least(mailglass.learnt_rate(p, clock_timestamp()), nullif(recent.rate_per_s, 0)) as rate_per_s
    from recent
    left join mailglass.adapter_paces p on p.adapter_ref = %(adapter_ref)s::text
), cut as (
    select greatest(%(floor_per_s)s::double precision, coalesce(held.rate_per_s, 1) / 2) as rate_per_s
    from held
)
insert into mailglass.adapter_paces as p (adapter_ref, paused_until, rate_per_s, recovers_per_s2, cut_at)
select %(adapter_ref)s::text, clock_timestamp() + make_interval(secs => %(pause_s)s::double precision),
       cut.rate_per_s, cut.rate_per_s / %(recovery_s)s::double precision, clock_timestamp()
from cut
on conflict (adapter_ref) do update
set paused_until = greatest(p.paused_until, excluded.paused_until),
    rate_per_s = case when p.cut_at > clock_timestamp() - interval '2 seconds'
        then p.rate_per_s else excluded.rate_per_s end,
    recovers_per_s2 = case when p.cut_at > clock_timestamp() - interval '2 seconds'
        then p.recovers_per_s2 else excluded.recovers_per_s2 end,
    cut_at = case when p.cut_at > clock_timestamp() - interval '2 seconds'
        then p.cut_at else excluded.cut_at end
returning extract(epoch from p.paused_until - clock_timestamp())::double precision as paused_for_s,
    mailglass.learnt_rate(p, clock_timestamp()) as rate_per_s;

-- name: free_adapter
-- Forgets what a provider taught: an operator knows better. What waits because of it is due now: mail that
-- the provider put off itself, and mail that was kept back until its rest is over, or for its learnt rate
-- whatever the time. So many at once that the statement stays short, the longest waiting first.
with freed as (
    delete from mailglass.adapter_paces p
    where p.adapter_ref = %(adapter_ref)s::text
    returning case when p.rate_per_s is null then p.paused_until + make_interval(secs => %(late_s)s::double precision)
        else 'infinity' end as held_until
), waiting as (
    select m.id
    from freed
    join mailglass.messages m on m.adapter_ref = %(adapter_ref)s::text
    where m.state = 'queued' and not m.held and m.run_at > clock_timestamp()
      and exists (
        select from mailglass.deliveries d
        where d.message_id = m.id and d.state = 'queued'
          and (d.code = 'rate_limited' and m.run_at <= freed.held_until or d.code ~ %(throttled)s::text))
    order by m.id
    limit %(limit)s::integer
    for update of m skip locked
), woken as (
    update mailglass.messages m
    set run_at = clock_timestamp()
    from waiting
    where m.id = waiting.id
    returning m.id
)
select (select count(*) from woken) as due_again from freed;

-- name: limit_states
-- What limits have been asked for, and how they stand. ``used`` counts the day of the row alone.
select s.name, s.key, extract(epoch from s.full_at - clock_timestamp())::double precision as full_in_s,
       nullif(s.day, '-infinity') as day, s.used, clock_timestamp() as at
from mailglass.limit_states s
where s.name = any (%(names)s::text[]) and (%(key)s::text is null or s.key = %(key)s::text)
order by s.name, s.full_at desc, s.key
limit %(limit)s::integer;

-- name: forget_idle_limits
-- Drops rows that say nothing any more: full again, with no plans, and of a day that is over in every zone.
delete from mailglass.limit_states s
where s.full_at < clock_timestamp() and s.planned[1] < clock_timestamp() and s.planned[2] < clock_timestamp()
  and s.planned[3] < clock_timestamp() and (s.day = '-infinity' or s.day < (clock_timestamp() - interval '3 days')::date)
returning s.name;
