"""Checks of the mailables: each says what it is, and its previews render."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mailglass.doctor.check import Check, Fault, Need, Status
from mailglass.doctor.patient import Patient
from mailglass.errors import MailglassError
from mailglass.mailable import Mailable
from mailglass.message import Stream
from mailglass.rendering.lint.findings import Severity
from mailglass.rendering.lint.run import lint_mailable
from mailglass.rendering.render import renderer_of

_RENDER_FAILED: Final = "render_failed"
"""What does not render at all is told by a check of its own."""


def _previews_render(patient: Patient) -> Iterator[Fault]:
    settings = patient.the_settings
    renderer = renderer_of(settings)
    for kind in patient.the_mailables:
        name = "previews()"
        try:
            for name, mailable in kind.previews().items():  # noqa: B007 - named in the fault
                renderer.render(mailable)
        except MailglassError as error:
            told = f"{type(error).__name__}.{error.type.value}"
            yield Fault(seen=f"{kind.qualified_name()}, {name}: {told}: {error.message}")
        except Exception as error:  # noqa: BLE001 - a bug in one mailable must not hide the others
            yield Fault(seen=f"{kind.qualified_name()}, {name}: {type(error).__name__}")


def _lints(patient: Patient) -> Iterator[Fault]:
    settings = patient.the_settings
    renderer = renderer_of(settings)
    for kind in patient.the_mailables:
        report = lint_mailable(renderer, kind, attachments_root=settings.attachments_root)
        for one in report.findings:
            if one.severity is Severity.ERROR and one.id != _RENDER_FAILED:
                yield Fault(seen=f"{report.of}: {one.id}, {one.place}")


def _has_previews(patient: Patient) -> Iterator[Fault]:
    for kind in patient.the_mailables:
        owner = next(one for one in kind.__mro__ if "previews" in vars(one))
        if owner is Mailable:
            yield Fault(seen=f"{kind.qualified_name()} has no previews")


def _bulk_address(patient: Patient) -> Iterator[Fault]:
    found = patient.the_mailables
    if patient.the_settings.physical_address is not None:
        return
    for kind in found:
        if kind.stream is Stream.BULK:
            yield Fault(seen=f"{kind.qualified_name()} is bulk mail, physical_address is not set")


def _tracked_login(patient: Patient) -> Iterator[Fault]:
    for kind in patient.the_mailables:
        if kind.authenticates and kind.tracking:
            yield Fault(seen=f"{kind.qualified_name()} lets somebody in and is tracked")


CHECKS: Final = (
    Check(
        id="mail.previews_render", need=Need.SETTINGS, status=Status.ERROR,
        look=_previews_render, title="Every preview renders",
        fix="Mend the template or the preview; `mailglass templates MODULE` shows more.",
    ),
    Check(
        id="mail.lints", need=Need.SETTINGS, status=Status.ERROR, look=_lints,
        title="Lint has no error",
        fix="Change what is named; `mailglass lint MODULE` shows more.",
    ),
    Check(
        id="mail.previews", need=Need.SETTINGS, status=Status.WARNING, look=_has_previews,
        title="Every mailable has a preview",
        fix="Define previews() so that the mail can be looked at and checked.",
    ),
    Check(
        id="mail.bulk_address", need=Need.SETTINGS, status=Status.ERROR, look=_bulk_address,
        title="Bulk mail can say where its sender lives",
        fix="Set MAILGLASS_PHYSICAL_ADDRESS, and show it in the template.",
    ),
    Check(
        id="mail.tracked_login", need=Need.SETTINGS, status=Status.ERROR, look=_tracked_login,
        title="No mail that lets somebody in is tracked", fix="Take its tracking away.",
    ),
)  # fmt: skip
