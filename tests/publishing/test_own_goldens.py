"""What mailglass promises, as a person reviewed it: schema, public names, commands, migrations.

``scripts/publish-check`` runs this; with ``--accept`` it writes the goldens, and nothing else does.
"""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest

from api_listing import MODULES, api_text
from command_help import help_texts
from frozen_migrations import broken, migrations_text
from mailglass import __version__
from mailglass.ledger.migrations import Migration, migrations
from own_goldens import ACCEPTS, check_folder, check_one, kept
from schema_dump import schema_text
from tests_paths import ROOT


def test_the_schema_is_what_was_reviewed(database_url: str) -> None:
    """Tables, constraints, indexes, triggers with their state, functions and rights."""
    check_one("schema.sql", schema_text(database_url))


@pytest.mark.tampers
@pytest.mark.parametrize(
    ("statement", "line"),
    [
        ("alter table mailglass.deliveries add column note text", "+    note text,"),
        ("alter table mailglass.deliveries enable trigger deliveries_refuse_delete",
         "-alter table mailglass.deliveries enable always trigger deliveries_refuse_delete;"),
        ("drop index mailglass.deliveries_by_address", "-CREATE INDEX deliveries_by_address"),
        ("alter table mailglass.deliveries drop constraint deliveries_kind_check",
         "-    constraint deliveries_kind_check"),
        ("grant delete on mailglass.deliveries to mailglass_app",
         "+grant DELETE, INSERT, SELECT, UPDATE on table mailglass.deliveries to mailglass_app;"),
        ("grant select (payload) on mailglass.messages to public",
         "+grant SELECT on column mailglass.messages.payload to public;"),
        ("create or replace function mailglass.suppression_rank(reason text) returns integer "
         "language sql immutable as 'select 0'", "-    owner mailglass_owner -- body sha256 "),
        ("alter event trigger mailglass_refuse_drop disable",
         "+alter event trigger mailglass_refuse_drop disable;"),
        ("alter table mailglass.messages owner to current_user",
         "+alter table mailglass.messages owner to CURRENT_USER;"),
        ("alter table mailglass.messages enable row level security",
         "+alter table mailglass.messages enable row level security;"),
    ],
)  # fmt: skip
def test_a_planted_change_of_the_schema_is_seen(
    statement: str, line: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each kind of thing that the dump is about."""
    monkeypatch.delenv(ACCEPTS, raising=False)
    with psycopg.connect(database_url, autocommit=True) as superuser:
        for name in ("ddl", "drop", "rewrite"):
            superuser.execute(f"alter event trigger mailglass_refuse_{name} disable".encode())
        superuser.execute(statement.encode())
        for name in ("ddl", "drop", "rewrite"):
            if f"mailglass_refuse_{name}" not in statement:
                superuser.execute(
                    f"alter event trigger mailglass_refuse_{name} enable always".encode()
                )
    with pytest.raises(AssertionError) as caught:
        check_one("schema.sql", schema_text(database_url))
    assert f"\n{line}" in str(caught.value)


def test_the_public_names_are_what_was_reviewed() -> None:
    """Every name that docs/api_stability.md promises, with its signature."""
    check_one("api.txt", api_text())


def test_every_module_that_is_promised_is_listed() -> None:
    """The page names modules; each is in the listing, or those below it are."""
    page = (ROOT / "docs" / "api_stability.md").read_text("utf-8")
    promised = page.partition("Also stable: ")[2].partition("\n\n")[0]
    modules = set(re.findall(r"`(mailglass\.[a-z_.]+[a-z])", promised))
    assert "mailglass.contrib" in modules
    assert [one for one in sorted(modules) if not any(
        module == one or module.startswith(f"{one}.") for module in MODULES
    )] == []  # fmt: skip


def test_the_help_of_every_command_is_what_was_reviewed() -> None:
    """What people read and scripts rely on."""
    check_folder("cli", help_texts())


def test_migrations_are_listed_and_released_ones_unchanged() -> None:
    """Whoever migrated once must never find another text under the same name."""
    before = kept("migrations.txt")
    assert broken(migrations(), before, version=__version__) == {}
    check_one("migrations.txt", migrations_text(migrations(), before, version=__version__))


def test_a_released_migration_that_changes_cannot_be_accepted() -> None:
    """Before the release its hash may change; after it neither an edit nor a removal is taken."""
    first, second = (Migration(name=f"000{n}_x", text=f"select {n};") for n in (1, 2))
    edited = Migration(name=first.name, text="select 3;")
    released = migrations_text([first], "", version="1.0.0")
    assert migrations_text([edited], released, version="1.0.0") != released
    assert broken([edited], released, version="1.0.0") == {}
    assert broken([edited, second], released, version="1.1.0") == {
        "0001_x": "it was released with 1.0.0 and changed"
    }
    assert broken([second], released, version="1.1.0") == {"0001_x": "it is gone"}
    later = migrations_text([edited, second], released, version="1.1.0")
    assert later == released + f"{second.sha256.hex()} 1.1.0 0002_x\n"


def test_nothing_is_written_unless_it_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A new, a changed and a stale golden are told; accepted, the difference is shown first."""
    monkeypatch.delenv(ACCEPTS, raising=False)
    (tmp_path / "cli").mkdir()
    (tmp_path / "cli" / "a.txt").write_text("old\n", "utf-8")
    (tmp_path / "cli" / "b.txt").write_text("stale\n", "utf-8")
    made = {"a.txt": "new\n", "c.txt": "more\n"}
    with pytest.raises(AssertionError, match=r"changed a\.txt, stale b\.txt, new c\.txt"):
        check_folder("cli", made, goldens=tmp_path)
    assert kept("cli/a.txt", goldens=tmp_path) == "old\n"
    monkeypatch.setenv(ACCEPTS, "1")
    check_folder("cli", made, goldens=tmp_path)
    assert "-old\n+new\n" in capsys.readouterr().out
    monkeypatch.delenv(ACCEPTS)
    check_folder("cli", made, goldens=tmp_path)
    with pytest.raises(AssertionError, match="new none"):
        check_one("none", "x", goldens=tmp_path)
