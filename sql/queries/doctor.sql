-- name: database_facts
-- What the server and the roles are, on a database that need not be migrated.
select current_setting('server_version_num')::integer as version_num,
       current_setting('server_encoding') as encoding,
       current_setting('synchronous_commit') as synchronous_commit,
       current_setting('fsync') as fsync,
       current_setting('full_page_writes') as full_page_writes,
       current_setting('max_connections')::integer as connections_max,
       current_setting('superuser_reserved_connections')::integer as connections_reserved,
       extract(epoch from clock_timestamp())::double precision as epoch_s,
       l.rolsuper as login_is_superuser,
       coalesce(%(role)s::text, session_user::text) as role,
       r.rolname is not null as role_exists,
       coalesce(r.rolsuper, false) as role_is_superuser,
       coalesce(r.rolbypassrls, false) as role_bypasses_rls,
       coalesce(l.rolsuper or pg_has_role(session_user, r.oid, 'member'), false) as role_can_be_taken,
       coalesce(not r.rolsuper and pg_has_role(r.oid, c.relowner, 'member'), false) as role_owns_ledger
from pg_catalog.pg_roles l
left join pg_catalog.pg_roles r on r.rolname = coalesce(%(role)s::text, session_user::text)
left join pg_catalog.pg_class c on c.oid = to_regclass('mailglass.events')
where l.rolname = session_user;

-- name: ledger_guards
-- The triggers that keep the ledger, and whether each is ENABLE ALWAYS.
select t.tgname as name, t.tgenabled = 'A' as is_always
from pg_catalog.pg_trigger t
where t.tgrelid in (to_regclass('mailglass.events'), to_regclass('mailglass.messages'),
                    to_regclass('mailglass.deliveries'), to_regclass('mailglass.event_keys'),
                    to_regclass('mailglass.report_keys'))
  and not t.tgisinternal
union all
select e.evtname, e.evtenabled = 'A'
from pg_catalog.pg_event_trigger e
where e.evtname ~ '^mailglass_refuse_';
