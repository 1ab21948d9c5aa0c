-- name: ring
-- Wakes the workers that wait; a statement of its own, after the commit: a notification inside the
-- queueing transaction would make all committers wait for each other. It waits for no disk: a crash of
-- Postgres ends every listener too.
select set_config('synchronous_commit', 'off', true), pg_notify('mailglass_due', '');

-- name: listen
listen mailglass_due;
