"""The tree of a template: its files walked as Jinja would put them together, every branch once.

What is written into a tag at compile time is right for every mail when each mail's elements have
the ancestors that they have here. That holds when every branch and loop is whole in itself (what it
opens, it closes) and the inliner's parser sees the same tree as the strict reading of the tags. All
else is a hazard.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from jinja2 import Environment
from jinja2 import TemplateError as JinjaError

from mailglass import limits
from mailglass.rendering.compiling.constructs import Construct
from mailglass.rendering.compiling.scanning import FILLER, Span, Tag
from mailglass.rendering.compiling.sources import Source, read
from mailglass.rendering.compiling.styling import Page

INCLUDES_DEEP_MAX: Final = 20
_UNUSUAL: Final = frozenset({"svg", "math", "template", "plaintext", "frameset", "noscript"})
_QUOTED: Final = re.compile(r"(['\"])([^'\"\\]+)\1(?:\s+(?:with|without)\s+context)?")
_NEUTRAL: Final = frozenset({"set", "do", "extends"})
_ENDS: Final = {"endif": "if", "endfor": "for", "endwith": "with"}

_Range = tuple[Source, int, int]


@dataclass(slots=True)
class _Frame:
    word: str
    height: int


@dataclass(slots=True)
class Tree:
    """A template with all its files: the page they make, and why it may not be compiled."""

    name: str
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


def grow(environment: Environment, name: str) -> Tree:
    """Read a template and what it extends and includes, and put them together."""
    tree = Tree(name)
    walk = _Walk(environment, tree)
    walk.template(name, 0)
    if walk.stack:
        tree.hazards.append(f"{name}: <{walk.stack[-1][0]}> is not closed")
    return tree


class _Walk:
    def __init__(self, environment: Environment, tree: Tree) -> None:
        self._environment = environment
        self._tree = tree
        self._frames: list[_Frame] = []
        self.stack: list[tuple[str, int]] = []

    def template(self, name: str, depth: int) -> None:
        """Walk a file with those it extends."""
        blocks: dict[str, _Range] = {}
        seen: set[str] = set()
        while True:
            if depth > INCLUDES_DEEP_MAX or name in seen:
                self._tree.hazards.append(f"{name}: files include or extend one another too deep")
                return
            seen.add(name)
            source = self._source(name)
            for block, place in _blocks_of(source).items():
                blocks.setdefault(block, place)
            self._check_titles(source, blocks)
            parent = self._parent(source)
            if parent is None:
                break
            name = parent
        self._range((source, 0, len(source.events)), blocks, depth)

    def _source(self, name: str) -> Source:
        found = self._tree.sources.get(name)
        if found is None:
            try:
                found = read(self._environment, name)
            except JinjaError:
                if name == self._tree.name:
                    raise
                # It may never be rendered; where it is, Jinja tells what is wrong with it.
                found = Source(name, "", None)
                found.flag(0, "the file cannot be read")
            self._tree.sources[name] = found
        return found

    def _check_titles(self, source: Source, blocks: dict[str, _Range]) -> None:
        for block in source.title_blocks & blocks.keys():
            other, start, stop = blocks[block]
            for event in other.events[start:stop]:
                is_text = isinstance(event, Span) and event.kind == "text"
                if not is_text and not (isinstance(event, Construct) and event.word != "include"):
                    other.flag(event.start, f"markup in the block {block}, which is in a title")

    def _parent(self, source: Source) -> str | None:
        for event in source.events:
            if isinstance(event, Construct) and event.word == "extends":
                found = _QUOTED.fullmatch(event.rest)
                if found is not None:
                    return found[2]
                source.flag(event.start, "which file is extended cannot be read")
        return None

    def _range(self, place: _Range, blocks: dict[str, _Range], depth: int) -> None:
        source, at, stop = place
        if depth > INCLUDES_DEEP_MAX:
            source.flag(0, "blocks and files are inside one another too deep")
            return
        while at < stop:
            event = source.events[at]
            if isinstance(event, Tag):
                self._tag(source, event)
            elif isinstance(event, Span):
                self._span(source, event)
            elif event.kind == "statement" and event.word == "block":
                at = self._block(source, at, blocks, depth)
            elif event.kind == "statement":
                self._statement(source, event, depth)
            at += 1

    def _block(self, source: Source, at: int, blocks: dict[str, _Range], depth: int) -> int:
        opened = source.events[at]
        if not isinstance(opened, Construct):
            raise TypeError("a block begins with a statement")
        height = len(self.stack)
        name = opened.rest.split()[0]
        self._frames.append(_Frame("block", height))
        if name in blocks:
            self._range(blocks[name], blocks, depth + 1)
        self._whole(source, opened.start, self._frames.pop())
        return _end_of_block(source, at)

    def _statement(self, source: Source, event: Construct, depth: int) -> None:
        word = event.word
        if word in _ENDS.values():
            self._frames.append(_Frame(word, len(self.stack)))
        elif word in {"else", "elif"} and self._frames:
            self._whole(source, event.start, self._frames[-1])
        elif word in _ENDS and self._frames and self._frames[-1].word == _ENDS[word]:
            self._whole(source, event.start, self._frames.pop())
        elif word == "include":
            found = _QUOTED.fullmatch(event.rest)
            if found is None:
                source.flag(event.start, "which file is included cannot be read")
                return
            self._frames.append(_Frame("include", len(self.stack)))
            self.template(found[2], depth + 1)
            self._whole(source, event.start, self._frames.pop())
        elif word not in _NEUTRAL:
            source.flag(event.start, f"{{% {word} %}} is not known")
        elif word == "extends" and any(one.word != "block" for one in self._frames):
            source.flag(event.start, "extends under a condition")

    def _whole(self, source: Source, at: int, frame: _Frame) -> None:
        if len(self.stack) != frame.height:
            source.flag(at, f"an element is opened and closed in different parts of a {frame.word}")
            del self.stack[frame.height :]

    def _tag(self, source: Source, tag: Tag) -> None:
        tree = self._tree
        number = len(tree.page.tags)
        if number >= 2 * limits.INLINER_ELEMENTS_MAX:
            tree.hazards = ["more elements than the inliner bears"]
            return
        if tag.name == "style" and self._is_controlled():
            source.flag(tag.start, "a sheet under a condition")
        tree.page.add(source.name, tag, source.masked)
        if FILLER in tag.name:
            source.flag(tag.start, "a dynamic tag name")
        elif tag.name in _UNUSUAL:
            source.flag(tag.start, f"<{tag.name}> changes how its content is read")
        base = self._frames[-1].height if self._frames else 0
        if not tag.is_end:
            tree.parents[number] = self.stack[-1][1] if self.stack else None
            tree.repeats = tree.repeats or self._is_controlled()
            if not tag.is_void:
                self.stack.append((tag.name, number))
        elif len(self.stack) > base and self.stack[-1][0] == tag.name:
            self.stack.pop()
        else:
            source.flag(tag.start, f"</{tag.name}> does not close what was opened last")

    def _is_controlled(self) -> bool:
        return any(frame.word in {"if", "for"} for frame in self._frames)

    def _span(self, source: Source, span: Span) -> None:
        self._tree.page.add(source.name, span, source.masked)


def _blocks_of(source: Source) -> dict[str, _Range]:
    found: dict[str, _Range] = {}
    for at, event in enumerate(source.events):
        if isinstance(event, Construct) and event.word == "block" and event.kind == "statement":
            found[event.rest.split()[0]] = (source, at + 1, _end_of_block(source, at))
    return found


def _end_of_block(source: Source, at: int) -> int:
    depth = 0
    for place in range(at, len(source.events)):
        event = source.events[place]
        if isinstance(event, Construct) and event.kind == "statement":
            depth += (event.word == "block") - (event.word == "endblock")
            if depth == 0:
                return place
    return len(source.events)
