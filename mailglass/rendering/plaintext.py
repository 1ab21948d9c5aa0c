"""The text part made from HTML: what a reader would read aloud, with links spelled out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from lxml import html as lxml_html
from lxml.html import HtmlElement

_DROPPED: Final = frozenset({"head", "script", "style", "title", "template", "svg", "noscript"})
_BLOCKS: Final = frozenset({
    "address", "article", "aside", "blockquote", "body", "center", "dd", "div", "dl", "dt", "figure", "footer",
    "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "li", "main", "nav", "ol", "p", "pre", "section",
    "table", "tbody", "tfoot", "thead", "tr", "ul",
})  # fmt: skip
_SPACED: Final = frozenset(
    {"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "table", "blockquote"}
)
_CELLS: Final = frozenset({"td", "th"})
_HIDDEN: Final = re.compile(
    r"display\s*:\s*none|mso-hide\s*:\s*all|visibility\s*:\s*hidden", re.IGNORECASE
)
_INVISIBLE: Final = re.compile("[\u00ad\u034f\u200b-\u200d\u2060\ufeff]")
_SPACES: Final = re.compile(r"[ \t\r\n\f\u00a0]+")
_LINE: Final = "\n"
_GAP: Final = "\n\n"


def plain_text(html: str) -> str:
    """Return the text of an HTML mail.

    Hidden elements (a preheader, MSO fallbacks), comments, scripts and styles are left out; a link
    becomes ``label (url)``; an image its alternative text; a row of a table one line.
    """
    if not html.strip():
        return ""
    root = lxml_html.document_fromstring(html, parser=lxml_html.HTMLParser(huge_tree=True))
    return _tidied("".join(_walk(root)))


def _walk(root: HtmlElement) -> Iterator[str]:
    """Yield text and line breaks in document order, without recursion: mails nest deeply."""
    pending: list[HtmlElement | str] = [root]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            yield item
            continue
        if _is_dropped(item):
            continue
        before, after = _edges(item)
        yield before
        pending.append(after)
        for child in reversed(item):
            if child.tail:
                pending.append(_flowing(child.tail))
            pending.append(child)
        if item.text:
            pending.append(_flowing(item.text))


def _is_dropped(element: HtmlElement) -> bool:
    if not isinstance(element.tag, str) or element.tag in _DROPPED:
        return True
    hidden = "hidden" in element.attrib or _HIDDEN.search(element.get("style", "")) is not None
    return hidden or element.get("data-mg-plaintext") == "skip"


def _edges(element: HtmlElement) -> tuple[str, str]:
    match element.tag:
        case "br":
            return _LINE, ""
        case "hr":
            return f"{_LINE}---{_LINE}", ""
        case "img":
            return _flowing(element.get("alt", "")), ""
        case "li":
            return f"{_LINE}- ", _LINE
        case "a":
            return "", _target(element)
        case tag if tag in _CELLS:
            return "", "  "
        case tag if tag in _SPACED:
            return _GAP, _GAP
        case tag if tag in _BLOCKS:
            return _LINE, _LINE
        case _:
            return "", ""


def _target(link: HtmlElement) -> str:
    target = link.get("href", "").strip()
    label = "".join(link.itertext()).strip()
    if not target or target.startswith("#") or target.removeprefix("mailto:") == label:
        return ""
    return f" ({target})" if label else target


def _flowing(text: str) -> str:
    return _SPACES.sub(" ", _INVISIBLE.sub("", text))


def _tidied(text: str) -> str:
    lines = [re.sub(r" {2,}", "  ", line).strip() for line in text.split("\n")]
    joined = re.sub(r"\n{3,}", "\n\n", "\n".join(lines))
    return joined.strip() + "\n" if joined.strip() else ""
