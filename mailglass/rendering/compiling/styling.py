"""What a sheet means for each element of a page: the style attribute, and what Outlook reads."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

from mailglass.rendering.compiling.engines import MARK, Engine, Matched, match
from mailglass.rendering.compiling.scanning import FILLER, Attribute, Piece, Tag, attribute_text
from mailglass.rendering.compiling.sheets import (
    Declaration,
    Rule,
    attributes_that_matter,
    declarations,
    rules_of,
)

SHEETS_KEPT_MAX: Final = 64
"""How many sheets are kept read: the mails of a template share one."""
UNSTYLED: Final = frozenset(
    {"head", "title", "meta", "link", "style", "script", "base", "template", "noscript"}
)
STAND_IN: Final = "\u2400"
"""Stands for the constructs inside a value, which must not end a declaration."""
_OUT_OF_SKELETON: Final = frozenset({"style", "script"})
_SCREENS: Final = frozenset({"", "all", "screen", "only screen"})
_IGNORED: Final = ("data-premailer", "data-css-inline")
_NOT_A_NAME: Final = re.compile(r"[^a-z0-9:_-]")
_LENGTH: Final = re.compile(r"(\d+)(?:px)?|(\d+%)")
_COLOUR: Final = re.compile(r"#[0-9a-fA-F]{6}|[a-zA-Z]+")
_SHORT_COLOUR: Final = re.compile(r"#([0-9a-fA-F])([0-9a-fA-F])([0-9a-fA-F])")
_NO_COLOUR: Final = frozenset(
    {"transparent", "inherit", "initial", "unset", "none", "currentcolor"}
)
_CELLS: Final = frozenset({"td", "th"})
_OUTLOOK: Final[tuple[tuple[str, str, frozenset[str]], ...]] = (
    ("width", "width", _CELLS | {"table", "img"}),
    ("height", "height", _CELLS | {"img"}),
    ("background-color", "bgcolor", _CELLS | {"table", "tr", "body"}),
    ("text-align", "align", _CELLS | {"tr"}),
    ("vertical-align", "valign", _CELLS | {"tr"}),
)
"""Property, attribute, and the elements on which Outlook needs the attribute."""
_PLACES: Final = {
    "align": frozenset({"left", "right", "center", "justify"}),
    "valign": frozenset({"top", "middle", "bottom", "baseline"}),
}


@dataclass(frozen=True, slots=True)
class Placed:
    """A tag of a page, in the file it is written in."""

    file: str
    tag: Tag


class Edit(NamedTuple):
    """A replacement of ``text[start:end]`` in a file; a tuple as tags are."""

    file: str
    start: int
    end: int
    text: str


@dataclass(slots=True)
class Page:
    """The tags of a mail in order, and its sheets; a tag's number is its place in ``tags``."""

    tags: list[Placed] = field(default_factory=list)
    sheets: list[str] = field(default_factory=list)
    doctype: str = ""
    has_late_sheet: bool = False
    """A sheet inside the body counts as a sibling, so places cannot be told."""
    _takes_next: bool = False

    def add(self, file: str, piece: Piece, text: str) -> None:
        """Take in the next piece of the mail."""
        if isinstance(piece, Tag):
            self.tags.append(Placed(file, piece))
            if piece.name == "style" and not piece.is_end:
                self._takes_next = _is_inlined_sheet(piece)
                self.has_late_sheet = self.has_late_sheet or any(
                    one.tag.name == "body" or one.tag.name not in UNSTYLED | {"html"}
                    for one in self.tags
                )
        elif piece.kind == "raw" and piece.within == "style":
            if self._takes_next:
                self.sheets.append(text[piece.start : piece.end])
        elif piece.kind == "declaration" and not self.tags:
            content = text[piece.start : piece.end]
            if content[:9].lower() == "<!doctype" and FILLER not in content:
                self.doctype = content

    def rules(self) -> list[Rule]:
        """Return the rules that are inlined."""
        return [
            rule
            for rule in _rules_of(tuple(self.sheets))
            if not (rule.is_structural and self.has_late_sheet)
        ]

    def skeleton(self, wanted: frozenset[str]) -> str:
        """Return the numbered tags with the wanted attributes, and nothing else."""
        parts = [self.doctype]
        alike: dict[int, tuple[str, str]] = {}
        for number, placed in enumerate(self.tags):
            tag = placed.tag
            if tag.name in _OUT_OF_SKELETON:
                continue
            if tag.form is None:
                before, after = _skeleton_of(tag, wanted)
            elif (known := alike.get(id(tag.form))) is not None:
                before, after = known
            else:
                before, after = alike[id(tag.form)] = _skeleton_of(tag, wanted)
            parts += (before, "" if tag.is_end else f'{MARK}="{number}"', after)
        return "".join(parts)


@lru_cache(maxsize=SHEETS_KEPT_MAX)
def _rules_of(sheets: tuple[str, ...]) -> tuple[Rule, ...]:
    return tuple(rules_of(sheets))


def _skeleton_of(tag: Tag, wanted: frozenset[str]) -> tuple[str, str]:
    """Return what stands before a tag's number in the skeleton, and what stands after it."""
    name = _NOT_A_NAME.sub("-", tag.name)
    if tag.is_end:
        return f"</{name}>", ""
    shown = "".join(_copied(one) for one in _first_of_each(tag) if one.name in wanted)
    return f"<{name} ", f"{shown}{'/' if tag.is_self_closing else ''}>"


def _first_of_each(tag: Tag) -> Iterable[Attribute]:
    return {one.name: one for one in reversed(tag.attributes)}.values()


def _copied(one: Attribute) -> str:
    value = one.value.replace(FILLER, "").replace('"', "&quot;")
    return f' {one.name}="{value}"'


def _is_inlined_sheet(tag: Tag) -> bool:
    media = tag.attribute("media")
    kind = tag.attribute("type")
    if media is not None and " ".join(media.value.lower().split()) not in _SCREENS:
        return False
    if kind is not None and kind.value.strip().lower() not in {"", "text/css"}:
        return False
    return not _is_ignored(tag) and tag.attribute("data-embed") is None


def _is_ignored(tag: Tag) -> bool:
    return any(one.name in _IGNORED and one.value == "ignore" for one in tag.attributes)


def matches(
    page: Page,
    rules: Sequence[Rule],
    probes: Sequence[str],
    engine: Engine,
    *,
    with_parents: bool = True,
) -> list[Matched]:
    """Ask the engine; the indices past the rules belong to the probes."""
    wanted = (attributes_that_matter(rules) | {"class", "id"}) - {MARK, "style"}
    selectors = [rule.selector for rule in rules] + list(probes)
    skeleton = page.skeleton(wanted)
    if "<" not in skeleton[len(page.doctype) :]:
        return []
    return match(engine, skeleton, selectors, with_parents=with_parents)


def edits(
    page: Page, rules: Sequence[Rule], matched: Iterable[Matched]
) -> dict[int, tuple[Edit, ...]]:
    """Return the changes that write the rules into the tags, by the number of the element."""
    known: dict[frozenset[int], tuple[list[Declaration], list[Declaration]]] = {}
    # Rows are written alike: of a digest's 1,500 elements a dozen differ.
    alike: dict[tuple[int, frozenset[int]], list[tuple[int, int, str]]] = {}
    found: dict[int, tuple[Edit, ...]] = {}
    for one in matched:
        file, tag = page.tags[one.number].file, page.tags[one.number].tag
        numbers = frozenset(number for number in one.rules if number < len(rules))
        if not numbers or tag.name in UNSTYLED or _is_ignored(tag):
            continue
        if numbers not in known:
            known[numbers] = cascade([rules[number] for number in numbers])
        if tag.form is None:
            found[one.number] = tuple(_edits_of(file, tag, *known[numbers]))
            continue
        key = (id(tag.form), numbers)
        if key not in alike:
            alike[key] = [
                (made.start, made.end, made.text)
                for made in _edits_of(file, tag.form, *known[numbers])
            ]
        found[one.number] = tuple([
            Edit(file, start + tag.start, end + tag.start, text) for start, end, text in alike[key]
        ])  # fmt: skip
    return found


def cascade(rules: Iterable[Rule]) -> tuple[list[Declaration], list[Declaration]]:
    """Return the normal and the important declarations that win, the last of a name last."""
    layers: tuple[dict[str, list[Declaration]], dict[str, list[Declaration]]] = ({}, {})
    for rule in sorted(rules, key=lambda one: (one.specificity, one.number)):
        fresh: set[tuple[bool, str]] = set()
        for one in rule.declarations:
            layer = layers[one.is_important]
            if (one.is_important, one.name) not in fresh:
                # Taken out first, so that a shorthand comes after what it overrides.
                layer.pop(one.name, None)
                layer[one.name] = []
                fresh.add((one.is_important, one.name))
            layer[one.name].append(one)
    normal, important = layers
    return (
        [one for name, all_of in normal.items() if name not in important for one in all_of],
        [one for all_of in important.values() for one in all_of],
    )


def _edits_of(
    file: str, tag: Tag, normal: Sequence[Declaration], important: Sequence[Declaration]
) -> Iterable[Edit]:
    written = tag.attribute("style")
    own = own_declarations(tag)
    own_names = {one.name for one in own}
    firm_names = {one.name for one in own if one.is_important}
    before = [one for one in normal if one.name not in own_names]
    after = [one for one in important if one.name not in firm_names]
    if not before and not after:
        return
    quote = (written.quote or '"') if written else '"'
    lead = "".join(f"{_encoded(one.text, quote)};" for one in before)
    tail = "".join(f";{_encoded(one.text, quote)}" for one in after)
    at = tag.attributes[-1].end if tag.attributes else tag.start + 1 + len(tag.name)
    if written is None:
        yield Edit(file, at, at, f" style={quote}{f'{lead[:-1]}{tail}'.strip(';')}{quote}")
    elif kept := written.value.strip().rstrip("; \t\r\n"):
        # The value itself stays where it is, for it may hold constructs.
        start = written.value_start + written.value.index(kept)
        yield Edit(file, written.start, start, f"style={quote}{lead}")
        yield Edit(file, start + len(kept), written.end, f"{tail}{quote}")
    else:
        yield Edit(
            file,
            written.start,
            written.end,
            f"style={quote}{f'{lead[:-1]}{tail}'.strip(';')}{quote}",
        )
    effective = {one.name: one.value for one in (*before, *own, *after)}
    effective |= {one.name: one.value for one in own if one.is_important}
    for_outlook = "".join(_for_outlook(tag, effective))
    if for_outlook:
        yield Edit(file, at, at, for_outlook)


def own_declarations(tag: Tag) -> list[Declaration]:
    """Return what an element says of itself, with stand-ins for what a mail tells."""
    written = tag.attribute("style")
    if written is None:
        return []
    return declarations(attribute_text(written.value).replace(FILLER, STAND_IN))


def for_outlook_of(tag: Tag) -> Iterable[tuple[str, str]]:
    """Yield the attributes that Outlook needs with the values that the element's own style gives."""
    own = {one.name: one.value for one in own_declarations(tag)}
    for name, attribute, elements in _OUTLOOK:
        if name in own and tag.name in elements:
            yield attribute, own[name]


def _encoded(text: str, quote: str) -> str:
    other = "'" if quote == '"' else '"'
    text = text.replace("&", "&amp;")
    return text.replace(quote, other if other not in text else f"&#{ord(quote)};")


def _for_outlook(tag: Tag, effective: Mapping[str, str]) -> Iterable[str]:
    for name, attribute, elements in _OUTLOOK:
        if name in effective and tag.name in elements and tag.attribute(attribute) is None:
            value = _attribute_value(attribute, effective[name])
            if value is not None:
                yield f' {attribute}="{value}"'


def _attribute_value(attribute: str, value: str) -> str | None:
    if attribute in _PLACES:
        return value.lower() if value.lower() in _PLACES[attribute] else None
    if attribute == "bgcolor":
        value = _SHORT_COLOUR.sub(r"#\1\1\2\2\3\3", value) if len(value) == 4 else value  # noqa: PLR2004 - "#abc"
        is_colour = _COLOUR.fullmatch(value) is not None and value.lower() not in _NO_COLOUR
        return value if is_colour else None
    found = _LENGTH.fullmatch(value)
    return None if found is None else found[1] or found[2]


def applied(text: str, changes: Iterable[Edit]) -> str:
    """Return a text with changes made to it; of two at one place the first stands first."""
    parts: list[str] = []
    at = 0
    for change in sorted(changes, key=lambda one: (one.start, one.end)):
        parts += (text[at : change.start], change.text)
        at = change.end
    return "".join((*parts, text[at:]))
