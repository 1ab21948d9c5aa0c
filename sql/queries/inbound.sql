-- name: claim_receipt
-- A received mail is handled by one process at a time: whoever gets a row has it until the lease ends.
update mailglass.webhook_receipts r
set lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s::double precision)
where r.id = %(id)s::uuid
  and (r.lease_until is null or r.lease_until < clock_timestamp())
returning r.lease_until;

-- name: renew_receipt
-- The lease is held for longer, or no row: it ended, and somebody else may have the request now.
update mailglass.webhook_receipts r
set lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s::double precision)
where r.id = %(id)s::uuid and r.lease_until = %(held_until)s::timestamptz
returning r.lease_until;

-- name: release_receipt
-- The request is free for the next who asks, whatever became of it.
update mailglass.webhook_receipts r
set lease_until = null
where r.id = %(id)s::uuid and r.lease_until = %(held_until)s::timestamptz
returning r.id;

-- name: record_inbound
-- What became of one received mail; handling it again replaces that and counts.
insert into mailglass.inbound_messages as i
    (receipt_id, place, tenant_id, provider, endpoint, route, outcome, reason)
values (%(receipt_id)s::uuid, %(place)s::integer, %(tenant_id)s::text, %(provider)s::text, %(endpoint)s::text,
    %(route)s::text, %(outcome)s::text, %(reason)s::text)
on conflict (receipt_id, place) do update
set route = excluded.route, outcome = excluded.outcome, reason = excluded.reason, runs = i.runs + 1,
    handled_at = now()
returning i.runs;

-- name: inbound_of_receipt
select i.place, i.route, i.outcome, i.reason, i.runs, i.handled_at
from mailglass.inbound_messages i
where i.receipt_id = %(receipt_id)s::uuid
order by i.place;
