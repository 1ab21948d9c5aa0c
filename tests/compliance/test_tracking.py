"""Tracking tokens, targets and machines."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailglass import ConfigError, SignatureError
from mailglass.compliance.tracking import (
    MAX_AGE,
    Machine,
    TrackingLinks,
    is_target,
    machine_of,
    target_sha256,
)
from mailglass.errors import ConfigErrorType
from mailglass.tokens import Keyring, Purpose, TokenKey

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DELIVERY = UUID("019c0000-0000-7000-8000-0000000000aa")
KEYS = Keyring([TokenKey(secret=b"s" * 32)])
LINKS = TrackingLinks(url="https://t.shop.example", keys=KEYS)


def _token(url: str | None) -> str:
    assert url is not None
    return url.rpartition("/")[2].removesuffix(".gif")


@pytest.mark.parametrize(
    "target",
    [
        "https://shop.example",
        "https://shop.example/",
        "http://shop.example/a?b=c&d=e#f",
        "HTTPS://Shop.Example/A",
        "https://shop.example:8443/x",
        "https://192.0.2.7/x",
        "https://shop.example/?q=%20%C3%A9;x=[1]&u=https://other.example/@me",
        "https://xn--mnchen-3ya.example/",
        "https://localhost/x",
    ],
)
def test_a_click_leads_where_the_link_led(target: str) -> None:
    """The target travels inside the signed token and comes back as it was."""
    token = _token(LINKS.click_url(DELIVERY, target, now=NOW))
    assert LINKS.clicked_of(token, now=NOW) == (DELIVERY, target)


def test_a_path_beyond_ascii_becomes_a_uri() -> None:
    """RFC 3987 §3.1: a Location header holds ASCII alone."""
    token = _token(LINKS.click_url(DELIVERY, "https://shop.example/é?a=日&b=%20", now=NOW))
    assert LINKS.clicked_of(token, now=NOW)[1] == "https://shop.example/%C3%A9?a=%E6%97%A5&b=%20"


BAD_TARGETS = [
    "", " ", "/", "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example",
    "https:evil.example", "https:/evil.example", "https:///evil.example", "https:\\\\evil.example",
    "http:evil", "https://", "https://?", "https://#", "https://:80", "https://@evil.example",
    "https://shop.example@evil.example/", "https://user:pass@shop.example/", "https://shop.example\\@evil/",
    "https://shop.example\\.evil.example", "javascript:alert(1)", "JaVaScRiPt:alert(1)", " javascript:alert(1)",
    "java\nscript:alert(1)", "data:text/html,x", "vbscript:x", "file:///etc/passwd", "ftp://shop.example/",
    "mailto:a@b.example", "tel:+1", "sms:+1", "cid:logo", "about:blank", "blob:https://x.example/1", "#part",
    "?a=b", "x", "shop.example/x", "https://shop.example/\r\nSet-Cookie: a=b", "https://shop.example/\n",
    "\nhttps://shop.example/", "https://shop.example/ x", "https://shop.example/\x00", "https://shop.example/<script>",
    'https://shop.example/"onclick=', "https://shop.example/`", "https://shop.example/{x}", "https://shop.example/|",
    "https://shop.example/^", "https://münchen.example/", "https://shop\u3002example/", "https://shop.example\u2044evil/",
    "https://[::1]/", "https://shop..example/", "https://-shop.example/", "https://shop.example:port/",
    "https://shop.example:/x", "https://%73hop.example/", "https://shop_x.example/", "view-source:https://x.example/",
    "https://shop.example/" + "a" * 2_000, "https://shop.example/\ud800",
]  # fmt: skip


@pytest.mark.parametrize("target", BAD_TARGETS)
def test_no_token_is_made_for_another_target(target: str) -> None:
    """Rows 62, 63: nothing but http and https to a plain host, whatever a template says."""
    assert LINKS.click_url(DELIVERY, target, now=NOW) is None
    assert not is_target(target)


@pytest.mark.parametrize("target", BAD_TARGETS)
def test_a_target_is_checked_again_when_it_is_followed(target: str) -> None:
    """Row 62: what an older version signed is held to the rules of today."""
    payload = DELIVERY.bytes + target.encode(errors="surrogatepass")
    token = KEYS.sign(Purpose.CLICK, payload, now=NOW)
    with pytest.raises(SignatureError):
        LINKS.clicked_of(token, now=NOW)


@given(target=st.text())
def test_no_target_makes_an_error(target: str) -> None:
    """Any text is a target or is none."""
    for text in (target, f"https://{target}", f"https://shop.example/{target}"):
        url = LINKS.click_url(DELIVERY, text, now=NOW)
        assert url is None or is_target(LINKS.clicked_of(_token(url), now=NOW)[1])


def test_a_pixel_names_its_delivery() -> None:
    """And ends like an image."""
    url = LINKS.pixel_url(DELIVERY, now=NOW)
    assert url.startswith("https://t.shop.example/o/")
    assert url.endswith(".gif")
    assert LINKS.opened_of(_token(url), now=NOW) == DELIVERY


def test_tokens_do_not_change_their_purpose() -> None:
    """Row 58: an open is no click, and neither is an unsubscribe."""
    opened = _token(LINKS.pixel_url(DELIVERY, now=NOW))
    clicked = _token(LINKS.click_url(DELIVERY, "https://shop.example/", now=NOW))
    leave = KEYS.sign(Purpose.UNSUBSCRIBE, DELIVERY.bytes, now=NOW)
    for token in (clicked, leave):
        with pytest.raises(SignatureError):
            LINKS.opened_of(token, now=NOW)
    for token in (opened, leave):
        with pytest.raises(SignatureError):
            LINKS.clicked_of(token, now=NOW)


@pytest.mark.parametrize("payload", [b"", b"short", DELIVERY.bytes, DELIVERY.bytes + b"\xff"])
def test_a_token_without_a_target_is_refused(payload: bytes) -> None:
    """Signed by us, and still of no use."""
    with pytest.raises(SignatureError):
        LINKS.clicked_of(KEYS.sign(Purpose.CLICK, payload, now=NOW), now=NOW)


def test_a_pixel_without_a_delivery_is_refused() -> None:
    """Signed by us, and still not an id."""
    with pytest.raises(SignatureError):
        LINKS.opened_of(KEYS.sign(Purpose.OPEN, b"short", now=NOW), now=NOW)


def test_links_end_after_two_years() -> None:
    """As long as unsubscribe links, unless it is said otherwise."""
    url = _token(LINKS.pixel_url(DELIVERY, now=NOW))
    with pytest.raises(SignatureError):
        LINKS.opened_of(url, now=NOW + MAX_AGE + timedelta(seconds=1))


def test_the_tracking_host_is_apart() -> None:
    """What blocks tracking must not block the way out."""
    with pytest.raises(ConfigError) as caught:
        TrackingLinks(
            url="https://mail.shop.example/t", keys=KEYS,
            apart_from=("https://www.shop.example", "https://MAIL.shop.example/leave"),
        )  # fmt: skip
    assert caught.value.type is ConfigErrorType.CONFLICTING


@pytest.mark.parametrize("url", ["http://t.shop.example", "https://localhost", "t.shop.example"])
def test_a_wrong_tracking_url_is_refused(url: str) -> None:
    """Row 67: an absolute HTTPS URL from the settings, never from a request."""
    with pytest.raises(ConfigError) as caught:
        TrackingLinks(url=url, keys=KEYS)
    assert caught.value.key == "tracking_url"


def test_a_link_is_known_by_its_hash() -> None:
    """Row 64: a target may hold a secret of the reader's; its hash does not."""
    shown = target_sha256("https://shop.example/?token=canary")
    assert re.fullmatch("[0-9a-f]{64}", shown)
    assert shown != target_sha256("https://shop.example/?token=canarz")


PERSON = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148"


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ({"user-agent": PERSON}, None),
        (
            {
                "user-agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Gecko/20100101 Firefox/140.0"
            },
            None,
        ),
        (
            {
                "user-agent": "Mozilla/5.0 (Windows NT 5.1; rv:11.0) (via ggpht.com GoogleImageProxy)"
            },
            None,
        ),
        ({"user-agent": "Mozilla/5.0 (X11; CrOS x86_64) CUBOT_X19 Chrome/120"}, None),
        ({}, Machine.NO_AGENT),
        ({"user-agent": "  "}, Machine.NO_AGENT),
        ({"user-agent": "Mozilla/5.0"}, Machine.PRIVACY_PROXY),
        ({"user-agent": "Mozilla/5.0 (compatible; bingbot/2.0)"}, Machine.SCANNER),
        ({"user-agent": "Slackbot-LinkExpanding 1.0"}, Machine.SCANNER),
        ({"user-agent": "BarracudaCentral"}, Machine.SCANNER),
        ({"user-agent": "python-requests/2.32"}, Machine.SCANNER),
        ({"user-agent": "curl/8.5.0"}, Machine.SCANNER),
        ({"user-agent": "Mozilla/5.0 HeadlessChrome/120.0"}, Machine.SCANNER),
        ({"user-agent": PERSON, "sec-purpose": "prefetch;prerender"}, Machine.PREFETCH),
        ({"user-agent": PERSON, "purpose": "prefetch"}, Machine.PREFETCH),
        ({"user-agent": PERSON, "x-purpose": "preview"}, Machine.PREFETCH),
        ({"user-agent": PERSON, "x-moz": "prefetch"}, Machine.PREFETCH),
    ],
)
def test_machines_are_told_from_people(headers: dict[str, str], wanted: Machine | None) -> None:
    """Want 36: scanners, prefetching and Apple's proxy are marked."""
    assert machine_of(headers) is wanted
