"""CSS inlining of a finished mail, with every way to the network closed and the input bounded."""

from __future__ import annotations

import re
import sys
from itertools import chain
from typing import Final

from lxml import etree

from mailglass import limits
from mailglass.errors import ConfigError, TemplateError, TemplateErrorType
from mailglass.rendering.compiling.engines import Engine
from mailglass.rendering.compiling.scanning import Piece, Tag, scan
from mailglass.rendering.compiling.styling import Page, applied, edits, matches

_HAS_STYLE: Final = re.compile(r"<style[\s>]", re.IGNORECASE)
_HAS_INLINED_STYLE: Final = re.compile(r"<style(?! data-embed>)[\s>]", re.IGNORECASE)
_STYLE: Final = re.compile(r"<style\b[^>]*>(.*?)</style", re.IGNORECASE | re.DOTALL)
_FORBIDDEN: Final = re.compile(
    r"<\s*(link|base|object|iframe|script|embed|applet)[\s>/]", re.IGNORECASE
)
_CSS_COMMENT: Final = re.compile(r"/\*.*?(?:\*/|\Z)", re.DOTALL)
_CSS_ESCAPE: Final = re.compile(r"\\([0-9a-fA-F]{1,6})\s?|\\(.)", re.DOTALL)
_SURROGATES: Final = range(0xD800, 0xE000)
_MSO_COMMENT: Final = re.compile(r"<!--.*?-->", re.DOTALL)
_CLOSED_BY_THE_NEXT: Final = {
    "li": {"li"}, "p": {"p"}, "td": {"td", "th"}, "th": {"td", "th"}, "dd": {"dd", "dt"},
    "dt": {"dd", "dt"}, "option": {"option"},
}  # fmt: skip


def inline_css(html: str, *, template: str, engine: Engine = Engine.PREMAILER) -> str:
    """Return the HTML with the rules of its ``<style>`` elements written into the elements.

    Only ``style`` attributes, and the ``width``, ``height``, ``bgcolor``, ``align`` and ``valign``
    that Outlook reads, are added: everything else stays as it is, to the byte. The ``<style>``
    elements stay, for ``@media`` and ``:hover``.

    Raises:
        TemplateError: ``inliner_failed`` for an element or rule that would fetch something, for
            more nesting, elements, rules or bytes than the inliners bear (they drop what lies too
            deep, or crash), and when the inliner itself fails.

    """
    check_markup(html, template)
    if _HAS_STYLE.search(html) is None:
        return html
    check_sheets(html, template)
    if _HAS_INLINED_STYLE.search(html) is None:
        # The sheet of the components stays a sheet: nothing is parsed that would not be changed.
        return html
    pieces = list(scan(html))
    check_tree(html, pieces, template, engine)
    try:
        page = Page()
        for piece in pieces:
            page.add("", piece, html)
        rules = page.rules()
        if not rules:
            return html
        changes = edits(page, rules, matches(page, rules, (), engine, with_parents=False))
        return applied(html, chain.from_iterable(changes.values()))
    except ConfigError:
        raise
    except Exception as error:
        raise _refused(
            template, f"the CSS could not be inlined ({type(error).__name__})"
        ) from error


def check_markup(html: str, template: str) -> None:
    """Refuse elements that fetch or run something."""
    if _FORBIDDEN.search(_MSO_COMMENT.sub("", html)):
        raise _refused(
            template, "link, base, script, object, iframe and embed elements are refused"
        )


def check_sheets(html: str, template: str) -> None:
    """Refuse rules that fetch or run something, and too many of them."""
    sheet = "\n".join(_STYLE.findall(html))
    plain = _CSS_ESCAPE.sub(_unescape, _CSS_COMMENT.sub("", sheet)).lower()
    if "@import" in plain:
        raise _refused(template, "@import is refused; put the rules into the template")
    if "expression(" in plain.replace(" ", ""):
        raise _refused(template, "expression() is refused")
    if plain.count("{") > limits.INLINER_RULES_MAX:
        raise _refused(template, f"more than {limits.INLINER_RULES_MAX} rules")


def _unescape(found: re.Match[str]) -> str:
    if found[1] is None:
        return found[2]
    point = int(found[1], 16)
    is_character = 0 < point <= sys.maxunicode and point not in _SURROGATES
    return chr(point) if is_character else "\ufffd"


def check_tree(html: str, pieces: list[Piece], template: str, engine: Engine) -> None:
    """Refuse more bytes, elements or nesting than the inliners bear."""
    if len(html.encode("utf-8", "surrogatepass")) > limits.INLINER_BYTES_MAX:
        raise _refused(template, f"more than {limits.INLINER_BYTES_MAX} bytes of HTML")
    tags = [piece for piece in pieces if isinstance(piece, Tag)]
    if sum(not tag.is_end for tag in tags) > limits.INLINER_ELEMENTS_MAX:
        raise _refused(template, f"more than {limits.INLINER_ELEMENTS_MAX} elements")
    written = written_depth(tags)
    if written <= limits.INLINER_DEPTH_MAX:
        return
    # Tags that are closed by others count too much here, so the parser has the last word; but
    # css-inline's parser closes less and its walk overruns the stack.
    is_far_too_deep = engine is Engine.CSS_INLINE and written > 2 * limits.INLINER_DEPTH_MAX
    if is_far_too_deep or _depth(html) > limits.INLINER_DEPTH_MAX:
        raise _refused(template, f"elements nested more than {limits.INLINER_DEPTH_MAX} deep")


def written_depth(tags: list[Tag]) -> int:
    """Return how deep the tags nest, counting what is never closed as open."""
    stack: list[str] = []
    deepest = 0
    for tag in tags:
        if tag.is_end:
            # An end tag that closes nothing near is ignored: only an honest one takes away.
            if tag.name in stack[-8:]:
                while stack.pop() != tag.name:
                    continue
        elif not tag.is_void:
            if stack and stack[-1] in _CLOSED_BY_THE_NEXT.get(tag.name, ()):
                stack.pop()
            stack.append(tag.name)
            deepest = max(deepest, len(stack))
    return deepest


def _depth(html: str) -> int:
    deepest = depth = 0
    parser = etree.HTMLPullParser(events=("start", "end"), huge_tree=True)
    parser.feed(html)
    parser.close()
    for event, _element in parser.read_events():
        depth += 1 if event == "start" else -1
        deepest = max(deepest, depth)
    return deepest


def _refused(template: str, reason: str) -> TemplateError:
    return TemplateError(
        f"{template}: {reason}", type=TemplateErrorType.INLINER_FAILED, template=template
    )
