"""Markup: what is missing, dead, refused or deceiving among the elements of a page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from mailglass.errors import SendError
from mailglass.rendering.components import safe_url
from mailglass.rendering.lint.findings import Finding, found
from mailglass.rendering.lint.pages import Element, Page, text_below
from mailglass.rendering.lint.places import Locate

REFUSED_ELEMENTS: Final = frozenset({
    "form", "input", "button", "select", "textarea", "script", "iframe", "frame", "object", "embed",
    "applet", "video", "audio", "canvas", "link", "base",
})  # fmt: skip
_HANDLER: Final = re.compile(r"on[a-z]+")
_ADDRESS: Final = {"a": "href", "img": "src", "area": "href"}
_WITH_SCHEME: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:")
_HOST_IN_TEXT: Final = re.compile(
    r"(?:https?://)?((?:[a-z0-9-]+\.)+[a-z]{2,})(?:[/:?#]\S*)?", re.IGNORECASE
)
_TEXT_CHARS_MIN: Final = 20


def markup_findings(page: Page, locate: Locate) -> Iterator[Finding]:
    """Find what is wrong with the elements of a page."""
    with_headers = {id(above) for cell in page.named("th") for above in cell.line_of_parents()}
    for element in page.elements:
        place = locate(element)
        yield from _refused(element, place)
        if element.name == "img":
            yield from _image(element, place)
        if element.name in _ADDRESS:
            yield from _address(page, element, place)
        if element.name == "table":
            is_layout = element.attributes.get("role") in {"presentation", "none"}
            if not is_layout and id(element) not in with_headers:
                yield found("table_role_missing", place)
    yield from _whole(page)


def _refused(element: Element, place: str) -> Iterator[Finding]:
    if element.name in REFUSED_ELEMENTS:
        yield found("element_refused", place, element=element.name)
    for name in element.attributes:
        if _HANDLER.fullmatch(name):
            yield found("handler_refused", place, attribute=name)


def _image(element: Element, place: str) -> Iterator[Finding]:
    if "alt" not in element.attributes:
        yield found("alt_missing", place)
    if not {"width", "height"} <= element.attributes.keys():
        yield found("image_size_missing", place)


def _address(page: Page, element: Element, place: str) -> Iterator[Finding]:
    written = element.attributes.get(_ADDRESS[element.name], "").strip()
    what = "link" if element.name != "img" else "image"
    if "{{" in written or "%7B%7B" in written or "{%" in written:
        yield found("link_unfilled", place)
    elif written in {"", "#"}:
        if what == "image" or not ({"name", "id"} & element.attributes.keys()):
            yield found("link_dead", place)
    elif written.startswith("#"):
        targets = {one.attributes.get(key) for one in page.elements for key in ("id", "name")}
        if written[1:] not in targets:
            yield found("link_dead", place)
    elif what == "image" and written.lower().startswith("data:"):
        yield found("image_is_data", place)
    else:
        yield from _absolute(page, element, written, what, place)


def _absolute(
    page: Page, element: Element, written: str, what: str, place: str
) -> Iterator[Finding]:
    try:
        safe_url(written)
    except SendError:
        yield found("link_unsafe", place, element=what)
        return
    if _WITH_SCHEME.match(written) is None:
        yield found("link_relative", place, element=what)
    elif written.lower().startswith("http:"):
        yield found("link_http", place, element=what)
    if what == "link" and _deceives(written, text_below(page, element)):
        yield found("link_deceives", place)


def _deceives(written: str, shown: str) -> bool:
    named = _HOST_IN_TEXT.fullmatch(shown.strip())
    try:
        host = (urlsplit(written).hostname or "").lower()
    except ValueError:
        return False
    if named is None or not host:
        return False
    said = named[1].lower()
    return not (host == said or host.endswith(f".{said}") or said.endswith(f".{host}"))


def _whole(page: Page) -> Iterator[Finding]:
    roots = list(page.named("html"))
    if not roots or not roots[0].attributes.get("lang", "").strip():
        yield found("lang_missing", "the layout")
    if not any(one.text.strip() for one in page.named("title")):
        yield found("title_missing", "the layout")
    shown = [one for one, text in page.runs if text.strip() and _is_in_body(one)]
    if not (shown and shown[0].is_hidden):
        yield found("preheader_missing", "the layout")
    chars = sum(
        len("".join(text.split()))
        for one, text in page.runs
        if _is_in_body(one) and not one.is_hidden
    )
    if chars < _TEXT_CHARS_MIN and any(page.named("img")):
        yield found("images_only", "the mail")


def _is_in_body(element: Element) -> bool:
    return all(
        one.name not in {"head", "title", "style", "script"} for one in element.line_of_parents()
    )
