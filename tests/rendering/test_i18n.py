"""Languages: translated templates, plural forms, values as each locale writes them."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from io import BytesIO
from pathlib import Path

import pytest
from babel.messages.extract import extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from front_desk import Greeting, write_templates
from mailglass import ConfigError
from mailglass.rendering.compiling.compiled import Mode
from mailglass.rendering.i18n import language
from mailglass.rendering.render import Renderer

GERMAN = """
msgid ""
msgstr ""
"Content-Type: text/plain; charset=utf-8\\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\\n"

msgid "Hello"
msgstr "Grüß dich"

msgid "Dear %(name)s"
msgstr "Liebe(r) %(name)s"

msgid "<b>Dear</b> %(name)s"
msgstr "<b>Liebe(r)</b> %(name)s"

msgctxt "month"
msgid "May"
msgstr "Mai"
"""
POLISH = """
msgid ""
msgstr ""
"Content-Type: text/plain; charset=utf-8\\n"
"Plural-Forms: nplurals=3; plural=(n==1 ? 0 : n%10>=2 && n%10<=4 && (n%100<10 || n%100>=20) ? 1 : 2);\\n"

msgid "%(num)s file"
msgid_plural "%(num)s files"
msgstr[0] "%(num)s plik"
msgstr[1] "%(num)s pliki"
msgstr[2] "%(num)s plików"
"""
MOMENT = datetime(2026, 3, 1, 15, 4, tzinfo=UTC)


class Localised(Greeting):
    """A mailable that knows its recipient's language."""

    subject = "{{ _('Hello') }}"
    language: str | None = None

    def recipient_locale(self) -> str | None:
        """Return the recipient's locale."""
        return self.language


@pytest.fixture
def catalogues(tmp_path: Path) -> Path:
    """Return a folder with a German catalogue and a Polish one."""
    for tag, text in (("de", GERMAN), ("pl", POLISH)):
        inside = tmp_path / "locales" / tag / "LC_MESSAGES"
        inside.mkdir(parents=True)
        (inside / "messages.po").write_text(text, "utf-8")
    return tmp_path / "locales"


def _renderer(folder: Path, html: str, catalogues: Path | None = None, **more: str) -> Renderer:
    write_templates(folder, greeting__html=html, **more)
    return Renderer([folder], catalogues=() if catalogues is None else [catalogues])


def _html(
    folder: Path, html: str, locale: str | None, catalogues: Path, name: object = "Zoë"
) -> str:
    message = _renderer(folder, html, catalogues).render(Localised(name=name, language=locale))
    return message.html or ""


def test_two_recipients_of_a_batch_have_two_languages(tmp_path: Path, catalogues: Path) -> None:
    """Subject, HTML, text template and the Message's own field."""
    renderer = _renderer(
        tmp_path, "<p>{{ _('Hello') }}</p>", catalogues, greeting__txt="{{ _('Hello') }}!"
    )
    first, second = (renderer.render(Localised(language=one)) for one in ("de", None))
    assert (first.subject, first.html, first.text, first.locale) == (
        "Grüß dich", "<p>Grüß dich</p>", "Grüß dich!", "de",
    )  # fmt: skip
    assert (second.subject, second.html, second.text, second.locale) == (
        "Hello", "<p>Hello</p>", "Hello!", None,
    )  # fmt: skip


def test_locale_of_the_class_counts_without_a_recipients(tmp_path: Path, catalogues: Path) -> None:
    """A mailable for one country says so once."""

    class German(Greeting):
        subject = "{{ _('Hello') }}"
        locale = "de-AT"

    message = _renderer(tmp_path, "<p>x</p>", catalogues).render(German())
    assert (message.subject, message.locale) == ("Grüß dich", "de-AT")


@pytest.mark.parametrize(
    ("number", "told"), [(1, "1 plik"), (3, "3 pliki"), (5, "5 plików"), (22, "22 pliki")]
)
def test_plural_has_the_forms_of_the_language(
    number: int, told: str, tmp_path: Path, catalogues: Path
) -> None:
    """By function and by block."""
    by_function = "<p>{{ ngettext('%(num)s file', '%(num)s files', name) }}</p>"
    by_block = (
        "<p>{% trans num=name %}{{ num }} file{% pluralize %}{{ num }} files{% endtrans %}</p>"
    )
    for html in (by_function, by_block):
        assert _html(tmp_path, html, "pl", catalogues, name=number) == f"<p>{told}</p>"


def test_context_tells_equal_words_apart(tmp_path: Path, catalogues: Path) -> None:
    """As gettext's msgctxt does."""
    html = "<p>{{ pgettext('month', 'May') }} {{ pgettext('verb', 'May') }}</p>"
    assert _html(tmp_path, html, "de", catalogues) == "<p>Mai May</p>"


def test_values_are_escaped_and_the_tags_of_a_catalogue_are_not(
    tmp_path: Path, catalogues: Path
) -> None:
    """A translator writes markup as an author does; a recipient never."""
    for html in (
        "<p>{% trans %}<b>Dear</b> {{ name }}{% endtrans %}</p>",
        "<p>{{ _('<b>Dear</b> %(name)s', name=name) }}</p>",
    ):
        got = _html(tmp_path, html, "de", catalogues, name="<i>R & D</i>")
        assert got == "<p><b>Liebe(r)</b> &lt;i&gt;R &amp; D&lt;/i&gt;</p>"


def test_text_is_not_escaped(tmp_path: Path, catalogues: Path) -> None:
    """A text part shows what was typed."""
    renderer = _renderer(
        tmp_path, "<p>x</p>", catalogues, greeting__txt="{{ _('Dear %(name)s', name=name) }}"
    )
    assert renderer.render(Localised(name="R & D", language="de")).text == "Liebe(r) R & D"
    write_templates(tmp_path, other__txt="{{ _('<b>Dear</b> %(name)s', name=name) }}")
    text = renderer.templates_of(None).render("other.txt.jinja", {"name": "R & D"})
    assert text == "<b>Dear</b> R & D"


def test_translated_template_is_still_compiled_once(tmp_path: Path, catalogues: Path) -> None:
    """Each locale has its own compiled template, equal to inlining each mail."""
    html = "<style>p{color:red}</style><p>{{ _('Dear %(name)s', name=name) }}</p>"
    renderer = _renderer(tmp_path, html, catalogues)
    for locale in ("de", "pl"):
        got = renderer.render(Localised(name="D'Arcy", language=locale)).html or ""
        assert '<p style="color:red">' in got
        assert "D&#39;Arcy" in got
        assert renderer.report(Localised, locale).mode is Mode.COMPILED


def test_compiled_catalogue_goes_before_its_source(tmp_path: Path, catalogues: Path) -> None:
    """Deployments ship .mo files; .po files work as they are."""
    catalogue = read_po(BytesIO(GERMAN.replace("Grüß dich", "Servus").encode()))
    with (catalogues / "de" / "LC_MESSAGES" / "messages.mo").open("wb") as file:
        write_mo(file, catalogue)
    assert _html(tmp_path, "<p>{{ _('Hello') }}</p>", "de", catalogues) == "<p>Servus</p>"


def test_region_falls_back_to_its_language(tmp_path: Path, catalogues: Path) -> None:
    """But writes values as the region does."""
    html = "<p>{{ _('Hello') }} {{ 1234.5|number }}</p>"
    assert _html(tmp_path, html, "de_CH", catalogues) == "<p>Grüß dich 1’234.5</p>"


def test_missing_catalogue_is_an_error_that_names_it(tmp_path: Path, catalogues: Path) -> None:
    """A mail half in another language is never sent."""
    with pytest.raises(ConfigError, match="no catalogue for fr_CA") as caught:
        _html(tmp_path, "<p>x</p>", "fr-CA", catalogues)
    assert (caught.value.type, caught.value.key) == ("missing", "locale")


def test_source_language_needs_no_catalogue(tmp_path: Path, catalogues: Path) -> None:
    """Templates are written in it."""
    assert _html(tmp_path, "<p>{{ _('Hello') }}</p>", "en-GB", catalogues) == "<p>Hello</p>"


@pytest.mark.parametrize("tag", ["", "x", "zz", "de_", "../../etc", "en_XX_YY_ZZ_1", "de\n"])
def test_what_is_no_locale_is_refused(tag: str) -> None:
    """The tag may come from a recipient's profile, so it is not repeated."""
    if not tag:
        assert language(tag).tag == "en"
        return
    with pytest.raises(ConfigError) as caught:
        language(tag)
    assert caught.value.type == "invalid"
    assert tag not in str(caught.value)


@pytest.mark.parametrize("content", ['msgid "x', "\x00\x01", 'msgid "a"\nmsgstr[9] "b"\nmsg'])
def test_broken_catalogue_is_refused(content: str, tmp_path: Path) -> None:
    """With the name of the file."""
    inside = tmp_path / "de" / "LC_MESSAGES"
    inside.mkdir(parents=True)
    for name in ("messages.po", "messages.mo"):
        (inside / name).write_text(content, "utf-8")
        with pytest.raises(ConfigError, match=f"de/LC_MESSAGES/{name}") as caught:
            language("de", [tmp_path])
        assert caught.value.type == "invalid"


@pytest.mark.parametrize(
    ("locale", "told"),
    [
        ("en-US", ("Mar 1, 2026", "3:04\u202fPM", "1,234.5", "€1,234.50", "12%")),
        ("de", ("01.03.2026", "15:04", "1.234,5", "1.234,50\u00a0€", "12\u00a0%")),
        ("ja", ("2026/03/01", "15:04", "1,234.5", "€1,234.50", "12%")),
    ],
)
def test_values_are_written_as_the_locale_does(locale: str, told: tuple[str, ...]) -> None:
    """Dates, times, numbers, money and shares."""
    spoken = language(locale)
    assert (
        spoken.date(MOMENT),
        spoken.time(MOMENT),
        spoken.number(Decimal("1234.5")),
        spoken.currency(1234.5, "EUR"),
        spoken.percent(0.12),
    ) == told


def test_filters_are_in_every_template(tmp_path: Path) -> None:
    """Also without catalogues, and in the subject."""
    html = "<p>{{ name|date('long') }} {{ 3|currency('USD') }} {{ name|datetime('short') }}</p>"
    message = _renderer(tmp_path, html).render(_on(MOMENT, "de"))
    assert message.html == "<p>1. März 2026 3,00\u00a0$ 01.03.26, 15:04</p>"
    assert message.subject == "01.03.2026"


def _on(moment: datetime, locale: str) -> Localised:
    class Dated(Localised):
        subject = "{{ name|date }}"

    return Dated(name=moment, language=locale)


def test_moment_is_told_in_its_own_time_zone() -> None:
    """The author chooses the zone by the value; nothing is moved to UTC in silence."""
    spoken = language("de")
    moment = MOMENT.astimezone(timezone(timedelta(hours=10)))
    assert spoken.time(moment) == "01:04"
    assert spoken.date(moment) == "02.03.2026"
    assert spoken.date(date(2026, 3, 1), "short") == "01.03.26"
    assert spoken.time(time(9, 5)) == "09:05"


def test_money_without_a_name_is_refused() -> None:
    """A typing error would be shown to a customer."""
    for code in ("EURO", "eur", "", "QQQ"):
        with pytest.raises(ConfigError) as caught:
            language("de").currency(1, code)
        assert caught.value.type == "invalid"


@pytest.mark.parametrize(("locale", "direction"), [("en", "ltr"), ("ar", "rtl"), ("he", "rtl")])
def test_direction_follows_the_locale(locale: str, direction: str, tmp_path: Path) -> None:
    """The layout writes both."""
    html = (
        '{% import "mailglass/components.html.jinja" as mg %}'
        "{% call mg.layout('x') %}{% endcall %}"
    )
    got = _renderer(tmp_path, html).render(Localised(language=locale)).html or ""
    assert f'<html lang="{locale}" dir="{direction}"' in got


def test_texts_can_be_extracted_for_translators() -> None:
    """With Babel's own commands, the method ``jinja2`` and the extensions of mailglass."""
    source = b"{{ _('Hello') }}{% do x %}{% trans %}Dear {{ name }}{% endtrans %}{% break %}"
    found = extract(
        "jinja2",
        BytesIO(source),
        keywords={"_": None, "gettext": None},
        options={"extensions": "jinja2.ext.do,jinja2.ext.loopcontrols", "silent": "false"},
    )
    assert [message for _, message, _, _ in found] == ["Hello", "Dear %(name)s"]
