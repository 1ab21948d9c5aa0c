"""Places: which line of which template an element of a rendered mail was written in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from html import escape
from typing import Final, TypeAlias

from mailglass.rendering.compiling.scanning import FILLER, Tag
from mailglass.rendering.compiling.sources import Source
from mailglass.rendering.lint.pages import Element

Locate: TypeAlias = Callable[[Element], str]

_ADDED: Final = frozenset({"style", "width", "height", "bgcolor", "align", "valign"})
"""What the inliner writes, and so does not stand in the template."""
_FILLERS: Final = re.compile(f"{FILLER}+")
_TELLING_CHARS_MIN: Final = 8
_TELLING: Final = ("href", "src", "alt", "title", "class", "id")


@dataclass(frozen=True, slots=True)
class _Written:
    place: str
    name: str
    patterns: dict[str, re.Pattern[str]]
    following: re.Pattern[str]
    """The text that comes next, with anything where a value or statement stands."""


def locator(sources: Iterable[Source]) -> Locate:
    """Return a function that finds an element's line; where it cannot, it tells the HTML's."""
    files = list(sources)
    written = [
        _Written(file.place(event.start), event.name, _patterns(event), _following(file, event))
        for file in files
        for event in file.events
        if isinstance(event, Tag) and not event.is_end
    ]

    def locate(element: Element) -> str:
        return (
            _by_tag(written, element)
            or _by_value(files, element)
            or f"HTML line {element.at_line} (<{element.name}>)"
        )

    return locate


def _patterns(tag: Tag) -> dict[str, re.Pattern[str]]:
    found = {}
    for one in tag.attributes:
        if one.name == "style":
            # The inliner writes its rules around what the author wrote.
            found["style"] = re.compile(f".*{_loose(one.value.strip().rstrip('; '))}.*", re.DOTALL)
        else:
            found[one.name] = re.compile(_loose(one.value), re.DOTALL)
    return found


def _following(file: Source, tag: Tag) -> re.Pattern[str]:
    text = file.masked[tag.end :].partition("<")[0].strip()
    return re.compile(rf"\s*{_loose(text)}\s*", re.DOTALL)


def _loose(text: str) -> str:
    return ".*".join(map(re.escape, _FILLERS.split(text)))


def _by_tag(written: Iterable[_Written], element: Element) -> str | None:
    raw = {one.name: one.value for one in reversed(element.tag.attributes)}
    best: tuple[int, bool] | None = None
    place: str | None = None
    for one in written:
        if one.name != element.name or not raw.keys() - one.patterns.keys() <= _ADDED:
            continue
        if all(name in raw and want.fullmatch(raw[name]) for name, want in one.patterns.items()):
            says = one.following.match(escape(element.text, quote=False)) is not None
            score = (len(one.patterns), says)
            if best is None or score > best:
                best, place = score, one.place
    return place


def _by_value(files: Iterable[Source], element: Element) -> str | None:
    """Find the call of a component by what was passed to it."""
    for name in _TELLING:
        value = element.attributes.get(name, "")
        if len(value) < _TELLING_CHARS_MIN:
            continue
        for file in files:
            at = file.text.find(value)
            if at >= 0:
                return file.place(at)
    return None
