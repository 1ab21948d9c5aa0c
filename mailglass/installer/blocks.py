"""Marked blocks: a piece of a file of the user's that the installer owns."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_BEGIN: Final = "# >>> mailglass {name}: changes inside are kept; remove the marks to own it"
_END: Final = "# <<< mailglass {name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A block in a text: ``before`` and ``after`` are the user's own, to the letter."""

    before: str
    inside: str
    after: str


def find(text: str, name: str) -> Found | None:
    """Return the block of that name; None where there is none.

    Raises:
        ValueError: a mark is missing or there twice.

    """
    begin = re.findall(rf"^# >>> mailglass {name}:.*$", text, re.MULTILINE)
    end = re.findall(rf"^# <<< mailglass {name}$", text, re.MULTILINE)
    if not begin and not end:
        return None
    if len(begin) != 1 or len(end) != 1:
        raise ValueError(name)
    before, _, rest = text.partition(f"{begin[0]}\n")
    inside, mark, after = rest.partition(f"{end[0]}")
    if not mark:
        raise ValueError(name)
    return Found(before=before, inside=inside, after=after.removeprefix("\n"))


def put(text: str, name: str, inside: str) -> str:
    """Return the text with the block in its place, or at the end where there is none."""
    found = find(text, name)
    block = f"{_BEGIN.format(name=name)}\n{inside}{_END.format(name=name)}\n"
    if found is not None:
        return f"{found.before}{block}{found.after}"
    gap = "" if not text else ("\n" if text.endswith("\n") else "\n\n")
    return f"{text}{gap}{block}"


def take_out(text: str, name: str) -> str:
    """Return the text as it was before the block was put at its end."""
    found = find(text, name)
    if found is None:
        return text
    if found.after:
        return f"{found.before}{found.after}"
    return found.before.removesuffix("\n") if found.before.endswith("\n\n") else found.before
