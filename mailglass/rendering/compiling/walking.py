"""The walk over a template's files as Jinja would put them together, every branch once.

What is written into a tag at compile time is right for every mail when each mail's elements have
the ancestors that they have here. That holds when every branch and loop is whole in itself (what it
opens, it closes) and the inliner's parser sees the same tree as the strict reading of the tags. All
else is a hazard.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Final

from jinja2 import Environment, nodes
from jinja2 import TemplateError as JinjaError

from mailglass import limits
from mailglass.rendering.compiling.constructs import Construct
from mailglass.rendering.compiling.macros import (
    Found,
    Library,
    Macro,
    Module,
    Placed,
    bound,
    calls_in,
)
from mailglass.rendering.compiling.scanning import FILLER, Span, Tag
from mailglass.rendering.compiling.scopes import Reader, Scope, UnknownError, value_of
from mailglass.rendering.compiling.sources import Source, expanded, read
from mailglass.rendering.compiling.trees import Tree

INCLUDES_DEEP_MAX: Final = 20
CALLS_MAX: Final = 2_000
"""How many calls of macros are written out in one template."""
_UNUSUAL: Final = frozenset({"svg", "math", "template", "plaintext", "frameset", "noscript"})
_QUOTED: Final = re.compile(r"(['\"])([^'\"\\]+)\1(?:\s+(?:with|without)\s+context)?")
_NEUTRAL: Final = frozenset({"set", "do", "extends", "import", "from"})
_ENDS: Final = {"endif": "if", "endfor": "for", "endwith": "with"}

_Range = tuple[Source, int, int]


@dataclass(slots=True)
class _Frame:
    word: str
    height: int


def grow(environment: Environment, name: str) -> Tree:
    """Read a template and what it extends and includes, and put them together."""
    tree = Tree(name, Library(environment, Reader(environment)))
    walk = _Walk(tree)
    walk.template(name, 0)
    if walk.stack:
        tree.hazards.append(f"{name}: <{walk.stack[-1][0]}> is not closed")
    return tree


@dataclass(frozen=True, slots=True)
class _Content:
    """The content of a call block; in it ``caller()`` means nothing, as Jinja has it."""

    place: _Range
    blocks: dict[str, _Range]
    opened: list[Macro]


class _Walk:
    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._library = tree.shared
        self._content: _Content | None = None
        self._open: list[Macro] = []
        self._calls = 0
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
                found = read(self._library, name)
            except JinjaError:
                if name == self._tree.name:
                    raise
                # It may never be rendered; where it is, Jinja tells what is wrong with it.
                found = _unreadable(name)
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
            elif event.kind == "statement" and event.word == "call":
                at = self._call_block(source, at, blocks, depth)
            elif event.kind == "statement":
                self._statement(source, event, depth)
            elif event.kind == "expression" and "(" in event.body:
                self._expression(source, event, depth)
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

    def _call_block(self, source: Source, at: int, blocks: dict[str, _Range], depth: int) -> int:
        opened = source.events[at]
        if not isinstance(opened, Construct):
            raise TypeError("a call block begins with a statement")
        end = _end_of(source, at, "call")
        block = self._library.reader.call_block(opened.body)
        start = source.text.index(opened.body, opened.start)
        placed = calls_in(block.call, opened.body, start, lambda _: None) if block else []
        found = self._meant(source, placed[0].call) if placed else None
        if found is None:
            source.flag(opened.start, "which macro a call block calls cannot be read")
            return end
        self._check_values(source, opened, placed[0].call, placed)
        content = _Content((source, at + 1, end), blocks, list(self._open))
        self._call(source, opened, placed[0], found, content, depth)
        return end

    def _expression(self, source: Source, event: Construct, depth: int) -> None:
        node = self._library.reader.expression(event.body)
        if node is None:
            return
        start = source.text.index(event.body, event.start)
        placed = calls_in(node, event.body, start, partial(self._decided, source))
        self._check_values(source, event, node, placed)
        for one in placed:
            if not one.is_reached:
                continue
            self._frames.append(_Frame("if" if one.is_conditional else "call", len(self.stack)))
            found = self._meant(source, one.call)
            if found is not None:
                source.outputs.add(one.end)
                self._call(source, event, one, found, None, depth)
            elif _is_caller(one.call):
                source.outputs.add(one.end)
                self._called_back(depth)
            self._whole(source, event.start, self._frames.pop())

    def _decided(self, source: Source, test: nodes.Node) -> bool | None:
        try:
            context = source.module.context(self._library.environment)
            return bool(value_of(test, source.scope, context))
        except UnknownError:
            return None

    def _check_values(
        self, source: Source, event: Construct, node: nodes.Node, placed: list[Placed]
    ) -> None:
        calls = {id(one.call) for one in placed}
        for one in (node, *node.find_all(nodes.Call)):
            if not isinstance(one, nodes.Call) or id(one) in calls:
                continue
            if _is_caller(one) or self._meant(source, one) is not None:
                source.flag(event.start, "the HTML of a macro is used as a value")

    def _meant(self, source: Source, call: nodes.Call) -> Found | None:
        return self._library.resolve(call.node, source.module, source.hidden)

    def _called_back(self, depth: int) -> None:
        content, opened = self._content, self._open
        if content is None:
            # Without a call block there is no caller, and Jinja says so when it renders.
            return
        self._content, self._open = None, content.opened
        self._range(content.place, content.blocks, depth + 1)
        self._content, self._open = content, opened

    def _call(  # noqa: PLR0913, PLR0917 - a call is where, what, with which content, and how deep
        self, source: Source, event: Construct, one: Placed, found: Found, content: _Content | None,
        depth: int,
    ) -> None:  # fmt: skip
        self._calls += 1
        if self._calls > CALLS_MAX:
            self._tree.hazards = [f"{self._tree.name}: more than {CALLS_MAX} calls of macros"]
            return
        if found.macro in self._open:
            source.flag(event.start, "a macro that calls itself")
            return
        library, environment = self._library, self._library.environment
        contexts = (source.module.context(environment), found.module.context(environment))
        try:
            around = library.scope_of(found, source.module)
            scope = bound(one.call, found.macro, source.scope, around, contexts)
        except UnknownError:
            source.flag(event.start, "a macro is called with arguments that it does not name")
            return
        made = expanded(library, found.macro, found.module, scope, self._calls)
        self._tree.sources[made.name] = made
        source.called.setdefault(one.name_end, []).append(made)
        self._walk_macro(source, event, made, content, depth)

    def _walk_macro(
        self, source: Source, event: Construct, made: Source, content: _Content | None, depth: int
    ) -> None:
        before, self._content = self._content, content
        if made.macro is not None:
            self._open.append(made.macro)
        self._frames.append(_Frame("macro", len(self.stack)))
        first = next(
            (at for at, one in enumerate(made.events) if isinstance(one, Construct)),
            len(made.events),
        )
        self._range((made, first + 1, len(made.events) - 1), {}, depth + 1)
        self._whole(source, event.start, self._frames.pop())
        self._open.pop()
        self._content = before

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


def _is_caller(call: nodes.Call) -> bool:
    return isinstance(call.node, nodes.Name) and call.node.name == "caller"


def _unreadable(name: str) -> Source:
    module = Module(name, "", None, nodes.Template([]), Counter())
    return Source(name, "", module, Scope())


def _end_of_block(source: Source, at: int) -> int:
    return _end_of(source, at, "block")


def _end_of(source: Source, at: int, word: str) -> int:
    depth = 0
    for place in range(at, len(source.events)):
        event = source.events[place]
        if isinstance(event, Construct) and event.kind == "statement":
            depth += (event.word == word) - (event.word == f"end{word}")
            if depth == 0:
                return place
    return len(source.events)
