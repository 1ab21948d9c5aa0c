"""Render: a mailable in, a finished Message out; the same path for a preview and for a send."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mailglass.errors import ConfigError, ConfigErrorType
from mailglass.mailable import Mailable
from mailglass.message import Message
from mailglass.rendering.inlining import inline_css
from mailglass.rendering.plaintext import plain_text
from mailglass.rendering.templates import Templates


class Renderer:
    """Renders mailables; one for a process, safe to share between threads."""

    def __init__(self, folders: Sequence[Path] = ()) -> None:
        self._folders = tuple(folders)
        self._templates: dict[Path | None, Templates] = {}

    def render(self, mailable: Mailable) -> Message:
        """Return the finished message of a mailable.

        Raises:
            TemplateError: the template, the line and what is missing or wrong.
            SendError: ``serialization_failed`` when the result is no valid mail,
                ``rendering_failed`` when code called by the template raises.
            ConfigError: ``missing`` when the class lacks sender, subject or template.

        """
        kind = type(mailable)
        _check_definition(kind)
        variables = mailable.variables()
        templates = self._templates_beside(kind.folder())
        html = templates.render(kind.template, variables)
        return Message(
            sender=kind.sender,
            to=mailable.to(),
            cc=mailable.cc(),
            bcc=mailable.bcc(),
            reply_to=kind.reply_to or (),
            subject=templates.render_line(kind.subject, variables, name=f"{kind.__name__}.subject"),
            text=_text(templates, kind.template, variables, html),
            html=inline_css(html, template=kind.template),
            headers=mailable.headers(),
            attachments=mailable.attachments(),
            stream=kind.stream,
            tags=mailable.tags(),
            metadata=mailable.metadata(),
            tracking=kind.tracking,
            mailable=kind.qualified_name(),
            authenticates=kind.authenticates,
            locale=kind.locale,
            idempotency_key=mailable.idempotency_key(),
            expires_at=mailable.expires_at(),
            send_at=mailable.send_at(),
            on_unknown=kind.on_unknown,
        )

    def _templates_beside(self, folder: Path | None) -> Templates:
        found = self._templates.get(folder)
        if found is None:
            beside = () if folder is None else (folder / "templates", folder)
            found = self._templates.setdefault(folder, Templates((*self._folders, *beside)))
        return found


def _text(templates: Templates, name: str, variables: dict[str, object], html: str) -> str:
    beside = name.replace(".html.jinja", ".txt.jinja")
    if beside != name and templates.has(beside):
        return templates.render(beside, variables)
    return plain_text(html)


def _check_definition(kind: type[Mailable]) -> None:
    for name in ("sender", "subject", "template"):
        if not isinstance(getattr(kind, name, None), str):
            raise ConfigError(
                f"{kind.qualified_name()} does not say its {name}",
                type=ConfigErrorType.MISSING,
                key=name,
                hint=f"Set {name} = '…' in the class.",
            )
