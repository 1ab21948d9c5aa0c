"""A mail that SES put into S3 is fetched from there, signed, from the buckets that are named alone."""

from __future__ import annotations

import hashlib
import hmac
import re
import socket
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from mailglass import ConfigError, SendError, SignatureError
from mailglass.adapters.amazon_ses import AmazonSesAdapter, AwsCredentials
from mailglass.adapters.amazon_ses_s3 import InboundBuckets
from mailglass.adapters.download import DOWNLOAD_BYTES_MAX
from mailglass.errors import FailureClass
from mailglass.events import EventType
from mailglass.inbound.mailbox import Mailbox
from mailglass.inbound.message import InboundMessage
from mailglass.inbound.readers import read_mails
from mailglass.testing import signing
from mailglass.testing.facts import Fact
from mailglass.webhook import HeaderMap, WebhookRequest
from mailglass.webhooks.endpoint import Endpoint
from tests.adapters.contract_server import Provider, says
from webhook_requests import hooked

NOW: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECRET: Final = "wJalr/secret+key"
RAW: Final = b"From: zoe@mail.example\r\nTo: help@shop.example\r\nSubject: Hello\r\n\r\nHi"
_CLAIM: Final = re.compile(
    r"AWS4-HMAC-SHA256 Credential=AKID/(\d{8})/([a-z0-9-]+)/s3/aws4_request, "
    r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})"
)


class S3:
    """Serves objects by their path on loopback, to whoever signs with the secret, and keeps what was asked."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.headers: Mapping[str, str] = {}
        self.status = 200
        self.server = Provider(self._answer)
        self.adapters: list[AmazonSesAdapter] = []

    @property
    def asked(self) -> list[str]:
        """Return the paths that were asked for."""
        return [one.split(b" ")[1].decode() for one in self.server.requests]

    def _answer(self, connection: socket.socket) -> None:
        line, fields = _parsed(self.server.requests[-1])
        path = line.split(" ")[1]
        if not _is_genuine(line, fields):
            return says(403, b"<Error><Code>SignatureDoesNotMatch</Code></Error>")(connection)
        if self.status != 200:
            return says(self.status)(connection)
        if path not in self.objects:
            return says(404, b"<Error><Code>NoSuchKey</Code></Error>")(connection)
        return says(200, self.objects[path], tuple(self.headers.items()))(connection)


def _parsed(raw: bytes) -> tuple[str, dict[str, str]]:
    line, *lines = raw.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    pairs = (one.partition(":") for one in lines)
    return line, {name.lower(): value.strip() for name, _, value in pairs}


def _is_genuine(line: str, fields: Mapping[str, str]) -> bool:
    """Sign the request as it came, by the manual, and compare."""
    claim = _CLAIM.fullmatch(fields.get("authorization", ""))
    if claim is None:
        return False
    day, region, names, given = claim.groups()
    method, path, _ = line.split(" ")
    covered = "".join(f"{name}:{fields[name]}\n" for name in names.split(";"))
    empty = hashlib.sha256(b"").hexdigest()
    canonical = f"{method}\n{path}\n\n{covered}\n{names}\n{empty}"
    scope = f"{day}/{region}/s3/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    key = b"AWS4" + SECRET.encode()
    for step in scope.split("/"):
        key = hmac.new(key, step.encode(), "sha256").digest()
    to_sign = "\n".join(("AWS4-HMAC-SHA256", fields["x-amz-date"], scope, digest))
    return hmac.new(key, to_sign.encode(), "sha256").hexdigest() == given


@pytest.fixture
def s3() -> Iterator[S3]:
    """Yield a server that has no object yet; the adapters that ask it are closed before it."""
    store = S3()
    with store.server:
        yield store
        for one in store.adapters:
            one.close()


def _adapter(s3: S3, secret: str = SECRET, **given: Any) -> AmazonSesAdapter:
    usual: dict[str, Any] = {"inbound_buckets": ["received-mail"], "inbound_url": s3.server.url}
    adapter = AmazonSesAdapter(
        region="eu-west-1",
        credentials=AwsCredentials(access_key_id="AKID", secret_access_key=secret),
        topic_arns=[signing.SES_TOPIC],
        fetch_certificate=lambda _: signing.certificate(),
        inbound=InboundBuckets(**(usual | given)),
        clock=lambda: NOW,
    )
    s3.adapters.append(adapter)
    return adapter


def _told(key: object = "in/4711", bucket: object = "received-mail", **more: Any) -> WebhookRequest:
    """Return SES's notification of a mail in S3, signed as SNS does."""
    action = {"type": "S3", "bucketName": bucket, "objectKey": key, "objectKeyPrefix": "in"}
    written = {
        "notificationType": "Received",
        "mail": {"source": "bounce@mail.example", "messageId": "4711"},
        "receipt": {
            "recipients": ["help@shop.example"],
            "spamVerdict": {"status": "PASS"},
            "action": action | more,
        },
    }
    fact = Fact(
        event=EventType.UNKNOWN,
        recipient="help@shop.example",
        delivery_id=None,
        message_id="4711",
        event_id=f"sns-{key}",
        at=NOW,
        is_permanent=False,
        url="",
    )
    told = signing.Unsigned(written=written, fact=fact, url="", now=NOW, secret="")
    headers, body = signing.SIGNERS["amazon_ses"](told)
    return WebhookRequest(
        url="https://hooks.example/", headers=HeaderMap(headers), body=body, now=NOW
    )


def test_a_mail_in_s3_is_read_whole(s3: S3) -> None:
    """What the notification says of it stands beside what the mail itself says."""
    s3.objects["/received-mail/in/4711"] = RAW
    (mail,) = read_mails(_adapter(s3), _told())
    assert (mail.subject, mail.text, mail.provider_message_id) == ("Hello", "Hi", "4711")
    assert (mail.envelope_recipients, mail.is_spam) == (("help@shop.example",), False)


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("a b+c/é", "/received-mail/a%20b%2Bc/%C3%A9"),
        ("in//4711", "/received-mail/in//4711"),
        ("in/~%41?x#y&z=1", "/received-mail/in/~%2541%3Fx%23y%26z%3D1"),
    ],
)
def test_a_key_is_one_path_whatever_it_holds(s3: S3, key: str, path: str) -> None:
    """It is signed as it is sent."""
    s3.objects[path] = RAW
    (mail,) = read_mails(_adapter(s3), _told(key))
    assert (mail.subject, s3.asked) == ("Hello", [path])


@pytest.mark.parametrize(
    ("key", "bucket"),
    [
        ("../other/4711", "received-mail"),
        ("in/./4711", "received-mail"),
        ("x" * 1_025, "received-mail"),
        ("in\n", "received-mail"),
        ("", "received-mail"),
        (None, "received-mail"),
        ("in", "received-mail/.."),
        ("in", 7),
    ],
)
def test_a_place_that_is_none_asks_nobody(s3: S3, key: object, bucket: object) -> None:
    """It would be part of an address."""
    with pytest.raises(SignatureError):
        read_mails(_adapter(s3), _told(key, bucket))
    assert s3.asked == []


@pytest.mark.parametrize("allowed", [[], ["other-mail"]])
def test_no_other_bucket_is_asked(s3: S3, allowed: list[str]) -> None:
    """Whoever may publish to the topic cannot have any object read with our credentials."""
    with pytest.raises(ConfigError) as caught:
        read_mails(_adapter(s3, inbound_buckets=allowed), _told())
    assert (caught.value.key, s3.asked) == ("inbound_buckets", [])


def test_a_bucket_may_be_in_another_region(s3: S3) -> None:
    """The signature names the bucket's."""
    s3.objects["/received-mail/in/4711"] = RAW
    read_mails(_adapter(s3, inbound_region="us-east-1"), _told())
    assert b"/us-east-1/s3/aws4_request" in s3.server.requests[0]


def test_without_an_address_it_is_amazons_own() -> None:
    """In the region that is set."""
    buckets = InboundBuckets(inbound_buckets=["received-mail"])
    made = buckets.request("/received-mail/a", region="eu-west-1")
    assert made.url == "https://s3.eu-west-1.amazonaws.com/received-mail/a"


@pytest.mark.parametrize(
    "given",
    [
        {"inbound_buckets": ["Received"]},
        {"inbound_buckets": ["a/b"]},
        {"inbound_region": "nowhere"},
        {"inbound_url": "http://s3.example"},
    ],
)
def test_what_is_no_bucket_is_refused_at_once(given: dict[str, Any]) -> None:
    """And not when the first mail comes."""
    with pytest.raises(ConfigError):
        InboundBuckets(**given)


@pytest.mark.parametrize(
    "name", ["x-amz-meta-x-amz-key-v2", "x-amz-meta-x-amz-key", "x-amz-meta-x-amz-iv"]
)
def test_a_mail_that_ses_encrypted_is_not_read(s3: S3, name: str) -> None:
    """Its bytes are no mail: handing them over as one would be worse than none."""
    s3.objects["/received-mail/in/4711"] = b"\x8f\x02 not readable"
    s3.headers = {name: "wrapped"}
    with pytest.raises(SendError) as caught:
        read_mails(_adapter(s3), _told())
    found = caught.value
    assert (found.failure_class, found.code) == (FailureClass.PERMANENT, "object_encrypted")


def test_an_object_has_a_bound(s3: S3) -> None:
    """SES stores no mail above 40 MB."""
    s3.objects["/received-mail/in/4711"] = b"x" * (DOWNLOAD_BYTES_MAX + 1)
    with pytest.raises(SendError) as caught:
        read_mails(_adapter(s3), _told())
    assert caught.value.code == "download_too_large"


def test_credentials_that_s3_refuses_are_a_matter_of_the_settings(s3: S3) -> None:
    """The mail waits until they are right."""
    s3.objects["/received-mail/in/4711"] = RAW
    with pytest.raises(ConfigError):
        read_mails(_adapter(s3, secret="another"), _told())


def _endpoint(adapter: AmazonSesAdapter, seen: list[str]) -> Endpoint:
    mailbox = Mailbox()

    @mailbox.route()
    def take(message: InboundMessage) -> None:
        seen.append(message.subject)

    return Endpoint(name="in", adapter=adapter, tenant_id="default", mailbox=mailbox)


@pytest.mark.parametrize("headers", [{}, {"x-amz-meta-x-amz-key-v2": "wrapped"}])
def test_a_mail_that_cannot_be_read_is_dead_and_can_be_replayed(
    database_url: str, s3: S3, headers: Mapping[str, str]
) -> None:
    """Missing or encrypted: the request is kept, and read once the object is there and plain."""
    seen: list[str] = []
    if headers:
        s3.objects["/received-mail/in/4711"] = b"\x8f\x02"
        s3.headers = headers
    with hooked(database_url, endpoints=[_endpoint(_adapter(s3), seen)]) as mail:
        assert mail.ingest("amazon_ses/in", _told()).status == 200
        (receipt,) = mail.webhooks.webhooks.receipts()
        assert (receipt.state.value, receipt.reason, seen) == ("dead", "adapter_failure", [])
        s3.objects["/received-mail/in/4711"], s3.headers = RAW, {}
        mail.replay(receipt.id)
    assert seen == ["Hello"]


def test_a_mail_that_s3_has_not_for_now_is_read_by_the_repetition(
    database_url: str, s3: S3
) -> None:
    """SNS asks again after an answer that is no success, and the handler is called once."""
    seen: list[str] = []
    s3.objects["/received-mail/in/4711"] = RAW
    s3.status = 503
    with hooked(database_url, endpoints=[_endpoint(_adapter(s3), seen)]) as mail:
        assert mail.ingest("amazon_ses/in", _told()).status != 200
        s3.status = 200
        for _ in range(2):
            assert mail.ingest("amazon_ses/in", _told()).status == 200
    assert seen == ["Hello"]
