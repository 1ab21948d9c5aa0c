"""Languages: catalogues from the application's folders, and dates, numbers and money by locale."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from gettext import NullTranslations
from io import BytesIO
from pathlib import Path
from typing import Final, Literal, TypeAlias

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_datetime, format_time
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import UnknownCurrencyError, format_currency, format_decimal, format_percent
from babel.support import Translations
from jinja2 import Environment, pass_eval_context
from jinja2.nodes import EvalContext
from markupsafe import Markup

from mailglass.errors import ConfigError, ConfigErrorType

DOMAIN: Final = "messages"
"""The name of the catalogue files, as Babel's commands write it."""
CATALOGUE_BYTES_MAX: Final = 8 * 1024 * 1024
SOURCE_LOCALE: Final = "en"
"""What the texts in templates are written in; it needs no catalogue."""

_TAG: Final = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,3}")
_MARKS: Final = re.compile(r"[<&]")

Number: TypeAlias = "int | float | Decimal | str"
Style: TypeAlias = Literal["short", "medium", "long", "full"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """One locale with its catalogue: what templates say in it, and how they write values."""

    locale: Locale
    translations: NullTranslations

    @property
    def tag(self) -> str:
        """Return the locale as ``lang`` attributes write it (BCP 47)."""
        return str(self.locale).replace("_", "-")

    @property
    def direction(self) -> str:
        """Return ``ltr`` or ``rtl``."""
        return str(self.locale.text_direction)

    def install(self, environment: Environment) -> None:
        """Give an environment the functions, ``{% trans %}`` and the filters of this language."""
        environment.add_extension("jinja2.ext.i18n")
        environment.globals |= {
            "_": self.gettext, "gettext": self.gettext, "ngettext": self.ngettext,
            "pgettext": self.pgettext, "npgettext": self.npgettext, "locale": self.tag,
        }  # fmt: skip
        # ``{% trans %}`` leaves the values to the functions above, which know what to escape.
        environment.newstyle_gettext = True  # type: ignore[attr-defined]  # set by the extension
        filters: dict[str, Callable[..., str]] = {
            "date": self.date, "time": self.time, "datetime": self.datetime,
            "number": self.number, "percent": self.percent, "currency": self.currency,
        }  # fmt: skip
        environment.filters |= filters

    @pass_eval_context
    def gettext(self, within: EvalContext, message: str, /, **values: object) -> str:
        """Translate a text; ``%(name)s`` in it are filled from the keywords and escaped."""
        return _filled(within, self.translations.gettext(message), values)

    @pass_eval_context
    def ngettext(
        self, within: EvalContext, one: str, many: str, number: int, /, **values: object
    ) -> str:
        """Translate a text in the form that a number asks for; ``%(num)s`` is the number."""
        found = self.translations.ngettext(one, many, number)
        return _filled(within, found, {"num": number} | values)

    @pass_eval_context
    def pgettext(self, within: EvalContext, context: str, message: str, /, **values: object) -> str:
        """Translate a text that means something else elsewhere."""
        return _filled(within, self.translations.pgettext(context, message), values)

    @pass_eval_context
    def npgettext(
        self, within: EvalContext, context: str, one: str, many: str, number: int, /,
        **values: object,
    ) -> str:  # fmt: skip
        """Translate a text of a context in the form that a number asks for."""
        found = self.translations.npgettext(context, one, many, number)
        return _filled(within, found, {"num": number} | values)

    def date(self, value: date | datetime, style: Style = "medium") -> str:
        """Write a date; a moment is told in its own time zone."""
        return format_date(value, style, locale=self.locale)

    def time(self, value: time | datetime, style: Style = "short") -> str:
        """Write a time of day, in the value's own time zone."""
        zone = value.tzinfo if isinstance(value, datetime) else None
        return format_time(value, style, tzinfo=zone, locale=self.locale)

    def datetime(self, value: datetime, style: Style = "medium") -> str:
        """Write a date and time, in the value's own time zone."""
        return format_datetime(value, style, tzinfo=value.tzinfo, locale=self.locale)

    def number(self, value: Number, pattern: str | None = None) -> str:
        """Write a number; the pattern is CLDR's, such as ``#,##0.00``."""
        return format_decimal(value, pattern, locale=self.locale)

    def percent(self, value: Number) -> str:
        """Write a share of one as a percentage."""
        return format_percent(value, locale=self.locale)

    def currency(self, value: Number, code: str) -> str:
        """Write an amount of money; the code is ISO 4217's and must be known.

        Raises:
            ConfigError: ``invalid`` for a code that CLDR does not know.

        """
        try:
            # Only named money has its own name: anything else is shown as it was written.
            self.locale.currencies[code]
            return format_currency(value, code, locale=self.locale)
        except (KeyError, UnknownCurrencyError) as error:
            raise ConfigError(
                "a currency code is not one of ISO 4217",
                type=ConfigErrorType.INVALID,
                key="currency",
                hint="Pass three capital letters, such as EUR.",
            ) from error


def language(tag: str | None, folders: Sequence[Path] = ()) -> Language:
    """Return a language; None is the source language, in which templates are written.

    Catalogues are looked up as ``FOLDER/de_AT/LC_MESSAGES/messages.mo``, then ``.po``, then as
    ``FOLDER/de/…``. Without folders nothing is translated, and values are written by locale.

    Raises:
        ConfigError: ``invalid`` for a tag that is no locale or a file that is no catalogue,
            ``missing`` when folders are given and none of them has the language.

    """
    locale = _locale(tag or SOURCE_LOCALE)
    names = dict.fromkeys([str(locale), locale.language])
    found = [
        path
        for name in names
        for folder in folders
        for path in _files(folder, name)
        if path.is_file()
    ]
    if found:
        return Language(locale=locale, translations=_read(found[0]))
    if folders and locale.language != SOURCE_LOCALE:
        raise ConfigError(
            f"there is no catalogue for {locale}",
            type=ConfigErrorType.MISSING,
            key="locale",
            hint=f"Add {locale}/LC_MESSAGES/{DOMAIN}.po to a folder of catalogues.",
        )
    return Language(locale=locale, translations=NullTranslations())


def _filled(within: EvalContext, text: str, values: dict[str, object]) -> str:
    """Fill a text that may hold tags: it is the application's own, and the values are not."""
    has_tags = _MARKS.search(text) is not None
    if within.autoescape and (
        has_tags or any(hasattr(value, "__html__") for value in values.values())
    ):
        return Markup(text) % values  # noqa: S704 - a catalogue's text, as trusted as a template
    return text % values


def _files(folder: Path, name: str) -> tuple[Path, Path]:
    inside = folder / name / "LC_MESSAGES"
    return inside / f"{DOMAIN}.mo", inside / f"{DOMAIN}.po"


def _locale(tag: str) -> Locale:
    try:
        if _TAG.fullmatch(tag) is not None:
            return Locale.parse(tag.replace("-", "_"))
    except (UnknownLocaleError, ValueError) as error:
        raise _unknown() from error
    raise _unknown()


def _unknown() -> ConfigError:
    return ConfigError(
        "a locale is not one that CLDR knows",
        type=ConfigErrorType.INVALID,
        key="locale",
        hint="Write it as de, de-AT or zh-Hant-TW.",
    )


def _read(path: Path) -> Translations:
    try:
        with path.open("rb") as file:
            content = BytesIO(file.read(CATALOGUE_BYTES_MAX))
        if path.suffix == ".po":
            catalogue = read_po(content, locale=path.parent.parent.name, abort_invalid=True)
            content = BytesIO()
            write_mo(content, catalogue)
            content.seek(0)
        return Translations(content)
    except Exception as error:  # the parsers raise whatever a broken file makes them stumble over
        raise ConfigError(
            f"{path.parent.parent.name}/LC_MESSAGES/{path.name} is not a catalogue",
            type=ConfigErrorType.INVALID,
            key="locale",
            hint="Check it with msgfmt --check, or make it anew with pybabel.",
        ) from error
