"""Planning: a second run changes nothing, and what somebody edited is never lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from applications import APPLICATIONS, tree, write
from generated import MANY
from mailglass import ConfigError
from mailglass.installer import (
    MANIFEST,
    Action,
    Framework,
    Plan,
    Project,
    apply,
    plan,
    plan_removal,
    read_project,
)
from mailglass.installer.blocks import put, take_out
from mailglass.installer.catalogue import Piece, pieces

SETTINGS = "shop/settings.py"
MAIL = "mails/welcome.py"
EMPTY = Project(
    framework=Framework.DJANGO, package="mails", module="mails", settings=SETTINGS,
    texts={SETTINGS: "INSTALLED_APPS = []\n"},
)  # fmt: skip


def _after(project: Project, steps: Plan) -> Project:
    texts = dict(project.texts)
    for path, text in steps.changes.items():
        if text is None:
            texts.pop(path)
        else:
            texts[path] = text
    return replace(project, texts=texts)


def _newer(project: Project) -> list[Piece]:
    return [replace(one, text=f"{one.text}# newer\n") for one in pieces(project)]


INSTALLED = _after(EMPTY, plan(EMPTY))


def _edited(project: Project, **texts: str) -> Project:
    names = {"mail": MAIL, "settings": SETTINGS}
    return replace(
        project, texts=dict(project.texts) | {names[key]: text for key, text in texts.items()}
    )


def test_a_second_run_changes_nothing() -> None:
    """Not even the manifest."""
    again = plan(INSTALLED)
    assert again.changes == {}
    assert {one.action for one in again.steps} == {Action.KEEP}


def test_a_newer_text_replaces_what_nobody_edited() -> None:
    """Files and blocks alike; what surrounds a block stays."""
    steps = plan(INSTALLED, wanted=_newer(EMPTY))
    after = _after(INSTALLED, steps)
    assert not steps.conflicts
    assert after.texts[MAIL].endswith("# newer\n")
    assert after.texts[SETTINGS].startswith("INSTALLED_APPS = []\n")
    assert "# newer\n# <<< mailglass settings" in after.texts[SETTINGS]
    assert plan(after, wanted=_newer(EMPTY)).changes == {}


def test_an_edited_file_is_left_alone_while_nothing_is_new() -> None:
    """An edit alone is no conflict."""
    steps = plan(_edited(INSTALLED, mail="mine\n"))
    assert steps.changes == {}
    assert not steps.conflicts


def test_a_newer_text_goes_beside_an_edited_one() -> None:
    """The list says what to do; once the text beside is deleted the matter is closed."""
    mine = _edited(INSTALLED, mail="mine\n")
    steps = plan(mine, wanted=_newer(EMPTY))
    after = _after(mine, steps)
    assert [one.path for one in steps.conflicts] == [MAIL]
    assert f"merge {MAIL}.mailglass-new into it, then delete" in steps.conflicts[0].reason
    assert after.texts[MAIL] == "mine\n"
    assert after.texts[f"{MAIL}.mailglass-new"].endswith("# newer\n")
    again = plan(after, wanted=_newer(EMPTY))
    assert again.changes == {}
    assert again.conflicts
    merged = dict(after.texts)
    del merged[f"{MAIL}.mailglass-new"]
    closed = plan(replace(after, texts=merged), wanted=_newer(EMPTY))
    assert closed.changes == {}
    assert not closed.conflicts


def test_a_file_that_was_there_before_is_never_taken() -> None:
    """A first install meets a file of the same name."""
    steps = plan(_edited(EMPTY, mail="mine\n"))
    after = _after(_edited(EMPTY, mail="mine\n"), steps)
    assert after.texts[MAIL] == "mine\n"
    assert [one.path for one in steps.conflicts] == [MAIL]


def test_what_somebody_deleted_stays_deleted() -> None:
    """Unless it is forced."""
    texts = {path: text for path, text in INSTALLED.texts.items() if path != MAIL}
    gone = replace(INSTALLED, texts=texts)
    assert plan(gone).changes == {}
    assert MAIL in plan(gone, is_forced=True).changes


def test_force_keeps_the_edited_text_under_another_name() -> None:
    """Nothing is lost even then, nor when it is forced twice."""
    mine = _edited(INSTALLED, mail="mine\n")
    after = _after(mine, plan(mine, is_forced=True))
    assert after.texts[f"{MAIL}.mailglass-old"] == "mine\n"
    assert after.texts[MAIL] == INSTALLED.texts[MAIL]
    twice = _edited(after, mail="mine again\n")
    again = _after(twice, plan(twice, is_forced=True))
    assert again.texts[f"{MAIL}.mailglass-old"] == "mine\n"
    assert again.texts[f"{MAIL}.mailglass-old-2"] == "mine again\n"


def test_damaged_marks_are_a_conflict() -> None:
    """It cannot be known what is whose."""
    broken = INSTALLED.texts[SETTINGS].replace("# <<< mailglass settings\n", "")
    steps = plan(_edited(INSTALLED, settings=broken))
    assert [one.path for one in steps.conflicts] == [SETTINGS]
    assert SETTINGS not in steps.changes


def test_removal_takes_what_was_written_and_nothing_else() -> None:
    """The settings are as they were before."""
    steps = plan_removal(INSTALLED)
    assert not steps.conflicts
    assert _after(INSTALLED, steps).texts == EMPTY.texts


def test_removal_leaves_what_was_edited() -> None:
    """And says so."""
    mine = _edited(INSTALLED, mail="mine\n")
    steps = plan_removal(mine)
    assert [one.path for one in steps.conflicts] == [MAIL]
    assert _after(mine, steps).texts == {**EMPTY.texts, MAIL: "mine\n"}


def test_a_manifest_that_cannot_be_read_stops_everything() -> None:
    """Without it nobody knows what was edited."""
    with pytest.raises(ConfigError, match="cannot be read"):
        plan(replace(INSTALLED, texts=dict(INSTALLED.texts) | {MANIFEST: "format = 9"}))


@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"])), inside=st.just("x = 1\n"))
def test_a_block_comes_out_as_it_went_in(text: str, inside: str) -> None:
    """But for a line end that a text of the user's lacked."""
    if "mailglass block" in text:
        return
    assert take_out(put(text, "block", inside), "block") in {text, f"{text}\n"}


EDITS = st.dictionaries(
    st.sampled_from(sorted({*INSTALLED.texts, f"{MAIL}.mailglass-new", f"{MAIL}.mailglass-old"} - {MANIFEST})),
    st.one_of(st.none(), st.text(max_size=40), st.just("# >>> mailglass settings: x\n"), st.just("same\n")),
    max_size=6,
)  # fmt: skip
RUNS = st.lists(st.tuples(st.booleans(), st.booleans(), EDITS), min_size=1, max_size=5)


def _mine(texts: Mapping[str, str], made: set[str]) -> set[str]:
    """Return the texts that no run has written, but a person."""
    return {text for path, text in texts.items() if path != MANIFEST and text not in made}


@settings(parent=MANY, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine
@given(runs=RUNS)
def test_an_edit_is_never_lost(runs: list[tuple[bool, bool, dict[str, str | None]]]) -> None:
    """Whatever is edited, deleted, renewed and forced, in whatever order."""
    project, made = INSTALLED, set(INSTALLED.texts.values())
    for is_newer, is_forced, edits in runs:
        texts = dict(project.texts)
        for path, text in edits.items():
            if text is None:
                texts.pop(path, None)
            else:
                texts[path] = text
        project = replace(project, texts=texts)
        before = _mine(texts, made)
        wanted = _newer(EMPTY) if is_newer else None
        steps = plan(project, wanted=wanted, is_forced=is_forced)
        project = _after(project, steps)
        kept = list(project.texts.values())
        assert all(any(text in one or text.rstrip("\n") in one for one in kept) for text in before)
        assert plan(project, wanted=wanted).changes == {}
        made |= {text for text in steps.changes.values() if text is not None and text not in before}


def test_apply_writes_below_the_folder_alone(tmp_path: Path) -> None:
    """A link out of the project is refused before anything is written."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    root = tmp_path / "app"
    root.mkdir()
    (root / "mails").symlink_to(elsewhere)
    with pytest.raises(ConfigError, match="link"):
        apply(plan(read_project(root)), root)
    assert tree(root) == {}
    assert list(elsewhere.iterdir()) == []


def test_line_ends_modes_and_strange_bytes_of_the_user_stay(tmp_path: Path) -> None:
    """Only the block is added."""
    write(tmp_path, APPLICATIONS["django"])
    file = tmp_path / SETTINGS
    raw = b"# caf\xe9\r\nINSTALLED_APPS = []\r\n"
    file.write_bytes(raw)
    file.chmod(0o640)
    apply(plan(read_project(tmp_path)), tmp_path)
    assert file.read_bytes().startswith(raw)
    assert file.stat().st_mode & 0o777 == 0o640
    apply(plan_removal(read_project(tmp_path)), tmp_path)
    assert file.read_bytes() == raw
    file.write_text("", "utf-8")
    assert tree(tmp_path).keys() == APPLICATIONS["django"].keys()
