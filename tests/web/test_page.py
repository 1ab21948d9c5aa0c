"""What the unsubscribe page looks like."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mailglass import ConfigError
from mailglass.web.page import PageState, Theme, page_answer
from mailglass.web.texts import LANGUAGES, language_of

THEME = Theme(name="Shop & <Sons>")


class _Outline(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def _html(state: PageState, *, theme: Theme = THEME, language: str = "") -> str:
    return page_answer(theme, state, accept_language=language).body.decode()


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("state", PageState)
def test_the_page_is_accessible(state: PageState, language: str) -> None:
    """Language, direction, title, one heading, one main part, zoom allowed, a button with a name."""
    page = _Outline(_html(state, language=language))
    assert page.all("html") == [{"lang": language, "dir": LANGUAGES[language].direction}]
    assert [len(page.all(tag)) for tag in ("title", "main", "h1")] == [1, 1, 1]
    assert all("user-scalable" not in str(one) for one in page.all("meta"))
    assert len(page.all("button")) == (state is PageState.ASK)
    assert all(img.get("alt") for img in page.all("img"))


@pytest.mark.parametrize("state", PageState)
def test_the_page_needs_no_script_and_no_request(state: PageState) -> None:
    """It works with everything switched off, and nobody else hears of the visit."""
    answer = page_answer(THEME, state, accept_language="")
    page = _Outline(answer.body.decode())
    names = {tag for tag, _ in page.tags}
    assert names.isdisjoint({"script", "link", "iframe", "object", "img", "base"})
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    policy = dict(answer.headers)["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "script-src" not in policy


def test_the_name_is_text() -> None:
    """Row 22: what a tenant is called never becomes an element."""
    html = _html(PageState.ASK)
    assert "Shop &amp; &lt;Sons&gt;" in html
    assert "<Sons>" not in html


def test_a_logo_is_shown_with_its_name() -> None:
    """And is the only thing that may be loaded."""
    theme = Theme(name="Shop", logo_url="https://cdn.shop.example/logo.png")
    answer = page_answer(theme, PageState.ASK, accept_language="")
    assert b'<img src="https://cdn.shop.example/logo.png" alt="Shop">' in answer.body
    assert "img-src https://cdn.shop.example;" in dict(answer.headers)["Content-Security-Policy"]


def _contrast(one: str, other: str) -> float:
    def light(colour: str) -> float:
        shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted([light(one), light(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("red", range(0, 256, 51))
@pytest.mark.parametrize("green", range(0, 256, 51))
def test_the_button_can_be_read_on_any_colour(red: int, green: int) -> None:
    """WCAG 2.2, 1.4.3: at least 4.5 to 1, whichever accent a tenant likes."""
    for blue in range(0, 256, 51):
        theme = Theme(name="Shop", accent=f"#{red:02x}{green:02x}{blue:02x}")
        assert _contrast(theme.accent, theme.on_accent) >= 4.5


def test_a_page_of_your_own(tmp_path: Path) -> None:
    """A template replaces the whole page and gets the same variables, escaped."""
    file = tmp_path / "own.html"
    file.write_text("<h1>{{ theme.name }}</h1>{{ title }}|{{ text }}|{{ asks }}", "utf-8")
    html = _html(PageState.DONE, theme=Theme(name="<Shop>", template=file))
    assert html.startswith("<h1>&lt;Shop&gt;</h1>You are unsubscribed|")
    assert html.endswith("|False")


def _bad_themes(folder: Path) -> list[dict[str, object]]:
    broken = folder / "broken.html"
    broken.write_text("{% if %}", "utf-8")
    return [
        {"accent": "red"},
        {"accent": "#fff"},
        {"accent": "#ffffff;}</style>"},
        {"logo_url": "http://cdn.shop.example/logo.png"},
        {"logo_url": "javascript:alert(1)"},
        {"logo_url": "https://cdn.shop.example/;script-src *"},
        {"logo_url": 'https://cdn.shop.example/"onerror='},
        {"language": "tlh"},
        {"template": folder / "none.html"},
        {"template": broken},
    ]


@pytest.mark.parametrize("case", range(10))
def test_a_theme_that_would_break_the_page_is_refused(tmp_path: Path, case: int) -> None:
    """When it is made, not when somebody wants to leave."""
    with pytest.raises(ConfigError) as caught:
        Theme(name="Shop", **_bad_themes(tmp_path)[case])  # type: ignore[arg-type]  # a case each
    assert caught.value.key == "unsubscribe_theme"


@pytest.mark.parametrize(
    ("accept_language", "wanted"),
    [
        ("", "en"),
        ("de", "de"),
        ("DE-at", "de"),
        ("tlh, fr;q=0.5, de;q=0.7", "de"),
        ("de;q=0, fr;q=0.1", "fr"),
        ("de;q=0", "en"),
        ("*", "en"),
        ("fr-CH, fr;q=0.9, en;q=0.8", "fr"),
        (";;;,,,=q", "en"),
        ("x" * 100_000, "en"),
        ("xx," * 1000 + "de", "en"),
        ("de;q=nan", "en"),
    ],
)
def test_the_reader_chooses_the_language(accept_language: str, wanted: str) -> None:
    """RFC 9110 §12.5.4, and nothing that is sent can break it."""
    assert language_of(accept_language, default="en") == wanted


def test_the_default_language_is_the_themes() -> None:
    """A shop in one country says so once."""
    assert 'lang="nl"' in _html(PageState.ASK, theme=Theme(name="Winkel", language="nl"))


def test_every_language_has_every_sentence() -> None:
    """And no sentence is that of another language."""
    for name in ("ask", "done", "invalid", "failed", "button", "ask_title"):
        sentences = [getattr(one, name) for one in LANGUAGES.values()]
        assert all(sentences)
    assert len({one.ask for one in LANGUAGES.values()}) == len(LANGUAGES)


def test_right_to_left_is_said() -> None:
    """Arabic reads the other way."""
    assert re.search(r'lang="ar" dir="rtl"', _html(PageState.ASK, language="ar"))
