"""Translated blocks: ``{% trans %}`` is compiled once where it holds no tags, and says the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st
from jinja2 import Environment, TemplateSyntaxError

from front_desk import write_templates
from generated import MANY
from mailglass.errors import TemplateError
from mailglass.rendering.compiling.compiled import Mode
from mailglass.rendering.compiling.engines import Engine
from mailglass.rendering.compiling.translating import with_calls
from mailglass.rendering.plaintext import plain_text
from mailglass.rendering.templates import Templates

NAME: Final = "mail.html.jinja"
SHEET: Final = "<style>p{color:red}</style>"
DATA: Final[dict[str, Any]] = {
    "name": "Zoë <b>& co</b>", "count": 3, "one": 1, "order": {"total": 5, "lines": [1, 2]},
    "say": "100 %",
}  # fmt: skip
PLAIN: Final = (
    "{% trans %}Hello{% endtrans %}",
    '{% trans %}Dear {{ name }}, it\'s "here"{% endtrans %}',
    "{% trans %}100 % of {{ say }}{% endtrans %}",
    "{% trans %}a back\\slash and \\n no line{% endtrans %}",
    "{% trans user=name|upper, n=count + 1 %}{{ user }} has {{ n }}{% endtrans %}",
    "{% trans a='x, y', b=order['total'] %}{{ a }} {{ b }}{% endtrans %}",
    "{% trans 'greeting' %}Hello{% endtrans %}",
    '{% trans "greeting" user=name %}Hello {{ user }}{% endtrans %}',
    "{% trans trimmed %}\n  Two\n  lines\n{% endtrans %}",
    "{% trans %}\n  Two\n  lines\n{% endtrans %}",
    "{% trans count %}{{ count }} file{% pluralize %}{{ count }} files{% endtrans %}",
    "{% trans n=order.lines|length %}{{ n }} line{% pluralize %}{{ n }} lines{% endtrans %}",
    "{% trans num=one %}{{ num }} file{% pluralize %}{{ num }} files{% endtrans %}",
    "{% trans num=count, who=name %}{{ num }} of {{ who }}{% pluralize %}{{ num }}{% endtrans %}",
    "{% trans who=name, n=one %}{{ n }} of {{ who }}{% pluralize n %}{{ n }} by {{ who }}{% endtrans %}",
    "x {%- trans -%} tight {%- endtrans -%} x",
    "{% trans trimmed user=name %}\n Dear {{ user }}\n{% endtrans %}",
    "{% if count %}{% trans %}yes{% endtrans %}{% else %}{% trans %}no{% endtrans %}{% endif %}",
)
WITH_TAGS: Final = (
    "{% trans %}<b>Dear</b> {{ name }}{% endtrans %}",
    "{% trans %}this &amp; that{% endtrans %}",
    "{% trans count %}one{% pluralize %}<b>{{ count }}</b>{% endtrans %}",
    "{% trans n=order.lines.count(1) %}{{ n }} line{% pluralize %}{{ n }} lines{% endtrans %}",
)


def _templates(folder: Path, body: str) -> Templates:
    html = f"{SHEET}<p>{body}</p>"
    return Templates([write_templates(folder, mail__html=html)], Engine.PREMAILER)


def _check_equal(templates: Templates) -> None:
    compiled, text = templates.render_mail(NAME, DATA)
    inlined = templates.inlined(NAME, DATA)
    assert compiled == inlined
    assert text == plain_text(inlined)
    assert '<p style="color:red">' in compiled


@pytest.mark.parametrize("block", PLAIN)
def test_block_of_plain_text_is_compiled_and_equal(tmp_path: Path, block: str) -> None:
    """Translated templates cost what others do."""
    templates = _templates(tmp_path, block)
    assert templates.compiled(NAME).report.reasons == ()
    _check_equal(templates)


@pytest.mark.parametrize("block", WITH_TAGS)
def test_block_with_tags_or_a_call_is_inlined_in_each_mail(tmp_path: Path, block: str) -> None:
    """What a translator makes of its tags is not known before."""
    templates = _templates(tmp_path, block)
    assert templates.compiled(NAME).report.mode is Mode.FALLBACK
    _check_equal(templates)


def test_every_line_keeps_its_number() -> None:
    """An error below a block names the right line."""
    environment = Environment(extensions=["jinja2.ext.i18n"], autoescape=True)
    environment.newstyle_gettext = True  # type: ignore[attr-defined]  # set by the extension
    source = "a\n{% trans\n  user=name %}\nDear\n{{ user }}\n{% endtrans %}\nb"
    written = with_calls(environment, source)
    assert "trans" not in written
    assert written.count("\n") == source.count("\n")
    assert written.endswith("\nb")


def test_nothing_is_rewritten_where_jinja_strips_lines() -> None:
    """A newline behind a block would stay behind a call."""
    environment = Environment(extensions=["jinja2.ext.i18n"], trim_blocks=True, autoescape=True)
    environment.newstyle_gettext = True  # type: ignore[attr-defined]  # set by the extension
    source = "{% trans %}Hello{% endtrans %}\nb"
    assert with_calls(environment, source) == source


_texts: Final = st.text(st.sampled_from("ab %'\"\\\n(){},=ü[]%s"), max_size=12)
_values: Final = st.sampled_from(
    ["name", "count", "order.total", "'x, \\'y'", "[1, 2]|length", "1 == 2"]
)


@MANY
@given(
    context=st.sampled_from(["", "'menu' ", '"it\'s" ']),
    trimmed=st.sampled_from(["", "trimmed ", "notrimmed "]),
    given_=st.dictionaries(st.sampled_from(["a", "b", "num"]), _values, max_size=3),
    parts=st.lists(st.one_of(_texts, st.sampled_from(["{{ a }}", "{{ b }}", "{{ name }}"])), max_size=5),
    other=st.sampled_from(["", "{% pluralize %}more"]),
)  # fmt: skip
def test_any_block_says_what_it_said(  # noqa: PLR0913, PLR0917 - one parameter for each thing that varies
    tmp_path_factory: pytest.TempPathFactory,
    context: str,
    trimmed: str,
    given_: dict[str, str],
    parts: list[str],
    other: str,
) -> None:
    """Whatever stands in it: equal to the mail that is inlined after rendering."""
    body = "".join(parts).replace("{%", "").replace("{#", "")
    named = ", ".join(f"{name}={value}" for name, value in given_.items())
    block = f"{{% trans {context}{trimmed}{named} %}}{body}{other}{{% endtrans %}}"
    assume(_is_valid(block))
    templates = _templates(tmp_path_factory.mktemp("templates"), block)
    data = {**DATA, "a": 1, "b": 2}
    try:
        inlined = templates.inlined(NAME, data)
    except TemplateError as error:
        with pytest.raises(TemplateError, match=re.escape(error.message)):
            templates.render_mail(NAME, data)
        return
    event(templates.compiled(NAME).report.mode.value)
    assert templates.render_mail(NAME, data)[0] == inlined


def _is_valid(block: str) -> bool:
    try:
        Environment(extensions=["jinja2.ext.i18n"], autoescape=True).parse(block)
    except TemplateSyntaxError:
        return False
    return True
