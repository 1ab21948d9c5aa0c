"""Goldens: reviewed texts and pictures, how they differ from what is made now, and accepting that."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import unified_diff
from enum import StrEnum, unique
from pathlib import Path
from typing import Final

from mailglass.errors import ConfigError, ConfigErrorType, Json

GOLDEN_BYTES_MAX: Final = 8 * 1024 * 1024
"""A larger file is refused rather than read."""
GOLDENS_MAX: Final = 10_000
"""How many files a folder of goldens may hold."""
_NO_LINE_END: Final = "\\ No newline at end of file\n"


@unique
class Kind(StrEnum):
    """How a golden differs: nobody reviewed it yet, it says something else, or nothing makes it."""

    NEW = "new"
    CHANGED = "changed"
    STALE = "stale"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One golden that differs; ``made`` is what the code makes now, None for a stale one."""

    path: str
    kind: Kind
    diff: str
    made: str | bytes | None = field(repr=False)

    def to_dict(self) -> dict[str, Json]:
        """Return a JSON-ready form: path, kind and the unified diff."""
        return {"path": self.path, "kind": self.kind.value, "diff": self.diff}


def read_goldens(folder: Path, suffixes: Collection[str]) -> dict[str, str]:
    r"""Return the texts below a folder by path, with ``\n`` at every line's end; none is no error.

    Raises:
        ConfigError: ``invalid`` for a file over ``GOLDEN_BYTES_MAX`` or that is not UTF-8, and for
            more files than ``GOLDENS_MAX``.

    """
    return {
        name: _text(name, raw).replace("\r\n", "\n")
        for name, raw in read_pictures(folder, suffixes).items()
    }


def read_pictures(folder: Path, suffixes: Collection[str]) -> dict[str, bytes]:
    """Return the goldens below a folder by path, as they are; none is no error.

    Raises:
        ConfigError: ``invalid`` for a file over ``GOLDEN_BYTES_MAX`` and for more files than
            ``GOLDENS_MAX``.

    """
    found: dict[str, bytes] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix not in suffixes or not path.is_file():
            continue
        if len(found) >= GOLDENS_MAX:
            raise _wrong(f"a folder of goldens holds more than {GOLDENS_MAX} files")
        found[path.relative_to(folder).as_posix()] = _read(path)
    return found


def compare(
    kept: Mapping[str, str | bytes], made: Mapping[str, str | bytes]
) -> tuple[Difference, ...]:
    """Return every difference, by path; ``kept`` has what was reviewed, ``made`` what is made now."""
    found = []
    for path in sorted(kept.keys() | made.keys()):
        before, after = kept.get(path), made.get(path)
        if before != after:
            found.append(
                Difference(path=path, kind=_kind(before, after), diff=_diff(path, before, after),
                           made=after)
            )  # fmt: skip
    return tuple(found)


def accept(folder: Path, differences: Sequence[Difference]) -> None:
    """Make the goldens what the code makes now; stale ones go, with the folders they leave empty.

    Raises:
        ConfigError: ``invalid`` for a path that leaves the folder, by a link on the way for example;
            then nothing is written.

    """
    for one in differences:
        if not (folder / one.path).resolve().is_relative_to(folder.resolve()):
            raise _wrong("a golden is reached by a link that leaves their folder")
    for one in differences:
        path = folder / one.path
        if one.made is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(one.made.encode() if isinstance(one.made, str) else one.made)
            continue
        path.unlink(missing_ok=True)
        if path.parent != folder and not any(path.parent.iterdir()):
            path.parent.rmdir()


def _kind(before: object, after: object) -> Kind:
    if before is None:
        return Kind.NEW
    return Kind.STALE if after is None else Kind.CHANGED


def _diff(path: str, before: str | bytes | None, after: str | bytes | None) -> str:
    old = "/dev/null" if before is None else f"a/{path}"
    new = "/dev/null" if after is None else f"b/{path}"
    if isinstance(before, bytes) or isinstance(after, bytes):
        return f"Binary files {old} and {new} differ\n"
    lines = unified_diff(_lines(before), _lines(after), old, new)
    return "".join(_ended(lines))


def _lines(text: str | None) -> list[str]:
    # Not splitlines(): what a browser shows on one line is one line, whatever Unicode says.
    return [] if not text else [f"{one}\n" for one in text.split("\n")[:-1]] + _rest(text)


def _rest(text: str) -> list[str]:
    last = text.rpartition("\n")[2]
    return [last] if last else []


def _ended(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        yield line if line.endswith("\n") else f"{line}\n{_NO_LINE_END}"


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        raw = file.read(GOLDEN_BYTES_MAX + 1)
    if len(raw) > GOLDEN_BYTES_MAX:
        raise _wrong(f"the golden {path.name} is larger than {GOLDEN_BYTES_MAX} bytes")
    return raw


def _text(name: str, raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise _wrong(f"the golden {name} is not UTF-8") from None


def _wrong(message: str) -> ConfigError:
    return ConfigError(
        message,
        type=ConfigErrorType.INVALID,
        key="goldens",
        hint="Take the file back from version control, or delete it and accept anew.",
    )
