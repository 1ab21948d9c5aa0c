"""Take webhooks in, and say what each part of it costs: ``python benchmarks/webhooks``.

It starts a durable PostgreSQL of its own in a temporary folder. ``--anymail PYTHON`` names an
interpreter of an environment that has django-anymail, whose parsing, without any storage, is then
measured beside ours on the same bodies. ``--held-events 10000000`` fills the ledger first, and then
posts single webhooks about new deliveries and about old ones, whose pages are in no cache of
PostgreSQL's. Times belong to this machine; read the ratios.
"""

# ruff: noqa: INP001, T201 - a script, run as a folder, that prints its findings
from __future__ import annotations

import argparse
import base64
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final
from uuid import UUID

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from held import hold, some_held

from mailglass import Delivery, Mailglass, Message
from mailglass.adapters.amazon_ses_events import events_of
from mailglass.adapters.fake import FakeAdapter
from mailglass.adapters.postmark import PostmarkAdapter
from mailglass.adapters.sendgrid import SendGridAdapter
from mailglass.adapters.signatures import WebhookAuth
from mailglass.ledger.database import DatabaseChoice
from mailglass.ledger.embedded import EmbeddedServer
from mailglass.ledger.migrations import migrate
from mailglass.settings import load_settings
from mailglass.webhook import TOKEN_KEY, HeaderMap, ProviderEvent, WebhookRequest
from mailglass.webhooks.endpoint import Endpoint
from mailglass.webhooks.normalise import document_of

BATCH: Final = 1_000
ROUNDS: Final = 7
SINGLES: Final = 300
POSTS: Final = 2_000
"""Single webhooks in the measurement of how long the slowest take."""
CREDENTIALS: Final = "hook:a-long-password"
BASIC: Final = "Basic " + base64.b64encode(CREDENTIALS.encode()).decode()
WORDS: Final = ("processed", "delivered", "open", "click")
_KEY: Final = ec.generate_private_key(ec.SECP256R1())


class Notifying:
    """Reads SES notifications in a mapping of ours; what SNS signs is measured with SendGrid's key."""

    name = "amazon_ses"

    def verify(self, request: WebhookRequest) -> None:
        """Take it for genuine."""

    def events(self, request: WebhookRequest) -> tuple[ProviderEvent, ...]:
        """Return the events of the notification."""
        return events_of(json.loads(request.body))


@dataclass(frozen=True, slots=True, kw_only=True)
class Old:
    """A delivery that was in the ledger before."""

    id: UUID
    message_id: UUID


def endpoints() -> tuple[Endpoint, ...]:
    """Return one endpoint a provider."""
    public = _KEY.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    signed = WebhookAuth(keys=[base64.b64encode(public).decode()])
    known = WebhookAuth(credentials=[CREDENTIALS])
    adapters = (
        SendGridAdapter(api_key="key", webhooks=signed),
        PostmarkAdapter(server_token="token", webhooks=known),  # noqa: S106 - made up
        Notifying(),
    )
    return tuple(Endpoint(name="main", adapter=one, tenant_id="default") for one in adapters)


def signed(body: bytes) -> WebhookRequest:
    """Return a request as SendGrid signs it."""
    now = datetime.now(UTC)
    stamp = str(int(now.timestamp()))
    signature = _KEY.sign(stamp.encode() + body, ec.ECDSA(hashes.SHA256()))
    headers = HeaderMap(
        [
            ("Content-Type", "application/json"),
            ("X-Twilio-Email-Event-Webhook-Signature", base64.b64encode(signature).decode()),
            ("X-Twilio-Email-Event-Webhook-Timestamp", stamp),
        ]
    )
    return WebhookRequest(url="https://hooks.example/", headers=headers, body=body, now=now)


def plain(body: bytes) -> WebhookRequest:
    """Return a request with credentials."""
    headers = HeaderMap([("Authorization", BASIC), ("Content-Type", "application/json")])
    now = datetime.now(UTC)
    return WebhookRequest(url="https://hooks.example/", headers=headers, body=body, now=now)


def sendgrid_body(deliveries: Sequence[Delivery], word: str) -> bytes:
    """Return a batch with one event a delivery, in the size that SendGrid's have."""
    return json.dumps(
        [
            {
                "email": address(one.id), "timestamp": 1_772_360_000, "event": word,
                "sg_event_id": f"{word}-{one.id}", "sg_message_id": f"{one.message_id.hex}.recvd-5f8.0",
                "smtp-id": f"<{one.message_id.hex}@shop.example>", "category": ["receipts"],
                "ip": "192.0.2.7", "useragent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0)",
                "response": "250 2.0.0 OK 1772360000 queued as 4XyZ", "tls": 1,
                "url": "https://shop.example/orders/1?token=abc", TOKEN_KEY: str(one.id),
            }
            for one in deliveries
        ]
    ).encode()  # fmt: skip


def postmark_body(one: Delivery | Old, word: str) -> bytes:
    """Return one event as Postmark sends it."""
    return json.dumps(
        {
            "RecordType": "Delivery", "ServerID": 23, "MessageStream": "outbound",
            "MessageID": str(one.message_id), "Recipient": address(one.id), "Tag": "receipts",
            "DeliveredAt": "2026-03-01T11:00:00Z", "Details": f"250 ok {word}",
            "Metadata": {TOKEN_KEY: str(one.id)},
        }
    ).encode()  # fmt: skip


def ses_body(one: Delivery, word: str) -> bytes:
    """Return one notification as SES sends it, in SNS's envelope."""
    mail = {
        "timestamp": "2026-03-01T11:00:00.000Z", "source": "orders@shop.example",
        "messageId": str(one.message_id), "destination": [address(one.id)],
        "headers": [{"name": "X-Metadata", "value": json.dumps({TOKEN_KEY: str(one.id)})}],
    }  # fmt: skip
    told = {
        "eventType": "Delivery", "mail": mail,
        "delivery": {"timestamp": "2026-03-01T11:00:01.000Z", "recipients": [address(one.id)],
                     "smtpResponse": f"250 ok {word}", "processingTimeMillis": 700},
    }  # fmt: skip
    return json.dumps(
        {"Type": "Notification", "MessageId": f"{word}-{one.id}", "Message": json.dumps(told)}
    ).encode()


_ADDRESSES: dict[UUID, str] = {}


def address(delivery_id: UUID) -> str:
    """Return a delivery's recipient."""
    return _ADDRESSES[delivery_id]


def timed(action: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Return the median of some runs, in seconds."""
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        action()
        found.append(time.perf_counter() - began)
    return median(found)


def queue(mail: Mailglass, many: int) -> list[Delivery]:
    """Queue mails to be reported on; each recipient is another."""
    whom = [f"customer{number}@mail{number % 97}.example" for number in range(many)]
    found = mail.deliver_many(
        [
            Message(sender="orders@shop.example", to=one, subject="Your order", text="Thank you.")
            for one in whom
        ]
    )
    _ADDRESSES.update({one.id: to for one, to in zip(found, whom, strict=True)})
    return list(found)


def tell(what: str, seconds: float, events: int) -> None:
    """Print one line: time, and events a second."""
    print(f"{what:<52} {seconds * 1000:9.3f} ms {events / seconds:12,.0f} events/s")


def batches(mail: Mailglass, many: Sequence[Delivery]) -> None:
    """Measure batches of 1,000, alone and two at a time, and one that was taken in before."""
    groups = [many[start : start + BATCH] for start in range(0, len(many), BATCH)]
    requests = [signed(sendgrid_body(group, WORDS[0])) for group in groups]
    again = [signed(sendgrid_body(group, WORDS[0]) + b" ") for group in groups]
    more = [signed(sendgrid_body(group, word)) for word in WORDS[1:] for group in groups]
    taken = iter(requests)
    alone = timed(lambda: mail.ingest("sendgrid", next(taken)), len(groups))
    tell("SendGrid, 1,000 events, verified, stored, folded", alone, BATCH)
    repeated = iter(again)
    known = timed(lambda: mail.ingest("sendgrid", next(repeated)), len(groups))
    tell("  the same events in another request", known, BATCH)
    began = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda one: mail.ingest("sendgrid", one).recorded, more))
    tell("  two at a time", time.perf_counter() - began, sum(done))


def singles(mail: Mailglass, many: Sequence[Delivery]) -> None:
    """Measure requests with one event."""
    for provider, body in (("postmark", postmark_body), ("amazon_ses", ses_body)):
        requests = iter([plain(body(one, "x")) for one in many[:SINGLES]])
        found = timed(lambda: mail.ingest(provider, next(requests)), SINGLES)  # noqa: B023 - called at once
        tell(f"{provider}, one event, verified, stored, folded", found, 1)


def posts(mail: Mailglass, what: str, whom: Sequence[Delivery | Old]) -> None:
    """Measure single requests, and say how long the slow ones among them take."""
    found = []
    for one in whom:
        request = plain(postmark_body(one, "held"))
        began = time.perf_counter()
        answer = mail.ingest("postmark", request)
        found.append(time.perf_counter() - began)
        if answer.recorded != 1:
            raise SystemExit(f"a webhook was not recorded: {answer.status}")
    cuts = quantiles(found, n=100)
    shown = "  ".join(f"p{place} {cuts[place - 1] * 1000:.2f} ms" for place in (50, 95, 99))
    print(f"{what:<52} {shown}  worst {max(found) * 1000:.2f} ms")


def beside_much(mail: Mailglass, url: str, events: int) -> None:
    """Measure single requests on a ledger that holds much."""
    began = time.perf_counter()
    hold(url, events)
    print(f"filled with {events:,} events in {time.perf_counter() - began:,.0f} s")
    posts(mail, "postmark, one event on a new delivery", queue(mail, POSTS))
    old = some_held(url, POSTS, events)
    _ADDRESSES.update({delivery_id: whom for delivery_id, _, whom in old})
    posts(
        mail,
        "postmark, one event on an old delivery",
        [Old(id=one, message_id=message_id) for one, message_id, _ in old],
    )


def parts(mail: Mailglass, many: Sequence[Delivery]) -> None:
    """Measure verifying and parsing alone."""
    request = signed(sendgrid_body(many[:BATCH], "delivered"))
    adapter = mail.webhooks.endpoints["sendgrid"].adapter
    events = adapter.events(request)
    tell("SendGrid batch, verified alone", timed(lambda: adapter.verify(request)), BATCH)
    tell("SendGrid batch, parsed alone", timed(lambda: adapter.events(request)), BATCH)
    tell(
        "SendGrid batch, made into documents alone",
        timed(lambda: [document_of(one, place=0, received_at=request.now) for one in events]),
        BATCH,
    )


_ANYMAIL: Final = """
import json, sys, time
import django
from django.conf import settings
settings.configure(ANYMAIL={}, SECRET_KEY="x", USE_TZ=True, ALLOWED_HOSTS=["*"])
django.setup()
from django.test import RequestFactory
from anymail.webhooks.sendgrid import SendGridTrackingWebhookView
body = sys.stdin.buffer.read()
view = SendGridTrackingWebhookView()
found = []
for _ in range(15):
    request = RequestFactory().post("/", body, content_type="application/json")
    began = time.process_time()
    list(view.parse_events(request))
    found.append(time.process_time() - began)
print(min(found))
"""


def beside_anymail(mail: Mailglass, python: str, many: Sequence[Delivery]) -> None:
    """Measure django-anymail's parsing of the same batch, without any storage, in turns with ours.

    It is the least processor time of several runs that is told: what else the machine does would
    show in any other.
    """
    body = sendgrid_body(many[:BATCH], "delivered")
    adapter, request = mail.webhooks.endpoints["sendgrid"].adapter, signed(body)
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours += [processor_s(lambda: adapter.events(request)) for _ in range(15)]
        told = subprocess.run(  # noqa: S603 - the interpreter that was named
            [python, "-c", _ANYMAIL], input=body, capture_output=True, check=True, timeout=120
        )
        theirs.append(float(told.stdout))
    tell("SendGrid batch, parsed alone, processor time", min(ours), BATCH)
    tell("django-anymail, the same batch, processor time", min(theirs), BATCH)
    print(f"{'  our rate to theirs':<52} {min(theirs) / min(ours):9.2f}")


def processor_s(action: Callable[[], object]) -> float:
    """Return the processor time of one run, in seconds."""
    began = time.process_time()
    action()
    return time.process_time() - began


def main() -> None:
    """Fill, measure, print."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--anymail", metavar="PYTHON", help="an interpreter with django-anymail")
    reader.add_argument("--batches", type=int, default=10, help="batches of 1,000 (default 10)")
    reader.add_argument(
        "--held-events", type=int, default=0, help="events of before, such as 10000000"
    )
    asked: Any = reader.parse_args()
    with tempfile.TemporaryDirectory(prefix="mg-bench-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        server = EmbeddedServer.start(Path(folder) / "pg", durable=True)
        try:
            url = server.url("postgres")
            migrate(url)
            mail = Mailglass(
                load_settings(database_role="mailglass_app", rate_limit_per_domain=None),
                database=DatabaseChoice(url=url, source="benchmark", is_embedded=False),
                adapters={"default": FakeAdapter()},
                endpoints=endpoints(),
            )
            with mail:
                many = queue(mail, asked.batches * BATCH)
                batches(mail, many)
                singles(mail, many)
                parts(mail, many)
                if asked.held_events:
                    beside_much(mail, url, asked.held_events)
                if asked.anymail:
                    beside_anymail(mail, asked.anymail, many)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
