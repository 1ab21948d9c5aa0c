"""The migrations with the hash of each file and the version that first had it.

The hash of a line is frozen as soon as the version moves on: a released migration never changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mailglass.ledger.migrations import Migration


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """One line: the hash in hexadecimal, and the version that first had the file."""

    sha256: str
    since: str


def parse(text: str) -> dict[str, Frozen]:
    """Return the lines of the golden by the migration's name."""
    rows = [line.split() for line in text.splitlines() if not line.startswith("#")]
    return {name: Frozen(sha256=sha256, since=since) for sha256, since, name in rows}


def migrations_text(migrations: Iterable[Migration], kept: str, *, version: str) -> str:
    """Return the golden of now; lines that are frozen stay, whatever became of their files."""
    before = parse(kept)
    found = {name: one for name, one in before.items() if one.since != version}
    for one in migrations:
        made = Frozen(sha256=one.sha256.hex(), since=version)
        found.setdefault(one.name, made)
    lines = (f"{found[name].sha256} {found[name].since} {name}\n" for name in sorted(found))
    return "# SHA-256, the version that first had it, the migration.\n" + "".join(lines)


def broken(migrations: Iterable[Migration], kept: str, *, version: str) -> Mapping[str, str]:
    """Return what is wrong with released migrations, by name; nothing can accept that."""
    now = {one.name: one.sha256.hex() for one in migrations}
    return {
        name: "it is gone" if name not in now else f"it was released with {one.since} and changed"
        for name, one in parse(kept).items()
        if one.since != version and now.get(name) != one.sha256
    }
