"""``mailglass templates``: which templates are compiled with their styles, and why others are not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from mailglass.cli import EXIT_REFUSED
from mailglass.cli.mailables import mailables

if TYPE_CHECKING:
    from mailglass.errors import TemplateError
    from mailglass.rendering.compiling.compiled import TemplateReport


@click.command("templates")
@click.argument("named", metavar="[MODULE[:MAILABLE]]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(*, named: str | None, as_json: bool) -> None:
    """List templates: compiled once or inlined in each mail (fallback), why, and milliseconds.

    MODULE names the mailables whose templates are listed, each checked on its previews; without it
    every .html.jinja file of the configured folders is listed.
    """
    found: list[tuple[str, TemplateReport | TemplateError]] = list(
        _of_folders() if named is None else _of_mailables(named)
    )
    shown = [_as_json(owner, one) for owner, one in found]
    if as_json:
        click.echo(json.dumps({"templates": shown}, indent=2))
    else:
        for one in shown:
            click.echo(_line(one))
            for reason in one["reasons"]:
                click.echo(f"    {reason}")
    if any(one["mode"] == "error" for one in shown):
        raise click.exceptions.Exit(EXIT_REFUSED)


def _of_folders() -> Iterator[tuple[str, TemplateReport | TemplateError]]:
    from mailglass.errors import TemplateError
    from mailglass.rendering.render import renderer_of
    from mailglass.settings import load_settings

    settings = load_settings()
    renderer = renderer_of(settings)
    names = {
        path.relative_to(folder).as_posix()
        for folder in settings.templates
        for path in folder.rglob("*.html.jinja")
    }
    for name in sorted(names):
        try:
            yield name, renderer.report_file(name)
        except TemplateError as error:
            yield name, error


def _of_mailables(named: str) -> Iterator[tuple[str, TemplateReport | TemplateError]]:
    from mailglass.errors import TemplateError
    from mailglass.rendering.render import renderer_of
    from mailglass.settings import load_settings

    settings = load_settings()
    renderer = renderer_of(settings)
    for kind in mailables(named):
        try:
            yield kind.qualified_name(), renderer.report(kind)
        except TemplateError as error:
            yield kind.qualified_name(), error


def _as_json(owner: str, one: TemplateReport | TemplateError) -> dict[str, Any]:
    from mailglass.errors import TemplateError

    if isinstance(one, TemplateError):
        return {
            "of": owner, "template": one.template, "mode": "error", "reasons": [one.message],
            "compile_ms": None,
        }  # fmt: skip
    return {
        "of": owner, "template": one.name, "mode": one.mode.value, "reasons": list(one.reasons),
        "compile_ms": round(one.compile_ms, 2),
    }  # fmt: skip


def _line(one: dict[str, Any]) -> str:
    time = "-" if one["compile_ms"] is None else f"{one['compile_ms']} ms"
    of = "" if one["of"] == one["template"] else f"  ({one['of']})"
    return f"{one['mode']:<9} {time:>10}  {one['template']}{of}"
