"""The command line: one file a command, each loaded when it is asked for.

Exit codes: 0 done, 1 refused or failed, 2 misused.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Final


def main() -> None:
    """Run ``mailglass``; without the extra ``cli`` say how to get it."""
    try:
        import click  # noqa: F401 - only to see whether it is there
    except ModuleNotFoundError:
        sys.stderr.write("mailglass: the command line needs click: pip install 'mailglass[cli]'\n")
        sys.exit(2)
    import_module("mailglass.cli.group").run()


EXIT_REFUSED: Final = 1
EXIT_MISUSED: Final = 2
