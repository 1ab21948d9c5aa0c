"""Macros in compiled templates: each call gets the styles of its place, or a reason why it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from component_cases import PAGE, PARTS
from front_desk import write_templates
from mailglass import TemplateError
from mailglass.errors import TemplateErrorType
from mailglass.rendering.compiling.compiled import Mode
from mailglass.rendering.compiling.engines import Engine
from mailglass.rendering.components import Theme
from mailglass.rendering.plaintext import plain_text
from mailglass.rendering.templates import Templates

NAME = "mail.html.jinja"
SHEET = "<style>p{color:red}.box p{color:blue}.a{top:0}.b{top:1px}td{width:40px}</style>"
PARTS_FILE = (
    "{% set kinds = {'x': ('a', 'p'), 'y': ('b', 'h1')} %}\n"
    "{% macro line(s) %}<p>{{ s }}</p>{% endmacro %}\n"
    "{% macro box() %}<div class=box>{{ caller() }}</div>{% endmacro %}\n"
    "{% macro kind(k, s=none) %}{% set name, tag = kinds[k] %}\n"
    '<{{ tag }} class="{{ name }}">{{ caller() if s is none else s }}</{{ tag }}>{% endmacro %}'
)
IMPORT = "{% import 'parts.html.jinja' as m %}"
VALUES: dict[str, Any] = {"n": "<Zoë>", "yes": True, "rows": ["1", "2"], "k": "x"}


def _pages(folder: Path, source: str, engine: Engine = Engine.PREMAILER) -> Templates:
    return Templates(
        [write_templates(folder, mail__html=SHEET + source, parts__html=PARTS_FILE)], engine
    )


def _compiled(folder: Path, source: str) -> str:
    """Return a mail that was compiled, after comparing it with the same mail inlined."""
    for engine in Engine:
        templates = _pages(folder, source, engine)
        assert templates.compiled(NAME).report.reasons == ()
        assert templates.compiled(NAME).text is not None
        html, text = templates.render_mail(NAME, VALUES)
        assert html == templates.inlined(NAME, VALUES)
        assert text == plain_text(html)
    return html.removeprefix(SHEET)


def test_each_call_of_a_macro_has_the_styles_of_its_place(tmp_path: Path) -> None:
    """The same macro inside and outside of a scope."""
    html = _compiled(tmp_path, IMPORT + "{{ m.line(n) }}<div class=box>{{ m.line(n) }}</div>")
    assert html == (
        '<p style="color:red">&lt;Zoë&gt;</p><div class=box><p style="color:blue">&lt;Zoë&gt;</p></div>'
    )


def test_a_call_block_is_styled_inside_the_macro(tmp_path: Path) -> None:
    """What stands between call and endcall gets the macro's scope, and keeps its own variables."""
    html = _compiled(tmp_path, IMPORT + "{% call m.box() %}<p>{{ n }}</p>{% endcall %}")
    assert html == '<div class=box><p style="color:blue">&lt;Zoë&gt;</p></div>'


def test_components_nest(tmp_path: Path) -> None:
    """Macros called in call blocks, in loops, in other macros and in conditions."""
    body = (
        "{% from 'parts.html.jinja' import box, line as one %}"
        "{% macro own(s) %}<div>{{ one(s) }}</div>{% endmacro %}"
        "{% call box() %}{% call box() %}{{ own(n) }}{% endcall %}"
        "{% for row in rows %}{{ one(row) if yes else own(row) }}{% endfor %}{% endcall %}{{ own(n) }}"
    )
    html = _compiled(tmp_path, body)
    assert html.count("color:blue") == 3
    assert html.endswith('<div><p style="color:red">&lt;Zoë&gt;</p></div>')


def test_constant_arguments_decide_about_tags_and_classes(tmp_path: Path) -> None:
    """A tag or class that a constant gives is as good as one that is written."""
    html = _compiled(tmp_path, IMPORT + "{{ m.kind('x', n) }}{% call m.kind('y') %}t{% endcall %}")
    assert html == (
        '\n<p class="a" style="color:red;top:0">&lt;Zoë&gt;</p>\n<h1 class="b" style="top:1px">t</h1>'
    )


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{{ m.kind(k, n) }}", "parts.html.jinja line 5: a dynamic tag name"),
        ("{{ m.line(m.line(n)) }}", "line 1: the HTML of a macro is used as a value"),
        ("{{ m.line(n)|upper }}", "line 1: the HTML of a macro is used as a value"),
        ("{{ m.line(*rows) }}", "line 1: a macro is called with arguments that it does not name"),
        ("{{ m.line(n, 2) }}", "line 1: a macro is called with arguments that it does not name"),
        ("{% macro any() %}{{ varargs }}{% endmacro %}{{ any() }}", "takes any arguments (varargs)"),
        ("{% macro f(i) %}{% if i %}{{ f(0) }}{% endif %}{% endmacro %}{{ f(1) }}", "calls itself"),
        ("{% import n as x %}", "which file is imported is known only when the mail is rendered"),
        ("{% if yes %}{% import 'parts.html.jinja' as x %}{% endif %}", "an import inside something"),
        ("{% set l = m.line %}{{ l(n) }}", "a macro is used as a value"),
        ("{% call n.x() %}{% endcall %}", "which macro a call block calls cannot be read"),
    ],
)  # fmt: skip
def test_what_cannot_be_compiled_says_why(tmp_path: Path, source: str, reason: str) -> None:
    """The template falls back, with the file and line."""
    report = _pages(tmp_path, IMPORT + source).compiled(NAME).report
    assert report.mode is Mode.FALLBACK
    assert any(one.endswith(reason) or reason in one for one in report.reasons), report.reasons


def test_an_error_in_a_macro_names_its_file_and_line(tmp_path: Path) -> None:
    """Also in the variant of a macro that was styled for its place."""
    source = IMPORT + "{{ m.line(n) }}\n{% call m.box() %}\n{{ nmae }}{% endcall %}"
    with pytest.raises(TemplateError) as caught:
        _pages(tmp_path, source).render_mail(NAME, VALUES)
    assert (caught.value.template, caught.value.line, caught.value.assign) == (NAME, 3, "nmae")
    (tmp_path / "wrong").mkdir()
    templates = _pages(tmp_path / "wrong", IMPORT + "{{ m.kind('x') }}")
    with pytest.raises(TemplateError) as caught:
        templates.render_mail(NAME, VALUES)
    assert (caught.value.template, caught.value.line) == ("parts.html.jinja", 5)


def test_a_mail_with_a_variable_named_as_a_constant_is_inlined(tmp_path: Path) -> None:
    """The theme of the environment was written into the template; this mail brings another."""
    source = '<p style="font-size:{{ theme.width_px }}px">{{ n }}</p>'
    templates = _pages(tmp_path, source)
    assert templates.compiled(NAME).report.reasons == ()
    values = VALUES | {"theme": Theme(width_px=480)}
    html, text = templates.render_mail(NAME, values)
    assert html == templates.inlined(NAME, values)
    assert "font-size:480px" in html
    assert text == plain_text(html)


@pytest.mark.parametrize("name", [*PARTS, "layout"])
@pytest.mark.parametrize(
    "sheet", ["", "<style>p{outline:0}.mg-text{margin:0}table p{top:0}</style>"]
)
def test_every_component_compiles(tmp_path: Path, name: str, sheet: str) -> None:
    """With the author's rules and without; the text is derived, too."""
    source = (
        sheet
        + '{% import "mailglass/components.html.jinja" as mg %}'
        + (PARTS | {"layout": PAGE})[name]
    )
    (tmp_path / NAME).write_text(source, "utf-8")
    for engine in Engine:
        templates = Templates([tmp_path], engine)
        assert templates.compiled(NAME).report.reasons == ()
        assert templates.compiled(NAME).text is not None
        html, text = templates.render_mail(NAME, {})
        assert html == templates.inlined(NAME, {})
        assert text == plain_text(html)


@pytest.mark.parametrize("yes", [True, False])
@pytest.mark.parametrize("attribute", [
    'class="{{ \'a\' if yes else \'b\' }}"', 'class="x {% if yes %}a{% else %}b{% endif %}" style="color:lime"',
    'class="{% if yes %}a{% endif %}"', 'class="{{ {true: \'a\', false: \'b\'}[yes] }}"',
])  # fmt: skip
def test_a_class_of_a_few_values_is_compiled(tmp_path: Path, attribute: str, yes: bool) -> None:  # noqa: FBT001 - a case
    """Each value has its own styles, and is found out by the same condition."""
    templates = _pages(
        tmp_path, f"{{% for i in rows %}}<p {attribute}>{{{{ i }}}}</p>{{% endfor %}}"
    )
    assert templates.compiled(NAME).report.reasons == ()
    assert templates.compiled(NAME).text is not None
    values = VALUES | {"yes": yes}
    html, text = templates.render_mail(NAME, values)
    assert html == templates.inlined(NAME, values)
    assert text == plain_text(html)
    assert ("top:0" in html.removeprefix(SHEET)) is yes


def test_a_cycle_of_classes_is_compiled(tmp_path: Path) -> None:
    """Striped rows are written this way."""
    html = _compiled(
        tmp_path, "{% for i in rows %}<b class=\"{{ loop.cycle('a', 'b') }}\">x</b>{% endfor %}"
    )
    assert html == '<b class="a" style="top:0">x</b><b class="b" style="top:1px">x</b>'


@pytest.mark.parametrize(
    "source",
    ["<p class=\"{{ 'box' if yes else '' }}\">x</p>", '<p class="{{ k }}">x</p>'],
)
def test_a_class_that_decides_for_others_falls_back(tmp_path: Path, source: str) -> None:
    """A scope that is there or not, and a class that only the mail knows."""
    report = _pages(tmp_path, source).compiled(NAME).report
    assert report.reasons == (f"{NAME} line 1: a dynamic class, which selectors look at",)


def test_a_constant_that_two_files_set_is_none(tmp_path: Path) -> None:
    """The layout's own value is the last, also inside the blocks of the mail."""
    base = f"{SHEET}{{% set kind = 'a' %}}{{% block body %}}{{% endblock %}}"
    mail = (
        "{% extends 'base.html.jinja' %}{% set kind = 'b' %}"
        '{% block body %}<b class="{{ kind }}">x</b>{% endblock %}'
    )
    templates = Templates([write_templates(tmp_path, mail__html=mail, base__html=base)])
    assert f"{NAME}: kind is set in base.html.jinja, too" in templates.compiled(NAME).report.reasons
    assert templates.render_mail(NAME, {})[0] == templates.inlined(NAME, {})


def test_a_call_block_does_not_hand_on_the_content_of_another(tmp_path: Path) -> None:
    """Jinja gives a call block no caller of its own, and a compiled template says the same."""
    body = (
        IMPORT + "{% macro outer() %}{% call m.box() %}{{ caller() }}{% endcall %}{% endmacro %}"
        "{% call outer() %}<p>{{ n }}</p>{% endcall %}"
    )
    templates = _pages(tmp_path, body)
    assert templates.compiled(NAME).report.reasons == ()
    for render in (templates.render_mail, templates.inlined):
        with pytest.raises(TemplateError) as caught:
            render(NAME, VALUES)
        assert caught.value.type is TemplateErrorType.MISSING_ASSIGN


@pytest.mark.parametrize(
    "source",
    [
        '<b class="{{ locale }}">x</b>{% set locale = "a" %}',
        '{% macro q(locale) %}<b class="{{ locale }}">x</b>{% endmacro %}{{ q(k) }}',
        '{% for locale in rows %}<b class="{{ locale }}">x</b>{% endfor %}',
    ],
)
def test_a_name_that_is_bound_elsewhere_is_no_constant(tmp_path: Path, source: str) -> None:
    """Before it is set, as an argument, or in a loop, it is what the mail says."""
    templates = _pages(tmp_path, source)
    values = VALUES | {"locale": "b", "k": "a", "rows": ["b"]}
    html, _ = templates.render_mail(NAME, values)
    assert html == templates.inlined(NAME, values)
    assert templates.compiled(NAME).report.mode is Mode.FALLBACK
