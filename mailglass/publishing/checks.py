"""What must hold before a deploy: a table of checks over one candidate; each tells all that fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mailglass.doctor.check import Result, Status
from mailglass.errors import PublishError
from mailglass.installer import MANIFEST, Action, Framework, Manifest, plan, read_project
from mailglass.ledger.database import DatabaseChoice
from mailglass.ledger.faults import DatabaseAwayError
from mailglass.ledger.inspection import inspect
from mailglass.mailable import Mailable
from mailglass.publishing.goldens import Difference
from mailglass.publishing.mails import Mails, told
from mailglass.publishing.pictures import Camera
from mailglass.rendering.lint.findings import Severity
from mailglass.rendering.lint.run import lint_mailable
from mailglass.rendering.render import Renderer

GUIDE: Final = "guides/publish-check.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What is to be published.

    ``goldens`` is the folder of the mails' goldens, ``root`` the application's. ``database`` is None
    where none is named; ``watch`` is called with each mailable before it is looked at. With a
    ``camera`` the pictures of the mails are compared too.
    """

    mailables: Sequence[type[Mailable]]
    renderer: Renderer
    goldens: Path
    root: Path
    attachments_root: Path | None = None
    database: DatabaseChoice | None = None
    camera: Camera | None = None
    watch: Callable[[type[Mailable]], None] = lambda _kind: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What was found: a result for everything that fails and for each check that passes."""

    results: tuple[Result, ...]
    differences: tuple[Difference, ...]

    def refuse_drift(self) -> None:
        """Raise when a golden differs.

        Raises:
            PublishError: ``publish_blocked_golden_drift``; ``output`` is the unified diff.

        """
        if self.differences:
            count = len(self.differences)
            raise PublishError(
                f"{count} {'golden differs' if count == 1 else 'goldens differ'} from what the code "
                "makes now; review the difference, then accept it or mend the code",
                output="".join(one.diff for one in self.differences),
            )


def examine(candidate: Candidate) -> Findings:
    """Run every check and return what each found; nothing is written or sent.

    Raises:
        ConfigError: ``invalid`` for goldens or an install manifest that cannot be read.

    """
    mails = Mails(
        candidate.renderer, camera=candidate.camera, attachments_root=candidate.attachments_root
    )
    for kind in candidate.mailables:
        candidate.watch(kind)
        mails.add(kind)
    differences = mails.differences(candidate.goldens)
    found: Mapping[str, Iterator[Result]] = {
        "previews": (_failed("previews", one) for one in mails.faults),
        "goldens": (_failed("goldens", f"{one.kind}: {one.path}") for one in differences),
        "lint": _lint(candidate),
        "migrations": _migrations(candidate.database),
        "install": _install(candidate.root),
    }
    results: list[Result] = []
    for name, faults in found.items():
        seen = list(faults) or list(_unseen(name, candidate))
        results += seen or [Result(id=name, status=Status.OK, title=_TITLES[name])]
    return Findings(results=tuple(results), differences=differences)


def _unseen(name: str, candidate: Candidate) -> Iterator[Result]:
    """Yield that nothing was looked at, for a check of mails where there is none."""
    if name in _OF_MAILS and not candidate.mailables:
        yield _failed(name, "no mailable was looked at", status=Status.CANNOT_VERIFY)


def _lint(candidate: Candidate) -> Iterator[Result]:
    for kind in candidate.mailables:
        try:
            report = lint_mailable(
                candidate.renderer, kind, attachments_root=candidate.attachments_root
            )
        except Exception as error:  # noqa: BLE001 - a bug in one mailable must not hide the others
            yield _failed("lint", f"{kind.qualified_name()}: {told(error)}")
            continue
        for one in report.findings:
            # What cannot be rendered is told by the check of the previews.
            if one.severity is Severity.ERROR and one.id != "render_failed":
                yield _failed("lint", f"{report.of}: {one.id}, {one.place}: {one.why}", fix=one.fix)


def _migrations(database: DatabaseChoice | None) -> Iterator[Result]:
    if database is None:
        yield _failed("migrations", "no database is named", status=Status.CANNOT_VERIFY)
        return
    try:
        found = inspect(database.url, role=None).migrations
    except DatabaseAwayError:
        seen = f"{database.describe()} was not reached"
        yield _failed("migrations", seen, status=Status.CANNOT_VERIFY)
        return
    for fault, names in (
        ("not applied", found.pending),
        ("edited after it was applied", found.edited),
        ("newer than this mailglass", found.unknown),
    ):
        if names:
            yield _failed("migrations", f"{fault}: {', '.join(names)}")


def _install(root: Path) -> Iterator[Result]:
    file = root / MANIFEST
    if not file.is_file():
        return
    known = Manifest.parse(file.read_text("utf-8"))
    project = read_project(root, framework=Framework(known.framework), package=known.package)
    for step in plan(project).steps:
        if step.action is not Action.KEEP and step.path != MANIFEST:
            yield _failed("install", f"{step.action}: {step.path}")


def _failed(name: str, seen: str, *, fix: str = "", status: Status = Status.ERROR) -> Result:
    return Result(
        id=name, status=status, title=_TITLES[name], seen=seen, fix=fix or _FIXES[name],
        guide=f"{GUIDE}#{name}",
    )  # fmt: skip


_TITLES: Final = {
    "previews": "Every preview renders, and always the same",
    "goldens": "Every mail is what was reviewed",
    "lint": "Lint has no error",
    "migrations": "The database has the migrations of this version",
    "install": "What was installed is of this version",
}
_OF_MAILS: Final = ("previews", "goldens", "lint")
_FIXES: Final = {
    "previews": "Mend the template or previews(); `mailglass render MODULE:MAILABLE` shows one.",
    "goldens": "Read the difference; then accept it with --accept, or mend the code.",
    "lint": "`mailglass lint MODULE` shows more.",
    "migrations": "Run `mailglass migrate` before the new version starts.",
    "install": "Run `mailglass install --diff`, and merge what it puts beside your edits.",
}
