"""Play a newcomer's first hour: from an empty folder to a mail, a webhook and its history.

    scripts/first-hour [--wheel FILE] [django|flask|fastapi|starlette|plain ...]

It makes a wheel of this checkout, and for each framework a folder with an environment of its own, whose
packages come from the package index. It prints how long each step took and what failed; all is gone
afterwards. Nothing is sent and no server that was there before is used.
"""

# ruff: noqa: INP001, S603, T201 - a script that starts commands it names itself, and prints its findings
from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from first_hour_applications import APPLICATIONS, Application

ROOT: Final = Path(__file__).resolve().parents[1]
FIRST_MAIL_S_MAX: Final = 180
STEP_S_MAX: Final = 600
OUTPUT_CHARS_MAX: Final = 4_000
_OURS: Final = frozenset({"__pycache__", ".pytest_cache", ".venv", "db.sqlite3"})


class Stumble(Exception):  # noqa: N818 - what a newcomer meets, not a fault of this script
    """A step did not go as the guides say."""


class Visitor:
    """A newcomer in a folder: runs commands as the guides give them, and watches the clock."""

    def __init__(self, folder: Path, state: Path, framework: str) -> None:
        self.folder = folder
        self.framework = framework
        self.began = time.monotonic()
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("MAILGLASS_", "PYTHON", "DJANGO_")) and name != "DATABASE_URL"
        }
        scripts = folder / ".venv" / "bin"
        self._environment = kept | {
            "PATH": os.pathsep.join([str(scripts), kept.get("PATH", os.defpath)]),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "XDG_DATA_HOME": str(state),
        }

    def run(self, *command: str, exits: int = 0) -> str:
        """Run a command and return what it printed.

        Raises:
            Stumble: it exits otherwise, or takes longer than ten minutes.

        """
        at = time.monotonic()
        try:
            told = subprocess.run(
                command, cwd=self.folder, env=self._environment, text=True, check=False,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=STEP_S_MAX,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Stumble(f"{' '.join(command)}: {error}") from error
        took_s = time.monotonic() - at
        print(f"  {took_s:6.1f} s  {' '.join(command)[:90]}", flush=True)
        if told.returncode != exits:
            raise Stumble(f"exit {told.returncode}:\n{told.stdout[-OUTPUT_CHARS_MAX:]}")
        return told.stdout

    def tree(self) -> dict[str, bytes]:
        """Return the files of the application, but for what its tools keep."""
        return {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file() and not _OURS & set(path.relative_to(self.folder).parts)
        }

    @property
    def elapsed_s(self) -> float:
        """Return the seconds since the folder was empty."""
        return time.monotonic() - self.began


def demand(holds: bool, wanted: str, told: str = "") -> None:  # noqa: FBT001 - it reads as a sentence
    """Refuse what is not as it should be.

    Raises:
        Stumble: ``holds`` is false.

    """
    if not holds:
        raise Stumble(f"{wanted}\n{told[-OUTPUT_CHARS_MAX:]}".rstrip())


def prepare(visitor: Visitor, application: Application, wheel: Path) -> None:
    """Make the environment and the fresh application."""
    visitor.run(sys.executable, "-m", "venv", ".venv")
    visitor.run("pip", "install", "-q", f"mailglass[{application.extras}] @ {wheel.as_uri()}")
    if application.begin:
        visitor.run(*application.begin)


def install(visitor: Visitor) -> None:
    """Install: a rehearsal writes nothing, and a second run changes nothing."""
    command = ("mailglass", "install", "--framework", visitor.framework)
    before = visitor.tree()
    visitor.run(*command, "--dry-run")
    demand(visitor.tree() == before, "a dry run wrote something")
    visitor.run(*command)
    installed = visitor.tree()
    told = visitor.run(*command)
    demand(visitor.tree() == installed, "a second run changed something", told)


def send(visitor: Visitor, application: Application) -> str:
    """Write the application, send its first mail and return the id of the delivery."""
    for name, text in application.files.items():
        (visitor.folder / name).write_text(text, "utf-8")
    if visitor.framework == "django":
        visitor.run("python", "manage.py", "check")
        visitor.run("python", "manage.py", "migrate")
    told = visitor.run("python", "send.py")
    print(f"  {visitor.elapsed_s:6.1f} s  from nothing to the first mail", flush=True)
    demand(visitor.elapsed_s <= FIRST_MAIL_S_MAX, f"that is over {FIRST_MAIL_S_MAX} s")
    return told.split()[-1]


def hear(visitor: Visitor, delivery_id: str) -> None:
    """Receive a signed webhook, and find it in the history of the delivery."""
    told = visitor.run("python", "hook.py", delivery_id)
    demand(told.split()[-1] == "200", "the webhook was not taken", told)
    history = visitor.run("mailglass", "events", delivery_id)
    for word in ("queued", "attempt_started", "dispatched", "delivered"):
        demand(word in history, f"the history lacks {word}", history)


def look_around(visitor: Visitor) -> None:
    """Run what a newcomer tries next: the tests, the preview, the checks."""
    visitor.run("python", "-m", "pytest", "-q", "tests")
    shown = visitor.run("mailglass", "render", "mails:Welcome", "--text")
    demand("Welcome" in shown, "the preview does not greet", shown)
    linted = visitor.run("mailglass", "lint", "mails")
    demand("no findings" in linted, "what was installed has findings", linted)
    visitor.run("mailglass", "doctor", "mails")
    visitor.run("mailglass", "publish-check", exits=1)  # nothing is reviewed yet
    visitor.run("mailglass", "publish-check", "--accept")
    visitor.run("mailglass", "publish-check")
    visitor.run("mailglass", "--help")


def remove(visitor: Visitor, before: Mapping[str, bytes]) -> None:
    """Take it all away: the application is again what it was, to the letter."""
    visitor.run("mailglass", "uninstall")
    left = {path: text for path, text in visitor.tree().items() if not path.startswith("goldens/")}
    for name in APPLICATIONS[visitor.framework].files:
        left.pop(name)
    changed = sorted(path for path in {*left, *before} if left.get(path) != before.get(path))
    demand(not changed, f"uninstall left changes in {', '.join(changed)}")


def first_hour(visitor: Visitor, wheel: Path) -> None:
    """Play it all with one framework.

    Raises:
        Stumble: at the first step that does not go as it should.

    """
    application = APPLICATIONS[visitor.framework]
    prepare(visitor, application, wheel)
    before = visitor.tree()
    install(visitor)
    delivery_id = send(visitor, application)
    hear(visitor, delivery_id)
    look_around(visitor)
    remove(visitor, before)


def built(folder: Path) -> Path:
    """Return a wheel of this checkout."""
    subprocess.run([sys.executable, "-m", "venv", folder / "build"], check=True, timeout=STEP_S_MAX)
    pip = (str(folder / "build/bin/pip"), "wheel", "-q", "--no-deps", "-w", str(folder), str(ROOT))
    subprocess.run(pip, check=True, timeout=STEP_S_MAX)
    return next(folder.glob("*.whl"))


def is_played(framework: str, wheel: Path, state: Path) -> bool:
    """Play one framework in a folder that goes away; tell whether all went well."""
    print(framework, flush=True)
    with tempfile.TemporaryDirectory(prefix="mailglass-first-hour-") as name:
        try:
            first_hour(Visitor(Path(name), state, framework), wheel)
        except Stumble as stumble:
            print(f"  STUMBLE  {stumble}", flush=True)
            return False
    return True


def main(arguments: Sequence[str]) -> int:
    """Play the frameworks that are named, or all; return 1 when one stumbles."""
    parser = argparse.ArgumentParser(prog="scripts/first-hour", description="The first hour.")
    parser.add_argument("frameworks", nargs="*", metavar="FRAMEWORK", help=" ".join(APPLICATIONS))
    parser.add_argument("--wheel", type=Path, help="instead of one made of this checkout")
    given = parser.parse_args(arguments)
    unknown = set(given.frameworks) - set(APPLICATIONS)
    if unknown:
        parser.error(f"no framework {min(unknown)!r}; known are {', '.join(APPLICATIONS)}")
    with tempfile.TemporaryDirectory(prefix="mailglass-first-hour-") as name:
        wheel = given.wheel.resolve() if given.wheel else built(Path(name))
        play: Callable[[str], bool] = lambda one: is_played(one, wheel, Path(name) / one)  # noqa: E731 - one name
        results = [play(one) for one in given.frameworks or APPLICATIONS]
    print(f"{sum(results)} of {len(results)} without a stumble")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
