"""Style sheets: the rules that can be written into elements, in the order of the cascade."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_COMMENT: Final = re.compile(r"/\*.*?(?:\*/|\Z)|<!--|-->", re.DOTALL)
_TOKEN: Final = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[{};()\[\],]", re.DOTALL)
_OPENS: Final = {"(": 1, "[": 1, ")": -1, "]": -1}
_IMPORTANT: Final = re.compile(r"\s*!\s*important\s*$", re.IGNORECASE)
_PROPERTY: Final = re.compile(r"-{0,2}[A-Za-z_][\w-]*")
_BRACKETS: Final = re.compile(r"\[\s*([\w-]+)[^\]]*\]")
_PSEUDO: Final = re.compile(r"::?([\w-]+)(\((?:[^()]|\([^()]*\))*\))?")
_NEGATION: Final = re.compile(r":not\(((?:[^()]|\([^()]*\))*)\)", re.IGNORECASE)
_STRUCTURAL: Final = frozenset({
    "first-child", "last-child", "only-child", "first-of-type", "last-of-type", "only-of-type",
    "nth-child", "nth-last-child", "nth-of-type", "nth-last-of-type",
})  # fmt: skip
_ELEMENT: Final = re.compile(r"(?:(?<=[\s>+~(])|^)[A-Za-z][\w-]*(?![^\[]*\])")
_SIBLING: Final = re.compile(r"[+~]")
_PLAIN: Final = re.compile(r"[\w\s.#*>+~\[\]=^$|\"':()-]+")
_UNWRITABLE: Final = frozenset("{}<\\\ufdd0")


@dataclass(frozen=True, slots=True)
class Declaration:
    """One declaration; ``is_important`` stands apart from the value."""

    name: str
    value: str
    is_important: bool = False

    @property
    def text(self) -> str:
        """Return it as it stands in a style attribute, where ``!important`` would beat @media."""
        return f"{self.name}:{self.value}"


@dataclass(frozen=True, slots=True)
class Rule:
    """One selector with its declarations."""

    number: int
    selector: str
    declarations: tuple[Declaration, ...]
    specificity: tuple[int, int, int]
    is_structural: bool

    @property
    def weakened(self) -> str:
        """Return a selector without siblings and places, which matches at least the same elements."""
        bare = _PSEUDO.sub("", _BRACKETS.sub("", self.selector))
        right = _SIBLING.split(bare)[-1]
        return " > ".join(part.strip() or "*" for part in right.split(">"))


def rules_of(sheets: Sequence[str]) -> list[Rule]:
    """Return the rules of some sheets that can stand in a style attribute, in source order.

    At-rules, states such as ``:hover``, pseudo-elements, ``:empty`` and selectors on the style
    attribute are not among them: they stay in the sheet alone.
    """
    rules: list[Rule] = []
    for sheet in sheets:
        for prelude, body in _blocks(_COMMENT.sub(" ", sheet)):
            found = tuple(declarations(body))
            if not found or prelude.startswith("@"):
                continue
            for selector in _split(prelude, ","):
                if _can_be_inlined(selector):
                    rules.append(_rule(len(rules), selector, found))
    return rules


def declarations(body: str) -> list[Declaration]:
    """Parse a declaration list; what is none, or cannot stand in an attribute, is left out."""
    found = []
    for part in _split(body, ";"):
        name, colon, value = part.partition(":")
        name, value = name.strip(), " ".join(value.split())
        if not colon or _PROPERTY.fullmatch(name) is None or _UNWRITABLE & set(value):
            continue
        shorn = _IMPORTANT.sub("", value)
        if shorn:
            lowered = name if name.startswith("--") else name.lower()
            found.append(Declaration(lowered, shorn, shorn != value))
    return found


def class_names_matter(rules: Sequence[Rule]) -> bool:
    """Tell whether any rule looks at classes."""
    return any("." in _BRACKETS.sub("", rule.selector) for rule in rules)


def ids_matter(rules: Sequence[Rule]) -> bool:
    """Tell whether any rule looks at ids."""
    return any("#" in _BRACKETS.sub("", rule.selector) for rule in rules)


def attributes_that_matter(rules: Sequence[Rule]) -> frozenset[str]:
    """Return the names of the attributes that selectors look at by brackets."""
    return frozenset(name.lower() for rule in rules for name in _BRACKETS.findall(rule.selector))


def _rule(number: int, selector: str, found: tuple[Declaration, ...]) -> Rule:
    spaced = _ELEMENT.sub(lambda name: name[0].lower(), " ".join(selector.split()))
    outside = _NEGATION.sub("", spaced)
    structural = _SIBLING.search(_BRACKETS.sub("", outside)) is not None or ":" in _NEGATION.sub(
        r" \1", _BRACKETS.sub("", spaced)
    )
    return Rule(number, spaced, found, _specificity(spaced), structural)


def _specificity(selector: str) -> tuple[int, int, int]:
    flat = _NEGATION.sub(r" \1", selector)
    brackets = len(_BRACKETS.findall(flat))
    flat = _BRACKETS.sub("", flat)
    places = len(_PSEUDO.findall(flat))
    flat = _PSEUDO.sub("", flat)
    elements = len(re.findall(r"(?:^|[\s>+~])[A-Za-z_]", flat))
    return flat.count("#"), flat.count(".") + brackets + places, elements


def _can_be_inlined(selector: str) -> bool:
    if not selector or _PLAIN.fullmatch(selector) is None or "::" in selector:
        return False
    if "style" in (name.lower() for name in _BRACKETS.findall(selector)):
        return False
    flat = _BRACKETS.sub("", selector)
    for negated in _NEGATION.findall(flat):
        if not negated.strip() or re.search(r"[\s>+~,]", negated.strip()):
            return False
    names = [name.lower() for name, _ in _PSEUDO.findall(_NEGATION.sub(r" \1", flat))]
    return all(name in _STRUCTURAL for name in names)


def _blocks(sheet: str) -> list[tuple[str, str]]:
    """Split a sheet into preludes and bodies at its outermost braces; ``@x …;`` is dropped."""
    found: list[tuple[str, str]] = []
    depth = since = opened = 0
    is_nested = False
    prelude = ""
    for token in _TOKEN.finditer(sheet):
        match token[0]:
            case "{":
                if depth == 0:
                    prelude, opened, is_nested = (
                        sheet[since : token.start()].strip(),
                        token.end(),
                        False,
                    )
                is_nested = is_nested or depth > 0
                depth += 1
            case "}" if depth > 0:
                depth -= 1
                if depth == 0:
                    if not is_nested:
                        found.append((prelude, sheet[opened : token.start()]))
                    since = token.end()
            case ";" if depth == 0:
                since = token.end()
            case _:
                continue
    return found


def _split(text: str, separator: str) -> list[str]:
    parts: list[str] = []
    depth = since = 0
    for token in _TOKEN.finditer(text):
        depth += _OPENS.get(token[0], 0)
        if token[0] == separator and depth <= 0:
            parts.append(text[since : token.start()].strip())
            since = token.end()
    parts.append(text[since:].strip())
    return [part for part in parts if part]
