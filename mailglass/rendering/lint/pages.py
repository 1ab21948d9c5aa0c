"""The page that lint reads: the elements of a rendered mail with what they say and look like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import unescape
from itertools import takewhile

from mailglass.rendering.compiling.scanning import VOID, Span, Tag, attribute_text, scan
from mailglass.rendering.compiling.sheets import declarations
from mailglass.rendering.plaintext import CLOSED_BY_THE_NEXT, is_dropped


@dataclass(slots=True, eq=False)
class Element:
    """One element; ``text`` is what stands in it directly."""

    number: int
    tag: Tag
    at_line: int
    parent: Element | None
    attributes: Mapping[str, str]
    style: Mapping[str, str]
    is_hidden: bool
    text: str = ""

    @property
    def name(self) -> str:
        """Return the name in small letters."""
        return self.tag.name

    def line_of_parents(self) -> Iterator[Element]:
        """Yield the element, then what it is in, up to the root."""
        at: Element | None = self
        while at is not None:
            yield at
            at = at.parent


@dataclass(slots=True)
class Page:
    """A mail's HTML taken apart; ``runs`` are its texts in order, each with what it stands in."""

    html: str
    elements: list[Element] = field(default_factory=list)
    runs: list[tuple[Element, str]] = field(default_factory=list)
    sheets: list[str] = field(default_factory=list)
    comments_chars: int = 0

    def named(self, *names: str) -> Iterator[Element]:
        """Yield the elements of some names."""
        return (one for one in self.elements if one.name in names)


def read_page(html: str) -> Page:
    """Take a mail's HTML apart; comments, and so what only Outlook reads, are left out."""
    page = Page(html)
    stack: list[Element] = []
    for piece in scan(html):
        if isinstance(piece, Tag):
            _take_tag(page, stack, piece)
        else:
            _take_span(page, stack, piece)
    return page


def text_below(page: Page, top: Element) -> str:
    """Return all that stands in an element and in what it holds."""
    # What it holds comes right after it.
    below = takewhile(
        lambda one: any(each is top for each in one.line_of_parents()),
        page.elements[top.number :],
    )
    return " ".join(one.text for one in below)


def _take_tag(page: Page, stack: list[Element], tag: Tag) -> None:
    if tag.is_end:
        if any(one.name == tag.name for one in stack):
            while stack.pop().name != tag.name:
                continue
        return
    if stack and stack[-1].name in CLOSED_BY_THE_NEXT.get(tag.name, ()):
        stack.pop()
    parent = stack[-1] if stack else None
    attributes = {one.name: attribute_text(one.value) for one in reversed(tag.attributes)}
    one = Element(
        number=len(page.elements),
        tag=tag,
        at_line=page.html.count("\n", 0, tag.start) + 1,
        parent=parent,
        attributes=attributes,
        style={each.name: each.value for each in declarations(attributes.get("style", ""))},
        is_hidden=is_dropped(tag) or (parent is not None and parent.is_hidden),
    )
    page.elements.append(one)
    if tag.name not in VOID:
        stack.append(one)


def _take_span(page: Page, stack: list[Element], span: Span) -> None:
    content = page.html[span.start : span.end]
    if span.kind == "comment":
        page.comments_chars += len(content)
    elif span.within == "style":
        page.sheets.append(content)
    elif stack and span.kind in {"text", "raw"}:
        stack[-1].text += unescape(content)
        page.runs.append((stack[-1], content))
