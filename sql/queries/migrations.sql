-- name: migration_lock
select pg_advisory_xact_lock(%(key)s::bigint);

-- name: migrations_table
select to_regclass('mailglass.migrations')::text;

-- name: recorded_migrations
select name, sha256 from mailglass.migrations order by name;

-- name: record_migration
insert into mailglass.migrations (name, sha256) values (%(name)s::text, %(sha256)s::bytea);
