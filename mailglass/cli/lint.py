"""``mailglass lint``: what is wrong with mails, before anybody gets them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import click

from mailglass.cli import EXIT_REFUSED
from mailglass.cli.mailables import mailables_of
from mailglass.cli.progress import progress

if TYPE_CHECKING:
    from mailglass.mailable import Mailable
    from mailglass.rendering.lint.findings import Finding
    from mailglass.rendering.lint.run import LintReport
    from mailglass.rendering.render import Renderer
    from mailglass.settings import Settings

_KINDS: Final = ("*.html.jinja", "*.md.jinja", "*.mjml.jinja")


@click.command("lint")
@click.argument("mailable", metavar="[MODULE[:MAILABLE]]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(*, mailable: str | None, as_json: bool) -> None:
    """Check mails; exit 1 when something must be changed.

    MODULE names the mailables that are checked, each on all of its previews, as they would be sent;
    without it those in all modules of the installed package are, and the sources of the templates in
    the configured folders. Nothing is sent and no link is followed.
    """
    reports: list[LintReport] = []
    with progress("mails", hidden=as_json) as done:
        for report in _reports(mailable):
            reports.append(report)
            done(len(reports))
    if not reports:
        click.echo("mailglass: nothing to check: name a module of mails", err=True)
    if as_json:
        click.echo(json.dumps({"reports": [one.to_dict() for one in reports]}, indent=2))
    else:
        for report in reports:
            for line in _lines(report):
                click.echo(line)
    if any(one.has_errors for one in reports):
        raise click.exceptions.Exit(EXIT_REFUSED)


def _reports(named: str | None) -> Iterator[LintReport]:
    from mailglass.rendering.lint.run import lint_mailable
    from mailglass.rendering.render import renderer_of
    from mailglass.settings import load_settings

    settings = load_settings()
    renderer = renderer_of(settings)
    for kind in mailables_of([] if named is None else [named]) or ():
        report = lint_mailable(renderer, kind, attachments_root=settings.attachments_root)
        broken = dict.fromkeys(_broken_rules(renderer, settings, kind))
        yield replace(report, findings=(*report.findings, *broken))
    if named is None:
        yield from _of_folders()


def _broken_rules(
    renderer: Renderer, settings: Settings, kind: type[Mailable]
) -> Iterator[Finding]:
    """Yield the rules of its stream that a mailable's previews break with these settings."""
    from mailglass.errors import MailglassError
    from mailglass.preflight import Context, Phase
    from mailglass.preflight.stream_policy import RULES
    from mailglass.rendering.lint.findings import found

    context = Context(
        tenant_id="lint", phase=Phase.INTAKE, settings=settings,
        suppressions=lambda _values, _stream: (), take=lambda _request: None,
    )  # fmt: skip
    try:
        messages = [renderer.render(one) for one in kind.previews().values()]
    except MailglassError:
        return  # told as render_failed
    for message in messages:
        for rule in RULES[message.stream]:
            if not rule.is_kept(message, context):
                place = kind.qualified_name()
                yield found("policy_broken", place, broken=rule.name, suggestion=rule.suggestion)


def _of_folders() -> Iterator[LintReport]:
    from mailglass.rendering.lint.run import lint_file
    from mailglass.rendering.render import renderer_of
    from mailglass.settings import load_settings

    settings = load_settings()
    renderer = renderer_of(settings)
    names = {
        path.relative_to(folder).as_posix()
        for folder in settings.templates
        for kind in _KINDS
        for path in folder.rglob(kind)
    }
    for name in sorted(names):
        yield lint_file(renderer, name)


def _lines(report: LintReport) -> Iterator[str]:
    number = len(report.findings)
    yield f"{report.of}: {number or 'no'} finding{'' if number == 1 else 's'}"
    for one in report.findings:
        yield f"  {one.severity.value:<7}  {one.id:<20}  {one.place}"
        yield f"      {one.why}"
        yield f"      {one.fix}"
    for name, parts in report.weights.items():
        sizes = ", ".join(f"{part} {size}" for part, size in parts.items() if size)
        yield f"  bytes of {name}: {sizes}"
