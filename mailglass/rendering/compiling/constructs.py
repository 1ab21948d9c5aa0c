"""Jinja constructs in a template's source: where each stands and what it is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from mailglass.rendering.compiling.scanning import FILLER

_BEGIN: Final = re.compile(r"\{\{|\{%|\{#")
_RAW: Final = re.compile(r"\{%[-+]?\s*raw\s*-?%\}")
_END_RAW: Final = re.compile(r"\{%[-+]?\s*endraw\s*[-+]?%\}")
_INSIDE: Final = re.compile(
    r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|[\[({]|[-+]?%\}|-?\}\}|[\])}]", re.DOTALL
)
_OPENERS: Final = {"if": "endif", "for": "endfor", "with": "endwith"}
_BRANCHES: Final = frozenset({"else", "elif"})
_HARMLESS: Final = frozenset({"set", "do"})


@dataclass(frozen=True, slots=True)
class Construct:
    """One construct: ``expression``, ``statement``, ``comment`` or ``raw`` (its two tags)."""

    kind: str
    start: int
    end: int
    body: str = ""

    @property
    def word(self) -> str:
        """Return a statement's keyword."""
        return self.body.split(None, 1)[0] if self.body else ""

    @property
    def rest(self) -> str:
        """Return what follows the keyword."""
        return self.body.partition(self.word)[2].strip()


def constructs(source: str) -> list[Construct]:
    """Return the constructs of a source that Jinja has compiled, in order."""
    return list(_constructs(source))


def _constructs(source: str) -> Iterator[Construct]:
    at = 0
    while (begun := _BEGIN.search(source, at)) is not None:
        start = begun.start()
        if begun[0] == "{#":
            close = source.find("#}", start + 2)
            at = len(source) if close < 0 else close + 2
            yield Construct("comment", start, at)
        elif (raw := _RAW.match(source, start)) is not None:
            ended = _END_RAW.search(source, raw.end())
            yield Construct("raw", start, raw.end())
            at = len(source)
            if ended is not None:
                at = ended.end()
                yield Construct("raw", ended.start(), at)
        else:
            at, body = _to_the_end(source, start + 2)
            yield Construct("expression" if begun[0] == "{{" else "statement", start, at, body)


def _to_the_end(source: str, at: int) -> tuple[int, str]:
    since, depth = at, 0
    while (found := _INSIDE.search(source, at)) is not None:
        mark = found[0]
        at = found.end()
        if mark in {"[", "(", "{"}:
            depth += 1
        elif mark in {"]", ")", "}"}:
            depth -= 1
        elif mark[-1] == "}" and depth == 0:
            return at, source[since : found.start()].lstrip("-+").strip()
        elif mark.endswith("}}"):
            depth, at = depth - 1, at - 1
    return len(source), source[since:]


def masked(source: str, found: Iterable[Construct]) -> str:
    """Return the source with fillers for the constructs, each character in its place."""
    parts: list[str] = []
    at = 0
    for one in found:
        parts += (source[at : one.start], FILLER * (one.end - one.start))
        at = one.end
    return "".join((*parts, source[at:]))


def are_whole(found: Sequence[Construct], *, with_blocks: bool = False) -> bool:
    """Tell whether statements inside a value or comment open and close within it, and only branch."""
    openers = {**_OPENERS, "block": "endblock"} if with_blocks else _OPENERS
    awaited: list[str] = []
    for one in found:
        if one.kind != "statement":
            continue
        if one.word in openers:
            awaited.append(openers[one.word])
        elif one.word in _BRANCHES and awaited:
            continue
        elif awaited and one.word == awaited[-1]:
            awaited.pop()
        elif one.word not in _HARMLESS:
            return False
    return not awaited


def settled(source: str) -> str:
    """Return the source with its white space control done, so that constructs can be replaced.

    The newlines that Jinja would strip move into the constructs, so every line keeps its number.
    """
    parts: list[str] = []
    at, strips_next = 0, False
    for one in constructs(source):
        between, text = source[at : one.start], source[one.start : one.end]
        if strips_next:
            between = _moved_back(between, parts)
        if text[2:3] == "-":
            kept = between.rstrip()
            text = f"{text[:2]}{chr(10) * between.count(chr(10), len(kept))}{text[3:]}"
            between = kept
        # Of a comment that is but one hyphen, the hyphen was the first.
        strips_next = text[-3:-2] == "-" and len(text) >= len("{# -#}") - 1
        parts += (between, text[:-3] + text[-2:] if strips_next else text)
        at = one.end
    rest = source[at:]
    return "".join((*parts, _moved_back(rest, parts) if strips_next else rest))


def _moved_back(between: str, parts: list[str]) -> str:
    """Return a text without the white space it begins with; its newlines go into the part before."""
    kept = between.lstrip()
    lines = between.count("\n", 0, len(between) - len(kept))
    parts[-1] = f"{parts[-1][:-2]}{chr(10) * lines}{parts[-1][-2:]}"
    return kept
