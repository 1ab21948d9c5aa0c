"""The text template derived from an HTML template, where it must give what each mail's HTML gives.

Tags become marks and statements stay where they are; ``plaintext.finished`` turns what is rendered
into the text part. Hidden parts are left out with their statements. It is derived only where both
ways give the same stream: no value brings HTML, nothing is called twice that may answer differently.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html import unescape
from typing import Final

from jinja2 import Environment, nodes

from mailglass.rendering.compiling.constructs import Construct, constructs, masked
from mailglass.rendering.compiling.scanning import FILLER, Tag, scan
from mailglass.rendering.compiling.trees import Tree
from mailglass.rendering.plaintext import CLOSED_BY_THE_NEXT, NOTHING, ODD, Shown, flowing

_EFFECTS: Final = frozenset({"set", "do"})
_PURE: Final = frozenset({"range", "dict", "namespace", "cycler", "joiner"})
_OPEN_REFERENCE: Final = re.compile(rf"&[#\w]*(?:{FILLER}|\Z)")
_HIDES: Final = re.compile("style|hidden|data-mg-plaintext")
_PLAIN: Final = frozenset({int, float, bool, type(None)})


class NotSpokenError(Exception):
    """Is raised while a text template renders a value that brings HTML: read that mail's HTML."""


class _UnprovableError(Exception):
    pass


def spoken_sources(
    environment: Environment, tree: Tree, styled: Mapping[str, str]
) -> dict[str, str] | None:
    """Return the text template of each file, by name, or None where equality is not certain."""
    for number, parent in tree.parents.items():
        inner = CLOSED_BY_THE_NEXT.get(tree.page.tags[number].tag.name, ())
        if parent is not None and tree.page.tags[parent].tag.name in inner:
            return None
    try:
        return {
            name: "".join(_spoken(environment, name, source)) for name, source in styled.items()
        }
    except _UnprovableError:
        return None


def spoken(value: object) -> str:
    """Return a value as the text shows it; the finalizer of text templates."""
    if value.__class__ is str:
        text = str(value)
        # Of what is gone from a text, only U+034F counts as printable.
        if text.isprintable() and "\u034f" not in text:
            return text
    elif value.__class__ in _PLAIN:
        return str(value)
    elif hasattr(value, "__html__"):
        raise NotSpokenError
    else:
        text = str(value)
    return text if ODD.search(text) is None else flowing(text)


def _spoken(environment: Environment, name: str, source: str) -> Iterator[str]:
    _check_calls(environment.parse(source, name))
    found = constructs(source)
    text = masked(source, found)
    speaker = _Speaker(source)
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


def _check_calls(tree: nodes.Template) -> None:
    for node in tree.find_all((nodes.Call, nodes.Filter)):
        match node:
            case nodes.Call(node=nodes.Name(name=name)) if name in _PURE:
                continue
            case nodes.Call(node=nodes.Getattr(node=nodes.Name(name="loop"))):
                continue
            case nodes.Filter() if node.name != "random":
                continue
            case _:
                raise _UnprovableError


def _check_effects(inside: list[Construct]) -> None:
    if any(one.kind == "statement" and one.word in _EFFECTS for one in inside):
        raise _UnprovableError


class _Speaker:
    def __init__(self, source: str) -> None:
        self.shown = Shown()
        self._source = source
        self._targets: list[list[Construct]] = []
        """What the targets of the open links hold: a target is written after its label."""

    def tag(self, tag: Tag, inside: list[Construct]) -> str:
        """Return what a tag adds to the text template."""
        _check_effects(inside)
        for attribute in tag.attributes:
            if FILLER in attribute.value and (
                _HIDES.fullmatch(attribute.name) or _OPEN_REFERENCE.search(attribute.value)
            ):
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
