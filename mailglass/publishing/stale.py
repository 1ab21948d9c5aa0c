"""Whether a folder of goldens belongs to a mailable that is gone, or to one that was not asked for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from urllib.parse import unquote

from mailglass.mailable import Mailable


def is_gone(folder: str) -> bool:
    """Tell whether no mailable of that qualified name can be there.

    A module that is there and that nobody imported may define it: its goldens are left alone.
    """
    names = unquote(folder).split(".")
    for count in range(len(names) - 1, 0, -1):
        module = ".".join(names[:count])
        if module in sys.modules:
            return not _is_mailable(sys.modules[module], names[count:])
        if _exists(module):
            return False
    return True


def _is_mailable(found: object, names: Sequence[str]) -> bool:
    for name in names:
        found = getattr(found, name, None)
    return isinstance(found, type) and issubclass(found, Mailable)


def _exists(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        # What is above it is not there or is no package.
        return False
