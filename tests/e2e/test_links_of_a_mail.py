"""The links of a bulk mail that was sent, used from outside, down to the ledger and the next mail."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from front_desk import Greeting, front_desk, note, write_templates
from mailglass import EventType, Mailglass, Stream, SuppressedError, Tracking, tenant
from mailglass.adapters.fake import FakeAdapter, SentMail
from mailglass.errors import SuppressedErrorType
from mailglass.ids import new_id
from mailglass.web.asgi import tracking_app, unsubscribe_app
from mailglass.web.page import Theme
from mailglass.web.tracking import TrackingPages
from mailglass.web.unsubscribe import UnsubscribePage

TARGET = "https://shop.example/offer"
POST = "Shop, 1 Main Street, Springfield"
BROWSER = {"user-agent": "Mozilla/5.0 (X11; Linux) Firefox/140.0"}


@pytest.fixture
def fake() -> FakeAdapter:
    """Return an adapter that keeps what it gets."""
    return FakeAdapter()


@pytest.fixture
def mail(database_url: str, fake: FakeAdapter, tmp_path: Path) -> Iterator[Mailglass]:
    """Return a desk that may send bulk mail, of a tenant that no page knows of."""
    body = f'<body><a href="{TARGET}">Look</a> <a href="{{{{ unsubscribe_url }}}}">Leave</a>{POST}</body>'
    with front_desk(
        database_url,
        fake,
        templates=[write_templates(tmp_path, greeting__html=body)],
        physical_address=POST,
        token_secrets=["a-secret-of-at-least-32-characters!"],
        unsubscribe_url="https://mail.shop.example/leave",
        tracking_url="https://t.shop.example",
        default_tenant=None,
    ) as desk:
        yield desk


class Offer(Greeting):
    """Bulk mail to the same customer, tracked."""

    stream = Stream.BULK
    tracking = Tracking(opens=True, clicks=True)


def _offer(mail: Mailglass, fake: FakeAdapter) -> SentMail:
    with tenant("acme"):
        mail.deliver(Offer())
    return _last(fake)


def _last(fake: FakeAdapter) -> SentMail:
    assert fake.last is not None
    return fake.last


def test_a_client_without_cookies_leaves_bulk_mail_and_still_gets_its_receipts(
    mail: Mailglass, fake: FakeAdapter
) -> None:
    """RFC 8058: a POST of what stands in the header, and nothing else."""
    headers = dict(_offer(mail, fake).message.headers)
    links = mail.finishing.unsubscribe
    assert links is not None
    page = UnsubscribePage(links=links, unsubscribe=mail.unsubscribe, theme=Theme(name="Shop"))
    client = TestClient(unsubscribe_app(page), base_url="https://mail.shop.example")
    field, _, value = headers["List-Unsubscribe-Post"].partition("=")
    url = re.search(r"<(https://[^>]+)>", headers["List-Unsubscribe"])
    assert url is not None
    for _ in range(2):
        answer = client.post(url[1], data={field: value}, follow_redirects=False)
        assert (answer.status_code, answer.content) == (200, b"")
    with pytest.raises(SuppressedError) as caught:
        _offer(mail, fake)
    assert caught.value.type is SuppressedErrorType.ADDRESS_STREAM
    with tenant("acme"):
        mail.deliver(note(subject="Your receipt"))
    assert _last(fake).message.subject == "Your receipt"


def test_clicks_and_opens_reach_the_ledger_of_whosever_mail_it_is(
    mail: Mailglass, fake: FakeAdapter
) -> None:
    """By the signed link alone; the ledger keeps a hash of the target."""
    sent, links = _offer(mail, fake), mail.finishing.tracking
    assert links is not None
    pages = TrackingPages(links=links, record=mail.see)
    client = TestClient(
        tracking_app(pages),
        base_url="https://t.shop.example",
        follow_redirects=False,
        headers=BROWSER,
    )
    found = re.findall(r'"(https://t\.shop\.example/[^"]+)"', sent.message.html or "")
    assert client.get(found[0]).headers["location"] == TARGET
    assert client.get(found[1]).status_code == 200
    with tenant("acme"):
        history = mail.events(sent.recipients[0].delivery_id)
    assert [one.type for one in history[-2:]] == [EventType.CLICKED, EventType.OPENED]
    assert TARGET not in str(history)


def test_what_was_seen_of_an_unknown_delivery_is_not_recorded(mail: Mailglass) -> None:
    """The link was ours once; its delivery is not here."""
    links = mail.finishing.tracking
    assert links is not None
    known: list[bool] = []
    pages = TrackingPages(links=links, record=lambda seen: known.append(mail.see(seen)))
    client = TestClient(tracking_app(pages), base_url="https://t.shop.example")
    assert client.get(links.pixel_url(new_id(), now=mail._clock())).status_code == 200
    assert known == [False]
