"""Runs the blocks of a page of documentation in order, against a real database.

A block is run by its language: ``python`` in one module a page, ``sh`` as commands of mailglass and
``export``, ``sql`` in the database, ``ini`` as settings. ``text`` and ``json`` are what the block
before them printed, where ``…`` stands for anything. A comment above a block may say more:
``<!-- file: shop.py -->`` writes it down, ``<!-- ID is delivery.id -->`` says what ``ID`` in a
command stands for, and ``<!-- not run: why -->`` leaves it out.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Final

import psycopg

from mailglass.adapters.from_settings import adapter_from
from mailglass.cli.group import run as run_command
from mailglass.settings import load_settings

OUTPUTS: Final = frozenset({"text", "json"})
_FENCE: Final = re.compile(r"^```(\S*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_COMMENT: Final = re.compile(r"<!--(.*?)-->\s*\Z", re.DOTALL)
_EXITS: Final = re.compile(r"#\s*exits (\d)")
_SETTING: Final = re.compile(r"(MAILGLASS_[A-Z0-9_]+)=(.*)")
_ANYTHING: Final = "…"
_ABOVE_CHARS_MAX: Final = 400


class PageError(AssertionError):
    """Says which block of a page does not do what the page says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block; ``line`` is that of its first line of code."""

    language: str
    code: str
    line: int
    file: str | None = None
    not_run: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)


def blocks_of(text: str) -> tuple[Block, ...]:
    """Return the blocks of a page, in order."""
    return tuple(_block(text, found) for found in _FENCE.finditer(text))


def _block(text: str, found: re.Match[str]) -> Block:
    said = dict(_said(text[max(0, found.start() - _ABOVE_CHARS_MAX) : found.start()]))
    return Block(
        language=found[1],
        code=found[2],
        line=text.count("\n", 0, found.start()) + 2,
        file=said.pop("file", None),
        not_run=said.pop("not run", None),
        names=said,
    )


def _said(above: str) -> Iterator[tuple[str, str]]:
    """Return what the comments right above a block say, as pairs."""
    while (found := _COMMENT.search(above)) is not None:
        # The last comment's text may begin in an earlier one where the search began too soon.
        said = found[1].rpartition("<!--")[2].strip()
        key, separator, value = said.partition(
            ":" if said.startswith(("file", "not run")) else " is "
        )
        if not separator:
            raise PageError(f"a comment says nothing that is understood: {said}")
        yield key.strip(), value.strip()
        above = above[: above.rindex("<!--")]


def run_page(path: Path, *, folder: Path, database_url: str) -> int:
    """Run every block of a page in an empty folder; return how many were run.

    Raises:
        PageError: for the first block that fails, prints something else, or cannot be run.

    """
    with _surroundings(folder, database_url):
        page = Page(path=path, folder=folder, database_url=database_url)
        blocks = blocks_of(path.read_text("utf-8"))
        for block in reversed(blocks):
            if block.file is not None:
                page.write(block)
        return sum(page.run(block) for block in blocks)


@dataclass(slots=True, kw_only=True)
class Page:
    """A page that is being run: its module and what the last block printed."""

    path: Path
    folder: Path
    database_url: str
    module: ModuleType = field(default_factory=lambda: ModuleType("page"))
    printed: str | None = None

    def __post_init__(self) -> None:
        """Let the page's classes find the templates beside them."""
        self.module.__file__ = str(self.folder / "page.py")
        sys.modules["page"] = self.module

    def run(self, block: Block) -> bool:
        """Run one block; False where it is left out."""
        if block.not_run is not None:
            self.printed = None
            return False
        try:
            self._run(block)
        except PageError as error:
            raise PageError(f"{self.path.name}, line {block.line}: {error}") from error
        except Exception as error:
            raise PageError(
                f"{self.path.name}, line {block.line}: {type(error).__name__}: {error}"
            ) from error
        return True

    def write(self, block: Block) -> None:
        """Write a block into the file that it is."""
        path = self.folder / str(block.file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.code, "utf-8")

    def _run(self, block: Block) -> None:
        if block.file is not None:
            self.write(block)
            return
        if block.language in OUTPUTS:
            self._compare(block.code)
            return
        known: dict[str, Callable[[Block], str]] = {
            "python": self._python, "sh": self._shell, "sql": self._sql, "ini": self._settings,
        }  # fmt: skip
        if block.language not in known:
            raise PageError(f"nobody runs a block of {block.language or 'no language'}")
        self.printed = known[block.language](block)

    def _compare(self, expected: str) -> None:
        if self.printed is None:
            raise PageError("there is output, and no block before it that was run")
        if _pattern(expected).fullmatch(_trimmed(self.printed) + "\n") is None:
            raise PageError(f"it printed\n{self.printed}\nand the page says\n{expected}")

    def _python(self, block: Block) -> str:
        # Empty lines in front make the lines of a traceback those of the page.
        code = compile("\n" * (block.line - 1) + block.code, str(self.path), "exec")
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(code, vars(self.module))  # noqa: S102 - the code is this project's own documentation
        return printed.getvalue()

    def _sql(self, block: Block) -> str:
        with psycopg.connect(self.database_url) as connection:
            found = connection.execute(block.code.encode())
            if found.description is None:
                return ""
            return "".join(" | ".join(map(str, row)) + "\n" for row in found)

    def _settings(self, block: Block) -> str:
        lines = [line for line in block.code.splitlines() if line and not line.startswith("#")]
        kept = {name: one for name, one in os.environ.items() if not name.startswith("MAILGLASS_")}
        for line in lines:
            found = _SETTING.fullmatch(line)
            if found is None:
                raise PageError(f"no setting: {line}")
            kept[found[1]] = found[2]
        with _environment(kept):
            adapter_from(load_settings()).close()
        return ""

    def _shell(self, block: Block) -> str:
        printed = ""
        for line in block.code.replace("\\\n", " ").splitlines():
            wanted = _EXITS.search(line)
            words = [self._word(one, block) for one in shlex.split(line, comments=True)]
            if words:
                printed += self._command(words, int(wanted[1]) if wanted else 0)
        return printed

    def _word(self, word: str, block: Block) -> str:
        expression = block.names.get(word)
        if expression is None:
            return word
        return str(eval(expression, vars(self.module)))  # noqa: S307 - as for the blocks themselves

    def _command(self, words: list[str], exits: int) -> str:
        if words[0] == "export":
            os.environ.update(
                (name, value) for name, _, value in (one.partition("=") for one in words[1:])
            )
            return ""
        if words[0] != "mailglass":
            raise PageError(f"nobody runs {words[0]}")
        target = None
        if ">" in words:
            at = words.index(">")
            target, words = self.folder / words[at + 1], words[:at]
        code, printed, complained = command(words)
        if code != exits:
            raise PageError(f"{' '.join(words)} exits with {code}:\n{printed}{complained}")
        if target is None:
            return printed
        target.write_text(printed, "utf-8")
        return ""


def command(words: list[str]) -> tuple[int, str, str]:
    """Run a command of mailglass in this process; return its code and what it printed."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    before = sys.argv, {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    sys.argv = words
    code: object = 0
    try:
        with redirect_stdout(out), redirect_stderr(err):
            run_command()
    except SystemExit as ended:
        code = ended.code
    finally:
        sys.argv = before[0]
        for number, handler in before[1].items():
            signal.signal(number, handler)
    printed, complained = (one.buffer.getvalue().decode() for one in (out, err))
    return int(str(code or 0)), printed, complained


def _trimmed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())


def _pattern(expected: str) -> re.Pattern[str]:
    parts = []
    for line in _trimmed(expected).splitlines():
        if line.strip() == _ANYTHING:
            parts.append(r"(?:[^\n]*\n)*?")
        else:
            parts.append(re.escape(line).replace(re.escape(_ANYTHING), "[^\n]*?") + "\n")
    return re.compile("".join(parts))


@contextmanager
def _environment(only: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(only)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _surroundings(folder: Path, database_url: str) -> Iterator[None]:
    """Work in a folder with a database and no other setting, and leave no module behind."""
    kept = {name: one for name, one in os.environ.items() if not name.startswith("MAILGLASS_")}
    kept.pop("DATABASE_URL", None)
    path, here = list(sys.path), Path.cwd()
    sys.path.insert(0, str(folder))
    os.chdir(folder)
    try:
        with _environment(kept | {"MAILGLASS_DATABASE_URL": database_url}):
            yield
    finally:
        os.chdir(here)
        sys.path[:] = path
        for name, module in list(sys.modules.items()):
            if (getattr(module, "__file__", None) or "").startswith(f"{folder}{os.sep}"):
                del sys.modules[name]
