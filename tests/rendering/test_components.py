"""The components: reviewed HTML for each, readable colours, links that run nothing."""

from __future__ import annotations

import os
from html.parser import HTMLParser
from pathlib import Path

import pytest

from component_cases import PAGE, PARTS, page_of, rendered
from front_desk import Greeting, write_templates
from mailglass import ConfigError, SendError
from mailglass.rendering.components import Theme, contrast, luminance, safe_url
from mailglass.rendering.render import Renderer
from tests_paths import ROOT

GOLDENS = ROOT / "goldens" / "render"
ACCEPTS = os.environ.get("MAILGLASS_TEST_ACCEPT_GOLDENS") == "1"
"""Set it to write what is rendered now; then read the difference before you keep it."""
IMPORT = '{% import "mailglass/components.html.jinja" as mg %}'


def _is_golden(name: str, html: str) -> None:
    path = GOLDENS / f"{name}.html"
    if ACCEPTS:
        path.write_text(html, "utf-8")
    assert html == path.read_text("utf-8")


@pytest.mark.parametrize("name", PARTS)
def test_component_is_what_was_reviewed(name: str, tmp_path: Path) -> None:
    """A change of any byte is seen by a person."""
    _is_golden(name, rendered(PARTS[name], tmp_path))


def test_layout_is_what_was_reviewed(tmp_path: Path) -> None:
    """A whole mail with every component, left to right and right to left."""
    _is_golden("layout", rendered(PAGE, tmp_path))
    _is_golden("layout_rtl", rendered(PAGE, tmp_path, locale="he"))


def test_every_golden_belongs_to_a_component() -> None:
    """A golden that nothing compares is no golden."""
    names = {path.stem for path in GOLDENS.glob("*.html")}
    assert names == {*PARTS, "layout", "layout_rtl"}


@pytest.mark.parametrize("engine", ["premailer", "css-inline"])
def test_components_are_the_same_beside_a_sheet_of_the_author(engine: str, tmp_path: Path) -> None:
    """What a component says of itself wins over the author's rules, with both engines."""
    source = f"{IMPORT}<style>p{{color:red;outline:0}}</style>{{{{ mg.text('x') }}}}"
    write_templates(tmp_path, greeting__html=source)
    html = Renderer([tmp_path], css_inliner=engine).render(Greeting()).html or ""
    alone = rendered(PARTS["hr"], tmp_path)
    own = alone[alone.index('style="') + 7 : alone.index('">Above')]
    assert f'style="outline:0;{own}"' in html


def test_template_overrides_the_theme(tmp_path: Path) -> None:
    """Set once above the import, for every component below."""
    html = rendered(PAGE, tmp_path, theme='accent="#7a1f5c", font="Georgia, serif"')
    assert "#7a1f5c" in html
    assert Theme().accent not in html
    assert Theme().font not in html.replace(Theme().font_heading, "", html.count("<h"))


def test_application_sets_the_theme(tmp_path: Path) -> None:
    """One theme for every mail of an application."""
    write_templates(
        tmp_path, greeting__html=f"{IMPORT}{{{{ mg.button(name, 'https://a.example') }}}}"
    )
    html = Renderer([tmp_path], theme=Theme(accent="#7a1f5c")).render(Greeting()).html or ""
    assert 'fillcolor="#7a1f5c"' in html


def test_direction_of_the_theme_counts_without_a_locale(tmp_path: Path) -> None:
    """An application in one language sets it once."""
    write_templates(tmp_path, greeting__html=f"{IMPORT}{{{{ mg.text(name) }}}}")
    html = Renderer([tmp_path], theme=Theme(direction="rtl")).render(Greeting()).html or ""
    assert "text-align:right" in html


@pytest.mark.parametrize(
    "wrong",
    [
        {"accent": "#aaaaaa"},
        {"dark_text": "#333333"},
        {"accent": "red"},
        {"font": '"><script>'},
        {"width_px": -1},
        {"direction": "up"},
    ],
)
def test_a_theme_that_cannot_be_read_is_refused(wrong: dict[str, str]) -> None:
    """Too little contrast, or a value that is none; the error names the token."""
    with pytest.raises(ConfigError) as caught:
        Theme().but(**wrong)
    assert caught.value.type == "invalid"
    assert str(caught.value.key).startswith("theme.")


def test_a_token_that_no_theme_has_is_refused() -> None:
    """A misspelt name changes nothing silently."""
    with pytest.raises(ConfigError, match="no acent"):
        Theme().but(acent="#000000")


def test_contrast_is_that_of_wcag() -> None:
    """Black on white is 21, a colour on itself 1, and #767676 on white just passes."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#123456", "#123456") == pytest.approx(1)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)
    assert luminance("#ffffff") == pytest.approx(1)


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)", "JaVaScRiPt:alert(1)", "java\tscript:alert(1)", " \x01javascript:x",
        "data:text/html,x", "vbscript:x", "file:///etc/passwd", "blob:x", "\u200bjavascript:x",
    ],
)  # fmt: skip
def test_a_link_that_would_run_something_is_refused(url: str, tmp_path: Path) -> None:
    """In every component that takes a URL; the error does not repeat it."""
    for call in ("button('x', name)", "link('x', name)", "image(name, 'x', 1, 1)"):
        write_templates(tmp_path, greeting__html=f"{IMPORT}{{{{ mg.{call} }}}}")
        with pytest.raises(SendError) as caught:
            Renderer([tmp_path]).render(Greeting(name=url))
        assert caught.value.code == "unsafe_url"
        assert url not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["https://a.example/?q=a:b", "mailto:a@b.example", "tel:+49", "/path:x", "#top", "cid:logo"],
)
def test_an_ordinary_link_passes_unchanged(url: str) -> None:
    """Also one whose path or query has a colon."""
    assert safe_url(f" {url}\n") == url


def test_hostile_values_stay_text_in_every_component(tmp_path: Path) -> None:
    """Also inside the conditional comments that only Outlook reads."""
    hostile = '--><script>x</script>"><img src=x onerror=x>'
    calls = (
        "button(name, 'https://a.example/?' ~ name)", "text(name)", "heading(name)", "code(name)",
        "image('cid:x', name, 1, 1)", "table([name], [[name]])", "receipt([(name, name)])",
        "preheader(name)",
    )  # fmt: skip
    source = IMPORT + "".join(f"{{{{ mg.{call} }}}}" for call in calls)
    write_templates(tmp_path, greeting__html=source)

    class Plain(Greeting):
        subject = "Hello"

    html = Renderer([tmp_path]).render(Plain(name=hostile)).html or ""
    assert "<script" not in html
    assert "<img src=x" not in html
    assert html.count("--><script") == 0


class _Accessible(HTMLParser):
    """Collects what a screen reader would trip over."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at one element."""
        given = dict(attrs)
        self.seen.append(tag)
        if tag == "html" and not (given.get("lang") and given.get("dir")):
            self.faults.append("html without lang or dir")
        if tag == "img" and given.get("alt") is None:
            self.faults.append("img without alt")
        if tag == "th" and given.get("scope") not in {"row", "col"}:
            self.faults.append("th without scope")


@pytest.mark.parametrize("locale", ["en", "he", "ar"])
def test_whole_mail_is_accessible(locale: str, tmp_path: Path) -> None:
    """Language, direction, alternative texts, scopes; layout tables say that they are."""
    html = rendered(PAGE, tmp_path, locale=locale)
    reader = _Accessible()
    reader.feed(html)
    assert reader.faults == []
    assert f'<html lang="{locale}" dir="{"ltr" if locale == "en" else "rtl"}"' in html
    layout_tables = html.count('<table role="presentation"')
    assert html.count("<table") - layout_tables == 2  # the data of table and receipt


def test_right_to_left_turns_the_sides(tmp_path: Path) -> None:
    """The start is on the right, and amounts stand at the left."""
    html = rendered(PARTS["receipt"], tmp_path, locale="ar")
    assert 'align="right"' in html.split("</th>")[0]
    assert 'align="left"' in html.split("</th>")[1].split("</td>")[0]


def test_button_is_drawn_once_by_each_reader(tmp_path: Path) -> None:
    """Outlook gets a shape, all others an anchor, both with the same target and label."""
    html = rendered(PARTS["button"], tmp_path)
    assert html.count("<!--[if mso]><v:roundrect") == html.count("<!--[if !mso]><!--><a ") == 2
    assert html.count('href="https://shop.example/o?a=1&amp;b=2"') == 2


def test_text_of_the_components(tmp_path: Path) -> None:
    """What the text part says of a page; the preheader and the spacers are not in it."""
    write_templates(tmp_path, greeting__html=IMPORT + page_of("receipt"))
    text = Renderer([tmp_path]).render(Greeting()).text or ""
    assert "Café au lait" in text
    assert "11,50 €" in text
    assert "\u034f" not in text


def test_every_page_is_a_whole_mail(tmp_path: Path) -> None:
    """Each example can be opened as it is."""
    for name in (*PARTS, "layout"):
        html = rendered(page_of(name), tmp_path)
        assert html.startswith("<!DOCTYPE html>")
        assert html.rstrip().endswith("</html>")
