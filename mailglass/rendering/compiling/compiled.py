"""Compilation: a template whose styles are in its tags already, or the reasons why not."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Any, Final

from jinja2 import Environment, FunctionLoader, Template

from mailglass import limits
from mailglass.errors import TemplateError
from mailglass.rendering.compiling.engines import Engine, Matched
from mailglass.rendering.compiling.scanning import FILLER
from mailglass.rendering.compiling.sheets import (
    Rule,
    attributes_that_matter,
    class_names_matter,
    ids_matter,
)
from mailglass.rendering.compiling.spoken import spoken, spoken_sources
from mailglass.rendering.compiling.styling import (
    UNSTYLED,
    Edit,
    applied,
    edits,
    matches,
)
from mailglass.rendering.compiling.trees import Tree, grow
from mailglass.rendering.inlining import check_markup, check_sheets, written_depth

_PLAIN: Final = frozenset({str, int, float, bool, type(None)})
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


class ReadyMadeHtmlError(Exception):
    """Is raised while a compiled template renders a value that brings tags: inline that mail."""


def compile_template(environment: Environment, name: str, engine: Engine) -> Compiled:
    """Compile a template; Jinja's own errors come through.

    Raises:
        ConfigError: when the engine is not installed.

    """
    begun = time.perf_counter()
    tree = grow(environment, name)
    reasons = list(tree.all_hazards()) or _refusals(environment, tree)
    changes: list[Edit] = []
    if not reasons:
        changes, reasons = _styles(tree, engine)
    html = text = None
    if not reasons:
        styled = _sources(tree, changes)
        html = _template(environment, tree, styled, finalize=_checked)
        said = spoken_sources(environment, tree, styled)
        if said is not None:
            text = _template(environment, tree, said, finalize=spoken, autoescape=False)
    report = TemplateReport(
        name=name,
        mode=Mode.FALLBACK if reasons else Mode.COMPILED,
        reasons=tuple(reasons),
        compile_ms=(time.perf_counter() - begun) * 1000,
    )
    return Compiled(report=report, html=html, text=text)


def _refusals(environment: Environment, tree: Tree) -> list[str]:
    found = []
    for source in tree.sources.values():
        escapes = environment.autoescape
        if not (escapes(source.name) if callable(escapes) else escapes):
            found.append(f"{source.name}: values are not escaped in it")
        try:
            check_markup(source.text, source.name)
            check_sheets(source.text, source.name)
        except TemplateError as error:
            found.append(error.message)
        if len(source.text.encode("utf-8", "surrogatepass")) > limits.INLINER_BYTES_MAX:
            found.append(f"{source.name}: more than {limits.INLINER_BYTES_MAX} bytes")
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
    matched = matches(tree.page, rules, [rule.weakened for rule in placed], engine)
    reasons = [
        *_other_tree(tree, matched),
        *_dynamic_attributes(tree, rules, matched),
        *_places(tree, rules, placed, matched),
    ]
    changes, doubled = _once_each(tree, edits(tree.page, rules, matched))
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


def _dynamic_attributes(tree: Tree, rules: list[Rule], matched: Iterable[Matched]) -> Iterable[str]:
    looked_at = set(attributes_that_matter(rules))
    if class_names_matter(rules):
        looked_at.add("class")
    if ids_matter(rules):
        looked_at.add("id")
    looked_at |= {"data-premailer", "data-css-inline"}
    styled = {
        one.number
        for one in matched
        if any(number < len(rules) for number in one.rules)
        and tree.page.tags[one.number].tag.name not in UNSTYLED
    }
    for number, placed in enumerate(tree.page.tags):
        for attribute in placed.tag.attributes:
            if FILLER not in attribute.value:
                continue
            if attribute.name in looked_at:
                yield f"{_place(tree, number)}: a dynamic {attribute.name}, which selectors look at"
            elif attribute.name == "style" and number in styled:
                yield f"{_place(tree, number)}: a dynamic style on an element that rules style"
            elif placed.tag.name == "style":
                yield f"{_place(tree, number)}: a dynamic attribute of a sheet"


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


def _sources(tree: Tree, changes: list[Edit]) -> dict[str, str]:
    by_file: dict[str, list[Edit]] = {}
    for change in changes:
        by_file.setdefault(change.file, []).append(change)
    return {
        source.name: applied(source.text, by_file.get(source.name, ()))
        for source in tree.sources.values()
    }


def _template(
    environment: Environment, tree: Tree, texts: Mapping[str, str], **changed: Any
) -> Template:
    files = {name: (text, tree.sources[name].filename, None) for name, text in texts.items()}
    closed = environment.overlay(loader=FunctionLoader(files.get), **changed)
    return closed.get_template(tree.name)


def _checked(value: object) -> object:
    if value.__class__ in _PLAIN:
        return value
    if hasattr(value, "__html__") and not _MARKUP.isdisjoint(str(value.__html__())):
        raise ReadyMadeHtmlError
    return value
