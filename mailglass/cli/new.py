"""``mailglass new``: begins something of the application's own."""

from __future__ import annotations

import json
from pathlib import Path

import click

from mailglass.cli.install import known_package


@click.group("new")
def command() -> None:
    """Begin something new: a mailable."""


@command.command("mailable")
@click.argument("name")
@click.option(
    "--stream", type=click.Choice(["transactional", "operational", "bulk"]),
    default="transactional", show_default=True,
)  # fmt: skip
@click.option(
    "--package", metavar="FOLDER", help="Where the mails are; the installed package by default."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option(
    "--root", type=click.Path(exists=True, file_okay=False, path_type=Path), default=Path(),
    help="The application's folder; the current one by default.",
)  # fmt: skip
def mailable(*, name: str, stream: str, package: str | None, as_json: bool, root: Path) -> None:
    """Write the class NAME with a template and a preview; nothing that is there is touched."""
    from mailglass.installer.mailable import mailable_files, write_new
    from mailglass.message import Stream

    folder = package or known_package(root) or "mails"
    files = mailable_files(name, package=folder, stream=Stream(stream))
    write_new(files, root)
    if as_json:
        click.echo(json.dumps({"created": list(files)}))
        return
    for path in files:
        click.echo(f"create    {path}")
    module = next(iter(files)).removeprefix("src/").removesuffix(".py").replace("/", ".")
    click.echo(
        "next:\n"
        f"  mailglass render {module}:{name} --text\n"
        f"  name {name} in {folder}/__init__.py, where you import mails from the package"
    )
