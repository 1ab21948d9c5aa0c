"""Findings: the closed table of rules, and what one says of a place in a template."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

from mailglass.errors import Json

TEXT_CONTRAST_MIN: Final = 4.5
"""WCAG 2.2 §1.4.3, for text of an ordinary size."""
LARGE_TEXT_CONTRAST_MIN: Final = 3.0
GMAIL_CLIP_BYTES: Final = 102 * 1024
"""Gmail shows no more of an HTML part than this; measured by many senders, promised by nobody."""
GMAIL_SHEET_BYTES: Final = 16 * 1024
"""Gmail leaves out the sheet that passes this, all sheets counted together."""
SUBJECT_CHARS_SHOWN: Final = 60
"""What a desktop list shows; a phone shows about 40."""


@unique
class Severity(StrEnum):
    """An ``error`` makes the command fail, a ``warning`` does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing to change: the rule's id, where, why it matters and what to do.

    It may name elements, properties and sizes, and never holds what a mail says or to whom.
    """

    id: str
    severity: Severity
    place: str
    why: str
    fix: str

    def to_dict(self) -> dict[str, Json]:
        """Return a JSON-ready form."""
        return {
            "id": self.id,
            "severity": self.severity.value,
            "place": self.place,
            "why": self.why,
            "fix": self.fix,
        }


_ERROR: Final = Severity.ERROR
_WARNING: Final = Severity.WARNING

RULES: Final[dict[str, tuple[Severity, str, str]]] = {
    "alt_missing": (
        _ERROR,
        "an image has no alt, so a screen reader reads its address",
        'Give it alt="…", or alt="" when it only decorates.',
    ),
    "image_size_missing": (
        _WARNING,
        "an image has no width or height, so the mail jumps and Outlook draws it in full size",
        "Give it width and height in pixels.",
    ),
    "image_is_data": (
        _WARNING,
        "an image is a data: URI, which Gmail and Outlook do not show",
        "Attach it with a content id and refer to it as cid:…",
    ),
    "images_only": (
        _WARNING,
        "there is next to no text beside the images: nothing shows while images are off",
        "Say in text what the mail is about.",
    ),
    "lang_missing": (
        _ERROR,
        "the html element has no lang, so a screen reader guesses how to speak",
        'Write <html lang="…">, or use the layout component.',
    ),
    "title_missing": (
        _WARNING,
        "there is no title, which browsers and some screen readers announce",
        "Write <title>…</title> in the head.",
    ),
    "table_role_missing": (
        _WARNING,
        "a table without header cells is read out cell by cell, as if it held figures",
        'Give a layout table role="presentation", a table of figures th elements with scope.',
    ),
    "contrast_low": (
        _ERROR,
        "a text has a contrast of {contrast}, and {least} is the least that is readable",
        "Make the text darker or its background lighter, or the other way round.",
    ),
    "preheader_missing": (
        _WARNING,
        "there is no preheader, so the list of mails shows whatever comes first",
        "Use the preheader component, or the layout's preview.",
    ),
    "link_dead": (
        _ERROR,
        "a link leads nowhere",
        "Give it an address, or make it plain text.",
    ),
    "link_relative": (
        _ERROR,
        "a {element} has a relative address, and a mail is at no address of its own",
        "Write it with https:// and the host.",
    ),
    "link_http": (
        _WARNING,
        "a {element} uses http, which readers warn about and anyone on the way can change",
        "Use https.",
    ),
    "link_unsafe": (
        _ERROR,
        "a {element} has a scheme that mail may not use",
        "Use https, mailto, tel, sms or cid; the filter safe_url refuses the others.",
    ),
    "link_unfilled": (
        _ERROR,
        "an address still holds the braces of a template",
        "Look for a brace too many, or for a raw block.",
    ),
    "link_deceives": (
        _ERROR,
        "a link's text names one host and its address another, as phishing does",
        "Show what the link is for, or the host that it leads to.",
    ),
    "element_refused": (
        _ERROR,
        "<{element}> is removed by every reader, and filters count it against the sender",
        "Link to a page that does it.",
    ),
    "handler_refused": (
        _ERROR,
        "an element has {attribute}, which would run a script",
        "Remove it: no reader runs scripts, and filters count it against the sender.",
    ),
    "css_unsupported": (
        _WARNING,
        "{feature} does nothing in {clients}",
        "{instead} ({source})",
    ),
    "gmail_drops_styles": (
        _WARNING,
        "Gmail leaves out a style sheet {reason}, and with it the dark mode and the narrow layout",
        "Keep all sheets below 16 KB, no @rule in another (github.com/hteumeuleu/caniemail#144).",
    ),
    "gmail_clips": (
        _ERROR,
        "the HTML has {bytes} bytes and Gmail cuts it at {most}: {parts}",
        "Shorten the largest part; what is cut may be the unsubscribe link.",
    ),
    "gmail_clip_near": (
        _WARNING,
        "the HTML has {bytes} bytes of the {most} that Gmail shows: {parts}",
        "Shorten the largest part, or check with the longest values that may occur.",
    ),
    "provider_size": (
        _ERROR,
        "the mail has {bytes} bytes as it is sent, and {provider} takes {most} ({source})",
        "Link to the files instead of attaching them.",
    ),
    "subject_empty": (_ERROR, "the subject is empty", "Say what the mail is about."),
    "subject_long": (
        _WARNING,
        "the subject has {chars} characters, and a list shows about {most}",
        "Put what matters first, and shorten it.",
    ),
    "subject_loud": (
        _WARNING,
        "the subject is in capitals or ends in more than one mark, which filters count",
        "Write it as a sentence.",
    ),
    "text_missing": (
        _ERROR,
        "there is no text part",
        "Add a .txt.jinja template, or let it be made from the HTML.",
    ),
    "text_drifts": (
        _WARNING,
        "the text part has {share} % of the words of the HTML",
        "Bring the .txt.jinja template up to date, or remove it: the text is then made from the HTML.",
    ),
    "text_numbers_differ": (
        _WARNING,
        "{count} numbers of the HTML are not in the text part",
        "Show the same amounts, dates and codes in both.",
    ),
    "text_links_differ": (
        _WARNING,
        "{count} links of the HTML are not in the text part",
        "Write the addresses out in the text.",
    ),
    "previews_missing": (
        _WARNING,
        "the mailable has no previews, so only its template's source was read",
        "Define previews() with an example or two.",
    ),
    "render_failed": (
        _ERROR,
        "a preview cannot be rendered: {error}",
        "Make it render; nothing else could be checked on it.",
    ),
    "policy_broken": (
        _WARNING,
        "it would be refused when it is sent, by the rule {broken} of its stream",
        "{suggestion}",
    ),
    "autoescape_off": (
        _ERROR,
        "escaping is switched off, so a value may become markup",
        "Remove the autoescape block.",
    ),
    "safe_filter": (
        _WARNING,
        "|safe makes markup of a value",
        "Let the value be escaped; use components for markup.",
    ),
    "value_in_css": (
        _ERROR,
        "a value stands in a style sheet, where escaping does not hold",
        "Choose between classes instead, or use the theme.",
    ),
    "value_unquoted": (
        _ERROR,
        "a value stands in a tag outside quotes, where escaping does not hold",
        "Put quotes around the attribute.",
    ),
    "address_unchecked": (
        _WARNING,
        "{attribute} begins with a value, which might be javascript:",
        "Write {{{{ … | safe_url }}}}, or begin the address with https://.",
    ),
}
"""Each rule by its id: how bad it is, why, and what to do. ``{…}`` are filled by the finding."""


def found(rule: str, place: str, **values: object) -> Finding:
    """Make a finding of a rule; the values fill its text."""
    severity, why, fix = RULES[rule]
    return Finding(
        id=rule,
        severity=severity,
        place=place,
        why=why.format(**values),
        fix=fix.format(**values),
    )
