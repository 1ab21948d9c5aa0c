"""Folding: a template's text with what is constant written out, so that its tags can be read.

Only what decides about tags is written out: names of elements, classes, ids, styles, what stands
between attributes, ready-made HTML, and conditions. Jinja computes the values, and lines stay where
they were, for errors tell them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from jinja2 import nodes
from markupsafe import Markup, escape

from mailglass.rendering.compiling.constructs import Construct, constructs, masked
from mailglass.rendering.compiling.scopes import Reader, Scope, UnknownError, value_of

_SIMPLE: Final = frozenset({str, Markup, int, float, bool, type(None)})
_OPENERS: Final = frozenset({"if", "for", "with", "block", "call", "filter", "macro", "trans"})
_BINDERS: Final = frozenset({"set", "for", "with", "call", "macro", "import", "from", "block"})
_BRANCHING: Final = frozenset({"if", "elif", "else", "endif"})
_IN_ATTRIBUTE: Final = re.compile(r"""([\w:-]+)\s*=\s*(?:"[^"]*|'[^']*)\Z""")
_WORD: Final = re.compile(r"[A-Za-z_]\w*")
_STRING: Final = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
_DECISIVE: Final = frozenset({"class", "id", "style"})
_FOLDED_CHARS_MAX: Final = 65_536


@dataclass(slots=True)
class Folding:
    """One pass over one text; constants that the text sets are added to its scope."""

    reader: Reader
    scope: Scope
    context: nodes.EvalContext
    settable: frozenset[str]
    """The names that the text binds once."""
    is_macro: bool = False
    """Whether the text is one macro's, from its first statement to its last."""
    _text: str = ""
    _masked: str = ""
    _found: Sequence[Construct] = ()
    _blocks: dict[str, tuple[int, int]] = field(default_factory=dict)

    def folded(self, text: str) -> str:
        """Return the text with what is constant written out."""
        found = constructs(text)
        if not found:
            return text
        self._text, self._found = text, found
        self._masked = masked(text, found)
        return "".join(self._range(0, len(found), 0, len(text), 0))

    def _range(self, one: int, stop: int, at: int, end: int, depth: int) -> Iterator[str]:
        while one < stop:
            here = self._found[one]
            yield self._text[at : here.start]
            if here.kind == "statement":
                depth += (here.word in _OPENERS) - (here.word[3:] in _OPENERS)
                last, pieces = self._statement(one, depth)
                # A condition and a macro are taken whole.
                depth -= here.word in _OPENERS and last != one
            else:
                last, pieces = one, self._output(here, depth)
            yield from pieces
            at, one = self._found[last].end, last + 1
        yield self._text[at:end]

    def _statement(self, one: int, depth: int) -> tuple[int, Iterable[str]]:
        """Return the last construct that belongs to a statement, and what becomes of it."""
        here = self._found[one]
        last = one
        if here.word == "if":
            parts = self._branches(one)
            return parts[-1], self._condition(parts, depth - 1)
        if here.word == "macro" and not self.is_macro:
            last = self._end_of_macro(one)
        elif here.word == "set" and depth == int(self.is_macro):
            kept = self._kept_block(one)
            if kept is not None:
                return kept, [self._newlines(here.start, self._found[kept].end)]
            self._note(here)
        return last, [self._text[here.start : self._found[last].end]]

    def _output(self, here: Construct, depth: int) -> Iterator[str]:
        block = self._blocks.get(here.body) if here.kind == "expression" else None
        if block is None:
            yield self._expression(here)
            return
        first, last = self._found[block[0]], self._found[block[1]]
        yield from self._range(block[0] + 1, block[1], first.end, last.start, depth + 1)

    def _kept_block(self, one: int) -> int | None:
        """Return the end of a set block that can as well be written out where it is used.

        It must be bound once, give the same wherever it stands, and be on one line, so that no line
        gets another number; what is wrong in it is told with the line of its use.
        """
        here = self._found[one]
        name, words = here.rest, [made.word for made in self._found]
        if (
            name not in self.settable - self._named_before(here.start)
            or "endset" not in words[one:]
        ):
            return None
        last = words.index("endset", one)
        within, after = self._found[one + 1 : last], self._found[last + 1 :]
        text = self._text[here.end : self._found[last].start]
        used = self._words(within)
        bound = self._words(made for made in after if made.word in _BINDERS)
        is_plain = all(made.kind == "expression" or made.word in _BRANCHING for made in within)
        if (
            not is_plain
            or "(" in "".join(made.body for made in within)
            or "\n" in text
            or used & bound
        ):
            return None
        self._blocks[name] = (one, last)
        return last

    def _words(self, among: Iterable[Construct]) -> frozenset[str]:
        bodies = (_STRING.sub("", self._text[one.start : one.end]) for one in among)
        return frozenset(name for body in bodies for name in _WORD.findall(body))

    def _end_of_macro(self, one: int) -> int:
        depth = 0
        for at in range(one, len(self._found)):
            if self._found[at].kind == "statement":
                word = self._found[at].word
                depth += (word == "macro") - (word == "endmacro")
                if depth == 0:
                    return at
        return len(self._found) - 1

    def _branches(self, one: int) -> list[int]:
        """Return the places of a condition's if, elif, else and endif among the constructs."""
        places, depth = [one], 0
        while True:
            one += 1
            word = self._found[one].word if self._found[one].kind == "statement" else ""
            if word == "if":
                depth += 1
            elif word == "endif" and depth:
                depth -= 1
            elif word == "endif":
                return [*places, one]
            elif word in {"elif", "else"} and depth == 0 and self._is_of_if(places[-1], one):
                places.append(one)

    def _is_of_if(self, since: int, one: int) -> bool:
        words = [made.word for made in self._found[since + 1 : one] if made.kind == "statement"]
        return words.count("for") == words.count("endfor")

    def _condition(self, parts: Sequence[int], depth: int) -> Iterator[str]:
        keyword = "if"
        for place, following in pairwise(parts):
            here, until = self._found[place], self._found[following]
            decided = self._decided(here)
            if decided is False:
                yield self._newlines(here.start, until.start)
                continue
            if decided is True and keyword == "if":
                yield self._newlines(here.start, here.end)
                yield from self._range(place + 1, following, here.end, until.start, depth)
                yield self._newlines(until.start, self._found[parts[-1]].end)
                return
            yield self._opened(here, keyword)
            yield from self._range(place + 1, following, here.end, until.start, depth + 1)
            keyword = "elif"
            if decided is True:
                yield self._newlines(until.start, self._found[parts[-1]].start)
                break
        last = self._found[parts[-1]]
        if keyword == "if":
            yield self._newlines(last.start, last.end)
        else:
            yield self._text[last.start : last.end]

    def _opened(self, here: Construct, keyword: str) -> str:
        text = self._text[here.start : here.end]
        return text if here.word in {keyword, "else"} else text.replace(here.word, keyword, 1)

    def _decided(self, here: Construct) -> bool | None:
        if here.word == "else":
            return True
        try:
            return bool(self.reader.value(here.rest, self.scope, self.context))
        except UnknownError:
            return None

    def _newlines(self, start: int, end: int) -> str:
        lines = self._text.count("\n", start, end)
        return f"{{#{chr(10) * lines}#}}" if lines else ""

    def _note(self, here: Construct) -> None:
        made = self.reader.assignment(here.body)
        if made is None:
            return
        bind(made, self.scope, self.context, self.settable - self._named_before(here.start))

    def _named_before(self, at: int) -> frozenset[str]:
        return self._words(one for one in self._found if one.start < at)

    def _expression(self, here: Construct) -> str:
        text = self._text[here.start : here.end]
        if here.kind != "expression" or "\n" in text:
            return text
        try:
            value = self.reader.value(here.body, self.scope, self.context)
        except UnknownError:
            return text
        if type(value) not in _SIMPLE or not (
            isinstance(value, Markup) or self._is_decisive(here.start)
        ):
            return text
        said = str(escape(value)) if self.context.autoescape else str(value)
        return text if "{" in said or len(said) > _FOLDED_CHARS_MAX else said

    def _is_decisive(self, at: int) -> bool:
        if self._masked.rfind("<style", 0, at) > self._masked.rfind("</style", 0, at):
            return True
        opened = self._masked.rfind("<", 0, at)
        if opened < 0 or self._masked.rfind(">", 0, at) > opened:
            return False
        if self._masked.startswith("<!", opened):
            return False
        named = _IN_ATTRIBUTE.search(self._masked, opened, at)
        return named is None or named[1].lower() in _DECISIVE


def bind(
    made: nodes.Assign, scope: Scope, context: nodes.EvalContext, settable: frozenset[str]
) -> None:
    """Add the constants of a ``set`` to a scope, for the names that are bound nowhere else."""
    try:
        value = value_of(made.node, scope, context)
        if isinstance(made.target, nodes.Name):
            pairs = [(made.target.name, value)]
        elif isinstance(made.target, nodes.Tuple) and isinstance(value, (tuple, list)):
            names = [one.name for one in made.target.items if isinstance(one, nodes.Name)]
            pairs = list(zip(names, value, strict=True))
        else:
            return
    except (UnknownError, ValueError):
        return
    for name, one in pairs:
        if name in settable:
            scope.known[name] = one
            scope.dynamic.discard(name)
