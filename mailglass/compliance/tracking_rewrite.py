"""Rewriting for tracking: links of a finished HTML part lead by way of us, and a pixel stands last.

The HTML is scanned, not parsed and written anew: every byte that is not a tracked link stays as the
template made it. Where the scanner meets something that browsers would not agree on, it stops, and
the rest stays as it is.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from html.entities import html5
from typing import Final
from uuid import UUID

from mailglass.compliance.tracking import TrackingLinks
from mailglass.message import Tracking

NO_TRACK: Final = "data-mg-notrack"
"""The attribute that keeps one link out; it is taken off."""

_VALUE: Final = r"""(?:"[^"]*+"|'[^']*+'|[^\s"'>=<`][^\s>]*+|(?=>))"""
_NAME: Final = r"""[^\s/>="'<]++"""
_ATTRIBUTE: Final = re.compile(rf"[\s/]*+({_NAME})(?:\s*+=\s*+({_VALUE}))?")
_TOKEN: Final = re.compile(
    r"<!--(?:>|->|.*?--!?>)"
    r"|<(?:!(?!--)|\?)[^>]*+>"
    r"|<(?P<name>/?[A-Za-z][^\s/>]*+)"
    rf"(?P<attributes>(?:[\s/]*+{_NAME}(?:\s*+=\s*+{_VALUE})?)*+[\s/]*+)>",
    re.DOTALL,
)
"""A comment, another declaration, or a tag; what is none of them ends the scan."""
_TOKEN_START: Final = re.compile(r"<(?=[!?/A-Za-z])")
_RAW_TEXT: Final = {
    name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE)
    for name in (
        *("iframe", "noembed", "noframes", "plaintext", "script"),
        *("style", "template", "textarea", "title", "xmp"),
    )
}
"""Elements whose content is text or no part of the page: no link in them can be followed."""
_REFERENCE: Final = re.compile(
    r"&(?:#[0-9]+;?|#[xX][0-9a-fA-F]+;?|([A-Za-z][A-Za-z0-9]*;?))(?P<next>=?)"
)
_LINKING: Final = frozenset({"a", "area"})
_TRIMMED: Final = "".join(map(chr, range(33)))
_DROPPED: Final = re.compile(r"[\t\n\r]")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tag:
    """A start or end tag; ``attributes`` is the text between its name and its end."""

    name: str
    start: int
    attributes: str
    attributes_start: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wrap:
    """What every link of one mail is led through."""

    delivery_id: UUID
    links: TrackingLinks
    now: datetime
    is_on: bool

    def url(self, target: str) -> str | None:
        """Return the tracked link, or None when the target stays as it is."""
        if not self.is_on or target.startswith((*self.links.never, self.links.url)):
            return None
        return self.links.click_url(self.delivery_id, target, now=self.now)


def track(
    body: str,
    *,
    delivery_id: UUID,
    links: TrackingLinks,
    tracking: Tracking,
    now: datetime,
) -> str:
    """Return the HTML with its links and its end rewritten as ``tracking`` wants.

    A link stays as it is when it has ``data-mg-notrack``, when it is no plain ``http`` or ``https``
    URL (``mailto:``, ``tel:``, ``#part``, relative …), when it leads to the tracking host already,
    or when ``links.never`` has its beginning. The text part is never touched. Sign the mail
    after this, since it changes.
    """
    out: list[str] = []
    at, slot = 0, None
    wrap = _Wrap(delivery_id=delivery_id, links=links, now=now, is_on=bool(tracking.clicks))
    for tag in _tags(body):
        if tag.name == "/body":
            out.append(body[at : tag.start])
            at, slot = tag.start, len(out)
        elif tag.name in _LINKING:
            out += [body[at : tag.attributes_start], _link(tag.attributes, wrap)]
            at = tag.attributes_start + len(tag.attributes)
    out.append(body[at:])
    if tracking.opens:
        source = links.pixel_url(delivery_id, now=now)
        pixel = f'<img src="{source}" width="1" height="1" alt="" style="border:0">'
        out.insert(len(out) if slot is None else slot, pixel)
    return "".join(out)


def _tags(body: str) -> Iterator[_Tag]:
    at = 0
    while (begin := _TOKEN_START.search(body, at)) is not None:
        token = _TOKEN.match(body, begin.start())
        if token is None:
            return
        at = token.end()
        if token["name"] is None:
            continue
        name = token["name"].lower()
        yield _Tag(
            name=name,
            start=token.start(),
            attributes=token["attributes"],
            attributes_start=token.start("attributes"),
        )
        if name in _RAW_TEXT:
            end = _RAW_TEXT[name].search(body, at)
            if end is None:
                return
            at = end.start()


def _link(attributes: str, wrap: _Wrap) -> str:
    """Return the attributes with the target led by way of us, or without the mark that forbids it."""
    found = list(_ATTRIBUTE.finditer(attributes))
    marks = [one for one in found if one[1].lower() == NO_TRACK]
    if marks:
        for one in reversed(marks):
            attributes = attributes[: one.start()] + attributes[one.end() :]
        return attributes
    # Of two attributes with one name browsers take the first.
    first = next((one for one in found if one[1].lower() == "href"), None)
    if first is None or first[2] is None:
        return attributes
    url = wrap.url(_target(first[2]))
    if url is None:
        return attributes
    return f'{attributes[: first.start(2)]}"{url}"{attributes[first.end(2) :]}'


def _target(value: str) -> str:
    """Return the URL as browsers read it (WHATWG URL, basic URL parser, steps 1 to 3)."""
    bare = value[1:-1] if value[:1] in {'"', "'"} else value
    return _DROPPED.sub("", _REFERENCE.sub(_character, bare).strip(_TRIMMED))


def _character(found: re.Match[str]) -> str:
    """Return what a character reference in an attribute stands for (HTML, 13.2.5.73).

    ``&copy=1`` in a query is not one: a name without its semicolon before ``=`` or a letter is text.
    """
    name = found[1]
    if name is None:
        return html.unescape(found[0])
    if name not in html5 or (found["next"] and not name.endswith(";")):
        return found[0]
    return html5[name] + found["next"]
