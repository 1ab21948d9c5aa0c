"""Tables of the text part: columns of one width, numbers to the right."""

from __future__ import annotations

import re
from itertools import zip_longest
from typing import Final

ROW: Final = "\x0e"
CELL: Final = "\x02"
SPAN: Final = "\x0f"
"""Stands at the end of a cell once for each further column that it takes."""
TABLE: Final = "\x10"
TABLE_END: Final = "\x11"
PAD: Final = "\x12"
"""A space that stays where it is."""
TABLE_CHARS_MAX: Final = 78
"""How wide a table is laid out; a wider one is written cell after cell (RFC 5322 §2.1.1 advises 78)."""
_INNERMOST: Final = re.compile(f"{TABLE}([^{TABLE}{TABLE_END}]*){TABLE_END}")
_NUMBER: Final = re.compile(r"\W{0,2}[A-Z]{0,3} ?[^\w\s]{0,2}\d[\d.,' \u202f]*[^\w]{0,3}[A-Z]{0,3}")


def laid_out(text: str, line_break: str) -> str:
    """Return a stream of text and marks with its innermost data tables in columns."""
    if TABLE in text:
        text = _INNERMOST.sub(lambda found: _columns(found[1], line_break), text)
    # By replacing, which costs a fifth of a pattern.
    for mark in (ROW, SPAN, TABLE, TABLE_END):
        text = text.replace(mark, "")
    return text


def _columns(table: str, line_break: str) -> str:
    before, *rows = table.split(ROW)
    cells: list[list[str]] = []
    for row in rows:
        cells.append([_flat(cell, line_break) for cell in _cells(row)])
        if sum(map(len, cells[-1])) > TABLE_CHARS_MAX and SPAN not in row:
            # One row is enough to tell, and the rows of a long receipt are many.
            return table
    widths = _widths(cells)
    is_narrow = sum(widths) + 2 * len(widths) <= TABLE_CHARS_MAX
    if len(rows) < 2 or len(widths) < 2 or not is_narrow:  # noqa: PLR2004 - else there is nothing to lay out
        return table
    numeric = [
        _is_numeric(column[1:]) for column in zip_longest(*map(_spread, cells), fillvalue="")
    ]
    lines = [_line(row, widths, numeric) for row in cells]
    return line_break.join([before, *lines, ""])


def _cells(row: str) -> list[str]:
    """Return the cells of a row; what follows the last one is white space."""
    return row.split(CELL)[:-1]


def _flat(cell: str, line_break: str) -> str:
    return " ".join(cell.replace(line_break, " ").split())


def _spread(row: list[str]) -> list[str]:
    """Return one text for each column; a cell that spans several is in none that is measured."""
    spread: list[str] = []
    for cell in row:
        span = cell.count(SPAN)
        spread += [""] * (span + 1) if span else [cell]
    return spread


def _widths(rows: list[list[str]]) -> list[int]:
    columns = zip_longest(*map(_spread, rows), fillvalue="")
    return [max(map(len, column)) for column in columns]


def _is_numeric(column: tuple[str, ...]) -> bool:
    said = [cell for cell in column if cell]
    return bool(said) and all(_NUMBER.fullmatch(cell) for cell in said)


def _line(row: list[str], widths: list[int], numeric: list[bool]) -> str:
    parts, at = [], 0
    for cell in row:
        span = cell.count(SPAN) + 1
        width = sum(widths[at : at + span]) + 2 * (span - 1)
        said = cell.replace(SPAN, "").strip()
        pad = PAD * (width - len(said))
        parts.append(pad + said if numeric[at] and span == 1 else said + pad)
        at += span
    return (PAD * 2).join(parts).rstrip(PAD)
