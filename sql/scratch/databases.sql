-- name: create_database
create database {name};

-- name: copy_database
-- By WAL_LOG, the default since PostgreSQL 15, which copies small templates fast.
create database {name} template {template};

-- name: drop_database
drop database if exists {name} with (force);
