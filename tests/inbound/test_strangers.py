"""Mail of strangers: whatever one writes, it costs little, loses no other mail and stops nothing."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from mailglass import ConfigError, SignatureError
from mailglass.adapters.providers import build_offline
from mailglass.inbound.mailbox import InboundOutcome, Mailbox
from mailglass.inbound.message import InboundMessage, decoded_text, from_mime
from mailglass.inbound.readers import read_mails
from mailglass.webhook import PARSED_BYTES_MAX
from mailglass.webhooks.endpoint import Endpoint
from webhook_requests import hooked, postmark, request, sendgrid, sendgrid_event

GOOD = "From: kim@mail.example\r\nTo: help@shop.example\r\nSubject: Hi\r\n\r\nHi"
BRACKETS = f"From: kim@mail.example\r\nTo: {'(' * 3000}\r\nSubject: Hi\r\n\r\nHi"
MANY_HEADERS = "X: y\r\n" * 1_001 + "\r\nHi"
SECONDS_MAX = 2.0


def _routed(seen: list[str]) -> Mailbox:
    mailbox = Mailbox()

    @mailbox.route(to="help@shop.example")
    def helped(_message: InboundMessage) -> None:
        seen.append("help")

    return mailbox


def _raw(mailbox: Mailbox) -> Endpoint:
    """Return an endpoint that is handed one mail a request, in its bytes."""
    return Endpoint(name="in", adapter=postmark(), tenant_id="default", mailbox=mailbox)


def _batched(mailbox: Mailbox) -> Endpoint:
    """Return an endpoint that is handed many mails a request."""
    adapter: Any = build_offline("sparkpost", {"webhook_secret": "hook:a-long-password"})
    return Endpoint(name="in", adapter=adapter, tenant_id="default", mailbox=mailbox)


def _relayed(*mails: str) -> bytes:
    """Return SparkPost's batch of these mails, all to one address."""

    def of(raw: str) -> dict[str, Any]:
        packed = base64.b64encode(raw.encode()).decode()
        content = {"email_rfc822": packed, "email_rfc822_is_base64": True}
        told = {"msg_from": "kim@mail.example", "rcpt_to": "help@shop.example", "content": content}
        return {"msys": {"relay_message": told}}

    return json.dumps([of(one) for one in mails]).encode()


def _processor_s(raw: str) -> float:
    begun = time.process_time()
    mail = from_mime(raw.encode(), provider="postal")
    assert mail.recipients is not None
    return time.process_time() - begun


def test_a_header_of_brackets_is_answered(database_url: str) -> None:
    """It has no addresses, so that no route for one takes it."""
    with hooked(database_url, endpoints=[_raw(_routed([]))]) as mail:
        assert mail.ingest("postmark/in", request({"RawEmail": BRACKETS})).status == 200


def test_a_comment_within_a_few_others_hides_no_address() -> None:
    """RFC 5322 lets comments nest."""
    raw = b"To: (a (b)) help@shop.example, Kim (Sales) <kim@shop.example>\r\n\r\nHi"
    mail = from_mime(raw, provider="postal")
    assert mail.recipients == ("help@shop.example", "kim@shop.example")


def test_a_request_that_fails_stops_no_reconciliation(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is wrong with one, the reports of all others are linked."""
    reports = Endpoint(name="main", adapter=sendgrid(), tenant_id="other")
    with hooked(database_url, endpoints=[_raw(_routed([])), reports]) as mail:

        def broken(_message: InboundMessage) -> None:
            raise RecursionError

        with monkeypatch.context() as patch:
            patch.setattr(Mailbox, "handle", lambda _mailbox, message: broken(message))
            with pytest.raises(RecursionError):
                mail.ingest("postmark/in", request({"RawEmail": GOOD}))
            mail.ingest("sendgrid/main", request([sendgrid_event(None, "delivered")]))
            with psycopg.connect(database_url) as owner:
                owner.execute(
                    "update mailglass.webhook_receipts set received_at = now() - interval '2 minutes'"
                )
            assert mail.reconcile().waiting == 1
        assert mail.reconcile().finished == 1


@pytest.mark.parametrize(
    "poison",
    [
        MANY_HEADERS,
        "Content-Type: text/plain; charset=idna\r\n\r\nxn--a.\xff.xn--\xe9",
        "Content-Type: text/plain; name*=idna''xn--%ff\r\n"
        "Content-Disposition: attachment; filename*=idna''xn--%ff.%e9\r\n\r\nHi",
    ],
)
def test_one_mail_loses_no_other_of_its_batch(database_url: str, poison: str) -> None:
    """SparkPost, Mandrill and Brevo hand over many mails at once."""
    seen: list[str] = []
    with hooked(database_url, endpoints=[_batched(_routed(seen))]) as mail:
        assert mail.ingest("sparkpost/in", request(_relayed(GOOD, poison, GOOD))).status == 200
    assert seen.count("help") >= 2


def test_a_mail_that_cannot_be_read_is_buried_in_its_place(database_url: str) -> None:
    """An operator sees which of a batch it was, and a replay handles no other twice."""
    seen: list[str] = []
    with hooked(database_url, endpoints=[_batched(_routed(seen))]) as mail:
        mail.ingest("sparkpost/in", request(_relayed(GOOD, MANY_HEADERS, GOOD)))
        (kept,) = mail.webhooks.webhooks.receipts()
        dead = mail.webhooks.webhooks.dead_of(kept.id)
    assert [(one.place, one.reason) for one in dead] == [(1, "malformed_header")]
    assert (kept.state.value, seen) == ("processed", ["help", "help"])


def test_a_request_without_a_mail_that_can_be_read_is_dead(database_url: str) -> None:
    """As one that holds a single mail is."""
    with hooked(database_url, endpoints=[_batched(_routed([]))]) as mail:
        mail.ingest("sparkpost/in", request(_relayed(MANY_HEADERS)))
        (kept,) = mail.webhooks.webhooks.receipts()
    assert (kept.state.value, kept.reason) == ("dead", "malformed_header")


@pytest.mark.parametrize(
    "charset", ["idna", "punycode", "undefined", "hex", "nonsense", "unicode_escape"]
)
def test_a_charset_that_is_none_reads_as_utf_8(charset: str) -> None:
    """Python knows codecs that are no charsets: some raise, one takes the square of the length."""
    assert decoded_text("h\\é".encode(), charset) == "h\\é"


@pytest.mark.parametrize(
    "raw",
    [
        f"Content-Type: text/plain{'; a=b' * 26_000}\r\n\r\nHi",
        f"Content-Type: text/plain{';' * 130_000}\r\n\r\nHi",
        "\r\n".join(f"To: {'(a)' * 600}{n}" for n in range(60)) + "\r\n\r\nHi",
        "\r\n".join(f"Subject: {'=?utf-8?q?a?= ' * 140}{n}" for n in range(60)) + "\r\n\r\nHi",
        f"To: {'a.b,' * 15_000}\r\n\r\nHi",
        f"Content-Type: message/rfc822\r\n\r\nTo: {'(a)' * 20_000}\r\n\r\nHi",
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
        + "".join(
            f"--b\r\nContent-Type: text/plain{';' * 450}\r\n"
            f"Content-Disposition: attachment{';a' * 200}\r\n\r\nHi\r\n"
            for _ in range(200)
        ),
    ],
    ids=["parameters", "semicolons", "comments", "encoded", "addresses", "within", "parts"],
)
def test_a_mail_of_a_hundred_kilobytes_costs_little(raw: str) -> None:
    """Ten megabytes of the first took a quarter of an hour of a processor."""
    assert _processor_s(raw) < SECONDS_MAX


def test_the_parts_that_a_provider_hands_over_cost_no_more_than_the_mail() -> None:
    """Mailjet sends the headers of each file apart."""
    told = f"attachment; filename=a{'; a=b' * 390}"
    parts = [
        {"ContentRef": f"Attachment{n}", "Headers": {"Content-Disposition": f"{told}; n={n}"}}
        for n in range(400)
    ]
    adapter: Any = build_offline("mailjet", {})
    begun = time.process_time()
    (mail,) = read_mails(adapter, request({"Parts": parts}))
    assert time.process_time() - begun < SECONDS_MAX
    assert [one.filename for one in mail.attachments] == ["a"] * 400


def test_many_lines_in_many_parts_within_parts_are_refused() -> None:
    """Each line is compared with the boundary of every part that it stands in."""
    heads = "".join(
        f'Content-Type: multipart/mixed; boundary="b{n}"\r\n\r\n--b{n}\r\n' for n in range(300)
    )
    with pytest.raises(SignatureError):
        from_mime((heads + "\r\n" * 100_000).encode(), provider="postal")


def test_a_long_header_is_shown_as_it_stands() -> None:
    """A mail to hundreds of people is a mail, and each of them is found."""
    whom = [f"person{n}@mail.example" for n in range(500)]
    mail = from_mime(f"To: {', '.join(whom)}\r\n\r\nHi".encode(), provider="postal")
    assert mail.recipients == tuple(whom)


def test_a_date_that_is_none_reads_as_none() -> None:
    """``sent_at`` is None where there is no time; a zone of 14 digits overflows."""
    raw = b"Date: Mon, 1 Jan 2020 00:00:00 +99999999999999\r\n\r\nHi"
    assert from_mime(raw, provider="postal").sent_at is None


def test_a_handler_that_returns_something_else_has_an_outcome(database_url: str) -> None:
    """Nobody knows what it says of the mail: that is failed, and no error for the provider."""
    mailbox = Mailbox()

    @mailbox.route()
    def careless(_message: InboundMessage) -> Any:
        return True

    with hooked(database_url, endpoints=[_raw(mailbox)]) as mail:
        assert mail.ingest("postmark/in", request({"RawEmail": GOOD})).status == 200
    found = mailbox.handle(from_mime(GOOD.encode(), provider="postal"))
    assert (found.outcome, found.reason) == (InboundOutcome.FAILED, "returned_bool")


def test_a_handler_that_returns_what_must_be_awaited_has_failed() -> None:
    """Nothing that it does was done."""
    mailbox = Mailbox()

    async def later(_message: InboundMessage) -> None: ...

    @mailbox.route()
    def looks_plain(message: InboundMessage) -> Any:
        return later(message)

    found = mailbox.handle(from_mime(GOOD.encode(), provider="postal"))
    assert (found.outcome, found.reason) == (InboundOutcome.FAILED, "returned_coroutine")


def test_an_async_handler_is_refused_when_its_route_is_made() -> None:
    """Nobody would await it; better told before a mail comes."""

    async def later(_message: InboundMessage) -> None: ...

    with pytest.raises(ConfigError):
        Mailbox().route()(later)  # type: ignore[arg-type]  # the mistake itself


def test_an_endpoint_that_takes_large_mails_reads_them(database_url: str) -> None:
    """Some providers hand over mails of 20 MB and more in one request."""
    seen: list[str] = []
    raw = f"{GOOD}{'x' * 8_000_000}"
    end = replace(_batched(_routed(seen)), body_bytes_max=40_000_000)
    with hooked(database_url, endpoints=[end]) as mail:
        assert mail.ingest("sparkpost/in", request(_relayed(raw))).status == 200
    assert seen == ["help"]


@pytest.mark.parametrize("bound", [0, PARSED_BYTES_MAX + 1])
def test_an_endpoint_takes_nothing_that_it_cannot_read(bound: int) -> None:
    """A mail would be answered with yes and be dead."""
    with pytest.raises(ConfigError):
        replace(_batched(Mailbox()), body_bytes_max=bound)
