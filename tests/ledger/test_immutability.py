"""The ledger cannot be changed: by statement, by role, by DDL; and a change would be seen."""

from __future__ import annotations

import psycopg
import pytest

from front_desk import front_desk, note
from mailglass import EventLedgerImmutableError, SendError
from mailglass.errors import EventLedgerImmutableErrorType as Attempt
from mailglass.errors import SendErrorType
from mailglass.ledger.faults import translate, translated
from mailglass.ledger.sql import queries

STATEMENTS = {
    "update": "update mailglass.events set type = 'delivered'",
    "update of no row": "update mailglass.events set type = 'sent' where false",
    "delete": "delete from mailglass.events",
    "delete of no row": "delete from mailglass.events where false",
    "truncate": "truncate mailglass.events",
    "truncate in company": "truncate mailglass.limit_states, mailglass.events",
    "upsert": "insert into mailglass.events (tenant_id, delivery_id, seq, type, occurred_at, recorded_at,"
    " prev_hash, hash) select tenant_id, delivery_id, seq, type, occurred_at, recorded_at, prev_hash, hash"
    " from mailglass.events limit 1 on conflict (delivery_id, seq) do update set type = 'sent'",
    "update in a cte": "with x as (update mailglass.events set type = 'sent' returning 1) select * from x",
}
DDL = (
    "alter table mailglass.events disable trigger all",
    "alter table mailglass.events disable trigger events_refuse_update",
    "alter table mailglass.events drop column payload",
    "alter table mailglass.events alter column type type varchar(40)",
    "alter table mailglass.events rename to evidence",
    "alter table mailglass.events owner to current_user",
    "alter table mailglass.events set schema public",
    "drop trigger events_refuse_update on mailglass.events",
    "drop table mailglass.events",
    "drop schema mailglass cascade",
    "drop function mailglass.refuse_ledger_change() cascade",
    "alter function mailglass.refuse_ledger_change() rename to gone",
    "alter function mailglass.refuse_ledger_change() set schema public",
    "create or replace function mailglass.genesis_hash(delivery_id uuid) returns bytea"
    " language sql immutable as $$ select ''::bytea $$",
    "alter table mailglass.events enable row level security",
    "alter table mailglass.events drop constraint events_type_check",
    "alter trigger events_refuse_update on mailglass.events rename to gone",
    "alter schema mailglass rename to gone",
    "drop owned by mailglass_owner cascade",
    "create table public.copy () inherits (mailglass.events)",
    "create policy hide on mailglass.events using (false)",
    "create table mailglass.copy () inherits (mailglass.events)",
    "create table mailglass.p (like mailglass.events including defaults) partition by list (tenant_id);"
    " alter table mailglass.p attach partition mailglass.events default",
    "create rule swallow as on insert to mailglass.events do instead nothing",
    "create trigger swallow before insert on mailglass.events execute function"
    " mailglass.refuse_wrong_transition()",
    "create or replace function mailglass.refuse_ledger_change() returns trigger language plpgsql"
    " as $$ begin return new; end $$",
)
KIND = {"update": Attempt.UPDATE_ATTEMPT, "upsert": Attempt.UPDATE_ATTEMPT,
        "delete": Attempt.DELETE_ATTEMPT, "truncate": Attempt.TRUNCATE_ATTEMPT}  # fmt: skip


@pytest.fixture
def ledger_url(database_url: str) -> str:
    """Return a database with one delivery in its ledger."""
    with front_desk(database_url) as mail:
        mail.deliver(note())
    return database_url


def _as(url: str, role: str | None) -> psycopg.Connection[tuple[object, ...]]:
    connection = psycopg.connect(url, autocommit=True)
    if role is not None:
        connection.execute(f"set role {role}".encode())
    return connection


def _whole_ledger(url: str) -> list[tuple[object, ...]]:
    with _as(url, None) as connection:
        return connection.execute(
            "select * from mailglass.events order by delivery_id, seq"
        ).fetchall()


@pytest.mark.parametrize("role", ["mailglass_app", "mailglass_owner", None])
@pytest.mark.parametrize("name", sorted(STATEMENTS))
def test_a_statement_that_changes_history_is_refused(
    ledger_url: str, name: str, role: str | None
) -> None:
    """Rows 85, 86: 45A01 for the application, the owner and a superuser alike."""
    before = _whole_ledger(ledger_url)
    with _as(ledger_url, role) as connection:
        if name == "truncate in company" and role == "mailglass_app":
            connection.execute("set role mailglass_owner")
        with pytest.raises(psycopg.Error) as caught:
            connection.execute(STATEMENTS[name].encode())
        assert caught.value.sqlstate == "45A01"
        error = translate(caught.value)
    assert isinstance(error, EventLedgerImmutableError)
    assert error.type is KIND[name.split(maxsplit=1)[0]]
    assert _whole_ledger(ledger_url) == before


def test_replica_mode_does_not_switch_the_triggers_off(ledger_url: str) -> None:
    """Row 88: ENABLE ALWAYS."""
    with _as(ledger_url, None) as connection:
        connection.execute("set session_replication_role = replica")
        with pytest.raises(psycopg.Error) as caught:
            connection.execute("delete from mailglass.events")
    assert caught.value.sqlstate == "45A01"


@pytest.mark.parametrize("statement", DDL)
def test_ddl_of_the_owner_on_the_ledger_is_refused(ledger_url: str, statement: str) -> None:
    """Row 87: by the guard, not for want of some other right, all of which the owner has here."""
    before = _whole_ledger(ledger_url)
    with _as(ledger_url, None) as superuser:
        superuser.execute(
            "do $$ begin execute format('grant create on database %I to mailglass_owner',"
            " current_database()); end $$"
        )
        superuser.execute("grant create on schema public to mailglass_owner")
        superuser.execute("grant mailglass_app to mailglass_owner")
        superuser.execute("grant create on schema mailglass to mailglass_app")
    with _as(ledger_url, "mailglass_owner") as connection:
        with pytest.raises(psycopg.Error) as caught:
            connection.execute(statement.encode())
    assert caught.value.sqlstate == "45A02", caught.value
    assert _whole_ledger(ledger_url) == before


@pytest.mark.parametrize("statement", DDL)
def test_ddl_of_the_application_on_the_ledger_is_refused(ledger_url: str, statement: str) -> None:
    """Row 87: it owns nothing."""
    before = _whole_ledger(ledger_url)
    with _as(ledger_url, "mailglass_app") as connection, pytest.raises(psycopg.Error) as caught:
        connection.execute(statement.encode())
    assert caught.value.sqlstate in {"42501", "45A02"}
    assert _whole_ledger(ledger_url) == before


_NEXT = (
    "insert into mailglass.events (tenant_id, delivery_id, seq, type, occurred_at, recorded_at, payload,"
    " prev_hash, hash) select l.tenant_id, l.delivery_id, {seq}, 'delivered', now(), {at}, '{{}}', {prev},"
    " mailglass.event_hash(l.tenant_id, l.delivery_id, {seq}, 'delivered', now(), {at}, null, '{{}}', null,"
    " null, {prev}) from mailglass.events l where l.seq = 3"
)


@pytest.mark.parametrize("role", ["mailglass_app", "mailglass_owner", None])
@pytest.mark.parametrize(
    "place",
    [
        {"seq": "4", "at": "now() - interval '1 day'", "prev": "l.hash"},
        {"seq": "4", "at": "now() + interval '1 day'", "prev": "l.hash"},
        {"seq": "5", "at": "now()", "prev": "l.hash"},
        {"seq": "4", "at": "now()", "prev": "l.prev_hash"},
        {"seq": "4", "at": "now()", "prev": "mailglass.genesis_hash(l.delivery_id)"},
    ],
    ids=lambda place: "-".join(place.values()),
)
def test_an_event_that_does_not_continue_the_chain_now_is_refused(
    ledger_url: str, place: dict[str, str], role: str | None
) -> None:
    """Row 89: who may insert cannot date back, leave a gap or hang an event elsewhere."""
    before = _whole_ledger(ledger_url)
    with _as(ledger_url, role) as connection, pytest.raises(psycopg.Error) as caught:
        connection.execute(_NEXT.format(**place).encode())
    assert caught.value.sqlstate == "45A01"
    assert _whole_ledger(ledger_url) == before


def test_an_event_whose_hash_is_made_up_is_refused(ledger_url: str) -> None:
    """Row 89: the hash is recomputed when the event is written."""
    with _as(ledger_url, "mailglass_app") as connection, pytest.raises(psycopg.Error) as caught:
        connection.execute(
            "insert into mailglass.events (tenant_id, delivery_id, seq, type, occurred_at, recorded_at,"
            " prev_hash, hash) select tenant_id, delivery_id, 4, 'delivered', now(), now(), hash, hash"
            " from mailglass.events where seq = 3"
        )
    assert caught.value.sqlstate == "45A01"


_BARE = (
    "insert into mailglass.events (tenant_id, delivery_id, seq, type, occurred_at, recorded_at)"
    " select tenant_id, delivery_id, {seq}, 'delivered', now(), now() from mailglass.events where seq = 3"
)


@pytest.mark.tampers
def test_an_event_without_hashes_gets_those_that_continue_the_chain(ledger_url: str) -> None:
    """Row 89: nobody needs to bring any."""
    with _as(ledger_url, "mailglass_app") as connection:
        connection.execute(_BARE.format(seq="4").encode())
        found = connection.execute(
            "select n.prev_hash = l.hash, n.hash = mailglass.event_hash(n.tenant_id, n.delivery_id, 4,"
            " 'delivered', n.occurred_at, n.recorded_at, null, '{}', null, null, l.hash)"
            " from mailglass.events n join mailglass.events l on l.seq = 3 where n.seq = 4"
        ).fetchall()
    assert found == [(True, True)]


def test_an_event_without_hashes_leaves_no_gap(ledger_url: str) -> None:
    """Row 89: there is nothing that it could continue."""
    with _as(ledger_url, "mailglass_app") as connection, pytest.raises(psycopg.Error) as caught:
        connection.execute(_BARE.format(seq="5").encode())
    assert caught.value.sqlstate == "45A01"


@pytest.mark.parametrize(
    "text", ["plain", 'a "quote"', "back\\slash", "tab\t\x01\x7f", "Ünï\u2028", ""]
)
def test_the_hash_is_over_what_jsonb_writes(database_url: str, text: str) -> None:
    """An auditor may rebuild it without knowing how we spell it."""
    with _as(database_url, None) as connection:
        found = connection.execute(
            "with g as (select %s::text as word, jsonb_build_object('b', %s::text, 'a', 1) as payload)"
            " select h = sha256(convert_to('mg1', 'UTF8') || int4send(1) || 't' || uuid_send(id) || int4send(2)"
            " || int4send(4) || 'sent' || timestamptz_send('epoch') || timestamptz_send('epoch') || sha256("
            " convert_to(jsonb_build_array(null::text, payload, word, word)::text, 'UTF8')) || '\\xab')"
            " from g, gen_random_uuid() as id, mailglass.event_hash('t', id, 2, 'sent', 'epoch', 'epoch', null,"
            " payload, word, word, '\\xab') as h",
            (text, text),
        ).fetchone()
    assert found == (True,)


@pytest.mark.tampers
def test_an_event_beside_its_delivery_is_seen(ledger_url: str) -> None:
    """Row 89: a right hash alone does not hide an event that the delivery knows nothing of."""
    with _as(ledger_url, "mailglass_app") as connection:
        connection.execute(_NEXT.format(seq="4", at="now()", prev="l.hash").encode())
    with front_desk(ledger_url) as mail:
        assert {one.fault for one in mail.store.broken_chains()} == {"wrong_end"}


@pytest.mark.parametrize("role", ["mailglass_owner", None])
@pytest.mark.parametrize(
    "statement",
    [
        "delete from mailglass.deliveries",
        "delete from mailglass.messages",
        "delete from mailglass.event_keys",
        "update mailglass.event_keys set key = 'other'",
        "delete from mailglass.report_keys",
        "truncate mailglass.messages cascade",
        "truncate mailglass.deliveries",
        "truncate mailglass.event_keys",
        "truncate mailglass.report_keys",
    ],
)
def test_what_the_ledger_speaks_of_is_not_taken_away(
    ledger_url: str, statement: str, role: str | None
) -> None:
    """An event without its delivery explains nothing, and a key that is gone lets a mail be doubled."""
    with _as(ledger_url, role) as connection, pytest.raises(psycopg.Error) as caught:
        connection.execute(statement.encode())
    assert caught.value.sqlstate == "45A01"


@pytest.mark.tampers
def test_a_delivery_that_was_taken_away_is_missed(ledger_url: str) -> None:
    """Row 88: a superuser who removes the triggers and the row leaves its events behind."""
    with _as(ledger_url, None) as superuser:
        superuser.execute("alter table mailglass.deliveries disable trigger all")
        superuser.execute("delete from mailglass.deliveries")
    with front_desk(ledger_url) as mail:
        assert [one.fault for one in mail.store.broken_chains()] == ["lost_delivery"]


def test_names_of_other_schemas_are_none_of_the_guards_business(ledger_url: str) -> None:
    """An application may have a schema whose name ends like ours."""
    with _as(ledger_url, None) as superuser:
        superuser.execute("create schema my_mailglass")
        superuser.execute("create table my_mailglass.events (id int)")
        superuser.execute("alter table my_mailglass.events add column at date")
        superuser.execute("drop table my_mailglass.events")
        superuser.execute("drop schema my_mailglass cascade")


@pytest.mark.parametrize("role", ["mailglass_app", "mailglass_owner"])
@pytest.mark.parametrize(
    "statement",
    [
        "alter event trigger mailglass_refuse_ddl disable",
        "drop event trigger mailglass_refuse_ddl",
        "drop schema mailglass_guard cascade",
        "create or replace function mailglass_guard.refuse_ledger_ddl() returns event_trigger"
        " language plpgsql as $$ begin end $$",
        "set session_replication_role = replica",
    ],
)
def test_the_guard_itself_cannot_be_removed(ledger_url: str, statement: str, role: str) -> None:
    """Row 87: only a superuser could."""
    with _as(ledger_url, role) as connection, pytest.raises(psycopg.Error) as caught:
        connection.execute(statement.encode())
    assert caught.value.sqlstate == "42501"


@pytest.mark.parametrize("name", ["update", "delete", "truncate"])
def test_through_mailglass_it_is_our_error_of_the_right_type(ledger_url: str, name: str) -> None:
    """A caller matches a class and a type, not a SQLSTATE."""
    with front_desk(ledger_url) as mail:
        with (
            pytest.raises(EventLedgerImmutableError) as caught,
            mail.store.connection() as connection,
        ):
            connection.execute(queries("demo")[name])
        assert caught.value.type.value == f"{name}_attempt"
        assert caught.value.pg_code == "45A01"


def test_ddl_through_mailglass_is_our_error(ledger_url: str) -> None:
    """Also for what only the owner could try."""
    with _as(ledger_url, "mailglass_owner") as connection:
        with pytest.raises(EventLedgerImmutableError) as caught, translated():
            connection.execute(DDL[0].encode())
        assert caught.value.type is Attempt.DDL_ATTEMPT
        connection.execute("reset role; set role mailglass_app")
        with pytest.raises(EventLedgerImmutableError) as caught, translated():
            connection.execute(DDL[0].encode())
        assert caught.value.type is Attempt.DDL_ATTEMPT


def test_the_auditor_reads_and_writes_nothing(ledger_url: str) -> None:
    """Row 89: the third role."""
    with _as(ledger_url, "mailglass_audit") as connection:
        assert connection.execute("select count(*) from mailglass.events").fetchone() == (3,)
        for statement in (
            "update mailglass.events set seq = 9",
            "insert into mailglass.events default values",
        ):
            with pytest.raises(EventLedgerImmutableError), translated():
                connection.execute(statement.encode())
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select payload from mailglass.messages")


def test_an_index_and_a_grant_are_still_possible(ledger_url: str) -> None:
    """The guard refuses what changes the ledger, not what operations need."""
    with _as(ledger_url, "mailglass_owner") as connection:
        connection.execute("create index one_more on mailglass.events (type)")
        connection.execute("grant select on mailglass.events to mailglass_audit")


@pytest.mark.parametrize(
    ("forgery", "fault"),
    [
        ("update mailglass.events set type = 'delivered' where seq = 2", "changed_event"),
        ("update mailglass.events set payload = '{}' where seq = 1", "changed_event"),
        ("update mailglass.events set occurred_at = occurred_at - interval '1 day' where seq = 3",
         "changed_event"),
        ("update mailglass.events set recorded_at = now() + interval '1 day' where seq = 1",
         "changed_event"),
        ("update mailglass.events set trace_id = 'x' where seq = 1", "changed_event"),
        ("delete from mailglass.events where seq = 2", "missing_event"),
        ("delete from mailglass.events where seq = 3", "wrong_end"),
        ("delete from mailglass.events", "wrong_end"),
        ("update mailglass.events set hash = sha256('x') where seq = 1", "changed_event"),
        ("update mailglass.events set prev_hash = sha256('x') where seq = 1", "wrong_predecessor"),
        ("update mailglass.events set seq = 7 where seq = 3", "missing_event"),
        ("insert into mailglass.events select tenant_id, delivery_id, 4, 'delivered', occurred_at,"
         " recorded_at, reject_reason, payload, provider_event_id, trace_id, hash, hash"
         " from mailglass.events where seq = 3", "changed_event"),
    ],
)  # fmt: skip
@pytest.mark.tampers
def test_a_superusers_forgery_breaks_the_chain(ledger_url: str, forgery: str, fault: str) -> None:
    """Row 88: who can take the triggers away is seen by the hashes, with delivery and place."""
    with _as(ledger_url, None) as superuser:
        for name in ("ddl", "drop", "rewrite"):
            superuser.execute(f"alter event trigger mailglass_refuse_{name} disable".encode())
        superuser.execute("alter table mailglass.events disable trigger all")
        superuser.execute(forgery.encode())
    with front_desk(ledger_url) as mail:
        (delivery,) = mail.store.list_deliveries(tenant_id=None)
        broken = mail.store.broken_chains()
        assert fault in {one.fault for one in broken}
        assert {one.delivery_id for one in broken} == {delivery.id}


def test_an_untouched_ledger_is_whole(ledger_url: str) -> None:
    """The check finds nothing where nothing is."""
    with front_desk(ledger_url) as mail:
        assert mail.store.broken_chains() == ()


@pytest.mark.parametrize(
    "statement",
    [
        "update mailglass.messages set state = 'queued'",
        "update mailglass.messages set state = 'failed'",
        "update mailglass.deliveries set state = 'cancelled'",
        "update mailglass.messages set payload = 'other'",
        "update mailglass.messages set payload_sha256 = sha256('x')",
        "update mailglass.messages set payload_bytes = 1",
    ],
)
def test_a_settled_message_stays_settled_and_frozen(ledger_url: str, statement: str) -> None:
    """The dispatch machine and the frozen bytes hold in the database itself."""
    with _as(ledger_url, "mailglass_app") as connection, pytest.raises(psycopg.Error) as caught:
        connection.execute(statement.encode())
    assert caught.value.sqlstate == "45A03"


def test_a_wrong_step_through_mailglass_is_a_typed_error(ledger_url: str) -> None:
    """What the dispatch machine does not have is an invalid transition."""
    with front_desk(ledger_url) as mail:
        with pytest.raises(SendError) as caught, mail.store.connection() as connection:
            connection.execute("update mailglass.messages set state = 'queued'")
        assert caught.value.type is SendErrorType.INVALID_TRANSITION
        assert caught.value.code == "45A03"


def test_no_role_of_ours_deletes_messages_or_deliveries(ledger_url: str) -> None:
    """A stale lock never destroys a mail."""
    for table in ("messages", "deliveries", "event_keys", "report_keys"):
        with _as(ledger_url, "mailglass_app") as connection:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"delete from mailglass.{table}".encode())
