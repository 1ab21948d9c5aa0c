"""Template sources: what can be told before anything is rendered, line by line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from jinja2 import Environment, nodes

from mailglass.rendering.compiling.constructs import Construct
from mailglass.rendering.compiling.scanning import FILLER, Span, Tag
from mailglass.rendering.compiling.sources import Source
from mailglass.rendering.lint.findings import Finding, found
from mailglass.rendering.lint.markup import REFUSED_ELEMENTS

_HANDLER: Final = re.compile(r"on[a-z]+")
_ADDRESSES: Final = frozenset({"href", "src", "background"})
_CHECKED: Final = re.compile(r"\|\s*safe_url\b|\A\W*unsubscribe_url\W*\Z")
"""A value that is looked at, or the link that mailglass makes itself."""


def source_findings(environment: Environment, source: Source) -> Iterator[Finding]:
    """Find what is dangerous in a file of a template."""
    yield from _of_jinja(environment, source)
    for event in source.events:
        if isinstance(event, Tag) and not event.is_end:
            yield from _of_tag(source, event)
        elif isinstance(event, Span) and event.within == "style" and _inside(source, event.start):
            yield found("value_in_css", source.place(event.start))


def _of_jinja(environment: Environment, source: Source) -> Iterator[Finding]:
    tree = environment.parse(source.text, source.name)
    for modifier in tree.find_all(nodes.EvalContextModifier):
        yield found("autoescape_off", f"{source.module.name} line {modifier.lineno}")
    for used in tree.find_all(nodes.Filter):
        if used.name == "safe" and not isinstance(used.node, nodes.Const):
            yield found("safe_filter", f"{source.module.name} line {used.lineno}")


def _of_tag(source: Source, tag: Tag) -> Iterator[Finding]:
    place = source.place(tag.start)
    if tag.name in REFUSED_ELEMENTS:
        yield found("element_refused", place, element=tag.name)
    inside = _inside(source, tag.start)
    quoted = [(one.value_start, one.value_end) for one in tag.attributes if one.quote]
    for construct in inside:
        if construct.kind == "expression" and not any(
            since <= construct.start and construct.end <= until for since, until in quoted
        ):
            yield found("value_unquoted", place)
    for attribute in tag.attributes:
        if _HANDLER.fullmatch(attribute.name):
            yield found("handler_refused", place, attribute=attribute.name)
        if attribute.name not in _ADDRESSES or not attribute.value.startswith(FILLER):
            continue
        first = next((one for one in inside if one.start == attribute.value_start), None)
        if first is not None and first.kind == "expression" and not _CHECKED.search(first.body):
            yield found("address_unchecked", place, attribute=attribute.name)


def _inside(source: Source, start: int) -> tuple[Construct, ...]:
    return source.inner.get(start, ())
