"""Unsubscribe links and headers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from mailglass import ConfigError, Message, SignatureError, Stream
from mailglass.compliance.links import URL_CHARS_MAX
from mailglass.compliance.unsubscribe import (
    MAX_AGE,
    UnsubscribeLinks,
    may_be_left,
    unsubscribe_headers,
)
from mailglass.tokens import Keyring, Purpose, TokenKey

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DELIVERY = UUID("019c0000-0000-7000-8000-0000000000aa")
KEYS = Keyring([TokenKey(secret=b"s" * 32)])
LINKS = UnsubscribeLinks(url="https://mail.shop.example/leave", keys=KEYS)


def _message(**changes: object) -> Message:
    parts: dict[str, object] = {
        "sender": "a@shop.example", "to": "b@mail.example", "subject": "x", "text": "x",
    }  # fmt: skip
    return Message(**(parts | changes))  # type: ignore[arg-type]  # the parts of a message


def test_a_link_names_its_delivery_and_nothing_else() -> None:
    """Row 58: 55 characters in which neither an address nor a tenant has room."""
    url = LINKS.url_of(DELIVERY, now=NOW)
    base, _, token = url.rpartition("/")
    assert base == "https://mail.shop.example/leave"
    assert len(token) == 55
    assert LINKS.delivery_of(token, now=NOW) == DELIVERY


def test_a_link_works_for_two_years() -> None:
    """Row 68: old mails keep their way out."""
    token = LINKS.url_of(DELIVERY, now=NOW).rpartition("/")[2]
    assert LINKS.delivery_of(token, now=NOW + MAX_AGE) == DELIVERY
    with pytest.raises(SignatureError):
        LINKS.delivery_of(token, now=NOW + MAX_AGE + timedelta(seconds=1))


@pytest.mark.parametrize("purpose", [Purpose.CLICK, Purpose.OPEN])
def test_another_token_is_no_unsubscribe(purpose: Purpose) -> None:
    """Row 58: following a tracked link never unsubscribes, whatever its token is used for."""
    with pytest.raises(SignatureError):
        LINKS.delivery_of(KEYS.sign(purpose, DELIVERY.bytes, now=NOW), now=NOW)


def test_a_token_without_a_delivery_is_refused() -> None:
    """Signed by us, and still not an id."""
    with pytest.raises(SignatureError):
        LINKS.delivery_of(KEYS.sign(Purpose.UNSUBSCRIBE, b"short", now=NOW), now=NOW)


def test_the_pair_is_complete() -> None:
    """RFC 2369 §3.2 and RFC 8058 §3.1."""
    first, second = unsubscribe_headers(DELIVERY, links=LINKS, now=NOW)
    assert first == ("List-Unsubscribe", f"<{LINKS.url_of(DELIVERY, now=NOW)}>")
    assert second == ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")


def test_a_mailbox_comes_after_the_page() -> None:
    """RFC 2369 §2: the first link is the preferred one, and RFC 8058 needs it to be HTTPS."""
    links = UnsubscribeLinks(url=LINKS.url, keys=KEYS, mailto="leave@shop.example")
    token = links.url_of(DELIVERY, now=NOW).rpartition("/")[2]
    first, _ = unsubscribe_headers(DELIVERY, links=links, now=NOW)
    assert first[1] == f"<{LINKS.url}/{token}>, <mailto:leave@shop.example?subject={token}>"


@pytest.mark.parametrize("present", ["List-Unsubscribe", "list-unsubscribe-post"])
def test_one_of_the_pair_by_hand_means_none_of_ours(present: str) -> None:
    """Half of one pair and half of another would point two ways."""
    assert unsubscribe_headers(DELIVERY, links=LINKS, now=NOW, present=["X-A", present]) == ()


@pytest.mark.parametrize("opted_in", [False, True])
@pytest.mark.parametrize("stream", Stream)
def test_who_may_leave(stream: Stream, opted_in: bool) -> None:  # noqa: FBT001 - a case
    """Row 57: transactional never, operational when it opted in, bulk always."""
    wanted = {Stream.TRANSACTIONAL: False, Stream.OPERATIONAL: opted_in, Stream.BULK: True}
    assert may_be_left(_message(stream=stream), opted_in=opted_in) is wanted[stream]


def test_nobody_leaves_auth_mail() -> None:
    """Rows 57, 64: a password reset cannot be unsubscribed from, whatever its stream says."""
    message = _message(stream=Stream.OPERATIONAL, authenticates=True)
    assert not may_be_left(message, opted_in=True)


def test_one_recipient_cannot_take_out_another() -> None:
    """Row 60: a mail that several people see carries no link."""
    message = _message(stream=Stream.BULK, cc="c@mail.example")
    assert not may_be_left(message, opted_in=True)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mail.shop.example/u",
        "http://mail.shop.example/u",
        "javascript:alert(1)",
        "https://",
        "https:///u",
        "https://localhost/u",
        "https://shop/u",
        "https://mail.localhost/u",
        "https://printer.local/u",
        "https://127.0.0.1/u",
        "https://10.1.2.3/u",
        "https://2130706433/u",
        "https://[::1]/u",
        "https://[::ffff:10.0.0.1]/u",
        "https://user@mail.shop.example/u",
        "https://user:pass@mail.shop.example/u",
        "https://mail.shop.example/u?a=b",
        "https://mail.shop.example/u#a",
        "https://mail.shop.example/u v",
        "https://mail.shop.example/u\r\nBcc: x",
        "https://mail.shop.example/u\\v",
        "https://mail.shop.example/../u",
        "https://mail.shop.example//u",
        "https://mail.shop.example/%2e",
        "https://mail.shop.example:port/u",
        "https://mail.shop.example:99999/u",
        "https://[bad/u",
        "https://mail..example/u",
        "https://münchen.example/u",
        "https://mail.shop.example/" + "u" * URL_CHARS_MAX,
    ],
)
def test_a_url_that_does_not_work_for_everybody_is_refused(url: str) -> None:
    """Rows 61, 67: HTTPS on a public host, from the settings alone, and short enough for a header."""
    with pytest.raises(ConfigError) as caught:
        UnsubscribeLinks(url=url, keys=KEYS)
    assert caught.value.key == "unsubscribe_url"


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://Mail.Shop.example/", "https://mail.shop.example"),
        ("HTTPS://mail.shop.example/a/b-c/", "https://mail.shop.example/a/b-c"),
        ("https://mail.shop.example:8443/u", "https://mail.shop.example:8443/u"),
    ],
)
def test_a_url_is_kept_in_one_form(url: str, kept: str) -> None:
    """A slash at the end and capitals make no difference."""
    assert UnsubscribeLinks(url=url, keys=KEYS).url == kept


@pytest.mark.parametrize(
    "mailto", ["", "x", "a b@shop.example", "N <a@b.example>", "a?b@c.example"]
)
def test_a_wrong_mailbox_is_refused(mailto: str) -> None:
    """Nothing that would need escaping in a mailto link."""
    with pytest.raises(ConfigError) as caught:
        UnsubscribeLinks(url=LINKS.url, keys=KEYS, mailto=mailto)
    assert caught.value.key == "unsubscribe_mailto"


def test_links_of_two_deliveries_differ() -> None:
    """Each recipient has a link of their own."""
    assert len({LINKS.url_of(uuid4(), now=NOW) for _ in range(100)}) == 100


def test_no_repr_holds_a_secret() -> None:
    """Row 82."""
    assert "ssss" not in repr(LINKS)
