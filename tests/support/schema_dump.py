"""Dumps the schema of a migrated database from its catalogue, the same text for the same schema.

It needs no program of PostgreSQL. A function stands with the SHA-256 of its body, and rights of an
owner on its own things are left out: neither says anything that a person would review here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, LiteralString

import psycopg
from psycopg.rows import dict_row

_OURS: Final = "n.nspname in ('mailglass', 'mailglass_guard')"
_OWNER: Final = (
    "case when {0} = current_user::regrole then 'CURRENT_USER' else {0}::regrole::text end"
)
_ENABLED: Final = {"O": "", "D": "disable", "R": "enable replica", "A": "enable always"}

_OWN: Final = """not exists (
    select from pg_depend d
    where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')"""
_EXTENSIONS: Final = f"""
select e.extname as name, n.nspname as schema
from pg_extension e join pg_namespace n on n.oid = e.extnamespace where {_OURS} order by 1
"""
_SCHEMAS: Final = f"""
select n.nspname as name, {_OWNER.format("n.nspowner")} as owner
from pg_namespace n where {_OURS} order by 1
"""
_TABLES: Final = f"""
select c.oid, c.oid::regclass::text as name, {_OWNER.format("c.relowner")} as owner,
       c.relkind::text as kind, c.relrowsecurity as has_row_security, c.reloptions as options
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where {_OURS} and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f') order by c.relkind, 2
"""
_COLUMNS: Final = """
select a.attname as name, format_type(a.atttypid, a.atttypmod) as type, a.attnotnull as is_required,
       pg_get_expr(d.adbin, d.adrelid) as expression, a.attgenerated::text as generated,
       a.attidentity::text as identity
from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where a.attrelid = %(oid)s and a.attnum > 0 and not a.attisdropped order by a.attnum
"""
_CONSTRAINTS: Final = """
select conname as name, pg_get_constraintdef(oid) as definition
from pg_constraint where conrelid = %(oid)s and contype <> 'n' order by contype, conname
"""
_INDEXES: Final = """
select pg_get_indexdef(i.indexrelid) as definition
from pg_index i join pg_class c on c.oid = i.indexrelid
where i.indrelid = %(oid)s
  and not exists (select from pg_constraint k where k.conindid = i.indexrelid and k.conrelid = i.indrelid)
order by c.relname
"""
_TRIGGERS: Final = """
select tgname as name, pg_get_triggerdef(oid) as definition, tgenabled::text as enabled
from pg_trigger where tgrelid = %(oid)s and not tgisinternal order by tgname
"""
_POLICIES: Final = """
select polname as name, polcmd::text as command, polpermissive as is_permissive,
       pg_get_expr(polqual, polrelid) as uses, pg_get_expr(polwithcheck, polrelid) as checks
from pg_policy where polrelid = %(oid)s order by polname
"""
_FUNCTIONS: Final = f"""
select p.oid::regprocedure::text as name, {_OWNER.format("p.proowner")} as owner,
       pg_get_function_arguments(p.oid) as arguments, pg_get_function_result(p.oid) as result,
       l.lanname as language, p.provolatile::text as volatility, p.prosecdef as is_definer,
       p.proisstrict as is_strict, p.proparallel::text as parallel, p.proconfig as config,
       encode(sha256(convert_to(coalesce(p.prosrc, '') || coalesce(pg_get_function_sqlbody(p.oid), ''),
              'UTF8')), 'hex') as body
from pg_proc p join pg_namespace n on n.oid = p.pronamespace join pg_language l on l.oid = p.prolang
where {_OURS} and {_OWN} order by 1
"""
_EVENT_TRIGGERS: Final = f"""
select e.evtname as name, e.evtevent as event, e.evtenabled::text as enabled, e.evttags as tags,
       e.evtfoid::regprocedure::text as function
from pg_event_trigger e join pg_proc p on p.oid = e.evtfoid
join pg_namespace n on n.oid = p.pronamespace where {_OURS} order by 1
"""
_TYPES: Final = f"""
select t.oid::regtype::text as name, t.typtype::text as kind
from pg_type t join pg_namespace n on n.oid = t.typnamespace
where {_OURS} and t.typtype in ('d', 'e', 'r') order by 1
"""
_RIGHTS: Final = f"""
select kind, name, coalesce(nullif(a.grantee, 0)::regrole::text, 'public') as grantee,
       string_agg(a.privilege_type || case when a.is_grantable then ' with grant option' else '' end,
                  ', ' order by a.privilege_type) as rights
from (
    select 'schema' as kind, n.nspname::text as name, n.nspowner as owner,
           coalesce(n.nspacl, acldefault('n', n.nspowner)) as acl
    from pg_namespace n where {_OURS}
    union all
    select 'table', c.oid::regclass::text, c.relowner, coalesce(c.relacl, acldefault('r', c.relowner))
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where {_OURS} and c.relkind in ('r', 'p', 'v', 'm', 'f')
    union all
    select 'column', c.oid::regclass::text || '.' || t.attname, c.relowner, t.attacl
    from pg_attribute t join pg_class c on c.oid = t.attrelid join pg_namespace n on n.oid = c.relnamespace
    where {_OURS} and t.attacl is not null
    union all
    select 'function', p.oid::regprocedure::text, p.proowner, coalesce(p.proacl, acldefault('f', p.proowner))
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where {_OURS} and {_OWN}
) as owned, lateral aclexplode(acl) as a
where a.grantee <> owned.owner
group by kind, name, a.grantee order by kind, name, 3
"""
_ROLES: Final = """
select rolname as name, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication,
       rolbypassrls
from pg_roles where rolname ~ '^mailglass_' order by 1
"""


def schema_text(database_url: str) -> str:
    """Return the schema as text that reads like SQL; for a person to review, not to be run."""
    with psycopg.connect(database_url, row_factory=dict_row) as connection:
        connection.execute("set search_path to pg_catalog")
        dump = _Dump(connection)
        parts = (*dump.roles(), *dump.schemas(), *dump.types(), *dump.tables(), *dump.functions(),
                 *dump.event_triggers(), *dump.rights())  # fmt: skip
    return (
        "\n".join(["-- What the migrations make; written by scripts/publish-check.", *parts]) + "\n"
    )


class _Dump:
    def __init__(self, connection: psycopg.Connection[dict[str, Any]]) -> None:
        self._connection = connection

    def _rows(self, statement: LiteralString, oid: int | None = None) -> list[dict[str, Any]]:
        return self._connection.execute(statement, {"oid": oid} if oid else None).fetchall()

    def roles(self) -> Iterator[str]:
        for one in self._rows(_ROLES):
            able = [name.removeprefix("rol") for name, value in one.items() if value is True]
            yield f"create role {one['name']} {' '.join(able) or 'with nothing'};"

    def schemas(self) -> Iterator[str]:
        for one in self._rows(_SCHEMAS):
            yield f"create schema {one['name']} authorization {one['owner']};"
        for one in self._rows(_EXTENSIONS):
            yield f"create extension {one['name']} schema {one['schema']};"

    def types(self) -> Iterator[str]:
        for one in self._rows(_TYPES):
            yield f"create type {one['name']} {one['kind']};"

    def tables(self) -> Iterator[str]:
        for table in self._rows(_TABLES):
            if table["kind"] == "S":
                yield f"\ncreate sequence {table['name']}; -- owner {table['owner']}"
                continue
            yield f"\n{_KINDS[table['kind']]} {table['name']} ("
            inside = [*self._columns(table["oid"]), *self._constraints(table["oid"])]
            yield ",\n".join(f"    {line}" for line in inside)
            options = f" with {table['options']}" if table["options"] else ""
            yield f"){options};"
            yield f"alter table {table['name']} owner to {table['owner']};"
            if table["has_row_security"]:
                yield f"alter table {table['name']} enable row level security;"
            yield from (f"{one['definition']};" for one in self._rows(_INDEXES, table["oid"]))
            yield from self._policies(table)
            yield from self._triggers(table)

    def _columns(self, oid: int) -> Iterator[str]:
        for one in self._rows(_COLUMNS, oid):
            parts = [one["name"], one["type"]]
            parts += ["not null"] if one["is_required"] else []
            if one["expression"]:
                is_made = one["generated"] == "s"
                parts.append(f"generated always as ({one['expression']})" if is_made
                             else f"default {one['expression']}")  # fmt: skip
            parts += [f"identity {one['identity']}"] if one["identity"] else []
            yield " ".join(parts)

    def _constraints(self, oid: int) -> Iterator[str]:
        for one in self._rows(_CONSTRAINTS, oid):
            yield f"constraint {one['name']} {one['definition']}"

    def _policies(self, table: dict[str, Any]) -> Iterator[str]:
        for one in self._rows(_POLICIES, table["oid"]):
            yield f"create policy {one.pop('name')} on {table['name']} {one};"

    def _triggers(self, table: dict[str, Any]) -> Iterator[str]:
        for one in self._rows(_TRIGGERS, table["oid"]):
            yield f"{one['definition']};"
            if one["enabled"] != "O":
                how = _ENABLED[one["enabled"]]
                yield f"alter table {table['name']} {how} trigger {one['name']};"

    def functions(self) -> Iterator[str]:
        yield ""
        for one in self._rows(_FUNCTIONS):
            about = [one["language"], _VOLATILE[one["volatility"]], f"parallel {one['parallel']}"]
            about += ["strict"] if one["is_strict"] else []
            about += ["security definer"] if one["is_definer"] else []
            about += [f"set {setting}" for setting in one["config"] or ()]
            name = one["name"].partition("(")[0]
            yield f"create function {name}({one['arguments']}) returns {one['result']}"
            yield f"    {' '.join(about)}"
            yield f"    owner {one['owner']} -- body sha256 {one['body']}"

    def event_triggers(self) -> Iterator[str]:
        yield ""
        for one in self._rows(_EVENT_TRIGGERS):
            tags = f" when tag in {one['tags']}" if one["tags"] else ""
            how = _ENABLED[one["enabled"]]
            yield f"create event trigger {one['name']} on {one['event']}{tags} execute {one['function']};"
            if how:
                yield f"alter event trigger {one['name']} {how};"

    def rights(self) -> Iterator[str]:
        yield ""
        for one in self._rows(_RIGHTS):
            yield f"grant {one['rights']} on {one['kind']} {one['name']} to {one['grantee']};"


_KINDS: Final = {
    "r": "create table", "p": "create partitioned table", "v": "create view",
    "m": "create materialized view", "f": "create foreign table",
}  # fmt: skip
_VOLATILE: Final = {"i": "immutable", "s": "stable", "v": "volatile"}
