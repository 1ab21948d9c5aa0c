"""Runs every rule: over a mailable and its previews, over one message, or over a template file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mailglass.errors import Json, MailglassError
from mailglass.mailable import Mailable
from mailglass.message import Message
from mailglass.rendering.attachments import load_attachments
from mailglass.rendering.compiling.sources import Source
from mailglass.rendering.lint.clients import dropped_sheets, unsupported
from mailglass.rendering.lint.contrasts import low_contrasts
from mailglass.rendering.lint.findings import Finding, Severity, found
from mailglass.rendering.lint.markup import markup_findings
from mailglass.rendering.lint.pages import read_page
from mailglass.rendering.lint.parity import parity_findings, subject_findings
from mailglass.rendering.lint.places import Locate, locator
from mailglass.rendering.lint.templates import source_findings
from mailglass.rendering.lint.weights import weigh, weight_findings
from mailglass.rendering.render import Renderer
from mailglass.rendering.templates import Templates


@dataclass(frozen=True, slots=True, kw_only=True)
class LintReport:
    """What lint has to say of one mailable or file; ``weights`` are bytes, by preview and part."""

    of: str
    findings: tuple[Finding, ...]
    weights: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def has_errors(self) -> bool:
        """Tell whether anything must be changed."""
        return any(one.severity is Severity.ERROR for one in self.findings)

    def to_dict(self) -> dict[str, Json]:
        """Return a JSON-ready form."""
        return {
            "of": self.of,
            "findings": [one.to_dict() for one in self.findings],
            "weights": {name: dict(parts) for name, parts in self.weights.items()},
        }


def lint_mailable(
    renderer: Renderer, kind: type[Mailable], *, attachments_root: Path | None = None
) -> LintReport:
    """Check the template of a mailable, and each preview as it would be sent.

    Raises:
        ConfigError: ``missing`` when the class lacks sender, subject or template.

    """
    templates = renderer.templates_of(kind)
    findings: list[Finding] = []
    sources: Sequence[Source] = ()
    try:
        sources = templates.sources(kind.template)
        findings += _of_sources(templates, sources)
    except MailglassError as error:
        findings.append(found("render_failed", kind.template, error=error.message))
    weights: dict[str, Mapping[str, int]] = {}
    locate = locator(sources)
    for name, mailable in _previews(kind, findings).items():
        try:
            message = load_attachments(renderer.render(mailable), attachments_root)
            weights[name] = _weights(message)
            findings += lint_message(message, locate)
        except MailglassError as error:
            findings.append(found("render_failed", f"the preview {name}", error=error.message))
    return LintReport(
        of=kind.qualified_name(), findings=tuple(dict.fromkeys(findings)), weights=weights
    )


def _previews(kind: type[Mailable], findings: list[Finding]) -> Mapping[str, Mailable]:
    try:
        previews = kind.previews()
    except Exception as error:  # noqa: BLE001 - the author's code; what it raised is told by its class
        findings.append(found("render_failed", "previews()", error=type(error).__name__))
        return {}
    if not previews:
        findings.append(found("previews_missing", kind.qualified_name()))
    return previews


def lint_message(message: Message, locate: Locate | None = None) -> Iterator[Finding]:
    """Check one finished mail, whose attachments are loaded."""
    page = read_page(message.html or "")
    at = locate or locator(())
    yield from subject_findings(message.subject)
    if message.html is not None:
        yield from markup_findings(page, at)
        yield from low_contrasts(page, at)
        yield from unsupported(page, at)
        yield from dropped_sheets(page)
        yield from parity_findings(message, page)
    yield from weight_findings(_weights(message))


def lint_file(renderer: Renderer, name: str) -> LintReport:
    """Check the source of a template in the configured folders."""
    templates = renderer.templates_of(None)
    try:
        findings = tuple(_of_sources(templates, templates.sources(name)))
    except MailglassError as error:
        findings = (found("render_failed", name, error=error.message),)
    return LintReport(of=name, findings=tuple(dict.fromkeys(findings)))


def _weights(message: Message) -> dict[str, int]:
    return weigh(message, read_page(message.html or ""))


def _of_sources(templates: Templates, sources: Sequence[Source]) -> Iterator[Finding]:
    for source in sources:
        yield from source_findings(templates.environment, source)
