"""Compile-once inlining: what is compiled equals what is rendered and then inlined, or says why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from markupsafe import Markup

import random_templates
from front_desk import write_templates
from generated import MANY
from mailglass.rendering.compiling.compiled import Mode
from mailglass.rendering.compiling.engines import Engine
from mailglass.rendering.plaintext import plain_text
from mailglass.rendering.templates import Templates
from same_mail import tree
from template_cases import CASES, FLAGGED, FLAGGED_BY_SOME

NAME = "mail.html.jinja"
DATA: dict[str, Any] = {
    "name": "Zoë & <b>co</b>\"'", "url": "https://x.example/?a=1&b=2", "yes": True, "no": False,
    "items": [{"name": "one", "url": "https://x.example"}, {"name": "two", "url": "/"}],
    "cls": "a", "ident": "i", "colour": "blue", "share": 40, "tag": "p", "one": 1, "dashes": "--",
    "rows": "<tr><td>x</td></tr>", "block": "<p class=a>x</p>", "markup": Markup("<p class=a>x</p>"),
    "markup_rows": Markup("<tr><td>x</td></tr>"),
    "tree": [{"below": [{"below": []}]}],
}  # fmt: skip


def _templates(folder: Path, engine: Engine = Engine.PREMAILER, **files: str) -> Templates:
    return Templates([write_templates(folder, **files)], engine)


@pytest.mark.parametrize("engine", list(Engine))
@pytest.mark.parametrize("case", list(CASES))
def test_a_construct_is_equal_or_flagged(tmp_path: Path, case: str, engine: Engine) -> None:
    """Never a mail that differs from one that is inlined after rendering."""
    sheet, body = CASES[case]
    templates = _templates(tmp_path, engine, mail__html=f"<style>{sheet}</style>{body}")
    report = templates.compiled(NAME).report
    assert (report.mode is Mode.FALLBACK) == bool(report.reasons)
    if case not in FLAGGED_BY_SOME:
        assert (case in FLAGGED) == (report.mode is Mode.FALLBACK), report.reasons
    compiled, text = templates.render_mail(NAME, DATA)
    inlined = templates.inlined(NAME, DATA)
    assert compiled == inlined
    assert text == plain_text(inlined)
    assert tree(compiled) == tree(inlined)


def _check_one(
    folder: Path, engine: Engine, sources: dict[str, str], values: dict[str, Any]
) -> str:
    """Compare one mail both ways; return how its template was treated."""
    templates = _templates(folder, engine, **sources)
    report = templates.compiled(NAME).report
    if report.mode is Mode.FALLBACK:
        return "fallback"
    compiled, text = templates.render_mail(NAME, values)
    inlined = templates.inlined(NAME, values)
    assert compiled == inlined
    assert tree(compiled) == tree(inlined)
    assert text == plain_text(inlined)
    if templates.compiled(NAME).text is not None:
        event("text derived")
    return "compiled" if compiled != templates.render(NAME, values) else "compiled, unstyled"


@MANY
@given(
    sheet=random_templates.sheets, body=random_templates.bodies, part=random_templates.bodies,
    shape=st.integers(0, 3), values=random_templates.values, engine=st.sampled_from(Engine),
)  # fmt: skip
def test_compiling_changes_no_mail(  # noqa: PLR0913, PLR0917 - one parameter for each thing that varies
    tmp_path_factory: pytest.TempPathFactory,
    sheet: str, body: str, part: str, shape: int, values: dict[str, Any], engine: Engine,
) -> None:  # fmt: skip
    """Random templates, sheets and data: compiled and rendered equals rendered and inlined."""
    sources = random_templates.files(sheet, body, part, shape)
    event(_check_one(tmp_path_factory.getbasetemp(), engine, sources, values))


@MANY
@given(
    sheet=random_templates.sheets, body=random_templates.calling_bodies, one=random_templates.bodies,
    other=random_templates.bodies, shape=st.integers(0, 3), values=random_templates.values,
    engine=st.sampled_from(Engine),
)  # fmt: skip
def test_compiling_macros_changes_no_mail(  # noqa: PLR0913, PLR0917 - as above
    tmp_path_factory: pytest.TempPathFactory,
    sheet: str, body: str, one: str, other: str, shape: int, values: dict[str, Any], engine: Engine,
) -> None:  # fmt: skip
    """Random macros, imported and called anywhere: compiled equals rendered and inlined."""
    sources = random_templates.files(sheet, body, "<p>{{ s }}</p>", shape)
    sources = random_templates.calling_files(sources, one, other)
    event(_check_one(tmp_path_factory.getbasetemp(), engine, sources, values))
