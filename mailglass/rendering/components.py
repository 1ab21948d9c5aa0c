"""Components: where their macros lie, the theme that they take their looks from, and safe links."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Final, Self

from jinja2 import BaseLoader, FileSystemLoader, PrefixLoader

from mailglass.errors import ConfigError, ConfigErrorType, SendError, SendErrorType

CONTRAST_MIN: Final = 4.5
"""What WCAG 2.2 §1.4.3 asks of text in ordinary sizes."""
FOLDER: Final = Path(__file__).with_name("components")

_COLOUR: Final = re.compile(r"#[0-9a-f]{6}")
_FONTS: Final = re.compile(r"[A-Za-z0-9 ,-]{1,200}")
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_IGNORED_IN_URLS: Final = re.compile(r"[\x00-\x20\x7f-\xa0\u200b-\u200f\u2028-\u202e\ufeff]")
_SCHEMES: Final = frozenset({"http", "https", "mailto", "tel", "sms", "cid"})
_ON: Final = {
    "text": ("page", "card", "soft"),
    "muted": ("page", "card", "soft"),
    "accent": ("page", "card", "soft"),
    "accent_text": ("accent",),
}
"""Which colour is written on which; each pair is checked in light and in dark."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Theme:
    """The looks of the components: colours as ``#rrggbb``, a dark one for each light one.

    ``page`` is behind the ``card`` that holds the mail; ``soft`` sets a section apart; ``accent``
    is a button's background and a link's colour, ``accent_text`` what stands on it. Lengths are CSS
    pixels. ``direction`` is ``ltr`` or ``rtl``.

    Raises:
        ConfigError: ``invalid`` for a colour, font or length that is none, and for text with less
            contrast than WCAG 2.2 §1.4.3 asks for.

    """

    page: str = "#f4f6f8"
    card: str = "#ffffff"
    soft: str = "#eef3f7"
    text: str = "#14202b"
    muted: str = "#51606e"
    line: str = "#d5dde4"
    accent: str = "#1f5f8b"
    accent_text: str = "#ffffff"
    dark_page: str = "#0e141a"
    dark_card: str = "#18212b"
    dark_soft: str = "#212d39"
    dark_text: str = "#e8eef3"
    dark_muted: str = "#a9b7c4"
    dark_line: str = "#36444f"
    dark_accent: str = "#8cc4ea"
    dark_accent_text: str = "#0e141a"
    font: str = "Helvetica, Arial, sans-serif"
    font_heading: str = "Helvetica, Arial, sans-serif"
    font_code: str = "Menlo, Consolas, monospace"
    width_px: int = 600
    radius_px: int = 6
    direction: str = "ltr"

    def __post_init__(self) -> None:
        """Refuse what could not be written into a style, or not be read in it."""
        for name, value in asdict(self).items():
            if not _is_valid(name, value):
                raise _wrong(name, f"the theme's {name} is not {_expected(name)}")
        for below in ("", "dark_"):
            for over, grounds in _ON.items():
                for ground in grounds:
                    self._check_pair(f"{below}{over}", f"{below}{ground}")

    def but(self, **changes: str | int) -> Self:
        """Return a theme with some values changed, checked anew; templates use it to differ."""
        known = {one.name for one in fields(self)}
        for name in changes:
            if name not in known:
                raise _wrong(name, f"a theme has no {name}")
        return type(self)(**(asdict(self) | changes))

    def _check_pair(self, over: str, ground: str) -> None:
        found = contrast(getattr(self, over), getattr(self, ground))
        if found < CONTRAST_MIN:
            raise _wrong(
                over,
                f"the theme's {over} on its {ground} has a contrast of {found:.1f}, "
                f"and less than {CONTRAST_MIN} is hard to read",
            )


def component_loader() -> BaseLoader:
    """Return the loader of ``mailglass/components.html.jinja``."""
    return PrefixLoader({"mailglass": FileSystemLoader(FOLDER)})


def contrast(one: str, other: str) -> float:
    """Return the contrast of two ``#rrggbb`` colours, from 1 to 21 (WCAG 2.2, contrast ratio)."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    """Return the relative luminance of a ``#rrggbb`` colour, from 0 to 1 (WCAG 2.2)."""
    red, green, blue = (_linear(int(colour[at : at + 2], 16) / 255) for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def safe_url(url: object) -> str:
    """Return a link or image source, unless it would run something; the filter ``safe_url``.

    Raises:
        SendError: ``rendering_failed`` with code ``unsafe_url`` for a scheme other than http,
            https, mailto, tel, sms and cid. The text never holds the URL.

    """
    text = str(url).strip()
    # Browsers skip control characters, so they must not hide a scheme here.
    scheme = _SCHEME.match(_IGNORED_IN_URLS.sub("", text))
    if scheme is not None and scheme[1].lower() not in _SCHEMES:
        raise SendError(
            "a link or image has a scheme that mail may not use",
            type=SendErrorType.RENDERING_FAILED,
            code="unsafe_url",
        )
    return text


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else float(((channel + 0.055) / 1.055) ** 2.4)  # noqa: PLR2004 - WCAG 2.2


def _is_valid(name: str, value: object) -> bool:
    if name == "direction":
        return value in {"ltr", "rtl"}
    if name.endswith("_px"):
        return isinstance(value, int) and 0 <= value <= 1200  # noqa: PLR2004 - wider than any reader
    pattern = _FONTS if name.startswith("font") else _COLOUR
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _expected(name: str) -> str:
    if name == "direction":
        return "ltr or rtl"
    if name.endswith("_px"):
        return "a number of pixels from 0 to 1200"
    if name.startswith("font"):
        return "a list of font names without quotes"
    return "a colour such as #1f5f8b, in small letters"


def _wrong(name: str, text: str) -> ConfigError:
    return ConfigError(
        text,
        type=ConfigErrorType.INVALID,
        key=f"theme.{name}",
        hint="Look at mailglass.rendering.components.Theme.",
    )
