"""``mailglass uninstall``: takes away what ``install`` wrote and nobody edited."""

from __future__ import annotations

from pathlib import Path

import click

from mailglass.cli import EXIT_REFUSED
from mailglass.cli.install import diff_of, show


@click.command("uninstall")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--diff", "shows_diff", is_flag=True, help="Show the changes as a diff.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option(
    "--root", type=click.Path(exists=True, file_okay=False, path_type=Path), default=Path(),
    help="The application's folder; the current one by default.",
)  # fmt: skip
def command(*, dry_run: bool, shows_diff: bool, as_json: bool, root: Path) -> None:
    """Remove the files and blocks that install wrote; what you edited stays, and exits 1.

    The database and mails that you added are left alone.
    """
    from mailglass.errors import ConfigError, ConfigErrorType
    from mailglass.installer import MANIFEST, Framework, Manifest, apply, plan_removal, read_project

    file = root / MANIFEST
    if not file.is_file():
        raise ConfigError(
            "nothing is installed here",
            type=ConfigErrorType.MISSING,
            key=MANIFEST,
            hint="Run it in the folder that holds the manifest.",
        )
    known = Manifest.parse(file.read_text("utf-8"))
    project = read_project(root, framework=Framework(known.framework), package=known.package)
    steps = plan_removal(project)
    diff = diff_of(steps, project) if shows_diff else ""
    if not dry_run:
        apply(steps, root)
    show(steps, diff, as_json=as_json)
    if steps.conflicts:
        raise click.exceptions.Exit(EXIT_REFUSED)
