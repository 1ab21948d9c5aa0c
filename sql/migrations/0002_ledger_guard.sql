-- What stops the owner of the ledger from disarming it: event triggers that refuse every DDL command
-- on the events table and on what protects it. Only a superuser may create them, and only a
-- superuser may take them away; on a server without one, this file leaves the triggers of 0001.
--
-- The function has a schema of its own: whoever owns a schema may drop all that is in it, and an
-- event trigger goes with its function.
create schema mailglass_guard;

create function mailglass_guard.refuse_ledger_ddl() returns event_trigger
language plpgsql
set search_path = pg_catalog
as $$
declare
    command record;
begin
    if tg_event = 'table_rewrite' then
        if pg_event_trigger_table_rewrite_oid() = 'mailglass.events'::regclass then
            raise exception 'the event ledger is append-only: rewrite refused' using errcode = '45A02';
        end if;
        return;
    end if;
    if tg_event = 'sql_drop' then
        for command in select object_identity from pg_event_trigger_dropped_objects() loop
            if command.object_identity ~ '^(messages|deliveries)_refuse_delete on |^(event|report)_keys_refuse_change on '
               or command.object_identity ~ '(^| )(mailglass\.(events|refuse_ledger_change|refuse_forged_event|event_hash|genesis_hash)|mailglass_guard\..*)\M' then
                raise exception 'the event ledger is append-only: drop refused' using errcode = '45A02';
            end if;
        end loop;
        return;
    end if;
    if exists (
        select from pg_inherits i join pg_trigger t on t.tgrelid in (i.inhrelid, i.inhparent)
        where t.tgname = 'events_refuse_update'
    ) then
        raise exception 'the event ledger is append-only: inheritance refused' using errcode = '45A02';
    end if;
    for command in select objid, object_identity, command_tag from pg_event_trigger_ddl_commands() loop
        -- A table or function that was renamed or moved has another name here, but the same triggers.
        if command.objid in (
               select unnest(array[tgrelid, tgfoid]) from pg_trigger
               where tgname in ('events_refuse_update', 'events_refuse_forgery'))
           and command.command_tag not in ('GRANT', 'REVOKE', 'COMMENT')
           or command.command_tag = 'ALTER SCHEMA' and command.objid in (
               select c.relnamespace from pg_trigger t join pg_class c on c.oid = t.tgrelid
               where t.tgname = 'events_refuse_update')
           or command.object_identity ~ '(^| )(mailglass\.(events|refuse_ledger_change|refuse_forged_event|event_hash|genesis_hash)|mailglass_guard\..*)\M'
           and command.command_tag not in ('GRANT', 'REVOKE', 'COMMENT', 'CREATE INDEX') then
            raise exception 'the event ledger is append-only: % refused', command.command_tag
                using errcode = '45A02';
        end if;
    end loop;
end
$$;

do $$
begin
    if (select rolsuper from pg_catalog.pg_roles where rolname = current_user) then
        create event trigger mailglass_refuse_ddl on ddl_command_end
            execute function mailglass_guard.refuse_ledger_ddl();
        create event trigger mailglass_refuse_drop on sql_drop
            execute function mailglass_guard.refuse_ledger_ddl();
        create event trigger mailglass_refuse_rewrite on table_rewrite
            execute function mailglass_guard.refuse_ledger_ddl();
        alter event trigger mailglass_refuse_ddl enable always;
        alter event trigger mailglass_refuse_drop enable always;
        alter event trigger mailglass_refuse_rewrite enable always;
    else
        raise notice 'not a superuser: the ledger stays without event triggers';
    end if;
end
$$;
