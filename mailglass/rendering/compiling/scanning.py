"""A scanner for HTML that keeps every position, so that a tag can be changed and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from typing import Final, TypeAlias

FILLER: Final = "\ufdd0"
"""Stands in place of each character of a Jinja construct: a noncharacter, so in no text."""
VOID: Final = frozenset({
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source",
    "track", "wbr",
})  # fmt: skip
RAW_TEXT: Final = frozenset(
    {"style", "script", "title", "textarea", "xmp", "iframe", "noembed", "noframes"}
)

_NAME: Final = re.compile(r"[A-Za-z][^\s/>]*")
_GAP: Final = re.compile(r"[\s/]*")
_ATTRIBUTE: Final = re.compile(
    r"([^\s/>][^\s/>=]*)(?:\s*=\s*(?:(?P<double>\"[^\"]*\")|(?P<single>'[^']*')|(?P<bare>[^\s>\"'][^\s>]*)))?"
)
_REFERENCE: Final = re.compile(r"&(?:#\d+|#[xX][0-9a-fA-F]+|[A-Za-z][A-Za-z0-9]*);")


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute as written: where it and its value stand; ``quote`` is None without a value."""

    name: str
    start: int
    end: int
    value_start: int
    value_end: int
    quote: str | None
    value: str
    """As written, with its references."""


@dataclass(frozen=True, slots=True)
class Tag:
    """A start tag or an end tag."""

    name: str
    start: int
    end: int
    is_end: bool = False
    attributes: tuple[Attribute, ...] = ()
    is_self_closing: bool = False

    @property
    def is_void(self) -> bool:
        """Tell whether the element never has content."""
        return self.name in VOID

    def attribute(self, name: str) -> Attribute | None:
        """Return the first attribute of a name, the one that counts."""
        for one in self.attributes:
            if one.name == name:
                return one
        return None


@dataclass(frozen=True, slots=True)
class Span:
    """What is no tag: ``text``, ``comment``, ``declaration`` or the ``raw`` content of ``within``."""

    kind: str
    start: int
    end: int
    within: str = ""


Piece: TypeAlias = Tag | Span


def scan(text: str) -> Iterator[Piece]:
    """Yield the pieces of an HTML text in order; together they are the whole text.

    A tag that never ends is text, as a comment that never ends is a comment.
    """
    at = since = 0
    length = len(text)
    while (at := text.find("<", at)) >= 0:
        piece = _piece(text, at)
        if piece is None:
            at += 1
            continue
        if since < at:
            yield Span("text", since, at)
        yield piece
        at = since = piece.end
        if isinstance(piece, Tag) and not piece.is_end and piece.name in RAW_TEXT:
            end = _end_of_raw(text, at, piece.name)
            if end > at:
                yield Span("raw", at, end, piece.name)
            at = since = end
    if since < length:
        yield Span("text", since, length)


def _piece(text: str, at: int) -> Piece | None:
    following = text[at + 1 : at + 2]
    if following in {"!", "?"}:
        if text.startswith("<!--", at):
            close = text.find("-->", at + 2)
            return Span("comment", at, len(text) if close < 0 else close + 3)
        close = text.find(">", at)
        return Span("declaration", at, len(text) if close < 0 else close + 1)
    if following == "/":
        return _tag(text, at, at + 2, is_end=True)
    return _tag(text, at, at + 1, is_end=False)


def _tag(text: str, start: int, at: int, *, is_end: bool) -> Tag | None:
    named = _NAME.match(text, at)
    if named is None:
        return None
    at = named.end()
    attributes: list[Attribute] = []
    while True:
        gap = _GAP.match(text, at)
        at = gap.end() if gap else at
        if at >= len(text):
            return None
        if text[at] == ">":
            break
        found = _ATTRIBUTE.match(text, at)
        if found is None:
            return None
        attributes.append(_attribute(found))
        at = found.end()
    closed = text[at - 1] == "/" and (not attributes or attributes[-1].end < at)
    return Tag(named[0].lower(), start, at + 1, is_end, tuple(attributes), closed)


def _attribute(found: re.Match[str]) -> Attribute:
    name, start, end = found[1].lower(), found.start(), found.end()
    group = found.lastgroup
    if group is None:
        return Attribute(name, start, end, end, end, None, "")
    since, until = found.span(group)
    if group == "bare":
        return Attribute(name, start, end, since, until, "", found[group])
    quote = found[group][0]
    return Attribute(name, start, end, since + 1, until - 1, quote, found[group][1:-1])


def _end_of_raw(text: str, at: int, name: str) -> int:
    found = re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE).search(text, at)
    return len(text) if found is None else found.start()


def attribute_text(raw: str) -> str:
    """Return what an attribute's value means; only closed references count, as in URLs."""
    return _REFERENCE.sub(lambda found: unescape(found[0]), raw) if "&" in raw else raw
