"""The files of a template: each read once, scanned, and asked what Jinja does with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from jinja2 import Environment, nodes

from mailglass.rendering.compiling.constructs import Construct, are_whole, constructs, masked
from mailglass.rendering.compiling.folding import Folding
from mailglass.rendering.compiling.macros import (
    ARGUMENTS,
    Library,
    Macro,
    Module,
)
from mailglass.rendering.compiling.scanning import FILLER, Span, Tag, scan
from mailglass.rendering.compiling.scopes import Scope, stored_names

_UNSAFE_FILTERS: Final = frozenset({"safe", "tojson", "urlize", "xmlattr"})
_UNKNOWN_WHERE: Final[dict[type[nodes.Node], str]] = {
    nodes.Macro: "a macro is defined inside something else",
    nodes.Import: "an import inside something else",
    nodes.FromImport: "an import inside something else",
    nodes.FilterBlock: "a filter block may rewrite its HTML",
    nodes.AssignBlock: "a set block holds HTML that is used elsewhere",
    nodes.EvalContextModifier: "autoescape is switched",
    nodes.ScopedEvalContextModifier: "autoescape is switched",
    nodes.Break: "break leaves elements open",
    nodes.Continue: "continue leaves elements open",
}
_KINDS: Final = {
    "variable_begin": "expression", "block_begin": "statement", "comment_begin": "comment",
    "raw_begin": "raw",
}  # fmt: skip

Event: TypeAlias = Tag | Span | Construct


@dataclass(slots=True)
class Source:
    """One file, or one macro for one call of it: its text, what stands in it, what speaks against it."""

    name: str
    text: str
    module: Module
    scope: Scope
    macro: Macro | None = None
    masked: str = ""
    events: list[Event] = field(default_factory=list)
    inner: dict[int, tuple[Construct, ...]] = field(default_factory=dict)
    """The constructs inside a tag, comment or raw content, by where that piece starts."""
    hazards: list[str] = field(default_factory=list)
    title_blocks: set[str] = field(default_factory=set)
    """Blocks inside a title, where a tag of another file would be text."""
    looked_up: set[str] = field(default_factory=set)
    """The names that it reads."""
    called: dict[int, list[Source]] = field(default_factory=dict)
    """The macros that are called, by where the name in the call ends."""
    outputs: set[int] = field(default_factory=set)
    """Where calls end whose HTML is an output, and not that of a call block."""

    @property
    def hidden(self) -> frozenset[str]:
        """Return the names that a macro binds, under which others are not seen."""
        return stored_in(self.macro) if self.macro else frozenset()

    @property
    def filename(self) -> str | None:
        """Return the path of the file, if it is one."""
        return self.module.filename

    @property
    def macro_name(self) -> str | None:
        """Return the name of the macro, if it is one."""
        return None if self.macro is None else self.macro.name

    def place(self, at: int) -> str:
        """Return ``file line n`` of a position."""
        return f"{self.module.name} line {self.text.count(chr(10), 0, at) + 1}"

    def flag(self, at: int, reason: str) -> None:
        """Note why the template cannot be compiled."""
        self.hazards.append(f"{self.place(at)}: {reason}")


def stored_in(macro: Macro) -> frozenset[str]:
    """Return the names that a macro binds: its arguments, and what it sets."""
    found = stored_names([macro.node])
    found.subtract([macro.name])
    return frozenset(name for name, times in found.items() if times > 0)


def read(library: Library, name: str) -> Source:
    """Load and scan a file; Jinja's own errors come through."""
    module = library.module(name)
    scope = library.page(module)
    once = frozenset(one for one, times in module.stores.items() if times == 1)
    context = module.context(library.environment)
    text = Folding(library.reader, scope, context, once).folded(module.text)
    return _taken(library, Source(name, text, module, scope))


def expanded(library: Library, macro: Macro, module: Module, scope: Scope, number: int) -> Source:
    """Return a macro as a source of its own, for one call with the constants of that call."""
    times = stored_names([macro.node])
    once = frozenset(one for one, count in times.items() if count == 1)
    context = module.context(library.environment)
    folding = Folding(library.reader, scope, context, once, is_macro=True)
    lines = "\n" * module.text.count("\n", 0, macro.start)
    text = lines + folding.folded(module.text[macro.start : macro.end])
    source = Source(f"{module.name}#{number}", text, module, scope, macro)
    known = library.scanned.get((module.name, macro.name, text))
    if known is not None:
        source.masked, source.events, source.inner, source.hazards, source.looked_up = known
        return source
    _taken(library, source)
    known = (source.masked, source.events, source.inner, source.hazards, source.looked_up)
    library.scanned[module.name, macro.name, text] = known
    return source


def _taken(library: Library, source: Source) -> Source:
    text = source.text
    tree = library.environment.parse(text, source.module.name, source.filename)
    found = constructs(text)
    _note_what_jinja_does(source, tree)
    if FILLER in text:
        source.flag(0, "the file holds the noncharacter U+FDD0")
    elif not _agrees(library.environment, text, found):
        source.flag(0, "the constructs could not be told from the text")
    else:
        if source.macro is None:
            found = without_definitions(found)
        source.masked = masked(text, found)
        _take_apart(source, found)
    return source


def without_definitions(found: Sequence[Construct]) -> list[Construct]:
    """Return the constructs with each macro's definition as one: it shows nothing where it stands."""
    kept: list[Construct] = []
    depth = start = 0
    for one in found:
        word = one.word if one.kind == "statement" else ""
        if word == "macro":
            start = one.start if depth == 0 else start
            depth += 1
        elif word == "endmacro" and depth:
            depth -= 1
            if depth == 0:
                kept.append(Construct("definition", start, one.end))
        elif depth == 0:
            kept.append(one)
    return kept


def _agrees(environment: Environment, text: str, found: Sequence[Construct]) -> bool:
    counted = dict.fromkeys(_KINDS.values(), 0)
    for _, token, _ in environment.lex(text):
        if token in _KINDS:
            counted[_KINDS[token]] += 1
    ours = dict.fromkeys(_KINDS.values(), 0)
    for one in found:
        ours[one.kind] += 1
    return {**counted, "raw": 2 * counted["raw"]} == ours


def _note_what_jinja_does(source: Source, tree: nodes.Template) -> None:
    outermost: list[nodes.Node] = [
        one
        for one in tree.body
        if not isinstance(one, (nodes.Macro, nodes.Import, nodes.FromImport))
    ]
    if source.macro is not None:
        outermost = list(next(tree.find_all(nodes.Macro)).body)
    for part in outermost:
        for node in (part, *part.find_all((nodes.Stmt, nodes.Expr))):
            reason = _reason(node)
            if reason is not None:
                source.hazards.append(f"{source.module.name} line {node.lineno}: {reason}")
    _note_names(source, outermost)
    for one in tree.body:
        if isinstance(one, (nodes.Import, nodes.FromImport)) and not isinstance(
            one.template, nodes.Const
        ):
            reason = "which file is imported is known only when the mail is rendered"
            source.hazards.append(f"{source.module.name} line {one.lineno}: {reason}")


def _note_names(source: Source, parts: Sequence[nodes.Node]) -> None:
    """Note the names that are looked up, and flag macros that are no callees."""
    defined = (source.module.all_defined | source.module.imports.keys()) - source.hidden
    callees: set[int] = set()
    for part in parts:
        for call in (part, *part.find_all(nodes.Call)):
            if isinstance(call, nodes.Call):
                inner = call.node.node if isinstance(call.node, nodes.Getattr) else call.node
                callees.add(id(inner))
    for part in parts:
        for name in part.find_all(nodes.Name):
            if name.ctx != "load":
                continue
            source.looked_up.add(name.name)
            if name.name in defined and id(name) not in callees:
                reason = "a macro is used as a value"
                source.hazards.append(f"{source.module.name} line {name.lineno}: {reason}")


def _reason(node: nodes.Node) -> str | None:
    for kind, reason in _UNKNOWN_WHERE.items():
        if isinstance(node, kind):
            return reason
    match node:
        case nodes.Filter(name=name) if name in _UNSAFE_FILTERS:
            return f"|{name} makes HTML of a value"
        case nodes.Name(name=name, ctx="load") if name in ARGUMENTS:
            return f"a macro that takes any arguments ({name})"
        case nodes.Call(node=nodes.Name(name="super" | "loop" as name)):
            return f"{name}() inserts HTML from elsewhere"
        case nodes.Getattr(node=nodes.Name(name="self")):
            return "self inserts a block once more"
        case nodes.Include() if not isinstance(node.template, nodes.Const) or node.ignore_missing:
            return "which file is included is known only when the mail is rendered"
        case nodes.Extends() if not isinstance(node.template, nodes.Const):
            return "which file is extended is known only when the mail is rendered"
        case _:
            return None


def _take_apart(source: Source, found: Sequence[Construct]) -> None:
    at = 0
    for piece in scan(source.masked):
        inside: list[Construct] = []
        while at < len(found) and found[at].start < piece.end:
            inside.append(found[at])
            at += 1
        if isinstance(piece, Span) and piece.kind == "text":
            text = source.masked[piece.start : piece.end]
            if "<" in text:
                is_name = f"<{FILLER}" in text
                reason = "a dynamic tag name" if is_name else "a < that begins no complete tag"
                source.flag(piece.start + text.index("<"), reason)
            source.events.extend(_text_and_constructs(piece, inside))
            continue
        source.inner[piece.start] = tuple(inside)
        source.events.append(piece)
        for reason in _hazards_of(source, piece, inside):
            source.flag(piece.start, reason)


def _text_and_constructs(piece: Span, inside: Sequence[Construct]) -> Iterator[Event]:
    at = piece.start
    for one in inside:
        if at < one.start:
            yield Span("text", at, one.start)
        yield one
        at = one.end
    if at < piece.end:
        yield Span("text", at, piece.end)


def _hazards_of(source: Source, piece: Tag | Span, inside: Sequence[Construct]) -> Iterator[str]:
    if isinstance(piece, Span):
        yield from _hazards_of_span(source, piece, inside)
        return
    quoted = [one for one in piece.attributes if one.quote]
    for one in inside:
        if not any(a.value_start <= one.start and one.end <= a.value_end for a in quoted):
            yield "a construct inside a tag, outside a quoted value"
    for attribute in quoted:
        of_value = [
            one for one in inside if attribute.value_start <= one.start < attribute.value_end
        ]
        if not are_whole(of_value):
            yield "a statement that does not end inside its attribute"
    if piece.is_self_closing and not piece.is_void:
        yield f"<{piece.name}/> is closed by itself, which HTML does not know"


def _hazards_of_span(source: Source, piece: Span, inside: Sequence[Construct]) -> Iterator[str]:
    if inside and (piece.within == "style" or piece.kind == "declaration"):
        yield "dynamic CSS" if piece.within == "style" else "a construct in a declaration"
    in_title = piece.within == "title"
    if not are_whole(inside, with_blocks=in_title):
        yield "a statement that does not end inside its comment or title"
    source.title_blocks.update(one.rest.split()[0] for one in inside if one.word == "block")
    content = source.masked[piece.start : piece.end]
    if piece.kind == "raw" and piece.within != "style" and inside and "</" in content:
        yield "an end tag inside a title"
    if piece.kind == "comment":
        if not content.endswith("-->"):
            yield "a comment that is not closed"
        if FILLER + "->" in content or FILLER + ">" in content:
            yield "a construct at the end of a comment"
