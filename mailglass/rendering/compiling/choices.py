"""Classes that are one of a few values: each value's styles are written under its condition."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product, takewhile
from typing import Final

from mailglass.rendering.compiling.constructs import Construct
from mailglass.rendering.compiling.engines import Engine, Matched
from mailglass.rendering.compiling.scanning import FILLER, Attribute
from mailglass.rendering.compiling.scopes import CHOICES_MAX, UnknownError, choices_of, is_pure
from mailglass.rendering.compiling.sheets import Rule, attributes_that_matter
from mailglass.rendering.compiling.sources import Source
from mailglass.rendering.compiling.styling import Edit, Page, Placed, edits, matches
from mailglass.rendering.compiling.trees import Tree

_NAMES: Final = re.compile(r"[\w -]*")
_COMBINED: Final = re.compile(r"[\s>+~]+")
_CLASS: Final = re.compile(r"\.([\w-]+)")


@dataclass(frozen=True, slots=True)
class Choice:
    """One value that a class attribute can have, and when it has it; the last needs no condition."""

    condition: str
    value: str


def class_choices(tree: Tree, rules: Sequence[Rule]) -> dict[int, tuple[Choice, ...]]:
    """Return the elements whose classes are one of a few values, and choose only for themselves."""
    if "class" in attributes_that_matter(rules):
        return {}
    above = {
        name
        for rule in rules
        for part in _COMBINED.split(rule.selector)[:-1]
        for name in _CLASS.findall(part)
    }
    found: dict[int, tuple[Choice, ...]] = {}
    for number, placed in enumerate(tree.page.tags):
        written = placed.tag.attribute("class")
        if written is None or FILLER not in written.value or placed.tag.is_end:
            continue
        try:
            choices = _choices(tree, tree.sources[placed.file], placed, written)
        except UnknownError:
            continue
        if above.isdisjoint(name for one in choices for name in one.value.split()):
            found[number] = choices
    return found


def _choices(tree: Tree, source: Source, placed: Placed, written: Attribute) -> tuple[Choice, ...]:
    inside = [
        one
        for one in source.inner[placed.tag.start]
        if written.value_start <= one.start < written.value_end
    ]
    parts = list(_parts(tree, source, written, inside))
    found: list[Choice] = []
    for values in product(*(choices for _, choices in parts)):
        if len(found) >= CHOICES_MAX:
            raise UnknownError
        conditions = [
            f"({expression}) == '{value}'"
            for (expression, _), value in zip(parts, values, strict=True)
            if expression
        ]
        found.append(Choice(" and ".join(conditions), "".join(values)))
    return tuple(found)


def _parts(
    tree: Tree, source: Source, written: Attribute, inside: Sequence[Construct]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    at, one = written.value_start, 0
    while one < len(inside):
        here = inside[one]
        yield "", (source.text[at : here.start],)
        last = one
        if here.kind == "expression":
            expression = here.body
        else:
            expression, last = _condition(source, inside, one)
        yield expression, _values(tree, source, expression)
        at, one = inside[last].end, last + 1
    yield "", (source.text[at : written.value_end],)


def _condition(source: Source, inside: Sequence[Construct], one: int) -> tuple[str, int]:
    """Return a condition around names as an expression, and which construct ends it."""
    parts: list[str] = []
    while inside[one].kind == "statement" and one + 1 < len(inside):
        here, following = inside[one], inside[one + 1]
        text = source.text[here.end : following.start]
        if here.word not in {"if", "elif", "else"} or _NAMES.fullmatch(text) is None:
            break
        parts.append(f"'{text}' if ({here.rest}) else " if here.rest else f"'{text}'")
        one += 1
        if inside[one].word == "endif":
            is_complete = here.word == "else"
            return "".join(parts) + ("" if is_complete else "''"), one
    raise UnknownError


def _values(tree: Tree, source: Source, expression: str) -> tuple[str, ...]:
    node = tree.shared.reader.expression(expression)
    if node is None or not is_pure(node):
        raise UnknownError
    context = source.module.context(tree.shared.environment)
    found = choices_of(node, source.scope, context)
    if not all(type(one) is str and _NAMES.fullmatch(one) is not None for one in found):
        raise UnknownError
    return tuple(map(str, found))


@dataclass(frozen=True, slots=True)
class Chosen:
    """What matches where each first value is chosen, and elsewhere; the changes; what is in the way."""

    first: list[Matched]
    others: list[Matched]
    changes: dict[int, tuple[Edit, ...]]
    refused: list[int]


def chosen_edits(
    tree: Tree, rules: Sequence[Rule], probes: Sequence[str], engine: Engine,
    choices: Mapping[int, tuple[Choice, ...]],
) -> Chosen:  # fmt: skip
    """Return the changes to a page, with conditions where an element's classes are chosen."""
    count = max(map(len, choices.values()), default=1)
    worlds = [_world(tree.page, choices, at) for at in range(count)]
    matched = [matches(world, rules, probes, engine) for world in worlds]
    several = [edits(world, rules, found) for world, found in zip(worlds, matched, strict=True)]
    merged, refused = dict(several[0]), []
    for number, values in choices.items():
        try:
            changes = [one.get(number, ()) for one in several]
            merged[number] = tuple(_merged(tree, number, values, changes))
        except UnknownError:
            refused.append(number)
    others = [one for found in matched[1:] for one in found]
    return Chosen(matched[0], others, merged, refused)


def _world(page: Page, choices: Mapping[int, tuple[Choice, ...]], at: int) -> Page:
    tags = list(page.tags)
    for number, several in choices.items():
        tag = tags[number].tag
        value = several[min(at, len(several) - 1)].value
        attributes = tuple(
            one._replace(value=value) if one is tag.attribute("class") else one
            for one in tag.attributes
        )
        tags[number] = replace(tags[number], tag=tag._replace(attributes=attributes, form=None))
    return replace(page, tags=tags)


def _merged(
    tree: Tree, number: int, choices: Sequence[Choice], changes: Sequence[tuple[Edit, ...]]
) -> Iterator[Edit]:
    placed = tree.page.tags[number]
    text = tree.sources[placed.file].text
    places = list(dict.fromkeys((one.start, one.end) for several in changes for one in several))
    for start, end in places:
        texts = [
            "".join(one.text for one in several if (one.start, one.end) == (start, end))
            or text[start:end]
            for several in changes[: len(choices)]
        ]
        yield Edit(placed.file, start, end, _chosen(choices, texts))


def _chosen(choices: Sequence[Choice], texts: Sequence[str]) -> str:
    if len(set(texts)) == 1:
        return texts[0]
    lead = tail = ""
    if not all(map(_is_closed, texts)):
        # A condition must not stand across a quote, or nothing could read the tag any more.
        lead = _shared(texts)
        rest = [text[len(lead) :] for text in texts]
        tail = _shared([text[::-1] for text in rest])[::-1]
        texts = [text.removesuffix(tail) for text in rest]
        if not all(map(_is_closed, texts)):
            raise UnknownError
    parts = [lead]
    for number, (one, text) in enumerate(zip(choices, texts, strict=True)):
        if number == len(choices) - 1:
            parts.append(f"{{% else %}}{text}{{% endif %}}")
        else:
            parts.append(f"{{% {'elif' if number else 'if'} {one.condition} %}}{text}")
    return "".join((*parts, tail))


def _shared(texts: Sequence[str]) -> str:
    """Return what all begin with."""
    least, most = min(texts), max(texts)
    same = takewhile(lambda pair: pair[0] == pair[1], zip(least, most, strict=False))
    return "".join(one for one, _ in same)


def _is_closed(text: str) -> bool:
    return text.count('"') % 2 == 0 and text.count("'") % 2 == 0
