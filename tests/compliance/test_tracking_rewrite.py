"""Rewriting of a finished HTML part."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailglass import Tracking
from mailglass.compliance.tracking import TrackingLinks
from mailglass.compliance.tracking_rewrite import track
from mailglass.tokens import Keyring, TokenKey

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DELIVERY = UUID("019c0000-0000-7000-8000-0000000000aa")
LINKS = TrackingLinks(
    url="https://t.shop.example", keys=Keyring([TokenKey(secret=b"s" * 32)])
)  # fmt: skip
CLICK = re.compile(r"https://t\.shop\.example/c/([A-Za-z0-9_-]+)")
BOTH = Tracking(opens=True, clicks=True)


def _clicks(html: str, links: TrackingLinks = LINKS) -> str:
    """Return the rewritten HTML with each tracked link shown as «target»."""
    done = track(html, delivery_id=DELIVERY, links=links, tracking=Tracking(clicks=True), now=NOW)
    return CLICK.sub(lambda found: f"«{LINKS.clicked_of(found[1], now=NOW)[1]}»", done)


@pytest.mark.parametrize(
    ("html", "wanted"),
    [
        ('<a href="https://a.example/x">y</a>', '<a href="«https://a.example/x»">y</a>'),
        ("<a href='https://a.example/x'>y</a>", '<a href="«https://a.example/x»">y</a>'),
        ("<a href=https://a.example/x>y</a>", '<a href="«https://a.example/x»">y</a>'),
        ('<A HREF = "HTTPS://a.example/x" >y</A>', '<A HREF = "«HTTPS://a.example/x»" >y</A>'),
        ('<a\nhref="https://a.example"\n>y</a>', '<a\nhref="«https://a.example»"\n>y</a>'),
        ('<a href=" https://a.example/\n x">y', '<a href=" https://a.example/\n x">y'),
        ('<a href="\n https://a.example/x ">y', '<a href="«https://a.example/x»">y'),
        ('<a title="a > b" href="https://a.example">', '<a title="a > b" href="«https://a.example»">'),
        ('<a class=x href="https://a.example"/>', '<a class=x href="«https://a.example»"/>'),
        ('<area href="https://a.example">', '<area href="«https://a.example»">'),
        ('<a href="https://a.example/?b=1&amp;c=2">', '<a href="«https://a.example/?b=1&c=2»">'),
        ('<a href="https://a.example/?b&copy=2">', '<a href="«https://a.example/?b&copy=2»">'),
        ('<a href="https://a.example/?b&copy;=2">', '<a href="«https://a.example/?b%C2%A9=2»">'),
        ('<a href="https://a.example/?b&notit;x">', '<a href="«https://a.example/?b&notit;x»">'),
        ('<a href="https://a.example/?b&amp">', '<a href="«https://a.example/?b&»">'),
        ('<a href="&#104;ttps&#x3a;//a.example">', '<a href="«https://a.example»">'),
        ('<a href="https://a.example" href="https://b.example">',
         '<a href="«https://a.example»" href="https://b.example">'),
    ],
)  # fmt: skip
def test_links_are_tracked(html: str, wanted: str) -> None:
    """However the template writes them; every other byte stays."""
    assert _clicks(html) == wanted


@pytest.mark.parametrize(
    "html",
    [
        '<a href="mailto:a@b.example">x</a>',
        '<a href="tel:+491">x</a>',
        '<a href="sms:+491">x</a>',
        '<a href="#part">x</a>',
        '<a href="/relative">x</a>',
        '<a href="//host.example/x">x</a>',
        '<a href="data:text/html,x">x</a>',
        '<a href="javascript:alert(1)">x</a>',
        '<a href="cid:logo">x</a>',
        '<a href="">x</a>',
        "<a href>x</a>",
        "<a href=>x</a>",
        '<a name="x">x</a>',
        '<a data-href="https://a.example">x</a>',
        '<link href="https://a.example/x.css">',
        '<img src="https://a.example/x.png">',
        '<abbr href="https://a.example">x</abbr>',
        '<v:rect href="https://a.example">x</v:rect>',
        '<a href="https://t.shop.example/o/x">x</a>',
        '<!-- <a href="https://a.example">x</a> -->',
        '<!--[if mso]><a href="https://a.example">x</a><![endif]-->',
        '<style>/*<a href="https://a.example">*/</style>',
        '<script>"<a href=https://a.example>"</script>',
        '<title><a href="https://a.example"></title>',
        '<textarea><a href="https://a.example"></textarea>',
        '<!-- <a href="https://a.example">',
        '<!-- > <a href="https://a.example">',
        '<!DOCTYPE html PUBLIC "<a href=https://a.example">',
        '<a href="https://a.example',
        "<a href='https://a.example>x</a>",
        'text < a href="https://a.example">',
        "https://a.example is no link",
    ],
)
def test_what_is_no_tracked_link_stays(html: str) -> None:
    """Rows 62, 63: other schemes, other elements, comments, text, and what is broken."""
    assert _clicks(html) == html


def test_conditional_comments_are_told_apart() -> None:
    """What Outlook alone reads stays; what all others read is tracked."""
    html = '<!--[if !mso]><!--><a href="https://a.example">x</a><!--<![endif]-->'
    assert "«https://a.example»" in _clicks(html)
    html = '<![if !mso]><a href="https://a.example">x</a><![endif]>'
    assert "«https://a.example»" in _clicks(html)


def test_the_scan_goes_on_behind_raw_text() -> None:
    """A style sheet in front does not hide the links."""
    html = '<style>a{}</style><title>x</title><a href="https://a.example">x</a>'
    assert "«https://a.example»" in _clicks(html)


@pytest.mark.parametrize(
    ("html", "wanted"),
    [
        ('<a data-mg-notrack href="https://a.example">', '<a href="https://a.example">'),
        ('<a href="https://a.example" data-mg-notrack>', '<a href="https://a.example">'),
        (
            '<a href="https://a.example" DATA-MG-NOTRACK="yes" class=b>',
            '<a href="https://a.example" class=b>',
        ),
    ],
)
def test_a_marked_link_is_left_alone(html: str, wanted: str) -> None:
    """The author's word; the mark is taken off."""
    assert _clicks(html) == wanted
    assert track(
        html, delivery_id=DELIVERY, links=LINKS, tracking=Tracking(opens=True), now=NOW
    ).startswith(wanted)


def test_unsubscribe_links_are_never_tracked() -> None:
    """Row 61: a rewritten way out is a way out that can fail."""
    html = '<a href="https://mail.shop.example/leave/abc">x</a>'
    links = TrackingLinks(
        url=LINKS.url, keys=LINKS.keys, never=("https://mail.shop.example/leave/",)
    )  # fmt: skip
    assert _clicks(html, links) == html
    assert _clicks(html) != html


@pytest.mark.parametrize(
    ("html", "wanted"),
    [
        ("<body><p>x</p></body></html>", "<body><p>x</p>•</body></html>"),
        ("<body><p>x</p></BODY ></html>", "<body><p>x</p>•</BODY ></html>"),
        ("<p>x</p>", "<p>x</p>•"),
        ("<body>x<!-- </body> --></body>", "<body>x<!-- </body> -->•</body>"),
        ("<body>x<!-- </body> -->", "<body>x<!-- </body> -->•"),
        ("<body></body><body></body>", "<body></body><body>•</body>"),
        ('<body><a href="https://a.example">é</a></body>\n', None),
        ('<body>é</a></body>\n<a href="https://a.example">', None),
    ],
)
def test_the_pixel_stands_last_in_the_body(html: str, wanted: str | None) -> None:
    """Where no layout is disturbed and a cut mail does not count as read."""
    done = track(html, delivery_id=DELIVERY, links=LINKS, tracking=BOTH, now=NOW)
    shown = re.sub(r"<img [^>]*>", "•", done)
    if wanted is None:
        assert "é</a>•</body>\n" in shown
    else:
        assert shown == wanted


def test_the_pixel_says_nothing_to_a_screen_reader() -> None:
    """One pixel with an empty alternative."""
    done = track("x", delivery_id=DELIVERY, links=LINKS, tracking=BOTH, now=NOW)
    found = re.fullmatch(r'x<img src="([^"]+)" width="1" height="1" alt="" style="border:0">', done)
    assert found is not None
    token = found[1].rpartition("/")[2].removesuffix(".gif")
    assert LINKS.opened_of(token, now=NOW) == DELIVERY


def test_without_tracking_nothing_changes() -> None:
    """Off is off."""
    html = '<body><a href="https://a.example">x</a></body>'
    assert track(html, delivery_id=DELIVERY, links=LINKS, tracking=Tracking(), now=NOW) == html


@given(
    pieces=st.lists(
        st.sampled_from(
            [
                '<a href="https://a.example/x">', "</a>", "<p>", "é", '"', "'", "<", ">", "=", "/", " ",
                "<!--", "-->", "<style>", "</style>", "<a ", "href=", "https://b.example", "data-mg-notrack",
                "</body>", "<!", "&copy", "\n", "<a href='https://c.example'>",
            ]
        ),
        max_size=30,
    )
)  # fmt: skip
def test_any_soup_keeps_all_but_its_links(pieces: list[str]) -> None:
    """Put the targets back and it is the same mail; nothing is lost, whatever was broken."""
    html = "".join(pieces).replace("data-mg-notrack", "")
    done = track(html, delivery_id=DELIVERY, links=LINKS, tracking=Tracking(clicks=True), now=NOW)
    back = CLICK.sub(lambda found: LINKS.clicked_of(found[1], now=NOW)[1], done)
    quotes = str.maketrans("", "", "\"'")
    assert back.translate(quotes) == html.translate(quotes)


@pytest.mark.parametrize(
    "piece", ["<", "<a ", "<!--", '<a href="', "<a a=a ", "<style>", "</", "<a href=x ", "<a/"]
)
def test_the_time_is_linear(piece: str) -> None:
    """Row 97: no text takes a scan longer than its length deserves."""

    def spent(count: int) -> float:
        begun = time.perf_counter()
        track(piece * count, delivery_id=DELIVERY, links=LINKS, tracking=BOTH, now=NOW)
        return time.perf_counter() - begun

    assert min(spent(200_000) for _ in range(2)) < 2.0
