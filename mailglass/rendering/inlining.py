"""CSS inlining by premailer, with every way to the network closed and the input bounded first."""

from __future__ import annotations

import logging
import re
import sys
from typing import Any, Final

from lxml import etree

from mailglass import limits
from mailglass.errors import TemplateError, TemplateErrorType

_HAS_STYLE: Final = re.compile(r"<style[\s>]", re.IGNORECASE)
_STYLE: Final = re.compile(r"<style\b[^>]*>(.*?)</style", re.IGNORECASE | re.DOTALL)
_FORBIDDEN: Final = re.compile(
    r"<\s*(link|base|object|iframe|script|embed|applet)[\s>/]", re.IGNORECASE
)
_CSS_COMMENT: Final = re.compile(r"/\*.*?(?:\*/|\Z)", re.DOTALL)
_CSS_ESCAPE: Final = re.compile(r"\\([0-9a-fA-F]{1,6})\s?|\\(.)", re.DOTALL)
_SURROGATES: Final = range(0xD800, 0xE000)
_MSO_COMMENT: Final = re.compile(r"<!--.*?-->", re.DOTALL)


def inline_css(html: str, *, template: str) -> str:
    """Return the HTML with the rules of its ``<style>`` elements written into the elements.

    The ``<style>`` elements stay, for ``@media`` and ``:hover``. HTML without one is returned as it
    is.

    Raises:
        TemplateError: ``inliner_failed`` for an element or rule that would fetch something, for
            more nesting, elements, rules or bytes than premailer bears (it drops what lies too
            deep), and when premailer itself fails.

    """
    if _FORBIDDEN.search(_MSO_COMMENT.sub("", html)):
        raise _refused(
            template, "link, base, script, object, iframe and embed elements are refused"
        )
    if _HAS_STYLE.search(html) is None:
        return html
    _check_sheets(html, template)
    _check_tree(html, template)
    try:
        return _transform(html)
    except Exception as error:
        raise _refused(
            template, f"the CSS could not be inlined ({type(error).__name__})"
        ) from error


def _check_sheets(html: str, template: str) -> None:
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


def _check_tree(html: str, template: str) -> None:
    if len(html.encode("utf-8", "surrogatepass")) > limits.INLINER_BYTES_MAX:
        raise _refused(template, f"more than {limits.INLINER_BYTES_MAX} bytes of HTML")
    opened = html.count("<") - html.count("</")
    if opened > limits.INLINER_ELEMENTS_MAX:
        raise _refused(template, f"more than {limits.INLINER_ELEMENTS_MAX} elements")
    if opened > limits.INLINER_DEPTH_MAX and _depth(html) > limits.INLINER_DEPTH_MAX:
        raise _refused(template, f"elements nested more than {limits.INLINER_DEPTH_MAX} deep")


def _depth(html: str) -> int:
    deepest = depth = 0
    parser = etree.HTMLPullParser(events=("start", "end"), huge_tree=True)
    parser.feed(html)
    parser.close()
    for event, _element in parser.read_events():
        depth += 1 if event == "start" else -1
        deepest = max(deepest, depth)
    return deepest


def _transform(html: str) -> str:
    # Imported at the first use: premailer brings cssutils and requests, 130 ms together.
    import cssutils  # noqa: PLC0415 - as said above
    from premailer import Premailer  # noqa: PLC0415 - as said above

    class Closed(Premailer):  # type: ignore[misc]  # premailer publishes no types
        """A premailer that cannot fetch: cssutils would, whatever ``allow_network`` says."""

        def _parse_css_string(self, css_body: str, validate: bool = False) -> Any:  # noqa: FBT001, FBT002 - premailer's own signature
            quiet = cssutils.CSSParser(
                loglevel=logging.CRITICAL, validate=validate, fetcher=lambda _url: (None, b"")
            )
            return quiet.parseString(css_body)

        def _load_external(self, _url: str) -> str:
            raise ValueError("nothing is fetched")

    cssutils.log.setLevel(logging.CRITICAL)
    return str(
        Closed(
            html,
            allow_network=False,
            allow_loading_external_files=False,
            disable_validation=True,
            keep_style_tags=True,
            strip_important=False,
            align_floating_images=False,
            remove_unset_properties=False,
            cache_css_parsing=False,
            disable_leftover_css=True,
            cssutils_logging_level=logging.CRITICAL,
        ).transform(pretty_print=False)
    )


def _refused(template: str, reason: str) -> TemplateError:
    return TemplateError(
        f"{template}: {reason}", type=TemplateErrorType.INLINER_FAILED, template=template
    )
