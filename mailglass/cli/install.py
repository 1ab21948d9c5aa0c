"""``mailglass install``: writes a mailing package into an application, or brings one up to date."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mailglass.cli import EXIT_REFUSED

if TYPE_CHECKING:
    from mailglass.installer import Plan, Project

_FRAMEWORKS = ("django", "flask", "fastapi", "starlette", "plain")
_LINE_END = "\n"


@click.command("install")
@click.option("--framework", type=click.Choice(_FRAMEWORKS), help="Instead of what is found.")
@click.option("--package", metavar="FOLDER", help="Where the mails go, such as src/shop/mails.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--diff", "shows_diff", is_flag=True, help="Show the changes as a diff.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--force", is_flag=True, help="Replace edited files; yours go to PATH.mailglass-old.")
@click.option(
    "--root", type=click.Path(exists=True, file_okay=False, path_type=Path), default=Path(),
    help="The application's folder; the current one by default.",
)  # fmt: skip
def command(  # noqa: PLR0913 - click passes each option as a keyword
    *,
    framework: str | None,
    package: str | None,
    dry_run: bool,
    shows_diff: bool,
    as_json: bool,
    force: bool,
    root: Path,
) -> None:
    """Write a mailing package into the application: a mail with previews, its layout, settings, a test.

    What you edited is never overwritten: a newer text goes to PATH.mailglass-new, and the command
    exits 1 until you have dealt with it. A second run changes nothing.
    """  # fmt: skip
    from mailglass.installer import MANIFEST, Framework, apply, first_steps, plan, read_project

    wanted = Framework(framework) if framework else None
    project = read_project(root, framework=wanted, package=package or known_package(root))
    steps = plan(project, is_forced=force)
    diff = diff_of(steps, project) if shows_diff else ""
    if not dry_run:
        apply(steps, root)
    show(steps, diff, as_json=as_json, framework=project.framework, package=project.package)
    if not as_json:
        click.echo(f"framework {project.framework}, mails in {project.package}")
        if not dry_run and MANIFEST not in project.texts:
            click.echo("\n  ".join(("next:", *first_steps(project))))
    if steps.conflicts:
        raise click.exceptions.Exit(EXIT_REFUSED)


def show(plan: Plan, diff: str, *, as_json: bool, **about: str) -> None:
    """Print the diff, then one line a file, and why where that needs saying; or all as JSON."""
    if as_json:
        steps = [
            {"action": one.action, "path": one.path, "reason": one.reason} for one in plan.steps
        ]
        click.echo(json.dumps(about | {"steps": steps, "diff": diff}, indent=2))
        return
    click.echo(diff, nl=False)
    for step in plan.steps:
        click.echo(f"{step.action:<9} {step.path}{f'  ({step.reason})' if step.reason else ''}")


def diff_of(plan: Plan, project: Project) -> str:
    """Return what changes, as a unified diff; bytes that are not UTF-8 are shown as question marks."""
    from difflib import unified_diff

    lines: list[str] = []
    for path, text in plan.changes.items():
        before = project.texts.get(path, "").splitlines(keepends=True)
        after = (text or "").splitlines(keepends=True)
        lines += unified_diff(before, after, f"a/{path}", f"b/{path}")
    return "".join(
        f"{one.encode('utf-8', 'replace').decode().rstrip(_LINE_END)}\n" for one in lines
    )


def known_package(root: Path) -> str | None:
    """Return where an installation put the mails; None where there is none."""
    from mailglass.installer import MANIFEST, Manifest

    file = root / MANIFEST
    return Manifest.parse(file.read_text("utf-8")).package if file.is_file() else None
