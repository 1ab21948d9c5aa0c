"""The headers that a mail gets besides its own."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from dkim_reference import ED25519, verified
from mailglass import ConfigError, Message, Stream
from mailglass.compliance.dkim import sign
from mailglass.compliance.headers import Stamp, compliance_headers
from mailglass.compliance.unsubscribe import UnsubscribeLinks
from mailglass.rendering.mime import build, thaw
from mailglass.tokens import Keyring, TokenKey

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
STAMP = Stamp(
    tenant_id="acme",
    delivery_id=UUID(int=7),
    now=NOW,
    feedback_sender="shopmail",
    unsubscribe=UnsubscribeLinks(
        url="https://mail.shop.example/u", keys=Keyring([TokenKey(secret=b"s" * 32)])
    ),
)


def _headers(stamp: Stamp = STAMP, **changes: object) -> dict[str, str]:
    return dict(compliance_headers(_message(**changes), stamp))


def _message(**changes: object) -> Message:
    parts: dict[str, object] = {
        "sender": "a@shop.example", "to": "b@mail.example", "subject": "x", "text": "x",
        "mailable": "shop.mails.Receipt",
    }  # fmt: skip
    return Message(**(parts | changes))  # type: ignore[arg-type]  # the parts of a message


def test_bulk_mail_gets_everything() -> None:
    """The whole set, in the order in which it is written."""
    assert list(_headers(stream=Stream.BULK)) == [
        "Mailglass-Mailable",
        "Feedback-ID",
        "Auto-Submitted",
        "X-Auto-Response-Suppress",
        "Precedence",
        "List-Unsubscribe",
        "List-Unsubscribe-Post",
    ]


@pytest.mark.parametrize("stream", [Stream.TRANSACTIONAL, Stream.OPERATIONAL])
def test_other_mail_has_no_bulk_headers(stream: Stream) -> None:
    """Row 57: a receipt is not a newsletter."""
    assert list(_headers(stream=stream)) == [
        "Mailglass-Mailable",
        "Feedback-ID",
        "Auto-Submitted",
        "X-Auto-Response-Suppress",
    ]


def test_operational_mail_that_opted_in_can_be_left() -> None:
    """The mailable's word."""
    stamp = Stamp(
        tenant_id="acme", delivery_id=UUID(int=7), now=NOW,
        unsubscribe=STAMP.unsubscribe, opted_in=True,
    )  # fmt: skip
    assert "List-Unsubscribe" in _headers(stamp, stream=Stream.OPERATIONAL)


def test_automatic_answers_are_asked_away() -> None:
    """RFC 3834 §5, and what Exchange reads."""
    headers = _headers()
    assert headers["Auto-Submitted"] == "auto-generated"
    assert headers["X-Auto-Response-Suppress"] == "OOF, AutoReply"
    assert _headers(stream=Stream.BULK)["Precedence"] == "bulk"


def test_feedback_id_has_the_sender_last() -> None:
    """Gmail reads four fields from the right."""
    assert _headers()["Feedback-ID"] == "Receipt:acme:transactional:shopmail"


def test_a_field_of_the_feedback_id_cannot_hold_a_colon() -> None:
    """Four fields stay four, whatever a tenant is called."""
    stamp = Stamp(tenant_id="a:b é@c", delivery_id=UUID(int=7), now=NOW, feedback_sender="shopmail")
    shown = _headers(stamp, mailable=None)["Feedback-ID"]
    assert shown == "none:a-b-c:transactional:shopmail"


@pytest.mark.parametrize("sender", ["", "abcd", "a" * 16, "ab:cde", "abcdé", "abcde\r\n"])
def test_a_sender_that_gmail_would_not_count_is_refused(sender: str) -> None:
    """5 to 15 plain characters."""
    with pytest.raises(ConfigError) as caught:
        Stamp(tenant_id="acme", delivery_id=UUID(int=7), now=NOW, feedback_sender=sender)
    assert caught.value.key == "feedback_sender"


def test_without_settings_there_is_less() -> None:
    """No Feedback-ID without a sender, no link without a page, no mailable without one."""
    stamp = Stamp(tenant_id="acme", delivery_id=UUID(int=7), now=NOW)
    assert list(_headers(stamp, stream=Stream.BULK, mailable=None)) == [
        "Auto-Submitted",
        "X-Auto-Response-Suppress",
        "Precedence",
    ]


@pytest.mark.parametrize("name", ["feedback-id", "AUTO-SUBMITTED", "Precedence"])
def test_what_the_author_set_stays(name: str) -> None:
    """Nothing of the author's is overwritten or doubled."""
    headers = [one.lower() for one in _headers(stream=Stream.BULK, headers={name: "mine"})]
    assert name.lower() not in headers
    assert len(headers) == 6


def test_the_headers_can_be_built_and_signed() -> None:
    """Row 61: they pass the builder as they are, and DKIM covers the pair."""
    message = _message(stream=Stream.BULK)
    extra = compliance_headers(message, STAMP)
    payload = build(
        message, message_id="<1@shop.example>", date=NOW, extra_headers=extra, boundary_seed=b"x"
    )
    kept = dict(thaw(payload).headers)
    assert all(kept[name] == value for name, value in extra)
    assert verified(sign(payload, [ED25519], now=NOW)) == [True]
