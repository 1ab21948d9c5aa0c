"""The text of the benchmark's mail, in words that Jinja and Django's templates both read."""

# ruff: noqa: INP001 - part of a script that is run as a folder
from __future__ import annotations

from typing import Final

SENDER: Final = "orders@shop.example"
SHEET: Final = "p { color: #333; margin: 0 0 8px } .total { font-weight: bold } td { padding: 4px }"
BODY: Final = (
    "<p>Hello customer {{ number }},</p><p>your order is on its way.</p><table>"
    "{% for line in lines %}<tr><td>{{ line }}</td><td>a thing</td></tr>{% endfor %}</table>"
    '<p class="total">42.00</p>'
)
"""What Jinja and Django's templates both read."""
TEXT: Final = (
    "Hello customer {{ number }},\n\nyour order is on its way.\n"
    "{% for line in lines %}{{ line }}: a thing\n{% endfor %}\nTotal: 42.00\n"
)
LINES: Final = tuple(range(10))
