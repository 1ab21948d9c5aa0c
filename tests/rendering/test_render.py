"""Rendering: what a mailable becomes, and what a wrong template is told as."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from front_desk import Greeting, write_templates
from mailglass import ConfigError, Mailable, SendError, TemplateError
from mailglass.errors import SendErrorType, TemplateErrorType
from mailglass.rendering.inlining import inline_css
from mailglass.rendering.plaintext import plain_text
from mailglass.rendering.render import Renderer
from mailglass.rendering.templates import LINES_KEPT_MAX, Templates


def _render(folder: Path, html: str, mailable: Mailable | None = None, **more: str) -> object:
    write_templates(folder, greeting__html=html, **more)
    return Renderer([folder]).render(mailable or Greeting())


def test_subject_html_and_text_see_the_same_variables(tmp_path: Path) -> None:
    """A mailable's fields are the template's variables."""
    message = _render(tmp_path, "<p>Hello {{ name }}</p>")
    assert message.subject == "Hello Zoë"  # type: ignore[attr-defined]  # a Message
    assert message.html == "<p>Hello Zoë</p>"  # type: ignore[attr-defined]  # a Message
    assert message.text == "Hello Zoë\n"  # type: ignore[attr-defined]  # a Message


def test_a_text_template_beside_the_html_is_the_text(tmp_path: Path) -> None:
    """And is not escaped, while the HTML is."""
    message = _render(
        tmp_path, "<p>{{ name }}</p>", Greeting(name="R & D <x>"), greeting__txt="Dear {{ name }}"
    )
    assert message.text == "Dear R & D <x>"  # type: ignore[attr-defined]  # a Message
    assert message.html == "<p>R &amp; D &lt;x&gt;</p>"  # type: ignore[attr-defined]  # a Message


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        "</style><script>x</script>",
        '"><img src=x onerror=alert(1)>',
        "{{ 7 * 7 }}",
        "{% for x in range(9) %}x{% endfor %}",
        "<style>@import url(http://127.0.0.1/)</style>",
    ],
)
def test_data_never_becomes_markup(tmp_path: Path, hostile: str) -> None:
    """Rows 22, 24: what a user typed is shown as it was typed."""
    html = '<style>p{color:red}</style><p title="{{ name }}">{{ name }}</p>'
    write_templates(tmp_path, greeting__html=html)

    class Plain(Greeting):
        subject = "Hello"

    message = Renderer([tmp_path]).render(Plain(name=hostile))
    assert "<script" not in (message.html or "").replace("&lt;script", "")
    assert "<img" not in (message.html or "")
    assert "49" not in (message.html or "")
    assert message.text is not None
    assert " ".join(hostile.split()) in " ".join(message.text.split())


def test_a_newline_in_a_subject_variable_is_refused(tmp_path: Path) -> None:
    """Row 1: a name cannot add a Bcc."""
    with pytest.raises(SendError) as caught:
        _render(tmp_path, "<p>x</p>", Greeting(name="Z\r\nBcc: v@evil.example"))
    assert caught.value.type is SendErrorType.SERIALIZATION_FAILED
    assert "evil" not in str(caught.value)


@pytest.mark.parametrize(
    ("html", "kind", "assign", "line"),
    [
        ("<p>\n\n{{ nmae }}</p>", TemplateErrorType.MISSING_ASSIGN, "nmae", 3),
        ("<p>\n{{ name.first }}</p>", TemplateErrorType.MISSING_ASSIGN, "first", 2),
        ("{% if nmae %}x{% endif %}", TemplateErrorType.MISSING_ASSIGN, "nmae", 1),
        ("{% for x in nmaes %}x{% endfor %}", TemplateErrorType.MISSING_ASSIGN, "nmaes", 1),
        ("a\n{{ name|shout }}", TemplateErrorType.HELPER_UNDEFINED, "shout", 2),
        ("{{ 1 is shouted }}", TemplateErrorType.HELPER_UNDEFINED, "shouted", 1),
        ("\n{% if 1 %}{{ name|shout }}{% endif %}", TemplateErrorType.HELPER_UNDEFINED, "shout", 2),
        ("\n{% if %}", TemplateErrorType.JINJA_COMPILE, None, 2),
        ("{{ name", TemplateErrorType.JINJA_COMPILE, None, 1),
        ("{% block a %}", TemplateErrorType.JINJA_COMPILE, None, 1),
    ],
)
def test_a_wrong_template_names_file_line_and_name(
    tmp_path: Path, html: str, kind: TemplateErrorType, assign: str | None, line: int
) -> None:
    """Row 25: nothing renders as a blank, and the error says where to look."""
    with pytest.raises(TemplateError) as caught:
        _render(tmp_path, html)
    error = caught.value
    assert (error.type, error.template, error.assign, error.line) == (
        kind, "greeting.html.jinja", assign, line,
    )  # fmt: skip
    assert not error.retryable


def test_the_key_of_a_subscript_is_not_told(tmp_path: Path) -> None:
    """Row 32: it may be somebody's address."""
    with pytest.raises(TemplateError) as caught:
        _render(tmp_path, "<p>{{ {}[name] }}</p>", Greeting(name="canary@mail.example"))
    assert "canary" not in f"{caught.value!r}"


def test_an_error_in_an_included_file_names_that_file(tmp_path: Path) -> None:
    """The line belongs to the file that is named."""
    write_templates(tmp_path, part__html="<b>\n{{ nmae }}</b>")
    with pytest.raises(TemplateError) as caught:
        _render(tmp_path, "<p>{% include 'part.html.jinja' %}</p>")
    assert (caught.value.template, caught.value.line) == ("part.html.jinja", 2)


def test_an_error_in_a_subject_names_the_class(tmp_path: Path) -> None:
    """A subject is a template of one line."""

    class Wrong(Greeting):
        subject = "Hello {{ nmae }}"

    with pytest.raises(TemplateError) as caught:
        _render(tmp_path, "<p>x</p>", Wrong())
    assert (caught.value.template, caught.value.assign) == ("Wrong.subject", "nmae")


def test_a_subject_is_compiled_once_for_all_mails_of_its_class(tmp_path: Path) -> None:
    """Compiling it costs many times what rendering a whole mail does."""
    write_templates(tmp_path, greeting__html="<p>x</p>")
    renderer = Renderer([tmp_path])
    compiled: list[object] = []
    environment = renderer.templates_of(Greeting).environment
    once = environment.compile

    def compiling(source: object, *arguments: object, **more: object) -> object:
        compiled.append(source)
        return once(source, *arguments, **more)  # type: ignore[call-overload]  # as it was called

    environment.compile = compiling  # type: ignore[assignment]  # counts, and does what it did
    renderer.render(Greeting())
    compiled.clear()
    assert renderer.render(Greeting(name="Kim")).subject == "Hello Kim"
    assert compiled == []


def test_compiled_lines_are_bounded(tmp_path: Path) -> None:
    """Lines that a program writes itself do not fill its memory."""
    templates = Templates([tmp_path])
    for number in range(LINES_KEPT_MAX + 10):
        templates.render_line(f"{number} {{{{ name }}}}", {"name": "Zoë"}, name="a line")
    assert templates.lines_kept == LINES_KEPT_MAX


def test_a_missing_template_is_told(tmp_path: Path) -> None:
    """A misspelt name is not an empty mail."""
    with pytest.raises(TemplateError, match="in none of the template folders"):
        Renderer([tmp_path]).render(Greeting())


@pytest.mark.parametrize(
    "name", ["../etc/passwd", "/etc/passwd", "a/../../b", "", "a\x00b", "c:\\x"]
)
def test_a_template_name_cannot_leave_its_folders(tmp_path: Path, name: str) -> None:
    """Row 18."""

    class Wandering(Greeting):
        template = name

    with pytest.raises(TemplateError):
        Renderer([tmp_path]).render(Wandering())


def test_code_that_raises_inside_a_template_is_a_rendering_failure(tmp_path: Path) -> None:
    """Row 32: the text names place and class, never the value."""

    class Explosive:
        @property
        def fuse(self) -> str:
            raise ZeroDivisionError("canary@mail.example")

    with pytest.raises(SendError) as caught:
        _render(tmp_path, "<p>\n{{ name.fuse }}</p>", Greeting(name=Explosive()))
    assert caught.value.type is SendErrorType.RENDERING_FAILED
    assert str(caught.value) == "greeting.html.jinja line 2: ZeroDivisionError while rendering"


def test_a_mailable_without_a_sender_is_told(tmp_path: Path) -> None:
    """An incomplete class is a ConfigError that names what it lacks."""

    class Half(Mailable):
        subject = "x"
        template = "greeting.html.jinja"

    with pytest.raises(ConfigError) as caught:
        Renderer([tmp_path]).render(Half())
    assert caught.value.key == "sender"


def test_media_queries_and_hover_survive_inlining() -> None:
    """What cannot be inlined stays in the sheet, and its !important with it."""
    html = (
        "<!DOCTYPE html><html><head><style>p{color:red} a:hover{color:blue}"
        "@media (max-width:600px){p{color:green !important}}</style></head>"
        "<body><p>x</p><!--[if mso]><b>o</b><![endif]--></body></html>"
    )
    found = inline_css(html, template="t")
    assert 'style="color:red"' in found
    assert "@media (max-width:600px){p{color:green !important}}" in found
    assert "a:hover{color:blue}" in found
    assert "<!--[if mso]><b>o</b><![endif]-->" in found
    assert found.startswith("<!DOCTYPE html>")


def test_html_without_a_sheet_is_untouched() -> None:
    """Nothing is parsed that needs no inlining."""
    assert inline_css("<p>a<br>b", template="t") == "<p>a<br>b"


class _Canary(http.server.BaseHTTPRequestHandler):
    hits: list[str] = []  # noqa: RUF012 - read by the test

    def do_GET(self) -> None:
        self.hits.append(self.path)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def canary() -> Iterator[tuple[str, list[str]]]:
    """Run a server that nobody may call."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Canary) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        _Canary.hits = []
        yield f"127.0.0.1:{server.server_port}", _Canary.hits
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "form",
    [
        "<style>@import url(http://HOST/a);p{color:red}</style>",
        "<style>@import 'http://HOST/a';p{color:red}</style>",
        '<style>@IMPORT "http://HOST/a" screen;p{color:red}</style>',
        "<style>@\\69mport url(http://HOST/a);p{color:red}</style>",
        "<style>@im/**/port url(http://HOST/a);p{color:red}</style>",
        "<style>@\\69 mport url(http://HOST/a);p{color:red}</style>",
        "<style>/*x*/@import/**/url(http://HOST/a);p{color:red}</style>",
        "<style>p{background:url(http://HOST/a)}</style>",
        "<style>@font-face{font-family:x;src:url(http://HOST/a)}p{color:red}</style>",
        "<style>@media screen{@import url(http://HOST/a);}p{color:red}</style>",
        "<link rel=stylesheet href=http://HOST/a><style>p{color:red}</style>",
        "<LINK REL=stylesheet HREF='http://HOST/a'>",
        '<style>p{color:red}</style><link rel="alternate stylesheet" href=//HOST/a>',
        "<base href=http://HOST/><style>p{color:red}</style>",
        "<iframe src=http://HOST/a></iframe><style>p{color:red}</style>",
        "<object data=http://HOST/a></object><style>p{color:red}</style>",
        "<embed src=http://HOST/a><style>p{color:red}</style>",
        "<script src=http://HOST/a></script><style>p{color:red}</style>",
        "<style media=all>@import url(//HOST/a);p{color:red}</style>",
        "<style>@charset 'x';@import url(http://HOST/a);p{color:red}</style>",
        "<style>@import url(file:///etc/passwd);p{color:red}</style>",
        "<style>@namespace url(http://HOST/a);p{color:red}</style>",
        "<style>\ufeff@import url(http://HOST/a);p{color:red}</style>",
    ],
)  # fmt: skip
def test_nothing_is_fetched_while_inlining(canary: tuple[str, list[str]], form: str) -> None:
    """Rows 26, 27: premailer would fetch @import in spite of allow_network=False."""
    host, hits = canary
    try:
        found = inline_css(
            f"<html><body>{form.replace('HOST', host)}<p>x</p></body></html>", template="t"
        )
    except TemplateError as error:
        assert error.type is TemplateErrorType.INLINER_FAILED  # noqa: PT017 - refusing is fine as well
    else:
        assert "root:" not in found
    assert hits == []


@pytest.mark.parametrize("depth", [150, 195])
def test_deep_markup_is_kept_whole(depth: int) -> None:
    """Row 28: what is inlined loses nothing."""
    html = "<style>b{color:red}</style>" + "<div>" * depth + "<b>deepest</b>" + "</div>" * depth
    assert "deepest" in inline_css(html, template="t")


@pytest.mark.parametrize("depth", [250, 2_000, 15_000, 100_000])
def test_markup_too_deep_is_refused_before_it_is_inlined(depth: int) -> None:
    """Row 28: neither dropped content nor a crash."""
    html = "<style>b{color:red}</style>" + "<div>" * depth + "<b>deepest</b>" + "</div>" * depth
    with pytest.raises(TemplateError) as caught:
        inline_css(html, template="t")
    assert caught.value.type is TemplateErrorType.INLINER_FAILED


def test_too_many_rules_are_refused() -> None:
    """Row 29."""
    rules = "".join(f".c{number}{{color:red}}" for number in range(2_000))
    with pytest.raises(TemplateError):
        inline_css(f"<style>{rules}</style><p>x</p>", template="t")


def test_text_leaves_out_what_is_hidden_and_spells_links() -> None:
    """What a reader would read aloud."""
    html = (
        "<html><head><title>no</title><style>p{}</style></head><body>"
        '<div style="display: none">preheader</div><div hidden>no</div>'
        "<h1>Hello  Zoë</h1><p>One<br>two &amp; three</p><!-- no --><!--[if mso]>no<![endif]-->"
        '<ul><li>first</li><li>second</li></ul><a href="https://shop.example/a?b=1&amp;c=2">Your order</a>'
        '<img alt="Logo" src="cid:x"><table><tr><td>Coffee</td><td>7,00</td></tr><tr><td>Bread</td>'
        "<td>4,50</td></tr></table><hr><p>Bye</p></body></html>"
    )
    assert plain_text(html) == (
        "Hello Zoë\n\nOne\ntwo & three\n\n- first\n\n- second\n\n"
        "Your order (https://shop.example/a?b=1&c=2)Logo\n\nCoffee  7,00\nBread   4,50\n\n---\n\nBye\n"
    )


def test_a_missing_value_for_a_component_is_told_at_the_authors_line(tmp_path: Path) -> None:
    """The component's own line stands behind it: nobody has written a mistake there."""
    html = """{% import "mailglass/components.html.jinja" as mg %}
<p>Hello</p>
{{ mg.text(nmae) }}"""
    with pytest.raises(TemplateError) as caught:
        _render(tmp_path, html)
    assert (caught.value.template, caught.value.line) == ("greeting.html.jinja", 3)
    assert str(caught.value).startswith(
        "greeting.html.jinja line 3, in components.html.jinja line "
    )
    assert str(caught.value).endswith(": nmae is missing")


class Unspeakable:
    """Raises where it is written."""

    def __str__(self) -> str:
        """Raise."""
        raise ZeroDivisionError


def test_a_value_that_fails_in_a_component_is_told_at_the_authors_line(tmp_path: Path) -> None:
    """Code of the application's, called while the component renders."""
    html = '{% import "mailglass/components.html.jinja" as mg %}\n{{ mg.text(name) }}'
    with pytest.raises(SendError, match=r"^greeting\.html\.jinja line 2, in components"):
        _render(tmp_path, html, Greeting(name=Unspeakable()))
