"""What a mail gets besides its author's words: a way out, an origin, a signature, and tracking if asked."""

from __future__ import annotations

from datetime import UTC, datetime
from email import message_from_bytes
from email.message import Message as Parsed
from pathlib import Path
from typing import Any
from uuid import UUID

import dkim
import pytest

from front_desk import Greeting, front_desk, note, write_templates
from mailglass import (
    ConfigError,
    Delivery,
    Mailglass,
    Message,
    SendError,
    Stream,
    SuppressedError,
    Tracking,
)
from mailglass.adapters.fake import FakeAdapter
from mailglass.compliance.dkim_keys import DkimAlgorithm, generate_key, private_pem
from mailglass.compliance.unsubscribe import PLACEHOLDER
from mailglass.errors import SuppressedErrorType

HERE = "1 Harbour Street, Dublin"
PAGES: dict[str, Any] = {
    "unsubscribe_url": "https://leave.shop.example/u",
    "tracking_url": "https://t.shop.example",
    "token_secrets": ["s" * 32],
    "physical_address": HERE,
}


def _news(**changes: Any) -> Message:
    fields = {
        "stream": Stream.BULK, "mailable": "app.News", "text": f"News. {HERE} {PLACEHOLDER}",
        "html": f'<p>News. {HERE} <a href="{PLACEHOLDER}">Leave</a> <a href="https://shop.example/">Shop</a></p>',
    }  # fmt: skip
    return note(**(fields | changes))


def _sent(mail: Mailglass, fake: FakeAdapter, message: Message) -> tuple[Delivery, Parsed]:
    delivery = mail.deliver(message)
    assert fake.last is not None
    return delivery, message_from_bytes(fake.last.envelope.payload)


def test_bulk_mail_has_a_way_out_in_one_click(database_url: str) -> None:
    """RFC 8058: both headers, and the link in the body is the delivery's own."""
    fake = FakeAdapter()
    with front_desk(database_url, fake, **PAGES) as mail:
        delivery, parsed = _sent(mail, fake, _news())
        assert parsed["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        url = str(parsed["List-Unsubscribe"]).strip("<>")
        assert url.startswith("https://leave.shop.example/u/")
        links = mail.finishing.unsubscribe
        assert links is not None
        named = links.delivery_of(url.rpartition("/")[2], now=datetime.now(UTC))
        assert named == delivery.id
        assert fake.last is not None
        assert url in (fake.last.message.text or "")
        assert url in (fake.last.message.html or "")
        assert PLACEHOLDER not in (fake.last.message.text or "")


class News(Greeting):
    """A bulk mailable whose template has a way out."""

    stream = Stream.BULK


def test_a_template_has_the_way_out_as_a_variable(database_url: str, tmp_path: Path) -> None:
    """It is the link of that very delivery, in both parts."""
    write_templates(
        tmp_path,
        greeting__html=f'<p>Hello. {HERE} <a href="{{{{ unsubscribe_url }}}}">Leave</a></p>',
        greeting__txt=f"Hello. {HERE} {{{{ unsubscribe_url }}}}",
    )
    fake = FakeAdapter()
    with front_desk(database_url, fake, templates=(tmp_path,), **PAGES) as mail:
        mail.deliver(News())
    assert fake.last is not None
    parsed = message_from_bytes(fake.last.envelope.payload)
    url = str(parsed["List-Unsubscribe"]).strip("<>")
    assert url in (fake.last.message.text or "")
    assert f'href="{url}"' in (fake.last.message.html or "")


def test_who_leaves_gets_no_more_of_that_stream_and_still_their_receipts(database_url: str) -> None:
    """The stream of that mail is left, and nothing else; the delivery tells."""
    with front_desk(database_url, **PAGES) as mail:
        delivery = mail.deliver(_news())
        assert mail.unsubscribe(delivery.id)
        assert mail.unsubscribe(delivery.id)
        with pytest.raises(SuppressedError) as caught:
            mail.deliver(_news(subject="More news"))
        assert caught.value.type is SuppressedErrorType.ADDRESS_STREAM
        assert mail.deliver(note()).state.value == "sent"
        types = [event.type.value for event in mail.events(delivery.id)]
        assert types == ["queued", "attempt_started", "dispatched", "unsubscribed"]
        assert not mail.unsubscribe(UUID(int=7))


def test_a_receipt_has_no_way_out_but_says_that_no_answer_is_wanted(database_url: str) -> None:
    """Transactional mail is never left; RFC 3834 keeps holiday notices away from all."""
    fake = FakeAdapter()
    with front_desk(database_url, fake, feedback_sender="shopmail", **PAGES) as mail:
        _, parsed = _sent(mail, fake, note(mailable="app.Receipt"))
    assert parsed["List-Unsubscribe"] is None
    assert parsed["Auto-Submitted"] == "auto-generated"
    assert parsed["Feedback-ID"] == "Receipt:default:transactional:shopmail"
    assert parsed["Mailglass-Mailable"] == "app.Receipt"


@pytest.mark.parametrize("opted_in", [True, False])
def test_operational_mail_is_left_only_where_its_author_allows_it(
    database_url: str, *, opted_in: bool
) -> None:
    """The mailable's own word counts."""
    fake = FakeAdapter()
    with front_desk(database_url, fake, **PAGES) as mail:
        _, parsed = _sent(mail, fake, note(stream=Stream.OPERATIONAL, unsubscribe=opted_in))
    assert (parsed["List-Unsubscribe"] is not None) is opted_in


def test_a_link_that_nobody_can_make_is_refused_before_any_row(database_url: str) -> None:
    """No recipient ever clicks on a placeholder."""
    with front_desk(database_url) as mail:
        with pytest.raises(SendError) as caught:
            mail.deliver(note(text=f"Leave: {PLACEHOLDER}"))
        assert caught.value.code == "unsubscribe_link"
        assert mail.store.list_deliveries(tenant_id=None) == ()


def test_only_a_mail_that_asks_for_it_is_tracked(database_url: str) -> None:
    """And the way out is never counted."""
    fake = FakeAdapter()
    with front_desk(database_url, fake, **PAGES) as mail:
        mail.deliver(_news())
        assert fake.last is not None
        assert "t.shop.example" not in (fake.last.message.html or "")
        mail.deliver(_news(tracking=Tracking(opens=True, clicks=True)))
        html = fake.last.message.html or ""
    assert html.count("https://t.shop.example/c/") == 1
    assert html.count("https://t.shop.example/o/") == 1
    assert "https://leave.shop.example/u/" in html


def test_pages_without_secrets_are_told_at_boot(database_url: str) -> None:
    """With the command that makes one."""
    with pytest.raises(ConfigError) as caught:
        with front_desk(database_url, unsubscribe_url="https://leave.shop.example/u"):
            pass
    assert caught.value.key == "token_secrets"
    assert "openssl" in (caught.value.hint or "")


@pytest.mark.parametrize("algorithm", list(DkimAlgorithm))
def test_the_frozen_bytes_are_signed(
    database_url: str, tmp_path: Path, algorithm: DkimAlgorithm
) -> None:
    """A verifier that is not ours says so, about the bytes that leave."""
    key = generate_key(algorithm, domain="shop.example", selector="s1")
    file = tmp_path / "key.pem"
    file.write_bytes(private_pem(key))
    setting = {"domain": "shop.example", "selector": "s1", "file": file}
    fake = FakeAdapter()
    with front_desk(database_url, fake, dkim_keys=[setting], **PAGES) as mail:
        mail.deliver(_news())
    assert fake.last is not None
    record = key.record.value.encode()
    verifier = dkim.DKIM(fake.last.envelope.payload)
    assert verifier.verify(dnsfunc=lambda _name, **_more: record)
    changed = fake.last.envelope.payload.replace(b"News.", b"Spam.")
    with pytest.raises(dkim.ValidationError):
        dkim.DKIM(changed).verify(dnsfunc=lambda _name, **_more: record)
