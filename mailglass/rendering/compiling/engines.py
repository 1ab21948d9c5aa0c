"""The two inliners, asked one question only: which rules match which element.

Each gets a skeleton of the mail (its tags with the attributes that selectors look at, numbered) and
rules whose only declaration is their own number. What is written into the mail, and in which order,
is decided here and not there, so both engines lose nothing that they do not understand, and neither
sees an address, a text or anything it could fetch.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum, unique
from functools import cache, lru_cache
from typing import Any, Final

from mailglass.errors import ConfigError, ConfigErrorType
from mailglass.forks import ProcessLock
from mailglass.rendering.compiling.scanning import Tag, scan

MARK: Final = "data-mg-n"
SELECTORS_KEPT_MAX: Final = 4096
_NUMBERED: Final = re.compile(rf' {MARK}="(\d+)"(?: [^\s=>"]+="[^"]*")*? style="([^"]*)"')
_NUMBERS: Final = re.compile(r"mg(\d+)\s*:")
_PREMAILER_PSEUDO: Final = re.compile(r":first-child|:last-child|:nth-child\([^()]*\)")
_ONE_AT_A_TIME: Final = ProcessLock()
"""cssutils keeps its parser and its log in globals."""


@unique
class Engine(StrEnum):
    """Who matches selectors; css-inline needs the extra ``inline``."""

    PREMAILER = "premailer"
    CSS_INLINE = "css-inline"


@dataclass(frozen=True, slots=True)
class Matched:
    """An element of the tree that the engine built: its number, its parent's, its rules."""

    number: int
    parent: int | None
    rules: frozenset[int]


def check_engine(engine: Engine) -> None:
    """Refuse an engine that is not installed.

    Raises:
        ConfigError: ``optional_dep_missing`` for css-inline without the extra ``inline``.

    """
    if engine is Engine.CSS_INLINE:
        _css_inline()


def match(
    engine: Engine, skeleton: str, selectors: Sequence[str], *, with_parents: bool = True
) -> list[Matched]:
    """Return the numbered elements of a skeleton with the indices of the selectors they match.

    Without parents, elements that nothing matches may be missing.
    """
    if engine is Engine.CSS_INLINE:
        return _by_css_inline(skeleton, selectors, with_parents=with_parents)
    with _ONE_AT_A_TIME:
        return _by_premailer(skeleton, selectors)


def _css_inline() -> Any:
    try:
        # Imported at the first use: it is optional.
        import css_inline  # noqa: PLC0415 - as said above
    except ImportError as error:
        raise ConfigError(
            "css_inliner is css-inline, which is not installed",
            type=ConfigErrorType.OPTIONAL_DEP_MISSING,
            key="css_inliner",
            dep="css-inline",
            hint="Install mailglass[inline], or set css_inliner to premailer.",
        ) from error
    return css_inline


def _by_css_inline(skeleton: str, selectors: Sequence[str], *, with_parents: bool) -> list[Matched]:
    inliner = _css_inline().CSSInliner(
        inline_style_tags=False,
        keep_style_tags=True,
        load_remote_stylesheets=False,
        extra_css="".join(f"{one}{{mg{number}:1}}" for number, one in enumerate(selectors)),
    )
    html = inliner.inline(skeleton)
    if not with_parents:
        return [
            Matched(int(number), None, _numbers(style)) for number, style in _NUMBERED.findall(html)
        ]
    found: list[Matched] = []
    above: list[int | None] = [None]
    # What comes back is a serialised tree, so every element but a void one is closed.
    for piece in scan(html):
        if not isinstance(piece, Tag):
            continue
        if piece.is_end:
            above.pop()
            continue
        values = {one.name: one.value for one in piece.attributes}
        number = _number(values.get(MARK))
        if number is not None:
            found.append(Matched(number, above[-1], _numbers(values.get("style"))))
        if not piece.is_void:
            above.append(above[-1] if number is None else number)
    return found


def _by_premailer(skeleton: str, selectors: Sequence[str]) -> list[Matched]:
    from lxml import etree  # noqa: PLC0415 - lxml is loaded when the first mail needs it
    from lxml.cssselect import CSSSelector  # noqa: PLC0415 - as lxml

    root = etree.fromstring(skeleton, etree.HTMLParser(huge_tree=True))
    if root is None:
        return []
    known = [(number, one) for number, one in enumerate(selectors) if _is_known(one)]
    rules = [
        ((0, number), one, f"mg{number}:1") for number, one in known if _premailer_matches(one)
    ]
    _closed_premailer()(root, rules).transform(pretty_print=False)
    for number, one in known:
        if not _premailer_matches(one):
            # premailer leaves these to the sheet; its own matcher knows them.
            for element in CSSSelector(one)(root):
                element.set("style", f"{element.get('style', '')};mg{number}:1")
    found: list[Matched] = []
    near: dict[Any, int | None] = {}
    for element in root.iter(etree.Element):
        own = _number(element.get(MARK))
        parent = near.get(element.getparent())
        near[element] = parent if own is None else own
        if own is not None:
            found.append(Matched(own, parent, _numbers(element.get("style"))))
    return found


def _number(value: str | None) -> int | None:
    return None if value is None else int(value)


def _numbers(style: str | None) -> frozenset[int]:
    return frozenset(map(int, _NUMBERS.findall(style or "")))


def _premailer_matches(selector: str) -> bool:
    _, colon, rest = selector.partition(":")
    return not colon or _PREMAILER_PSEUDO.fullmatch(colon + rest) is not None


@lru_cache(maxsize=SELECTORS_KEPT_MAX)
def _is_known(selector: str) -> bool:
    from lxml.cssselect import CSSSelector, SelectorError  # noqa: PLC0415 - as lxml

    try:
        CSSSelector(selector)
    except SelectorError:
        return False
    return True


@cache
def _closed_premailer() -> Any:
    # Imported at the first use: premailer brings cssutils and requests, 130 ms together.
    import cssutils  # noqa: PLC0415 - as said above
    from premailer import Premailer  # noqa: PLC0415 - as said above

    class Closed(Premailer):  # type: ignore[misc]  # premailer publishes no types
        """A premailer with given rules, which reads no sheet and so fetches nothing."""

        def __init__(self, root: Any, rules: list[tuple[tuple[int, ...], str, str]]) -> None:
            super().__init__(
                root,
                css_text=["given"],
                allow_network=False,
                allow_loading_external_files=False,
                disable_validation=True,
                disable_leftover_css=True,
                disable_basic_attributes=["width", "height", "bgcolor", "align", "valign"],
                align_floating_images=False,
                remove_unset_properties=False,
                cache_css_parsing=False,
                cssutils_logging_level=logging.CRITICAL,
            )
            self._rules = rules

        def _parse_style_rules(
            self, css_body: str | None, _ruleset_index: int
        ) -> tuple[list[tuple[tuple[int, ...], str, str]], list[Any]]:
            return (list(self._rules) if css_body == "given" else []), []

        def _load_external(self, _url: str) -> str:
            raise ValueError("nothing is fetched")

    cssutils.log.setLevel(logging.CRITICAL)
    return Closed
