"""Assembling: compiled files from styled texts, each call of a macro bound to its own variant."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import CodeType
from typing import Any, Final

from jinja2 import BaseLoader, Environment, Template, nodes
from markupsafe import Markup

from mailglass.forks import ProcessLock
from mailglass.rendering.compiling.constructs import constructs
from mailglass.rendering.compiling.macros import Library
from mailglass.rendering.compiling.sources import Source
from mailglass.rendering.compiling.styling import Edit, applied
from mailglass.rendering.compiling.trees import Tree

MARK: Final = "mailglass_placed"
"""The filter that marks the HTML of a macro as compiled."""


_WORD: Final = re.compile(r"[A-Za-z_]\w*")


class Inserted(Markup):
    """The HTML of a macro that was compiled for its place, so that nothing is left to check."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Variant:
    """A macro for the calls that need the same styles in it."""

    file: str
    macro: str
    name: str
    text: str


@dataclass(slots=True)
class Styled:
    """The texts of a template with the styles in them, and the variants of its macros."""

    files: dict[str, str] = field(default_factory=dict)
    variants: list[Variant] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


def styled(tree: Tree, changes: Iterable[Edit]) -> Styled:
    """Write the styles into the texts, and bind each call to the variant that fits its place."""
    return _Styling(tree, changes).run()


class _Styling:
    def __init__(self, tree: Tree, changes: Iterable[Edit]) -> None:
        self._tree = tree
        self._edits: dict[str, list[Edit]] = {}
        for change in changes:
            self._edits.setdefault(change.file, []).append(change)
        self._made: dict[str, Variant] = {}
        self._known: dict[tuple[str, str, str], Variant] = {}
        self._done = Styled()

    def run(self) -> Styled:
        """Return the files and the variants."""
        for source in self._tree.sources.values():
            if source.macro is None:
                self._done.files[source.name] = self._text(source)
        self._done.variants = list(self._known.values())
        return self._done

    def _text(self, source: Source) -> str:
        edits = list(self._edits.get(source.name, ()))
        for at, targets in source.called.items():
            names = list(dict.fromkeys(self._suffix(one) for one in targets))
            if len(names) > 1:
                self._done.reasons.append(
                    f"{source.place(at)}: other rules apply where the call stands again"
                )
            edits.append(Edit(source.name, at, at, names[0]))
        edits += [Edit(source.name, at, at, f"|{MARK}") for at in source.outputs]
        return applied(source.text, edits)

    def _suffix(self, source: Source) -> str:
        variant = self._made.get(source.name)
        if variant is None and source.macro is not None:
            key = (source.module.name, source.macro.name, self._text(source))
            number = len(self._known)
            made = Variant(key[0], key[1], f"__mg{number}", key[2])
            variant = self._made[source.name] = self._known.setdefault(key, made)
        return variant.name if variant else ""


def template(
    library: Library,
    name: str,
    files: Mapping[str, str],
    variants: Iterable[Variant],
    **changed: Any,
) -> Template:
    """Compile the texts into a template; files that are only imported are taken as they are."""
    environment = library.environment
    by_file: dict[str, list[Variant]] = {}
    for one in variants:
        by_file.setdefault(one.file, []).append(one)
    named = _named(files.values(), by_file)
    trees: dict[str, nodes.Template] = {}
    for module in library.modules.values():
        made = module.tree
        if module.name in files:
            made = environment.parse(files[module.name], module.name, module.filename)
        trees[module.name] = nodes.Template(
            [
                part
                for one in made.body
                for part in _with_variants(environment, one, by_file, module.name, named)
            ],
            lineno=1,
        )
    loader = _Trees(
        trees, {one.name: one.filename for one in library.modules.values()}, environment
    )
    closed = environment.overlay(loader=loader, **changed)
    closed.filters = {**environment.filters, MARK: Inserted}
    return closed.get_template(name)


def _named(files: Iterable[str], variants: Mapping[str, list[Variant]]) -> frozenset[str]:
    """Return all words in constructs, among which is each macro that is still called as written."""
    texts = [*files, *(one.text for several in variants.values() for one in several)]
    bodies = [text[one.start : one.end] for text in texts for one in constructs(text)]
    return frozenset(word for body in bodies for word in _WORD.findall(body))


def _with_variants(
    environment: Environment, one: nodes.Node, by_file: Mapping[str, list[Variant]], name: str,
    named: frozenset[str],
) -> Iterable[nodes.Node]:  # fmt: skip
    if not isinstance(one, nodes.Macro) or one.name in named:
        # What Jinja compiles it may change; the environment itself is no part of a tree.
        one = copy.deepcopy(one, {id(environment): environment})
        yield one
    if isinstance(one, nodes.Macro):
        for variant in by_file.get(name, ()):
            if variant.macro == one.name:
                made = next(environment.parse(variant.text).find_all(nodes.Macro))
                made.name += variant.name
                yield made
    elif isinstance(one, nodes.FromImport) and isinstance(one.template, nodes.Const):
        given = [(name, name) if isinstance(name, str) else name for name in one.names]
        one.names += [
            (original + variant.name, alias + variant.name)
            for original, alias in given
            for variant in by_file.get(one.template.value, ())
            if variant.macro == original
        ]


class _Trees(BaseLoader):
    """Compiles the trees that it is given; what was never read comes from the files.

    A tree is let go once it is compiled: it is several times as large as its code.
    """

    def __init__(
        self,
        trees: Mapping[str, nodes.Template],
        filenames: Mapping[str, str | None],
        files: Environment,
    ) -> None:
        self._trees = dict(trees)
        self._codes: dict[str, CodeType] = {}
        self._lock = ProcessLock()
        self._filenames = filenames
        self._files = files

    def get_source(
        self, environment: Environment, template: str
    ) -> tuple[str, str | None, Callable[[], bool] | None]:
        """Read a file that the template is not made of."""
        if self._files.loader is None:
            raise TypeError("the environment has no loader")
        return self._files.loader.get_source(environment, template)

    def load(
        self,
        environment: Environment,
        name: str,
        globals: Any = None,  # noqa: A002 - Jinja's name
    ) -> Template:
        """Compile a tree."""
        with self._lock:
            if name in self._trees:
                tree = self._trees.pop(name)
                self._codes[name] = environment.compile(tree, name, self._filenames[name])
            code = self._codes.get(name)
        if code is None:
            return super().load(environment, name, globals)
        return environment.template_class.from_code(environment, code, globals or {}, None)
