"""Markdown mails: drawn with the theme, with values that stay what was typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from front_desk import Greeting
from generated import MANY
from mailglass import Message, SendError, TemplateError
from mailglass.rendering.compiling.compiled import Mode
from mailglass.rendering.components import Theme
from mailglass.rendering.lint.pages import read_page
from mailglass.rendering.lint.run import lint_message
from mailglass.rendering.markdown import escaped
from mailglass.rendering.render import Renderer


class Letter(Greeting):
    """A mailable whose template is Markdown."""

    subject = "Your order"
    template = "letter.md.jinja"


def _render(
    folder: Path, text: str, name: object = "Zoë", theme: Theme = Theme()  # noqa: B008 - frozen
) -> Message:  # fmt: skip
    (folder / "letter.md.jinja").write_text(text, "utf-8")
    return Renderer([folder], theme=theme).render(Letter(name=name))


def _body(folder: Path, text: str, name: object = "Zoë") -> str:
    html = _render(folder, text, name).html or ""
    return html[html.index("<body") :]


def test_letter_is_a_whole_mail_of_components(tmp_path: Path) -> None:
    """Headings, emphasis, links, rules; and nothing that lint complains about."""
    text = (
        "{% set preview = 'It left today' %}\n# Thank you, {{ name }}\n\nYour **order** is *on* its "
        "way.\nSee [the details](https://shop.example/o).\n\n---\n\nUntil soon  \nShop\n"
    )
    message = _render(tmp_path, text)
    html = message.html or ""
    assert "<title>Thank you, Zoë</title>" in html
    assert "<strong>order</strong> is <em>on</em>" in html
    assert 'class="mg-link"' in html
    assert "<hr " in html
    assert "<br>" in html
    assert "It left today" in html
    assert message.text is not None
    assert message.text.startswith("Thank you, Zoë\n\nYour order is on its way.")
    assert "the details (https://shop.example/o)" in message.text
    assert list(lint_message(message)) == []


def test_theme_is_the_applications(tmp_path: Path) -> None:
    """The same tokens as in the components."""
    html = _render(tmp_path, "[x](https://a.example)", theme=Theme(accent="#7a1f5c")).html or ""
    assert "color:#7a1f5c" in html


@pytest.mark.parametrize(("direction", "side"), [("ltr", "left"), ("rtl", "right")])
def test_lists_and_quotes_begin_where_the_text_does(
    direction: str, side: str, tmp_path: Path
) -> None:
    """The room for a bullet is at the start of the line."""
    html = _render(tmp_path, "- x\n\n> y", theme=Theme(direction=direction)).html or ""
    assert f"padding-{side}:24px" in html
    assert f"border-{side}:3px" in html


def test_link_called_button_is_one(tmp_path: Path) -> None:
    """With its shape for Outlook; other links in a paragraph stay links."""
    body = _body(tmp_path, '[Open it](https://shop.example/o "button")')
    assert "<v:roundrect" in body
    assert 'class="mg-button"' in body
    assert "v:roundrect" not in _body(tmp_path, 'See [it](https://shop.example/o "button") now')


def test_lists_tables_quotes_and_code(tmp_path: Path) -> None:
    """What CommonMark has, and tables."""
    body = _body(
        tmp_path,
        "- one\n- two\n  1. deep\n\n3. three\n\n> said\n\n`x < y`\n\n```\n493 027\n```\n\n"
        "| Item | Price |\n|---|--:|\n| Café | 7,00 € |\n",
    )
    assert body.count("<li>") == 4
    assert '<ol start="3"' in body
    assert "<blockquote" in body
    assert "x &lt; y</code>" in body
    assert ">493 027</code>" in body
    assert '<th scope="col"' in body
    cells = [
        one.attributes["align"]
        for one in read_page(body).named("th", "td")
        if "mg-line" in one.attributes.get("class", "")
    ]
    assert cells == ["left", "right"] * 2


def test_loose_list_has_paragraphs_and_a_tight_one_has_not(tmp_path: Path) -> None:
    """As CommonMark tells them apart."""
    assert "<li>one</li>" in _body(tmp_path, "- one\n- two")
    assert "<li><p " in _body(tmp_path, "- one\n\n- two")


def test_image_with_a_size_is_drawn_by_the_component(tmp_path: Path) -> None:
    """The title is the size; without one it is an ordinary image."""
    body = _body(tmp_path, '![Shop](cid:logo "96x48")\n\nSee ![x](https://shop.example/x.png)')
    images = [one.attributes for one in read_page(body).named("img")]
    assert [(one["alt"], one.get("width")) for one in images] == [("Shop", "96"), ("x", None)]
    assert "max-width:96px" in images[0]["style"]


@pytest.mark.parametrize(
    "typed",
    [
        "[click](https://evil.example)", "https://evil.example", "**bold**", "# heading",
        "<b>x</b>", "<script>x</script>", "x\n# heading", "- x", "1. x", "> x", "`x`", "| a | b |",
        "![x](https://evil.example/x.png)", "&lt;b&gt;", "x\n\n---\n\ny", "{{ 7 * 7 }}", "a\\b",
        "<https://evil.example>", "[x]: https://evil.example", "~~x~~", "Setext\n===",
    ],
)  # fmt: skip
def test_what_somebody_typed_is_shown_as_typed(typed: str, tmp_path: Path) -> None:
    """No link, no markup, no block of its own (row 31)."""
    body = _body(tmp_path, "Dear {{ name }}, hello\n\n{{ name }}", name=typed)
    page = read_page(body)
    names = {one.name for one in page.elements}
    assert names == {"body", "div", "table", "tr", "td", "p"}
    texts = [one.text for one in page.named("p")]
    shown = " ".join(typed.split())
    assert [" ".join(text.split()) for text in texts] == [f"Dear {shown}, hello", shown]


def test_safe_brings_markdown_and_never_html(tmp_path: Path) -> None:
    """The author may pass Markdown on; HTML is text even then."""
    body = _body(tmp_path, "{{ name|safe }}", name="**x** <script>y</script>")
    assert "<strong>x</strong>" in body
    assert "<script" not in body


@MANY
@given(st.text(max_size=80))
def test_an_escaped_value_is_one_run_of_text(typed: str) -> None:
    """Whatever characters it holds, it stays in its line."""
    shown = str(escaped(typed))
    assert "\n" not in shown
    assert "\r" not in shown


def test_address_made_of_a_value_is_checked(tmp_path: Path) -> None:
    """A value in a link's address works, and cannot run anything."""
    body = _body(tmp_path, "[x]({{ name }})", name="https://shop.example/a_b?c=1&d=(2)")
    (link,) = read_page(body).named("a")
    assert link.attributes["href"] == "https://shop.example/a_b?c=1&d=(2)"
    for bad in ("javascript:alert(1)", "data:text/html,x"):
        # The parser makes no link of these; what it lets through, safe_url refuses.
        assert list(read_page(_body(tmp_path, "[x]({{ name }})", name=bad)).named("a")) == []
    with pytest.raises(SendError) as caught:
        _body(tmp_path, "[x]({{ name }})", name="blob:x")
    assert caught.value.code == "unsafe_url"


def test_missing_value_is_told_with_its_line(tmp_path: Path) -> None:
    """As in every template."""
    with pytest.raises(TemplateError) as caught:
        _render(tmp_path, "Hello\n\n{{ nobody }}")
    assert (caught.value.template, caught.value.line, caught.value.assign) == (
        "letter.md.jinja", 3, "nobody",
    )  # fmt: skip


def test_text_template_beside_it_is_the_text(tmp_path: Path) -> None:
    """As beside HTML."""
    (tmp_path / "letter.txt.jinja").write_text("Dear {{ name }} & co", "utf-8")
    assert _render(tmp_path, "x").text == "Dear Zoë & co"


def test_report_says_how_it_is_rendered(tmp_path: Path) -> None:
    """It is no compiled template, and the reason is told."""
    (tmp_path / "letter.md.jinja").write_text("x", "utf-8")
    report = Renderer([tmp_path]).report(Letter)
    assert report.mode is Mode.FALLBACK
    assert report.reasons == ("Markdown is turned into HTML in each mail",)


def test_application_may_bring_its_own_frame(tmp_path: Path) -> None:
    """A file of the same name in its folders goes first."""
    (tmp_path / "mailglass").mkdir()
    (tmp_path / "mailglass" / "markdown.html.jinja").write_text("<main>{{ body }}</main>", "utf-8")
    assert (_render(tmp_path, "x").html or "").startswith("<main><p ")


def test_deep_lists_end_in_a_bound(tmp_path: Path) -> None:
    """Nesting without end is text, not a stack that overflows."""
    assert _render(tmp_path, "> " * 2000 + "x").html
