-- Limits that all workers share: how fast and how many a day, what a provider taught, all on one clock.
--
-- Every limit is a generic cell rate: a row holds the moment at which its bucket is full again. That is
-- the token bucket with one number in place of two. Rows of one call are locked in the order of their
-- names and keys, so that no two calls wait for each other in a circle.
do $$
begin
    if (select nspowner::regrole::text from pg_catalog.pg_namespace where nspname = 'mailglass')
       = 'mailglass_owner' then
        set local role mailglass_owner;
    end if;
end
$$;

create table mailglass.limit_states (
    name text not null check (name <> ''),
    key text not null,
    full_at timestamptz not null default 'epoch',
    planned timestamptz[] not null default '{epoch,epoch,epoch}' check (cardinality(planned) = 3),
    awaited timestamptz not null default 'epoch',
    day date not null default '-infinity',
    used bigint not null default 0 check (used >= 0),
    primary key (name, key)
) with (fillfactor = 50);

comment on column mailglass.limit_states.full_at is
    'When the bucket holds its whole burst again; each token taken moves it on by one interval.';
comment on column mailglass.limit_states.planned is
    'Up to when put-off mail has been given times, for transactional, operational and bulk.';
comment on column mailglass.limit_states.awaited is
    'By when the next of the mail that was put off comes back, if any is still there.';
comment on column mailglass.limit_states.used is
    'How many were taken on the day, in the zone of the limit.';

create table mailglass.adapter_paces (
    adapter_ref text primary key check (adapter_ref <> ''),
    paused_until timestamptz not null default 'epoch',
    rate_per_s double precision check (rate_per_s > 0),
    recovers_per_s2 double precision check (recovers_per_s2 > 0),
    cut_at timestamptz,
    check ((rate_per_s is null) = (cut_at is null) and (rate_per_s is null) = (recovers_per_s2 is null))
) with (fillfactor = 50);

comment on table mailglass.adapter_paces is
    'What the providers said: until when an adapter rests, and what rate was learnt from its refusals.';

-- The rate that holds at a moment: what was left after the last cut, and what has come back since. A
-- quarter of an hour without another refusal and nothing is held against the provider any more.
create function mailglass.learnt_rate(pace mailglass.adapter_paces, at timestamptz)
returns double precision
language sql immutable parallel safe
return case when pace.cut_at > at - interval '15 minutes'
    then pace.rate_per_s
        + pace.recovers_per_s2 * greatest(0, extract(epoch from at - pace.cut_at)::double precision)
end;

-- How many may be taken on a day: by the schedule of the warm-up, nothing before it starts, and the
-- limit's own number once it is over. Null: as many as there are.
create function mailglass.daily_maximum(spec jsonb, today date) returns bigint
language sql immutable parallel safe
return case
    when spec ->> 'starts' is null then (spec ->> 'daily')::bigint
    when today < (spec ->> 'starts')::date then 0
    when today - (spec ->> 'starts')::date < jsonb_array_length(spec -> 'schedule')
        then (spec -> 'schedule' ->> (today - (spec ->> 'starts')::date))::bigint
    else (spec ->> 'daily')::bigint
end;

-- Gives each item a pass in all of its buckets or in none. Items are served in their order; one row a
-- item: whether it was taken, in how many microseconds it may go, and the limit that puts it off.
--
-- A pass whose time comes within hold_s is taken now and used then. With ``plans`` an item that has to
-- wait longer gets a time of its own behind those put off before it, and yields to what was put off on
-- a stream before its own. ``counted`` asks never wait; they only take.
--
-- Only the bucket that an item waits for longest gives it a place in its line: were others' lines set to
-- the end of somebody's day, or of a provider's rest, all mail of those buckets would wait with it. A
-- bucket to which none of them ``returns`` for five seconds, though one should have, has no line any more:
-- whoever stood in it was cancelled, or is held up elsewhere.
create function mailglass.take_passes(
    buckets jsonb, items jsonb, hold_s double precision, plans boolean, asked_at timestamptz)
returns table (place integer, is_taken boolean, wait_us bigint, blocker text)
language plpgsql
set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
    patience constant interval := '5 seconds';
    learnt jsonb := '{}';
    paused jsonb := '{}';
    asked record;
    ask record;
    state mailglass.limit_states;
    fulls timestamptz[];
    lines timestamptz[];
    awaits timestamptz[];
    turns timestamptz[];
    uses bigint[];
    days date[];
    maxima bigint[];
    ends timestamptz[];
    steps interval[];
    bursts double precision[];
    moment timestamptz;
    today date;
    may_at timestamptz;
    then_at timestamptz;
    due_at timestamptz;
    why text;
begin
    for asked in
        select p.adapter_ref, p.paused_until,
               mailglass.learnt_rate(p, coalesce(asked_at, clock_timestamp())) as rate_per_s
        from mailglass.adapter_paces p
        where p.adapter_ref in (select o.value ->> 'adapter_ref' from jsonb_array_elements(items) o)
        order by p.adapter_ref
    loop
        paused := paused || jsonb_build_object(asked.adapter_ref, asked.paused_until);
        if asked.rate_per_s is not null then
            buckets := buckets || jsonb_build_array(jsonb_build_object(
                'name', 'learnt', 'key', asked.adapter_ref, 'interval_s', 1 / asked.rate_per_s, 'burst', 1));
            learnt := learnt || jsonb_build_object(asked.adapter_ref, jsonb_array_length(buckets));
        end if;
    end loop;

    for asked in
        select o.ordinality::integer as i, o.value ->> 'name' as name, o.value ->> 'key' as key
        from jsonb_array_elements(buckets) with ordinality o
        order by o.value ->> 'name' collate "C", o.value ->> 'key' collate "C"
    loop
        loop
            select s.* into state from mailglass.limit_states s
            where s.name = asked.name and s.key = asked.key for update;
            exit when found;
            insert into mailglass.limit_states (name, key) values (asked.name, asked.key) on conflict do nothing;
        end loop;
        fulls[asked.i] := state.full_at;
        days[asked.i] := state.day;
        uses[asked.i] := state.used;
        awaits[asked.i] := state.awaited;
        for i in 1..3 loop
            lines[(asked.i - 1) * 3 + i] := state.planned[i];
        end loop;
    end loop;

    moment := coalesce(asked_at, clock_timestamp());  -- after the locks, so that no wait for them counts
    for asked in
        select o.ordinality::integer as i, o.value as spec from jsonb_array_elements(buckets) with ordinality o
    loop
        today := (moment at time zone coalesce(asked.spec ->> 'zone', 'UTC'))::date;
        if days[asked.i] < today then
            days[asked.i] := today;
            uses[asked.i] := 0;
        end if;
        maxima[asked.i] := mailglass.daily_maximum(asked.spec, days[asked.i]);
        ends[asked.i] := (days[asked.i] + 1)::timestamp at time zone coalesce(asked.spec ->> 'zone', 'UTC');
        steps[asked.i] := make_interval(secs => (asked.spec ->> 'interval_s')::double precision);
        bursts[asked.i] := (asked.spec ->> 'burst')::double precision;
        if awaits[asked.i] + patience < moment then
            lines[asked.i * 3 - 2 : asked.i * 3] := '{epoch,epoch,epoch}';
        end if;
    end loop;

    for asked in
        select o.ordinality::integer as place, (o.value ->> 'rank')::integer as rank,
               (o.value ->> 'returns')::boolean as returns,
               o.value ->> 'adapter_ref' as adapter_ref, o.value -> 'asks' as asks
        from jsonb_array_elements(items) with ordinality o
        order by o.ordinality
    loop
        if learnt ? asked.adapter_ref then
            asked.asks := asked.asks || jsonb_build_array(
                jsonb_build_object('bucket', learnt -> asked.adapter_ref, 'cost', 1, 'counted', false));
        end if;
        may_at := greatest(moment, (paused ->> asked.adapter_ref)::timestamptz);
        why := case when may_at > moment then 'paused' end;
        for ask in
            select a.bucket, a.cost
            from jsonb_to_recordset(asked.asks) as a (bucket integer, cost bigint, counted boolean)
            where not a.counted
        loop
            then_at := moment;
            if steps[ask.bucket] is not null then
                then_at := fulls[ask.bucket] + (ask.cost - bursts[ask.bucket]) * steps[ask.bucket];
                if plans then
                    for i in 1..asked.rank loop
                        then_at := greatest(then_at, lines[(ask.bucket - 1) * 3 + i]);
                    end loop;
                end if;
                turns[ask.bucket] := then_at;
            end if;
            if uses[ask.bucket] + least(ask.cost, maxima[ask.bucket]) > maxima[ask.bucket]
               or maxima[ask.bucket] = 0 then
                then_at := greatest(then_at, ends[ask.bucket]);
            end if;
            if then_at > may_at then
                may_at := then_at;
                why := buckets -> (ask.bucket - 1) ->> 'name';
            end if;
        end loop;

        is_taken := may_at <= moment + make_interval(secs => hold_s);
        due_at := may_at;
        for ask in
            select a.bucket, a.cost, a.counted
            from jsonb_to_recordset(asked.asks) as a (bucket integer, cost bigint, counted boolean)
        loop
            if asked.returns and steps[ask.bucket] is not null then
                awaits[ask.bucket] := greatest(awaits[ask.bucket], moment + ask.cost * steps[ask.bucket]);
            end if;
            if is_taken then
                uses[ask.bucket] := uses[ask.bucket] + ask.cost;
                if steps[ask.bucket] is not null then
                    fulls[ask.bucket] := greatest(fulls[ask.bucket], may_at)
                        + ask.cost * steps[ask.bucket];
                end if;
            elsif plans and not ask.counted and steps[ask.bucket] is not null then
                turns[ask.bucket] := greatest(turns[ask.bucket], lines[(ask.bucket - 1) * 3 + asked.rank + 1]);
                due_at := greatest(due_at, turns[ask.bucket]);
            end if;
        end loop;
        if plans and not is_taken then
            for ask in
                select a.bucket, a.cost
                from jsonb_to_recordset(asked.asks) as a (bucket integer, cost bigint, counted boolean)
                where not a.counted and steps[a.bucket] is not null and turns[a.bucket] = due_at
            loop
                lines[(ask.bucket - 1) * 3 + asked.rank + 1] := due_at + ask.cost * steps[ask.bucket];
                awaits[ask.bucket] := greatest(awaits[ask.bucket],
                    fulls[ask.bucket] + (ask.cost - bursts[ask.bucket]) * steps[ask.bucket]);
            end loop;
        end if;
        place := asked.place - 1;
        wait_us := (extract(epoch from due_at - moment) * 1000000)::bigint;
        blocker := case when not is_taken then why end;
        return next;
    end loop;

    update mailglass.limit_states s
    set full_at = fulls[n.i], day = days[n.i], used = uses[n.i],
        planned = lines[n.i * 3 - 2 : n.i * 3], awaited = awaits[n.i]
    from (
        select o.ordinality::integer as i, o.value ->> 'name' as name, o.value ->> 'key' as key
        from jsonb_array_elements(buckets) with ordinality o
    ) n
    where s.name = n.name and s.key = n.key;
end
$$;

do $$
begin
    if exists (select from pg_catalog.pg_roles where rolname = 'mailglass_app') then
        grant select, insert, update, delete on mailglass.limit_states, mailglass.adapter_paces to mailglass_app;
    end if;
end
$$;
