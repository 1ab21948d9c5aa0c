"""Lint: each rule finds what it is for, at its line, and a good mail has no findings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from component_cases import PAGE
from front_desk import Greeting, note, write_templates
from mailglass import Attachment, Mailable
from mailglass.rendering.lint.clients import CLIENTS
from mailglass.rendering.lint.findings import GMAIL_CLIP_BYTES, RULES, Severity
from mailglass.rendering.lint.run import LintReport, lint_file, lint_mailable, lint_message
from mailglass.rendering.render import Renderer
from tests_paths import ROOT

HEAD = (
    '<!DOCTYPE html>\n<html lang="en">\n<head><title>Shop</title></head>\n<body>\n'
    '<div style="display:none">Your order is on its way</div>\n'
)
TAIL = "\n<p>Thank you for your order, it left our house today.</p>\n</body>\n</html>\n"
LINE = HEAD.count("\n") + 1
"""The line of the snippet in the template."""

SNIPPETS: Mapping[str, str] = {
    "alt_missing": '<img src="cid:x" width="1" height="1">',
    "image_size_missing": '<img src="cid:x" alt="">',
    "image_is_data": '<img src="data:image/png;base64,AA==" alt="" width="1" height="1">',
    "table_role_missing": "<table><tr><td>x</td></tr></table>",
    "contrast_low": '<p style="color:#999999">pale</p>',
    "link_dead": '<a href="#">x</a>',
    "link_relative": '<a href="/order">x</a>',
    "link_http": '<a href="http://shop.example/">x</a>',
    "link_unsafe": '<a href="javascript:x">x</a>',
    "link_unfilled": '<a href="https://shop.example/{% raw %}{{ id }}{% endraw %}">x</a>',
    "link_deceives": '<a href="https://evil.example/"> <b>bank.example/login</b> </a>',
    "element_refused": "<form>x</form>",
    "handler_refused": '<p onclick="x">x</p>',
    "css_unsupported": '<div style="display:flex">x</div>',
    "autoescape_off": "{% autoescape false %}x{% endautoescape %}",
    "safe_filter": "{{ name|safe }}",
    "value_unquoted": "<p title={{ name }}>x</p>",
    "address_unchecked": '<a href="{{ url }}">x</a>',
}
"""For each rule about a place in the template, what breaks it; each on line ``LINE``."""


class Noted(Greeting):
    """A mailable with a preview."""

    subject = "Your order"
    url: str = "https://shop.example/order"

    @classmethod
    def previews(cls) -> Mapping[str, Mailable]:
        """Return one example."""
        return {"default": cls()}


def _lint(folder: Path, html: str, kind: type[Mailable] = Noted, **more: str) -> LintReport:
    write_templates(folder, greeting__html=html, **more)
    return lint_mailable(Renderer([folder]), kind)


def _ids(report: LintReport) -> set[str]:
    return {one.id for one in report.findings}


def test_good_mail_has_no_findings(tmp_path: Path) -> None:
    """The frame that the other tests put their snippets into is clean."""
    assert _lint(tmp_path, HEAD + TAIL).findings == ()


@pytest.mark.parametrize("rule", SNIPPETS)
def test_rule_finds_its_fault_at_its_line(rule: str, tmp_path: Path) -> None:
    """With the place in the template, the reason and the fix."""
    report = _lint(tmp_path, HEAD + SNIPPETS[rule] + TAIL)
    found = {one.id: one for one in report.findings}
    assert rule in found
    assert found[rule].place == f"greeting.html.jinja line {LINE}"
    assert found[rule].severity is RULES[rule][0]
    assert found[rule].why
    assert found[rule].fix
    assert _ids(report) <= {rule}


def test_the_unsubscribe_link_is_mailglass_own(tmp_path: Path) -> None:
    """It needs no check, as a value of the application's does."""
    link = '<p><a href="{{ unsubscribe_url }}">Unsubscribe</a></p>'
    assert _ids(_lint(tmp_path, HEAD + link + TAIL)) == set()


def test_every_rule_is_tested() -> None:
    """A rule without a fault that it finds would not be one; those of streams are the command's."""
    text = Path(__file__).read_text("utf-8")
    text += (ROOT / "tests" / "cli" / "test_lint.py").read_text("utf-8")
    assert [rule for rule in RULES if f'"{rule}"' not in text] == []


def test_a_whole_without_language_title_and_preheader(tmp_path: Path) -> None:
    """What belongs to the layout is told of the layout."""
    ids = _ids(_lint(tmp_path, "<p>Thank you for your order, it left our house today.</p>"))
    assert ids == {"lang_missing", "title_missing", "preheader_missing"}


def test_a_mail_of_images_alone(tmp_path: Path) -> None:
    """Nothing would show while images are off."""
    html = HEAD.replace("on its way", "on its way, and what is hidden does not count")
    html += '<img src="cid:x" alt="Sale" width="600" height="900"></body></html>'
    assert _ids(_lint(tmp_path, html)) == {"images_only"}


def test_refused_element_of_a_message_without_a_template() -> None:
    """A Message may be written by hand: the rendered HTML is read, not only the source."""
    html = HEAD + '<form><p onclick="x">x</p></form>' + TAIL
    ids = {one.id for one in lint_message(note(html=html, text="Thank you for your order"))}
    assert {"element_refused", "handler_refused"} <= ids


def test_place_without_a_template_is_the_line_of_the_html() -> None:
    """Counted from one, as an editor does."""
    html = HEAD + '\n<img src="cid:x" width="1" height="1">' + TAIL
    (found,) = lint_message(note(html=html, text="Thank you for your order, it left today"))
    assert found.place == f"HTML line {LINE + 1} (<img>)"


@pytest.mark.parametrize(
    ("html", "rule"),
    [
        ('<div style="DISPLAY:FLEX">x</div>', "css_unsupported"),
        ('<img src="DATA:image/png;base64,AA==" alt="" width="1" height="1">', "image_is_data"),
        ('<p style="COLOR:#AAA">x</p>', "contrast_low"),
        ('<p style="color:SILVER">x</p>', "contrast_low"),
        ('<a href="HTTP://shop.example/">x</a>', "link_http"),
    ],
)
def test_capitals_hide_nothing(html: str, rule: str, tmp_path: Path) -> None:
    """HTML and CSS read them as small letters."""
    assert rule in _ids(_lint(tmp_path, HEAD + html + TAIL))


def test_text_part_of_spaces_is_none() -> None:
    """A reader of text would see nothing."""
    ids = {one.id for one in lint_message(note(html=HEAD + TAIL, text=" \n "))}
    assert "text_missing" in ids


@pytest.mark.parametrize(
    ("html", "is_low"),
    [
        ('<p style="color:#777777">x</p>', True),
        ('<p style="color:#777777;font-size:19px">x</p>', True),
        ('<p style="color:#777777;font-size:19px;font-weight:bold">x</p>', False),
        ('<p style="color:#777777;font-size:19px;font-weight:400">x</p>', True),
        ('<b><span style="color:#777777;font-size:19px">x</span></b>', False),
        ('<p style="color:#999">x</p>', True),
        ('<p style="color:rgb(153, 153, 153)">x</p>', True),
        ('<p style="color:silver">x</p>', True),
        ('<p style="color:#999999"> <span style="color:#111111">x</span></p>', False),
        ('<div style="background:#000 none"><p>x</p></div>', True),
        ('<div style="background-color:TRANSPARENT"><p style="color:#fff">x</p></div>', True),
        ('<table role="presentation" bgcolor="#111111"><tr><td>x</td></tr></table>', True),
        ('<div style="background-image:linear-gradient(#000,#000);color:#fff">x</div>', False),
        ('<div style="color:inherit">x</div>', False),
        ('<p style="color:#fff" hidden>x</p>', False),
    ],
)
def test_contrast_of_each_text(html: str, is_low: bool, tmp_path: Path) -> None:  # noqa: FBT001 - a column
    """Inherited colours, large and bold text, every way to write a colour."""
    assert ("contrast_low" in _ids(_lint(tmp_path, HEAD + html + TAIL))) is is_low


def test_value_in_a_sheet(tmp_path: Path) -> None:
    """Escaping does not hold in CSS."""
    html = HEAD.replace("</head>", "<style>p{color:{{ name }}}</style></head>") + TAIL
    found = {one.id: one for one in _lint(tmp_path, html).findings}
    assert found["value_in_css"].place == "greeting.html.jinja line 3"


def test_script_stops_the_rendering_and_is_still_told(tmp_path: Path) -> None:
    """The renderer refuses it, and lint says where it stands."""
    ids = _ids(_lint(tmp_path, HEAD + "<script>x</script>" + TAIL))
    assert ids == {"element_refused", "render_failed"}


def test_component_is_found_by_what_was_passed_to_it(tmp_path: Path) -> None:
    """A component's HTML stands in no file of the author; the call does."""
    call = "{{ mg.link('Shop', 'http://shop.example/account') }}"
    source = f'{{% import "mailglass/components.html.jinja" as mg %}}\n{HEAD}{call}{TAIL}'
    found = {one.id: one for one in _lint(tmp_path, source).findings}
    assert found["link_http"].place == f"greeting.html.jinja line {LINE + 1}"


def test_mail_of_components_has_no_findings_but_what_readers_ignore(tmp_path: Path) -> None:
    """What mailglass brings keeps its own rules."""
    source = '{% import "mailglass/components.html.jinja" as mg with context %}' + PAGE
    report = _lint(tmp_path, source)
    assert report.findings == ()


def test_equal_tags_are_told_apart_by_what_they_say(tmp_path: Path) -> None:
    """Where a rule of a sheet makes one of many paragraphs unreadable."""
    sheet = "<style>.a p{color:#aaaaaa}</style></head>"
    html = (
        HEAD.replace("</head>", sheet) + "<p>one</p>\n<div class='a'>\n<p>{{ name }} two</p></div>"
    )
    found = {one.id: one for one in _lint(tmp_path, html + TAIL).findings}
    assert found["contrast_low"].place == f"greeting.html.jinja line {LINE + 2}"


def test_fault_in_an_included_file_is_told_there(tmp_path: Path) -> None:
    """The place is the file that must be changed."""
    html = HEAD + '{% include "part.html.jinja" %}' + TAIL
    report = _lint(tmp_path, html, part__html='\n\n<img src="cid:x" width="1" height="1">')
    assert [one.place for one in report.findings] == ["part.html.jinja line 3"]


@pytest.mark.parametrize(
    ("subject", "rule"),
    [("", "subject_empty"), ("x" * 61, "subject_long"), ("BUY NOW OR NEVER", "subject_loud"),
     ("Free!!!", "subject_loud")],
)  # fmt: skip
def test_subject(subject: str, rule: str) -> None:
    """What a list of mails shows of it, and what filters count."""
    assert [one.id for one in lint_message(note(subject=subject))] == [rule]


def test_ordinary_subjects_pass() -> None:
    """Abbreviations, one mark, other scripts."""
    for subject in ("Your SEPA mandate", "Ready?", "訂單 1042", "x" * 60):
        assert list(lint_message(note(subject=subject))) == []


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("Dear customer, something else altogether is written down here", "text_drifts"),
        ("Thank you, order 1042 over 12,50 left our house this morning", "text_numbers_differ"),
    ],
)
def test_text_that_went_apart(text: str, rule: str, tmp_path: Path) -> None:
    """The text template was not changed with the HTML."""
    html = HEAD + "<p>Thank you, order 1042 over 11,50 left our house this morning</p>"
    html += "</body></html>"
    ids = _ids(_lint(tmp_path, html, greeting__txt=text))
    assert rule in ids
    assert ids <= {"text_drifts", "text_numbers_differ"}


def test_link_that_the_text_lacks(tmp_path: Path) -> None:
    """Who reads the text cannot follow it."""
    html = HEAD + '<a href="https://shop.example/o">order</a>' + TAIL
    text = "Thank you for your order, it left our house today."
    assert _ids(_lint(tmp_path, html, greeting__txt=text)) == {"text_links_differ"}


def test_missing_text_part() -> None:
    """A Message may be made without one."""
    ids = {one.id for one in lint_message(note(text=None, html=HEAD + TAIL))}
    assert ids == {"text_missing"}


def test_same_text_in_other_words_of_space_passes(tmp_path: Path) -> None:
    """Line ends and narrow spaces do not make a number another one."""
    html = HEAD + "<p>Order 1 042, total 11,50 €</p>" + TAIL
    text = (
        "Order\u00a01\u202f042: total\n11,50 €\nThank you for your order, it left our house today."
    )
    assert _ids(_lint(tmp_path, html.replace("1 042", "1\u00a0042"), greeting__txt=text)) == set()


def test_gmail_clips_by_bytes_and_the_parts_are_told(tmp_path: Path) -> None:
    """Just at the limit it is near, one byte more is an error."""
    page = HEAD + "<p>é{}</p>" + TAIL
    free = GMAIL_CLIP_BYTES - len(page.format("").encode())
    near = _lint(tmp_path, page.format("y" * free))
    assert _ids(near) == {"gmail_clip_near"}
    over = _lint(tmp_path, page.format("y" * (free + 1)))
    assert _ids(over) == {"gmail_clips"}
    assert "text 104" in over.findings[0].why
    assert over.weights["default"]["html"] == GMAIL_CLIP_BYTES + 1


def test_sizes_of_the_parts_add_up(tmp_path: Path) -> None:
    """What is text, tags, styles, sheets and comments is told apart."""
    html = HEAD.replace("</head>", "<style>p{color:#123456}</style><!--é--></head>") + TAIL
    sizes = _lint(tmp_path, html).weights["default"]
    parts = [size for name, size in sizes.items() if name.startswith("html_")]
    assert sum(parts) == sizes["html"]
    assert sizes["html_style_sheets"] == len("p{color:#123456}")
    assert sizes["html_style_attributes"] == len("display:none") + len("color:#123456")


def test_mail_that_a_provider_refuses() -> None:
    """Encoded bytes count: base64 makes four of three."""
    file = Attachment(filename="a.bin", content=bytes(8_000_000))
    found = list(lint_message(note(attachments=[file])))
    assert [one.id for one in found] == ["provider_size"]
    assert "Postmark" in found[0].why


def test_mailable_without_previews(tmp_path: Path) -> None:
    """Its source is checked all the same."""
    ids = _ids(_lint(tmp_path, HEAD + "{{ name|safe }}" + TAIL, kind=Greeting))
    assert ids == {"previews_missing", "safe_filter"}


def test_previews_that_raise_are_told_without_their_text(tmp_path: Path) -> None:
    """The text might hold what a mail says."""

    class Broken(Noted):
        @classmethod
        def previews(cls) -> Mapping[str, Mailable]:
            raise KeyError("canary")

    report = _lint(tmp_path, HEAD + TAIL, kind=Broken)
    assert _ids(report) == {"render_failed"}
    assert "canary" not in json.dumps(report.to_dict())


def test_template_that_does_not_compile(tmp_path: Path) -> None:
    """Told once for the source and once for the preview, as errors."""
    report = _lint(tmp_path, HEAD + "{% if %}" + TAIL)
    assert _ids(report) == {"render_failed"}
    assert report.has_errors


def test_file_without_a_mailable(tmp_path: Path) -> None:
    """The source alone is read."""
    write_templates(tmp_path, part__html="<p title={{ x }}>x</p>")
    report = lint_file(Renderer([tmp_path]), "part.html.jinja")
    assert [(one.id, one.severity) for one in report.findings] == [
        ("value_unquoted", Severity.ERROR)
    ]


@pytest.mark.parametrize(
    "fine",
    [
        '<a href="https://www.shop.example/x">shop.example</a>',
        '<a href="mailto:help@shop.example">help@shop.example</a>',
        '<a name="top"></a>',
        '<p id="end">x</p><a href="#end">x</a>',
        '<img src="https://shop.example/x.png" alt="" width="1" height="1">',
        '<table role="presentation"><tr><td>x</td></tr></table>',
        '<table><tr><th scope="row">x</th><td>y</td></tr></table>',
        '<p style="color:#777777;font-size:24px">large</p>',
        '<div style="background:#000000"><p style="color:#ffffff">x</p></div>',
        '<div style="background-image:none;float:none;box-shadow:none">x</div>',
        '<a href="{{ url|safe_url }}">x</a>',
        '<a href="https://shop.example/{{ name }}">x</a>',
        "<!--[if mso]><img src=x><form></form><![endif]-->",
        '<p style="color:var">x</p>',
    ],
)
def test_what_is_right_is_left_alone(fine: str, tmp_path: Path) -> None:
    """A false alarm teaches people to ignore the true ones."""
    assert _lint(tmp_path, HEAD + fine + TAIL).findings == ()


@pytest.mark.parametrize(
    ("style", "feature"),
    [("width:calc(100% - 1px)", "calc()"), ("color:var(--x)", "a CSS variable"),
     ("position:absolute", "position"), ("background-image:url(cid:x)", "background-image")],
)  # fmt: skip
def test_css_that_readers_ignore_in_elements_and_sheets(
    style: str, feature: str, tmp_path: Path
) -> None:
    """The clients are named, and the source of the claim."""
    for html in (
        f'{HEAD}<p style="{style}">x</p>{TAIL}',
        HEAD.replace("</head>", f"<style>@media screen{{.x{{{style}}}}}</style></head>") + TAIL,
    ):
        found = [one for one in _lint(tmp_path, html).findings if one.id == "css_unsupported"]
        assert len(found) == 1
        assert feature in found[0].why
        assert "Outlook" in found[0].why
        assert "https://www.caniemail.com/features/" in found[0].fix


@pytest.mark.parametrize(
    ("sheet", "is_dropped"),
    [
        ("@media screen{.a{color:red}}@media print{.b{color:red}}", False),
        ("@media screen{.a{color:red}@font-face{font-family:x}}", True),
        ("@media screen{/* @x{} */.a{color:red}}", False),
        (".a{color:red}" + " " * (16 * 1024 - 13), False),
        (".a{color:red}" + " " * (16 * 1024 - 12), True),
    ],
)
def test_sheet_that_gmail_leaves_out(sheet: str, is_dropped: bool, tmp_path: Path) -> None:  # noqa: FBT001 - a column
    """One fault in it and all of it is gone."""
    html = HEAD.replace("</head>", f"<style>{sheet}</style></head>") + TAIL
    assert ("gmail_drops_styles" in _ids(_lint(tmp_path, html))) is is_dropped


def test_client_table_names_each_source_once() -> None:
    """Every row has clients, an alternative and a page."""
    for row in CLIENTS:
        assert row.clients
        assert row.instead.endswith(".")
        assert row.source.startswith("https://")
    assert len({row.page for row in CLIENTS}) == len(CLIENTS)
