"""``mailglass render``: one preview of a mailable, by the same code as a send."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import click

from mailglass.cli.mailables import mailables

if TYPE_CHECKING:
    from mailglass.mailable import Mailable
    from mailglass.message import Message

_PARTS: Final = ("html", "text", "eml")


@click.command("render")
@click.argument("mailable", metavar="MODULE:MAILABLE")
@click.option("--preview", "wanted", metavar="NAME", help="Which preview; without it the first.")
@click.option("--html", "part", flag_value="html", default=True, help="The HTML part (default).")
@click.option("--text", "part", flag_value="text", help="The text part.")
@click.option("--eml", "part", flag_value="eml", help="The whole mail, as the bytes that are sent.")
@click.option(
    "-o", "--output", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path),
    help="Write to a file instead of standard output.",
)  # fmt: skip
def command(
    *,
    mailable: str,
    wanted: str | None,
    part: Literal["html", "text", "eml"],
    output: Path | None,
) -> None:
    """Render a preview of MODULE:MAILABLE exactly as it would be sent.

    Nothing is sent, and no database is needed. A new Message-ID and the time of now are in the
    .eml, as they are in a mail.
    """
    from mailglass.rendering.attachments import load_attachments
    from mailglass.rendering.render import renderer_of
    from mailglass.settings import load_settings

    kinds = mailables(mailable)
    if len(kinds) != 1:
        names = ", ".join(one.__name__ for one in kinds)
        raise click.UsageError(f"name one of the mailables of {mailable}: {names}")
    settings = load_settings()
    message = load_attachments(
        renderer_of(settings).render(_preview(kinds[0], wanted)), settings.attachments_root
    )
    content = _content(message, part)
    if output is None:
        click.echo(content, nl=False)
    else:
        output.write_bytes(content)


def _preview(kind: type[Mailable], wanted: str | None) -> Mailable:
    previews = kind.previews()
    if not previews:
        raise click.UsageError(f"{kind.__name__} has no previews: define previews() in it")
    if wanted is None:
        return next(iter(previews.values()))
    if wanted not in previews:
        names = ", ".join(previews)
        raise click.UsageError(f"{kind.__name__} has no preview {wanted}; it has {names}")
    return previews[wanted]


def _content(message: Message, part: Literal["html", "text", "eml"]) -> bytes:
    if part == "eml":
        return _eml(message)
    found = message.html if part == "html" else message.text
    if found is None:
        raise click.UsageError(f"the mail has no {part} part")
    return found.encode()


def _eml(message: Message) -> bytes:
    """Return the bytes that would be stored and handed to a provider."""
    from mailglass.clock import system_clock
    from mailglass.delivery.freeze import freeze

    frozen = freeze(message, tenant_id="preview", adapter_ref="default", now=system_clock())
    payload = frozen.parameters["payload"]
    if not isinstance(payload, bytes):
        raise TypeError("a message that is not refused has a payload")
    return payload
