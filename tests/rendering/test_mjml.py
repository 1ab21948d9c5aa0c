"""MJML mails: mrml makes the HTML, and nothing else than the template is read."""

from __future__ import annotations

import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from front_desk import Greeting
from mailglass import Message, SendError, TemplateError
from mailglass.rendering.mjml import to_html
from mailglass.rendering.render import Renderer


class Letter(Greeting):
    """A mailable whose template is MJML."""

    subject = "Your order"
    template = "letter.mjml.jinja"


def _mjml(inside: str, head: str = "") -> str:
    return (
        f"<mjml lang='en'><mj-head><mj-title>Shop</mj-title>{head}</mj-head><mj-body><mj-section>"
        f"<mj-column>{inside}</mj-column></mj-section></mj-body></mjml>"
    )


def _render(folder: Path, inside: str, name: object = "Zoë", head: str = "") -> Message:
    (folder / "letter.mjml.jinja").write_text(_mjml(inside, head), "utf-8")
    return Renderer([folder]).render(Letter(name=name))


def test_letter_is_html_with_text(tmp_path: Path) -> None:
    """Columns for every reader, and a text part."""
    message = _render(
        tmp_path,
        "<mj-text>Dear {{ name }}</mj-text>"
        "{% for one in ('a', 'b') %}<mj-button href='https://shop.example/{{ one }}'>Open</mj-button>"
        "{% endfor %}",
    )
    html = message.html or ""
    assert '<html lang="en"' in html
    assert "<!--[if mso | IE]>" in html
    assert html.count('href="https://shop.example/') == 2
    assert (message.text or "").split() == [
        "Dear", "Zoë", "Open", "(https://shop.example/a)", "Open", "(https://shop.example/b)",
    ]  # fmt: skip


def test_values_are_escaped(tmp_path: Path) -> None:
    """A value is no element of MJML and none of HTML."""
    html = _render(tmp_path, "<mj-text>{{ name }}</mj-text>", name="<mj-raw><script>x").html or ""
    assert "&lt;mj-raw&gt;&lt;script&gt;x" in html


def test_author_sheet_is_inlined(tmp_path: Path) -> None:
    """As in every template."""
    html = _render(
        tmp_path,
        "<mj-text><p class='a'>x</p></mj-text>",
        head="<mj-style>.a{color:#7a1f5c}</mj-style>",
    ).html
    assert html is not None
    assert "color:#7a1f5c" in html[html.index("<p ") :]


def test_script_is_refused(tmp_path: Path) -> None:
    """Raw HTML passes through mrml and not through mailglass."""
    with pytest.raises(TemplateError) as caught:
        _render(tmp_path, "<mj-raw><script>x</script></mj-raw>")
    assert caught.value.type == "inliner_failed"


def test_no_web_font_is_linked(tmp_path: Path) -> None:
    """Not even MJML's own default."""
    html = _render(tmp_path, "<mj-text font-family='Roboto'>x</mj-text>").html or ""
    assert "fonts.googleapis" not in html
    assert "<link" not in html


@pytest.mark.parametrize(
    "wrong",
    ["<mjml>", "no mjml", "", "<mjml><mj-body><mj-text>a<b>canary7</mj-text></mj-body></mjml>"],
)
def test_what_is_no_mjml_is_an_error_without_its_text(wrong: str) -> None:
    """With the template's name."""
    with pytest.raises(TemplateError, match="letter") as caught:
        to_html(wrong, template="letter.mjml.jinja")
    assert caught.value.type == "jinja_compile"
    assert "canary7" not in str(caught.value)


@pytest.fixture
def seen() -> Iterator[tuple[int, list[str]]]:
    """Yield the port of a server and the paths that were asked for."""
    paths: list[str] = []

    class Listening(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Listening)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1], paths
    server.shutdown()
    server.server_close()


def test_nothing_is_fetched_or_read(tmp_path: Path, seen: tuple[int, list[str]]) -> None:
    """An include of a URL or a file is refused (rows 26, 27)."""
    port, paths = seen
    (tmp_path / "secret.mjml").write_text("<mj-text>canary7</mj-text>", "utf-8")
    for path in (f"http://127.0.0.1:{port}/x", f"{tmp_path}/secret.mjml", "secret.mjml"):
        with pytest.raises(TemplateError) as caught:
            _render(tmp_path, f"<mj-include path='{path}'/>")
        assert "canary7" not in str(caught.value)
    assert paths == []


@pytest.mark.parametrize("name", ["div", "mj-wrapper", "textarea"])
def test_nesting_without_end_is_refused_before_it_overflows(name: str) -> None:
    """The library would take the process down (row 28)."""
    deep = f"<{name}>" * 20_000 + f"</{name}>" * 20_000
    with pytest.raises(TemplateError, match="deep"):
        to_html(_mjml(deep), template="x.mjml.jinja")
    assert to_html(_mjml("<mj-spacer/>" * 500), template="x.mjml.jinja")


def test_too_many_bytes_are_refused() -> None:
    """Before anything is parsed."""
    with pytest.raises(TemplateError, match="bytes of MJML"):
        to_html("x" * (512 * 1024 + 1), template="x.mjml.jinja")


def test_without_the_extra_the_error_says_what_to_install() -> None:
    """In a process that cannot import mrml."""
    code = (
        "import sys; sys.modules['mrml'] = None\n"
        "from mailglass.errors import ConfigError\n"
        "from mailglass.rendering.mjml import to_html\n"
        "try:\n    to_html('<mjml></mjml>', template='x')\n"
        "except ConfigError as error:\n    print(error.type, error.dep, error.hint)\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "optional_dep_missing mrml Install mailglass[mjml]."


def test_unsafe_link_of_a_value_is_refused(tmp_path: Path) -> None:
    """With the filter that every template has."""
    with pytest.raises(SendError) as caught:
        _render(
            tmp_path, "<mj-button href='{{ name|safe_url }}'>x</mj-button>", name="javascript:x"
        )
    assert caught.value.code == "unsafe_url"
