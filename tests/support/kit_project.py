"""A small project of one test module, run by a real pytest that has the testing kit."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest

import mailglass.testing.private  # noqa: F401 - a run inside this process forgets what it alone imported

SHOP = """
from mailglass import EventType, Mailable, Message, Outcome, Stream
from mailglass.testing import FakeMode
import pytest


def note(**changes):
    fields = dict(sender="Shop <orders@shop.example>", to="zoe@mail.example", subject="Your order",
                  text="Thank you, 11.50 in all.")
    return Message(**(fields | changes))
"""


class Project:
    """A project whose tests the test writes."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self._pytester = pytester

    def run(self, tests: str, *arguments: str, ini: str = "") -> pytest.RunResult:
        """Write the tests, run them and return what pytest said."""
        self._pytester.makeini(f"[pytest]\n{ini}\n")
        self._pytester.makepyfile(test_shop=f"{SHOP}\n{tests}")
        return self._pytester.runpytest(*_loaded(), *arguments)


def _loaded() -> tuple[str, ...]:
    """Load the plugin by name where the installed metadata is older than its entry point."""
    installed = entry_points(group="pytest11", name="mailglass")
    return () if installed else ("-p", "mailglass.testing.plugin")
