"""Suppressions in the database: merged, never softened, removed with a trace, erased and still held."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from mailglass import ConfigError, SendError, Stream, SuppressedError, Suppression, parse_address
from mailglass.ledger import suppressions as module
from mailglass.ledger.store import Store
from mailglass.ledger.suppressions import Suppressions, Tally, Wanted
from mailglass.suppression import SuppressionReason, SuppressionScope, asked_values

KEY = b"0123456789abcdef0123456789abcdef"
ZOE = "zoe@mail.example"
SOON = datetime.now(UTC) + timedelta(days=1)
PAST = datetime.now(UTC) - timedelta(days=1)
ADDRESS = SuppressionScope.ADDRESS


@pytest.fixture
def book(database_url: str) -> Iterator[Suppressions]:
    """Return one tenant's suppressions, with the rights of the application."""
    with Store(database_url, role="mailglass_app") as store:
        yield Suppressions(store=store, tenant_id="a", by="ann", erasure_key=KEY)


def _entry(**changes: Any) -> Suppression:
    fields: dict[str, Any] = {
        "scope": ADDRESS,
        "value": ZOE,
        "reason": SuppressionReason.MANUAL,
        "source": "test",
    }
    return Suppression(**(fields | changes))


def _held(book: Suppressions, stream: Stream = Stream.BULK) -> list[str]:
    values = asked_values([parse_address(ZOE).key], tenant_id=book.tenant_id, erasure_key=KEY)
    return [one.reason.value for one in book.matching(sorted(values), stream)]


def _actions(book: Suppressions) -> list[str]:
    return [deed.action for deed in book.history(ADDRESS, ZOE)]


@pytest.mark.parametrize(
    ("first", "second", "reason", "expires_at"),
    [
        ("manual", "complaint", "complaint", None),
        ("complaint", "manual", "complaint", None),
        ("complaint", "unsubscribe", "complaint", None),
        ("unsubscribe", "hard_bounce", "unsubscribe", None),
        ("unsubscribe", "complaint", "complaint", None),
        ("manual", "hard_bounce", "hard_bounce", None),
        ("manual", "hard_bounce until", "manual", None),
        ("manual until", "hard_bounce until", "hard_bounce", SOON),
        ("manual until", "hard_bounce", "hard_bounce", None),
        ("manual over", "policy until", "policy", SOON),
        ("unsubscribe until", "manual", "unsubscribe", None),
    ],
)
def test_two_refusals_of_one_address_become_the_stronger(
    book: Suppressions, first: str, second: str, reason: str, expires_at: datetime | None
) -> None:
    """A complaint outranks an unsubscribe, both outrank the rest, and what stands outlasts what ends."""
    ends = {"": None, "until": SOON, "over": PAST}
    for told in (first, second):
        word, _, end = told.partition(" ")
        book.add(_entry(reason=SuppressionReason(word), expires_at=ends[end]))
    (listed,) = book.page(Wanted())
    assert (listed.entry.reason, listed.entry.expires_at) == (reason, expires_at)


def test_the_same_list_twice_changes_nothing(book: Suppressions) -> None:
    """Importing again is harmless and leaves no history."""
    entries = [_entry(value=f"u{n}@mail.example") for n in range(50)]
    assert book.add_many(entries) == Tally(added=50)
    assert book.add_many(entries) == Tally(unchanged=50)
    assert [one.action for one in book.history(ADDRESS, "u7@mail.example")] == ["added"]


@pytest.mark.parametrize("turn", [1, -1])
def test_one_list_may_name_somebody_twice(book: Suppressions, turn: int) -> None:
    """Of two lines in one import the stronger is taken, in whatever order they stand."""
    lines = [
        _entry(reason=SuppressionReason.HARD_BOUNCE),
        _entry(reason=SuppressionReason.COMPLAINT, value="ZOE@Mail.example"),
    ][::turn]
    assert book.add_many(lines) == Tally(added=1, unchanged=1)
    assert _held(book) == ["complaint"]


def test_of_two_ends_in_one_list_the_later_is_taken(book: Suppressions) -> None:
    """And none at all is the latest."""
    later = SOON + timedelta(days=1)
    book.add_many([_entry(expires_at=one) for one in (SOON, later, SOON)])
    assert [one.entry.expires_at for one in book.page(Wanted())] == [later]
    book.add_many([_entry(expires_at=one) for one in (SOON, None, SOON)])
    assert [one.entry.expires_at for one in book.page(Wanted())] == [None]


def test_a_long_list_is_many_transactions(
    book: Suppressions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import that is cut off keeps what it had, and can be run again."""
    monkeypatch.setattr(module, "BATCH_MAX", 10)

    def cut_off() -> Iterator[Suppression]:
        for number in range(25):
            yield _entry(value=f"u{number}@mail.example")
        raise ConnectionError

    with pytest.raises(ConnectionError):
        book.add_many(cut_off())
    assert len(book.page(Wanted())) == 20
    assert len(list(book.adding(_entry(value=f"u{n}@mail.example") for n in range(25)))) == 3
    assert len(book.page(Wanted())) == 25


def test_many_may_import_the_same_list_at_once(
    book: Suppressions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In whatever order: nobody waits for another in a circle, and each row is new once."""
    monkeypatch.setattr(module, "BATCH_MAX", 100)
    entries = [_entry(value=f"u{n}@mail.example") for n in range(400)]
    orders = [entries, entries[::-1], entries[200:] + entries[:200], entries[::2] + entries[1::2]]
    with ThreadPoolExecutor(4) as pool:
        tallies = list(pool.map(book.add_many, orders))
    assert sum(one.added for one in tallies) == 400
    assert sum(one.unchanged for one in tallies) == 1200


def test_the_intake_is_empty_afterwards(book: Suppressions, database_url: str) -> None:
    """Nothing of an import stays where it waited."""
    book.add(_entry())
    with psycopg.connect(database_url) as owner:
        assert owner.execute("select count(*) from mailglass.suppression_intake").fetchone() == (0,)


def test_an_import_keeps_when_a_refusal_began(book: Suppressions) -> None:
    """The provider's date is the date, and the older of two stays."""
    old = datetime(2020, 5, 17, tzinfo=UTC)
    book.add(_entry(since=old))
    book.add(_entry(reason=SuppressionReason.COMPLAINT))
    (listed,) = book.page(Wanted())
    assert (listed.created_at, listed.entry.since) == (old, old)


def test_a_removed_refusal_no_longer_holds_and_stays_on_record(book: Suppressions) -> None:
    """Row 102: nothing vanishes; who removed it, and why, can be read."""
    book.add(_entry(reason=SuppressionReason.HARD_BOUNCE))
    assert book.remove(ADDRESS, "Zoe@MAIL.example", why="mailbox is back")
    assert _held(book) == []
    assert book.page(Wanted()) == ()
    (listed,) = book.page(Wanted(with_over=True))
    assert (listed.why, listed.changed_by) == ("mailbox is back", "ann")
    assert listed.removed_at is not None
    deeds = book.history(ADDRESS, ZOE)
    assert [(one.action, one.changed_by, one.why) for one in deeds] == [
        ("added", "ann", None),
        ("removed", "ann", "mailbox is back"),
    ]


def test_a_removed_refusal_can_come_back(book: Suppressions) -> None:
    """And a lesser reason may then stand in its place."""
    book.add(_entry(reason=SuppressionReason.COMPLAINT))
    book.remove(ADDRESS, ZOE, why="asked in writing", force=True)
    book.add(_entry(expires_at=SOON))
    assert _held(book) == ["manual"]
    assert _actions(book) == ["added", "removed", "restored"]


@pytest.mark.parametrize("reason", [SuppressionReason.COMPLAINT, SuppressionReason.UNSUBSCRIBE])
def test_the_recipients_will_is_removed_by_force_and_with_a_reason(
    book: Suppressions, reason: SuppressionReason
) -> None:
    """Row 57: a complaint or an unsubscribe is not tidied away."""
    book.add(_entry(reason=reason))
    with pytest.raises(SuppressedError) as caught:
        book.remove(ADDRESS, ZOE, why="tidying up")
    assert caught.value.reason == reason
    assert "zoe" not in f"{caught.value!r} {caught.value.to_dict()}"
    with pytest.raises(SendError) as bare:
        book.remove(ADDRESS, ZOE, force=True)
    assert bare.value.code == "removal_without_reason"
    assert _held(book) == [reason]
    assert book.remove(ADDRESS, ZOE, why="asked in writing", force=True)
    assert _held(book) == []


def test_removing_what_is_not_there_says_so(book: Suppressions) -> None:
    """A slip of the pen is not a success; nor is removing twice."""
    book.add(_entry())
    assert not book.remove(ADDRESS, "ann@mail.example")
    assert not book.remove(SuppressionScope.ADDRESS_STREAM, ZOE, stream=Stream.BULK)
    assert book.remove(ADDRESS, ZOE)
    assert not book.remove(ADDRESS, ZOE)


def test_tenants_know_nothing_of_each_other(book: Suppressions) -> None:
    """Neither what is held, nor what is removed, nor the history."""
    other = Suppressions(store=book.store, tenant_id="b", by="bob", erasure_key=KEY)
    book.add(_entry())
    assert not other.remove(ADDRESS, ZOE)
    assert (_held(other), other.page(Wanted(with_over=True)), _actions(other)) == ([], (), [])
    assert other.erase(ZOE) == 0
    assert _held(book) == ["manual"]


@pytest.mark.parametrize(
    "statement",
    [
        "update mailglass.suppression_history set changed_by = 'nobody'",
        "delete from mailglass.suppression_history",
        "truncate mailglass.suppression_history",
    ],
)
@pytest.mark.parametrize("role", ["mailglass_owner", "mailglass_app"])
def test_the_history_only_grows(
    book: Suppressions, database_url: str, statement: str, role: str
) -> None:
    """Whoever tries: the owner meets the trigger, the application has not even the right."""
    book.add(_entry())
    with psycopg.connect(database_url) as connection:
        connection.execute(f"set role {role}".encode())
        with pytest.raises(psycopg.Error) as caught:
            connection.execute(statement.encode())
    assert caught.value.sqlstate == ("45A01" if role == "mailglass_owner" else "42501")


def test_nobody_forges_history(book: Suppressions) -> None:
    """The application reads it; only the triggers write it."""
    book.add(_entry())
    with book.store.connection() as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(
            "insert into mailglass.suppression_history"
            " (tenant_id, suppression_id, action, scope, reason, source, changed_by)"
            " values ('a', gen_random_uuid(), 'removed', 'address', 'manual', 'x', 'x')"
        )


def test_whatever_writes_leaves_a_trace(book: Suppressions) -> None:
    """A statement typed by hand is in the history like any other."""
    book.add(_entry())
    with book.store.connection() as connection:
        connection.execute("update mailglass.suppressions set expires_at = now()")
        connection.execute("delete from mailglass.suppressions")
        found = connection.execute(
            "select action from mailglass.suppression_history order by id"
        ).fetchall()
    assert [row["action"] for row in found] == ["added", "changed", "deleted"]


def test_an_erased_address_is_still_refused(book: Suppressions) -> None:
    """Whoever was erased is not mailed again, on each stream as before."""
    book.add(_entry(reason=SuppressionReason.HARD_BOUNCE, note="rang us"))
    stream_scope = SuppressionScope.ADDRESS_STREAM
    book.add(_entry(reason=SuppressionReason.UNSUBSCRIBE, scope=stream_scope, stream=Stream.BULK))
    assert book.erase("ZOE@mail.example") == 2
    assert _held(book) == ["hard_bounce", "unsubscribe"]
    assert _held(book, Stream.OPERATIONAL) == ["hard_bounce"]
    assert all(one.entry.is_erased and one.entry.note is None for one in book.page(Wanted()))
    assert book.erase(ZOE) == 0


def test_after_erasure_no_table_holds_the_address(book: Suppressions, database_url: str) -> None:
    """Not the list, not the intake, not the history."""
    book.add(_entry(value="canary@mail.example"))
    book.remove(ADDRESS, "canary@mail.example")
    book.add(_entry(value="canary@mail.example"))
    book.erase("canary@mail.example")
    with psycopg.connect(database_url) as owner:
        for table in ("suppressions", "suppression_intake", "suppression_history"):
            rows = owner.execute(f"select t::text from mailglass.{table} t".encode()).fetchall()
            assert "canary" not in str(rows), table


def test_erasing_twice_merges_under_one_hash(book: Suppressions) -> None:
    """A later complaint of the same person strengthens what is held."""
    book.add(_entry())
    book.erase(ZOE)
    book.add(_entry(reason=SuppressionReason.COMPLAINT))
    assert sorted(_held(book)) == ["complaint", "manual"]
    book.erase(ZOE)
    assert _held(book) == ["complaint"]


def test_an_erased_refusal_can_be_removed_by_its_address(book: Suppressions) -> None:
    """Who knows the address may still lift it, and the history is found by it."""
    book.add(_entry())
    book.erase(ZOE)
    assert book.remove(ADDRESS, ZOE)
    assert _held(book) == []
    assert _actions(book)[0] == "added"
    assert _actions(book)[-1] == "removed"


def test_a_removed_refusal_is_erased_without_a_trace_of_the_address(book: Suppressions) -> None:
    """What no longer holds needs no hash."""
    book.add(_entry())
    book.remove(ADDRESS, ZOE)
    assert book.erase(ZOE) == 1
    assert book.page(Wanted(with_over=True)) == ()


def test_erasing_needs_a_key(book: Suppressions) -> None:
    """Without it the person would be mailed again."""
    keyless = Suppressions(store=book.store, tenant_id="a")
    with pytest.raises(ConfigError) as caught:
        keyless.erase(ZOE)
    assert caught.value.key == "erasure_key"
    assert "012345" not in repr(book)


def test_pages_follow_each_other_without_a_gap(
    book: Suppressions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list longer than a page, with several rows of one address, is read whole."""
    monkeypatch.setattr(module, "PAGE_MAX", 3)
    entries = [_entry(value=f"u{n}@mail.example") for n in range(5)]
    entries += [
        _entry(value="u2@mail.example", scope=SuppressionScope.ADDRESS_STREAM, stream=stream)
        for stream in Stream
    ]
    book.add_many(entries)
    found = [(one.entry.value, one.entry.scope, one.entry.stream) for one in book.every(Wanted())]
    assert len(found) == len(set(found)) == 8


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (Wanted(), 3),
        (Wanted(scope=SuppressionScope.DOMAIN), 1),
        (Wanted(stream=Stream.BULK), 1),
        (Wanted(reason=SuppressionReason.MANUAL), 2),
        (Wanted(with_over=True), 4),
    ],
)
def test_a_list_can_be_narrowed(book: Suppressions, wanted: Wanted, count: int) -> None:
    """By scope, stream, reason and whether it still holds."""
    book.add(_entry())
    book.add(_entry(scope=SuppressionScope.DOMAIN, value="bad.example"))
    book.add(
        _entry(
            scope=SuppressionScope.ADDRESS_STREAM, stream=Stream.BULK,
            reason=SuppressionReason.UNSUBSCRIBE,
        )
    )  # fmt: skip
    book.add(_entry(value="old@mail.example", expires_at=PAST))
    assert len(book.page(wanted)) == count


def test_who_acts_is_not_an_address(book: Suppressions) -> None:
    """The history outlives people."""
    with pytest.raises(SendError):
        Suppressions(store=book.store, tenant_id="a", by="ann@shop.example")
