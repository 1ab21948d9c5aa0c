"""Unsubscribing by mail: from the header of a sent mail to the refusal of the next one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import UUID

import psycopg
import pytest

from front_desk import HERE, count
from mailglass import ConfigError, Mailglass, Message, Stream, SuppressedError
from mailglass.adapters.fake import FakeAdapter
from mailglass.compliance.unsubscribe import PLACEHOLDER, UnsubscribeLinks
from mailglass.errors import SuppressedErrorType
from mailglass.inbound.mailbox import Mailbox
from mailglass.inbound.message import InboundMessage
from mailglass.inbound.unsubscribe import take_unsubscribes
from mailglass.tokens import Keyring, Purpose, TokenKey
from mailglass.webhooks.endpoint import Endpoint
from webhook_requests import hooked, postmark, request

MAILTO = "leave@shop.example"
_SECRET = "a-secret-of-at-least-32-characters!"
_SETTINGS: dict[str, Any] = {
    "unsubscribe_url": "https://mail.shop.example/leave",
    "unsubscribe_mailto": MAILTO,
    "token_secrets": [_SECRET],
    "physical_address": HERE,
}
_KEYS = Keyring([TokenKey(secret=_SECRET.encode())])
LINKS = UnsubscribeLinks(url=_SETTINGS["unsubscribe_url"], keys=_KEYS, mailto=MAILTO)
DELIVERY = UUID("019c0000-0000-7000-8000-0000000000aa")
NOW = datetime.now(UTC)
TOKEN = LINKS.url_of(DELIVERY, now=NOW).rpartition("/")[2]


def _news() -> Message:
    return Message(
        sender="news@shop.example",
        to="zoe@mail.example",
        subject="News",
        text=f"News. {HERE} {PLACEHOLDER}",
        mailable="shop.News",
        stream=Stream.BULK,
    )


def _asked(header: str) -> dict[str, Any]:
    """Return the mail that a mail program makes of the header, as Postmark hands it over."""
    link = next(one for one in header.split(", ") if one.startswith("<mailto:")).strip("<>")
    parts = urlsplit(link)
    return _mail(unquote(parts.path), parse_qs(parts.query)["subject"][0])


def _last_asked(fake: FakeAdapter) -> dict[str, Any]:
    assert fake.last is not None
    return _asked(dict(fake.last.message.headers)["List-Unsubscribe"])


def _mail(to: str, subject: str, sender: str = "zoe@mail.example", **more: str) -> dict[str, Any]:
    return {
        "FromFull": {"Email": sender},
        "ToFull": [{"Email": to}],
        "OriginalRecipient": to,
        "Subject": subject,
        **more,
    }


def _leaving(database_url: str, fake: FakeAdapter) -> Any:
    mailbox = Mailbox()
    endpoint = Endpoint(name="in", adapter=postmark(), tenant_id="default", mailbox=mailbox)
    return mailbox, hooked(database_url, adapter=fake, endpoints=[endpoint], **_SETTINGS)


def _outcomes(database_url: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database_url) as connection:
        return connection.execute(
            "select route, outcome, reason from mailglass.inbound_messages order by handled_at"
        ).fetchall()


def _route(mail: Mailglass, mailbox: Mailbox) -> None:
    take_unsubscribes(mailbox, links=mail.finishing.unsubscribe, unsubscribe=mail.unsubscribe)


def test_a_mail_to_the_header_address_ends_the_stream(database_url: str) -> None:
    """Sent, asked for by mail, refused from then on; asking twice changes nothing."""
    fake = FakeAdapter()
    mailbox, desk = _leaving(database_url, fake)
    with desk as mail:
        _route(mail, mailbox)
        sent = mail.deliver(_news())
        asked = _last_asked(fake)
        for body in (asked, asked | {"MessageID": "another"}):
            assert mail.ingest("postmark/in", request(body)).status == 200
        with pytest.raises(SuppressedError) as caught:
            mail.deliver(_news())
        words = [one.type.value for one in mail.events(sent.id)]
    assert caught.value.type is SuppressedErrorType.ADDRESS_STREAM
    assert words.count("unsubscribed") == 1
    assert _outcomes(database_url) == [("unsubscribe", "accepted", "unsubscribed")] * 2


def test_neither_sender_nor_body_is_believed(database_url: str) -> None:
    """Whoever writes in somebody's name, with a token in the text, takes nobody off."""
    fake = FakeAdapter()
    mailbox, desk = _leaving(database_url, fake)
    with desk as mail:
        _route(mail, mailbox)
        mail.deliver(_news())
        token = _last_asked(fake)["Subject"]
        forged = _mail(MAILTO, "unsubscribe", TextBody=token, ReplyTo=token)
        assert mail.ingest("postmark/in", request(forged)).status == 200
        mail.deliver(_news())
    assert count(database_url, "suppressions") == 0
    assert _outcomes(database_url) == [("unsubscribe", "rejected", "no_token")]


def test_a_token_of_no_delivery_changes_nothing(database_url: str) -> None:
    """As of a mail whose rows are gone."""
    mailbox, desk = _leaving(database_url, FakeAdapter())
    with desk as mail:
        _route(mail, mailbox)
        mail.ingest("postmark/in", request(_mail(MAILTO, TOKEN)))
    assert count(database_url, "suppressions") == 0
    assert _outcomes(database_url) == [("unsubscribe", "ignored", "unknown_delivery")]


def _handled(subject: str, *, now: datetime = NOW) -> tuple[list[UUID], str | None]:
    left: list[UUID] = []
    mailbox = Mailbox()
    take_unsubscribes(mailbox, links=LINKS, unsubscribe=left.append, clock=lambda: now)
    headers = (("To", MAILTO), ("Subject", subject))
    found = mailbox.handle(InboundMessage(provider="postal", headers=headers))
    return left, found.reason


_OTHER = Keyring([TokenKey(secret=b"x" * 32)])
BAD = {
    "empty": ("", "no_token"),
    "words": ("please take me off", "no_token"),
    "forged": (_OTHER.sign(Purpose.UNSUBSCRIBE, DELIVERY.bytes, now=NOW), "bad_signature"),
    "changed": (TOKEN[:30] + ("A" if TOKEN[30] != "A" else "B") + TOKEN[31:], "bad_signature"),
    "of_a_click": (_KEYS.sign(Purpose.CLICK, DELIVERY.bytes, now=NOW), "bad_signature"),
    "cut": (TOKEN[:40], None),
    "folded_in_two": (f"{TOKEN[:20]} {TOKEN[20:]}", None),
    "late_in_the_subject": ("a " * 20 + TOKEN, "no_token"),
    "expired": (
        LINKS.url_of(DELIVERY, now=NOW - timedelta(days=731)).rpartition("/")[2],
        "timestamp_skew",
    ),
}


@pytest.mark.parametrize(("subject", "reason"), BAD.values(), ids=BAD)
def test_a_bad_token_changes_nothing(subject: str, reason: str | None) -> None:
    """And the outcome says what was wrong with it."""
    left, told = _handled(subject)
    assert left == []
    assert reason is None or told == reason


@pytest.mark.parametrize(
    "subject",
    [TOKEN, f"  {TOKEN}  ", f"[EXTERNAL] {TOKEN}", f"Re: {TOKEN}"],
    ids=["alone", "spaced", "marked", "replied"],  # a token is another one in each process
)
def test_a_token_is_found_behind_the_marks_of_mail_servers(subject: str) -> None:
    """A gateway that writes into subjects keeps nobody on a list."""
    assert _handled(subject) == ([DELIVERY], "unsubscribed")


def test_a_route_without_an_address_is_a_mistake() -> None:
    """No header names a mailbox, so no such mail will come."""
    links = UnsubscribeLinks(url="https://mail.shop.example/leave", keys=_KEYS)
    for one in (None, links):
        with pytest.raises(ConfigError, match="by mail"):
            take_unsubscribes(Mailbox(), links=one, unsubscribe=lambda _: None)


def test_other_mail_is_left_to_other_routes() -> None:
    """The route takes what is sent to its own address alone."""
    mailbox = Mailbox()
    take_unsubscribes(mailbox, links=LINKS, unsubscribe=lambda _: None)
    headers = (("To", "help@shop.example"), ("Subject", TOKEN))
    assert mailbox.handle(InboundMessage(provider="postal", headers=headers)).route is None
