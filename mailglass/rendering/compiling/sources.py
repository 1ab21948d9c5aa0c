"""The files of a template: each read once, scanned, and asked what Jinja does with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from jinja2 import Environment, nodes

from mailglass.rendering.compiling.constructs import Construct, are_whole, constructs, masked
from mailglass.rendering.compiling.scanning import FILLER, Span, Tag, scan

_UNSAFE_FILTERS: Final = frozenset({"safe", "tojson", "urlize", "xmlattr"})
_UNKNOWN_WHERE: Final[dict[type[nodes.Node], str]] = {
    nodes.Macro: "a macro's HTML depends on where it is called",
    nodes.CallBlock: "a call block's HTML depends on the macro",
    nodes.Import: "imported macros depend on where they are called",
    nodes.FromImport: "imported macros depend on where they are called",
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
    """One file: its text, its pieces and constructs in order, and what speaks against compiling."""

    name: str
    text: str
    filename: str | None
    masked: str = ""
    events: list[Event] = field(default_factory=list)
    inner: dict[int, tuple[Construct, ...]] = field(default_factory=dict)
    """The constructs inside a tag, comment or raw content, by where that piece starts."""
    hazards: list[str] = field(default_factory=list)
    title_blocks: set[str] = field(default_factory=set)
    """Blocks inside a title, where a tag of another file would be text."""

    def place(self, at: int) -> str:
        """Return ``file line n`` of a position."""
        return f"{self.name} line {self.text.count(chr(10), 0, at) + 1}"

    def flag(self, at: int, reason: str) -> None:
        """Note why the template cannot be compiled."""
        self.hazards.append(f"{self.place(at)}: {reason}")


def read(environment: Environment, name: str) -> Source:
    """Load and scan a file; Jinja's own errors come through."""
    if environment.loader is None:
        raise TypeError("the environment has no loader")
    text, filename, _ = environment.loader.get_source(environment, name)
    tree = environment.parse(text, name, filename)
    source = Source(name, text, filename)
    found = constructs(text)
    _note_what_jinja_does(source, tree)
    if FILLER in text:
        source.flag(0, "the file holds the noncharacter U+FDD0")
    elif not _agrees(environment, text, found):
        source.flag(0, "the constructs could not be told from the text")
    else:
        source.masked = masked(text, found)
        _take_apart(source, found)
    return source


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
    for node in tree.find_all((nodes.Stmt, nodes.Expr)):
        reason = _reason(node)
        if reason is not None:
            source.hazards.append(f"{source.name} line {node.lineno}: {reason}")


def _reason(node: nodes.Node) -> str | None:
    for kind, reason in _UNKNOWN_WHERE.items():
        if isinstance(node, kind):
            return reason
    match node:
        case nodes.Filter(name=name) if name in _UNSAFE_FILTERS:
            return f"|{name} makes HTML of a value"
        case nodes.Call(node=nodes.Name(name="super" | "caller" | "loop" as name)):
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
            if "<" in source.masked[piece.start : piece.end]:
                source.flag(piece.start, "a < that begins no complete tag")
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
