"""The text part made from HTML: what a reader would read aloud, with links spelled out.

``pieces`` turns tags into a stream of text with control characters for breaks, cells and links;
``finished`` makes the text of it. A template's text is derived by running only the first at compile
time, so both ways give the same text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from html import unescape
from typing import Final

from mailglass.rendering.compiling.columns import (
    CELL,
    PAD,
    ROW,
    SPAN,
    TABLE,
    TABLE_END,
    laid_out,
)
from mailglass.rendering.compiling.scanning import VOID, Piece, Tag, attribute_text, scan

BREAK: Final = "\x01"
GAP: Final = "\x01\x01"
LINK: Final = "\x03"
TARGET: Final = "\x04"
END: Final = "\x05"
NOTHING: Final = "\x06"
"""Keeps apart what a tag kept apart, where Jinja would strip white space; it vanishes."""

_DROPPED: Final = frozenset({
    "head", "script", "style", "title", "template", "svg", "noscript", "textarea", "select",
})  # fmt: skip
_BLOCKS: Final = frozenset({
    "address", "article", "aside", "blockquote", "body", "center", "dd", "div", "dl", "dt", "figure", "footer",
    "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "li", "main", "nav", "ol", "p", "pre", "section",
    "table", "tbody", "tfoot", "thead", "tr", "ul",
})  # fmt: skip
_SPACED: Final = frozenset(
    {"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "table", "blockquote"}
)
_EDGES: Final = (
    dict.fromkeys(_BLOCKS, (BREAK, BREAK))
    | dict.fromkeys(_SPACED, (GAP, GAP))
    | {
        "br": (BREAK, ""), "hr": (f"{BREAK}---{BREAK}", ""), "li": (f"{BREAK}- ", BREAK),
        "tr": (f"{BREAK}{ROW}", BREAK),
    }
)  # fmt: skip
"""What stands before and after the content of an element, whatever its attributes say."""
_SPANS: Final = re.compile("[1-9]")
_CELLS: Final = frozenset({"td", "th"})
CLOSED_BY_THE_NEXT: Final = {
    "li": {"li"}, "p": {"p"}, "td": {"td", "th"}, "th": {"td", "th"}, "dd": {"dd", "dt"},
    "dt": {"dd", "dt"}, "option": {"option"},
}  # fmt: skip
_LAYOUT: Final = frozenset({"presentation", "none"})
HIDDEN: Final = re.compile(
    r"display\s*:\s*none|mso-hide\s*:\s*all|visibility\s*:\s*hidden", re.IGNORECASE
)
"""The declarations that hide an element from a reader."""
_INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u200b-\u200d\u2060\ufeff\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]"
)
_SPACES: Final = re.compile("[ \t\r\n\f\u00a0]+")
ODD: Final = re.compile(
    "[\t\r\n\f\u00a0\u00ad\u034f\u200b-\u200d\u2060\ufeff\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]|  "
)
"""What ``flowing`` would change."""
_LINK: Final = re.compile("\x03([^\x03-\x05]*)\x04([^\x03-\x05]*)\x05")
_LEFT_OVER: Final = re.compile("[\x03-\x06]")


def plain_text(html: str) -> str:
    """Return the text of an HTML mail.

    Hidden elements (a preheader, MSO fallbacks), comments, scripts and styles are left out; a link
    becomes ``label (url)``; an image its alternative text; a table has columns of one width if it
    is narrow enough, and else a row of it is one line.
    """
    return finished("".join(text for _, text in pieces(scan(html), html)))


def pieces(found: Iterable[Piece], html: str) -> Iterator[tuple[Piece, str]]:
    """Yield each piece that shows with its text, and each end that belongs to it."""
    shown = Shown()
    for piece in found:
        if isinstance(piece, Tag):
            yield piece, "".join(shown.tag(piece))
        elif piece.kind == "text" and not shown.is_hidden:
            yield piece, flowing(unescape(html[piece.start : piece.end]))


class Shown:
    """Follows the tags of a mail and tells what each adds to the text."""

    def __init__(self) -> None:
        self._open: list[tuple[str, str]] = []
        self._hidden_from: int | None = None

    @property
    def is_hidden(self) -> bool:
        """Tell whether the place is inside something that does not show."""
        return self._hidden_from is not None

    def tag(self, tag: Tag) -> Iterator[str]:
        """Take the next tag; yield the text before and after what it changes."""
        if tag.is_end:
            yield from self._closed(tag.name)
            return
        if self._open and self._open[-1][0] in CLOSED_BY_THE_NEXT.get(tag.name, ()):
            yield from self._closed(self._open[-1][0])
        if tag.name in VOID:
            if not self.is_hidden and not is_dropped(tag):
                yield edges(tag)[0]
            return
        self._open.append((tag.name, "" if self.is_hidden else edges(tag)[1]))
        if self.is_hidden:
            return
        if is_dropped(tag):
            self._hidden_from = len(self._open)
            self._open[-1] = (tag.name, "")
            return
        yield edges(tag)[0]

    def _closed(self, name: str) -> Iterator[str]:
        if all(name != opened for opened, _ in self._open[-32:]):
            return
        while self._open:
            opened, after = self._open.pop()
            if self._hidden_from is not None and len(self._open) < self._hidden_from:
                self._hidden_from = None
            elif not self.is_hidden:
                yield after
            if opened == name:
                return


def is_dropped(tag: Tag) -> bool:
    """Tell whether an element is left out with all that is in it."""
    if tag.name in _DROPPED or tag.attribute("hidden") is not None:
        return True
    style, mark = tag.attribute("style"), tag.attribute("data-mg-plaintext")
    if style is not None and HIDDEN.search(attribute_text(style.value)) is not None:
        return True
    return mark is not None and mark.value == "skip"


def edges(tag: Tag) -> tuple[str, str]:
    """Return what stands before and after the content of an element."""
    match tag.name:
        case "img":
            return _value(tag, "alt"), ""
        case "a":
            return LINK, f"{TARGET}{_value(tag, 'href')}{END}"
        case "table" if _value(tag, "role") not in _LAYOUT:
            return f"{GAP}{TABLE}", f"{TABLE_END}{GAP}"
        case name if name in _CELLS:
            span = _value(tag, "colspan")
            more = int(span) - 1 if _SPANS.fullmatch(span) else 0
            return "", f"{SPAN * more}{CELL}"
        case name:
            return _EDGES.get(name, ("", ""))


def _value(tag: Tag, name: str) -> str:
    found = tag.attribute(name)
    return "" if found is None else flowing(attribute_text(found.value))


def flowing(text: str) -> str:
    """Return a text as it flows: white space is one space, what cannot be seen is gone."""
    return _SPACES.sub(" ", _INVISIBLE.sub("", text))


def finished(text: str) -> str:
    """Return the text part of a stream of text and marks.

    By replacing alone where it can: patterns that begin with a space cost five times as much.
    """
    text = _at_most(1, " ", text.replace(NOTHING, ""))
    if LINK in text:
        # A space inside a label and one behind it stand side by side now.
        text = _at_most(1, " ", _LINK.sub(_spelled, text))
    if LINK in text or TARGET in text or END in text:
        text = _LEFT_OVER.sub("", text)
    text = laid_out(text, BREAK)
    for mark in (CELL, BREAK):
        text = text.replace(f" {mark}", mark).replace(f"{mark} ", mark)
    text = _at_most(1, CELL, text)
    text = text.replace(f"{CELL}{BREAK}", BREAK).replace(f"{BREAK}{CELL}", BREAK)
    text = _at_most(2, BREAK, text).strip(f" {BREAK}{CELL}")
    return text.replace(BREAK, "\n").replace(CELL, "  ").replace(PAD, " ") + "\n" if text else ""


def _at_most(times: int, mark: str, text: str) -> str:
    while mark * (times + 1) in text:
        text = text.replace(mark * (times + 1), mark * times)
    return text


def _spelled(link: re.Match[str]) -> str:
    label, target = link[1], link[2].strip(" ")
    words = label.strip(f" {BREAK}{CELL}")
    if not target or target.startswith("#") or target.removeprefix("mailto:") == words:
        return label
    return f"{label.rstrip(' ')} ({target})" if words else target
