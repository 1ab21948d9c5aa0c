"""One bulk mail from its making to its links being used: every part of compliance on the same bytes."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from uuid import UUID

from starlette.testclient import TestClient

from dkim_reference import ED25519, RSA, verified
from mailglass import Message, Stream, Tracking
from mailglass.compliance.dkim import sign
from mailglass.compliance.headers import Stamp, compliance_headers
from mailglass.compliance.tracking import Seen, TrackingLinks
from mailglass.compliance.tracking_rewrite import track
from mailglass.compliance.unsubscribe import UnsubscribeLinks
from mailglass.events import EventType
from mailglass.headers import is_reserved
from mailglass.rendering.mime import build, thaw
from mailglass.tokens import Keyring, TokenKey
from mailglass.web.asgi import tracking_app, unsubscribe_app
from mailglass.web.page import Theme
from mailglass.web.tracking import TrackingPages
from mailglass.web.unsubscribe import UnsubscribePage

NOW = datetime.now(UTC)
DELIVERY = UUID("019c0000-0000-7000-8000-0000000000aa")
KEYS = Keyring([TokenKey(secret=b"s" * 32)])
LEAVE = UnsubscribeLinks(url="https://mail.shop.example/leave", keys=KEYS)
TRACK = TrackingLinks(
    url="https://t.shop.example", keys=KEYS, apart_from=(LEAVE.url,), never=(LEAVE.url,)
)  # fmt: skip
TARGET = "https://shop.example/offer?id=7"


def _mail() -> tuple[bytes, bytes]:
    """Return the mail before and after DKIM, made in the order in which a send makes it."""
    leave = LEAVE.url_of(DELIVERY, now=NOW)
    html = f'<body><a href="{TARGET}">Offer</a> <a href="{leave}">Unsubscribe</a></body>'
    tracking = Tracking(opens=True, clicks=True)
    message = Message(
        sender="Shop <hello@shop.example>", to="zoe@mail.example", subject="Zoë’s offers",
        text=f"Offer: {TARGET}\nUnsubscribe: {leave}\n", stream=Stream.BULK, mailable="shop.Offers",
        html=track(html, delivery_id=DELIVERY, links=TRACK, tracking=tracking, now=NOW),
    )  # fmt: skip
    stamp = Stamp(
        tenant_id="acme", delivery_id=DELIVERY, now=NOW, unsubscribe=LEAVE, feedback_sender="shopmail"
    )  # fmt: skip
    payload = build(
        message, message_id="<1@shop.example>", date=NOW,
        extra_headers=compliance_headers(message, stamp), boundary_seed=b"x",
    )  # fmt: skip
    return payload, sign(payload, [RSA, ED25519], now=NOW)


def test_both_signatures_hold_over_everything() -> None:
    """Row 61: tracking and the unsubscribe pair came before the signature."""
    _, signed = _mail()
    assert verified(signed) == [True, True]


def test_a_mailbox_provider_can_unsubscribe() -> None:
    """What stands in the header works when it is posted to."""
    left: list[UUID] = []
    headers = dict(thaw(_mail()[1]).headers)
    url = headers["List-Unsubscribe"].strip("<>")
    page = UnsubscribePage(links=LEAVE, unsubscribe=left.append, theme=Theme(name="Shop"))
    client = TestClient(unsubscribe_app(page), base_url="https://mail.shop.example")
    field, _, value = headers["List-Unsubscribe-Post"].partition("=")
    answer = client.post(url, data={field: value})
    assert (answer.status_code, answer.content, left) == (200, b"", [DELIVERY])


def test_the_links_of_the_mail_lead_on_and_are_counted() -> None:
    """The offer is tracked, the way out and the text part are not."""
    mail = thaw(_mail()[1])
    links = re.findall(r'(?:href|src)="([^"]+)"', mail.html or "")
    assert [link.startswith(TRACK.url) for link in links] == [True, False, True]
    assert TRACK.url not in (mail.text or "")
    seen: list[Seen] = []
    pages = TrackingPages(links=TRACK, record=seen.append)
    client = TestClient(tracking_app(pages), base_url=TRACK.url, follow_redirects=False)
    assert client.get(links[0]).headers["location"] == TARGET
    assert client.get(links[2]).status_code == 200
    assert [one.type for one in seen] == [EventType.CLICKED, EventType.OPENED]
    assert {one.delivery_id for one in seen} == {DELIVERY}


def test_a_signed_mail_thaws_like_the_unsigned_one() -> None:
    """An adapter with an API gets the same message; the signature is a reserved header."""
    plain, signed = (thaw(one) for one in _mail())
    added = [name for name, _ in signed.headers if name not in dict(plain.headers)]
    assert added == ["DKIM-Signature", "DKIM-Signature"]
    assert all(is_reserved(name) for name in added)
    assert (signed.html, signed.text, signed.subject) == (plain.html, plain.text, plain.subject)
