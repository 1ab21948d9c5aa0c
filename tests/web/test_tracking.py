"""The tracking endpoints, as plain functions and over ASGI."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from starlette.testclient import TestClient

from mailglass.compliance.tracking import Machine, Seen, TrackingLinks, target_sha256
from mailglass.events import EventType
from mailglass.tokens import Keyring, Purpose, TokenKey
from mailglass.web import tracking
from mailglass.web.answers import PRIVATE_HEADERS
from mailglass.web.asgi import tracking_app
from mailglass.web.tracking import PIXEL, SEEN_AGAIN_MAX, WINDOW, TrackingPages

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DELIVERY = UUID("019c0000-0000-7000-8000-0000000000aa")
KEYS = Keyring([TokenKey(secret=b"s" * 32)])
LINKS = TrackingLinks(url="https://t.shop.example", keys=KEYS)
TARGET = "https://shop.example/reset?token=canary"
OPEN = LINKS.pixel_url(DELIVERY, now=NOW).rpartition("/")[2].removesuffix(".gif")
CLICK = str(LINKS.click_url(DELIVERY, TARGET, now=NOW)).rpartition("/")[2]
PERSON = {"user-agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Gecko/20100101 Firefox/140.0"}
BAD_TOKENS = [
    "x", OPEN[:-1], CLICK[:-1], "A" * 9000,
    KEYS.sign(Purpose.UNSUBSCRIBE, DELIVERY.bytes, now=NOW),
    KEYS.sign(Purpose.CLICK, DELIVERY.bytes + b"javascript:alert(1)", now=NOW),
    KEYS.sign(Purpose.CLICK, DELIVERY.bytes + b"https://a.example/\r\nSet-Cookie: a", now=NOW),
    Keyring([TokenKey(secret=b"x" * 32)]).sign(Purpose.OPEN, DELIVERY.bytes, now=NOW),
]  # fmt: skip


def _pages(record: Callable[[Seen], None], now: datetime = NOW) -> TrackingPages:
    return TrackingPages(links=LINKS, record=record, clock=lambda: now)


def _away(_seen: Seen) -> None:
    raise ConnectionError("canary: the database is away")


def test_an_open_is_recorded_after_the_answer() -> None:
    """Nobody waits for a write that only counts."""
    seen: list[Seen] = []
    answer = _pages(seen.append).pixel(OPEN, headers=PERSON)
    assert (answer.status, answer.body, seen) == (200, PIXEL, [])
    assert answer.after is not None
    answer.after()
    assert seen == [
        Seen(delivery_id=DELIVERY, type=EventType.OPENED, occurred_at=NOW, machine=None)
    ]  # fmt: skip


def test_a_click_leads_to_its_target() -> None:
    """And what is recorded holds the hash of the link alone (row 64)."""
    seen: list[Seen] = []
    answer = _pages(seen.append).click(CLICK, headers=PERSON)
    assert (answer.status, dict(answer.headers)["Location"]) == (302, TARGET)
    assert answer.after is not None
    answer.after()
    assert seen[0].target_sha256 == target_sha256(TARGET)
    assert "canary" not in repr(seen)


@pytest.mark.parametrize("token", BAD_TOKENS)
def test_a_bad_token_gets_the_pixel_and_nothing_is_written(token: str) -> None:
    """Row 65: the answer tells nobody whether a token exists."""
    pages = _pages(_away)
    bad, good = pages.pixel(token, headers=PERSON), pages.pixel(OPEN, headers=PERSON)
    assert (bad.status, bad.headers, bad.body) == (good.status, good.headers, good.body)
    assert bad.after is None


@pytest.mark.parametrize("token", [*BAD_TOKENS, OPEN])
def test_a_bad_click_is_one_constant_404(token: str) -> None:
    """Rows 62, 65: no redirect anywhere, and always the same answer."""
    pages = _pages(_away)
    answer = pages.click(token, headers=PERSON)
    assert answer == pages.click("another", headers=PERSON)
    assert (answer.status, answer.body, answer.after) == (404, b"", None)
    assert "Location" not in dict(answer.headers)


def test_machines_are_marked() -> None:
    """Want 36: the verdict is kept, the agent is not."""
    seen: list[Seen] = []
    answer = _pages(seen.append).pixel(OPEN, headers={"user-agent": "Mozilla/5.0"})
    assert answer.after is not None
    answer.after()
    assert seen[0].machine is Machine.PRIVACY_PROXY
    assert "Mozilla" not in repr(seen)


@pytest.mark.parametrize("endpoint", ["pixel", "click"])
def test_a_failing_write_never_reaches_the_reader(
    endpoint: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is reported by its kind, without its text and without the token."""
    caplog.set_level(logging.DEBUG)
    token = {"pixel": OPEN, "click": CLICK}[endpoint]
    answer = getattr(_pages(_away), endpoint)(token, headers=PERSON)
    answer.after()
    assert "tracking.write_failed" in caplog.text
    assert "error_type=ConnectionError" in caplog.text
    assert "canary" not in caplog.text
    assert token not in caplog.text


@pytest.mark.parametrize("endpoint", ["pixel", "click"])
def test_a_head_request_is_not_recorded(endpoint: str) -> None:
    """Scanners look at headers; people do not."""
    token = {"pixel": OPEN, "click": CLICK}[endpoint]
    assert getattr(_pages(_away), endpoint)(token, headers=PERSON, is_head=True).after is None


def test_a_pixel_replayed_does_not_fill_the_ledger() -> None:
    """Row 66: a million loads are twenty rows an hour."""
    pages = _pages(_away)
    written = sum(pages.pixel(OPEN, headers=PERSON).after is not None for _ in range(10_000))
    assert written == SEEN_AGAIN_MAX


def test_the_next_hour_counts_anew() -> None:
    """Somebody who opens the mail every day is seen every day."""
    now = NOW
    pages = TrackingPages(links=LINKS, record=_away, clock=lambda: now)
    for _ in range(SEEN_AGAIN_MAX + 1):
        answer = pages.pixel(OPEN, headers=PERSON)
    assert answer.after is None
    now = NOW + WINDOW - timedelta(seconds=1)
    assert pages.pixel(OPEN, headers=PERSON).after is None
    now = NOW + WINDOW
    assert pages.pixel(OPEN, headers=PERSON).after is not None


def test_what_is_counted_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 66: many tokens cost no more memory than a few."""
    monkeypatch.setattr(tracking, "TOKENS_KEPT_MAX", 10)
    pages = _pages(_away)
    for _ in range(100):
        token = LINKS.pixel_url(uuid4(), now=NOW).rpartition("/")[2].removesuffix(".gif")
        assert pages.pixel(token, headers=PERSON).after is not None
    assert len(pages._turnstile._uses) == 10


def test_the_pixel_is_a_transparent_gif() -> None:
    """One by one, with the transparency flag set."""
    assert PIXEL[:6] == b"GIF89a"
    assert struct.unpack("<HH", PIXEL[6:10]) == (1, 1)
    assert PIXEL[19:23] == b"\x21\xf9\x04\x01"
    assert len(PIXEL) == 43


@pytest.mark.parametrize("path", [f"/o/{OPEN}.gif", "/o/x.gif", f"/c/{CLICK}", "/c/x"])
def test_every_answer_is_private(path: str) -> None:
    """Row 69: no cache, no referrer, no search engine, no cookie."""
    client = TestClient(tracking_app(_pages(_away)), follow_redirects=False)
    answer = client.get(path)
    for name, value in PRIVATE_HEADERS:
        assert answer.headers[name] == value
    assert "set-cookie" not in answer.headers


def test_over_the_wire() -> None:
    """Pixel, click, parameters that change nothing, and methods that are not there."""
    seen: list[Seen] = []
    client = TestClient(tracking_app(_pages(seen.append)), follow_redirects=False)
    assert client.get(f"/o/{OPEN}.gif", headers=PERSON).content == PIXEL
    answer = client.get(
        f"/c/{CLICK}?u=https://evil.example", headers=PERSON | {"host": "evil.example"}
    )
    assert answer.headers["location"] == TARGET
    assert client.head(f"/c/{CLICK}", headers=PERSON).headers["location"] == TARGET
    assert client.get("/c/nonsense").status_code == 404
    assert client.get(f"/c/{CLICK}/").status_code == 404
    assert client.post(f"/c/{CLICK}").status_code == 405
    assert [one.type for one in seen] == [EventType.OPENED, EventType.CLICKED]


def test_a_redirect_survives_a_database_that_is_away() -> None:
    """The reader arrives."""
    client = TestClient(tracking_app(_pages(_away)), follow_redirects=False)
    assert client.get(f"/c/{CLICK}", headers=PERSON).headers["location"] == TARGET
    assert client.get(f"/o/{OPEN}.gif", headers=PERSON).status_code == 200
