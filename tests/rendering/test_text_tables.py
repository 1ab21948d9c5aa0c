"""Tables in the text part: columns that stand below one another, where they fit."""

from __future__ import annotations

import pytest

from mailglass.rendering.compiling.columns import TABLE_CHARS_MAX
from mailglass.rendering.plaintext import plain_text


def _table(*rows: str, attributes: str = "") -> str:
    made = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table{attributes}>{made}</table>"


def _row(*cells: str) -> str:
    return "".join(f"<td>{cell}</td>" for cell in cells)


def test_columns_have_one_width_and_numbers_stand_right() -> None:
    """A receipt reads as one, with an empty cell and a total across columns."""
    html = _table(
        _row("Item", "Qty", "Price"), _row("Café <b>au lait</b>", "2", "€7.00"),
        _row("<p>Brød</p>", "10", "1 114,50 EUR"), _row("", "1", "€1"),
        "<td colspan=2>Total</td><td>€121.50</td>",
    )  # fmt: skip
    assert plain_text(html) == (
        "Item          Qty         Price\n"
        "Café au lait    2         €7.00\n"
        "Brød           10  1 114,50 EUR\n"
        "                1            €1\n"
        "Total                   €121.50\n"
    )


@pytest.mark.parametrize("role", ["presentation", "none"])
def test_a_layout_table_has_no_columns(role: str) -> None:
    """Its cells are parts of the mail, which have nothing to do with one another."""
    html = _table(_row("a", "b"), _row("long", "c"), attributes=f" role={role}")
    assert plain_text(html) == "a  b\n\nlong  c\n"


def test_a_table_too_wide_for_a_line_is_written_cell_after_cell() -> None:
    """One long cell would push all others out of sight."""
    long = "x" * TABLE_CHARS_MAX
    assert plain_text(_table(_row("a", long), _row("bbb", "c"))) == f"a  {long}\n\nbbb  c\n"
    fits = "x" * (TABLE_CHARS_MAX - 7)
    assert plain_text(_table(_row("a", fits), _row("bbb", "c"))) == f"a    {fits}\nbbb  c\n"


def test_only_the_innermost_table_is_laid_out() -> None:
    """Rows around it keep their lines."""
    inner = _table(_row("a", "1"), _row("bbb", "22"))
    assert plain_text(_table(_row(inner, "x"), _row("y", "z"))) == "a     1\nbbb  22\n\nx\n\ny  z\n"


def test_marks_in_a_value_mean_nothing() -> None:
    """A value cannot draw a table of its own."""
    assert plain_text("<p>a\x10\x0eb\x02c\x11\x12</p>") == "abc\n"
