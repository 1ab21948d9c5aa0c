"""Weights: how large a mail is, part by part, against what Gmail shows and providers take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

from mailglass.message import Message
from mailglass.rendering import mime
from mailglass.rendering.lint.findings import GMAIL_CLIP_BYTES, Finding, found
from mailglass.rendering.lint.pages import Page

_NEAR: Final = 0.8
_MB: Final = 1000 * 1000
PROVIDERS: Final[Mapping[str, tuple[int, str]]] = {
    "Postmark": (10 * _MB, "https://postmarkapp.com/developer/user-guide/send-email-with-api"),
    "Gmail": (25 * _MB, "https://support.google.com/mail/answer/6584"),
    "Mailgun": (25 * _MB, "https://documentation.mailgun.com/docs/mailgun/user-manual/sending-messages"),
    "SendGrid": (30 * _MB, "https://www.twilio.com/docs/sendgrid/api-reference/mail-send/limitations"),
    "Amazon SES": (40 * _MB, "https://docs.aws.amazon.com/ses/latest/dg/quotas.html"),
}  # fmt: skip
"""How many bytes of a whole mail each takes, encoded, and where it says so."""

_ANY_DATE: Final = datetime(2000, 1, 1, tzinfo=UTC)


def weigh(message: Message, page: Page) -> dict[str, int]:
    """Return the bytes of each part: of the HTML its text, tags, styles and so on; ``eml`` is all."""
    styles = sum(
        _bytes(one.value)
        for element in page.elements
        for one in element.tag.attributes
        if one.name == "style"
    )
    sheets = sum(map(_bytes, page.sheets))
    tags = sum(_bytes(page.html[one.tag.start : one.tag.end]) for one in page.elements) - styles
    text = sum(_bytes(one.text) for one in page.elements if one.name != "style")
    html = _bytes(message.html or "")
    return {
        "html": html,
        "html_text": text,
        "html_tags": tags,
        "html_style_attributes": styles,
        "html_style_sheets": sheets,
        "html_comments": page.comments_chars,
        "html_other": max(0, html - text - tags - styles - sheets - page.comments_chars),
        "text": _bytes(message.text or ""),
        "attachments": sum(len(one.content or b"") for one in message.attachments),
        "eml": _whole(message),
    }


def weight_findings(weights: Mapping[str, int]) -> Iterator[Finding]:
    """Find what is too large, for Gmail or for a provider."""
    html = weights["html"]
    if html > GMAIL_CLIP_BYTES * _NEAR:
        parts = ", ".join(
            f"{name.removeprefix('html_').replace('_', ' ')} {size}"
            for name, size in sorted(weights.items(), key=lambda pair: -pair[1])
            if name.startswith("html_") and size
        )
        rule = "gmail_clips" if html > GMAIL_CLIP_BYTES else "gmail_clip_near"
        yield found(rule, "the HTML", bytes=html, most=GMAIL_CLIP_BYTES, parts=parts)
    for provider, (most, source) in PROVIDERS.items():
        if weights["eml"] > most:
            yield found(
                "provider_size", "the mail",
                bytes=weights["eml"], provider=provider, most=most, source=source,
            )  # fmt: skip


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _whole(message: Message) -> int:
    payload = mime.build(
        message, message_id="<lint@mail.invalid>", date=_ANY_DATE, boundary_seed=b"lint"
    )
    return len(payload)
