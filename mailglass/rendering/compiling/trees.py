"""The tree of a template: the page that its files make together, and why it may not be compiled."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from jinja2 import nodes

from mailglass.rendering.compiling.constructs import Construct
from mailglass.rendering.compiling.macros import Library
from mailglass.rendering.compiling.scanning import FILLER
from mailglass.rendering.compiling.scopes import UnknownError, choices_of
from mailglass.rendering.compiling.sources import Source
from mailglass.rendering.compiling.styling import Page

_TAME: Final = re.compile(r"[\w#.,%-]([\w#.,% -]*[\w#.,%-])?")


@dataclass(slots=True)
class Tree:
    """A template with all its files: the page they make, and why it may not be compiled."""

    name: str
    shared: Library
    sources: dict[str, Source] = field(default_factory=dict)
    page: Page = field(default_factory=Page)
    parents: dict[int, int | None] = field(default_factory=dict)
    """Each element's parent by the strict reading of the tags, both by number."""
    repeats: bool = False
    """Whether elements stand under a branch or loop, so that siblings differ from mail to mail."""
    hazards: list[str] = field(default_factory=list)

    def all_hazards(self) -> tuple[str, ...]:
        """Return every reason once, those of the files first."""
        of_files = [one for source in self.sources.values() for one in source.hazards]
        return tuple(dict.fromkeys((*of_files, *self.hazards)))

    def written(self) -> tuple[Source, ...]:
        """Return what the author wrote: the files of the page, and each macro of theirs once."""
        found: dict[tuple[str, str | None], Source] = {}
        for source in self.sources.values():
            if source.macro is None or not source.module.name.startswith("mailglass/"):
                found.setdefault((source.module.name, source.macro_name), source)
        return tuple(found.values())

    def is_tame(self, file: str, one: Construct) -> bool:
        """Tell whether an output is never empty, and never ends a declaration in a style."""
        source, reader = self.sources[file], self.shared.reader
        node = reader.expression(one.body) if one.kind == "expression" else None
        if isinstance(node, nodes.Filter) and node.name == "int":
            return True
        try:
            context = source.module.context(self.shared.environment)
            choices = choices_of(node, source.scope, context) if node else ("",)
            return all(_TAME.fullmatch(str(choice)) is not None for choice in choices)
        except UnknownError:
            return False

    def tame_bodies(self) -> frozenset[tuple[str, str | None, str]]:
        """Return the outputs inside styles that are tame wherever they stand: file, macro, body."""
        found: dict[tuple[str, str | None, str], bool] = {}
        for placed in self.page.tags:
            source = self.sources[placed.file]
            style = placed.tag.attribute("style")
            if style is None or FILLER not in style.value:
                continue
            for one in source.inner[placed.tag.start]:
                if style.value_start <= one.start < style.value_end:
                    key = source.module.name, source.macro_name, one.body
                    found[key] = found.get(key, True) and self.is_tame(placed.file, one)
        return frozenset(key for key, is_tame in found.items() if is_tame)

    def shadowed(self) -> Iterator[str]:
        """Yield a reason for each constant of the environment that another file of the page binds."""
        for source in self.sources.values():
            for name in sorted(self.shared.taken & source.module.stores.keys()):
                if source.macro is None:
                    yield f"{source.name}: {name} is set, which other files take for a constant"
        pages = [one for one in self.sources.values() if one.macro is None]
        for one in pages:
            for other in pages:
                both = one.scope.known.keys() & other.module.stores.keys()
                if other is not one and both:
                    yield f"{one.name}: {min(both)} is set in {other.name}, too"
        modules = {one.name: one.module for one in pages}
        macros = {
            name: one for one in modules.values() for name in (*one.all_defined, *one.imports)
        }
        for source in self.sources.values():
            for name in sorted(source.looked_up & macros.keys() - source.hidden):
                if macros[name] is not source.module and name not in source.module.stores:
                    yield f"{source.module.name}: {name} is a macro that {macros[name].name} defines"
