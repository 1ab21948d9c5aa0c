"""The page that people see when they leave: its looks, its language and its security headers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum, unique
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template, TemplateSyntaxError

from mailglass.errors import ConfigError, ConfigErrorType
from mailglass.web.answers import PRIVATE_HEADERS, Answer
from mailglass.web.texts import LANGUAGES, language_of

_COLOUR: Final = re.compile(r"#[0-9a-fA-F]{6}")
_LOGO: Final = re.compile(r"https://[A-Za-z0-9.-]+(?::[0-9]{1,5})?/[A-Za-z0-9._~/%-]*")
_EQUAL_CONTRAST_LUMINANCE: Final = 0.179
"""Where black and white have the same contrast to a colour (WCAG 2.2, contrast ratio)."""
_SRGB_LINEAR_UNTIL: Final = 0.04045
_DEFAULT_TEMPLATE: Final = Path(__file__).parent / "templates" / "page.html.jinja"


@unique
class PageState(StrEnum):
    """What the page has to say."""

    ASK = "ask"
    DONE = "done"
    INVALID = "invalid"
    FAILED = "failed"


_STATUS: Final = {
    PageState.ASK: 200,
    PageState.DONE: 200,
    PageState.INVALID: 404,
    PageState.FAILED: 500,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Theme:
    """How the page looks: the sender's name, one colour, a logo.

    ``accent`` is ``#rrggbb``; the button's text is black or white, whichever can be read on it.
    ``template`` replaces the whole page: a Jinja file that gets the same variables as ours.

    Raises:
        ConfigError: ``invalid`` for a colour, a logo that is not HTTPS, a language that is not
            there, or a template that cannot be read.

    """

    name: str
    accent: str = "#1f4fbf"
    logo_url: str | None = None
    language: str = "en"
    template: Path = _DEFAULT_TEMPLATE

    def __post_init__(self) -> None:
        """Refuse what would break the page only when somebody sees it."""
        if _COLOUR.fullmatch(self.accent) is None:
            raise _wrong("the accent is not a colour such as #1f4fbf")
        if self.logo_url is not None and _LOGO.fullmatch(self.logo_url) is None:
            raise _wrong("the logo is not a plain https:// URL")
        if self.language not in LANGUAGES:
            raise _wrong("there are no texts in the theme's language")
        try:
            _template(self.template)
        except (OSError, UnicodeDecodeError, TemplateSyntaxError) as error:
            raise _wrong("the theme's template cannot be used") from error

    @property
    def on_accent(self) -> str:
        """Return black or white: the one with more contrast to the accent (WCAG 2.2, 1.4.3)."""
        red, green, blue = (_linear(int(self.accent[at : at + 2], 16)) for at in (1, 3, 5))
        luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
        return "#000000" if luminance > _EQUAL_CONTRAST_LUMINANCE else "#ffffff"

    @property
    def policy(self) -> str:
        """Return the Content-Security-Policy: no script, no frame, no request but for the logo."""
        parts = urlsplit(self.logo_url or "")
        images = f"https://{parts.netloc}" if parts.netloc else "'none'"
        return (
            f"default-src 'none'; style-src 'unsafe-inline'; img-src {images}; "
            "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        )


def page_answer(theme: Theme, state: PageState, *, accept_language: str) -> Answer:
    """Return the page in the reader's language; it needs no script, cookie or image."""
    language = language_of(accept_language, default=theme.language)
    texts = LANGUAGES[language]
    html = _template(theme.template).render(
        theme=theme,
        language=language,
        direction=texts.direction,
        title=getattr(texts, f"{state.value}_title"),
        text=getattr(texts, state.value),
        button=texts.button,
        asks=state is PageState.ASK,
    )
    return Answer(
        status=_STATUS[state],
        headers=(
            *PRIVATE_HEADERS,
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Language", language),
            ("Content-Security-Policy", theme.policy),
            ("Vary", "Accept-Language"),
        ),
        body=html.encode(),
    )


@lru_cache(maxsize=64)
def _template(path: Path) -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, loader=FileSystemLoader(path.parent)
    )
    return environment.from_string(path.read_text("utf-8"))


def _linear(channel: int) -> float:
    """Return a channel of sRGB as light (WCAG 2.2, relative luminance)."""
    share = channel / 255
    return share / 12.92 if share <= _SRGB_LINEAR_UNTIL else ((share + 0.055) / 1.055) ** 2.4


def _wrong(message: str) -> ConfigError:
    return ConfigError(message, type=ConfigErrorType.INVALID, key="unsubscribe_theme")
