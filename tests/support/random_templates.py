"""Random templates, data and sheets for the property that compiling changes no mail."""

# ruff: noqa: E501 - pieces of HTML, one a line
from __future__ import annotations

from typing import Any, Final

from hypothesis import strategies as st
from markupsafe import Markup

_CLASSES: Final = ["a", "b", "a b", "c"]
_TAGS: Final = ["p", "div", "span", "b", "td", "li", "a", "h1", "center"]
_EXPRESSIONS: Final = [
    "{{ s }}", "{{ s|upper }}", "{{ n + 1 }}", '{{ "}}" ~ s }}', "{{ {'k': {'j': s}}['k']['j'] }}",
    "{{- s }}", "{{ s -}}", "{{ m }}", "{{ '%s>' % n }}", "{{ s[:3] }}", "{# <p> #}", "{{ s|e }}",
]  # fmt: skip
_TEXTS: Final = [
    "x", " ", "\n", "a &amp; b", "&nbsp;", "é", "R & D", "<!-- <p> -->", "<br>", "<hr/>",
    "<!--[if mso]><table><tr><td><![endif]-->", "<!--[if !mso]><!-->y<!--<![endif]-->", "{{ '{{' }}",
    "{% raw %}{{ s }}{% endraw %}", "{% set q = n %}", "<![if !mso]>z<![endif]>", "<img src=x alt='y'>",
]  # fmt: skip
_ATTRIBUTES: Final = [
    "", ' class="{}"', " class={}", " class='{}'", ' id="i"', ' href="{{ u }}"', " title='{{ s }}'",
    ' style="color:blue"', " style='margin:0 !important;'", ' data-x="{% if f %}1{% else %}2{% endif %}"',
    ' width="10"', ' style="font-family:&quot;A&quot;"', ' align="{{ n }}"', " hidden",
]  # fmt: skip
_HAZARDS: Final = [
    ' class="{{ c }}"', ' class="{% if f %}a{% endif %}"', " {% if f %}class=a{% endif %}",
    ' style="color:{{ c }}"', ' id="{{ c }}"', " title={{ c }}", ' class="a {# b #}"', " {{ c }}=1",
]  # fmt: skip
_CHOSEN: Final = [
    ' class="{{ \'a\' if f else \'b\' }}"', ' class="c {% if f %}a{% else %}b{% endif %}"', ' class="{% if f %}a{% endif %} b"',
    ' class="{{ {1: \'a\', 2: \'b\'}[2] }}" style="color:blue"', ' style="top:0" class=\'{{ "a b" if n else "c" }}\'',
    ' class="{% if f %}a{% elif n %}b{% else %}c{% endif %} {{ \'b\' if m else \'\' }}" width="3"', ' class="{{ s if f else \'a\' }}"',
    ' class="{% if f %}a{% elif n %}b{% endif %}" title="{{ s }}"',
]  # fmt: skip
_SELECTORS: Final = [
    "p", ".a", ".b", "#i", "*", "div p", "div > p", ".a .b", ".a > b", "td", "table td", "tr > td",
    "p.a", "a[href]", "a[href^=h]", "[title]", "h1, .c", ":not(.a)", "p:not(.b)", "p:hover", "a::before",
    "p + p", "p ~ b", "p:first-child", "li:last-child", "p:nth-child(2)", "u + .a p", "body", "html",
    "td:nth-child(odd)", "p:empty", "div:first-child b", "P", "body > div", "ul li",
]  # fmt: skip
_DECLARATIONS: Final = [
    "color:red", "color:green !important", "margin:0", "margin-top:1px", "width:50px", "width:100%",
    "background-color:#abc", "text-align:center", 'font-family:"A B",serif', "color:red;color:var(--x)",
    "vertical-align:top", "content:';}'", "background:url(x;y)", "padding:1px!important;padding:2px",
]  # fmt: skip


def _shaped(shapes: list[str]) -> st.SearchStrategy[str]:
    return st.builds(
        lambda shape, name: shape.format(name) if "{}" in shape else shape,
        st.sampled_from(shapes), st.sampled_from(_CLASSES),
    )  # fmt: skip


_tame_leaves = st.one_of(
    st.sampled_from(_TEXTS + _EXPRESSIONS),
    st.builds("<{0}{1}>{2}</{0}>".format, st.sampled_from(["p", "a", "h1", "b"]), _shaped(_ATTRIBUTES),
              st.sampled_from(_EXPRESSIONS)),
    st.builds("<{0}{1}>{2}</{0}>".format, st.sampled_from(["p", "b", "span"]), st.sampled_from(_CHOSEN),
              st.sampled_from(_EXPRESSIONS)),
)  # fmt: skip
_wild_leaves = st.sampled_from([*_TEXTS, *_EXPRESSIONS, "a < b", "<p>", "</div>", "{{ s|safe }}"])


_CALLS: Final = [
    "{{ pt.box(s) }}", "{{ pt.box(s, n, c='b', f=true) }}", "{{- pt.box(f=f, xs=xs, c=c) -}}", "{{ bx('x', c='a') }}",
    "{{ own(s) }}", "{{ own(n, 'b', tag='p') }}", "{{ pt.pair(s) if f else own('z') }}", "{{ pair(s, f) }}",
    "{{ own(s) if f }}", '<a href="{{ pt.plain(u) }}">x</a>', "{{ ctx.box(c='b') }}",
]  # fmt: skip
_WILD_CALLS: Final = [
    "{{ own(own(s)) }}", "{{ pt.box(*[s]) }}", "{{ own(s)|upper }}", "{{ own(s) ~ own(n) }}", "{{ many(s, n) }}",
    "{{ pt['box'](s) }}", "{{ looped(2) }}", '<p title="{{ own(s) }}">x</p>', "{% set own2 = own %}{{ own2(s) }}",
]  # fmt: skip
_BLOCKS: Final = [
    "pt.frame(c='a')",
    "pt.frame(f=f, xs=xs)",
    "pt.frame(s, c=c)",
    "around('b')",
    "around(c)",
]


def _calling(nodes: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    several = st.lists(nodes, min_size=1, max_size=3).map("".join)
    return st.one_of(
        _tame(nodes), _tame(nodes),
        st.builds("{{% call {} %}}{}{{% endcall %}}".format, st.sampled_from(_BLOCKS), several),
        st.builds("<div class=b>{{%- call {} -%}} {} {{%- endcall -%}}</div>".format, st.sampled_from(_BLOCKS), several),
    )  # fmt: skip


def _tame(nodes: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    several = st.lists(nodes, min_size=1, max_size=4).map("".join)
    box = st.builds("<{0}{1}>{2}</{0}>".format, st.sampled_from(["div", "center", "span"]),
                    _shaped(_ATTRIBUTES), several)  # fmt: skip
    return st.one_of(
        box, box, box,
        several.map("{{% if f %}}{}{{% endif %}}".format),
        st.builds("{{%- if not f -%}}{}{{% else %}}{}{{% endif %}}".format, several, several),
        several.map("{{% for x in xs %}}{}{{% endfor %}}".format),
        several.map("<table class='a'>{{% for x in xs %}}<tr><td>{}</td></tr>{{% endfor %}}</table>".format),
        several.map("<ul>{{% for x in xs %}}<li class=b>{{{{ x }}}}{}</li>{{% endfor %}}</ul>".format),
        several.map("{{% include 'part.html.jinja' %}}{}".format),
    )  # fmt: skip


def _wild(nodes: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    several = st.lists(nodes, max_size=4).map("".join)
    return st.one_of(
        st.builds(lambda tag, has, body: f"<{tag}{has}>{body}</{tag}>", st.sampled_from(_TAGS), _shaped(_ATTRIBUTES * 3 + _HAZARDS), several),
        several.map("{{% if f %}}{}{{% endif %}}".format),
        st.builds("{{%- if not f -%}}{}{{% else %}}{}{{% endif %}}".format, several, several),
        several.map("{{% for x in xs %}}{}{{% endfor %}}".format),
        several.map("<table><tr><td>{}</td></tr></table>".format),
        several.map("<table class='a'>{{% for x in xs %}}<tr><td>{}</td></tr>{{% endfor %}}</table>".format),
        several.map("<ul>{{% for x in xs %}}<li>{{{{ x }}}}{}</li>{{% endfor %}}</ul>".format),
        several.map("{{% include 'part.html.jinja' %}}{}".format),
        several.map("<p>{}".format),
        several.map("{}</div>".format),
    )  # fmt: skip


_tame_bodies = st.lists(st.recursive(_tame_leaves, _tame, max_leaves=24), min_size=1, max_size=5)
_wild_bodies = st.lists(st.recursive(_wild_leaves, _wild, max_leaves=24), max_size=5)
bodies = st.one_of(_tame_bodies, _tame_bodies, _tame_bodies, _wild_bodies).map("".join)
_calling_leaves = st.one_of(_tame_leaves, st.sampled_from(_CALLS), st.sampled_from(_CALLS))
_wilder_leaves = st.one_of(_tame_leaves, st.sampled_from(_CALLS + _WILD_CALLS))
calling_bodies = st.one_of(
    *[st.lists(st.recursive(_calling_leaves, _calling, max_leaves=12), min_size=1, max_size=4)] * 3,
    st.lists(st.recursive(_wilder_leaves, _calling, max_leaves=12), min_size=1, max_size=4),
).map("".join)
_PARAMETERS: Final = "s='S', n=1, m='', u='/', f=false, xs=['x'], c='a'"


def macros(one: str, other: str) -> str:
    """Return a file of macros, whose arguments are named as the values of a mail."""
    return (
        "{% set shade = 'color:green' %}{% set kinds = {'a': ('a', 'p'), 'b': ('b', 'h1')} %}\n"
        f'{{% macro box({_PARAMETERS}) -%}} <div class="{{{{ c }}}}">{one}</div>\n{{%- endmacro %}}\n'
        f"{{% macro frame({_PARAMETERS}) %}}<div class='a' style=\"{{{{ shade }}}}\">{{% if f %}}<p>{{{{ s }}}}</p>"
        f"{{% endif %}}{{{{ caller() }}}}{other}</div>{{% endmacro %}}"
        "{% macro pair(s, f=true, c='b') %}{% set kind, tag = kinds[c] %}\n<{{ tag }} class='{{ kind }}'>{{ s }}</{{ tag }}>"
        "{{ box(s, c=kind) }}{% if f %}{{ box(s, f=f) }}{% endif %}{% endmacro %}"
        "{% macro plain(u) %}{{ u }}{% endmacro %}"
    )


_DEFINED: Final = (
    "{% import 'macros.html.jinja' as pt %}{% from 'macros.html.jinja' import box as bx, pair %}"
    "{% import 'macros.html.jinja' as ctx with context %}"
    "{% macro own(x, k='a', tag='b') %}<{{ tag }} class=\"{{ k }}\">{{ x }}</{{ tag }}>{% endmacro %}"
    "{% macro around(k) %}{% set held %}<i>{{ k }}</i>{% endset %}<div class='{{ k }}'>{% for i in [1, 2] %}"
    "{{ caller() }}{% endfor %}{{ held }}</div>{% endmacro %}"
    "{% macro many() %}<p>{{ varargs|join }}</p>{% endmacro %}"
    "{% macro looped(n) %}<p>{{ n }}</p>{% if n %}{{ looped(n - 1) }}{% endif %}{% endmacro %}"
)


def calling_files(sources: dict[str, str], one: str, other: str) -> dict[str, str]:
    """Return the files with macros defined, imported and called in them."""
    mail = sources["mail__html"]
    before, extends, rest = (
        mail.partition("%}\n") if mail.startswith("{% extends") else ("", "", mail)
    )
    return sources | {
        "macros__html": macros(one, other),
        "mail__html": before + extends + _DEFINED + rest,
    }


_rules = st.builds("{}{{{}}}".format, st.sampled_from(_SELECTORS), st.sampled_from(_DECLARATIONS))
_at_rules = st.sampled_from([
    "@media (max-width:9px){p{color:red !important}.a{margin:0}}", "@font-face{font-family:x;src:url(y)}",
    "@supports (color:red){p{color:blue}}", "/* { */", "@keyframes k{from{top:0}to{top:1px}}",
])  # fmt: skip
sheets = st.lists(st.one_of(_rules, _rules, _rules, _at_rules), min_size=1, max_size=8).map("".join)
_hostile = st.sampled_from([
    "", "x", "<b class=a>", "</p>", '"', "'", "&amp;", "--", "-->", "{{ s }}", "a  b", " ", "\n", "é\u00a0", "h",
    "</style>", "a]", "%}",
])  # fmt: skip
values: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries({
    "s": st.one_of(_hostile, st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)),
    "m": st.sampled_from(["plain", Markup("&lt;"), Markup("<p class=a>m</p>"), Markup("</div>"), 7, None]),
    "n": st.integers(0, 9), "u": st.sampled_from(["https://x.example/?a=1&b=2", "/", "#"]),
    "f": st.booleans(), "xs": st.lists(_hostile, max_size=3), "c": st.sampled_from(["a", "b", "a b", "red"]),
})  # fmt: skip


def files(sheet: str, body: str, part: str, shape: int) -> dict[str, str]:
    """Return the template, its parent and its part as sources, laid out in one of four shapes."""
    part = part.replace("{% include 'part.html.jinja' %}", "")
    head = f"<!DOCTYPE html><html><head><title>{{{{ s }}}}</title><style>{sheet}</style></head>"
    match shape:
        case 0:
            mail, base = f"<style>{sheet}</style>{body}", ""
        case 1:
            mail, base = f"{head}<body>{body}</body></html>", ""
        case 2:
            mail = f"{{% extends 'base.html.jinja' %}}\n{{% block b %}}{body}{{% endblock %}}"
            base = f"{head}<body class=a><div>{{% block b %}}<p>x</p>{{% endblock %}}</div></body></html>"
        case _:
            mail = f"{head}<body><div class=b>{{% include 'part.html.jinja' %}}</div>{body}</body></html>"
            base = ""
    return {"mail__html": mail, "base__html": base, "part__html": part}
