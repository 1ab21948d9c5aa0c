"""Compiled templates at work: files that build on one another, errors, previews, threads, text."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import css_inline
import pytest
from lxml import etree
from markupsafe import Markup

from front_desk import Greeting, write_templates
from mailglass import Mailable, SendError, TemplateError
from mailglass.errors import TemplateErrorType
from mailglass.rendering.compiling.compiled import Mode
from mailglass.rendering.compiling.engines import Engine
from mailglass.rendering.inlining import inline_css
from mailglass.rendering.plaintext import plain_text
from mailglass.rendering.render import Renderer
from mailglass.rendering.templates import Templates
from same_mail import declarations

NAME = "greeting.html.jinja"
BASE = (
    "<!DOCTYPE html><html><head><title>{% block title %}x{% endblock %}</title>"
    "<style>.box p{color:red}.pre{display:none}</style></head>\n<body>\n"
    '<span class="pre">hidden</span><div class="box">{% block body %}<p>x</p>{% endblock %}</div>'
    "{% include 'part.html.jinja' %}</body></html>"
)
CHILD = (
    "{% extends 'base.html.jinja' %}\n{% block title %}Hi {{ name }}{% endblock %}\n"
    "{% block body %}\n<p>{{ name }}</p>{% endblock %}"
)


def _pages(folder: Path, **files: str) -> Templates:
    given = {"greeting__html": CHILD, "base__html": BASE, "part__html": "<p>part</p>"}
    return Templates([write_templates(folder, **(given | files))])


def test_extended_and_included_files_are_compiled_together(tmp_path: Path) -> None:
    """The rules of the layout reach into the blocks of the mail, and only where they apply."""
    templates = _pages(tmp_path)
    assert templates.compiled(NAME).report.reasons == ()
    html, text = templates.render_mail(NAME, {"name": "Zoë"})
    assert html == templates.inlined(NAME, {"name": "Zoë"})
    assert '<p style="color:red">Zoë</p>' in html
    assert "<p>part</p>" in html
    assert text == "Zoë\n\npart\n"


def test_the_same_part_in_two_scopes_falls_back(tmp_path: Path) -> None:
    """One file cannot hold two styles for one tag."""
    templates = _pages(
        tmp_path, greeting__html=CHILD.replace("<p>", "{% include 'part.html.jinja' %}<p>")
    )
    report = templates.compiled(NAME).report
    assert report.reasons == (
        "part.html.jinja line 1: other rules apply where it is included again",
    )
    html, _ = templates.render_mail(NAME, {"name": "x"})
    assert html == templates.inlined(NAME, {"name": "x"})
    assert html.count('<p style="color:red">part</p>') == 1


@pytest.mark.parametrize(
    ("files", "template", "line"),
    [
        ({"greeting__html": CHILD.replace("<p>{{ name }}", "<p>\n{{ nmae }}")}, NAME, 5),
        ({"base__html": BASE.replace("<span", "\n{{ nmae }}<span")}, "base.html.jinja", 4),
        ({"part__html": "<p>\n\n{{ nmae }}</p>"}, "part.html.jinja", 3),
    ],
)
def test_errors_in_compiled_templates_name_the_file_as_written(
    tmp_path: Path, files: Mapping[str, str], template: str, line: int
) -> None:
    """Row 25: styles are written into lines, so lines stay where they were."""
    templates = _pages(tmp_path, **files)
    assert templates.compiled(NAME).report.mode is Mode.COMPILED
    with pytest.raises(TemplateError) as caught:
        templates.render_mail(NAME, {"name": "x"})
    assert caught.value.type is TemplateErrorType.MISSING_ASSIGN
    assert (caught.value.template, caught.value.line) == (template, line)


def test_a_value_that_is_html_is_inlined_with_its_mail(tmp_path: Path) -> None:
    """Row 23: the template stays compiled for all other mails."""
    templates = _pages(tmp_path)
    value = {"name": Markup("<p class=box>in</p>")}
    html, text = templates.render_mail(NAME, value)
    assert html == templates.inlined(NAME, value)
    assert '<p class=box style="color:red">in</p>' in html
    assert text == plain_text(html)
    assert templates.compiled(NAME).report.mode is Mode.COMPILED


def test_a_mail_of_iterators_has_its_text(tmp_path: Path) -> None:
    """What the HTML has used up is not asked for again."""
    templates = _pages(tmp_path, part__html="{% for x in name %}<p>{{ x }}</p>{% endfor %}")
    _, text = templates.render_mail(NAME.replace("greeting", "part"), {"name": iter("ab")})
    assert text == "a\n\nb\n"


@pytest.mark.parametrize(
    "body",
    [
        "<p>{{ name.pop() }}</p>", "<p>{{ name|random }}</p>", "<p>&am{{ name }}</p>",
        '<p style="{{ name }}">x</p>', "<p>&#123;&#123; x }}</p>",
        '<p>{% set x = 1 %}</p><a href="{{ x }}">{% set x = 2 %}x</a>',
        "<div hidden>{% set x = 1 %}</div>",
    ],
)  # fmt: skip
def test_no_text_is_derived_where_it_could_differ(tmp_path: Path, body: str) -> None:
    """The text is then read from each mail's HTML."""
    page = _pages(tmp_path, greeting__html=body).compiled(NAME)
    assert page.html is not None
    assert page.text is None


def test_the_derived_text(tmp_path: Path) -> None:
    """Links are spelled out, rows are lines, hidden parts are gone, and nothing is escaped."""
    body = (
        "<style>.pre{display:none}</style><div class=pre>preview {{ name }}</div><h1>R &amp; D</h1>"
        "<ul><li>{{ name }}</li></ul><table><tr><td>{{ name }}</td><td>7,00</td></tr></table>"
        '<a href="https://x.example/?n={{ name }}&amp;b=1">{{ name }}</a> <a href="{{ name }}">{{ name }}</a>'
        '<img src="x" alt="{{ name }}!">'
    )
    templates = _pages(tmp_path, greeting__html=body)
    assert templates.compiled(NAME).text is not None
    html, text = templates.render_mail(NAME, {"name": "<b> & co"})
    assert text == plain_text(html)
    assert text == (
        "R & D\n\n- <b> & co\n\n<b> & co  7,00\n\n"
        "<b> & co (https://x.example/?n=<b> & co&b=1) <b> & co<b> & co!\n"
    )


class Shown(Greeting):
    """A greeting with previews that a test chooses."""

    made: Any = None

    @classmethod
    def previews(cls) -> Mapping[str, Mailable]:
        """Return one preview."""
        return {"long name": cls(name="Z" * 40)}


class Broken(Greeting):
    """A greeting whose previews fail."""

    @classmethod
    def previews(cls) -> Mapping[str, Mailable]:
        """Fail."""
        raise KeyError("canary")


def test_a_preview_that_differs_makes_the_template_fall_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last net: whatever the analysis missed is caught before the first mail."""
    renderer = Renderer(
        [write_templates(tmp_path, greeting__html="<style>p{top:0}</style><p>x</p>")]
    )
    with monkeypatch.context() as planted:
        planted.setattr(Templates, "inlined", lambda *_: "<p>another mail</p>")
        report = renderer.report(Shown)
    assert report.mode is Mode.FALLBACK
    assert report.reasons == (
        "the preview long name differs from the same mail inlined after rendering",
    )
    assert 'style="top:0"' in (renderer.render(Shown()).html or "")


def test_a_broken_preview_stops_no_mail(tmp_path: Path) -> None:
    """It is told in the report, without what the error said."""
    renderer = Renderer(
        [write_templates(tmp_path, greeting__html="<style>p{top:0}</style><p>x</p>")]
    )
    assert 'style="top:0"' in (renderer.render(Broken()).html or "")
    assert renderer.report(Broken).reasons == ("the previews cannot be rendered (KeyError)",)


def test_a_refused_element_is_refused_when_a_mail_has_it(tmp_path: Path) -> None:
    """Row 26: compiling refuses nothing that is never rendered, and rendering refuses all that is."""
    templates = _pages(
        tmp_path,
        greeting__html="<style>p{top:0}</style>{% if name %}<link href=x>{% endif %}<p>x</p>",
    )
    assert templates.compiled(NAME).report.mode is Mode.FALLBACK
    assert 'style="top:0"' in templates.render_mail(NAME, {"name": ""})[0]
    with pytest.raises(TemplateError) as caught:
        templates.render_mail(NAME, {"name": "x"})
    assert caught.value.type is TemplateErrorType.INLINER_FAILED


def test_an_output_too_large_is_refused(tmp_path: Path) -> None:
    """The bound holds for compiled templates."""
    with pytest.raises(SendError, match="more than"):
        _pages(tmp_path).render_mail(NAME, {"name": "x" * 3_000_000})


def test_threads_share_templates(tmp_path: Path) -> None:
    """Eight threads compile and render at once, and each gets its own mail."""
    for number in range(24):
        write_templates(tmp_path, **{f"m{number}__html": f"<style>p{{top:{number}px}}</style><p>{{{{ n }}}}"
                                     "</p>"})  # fmt: skip
    templates, wrong = Templates([tmp_path]), []

    def work(thread: int) -> None:
        for number in range(24):
            html, text = templates.render_mail(f"m{number}.html.jinja", {"n": thread})
            if f'<p style="top:{number}px">{thread}</p>' not in html or text != f"{thread}\n":
                wrong.append((thread, number))

    threads = [threading.Thread(target=work, args=(one,)) for one in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert wrong == []


@pytest.mark.parametrize("engine", list(Engine))
@pytest.mark.parametrize(
    "sheet",
    [
        "p{color:red}.a{color:blue}#i{color:lime}", "div p{top:0}div > p{top:1px}.a.b{top:2px}",
        "p{margin:0}.b{margin-top:5px}.a.b{margin:1px}", "p{color:red !important}#i{color:blue}",
        "*{left:0}p:not(.a){left:1px}p:first-child{left:2px}", "[id]{top:1px}[class~=b]{top:2px}",
    ],
)  # fmt: skip
def test_styles_are_those_that_css_inline_computes(sheet: str, engine: Engine) -> None:
    """An inliner asked directly, as an oracle of its own: the value that wins is the same."""
    body = (
        '<div><p class="a b" id="i">1</p><p class="b">2</p><p style="top:9px">3</p></div><p>4</p>'
    )
    html = f"<html><head><style>{sheet}</style></head><body>{body}</body></html>"
    ours = inline_css(html, template="t", engine=engine)
    theirs = css_inline.CSSInliner(load_remote_stylesheets=False).inline(html)
    assert _winning(ours) == _winning(theirs)


def _winning(html: str) -> list[dict[str, str]]:
    root = etree.fromstring(html, etree.HTMLParser())
    return [
        {
            name: value.replace("!important", "").strip()
            for name, value in declarations(one.get("style", ""))
        }
        for one in root.iter("p", "div")
    ]


def test_space_at_the_end_of_a_label_is_none_at_the_end_of_a_line(tmp_path: Path) -> None:
    """A label that ends in a space, before white space, before a line: one way or the other."""
    templates = _pages(tmp_path, greeting__html="<a>{{ name }}</a>\n<p>x</p>")
    compiled, text = templates.render_mail(NAME, {"name": "one\u00a0"})
    assert text == plain_text(compiled) == "one\n\nx\n"
