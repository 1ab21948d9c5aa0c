"""Merging against a model: whatever is added and removed in whatever order, the list is what it should be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailglass import Suppression, SuppressionReason, SuppressionScope
from mailglass.ledger import migrations
from mailglass.ledger.store import Store
from mailglass.ledger.suppressions import Suppressions, Wanted
from mailglass.message import Stream

ZOE = "zoe@mail.example"
NOW = datetime.now(UTC)
ENDS = {
    "never": None,
    "over": NOW - timedelta(days=1),
    "soon": NOW + timedelta(days=1),
    "late": NOW + timedelta(days=2),
}
RANK = {SuppressionReason.COMPLAINT: 3, SuppressionReason.UNSUBSCRIBE: 2}


@dataclass(frozen=True, slots=True)
class Held:
    """What the model holds: a reason, its end, and whether somebody removed it."""

    reason: SuppressionReason
    ends: str
    is_removed: bool = False


Step = tuple[SuppressionReason, str] | None
"""Adds a reason with an end, or, as None, removes with force."""


def _steps() -> st.SearchStrategy[list[Step]]:
    added = st.tuples(st.sampled_from(list(SuppressionReason)), st.sampled_from(list(ENDS))).filter(
        lambda step: step[0] is not SuppressionReason.COMPLAINT or step[1] == "never"
    )
    return st.lists(st.one_of(added, st.none()), min_size=1, max_size=6)


def _after(held: Held | None, step: Step) -> Held | None:
    """Say in other words than SQL what a step makes of what is held."""
    if step is None:
        return Held(held.reason, held.ends, is_removed=True) if held else None
    reason, ends = step
    if held is None or held.is_removed or held.ends == "over":
        return Held(reason, ends)
    order = ("over", "soon", "late", "never")
    longer = max(held.ends, ends, key=order.index)
    stronger = RANK.get(reason, 1) - RANK.get(held.reason, 1)
    softens = held.ends == "never" and ends != "never"
    takes = stronger > 0 or (stronger == 0 and not softens)
    return Held(reason if takes else held.reason, longer)


@given(steps=_steps())
@settings(
    max_examples=60,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_order_of_steps_ends_as_the_model_says(database_url: str, steps: list[Step]) -> None:
    """No step ever fails, none frees somebody whom an earlier one holds for longer or more strongly."""
    with Store(database_url, role="mailglass_app") as store:
        book = Suppressions(store=store, tenant_id=uuid4().hex, by="ann")
        held: Held | None = None
        for step in steps:
            held = _after(held, step)
            if step is None:
                book.remove(SuppressionScope.ADDRESS, ZOE, why="asked", force=True)
                continue
            book.add(
                Suppression(
                    scope=SuppressionScope.ADDRESS, value=ZOE, reason=step[0], source="test",
                    expires_at=ENDS[step[1]],
                )
            )  # fmt: skip
        found = book.page(Wanted(with_over=True))
        if held is None:
            assert found == ()
            return
        (listed,) = found
        assert (listed.entry.reason, listed.entry.expires_at) == (held.reason, ENDS[held.ends])
        assert (listed.removed_at is not None) == held.is_removed
        holds = not held.is_removed and held.ends != "over"
        assert bool(book.matching([ZOE], Stream.BULK)) == holds


@pytest.fixture
def older_url(postgres_server: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return a database as it was before suppressions had a history."""
    name = f"mg_test_{uuid4().hex}"
    postgres_server.execute("CREATE DATABASE {name}", name=name)  # type: ignore[attr-defined]  # a TestServer
    url = postgres_server.url(name)  # type: ignore[attr-defined]  # a TestServer
    all_of_them = migrations.migrations()
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "migrations", lambda: all_of_them[:2])
        migrations.migrate(url)
    try:
        yield url
    finally:
        postgres_server.drop(name)  # type: ignore[attr-defined]  # a TestServer


def test_a_list_from_before_is_kept(older_url: str) -> None:
    """What was refused stays refused, and its history begins with the first change."""
    with psycopg.connect(older_url, autocommit=True) as owner:
        owner.execute(
            "insert into mailglass.suppressions (id, tenant_id, scope, value, reason, source)"
            " values (gen_random_uuid(), 'a', 'address', %s, 'manual', 'before')",
            (ZOE,),
        )
    assert "0003_suppressions" in migrations.migrate(older_url)
    with Store(older_url, role="mailglass_app") as store:
        book = Suppressions(store=store, tenant_id="a", by="ann")
        assert [one.source for one in book.matching([ZOE], Stream.BULK)] == ["before"]
        book.remove(SuppressionScope.ADDRESS, ZOE)
        assert [one.action for one in book.history(SuppressionScope.ADDRESS, ZOE)] == ["removed"]
