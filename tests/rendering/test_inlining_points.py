"""What inlining must keep and must apply: fifty points, with both engines."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from front_desk import Greeting, write_templates
from mailglass import ConfigError
from mailglass.errors import ConfigErrorType, TemplateError, TemplateErrorType
from mailglass.rendering.compiling.engines import Engine
from mailglass.rendering.inlining import inline_css
from mailglass.rendering.render import Renderer
from same_mail import declarations

SHEET: Final = """
p{color:red}
#id{color:green}.cls{color:blue}
td.t{color:green}.t{color:red}
.tie{color:red}.tie{color:green}
.own{color:red}
.firm{color:green !important}
#firmid{color:red}.firm2{color:green !important}
.n:not(.m){color:green}
li:first-child{color:green}li:nth-child(2){color:blue}li:last-child{color:lime}
dd:nth-child(odd){color:green}
[data-v=x]{color:green}
div > i{color:green}h1 + h2{color:green}h1 ~ h3{color:green}
h4, h5{color:green}
*{line-height:1}
.var{color:var(--c)}.calc{width:calc(100% - 1px)}
.twice{color:red;color:rgba(1,2,3,.5)}
.mso{mso-line-height-rule:exactly;-webkit-text-size-adjust:none}
.font{font-family:"A B",serif}
.url{background:url(https://x.example/a;b.png)}
.wide{width:50px}.tall{height:20px}.dark{background-color:#abc}
a:hover{color:lime}a::before{content:"x"}
@media (max-width:9px){.cls{color:red !important}p{margin:0}}
@media print{p{color:black}}
@font-face{font-family:F;src:url(https://x.example/f.woff)}
@keyframes k{from{top:0}to{top:1px}}
@supports (color:red){p{color:pink}}
"""
HEAD_COMMENT: Final = "<!--[if mso]><style>td{color:x}</style><![endif]-->"
VML: Final = '<!--[if mso]><v:rect style="width:1px"><v:fill/></v:rect><![endif]-->'
BODY: Final = f"""
<p class=plain>é \U0001f600 a&nbsp;b&zwnj;c</p><p id="id" class="cls">x</p>
<table><tr><td class="t">x</td><td class="wide tall dark">x</td></tr></table><b class="tie">x</b>
<b class="own" style="color:green">x</b><b class="firm" style="color:red">x</b>
<b id="firmid" class="firm2">x</b><b class="n">x</b><b class="n m">x</b>
<ul><li>1</li><li>2</li><li>3</li></ul><dl><dd>1</dd><dd>2</dd></dl><u data-v="x">x</u>
<div><i>x</i></div><section><h1>x</h1><h2>x</h2><h3>x</h3></section><h4>x</h4><h5>x</h5>
<s class="var">x</s><s class="calc">x</s><s class="twice">x</s><s class="mso">x</s>
<s class="font">x</s><s class="url">x</s><a href="https://x.example/?a=1&amp;b=2">x</a>
{VML}<!--[if !mso]><!--><em>shown</em><!--<![endif]--><![if !mso]><em>shown</em><![endif]>
<em data-premailer="ignore">x</em>
"""
MAIL: Final = (
    '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" "x">\n'
    '<html lang="en" xmlns:v="urn:schemas-microsoft-com:vml" xmlns:o="urn:x"><head>'
    f"{HEAD_COMMENT}<style>{SHEET}</style><style media=print>p{{top:9px}}</style>"
    f'<style data-premailer="ignore">p{{left:9px}}</style></head><body>{BODY}</body></html>'
)


def _style(html: str, start: str, place: int = 0) -> dict[str, str]:
    """Return the declarations of the element whose tag, without its style, begins so."""
    tags = [tag for tag in re.findall(r"<[a-z][^>]*>", html) if tag.startswith(start)]
    found = re.search(r'style="([^"]*)"', tags[place])
    return dict(declarations(found[1])) if found else {}


def _says(start: str, name: str, value: str | None, place: int = 0) -> Callable[[str], bool]:
    return lambda html: _style(html, start, place).get(name) == value


def _has(text: str) -> Callable[[str], bool]:
    return lambda html: text in html


POINTS: Final[dict[str, Callable[[str], bool]]] = {
    "doctype kept": lambda html: html.startswith(MAIL.split("\n", 1)[0]),
    "@media kept": _has("@media (max-width:9px){.cls{color:red !important}p{margin:0}}"),
    "@media: !important not added": _has("p{margin:0}}"),
    "@media: !important kept": _has(".cls{color:red !important}"),
    "@media print not inlined": _says("<p class=plain", "color", "red"),
    "@font-face kept": _has("@font-face{font-family:F"),
    "@keyframes kept": _has("@keyframes k{from{top:0}to{top:1px}}"),
    "@supports kept": _has("@supports (color:red){p{color:pink}}"),
    ":hover kept": _has("a:hover{color:lime}"),
    ":hover not inlined": _says("<a href", "color", None),
    "::before kept": _has('a::before{content:"x"}'),
    "id beats class": _says('<p id="id"', "color", "green"),
    "tag.class beats a later class": _says('<td class="t"', "color", "green"),
    "the later rule wins a tie": _says('<b class="tie"', "color", "green"),
    "author inline beats sheet": _says('<b class="own"', "color", "green"),
    "sheet !important beats author inline": _says('<b class="firm"', "color", "green"),
    "sheet !important beats #id": _says('<b id="firmid"', "color", "green"),
    ":not() applied": _says('<b class="n"', "color", "green"),
    ":not() not applied to the others": _says('<b class="n m"', "color", None),
    ":first-child applied": _says("<li", "color", "green", 0),
    ":nth-child(2) applied": _says("<li", "color", "blue", 1),
    ":last-child applied": _says("<li", "color", "lime", 2),
    ":nth-child(odd) applied": _says("<dd", "color", "green", 0),
    ":nth-child(odd) not applied to even": _says("<dd", "color", None, 1),
    "[attr=v] applied": _says("<u data-v", "color", "green"),
    "child combinator": _says("<i", "color", "green"),
    "adjacent sibling": _says("<h2", "color", "green"),
    "general sibling": _says("<h3", "color", "green"),
    "selector list": _says("<h5", "color", "green"),
    "* applied": _says("<em", "line-height", "1"),
    "* not applied in the head": lambda html: "style=" not in html.split("</head>")[0].split("<head>")[1],
    "var() kept": _says('<s class="var"', "color", "var(--c)"),
    "calc() kept": _says('<s class="calc"', "width", "calc(100% - 1px)"),
    "fallback declarations both kept": _has("color:red;color:rgba(1,2,3,.5)"),
    "mso- and -webkit- kept": _says('<s class="mso"', "mso-line-height-rule", "exactly"),
    "quoted font name valid": _says('<s class="font"', "font-family", "'A B',serif"),
    "url() with a semicolon kept": _has('background:url(https://x.example/a;b.png)"'),
    "width attribute for Outlook": _has(' width="50"'),
    "height attribute for Outlook": _has(' height="20"'),
    "bgcolor attribute for Outlook": _has(' bgcolor="#aabbcc"'),
    "[if mso] in the head byte-identical": _has(HEAD_COMMENT),
    "[if mso] VML byte-identical": _has(VML),
    "[if !mso] pair kept": _has("<!--[if !mso]><!--><em"),
    "<![if !mso]> kept": lambda html: bool(re.search(r"<!\[if !mso\]><em[^>]*>shown</em><!\[endif\]>", html)),
    "xmlns kept": _has('xmlns:v="urn:schemas-microsoft-com:vml" xmlns:o="urn:x"'),
    "emoji and accents intact": _has("é \U0001f600"),
    "&nbsp; and &zwnj; kept as entities": _has("a&nbsp;b&zwnj;c"),
    "href &amp; kept": _has('href="https://x.example/?a=1&amp;b=2"'),
    "<style media=print> not inlined": _says("<p class=plain", "top", None),
    "<style data-premailer=ignore> not inlined": _says("<p class=plain", "left", None),
    "an ignored element is left alone": _has('<em data-premailer="ignore">'),
    "classes kept": _has('class="cls"'),
}  # fmt: skip

LOST: Final[dict[Engine, dict[str, str]]] = {Engine.PREMAILER: {}, Engine.CSS_INLINE: {}}
"""Points that an engine loses, with the reason; none is left, since both only match selectors."""


@pytest.mark.parametrize("engine", list(Engine))
@pytest.mark.parametrize("point", list(POINTS))
def test_point_is_kept(point: str, engine: Engine) -> None:
    """One property that a mail must not lose, or a rule that must arrive."""
    assert POINTS[point](inline_css(MAIL, template="t", engine=engine)) != (point in LOST[engine])


def test_only_attributes_are_added() -> None:
    """Without the attributes that were added the mail is the same to the byte."""
    added = re.compile(r'(?<=[\w"])( (?:style|width|height|bgcolor|align|valign)="[^"]*")+(?=>)')
    own = re.compile(r' style="color:(?:green|red)"')
    for engine in Engine:
        inlined = inline_css(MAIL.replace(VML, ""), template="t", engine=engine)
        assert added.sub("", inlined) == own.sub("", MAIL.replace(VML, ""))


def test_important_is_not_written_into_attributes() -> None:
    """There it would beat the @media rules that are to override it."""
    found = inline_css("<style>p{color:red !important}</style><p>x</p>", template="t")
    assert found.endswith('<p style="color:red">x</p>')


def test_a_shorthand_comes_after_what_it_overrides() -> None:
    """The order inside the attribute is the order of the cascade."""
    sheet = "p{margin:0}.b{margin-top:5px}.b.c{margin:1px}"
    found = inline_css(f'<style>{sheet}</style><p class="b c">x</p>', template="t")
    assert 'style="margin-top:5px;margin:1px"' in found


def test_css_inline_has_to_be_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The error names the package, and premailer works without it."""
    monkeypatch.setitem(sys.modules, "css_inline", None)
    with pytest.raises(ConfigError) as caught:
        Renderer([tmp_path], css_inliner="css-inline")
    assert caught.value.type is ConfigErrorType.OPTIONAL_DEP_MISSING
    assert (caught.value.key, caught.value.dep) == ("css_inliner", "css-inline")
    write_templates(tmp_path, greeting__html="<style>p{color:red}</style><p>{{ name }}</p>")
    assert 'style="color:red"' in (Renderer([tmp_path]).render(Greeting()).html or "")


@pytest.mark.parametrize("depth", [201, 2_000, 20_000])
@pytest.mark.parametrize("tag", ["div", "b", "p", "table><tr><td"])
def test_neither_engine_meets_a_tree_that_is_too_deep(depth: int, tag: str) -> None:
    """Row 28: css-inline would end the process."""
    html = "<style>b{color:red}</style>" + f"<{tag}>" * depth + "x"
    for engine in Engine:
        try:
            found = inline_css(html, template="t", engine=engine)
        except TemplateError as error:
            assert error.type is TemplateErrorType.INLINER_FAILED  # noqa: PT017 - refusing is fine as well
        else:
            assert tag == "p", "paragraphs close one another, so they are not deep"
            assert found.count("<p") == depth


@pytest.mark.parametrize("engine", list(Engine))
def test_the_engine_sees_no_text_and_no_address(engine: Engine) -> None:
    """Row 27: what names a file or a host stays where it is and is never followed."""
    html = (
        '<style>p{background:url(file:///etc/passwd)}</style><p background="/etc/passwd">x</p>'
        '<img src="file:///etc/hostname">'
    )
    found = inline_css(html, template="t", engine=engine)
    assert "root:" not in found
    assert "background:url(file:///etc/passwd)" in found
