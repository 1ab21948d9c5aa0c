"""Contrast: each text of a page against the background that it stands on, where both are known."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from mailglass.rendering.components import contrast
from mailglass.rendering.lint.findings import (
    LARGE_TEXT_CONTRAST_MIN,
    TEXT_CONTRAST_MIN,
    Finding,
    found,
)
from mailglass.rendering.lint.pages import Element, Page
from mailglass.rendering.lint.places import Locate

_LARGE_PX: Final = 24.0
_LARGE_BOLD_PX: Final = 18.66
"""WCAG 2.2: large is 18 points, or 14 when it is bold."""
_NAMES: Final = {
    "black": "#000000", "silver": "#c0c0c0", "gray": "#808080", "grey": "#808080",
    "white": "#ffffff", "maroon": "#800000", "red": "#ff0000", "purple": "#800080",
    "fuchsia": "#ff00ff", "green": "#008000", "lime": "#00ff00", "olive": "#808000",
    "yellow": "#ffff00", "navy": "#000080", "blue": "#0000ff", "teal": "#008080",
    "aqua": "#00ffff", "orange": "#ffa500",
}  # fmt: skip
_HEX: Final = re.compile(r"#([0-9a-fA-F]{3}|[0-9a-fA-F]{6})\b")
_RGB: Final = re.compile(r"rgb\(\s*(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})\s*\)")
_WORD: Final = re.compile(r"[a-z]+")
_PX: Final = re.compile(r"(\d+(?:\.\d+)?)px")
_BOLD: Final = frozenset({"bold", "bolder", "700", "800", "900"})
_BOLD_ELEMENTS: Final = frozenset({"b", "strong", "th", "h1", "h2", "h3", "h4", "h5", "h6"})
_TRANSPARENT: Final = frozenset({"transparent", "none", "inherit", "initial", "unset"})
_NOT_SHOWN: Final = frozenset({"title", "style", "script", "head"})
_NO_PX: Final = 16.0
_CHANNEL_MAX: Final = 255


def low_contrasts(page: Page, locate: Locate) -> Iterator[Finding]:
    """Find texts that are hard to read; where a colour is not plain, nothing is said."""
    for element in page.elements:
        if element.is_hidden or element.name in _NOT_SHOWN or not element.text.strip():
            continue
        ink, ground = _ink(element), _ground(element)
        if ink is None or ground is None:
            continue
        least = LARGE_TEXT_CONTRAST_MIN if _is_large(element) else TEXT_CONTRAST_MIN
        has = contrast(ink, ground)
        if has < least:
            yield found("contrast_low", locate(element), contrast=f"{has:.1f}", least=least)


def _ink(element: Element) -> str | None:
    for one in element.line_of_parents():
        value = one.style.get("color") or one.attributes.get("color")
        if value is not None and value.lower() not in _TRANSPARENT:
            return _colour(value)
        if one.name == "a":
            return None  # every reader has a colour of its own for links
    return "#000000"


def _ground(element: Element) -> str | None:
    for one in element.line_of_parents():
        if any("url(" in value or "gradient" in value for value in one.style.values()):
            return None
        value = (
            one.style.get("background-color")
            or one.style.get("background")
            or one.attributes.get("bgcolor")
        )
        if value is not None and value.lower() not in _TRANSPARENT:
            return _colour(value)
    return "#ffffff"


def _colour(value: str) -> str | None:
    value = value.strip().lower()
    if hexed := _HEX.search(value):
        digits = hexed[1]
        return f"#{digits}" if len(digits) == 6 else "#" + "".join(2 * one for one in digits)  # noqa: PLR2004 - rrggbb
    if parts := _RGB.search(value):
        channels = [int(part) for part in parts.groups()]
        return "#{:02x}{:02x}{:02x}".format(*channels) if max(channels) <= _CHANNEL_MAX else None
    return next((_NAMES[word] for word in _WORD.findall(value) if word in _NAMES), None)


def _is_large(element: Element) -> bool:
    size = next(
        (
            float(size[1])
            for one in element.line_of_parents()
            if (size := _PX.match(one.style.get("font-size", "")))
        ),
        _NO_PX,
    )
    return size >= _LARGE_PX or (size >= _LARGE_BOLD_PX and _is_bold(element))


def _is_bold(element: Element) -> bool:
    for one in element.line_of_parents():
        if "font-weight" in one.style:
            return one.style["font-weight"] in _BOLD
        if one.name in _BOLD_ELEMENTS:
            return True
    return False
