"""Constructs that a template may hold, each with a sheet that it can interfere with."""

from __future__ import annotations

from typing import Final

SHEET: Final = (
    "p{color:red}.a{margin:0}#i{padding:1px}.scope p{font-size:9px}td{width:40px}"
    "a[href^=http]{color:blue}b{font-weight:bold}li{color:green}"
)
PLACES: Final = (
    "p+p{margin:9px}p:first-child{margin:1px}p:last-child{margin:2px}p:nth-child(2){margin:3px}"
    "p:empty{margin:4px}p~b{margin:5px}"
)

CASES: Final[dict[str, tuple[str, str]]] = {
    "expression in text": (SHEET, "<p>{{ name }}</p>"),
    "expression in href": ("a{color:red}", '<a href="{{ url }}">x</a>'),
    "double quotes inside an expression in an attribute": (
        "a{color:red}", '<a title="{{ "x" ~ name }}" href=\'{{ url }}\'>x</a>',
    ),
    "less and greater in an expression": (SHEET, "<p>{{ 1 < 2 and 3 > 2 }}</p>"),
    "ampersands": (SHEET, "<p>a & b &amp; {{ '&' }}&nbsp;{{ name }}</p>"),
    "if around an element": (SHEET, "{% if yes %}<p>a</p>{% endif %}<p>b</p>"),
    "rows looped directly inside table": (
        SHEET, "<table>{% for i in items %}<tr><td>{{ i.name }}</td></tr>{% endfor %}</table>",
    ),
    "rows looped inside tbody": (
        SHEET,
        "<table><tbody>{% for i in items %}<tr><td>{{ i.name }}</td></tr>{% endfor %}</tbody></table>",
    ),
    "cells looped inside a row": (
        SHEET, "<table><tr>{% for i in items %}<td>{{ i.name }}</td>{% endfor %}</tr></table>",
    ),
    "rows by safe directly inside table": (SHEET, "<table>{{ rows|safe }}</table>"),
    "rows as markup directly inside table": (SHEET, "<table>{{ markup_rows }}</table>"),
    "list items in a loop": (SHEET, "<ul>{% for i in items %}<li>{{ i.name }}</li>{% endfor %}</ul>"),
    "options in a loop": (SHEET, "<p>{% for i in items %}<option>{{ i.name }}</option>{% endfor %}</p>"),
    "expression in title": (SHEET, "<title>{{ name }}</title><p>x</p>"),
    "set and expression before html": (
        SHEET, "{% set x = 1 %}{{ x }}<html><body><p>{{ x }}</p></body></html>",
    ),
    "template comment with markup": (SHEET, "<p>a</p>{# <p class='a'> #}<p>b</p>"),
    "expression in a conditional comment": (
        SHEET, "<p>a</p><!--[if mso]><p>{{ name }}</p><![endif]--><p>b</p>",
    ),
    "opened in one branch, closed in another": (
        SHEET, "{% if yes %}<div class=scope>{% endif %}<p>a</p>{% if yes %}</div>{% endif %}",
    ),
    "dynamic class": (SHEET, '<p class="{{ cls }}">a</p>'),
    "class by a condition": (SHEET, '<p class="{% if yes %}a{% endif %}">a</p>'),
    "attribute by a condition": (SHEET, "<p {% if yes %}class=a{% endif %}>a</p>"),
    "dynamic id": (SHEET, '<p id="{{ ident }}">a</p>'),
    "dynamic style without a rule": (SHEET, '<i style="color:{{ colour }}">a</i>'),
    "dynamic style with a rule": (SHEET, '<p style="color:{{ colour }}">a</p>'),
    "dynamic width in a style": (SHEET, '<i style="width:{{ share }}%">a</i>'),
    "style by a condition": (SHEET, '<p style="{% if yes %}color:blue{% endif %}">a</p>'),
    "dynamic tag": (SHEET, "<{{ tag }}>a</{{ tag }}>"),
    "part of a tag name": (SHEET + "h1{color:red}", "<h{{ one }}>a</h{{ one }}>"),
    "loop with nth-child": (PLACES, "<div>{% for i in items %}<p>a</p>{% endfor %}</div>"),
    "loop with first-child": ("p:first-child{color:red}", "{% for i in items %}<p>a</p>{% endfor %}"),
    "loop with adjacent siblings": ("p + p{color:red}", "{% for i in items %}<p>a</p>{% endfor %}"),
    "if with last-child": ("p:last-child{color:red}", "<p>a</p>{% if no %}<p>b</p>{% endif %}"),
    "safe with elements": (SHEET, "<div class=scope>{{ block|safe }}</div>"),
    "markup as a value": (SHEET, "<div class=scope>{{ markup }}</div>"),
    "dynamic CSS": ("p{color:{{ colour }}}", "<p>a</p>"),
    "macro": (SHEET, "{% macro m(x) %}<p>{{ x }}</p>{% endmacro %}{{ m(1) }}"),
    "macro in a scope": (
        SHEET,
        "{% macro m(x) %}<p>{{ x }}</p>{% endmacro %}<div class=scope>{{ m(1) }}</div>",
    ),
    "call block in a scope": (
        SHEET,
        "{% macro m() %}<div class=scope>{{ caller() }}</div>{% endmacro %}"
        "{% call m() %}<p>a</p>{% endcall %}",
    ),
    "block": (SHEET, "{% block body %}<p>a</p>{% endblock %}"),
    "attribute selector on a dynamic value": (SHEET, '<a href="{{ url }}">x</a>'),
    "empty with control flow": ("p:empty{color:red}", "<p>{% if no %}x{% endif %}</p>"),
    "whitespace control": (SHEET, "<p> {%- if yes -%} a {%- endif -%} </p>"),
    "white space that is content beside white space control": (
        SHEET, "<p>a&nbsp;{%- if yes -%}&nbsp;b{%- endif -%} c</p>",
    ),
    "opened in a branch, closed after it": (
        SHEET, "{% if no %}<div class=scope>{% endif %}<p>a</p></div>",
    ),
    "raw": (SHEET, "<p>{% raw %}{{ name }}{% endraw %}</p>"),
    "autoescape off": (SHEET, "{% autoescape false %}<div>{{ block }}</div>{% endautoescape %}"),
    "set block": (
        SHEET, "{% set x %}<p>a</p>{% endset %}<div class=scope>{{ x }}</div>",
    ),
    "filter block": (SHEET, "{% filter upper %}<p>a</p>{% endfilter %}"),
    "break inside an element": (
        SHEET, "{% for i in items %}<div class=scope>{% break %}</div>{% endfor %}<p>a</p>",
    ),
    "unclosed paragraphs in a loop": (SHEET, "{% for i in items %}<p>a{% endfor %}<b>x</b>"),
    "block inside a paragraph": (SHEET + "p b{color:red}", "<p>{% if yes %}<div></div>{% endif %}<b>x</b></p>"),
    "text moved out of a table": (SHEET, "<table class=scope>{% if yes %}<p>x</p>{% endif %}</table>"),
    "recursive loop": (SHEET, "{% for i in tree recursive %}<p>{{ loop(i.below) }}</p>{% endfor %}"),
    "sheet under a condition": (SHEET, "{% if no %}<style>b{color:red}</style>{% endif %}<b>x</b>"),
    "a comment that data could close": (SHEET, "<!-- {{ dashes }}><p>a</p> --><p>b</p>"),
    "an unquoted value": (SHEET, "<p title={{ name }}>a</p>"),
    "a statement across a value": (SHEET, '<p title="{% if yes %}a">x</p>{% endif %}'),
    "inherited class names": (SHEET, '<div data-x="{{ name }}" class="scope"><p class="a">a</p></div>'),
    "namespaces and sets": (SHEET, "{% set ns = namespace(n=1) %}{% do items %}<p>{{ ns.n }}</p>"),
    "with": (SHEET, "{% with x = 1 %}<p>{{ x }}</p>{% endwith %}"),
    "for else": (SHEET, "{% for i in [] %}<p>a</p>{% else %}<b>b</b>{% endfor %}"),
    "negation": ("p:not(.a){color:red}", '<p class="a">a</p>{% if yes %}<p>b</p>{% endif %}'),
    "sibling that never occurs": ("u + .body p{color:red}", "{% if yes %}<p>a</p>{% endif %}"),
}  # fmt: skip

FLAGGED: Final = frozenset({
    "rows by safe directly inside table", "opened in one branch, closed in another",
    "opened in a branch, closed after it",
    "dynamic class", "attribute by a condition", "dynamic id",
    "dynamic style with a rule", "style by a condition", "dynamic tag", "part of a tag name",
    "loop with nth-child", "loop with first-child", "loop with adjacent siblings", "if with last-child",
    "safe with elements", "dynamic CSS",
    "attribute selector on a dynamic value", "autoescape off", "filter block",
    "break inside an element", "unclosed paragraphs in a loop", "block inside a paragraph",
    "recursive loop", "sheet under a condition",
    "a comment that data could close", "an unquoted value", "a statement across a value",
})  # fmt: skip
"""Those that fall back; all others compile."""

FLAGGED_BY_SOME: Final = frozenset({"text moved out of a table"})
"""Those of which the engines' parsers make different trees."""
