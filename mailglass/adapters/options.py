"""Options of one provider, merged into its request over what mailglass put there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def merged(body: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body with the options in it: objects are merged, anything else is replaced."""
    found = dict(body)
    for name, value in options.items():
        mine = found.get(name)
        if isinstance(mine, Mapping) and isinstance(value, Mapping):
            found[name] = merged(mine, value)
        else:
            found[name] = value
    return found
