"""Translated blocks: a ``{% trans %}`` without tags, written as the call that Jinja makes of it.

The call is an output like any other, so a template with such blocks is compiled once. What is written
is parsed again: only where Jinja makes the same of both does it stand for the block.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from jinja2 import Environment, nodes
from jinja2 import TemplateError as JinjaError

from mailglass.rendering.compiling.constructs import Construct, constructs

_TAGS: Final = re.compile(r"[<&]")
_CONTEXT: Final = re.compile(r"\s*(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")", re.DOTALL)
_TRIMMED: Final = re.compile(r"\s*(?:not)?trimmed\b(?!\s*=)")
_PART: Final = re.compile(
    r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|[\[({\])},]|[^'\"\[({\])},]+", re.DOTALL
)
_NAMED: Final = re.compile(r"\s*(\w+)\s*(?:=(?!=)(.*))?", re.DOTALL)
_DEPTHS: Final = {"[": 1, "(": 1, "{": 1, "]": -1, ")": -1, "}": -1}


def with_calls(environment: Environment, text: str) -> str:
    """Return a source with its translated blocks as calls; one that holds tags stays as it is.

    Every line keeps its number.
    """
    # Jinja would strip lines around a block, and does not around an output.
    if "endtrans" not in text or environment.trim_blocks or environment.lstrip_blocks:
        return text
    parts: list[str] = []
    at = 0
    for opened, end in _blocks(constructs(text)):
        block = text[opened.start : end]
        parts += (text[at : opened.start], _as_call(environment, opened, block) or block)
        at = end
    return "".join((*parts, text[at:]))


def _blocks(found: Sequence[Construct]) -> Iterator[tuple[Construct, int]]:
    opened: Construct | None = None
    for one in found:
        if one.kind == "statement" and one.word == "trans":
            opened = one
        elif one.kind == "statement" and one.word == "endtrans" and opened is not None:
            yield opened, one.end
            opened = None


def _as_call(environment: Environment, opened: Construct, block: str) -> str | None:
    call = _call(environment, block)
    texts = [one.value for one in call.args if isinstance(one, nodes.Const)] if call else []
    if call is None or any(_TAGS.search(str(one)) for one in texts):
        return None
    declared = _declared(opened.rest)
    values = [declared.get(one.key, one.key) for one in call.kwargs]
    counts = [
        text for text in dict.fromkeys([*declared.values(), *values, "num"])
        if any(_expression(environment, text) == one for one in call.args)
    ]  # fmt: skip
    plain = [_quoted(one.value) if isinstance(one, nodes.Const) else "" for one in call.args]
    arguments = [one or "".join(counts[:1]) for one in plain]
    arguments += [f"{one.key}={value}" for one, value in zip(call.kwargs, values, strict=True)]
    written = f"{_name(call)}({', '.join(arguments)})"
    lines = "\n" * (block.count("\n") - written.count("\n"))
    output = f"{{{{ {written}{lines} }}}}"
    return output if _call(environment, output) == call else None


def _name(call: nodes.Call) -> str:
    return call.node.name if isinstance(call.node, nodes.Name) else ""


def _call(environment: Environment, text: str) -> nodes.Call | None:
    """Return the one call that Jinja makes of a text, if that is all it makes."""
    try:
        body = environment.parse(text).body
    except JinjaError:
        return None
    match body:
        case [nodes.Output(nodes=[nodes.Call() as call])]:
            return call
        case _:
            return None


def _expression(environment: Environment, text: str) -> nodes.Node | None:
    try:
        body = environment.parse(f"{{{{ {text} }}}}").body
    except JinjaError:
        return None
    match body:
        case [nodes.Output(nodes=[one])]:
            return one
        case _:
            return None


def _declared(rest: str) -> dict[str, str]:
    """Return the names that a tag gives to expressions, with the expressions' texts."""
    context = _CONTEXT.match(rest)
    rest = rest[context.end() :] if context else rest
    found: dict[str, str] = {}
    for one in _split(_TRIMMED.sub("", rest)):
        named = _NAMED.fullmatch(one)
        if named is not None:
            found[named[1]] = (named[2] or named[1]).strip()
    return found


def _split(rest: str) -> list[str]:
    parts, depth = [""], 0
    for one in _PART.findall(rest):
        depth += _DEPTHS.get(one, 0)
        if one == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += one
    return parts


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"'{escaped.replace(chr(13), chr(92) + 'r')}'"
