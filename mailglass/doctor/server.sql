-- What stands on the server beside mailglass' own tables: the extension that addresses are kept with,
-- and the sessions of mailglass in this database. A worker's session says `listen` and then waits, so
-- that stays its last statement; Postgres hides statements from logins that may not see them.
select (select e.extversion from pg_catalog.pg_extension e where e.extname = 'citext') is not null
           as citext_is_there,
       exists (select from pg_catalog.pg_available_extensions v where v.name = 'citext')
           as citext_is_available,
       (select count(*) from pg_catalog.pg_stat_activity a
        where a.datname = current_database()
          and a.application_name = 'mailglass'
          and a.query = %(listen)s::text) as listening,
       (select count(*) from pg_catalog.pg_stat_activity a
        where a.datname = current_database()
          and a.application_name = 'mailglass'
          and a.query like '<%%>') as hidden
