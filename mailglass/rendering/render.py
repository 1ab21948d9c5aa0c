"""Render: a mailable in, a finished Message out; the same path for a preview and for a send."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from mailglass.errors import ConfigError, ConfigErrorType
from mailglass.mailable import Mailable
from mailglass.message import Message
from mailglass.rendering.compiling.compiled import Mode, TemplateReport
from mailglass.rendering.compiling.engines import Engine, check_engine
from mailglass.rendering.components import Theme
from mailglass.rendering.i18n import Language, language
from mailglass.rendering.templates import Templates
from mailglass.settings import Settings

PREVIEWS_CHECKED_MAX: Final = 4
"""How many previews a template is checked on when it is compiled."""
LOCALES_AND_FOLDERS_MAX: Final = 256
"""How many environments are kept: one for each folder of mailables in each locale."""


def renderer_of(settings: Settings) -> Renderer:
    """Return the renderer that the settings ask for, in the application and on the command line.

    Raises:
        ConfigError: ``invalid`` for a theme that cannot be read, ``optional_dep_missing``.

    """
    return Renderer(
        settings.templates,
        css_inliner=settings.css_inliner,
        theme=Theme().but(**settings.theme),
        catalogues=settings.catalogues,
        physical_address=settings.physical_address,
    )


class Renderer:
    """Renders mailables; one for a process, safe to share between threads."""

    def __init__(
        self,
        folders: Sequence[Path] = (),
        *,
        css_inliner: str = "premailer",
        theme: Theme = Theme(),  # noqa: B008 - it is frozen
        catalogues: Sequence[Path] = (),
        physical_address: str | None = None,
    ) -> None:
        self._folders = tuple(folders)
        self._theme = theme
        self._catalogues = tuple(catalogues)
        self._physical_address = physical_address
        self._languages: dict[str | None, Language] = {}
        self._engine = Engine(css_inliner)
        check_engine(self._engine)
        self._templates: dict[tuple[Path | None, str | None], Templates] = {}
        self._reports: dict[tuple[type[Mailable], str | None], TemplateReport] = {}

    def render(self, mailable: Mailable) -> Message:
        """Return the finished message of a mailable.

        Raises:
            TemplateError: the template, the line and what is missing or wrong.
            SendError: ``serialization_failed`` when the result is no valid mail,
                ``rendering_failed`` when code called by the template raises.
            ConfigError: ``missing`` when the class lacks sender, subject or template, and for a
                locale without a catalogue.

        """
        kind = type(mailable)
        _check_definition(kind)
        variables = mailable.variables()
        locale = _locale_of(mailable)
        templates = self._templates_beside(kind.folder(), locale)
        self.report(kind, locale)
        html, text = templates.render_mail(kind.template, variables)
        return Message(
            sender=kind.sender,
            to=mailable.to(),
            cc=mailable.cc(),
            bcc=mailable.bcc(),
            reply_to=kind.reply_to or (),
            subject=templates.render_line(kind.subject, variables, name=f"{kind.__name__}.subject"),
            text=text,
            html=html,
            headers=mailable.headers(),
            attachments=mailable.attachments(),
            stream=kind.stream,
            tags=mailable.tags(),
            metadata=mailable.metadata(),
            tracking=kind.tracking,
            mailable=kind.qualified_name(),
            authenticates=kind.authenticates,
            locale=locale,
            idempotency_key=mailable.idempotency_key(),
            expires_at=mailable.expires_at(),
            send_at=mailable.send_at(),
            on_unknown=kind.on_unknown,
            unsubscribe=kind.unsubscribe,
        )

    def report(self, kind: type[Mailable], locale: str | None = None) -> TemplateReport:
        """Return how the template of a mailable is rendered; the first call compiles it.

        Each locale has templates of its own; without one the class's is meant.

        A compiled template is checked on the first previews of the mailable: each is rendered and
        inlined as well, and where the two differ, or a preview cannot be made, the template falls
        back to inlining each mail.

        Raises:
            TemplateError: when Jinja cannot compile it.
            ConfigError: ``missing`` when the class lacks sender, subject or template.

        """
        locale = locale or kind.locale
        found = self._reports.get((kind, locale))
        if found is None:
            _check_definition(kind)
            templates = self._templates_beside(kind.folder(), locale)
            found = templates.compiled(kind.template).report
            if found.mode is Mode.COMPILED:
                reason = _first_difference(kind, templates)
                if reason is not None:
                    templates.fall_back(kind.template, reason)
                    found = templates.compiled(kind.template).report
            self._reports[kind, locale] = found
        return found

    def report_file(self, name: str) -> TemplateReport:
        """Return how a template of the configured folders is rendered.

        Raises:
            TemplateError: when Jinja cannot compile it.

        """
        return self._templates_beside(None).compiled(name).report

    def templates_of(self, kind: type[Mailable] | None) -> Templates:
        """Return the templates that a mailable is rendered with; None: the configured folders.

        Raises:
            ConfigError: ``missing`` when the class lacks sender, subject or template.

        """
        if kind is None:
            return self._templates_beside(None)
        _check_definition(kind)
        return self._templates_beside(kind.folder(), kind.locale)

    def _templates_beside(self, folder: Path | None, locale: str | None = None) -> Templates:
        found = self._templates.get((folder, locale))
        if found is None:
            if len(self._templates) >= LOCALES_AND_FOLDERS_MAX:
                # Locales come from recipients: what is dropped is compiled again when it is wanted.
                self._templates.clear()
                self._reports.clear()
                self._languages.clear()
            beside = () if folder is None else (folder / "templates", folder)
            spoken_in = self._language(locale)
            made = Templates(
                (*self._folders, *beside),
                self._engine,
                theme=self._theme
                if locale is None
                else self._theme.but(direction=spoken_in.direction),
                spoken_in=spoken_in,
                physical_address=self._physical_address,
            )
            found = self._templates.setdefault((folder, locale), made)
        return found

    def _language(self, locale: str | None) -> Language:
        found = self._languages.get(locale)
        if found is None:
            found = self._languages.setdefault(locale, language(locale, self._catalogues))
        return found


def _locale_of(mailable: Mailable) -> str | None:
    return mailable.recipient_locale() or type(mailable).locale


def _first_difference(kind: type[Mailable], templates: Templates) -> str | None:
    try:
        for name, mailable in islice(kind.previews().items(), PREVIEWS_CHECKED_MAX):
            variables = mailable.variables()
            html, _ = templates.render_mail(kind.template, variables)
            if html != templates.inlined(kind.template, variables):
                return f"the preview {name} differs from the same mail inlined after rendering"
    except Exception as error:  # noqa: BLE001 - a broken preview must not stop a real mail; it is told
        return f"the previews cannot be rendered ({type(error).__name__})"
    return None


def _check_definition(kind: type[Mailable]) -> None:
    for name in ("sender", "subject", "template"):
        if not isinstance(getattr(kind, name, None), str):
            raise ConfigError(
                f"{kind.qualified_name()} does not say its {name}",
                type=ConfigErrorType.MISSING,
                key=name,
                hint=f"Set {name} = '…' in the class.",
            )
