"""Which readers ignore which CSS: a table of our own, each row with the tests it rests on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from mailglass.rendering.compiling.sheets import declarations
from mailglass.rendering.lint.findings import GMAIL_SHEET_BYTES, Finding, found
from mailglass.rendering.lint.pages import Page
from mailglass.rendering.lint.places import Locate

_OUTLOOK: Final = "Outlook for Windows"
_GMAIL: Final = "Gmail"
_YAHOO: Final = "Yahoo Mail"
_COMMENT: Final = re.compile(r"/\*.*?\*/", re.DOTALL)
_NESTED: Final = re.compile(r"@[^{};]*\{(?:[^{}]*\{[^{}]*\})*[^{}]*@")
"""An at-rule whose block is still open where another begins."""
_BLOCK: Final = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class _Row:
    """A property, the values meant (None: any), who ignores it, what to use instead, and a source."""

    feature: str
    name: str
    values: re.Pattern[str] | None
    clients: tuple[str, ...]
    instead: str
    page: str

    @property
    def source(self) -> str:
        """Return where the tests are written down."""
        return f"https://www.caniemail.com/features/{self.page}/"


def _row(  # noqa: PLR0913, PLR0917 - the columns of the table
    feature: str, name: str, values: str | None, clients: tuple[str, ...], instead: str, page: str
) -> _Row:
    return _Row(feature, name, re.compile(values) if values else None, clients, instead, page)


_EVERYWHERE: Final = (_GMAIL, _OUTLOOK, _YAHOO)
CLIENTS: Final = (
    _row("display:flex", "display", r"(?:inline-)?flex", (_OUTLOOK,),
         "Use the row and column components, or tables.", "css-display-flex"),
    _row("display:grid", "display", r"(?:inline-)?grid", _EVERYWHERE,
         "Use the row and column components, or tables.", "css-display-grid"),
    _row("position", "position", r"absolute|fixed|sticky|relative", (_GMAIL, _OUTLOOK),
         "Lay it out with tables and padding.", "css-position"),
    _row("float", "float", r"left|right", (_OUTLOOK,),
         "Use align on the table or image.", "css-float"),
    _row("background-image", "background-image", r"url\(.*", (_OUTLOOK,),
         "Give it a background colour that the text is readable on, too.", "css-background-image"),
    _row("box-shadow", "box-shadow", r"(?!none).*", _EVERYWHERE,
         "Use a border where the edge matters.", "css-box-shadow"),
    _row("animation", "animation", r"(?!none).*", _EVERYWHERE,
         "Use an animated GIF whose first picture says it all.", "css-animation"),
    _row("transform", "transform", r"(?!none).*", _EVERYWHERE,
         "Use an image that is drawn as it should be seen.", "css-transform"),
    _row("filter", "filter", r"(?!none).*", _EVERYWHERE,
         "Use an image that is drawn as it should be seen.", "css-filter"),
    _row("object-fit", "object-fit", None, (_OUTLOOK, _YAHOO),
         "Cut the image to its size.", "css-object-fit"),
    _row("calc()", "", r".*\bcalc\(.*", (_OUTLOOK, "Outlook.com", _YAHOO),
         "Write the length out.", "css-unit-calc"),
    _row("a CSS variable", "", r".*\bvar\(.*", (_GMAIL, _OUTLOOK, "Outlook.com", _YAHOO),
         "Write the value out, or use the theme.", "css-variables"),
)  # fmt: skip
"""What common readers ignore, after the tests of caniemail.com as of 2024."""


def unsupported(page: Page, locate: Locate) -> Iterator[Finding]:
    """Find CSS that common readers ignore, each feature where it is used first."""
    told: set[str] = set()
    for element in page.elements:
        for row in _rows(element.style.items()):
            if row.feature not in told:
                told.add(row.feature)
                yield _finding(row, locate(element))
    for sheet in page.sheets:
        for body in _BLOCK.findall(sheet):
            for row in _rows((one.name, one.value) for one in declarations(body)):
                if row.feature not in told:
                    told.add(row.feature)
                    yield _finding(row, "the style sheet")


def dropped_sheets(page: Page) -> Iterator[Finding]:
    """Find style sheets that Gmail leaves out altogether."""
    if sum(len(sheet.encode()) for sheet in page.sheets) > GMAIL_SHEET_BYTES:
        yield found("gmail_drops_styles", "the style sheets", reason="of more than 16 KB")
    if any(_NESTED.search(_COMMENT.sub("", sheet)) for sheet in page.sheets):
        yield found("gmail_drops_styles", "the style sheets", reason="with an @rule in another")


def _rows(pairs: Iterable[tuple[str, str]]) -> Iterator[_Row]:
    for name, value in pairs:
        for row in CLIENTS:
            is_meant = row.values is None or row.values.fullmatch(value.lower()) is not None
            if is_meant and row.name in {name, ""}:
                yield row


def _finding(row: _Row, place: str) -> Finding:
    return found(
        "css_unsupported",
        place,
        feature=row.feature,
        clients=", ".join(row.clients),
        instead=row.instead,
        source=row.source,
    )
