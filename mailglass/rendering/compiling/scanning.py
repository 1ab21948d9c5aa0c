"""A scanner for HTML that keeps every position, so that a tag can be changed and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from html import unescape
from typing import Final, NamedTuple, TypeAlias

FILLER: Final = "\ufdd0"
"""Stands in place of each character of a Jinja construct: a noncharacter, so in no text."""
VOID: Final = frozenset({
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source",
    "track", "wbr",
})  # fmt: skip
RAW_TEXT: Final = frozenset(
    {"style", "script", "title", "textarea", "xmp", "iframe", "noembed", "noframes"}
)

_KNOWN_MAX: Final = 2048
"""How many tags are kept: mails repeat them, row by row and mail by mail."""
_KNOWN_CHARS_MAX: Final = 256
_QUOTES: Final = frozenset("\"'=")
_NAME: Final = re.compile(r"[A-Za-z][^\s/>]*")
_GAP: Final = re.compile(r"[\s/]*")
_ATTRIBUTE: Final = re.compile(
    r"([^\s/>][^\s/>=]*)(?:\s*=\s*(?:(?P<double>\"[^\"]*\")|(?P<single>'[^']*')|(?P<bare>[^\s>\"'][^\s>]*)))?"
)
_REFERENCE: Final = re.compile(r"&(?:#\d+|#[xX][0-9a-fA-F]+|[A-Za-z][A-Za-z0-9]*);")


class Attribute(NamedTuple):
    """An attribute as written: where it and its value stand; ``quote`` is None without a value.

    A tuple, since a large mail has ten thousand of them and a tuple is made in a third of the time.
    """

    name: str
    start: int
    end: int
    value_start: int
    value_end: int
    quote: str | None
    value: str
    """As written, with its references."""


class Tag(NamedTuple):
    """A start tag or an end tag; a tuple as its attributes are."""

    name: str
    start: int
    end: int
    is_end: bool = False
    attributes: tuple[Attribute, ...] = ()
    is_self_closing: bool = False
    form: Tag | None = None
    """The same tag as if its text began with it, one object for all that are written so."""

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
    close = text.find(">", at, at + _KNOWN_CHARS_MAX)
    known = _known(text[at : close + 1]) if close >= 0 else None
    if known is not None:
        return _moved(known, at)
    return _tag(text, at, at + 1 + (following == "/"), is_end=following == "/")


@lru_cache(maxsize=_KNOWN_MAX)
def _known(text: str) -> Tag | None:
    """Return a tag read on its own, if nothing in it could go on behind its first ``>``."""
    is_end = text.startswith("</")
    found = _tag(text, 0, 1 + is_end, is_end=is_end)
    if found is None or any(_QUOTES & set(one.name) for one in found.attributes):
        return None
    return found


def _moved(tag: Tag, by: int) -> Tag:
    name, _, end, is_end, attributes, is_self_closing, _ = tag
    moved = tuple([
        Attribute(one, start + by, stop + by, since + by, until + by, quote, value)
        for one, start, stop, since, until, quote, value in attributes
    ])  # fmt: skip
    return Tag(name, by, end + by, is_end, moved, is_self_closing, tag)


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
