"""The text template derived from an HTML template, where it must give what each mail's HTML gives.

Tags become marks and statements stay where they are; ``plaintext.finished`` turns what is rendered
into the text part. Hidden parts are left out with their statements. It is derived only where both
ways give the same stream: no value brings HTML, nothing is called twice that may answer differently.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from html import unescape
from typing import Final

from jinja2 import Environment, nodes

from mailglass.rendering.compiling.assembling import Inserted, Styled
from mailglass.rendering.compiling.columns import CELL
from mailglass.rendering.compiling.constructs import Construct, constructs, masked
from mailglass.rendering.compiling.scanning import FILLER, Tag, scan
from mailglass.rendering.compiling.sources import without_definitions
from mailglass.rendering.compiling.styling import Edit
from mailglass.rendering.compiling.trees import Tree
from mailglass.rendering.plaintext import (
    BREAK,
    CLOSED_BY_THE_NEXT,
    HIDDEN,
    NOTHING,
    ODD,
    Shown,
    flowing,
)

_EFFECTS: Final = frozenset({"set", "do", "import", "from"})
_PURE: Final = frozenset({"range", "dict", "namespace", "cycler", "joiner"})
_OPEN_REFERENCE: Final = re.compile(rf"&[#\w]*(?:{FILLER}|\Z)")
_WRITTEN_OUT: Final = re.compile(r"__mg\d+\Z")
_HIDES: Final = re.compile("style|hidden|data-mg-plaintext|role|colspan")
_MAY_HIDE: Final = re.compile("display|hide|visibility|&", re.IGNORECASE)
_PLAIN: Final = frozenset({int, float, bool, type(None)})


class NotSpokenError(Exception):
    """Is raised while a text template renders a value that brings HTML: read that mail's HTML."""


class _UnprovableError(Exception):
    pass


def spoken_texts(
    environment: Environment, tree: Tree, done: Styled, changes: Iterable[Edit]
) -> Styled | None:
    """Return the text templates of all the files and macros, or None where equality is not certain."""
    for number, parent in tree.parents.items():
        inner = CLOSED_BY_THE_NEXT.get(tree.page.tags[number].tag.name, ())
        if parent is not None and tree.page.tags[parent].tag.name in inner:
            return None
    conditional = [one for one in changes if "{%" in one.text]
    if any(HIDDEN.search(one.text) for one in conditional):
        return None
    said, tame = Styled(), tree.tame_bodies() | set(_conditions(tree, conditional))
    try:
        for name, source in done.files.items():
            bodies = frozenset(body for file, macro, body in tame if (file, macro) == (name, None))
            text = "".join(_spoken(environment, source, bodies, is_macro=False))
            said.files[name] = _tightened(text)
        for one in done.variants:
            key = (one.file, one.macro)
            bodies = frozenset(body for file, macro, body in tame if (file, macro) == key)
            text = "".join(_spoken(environment, one.text, bodies, is_macro=True))
            said.variants.append(replace(one, text=_tightened(text)))
    except _UnprovableError:
        return None
    return said


def _tightened(text: str) -> str:
    """Return a text template without the white space that is taken out of every mail's text."""
    parts: list[str] = []
    at = 0
    for one in constructs(text):
        parts += (_tight(text[at : one.start]), text[one.start : one.end])
        at = one.end
    return "".join((*parts, _tight(text[at:])))


def _tight(written: str) -> str:
    written = written.replace(NOTHING, "")
    while "  " in written:
        written = written.replace("  ", " ")
    for mark in (CELL, BREAK):
        written = written.replace(f" {mark}", mark).replace(f"{mark} ", mark)
    return written


def _conditions(tree: Tree, changes: Iterable[Edit]) -> Iterator[tuple[str, str | None, str]]:
    for change in changes:
        source = tree.sources[change.file]
        for one in constructs(change.text):
            yield source.module.name, source.macro_name, one.body


def spoken(value: object) -> object:
    """Return a value as the text shows it; the finalizer of text templates."""
    if value.__class__ is str:
        text = str(value)
        # Of what is gone from a text, only U+034F counts as printable.
        if text.isprintable() and "\u034f" not in text:
            return text
    elif value.__class__ in _PLAIN:
        return str(value)
    elif value.__class__ is Inserted:
        return value
    elif hasattr(value, "__html__"):
        raise NotSpokenError
    else:
        text = str(value)
    return text if ODD.search(text) is None else flowing(text)


def _spoken(
    environment: Environment, source: str, tame: frozenset[str], *, is_macro: bool
) -> Iterator[str]:
    tree = environment.parse(source)
    found = constructs(source)
    if is_macro:
        _check_calls(next(tree.find_all(nodes.Macro)).body)
    else:
        found = without_definitions(found)
        _check_calls([one for one in tree.body if not isinstance(one, nodes.Macro)])
    text = masked(source, found)
    speaker = _Speaker(source, tame)
    at = 0
    for piece in scan(text):
        inside: list[Construct] = []
        while at < len(found) and found[at].start < piece.end:
            inside.append(found[at])
            at += 1
        if isinstance(piece, Tag):
            yield speaker.tag(piece, inside)
        elif piece.kind == "text" and not speaker.shown.is_hidden:
            yield from speaker.text(text[piece.start : piece.end], piece.start, inside)
        else:
            _check_effects(inside)
            yield NOTHING


def _check_calls(parts: list[nodes.Node]) -> None:
    for part in parts:
        for node in (part, *part.find_all((nodes.Call, nodes.Filter))):
            match node:
                case nodes.Call(node=nodes.Name(name=name)) if name in _PURE or _is_written_out(
                    name
                ):
                    continue
                case nodes.Call(node=nodes.Getattr(attr=name)) if _is_written_out(name):
                    continue
                case nodes.Call(node=nodes.Getattr(node=nodes.Name(name="loop"))):
                    continue
                case nodes.Call() | nodes.Filter(name="random"):
                    raise _UnprovableError
                case _:
                    continue


def _is_written_out(name: str) -> bool:
    return name == "caller" or _WRITTEN_OUT.search(name) is not None


def _check_effects(inside: list[Construct]) -> None:
    if any(one.kind == "definition" or one.word in _EFFECTS for one in inside):
        raise _UnprovableError


class _Speaker:
    def __init__(self, source: str, tame: frozenset[str]) -> None:
        self.shown = Shown()
        self._tame = tame
        self._source = source
        self._targets: list[list[Construct]] = []
        """What the targets of the open links hold: a target is written after its label."""

    def tag(self, tag: Tag, inside: list[Construct]) -> str:
        """Return what a tag adds to the text template."""
        _check_effects(inside)
        for attribute in tag.attributes:
            if FILLER not in attribute.value:
                continue
            if attribute.name == "style" and self._never_hides(tag, inside):
                continue
            if _HIDES.fullmatch(attribute.name) or _OPEN_REFERENCE.search(attribute.value):
                raise _UnprovableError
        added = "".join(self.shown.tag(tag))
        if "{" in added:
            raise _UnprovableError
        if tag.name == "a" and not tag.is_end and not self.shown.is_hidden:
            target = _within(tag, "href", inside)
            if target:
                self._targets.append(target)
        if FILLER not in added:
            return added or NOTHING
        held = self._targets.pop() if tag.is_end else _within(tag, "alt", inside)
        return _with_constructs(added, held, self._source)

    def _never_hides(self, tag: Tag, inside: list[Construct]) -> bool:
        style, within = tag.attribute("style"), _within(tag, "style", inside)
        if style is None or not all(one.body in self._tame for one in within):
            return False
        # Conditions stand between declarations, and outputs in their values.
        parts: list[str] = []
        at = style.value_start
        for one in within:
            parts += (self._source[at : one.start], FILLER if one.kind == "expression" else "")
            at = one.end
        for part in "".join((*parts, self._source[at : style.value_end])).split(";"):
            name, colon, value = part.partition(":")
            if FILLER in name or (FILLER in value and (not colon or _MAY_HIDE.search(name))):
                return False
        return True

    def text(self, raw: str, start: int, inside: list[Construct]) -> Iterator[str]:
        """Return what a run of text adds to the text template."""
        if self._targets:
            _check_effects(inside)
        at = start
        for one in inside:
            yield _static(raw[at - start : one.start - start], is_before_construct=True)
            yield self._source[one.start : one.end]
            at = one.end
        yield _static(raw[at - start :], is_before_construct=False)


def _within(tag: Tag, name: str, inside: list[Construct]) -> list[Construct]:
    value = tag.attribute(name)
    if value is None:
        return []
    return [one for one in inside if value.value_start <= one.start < value.value_end]


def _with_constructs(text: str, inside: list[Construct], source: str) -> str:
    parts: list[str] = []
    at = 0
    for one in inside:
        begin = text.index(FILLER, at)
        parts += (text[at:begin], source[one.start : one.end])
        at = begin + one.end - one.start
    return "".join((*parts, text[at:]))


def _static(raw: str, *, is_before_construct: bool) -> str:
    if is_before_construct and _OPEN_REFERENCE.search(raw) is not None:
        raise _UnprovableError
    body = raw.strip()
    said = flowing(unescape(body))
    if "{" in said:
        raise _UnprovableError
    lead, _, tail = raw.partition(body) if body else (raw, "", "")
    if said != said.strip():
        # What &nbsp; became must not be stripped where Jinja strips the white space around it.
        said = f"{NOTHING}{said}{NOTHING}"
    return flowing(lead) + said + flowing(tail)
