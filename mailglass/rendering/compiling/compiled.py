"""Compilation: a template whose styles are in its tags already, or the reasons why not."""

from __future__ import annotations

import time
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

from jinja2 import Environment, Template

from mailglass import limits
from mailglass.errors import TemplateError
from mailglass.rendering.compiling.assembling import Inserted, styled, template
from mailglass.rendering.compiling.choices import chosen_edits, class_choices
from mailglass.rendering.compiling.engines import Engine, Matched
from mailglass.rendering.compiling.scanning import FILLER, Attribute
from mailglass.rendering.compiling.sheets import (
    Rule,
    attributes_that_matter,
    class_names_matter,
    ids_matter,
)
from mailglass.rendering.compiling.spoken import spoken, spoken_texts
from mailglass.rendering.compiling.styling import (
    STAND_IN,
    UNSTYLED,
    Edit,
    Placed,
    for_outlook_of,
    own_declarations,
)
from mailglass.rendering.compiling.trees import Tree
from mailglass.rendering.compiling.walking import grow
from mailglass.rendering.inlining import check_markup, check_sheets, written_depth

_PLAIN: Final = frozenset({str, int, float, bool, type(None), Inserted})
_MARKUP: Final = frozenset("<>\"'")


@unique
class Mode(StrEnum):
    """How a template's styles get into a mail: once, or into each mail anew."""

    COMPILED = "compiled"
    FALLBACK = "fallback"


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateReport:
    """What became of a template: ``reasons`` say why a fallback is one."""

    name: str
    mode: Mode
    reasons: tuple[str, ...]
    compile_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """A template ready to render.

    Without ``html`` each mail is inlined after rendering; without ``text`` the text is read from
    each mail's HTML.
    """

    report: TemplateReport
    html: Template | None = None
    text: Template | None = None
    taken: frozenset[str] = frozenset()
    """The environment's names whose values are written into it: a mail with its own is inlined."""


class ReadyMadeHtmlError(Exception):
    """Is raised while a compiled template renders a value that brings tags: inline that mail."""


def compile_template(environment: Environment, name: str, engine: Engine) -> Compiled:
    """Compile a template; Jinja's own errors come through.

    Raises:
        ConfigError: when the engine is not installed.

    """
    begun = time.perf_counter()
    tree = grow(environment, name)
    reasons = list(tree.all_hazards()) or [*_refusals(environment, tree), *tree.shadowed()]
    changes: list[Edit] = []
    if not reasons:
        changes, reasons = _styles(tree, engine)
    html = text = None
    if not reasons:
        done = styled(tree, changes)
        reasons = done.reasons
    if not reasons:
        html = template(tree.shared, name, done.files, done.variants, finalize=_checked)
        said = spoken_texts(environment, tree, done, changes)
        if said is not None:
            text = template(
                tree.shared, name, said.files, said.variants, finalize=spoken, autoescape=False
            )
    report = TemplateReport(
        name=name,
        mode=Mode.FALLBACK if reasons else Mode.COMPILED,
        reasons=tuple(reasons),
        compile_ms=(time.perf_counter() - begun) * 1000,
    )
    return Compiled(report=report, html=html, text=text, taken=frozenset(tree.shared.taken))


def _refusals(environment: Environment, tree: Tree) -> list[str]:
    found = []
    for source in tree.sources.values():
        escapes = environment.autoescape
        if not (escapes(source.module.name) if callable(escapes) else escapes):
            found.append(f"{source.module.name}: values are not escaped in it")
        try:
            check_markup(source.text, source.module.name)
            check_sheets(source.text, source.module.name)
        except TemplateError as error:
            found.append(error.message)
        if len(source.text.encode("utf-8", "surrogatepass")) > limits.INLINER_BYTES_MAX:
            found.append(f"{source.module.name}: more than {limits.INLINER_BYTES_MAX} bytes")
    if sum(len(sheet) for sheet in tree.page.sheets) and (
        "\n".join(tree.page.sheets).count("{") > limits.INLINER_RULES_MAX
    ):
        found.append(f"{tree.name}: more than {limits.INLINER_RULES_MAX} rules")
    tags = [placed.tag for placed in tree.page.tags]
    if sum(not tag.is_end for tag in tags) > limits.INLINER_ELEMENTS_MAX:
        found.append(f"{tree.name}: more than {limits.INLINER_ELEMENTS_MAX} elements")
    if written_depth(tags) > limits.INLINER_DEPTH_MAX:
        found.append(f"{tree.name}: elements nested more than {limits.INLINER_DEPTH_MAX} deep")
    return found


def _styles(tree: Tree, engine: Engine) -> tuple[list[Edit], list[str]]:
    """Return the changes to the files, or the reasons why there can be none."""
    rules = tree.page.rules()
    if not rules:
        return [], []
    placed = [rule for rule in rules if rule.is_structural] if tree.repeats else []
    choices = class_choices(tree, rules)
    probes = [rule.weakened for rule in placed]
    chosen = chosen_edits(tree, rules, probes, engine, choices)
    matched = [*chosen.first, *chosen.others]
    reasons = [
        *_other_tree(tree, chosen.first),
        *_dynamic_attributes(tree, rules, matched, choices.keys() - set(chosen.refused)),
        *_places(tree, rules, placed, matched),
    ]
    changes, doubled = _once_each(tree, chosen.changes)
    return changes, list(dict.fromkeys([*reasons, *doubled]))


def _other_tree(tree: Tree, matched: Iterable[Matched]) -> Iterable[str]:
    seen: dict[int, int | None] = {}
    for one in matched:
        if one.number in seen:
            yield f"{_place(tree, one.number)}: the parser puts the element into two places"
        seen[one.number] = one.parent
    for number, parent in tree.parents.items():
        if tree.page.tags[number].tag.name in {"style", "script"}:
            continue
        if number not in seen or seen[number] != parent:
            name = tree.page.tags[number].tag.name
            yield f"{_place(tree, number)}: <{name}> may not stand here, so parsers move it"


def _looked_at(rules: list[Rule]) -> set[str]:
    found = {*attributes_that_matter(rules), "data-premailer", "data-css-inline"}
    named = {"class": class_names_matter(rules), "id": ids_matter(rules)}
    return found | {name for name, matters in named.items() if matters}


def _dynamic_attributes(
    tree: Tree, rules: list[Rule], matched: Iterable[Matched], chosen: Container[int]
) -> Iterable[str]:
    looked_at = _looked_at(rules)
    styled = {
        one.number
        for one in matched
        if any(number < len(rules) for number in one.rules)
        and tree.page.tags[one.number].tag.name not in UNSTYLED
    }
    for number, placed in enumerate(tree.page.tags):
        for attribute in placed.tag.attributes:
            if FILLER not in attribute.value or (attribute.name == "class" and number in chosen):
                continue
            reason = None
            if attribute.name in looked_at:
                reason = f"a dynamic {attribute.name}, which selectors look at"
            elif attribute.name == "style" and number in styled:
                reason = _dynamic_style(tree, placed, attribute)
            elif placed.tag.name == "style":
                reason = "a dynamic attribute of a sheet"
            if reason is not None:
                yield f"{_place(tree, number)}: {reason}"


def _dynamic_style(tree: Tree, placed: Placed, attribute: Attribute) -> str | None:
    inside = tree.sources[placed.file].inner[placed.tag.start]
    of_style = [one for one in inside if attribute.value_start <= one.start < attribute.value_end]
    values = "".join(one.value for one in own_declarations(placed.tag))
    is_of_values = values.count(STAND_IN) == attribute.value.count(FILLER)
    if not is_of_values or not all(tree.is_tame(placed.file, one) for one in of_style):
        return "a dynamic style on an element that rules style"
    if any(
        STAND_IN in value and placed.tag.attribute(name) is None
        for name, value in for_outlook_of(placed.tag)
    ):
        return "a dynamic style that Outlook reads from an attribute"
    return None


def _places(
    tree: Tree, rules: list[Rule], placed: list[Rule], matched: Iterable[Matched]
) -> Iterable[str]:
    hit = {number - len(rules) for one in matched for number in one.rules if number >= len(rules)}
    for number in sorted(hit):
        selector = placed[number].selector
        yield f"{tree.name}: {selector} counts siblings, and a branch or loop changes them"


def _once_each(tree: Tree, changes: Mapping[int, tuple[Edit, ...]]) -> tuple[list[Edit], list[str]]:
    """Return each tag's changes once, and the tags that would need others at another place."""
    wanted: dict[tuple[str, int], tuple[Edit, ...]] = {}
    doubled: list[str] = []
    for number in tree.parents:
        placed = tree.page.tags[number]
        changed = changes.get(number, ())
        if wanted.setdefault((placed.file, placed.tag.start), changed) != changed:
            doubled.append(f"{_place(tree, number)}: other rules apply where it is included again")
    return [one for changed in wanted.values() for one in changed], doubled


def _place(tree: Tree, number: int) -> str:
    placed = tree.page.tags[number]
    return tree.sources[placed.file].place(placed.tag.start)


def _checked(value: object) -> object:
    if value.__class__ in _PLAIN:
        return value
    if hasattr(value, "__html__") and not _MARKUP.isdisjoint(str(value.__html__())):
        raise ReadyMadeHtmlError
    return value
