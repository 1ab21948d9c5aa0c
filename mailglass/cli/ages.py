"""Ages on the command line: 90s, 15m, 2h or 30d, as seconds."""

from __future__ import annotations

import re
from typing import Any, Final

import click

_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_AGE: Final = re.compile(r"([0-9]{1,6})([smhd])")


class Age(click.ParamType[float]):
    """Reads a number with its unit as seconds."""

    name = "age"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return seconds."""
        if isinstance(value, float):
            return value
        read = _AGE.fullmatch(value)
        if read is None:
            self.fail("an age is a number with s, m, h or d, such as 15m", param, ctx)
        return float(read[1]) * _UNITS[read[2]]


AGE: Final = Age()
