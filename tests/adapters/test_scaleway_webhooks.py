"""Scaleway's webhooks: the proof of the topic's certificates, and what a notification reports."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from mailglass.adapters.api import WebhookAuth
from mailglass.adapters.http import Request, Response
from mailglass.adapters.scaleway import ScalewayAdapter
from mailglass.errors import (
    ConfigError,
    ConfigErrorType,
    SendError,
    SignatureError,
    SignatureErrorType,
)
from mailglass.events import EventType, RejectReason
from mailglass.webhook import ProviderEvent, WebhookRequest
from tests.adapters.wire import NOW, a_webhook

ARN = "arn:scw:sns:fr-par:project-1:mail"
BASE = "https://messaging.s3.fr-par.scw.cloud/fr-par/sns"
CERTIFICATE, CHAIN = f"{BASE}/cert-1.pem", f"{BASE}/sns-trust-chain.pem"
CONFIRM = "https://sns.mnq.fr-par.scaleway.com/?Action=ConfirmSubscription&Token=t"


@cache
def a_key(name: str) -> rsa.RSAPrivateKey:
    """Return the key of that name, made once."""
    assert name
    return rsa.generate_private_key(65537, 2048)


def a_certificate(key: str, *, by: str, is_authority: bool = False, until: datetime = NOW) -> bytes:
    """Return a certificate that ``by`` gave to ``key``."""
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one)]) for one in (key, by)]
    built = (
        x509.CertificateBuilder()
        .subject_name(names[0])
        .issuer_name(names[1])
        .public_key(a_key(key).public_key())
        .serial_number(7)
        .not_valid_before(NOW - timedelta(days=30))
        .not_valid_after(until + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    )
    return built.sign(a_key(by), hashes.SHA256()).public_bytes(Encoding.PEM)


class Upstream:
    """Has the certificates, and counts who asks."""

    def __init__(self, **pages: bytes) -> None:
        """Take the pages over the usual ones."""
        usual = {
            "cert": a_certificate("leaf", by="authority"),
            "chain": a_certificate("authority", by="authority", is_authority=True),
        }
        known = usual | pages
        self.pages = {CERTIFICATE: known["cert"], CHAIN: known["chain"], CONFIRM: b"<ok/>"}
        self.asked: list[str] = []

    def __call__(self, request: Request) -> Response:
        """Return the page."""
        self.asked.append(request.url)
        page = self.pages.get(request.url)
        return Response(status=404 if page is None else 200, body=page or b"")


def an_adapter(upstream: Upstream | None = None, **given: Any) -> ScalewayAdapter:
    """Return an adapter of one topic."""
    usual: dict[str, Any] = {"topic_arns": [ARN], "webhooks": WebhookAuth()}
    known = upstream or Upstream()
    return ScalewayAdapter(api_key="key", project_id="p", transport=known, **(usual | given))


def a_record(**given: Any) -> dict[str, Any]:
    """Return a notification without its signature."""
    usual = {
        "Type": "Notification",
        "MessageId": "id-1",
        "TopicArn": ARN,
        "Message": json.dumps({"type": "email_queued"}),
        "Timestamp": NOW.isoformat(),
        "SignatureVersion": "2",
        "SigningCertURL": CERTIFICATE,
    }
    return usual | given


def signed(record: dict[str, Any], *, key: str = "leaf", **changed: Any) -> WebhookRequest:
    """Return a webhook as the topic signs it, and what was changed in it afterwards."""
    is_note = record["Type"] == "Notification"
    more = ("Subject",) if is_note else ("SubscribeURL", "Token")
    names = sorted(("Message", "MessageId", "Timestamp", "TopicArn", "Type", *more))
    text = "".join(f"{name}\n{record[name]}\n" for name in names if name in record)
    digest = hashes.SHA256() if record["SignatureVersion"] == "2" else hashes.SHA1()  # noqa: S303 - version 1 is SHA-1
    made = a_key(key).sign(text.encode(), padding.PKCS1v15(), digest)
    return a_webhook(record | {"Signature": base64.b64encode(made).decode()} | changed)


def confirmation(**given: Any) -> WebhookRequest:
    """Return the request to confirm a subscription."""
    known = {"Type": "SubscriptionConfirmation", "Token": "t", "SubscribeURL": CONFIRM}
    return signed(a_record(**(known | given)))


def refusal(request: WebhookRequest, adapter: ScalewayAdapter | None = None) -> SignatureErrorType:
    """Return why the request is refused."""
    with pytest.raises(SignatureError) as caught:
        (adapter or an_adapter()).verify(request)
    return caught.value.type


def reported(**event: Any) -> ProviderEvent:
    """Return the one event of a notification."""
    (found,) = an_adapter().events(a_webhook(a_record(Message=json.dumps(event))))
    return found


@pytest.mark.parametrize("given", [{}, {"Subject": "Events"}, {"SignatureVersion": "1"}])
def test_a_message_of_our_topic_verifies(given: dict[str, str]) -> None:
    """With and without a subject, and in both versions."""
    an_adapter().verify(signed(a_record(**given)))


def test_certificates_are_fetched_once() -> None:
    """A webhook must not wait for another server each time."""
    upstream = Upstream()
    adapter = an_adapter(upstream)
    for _ in range(3):
        adapter.verify(signed(a_record()))
    assert sorted(upstream.asked) == [CERTIFICATE, CHAIN]


def test_a_pinned_authority_is_not_fetched() -> None:
    """It counts alone, and there may be several."""
    upstream = Upstream(chain=b"")
    pins = [
        a_certificate(one, by=one, is_authority=True).decode() for one in ("other", "authority")
    ]
    an_adapter(upstream, webhooks=WebhookAuth(keys=pins)).verify(signed(a_record()))
    assert upstream.asked == [CERTIFICATE]


@pytest.mark.parametrize(
    "pages",
    [
        {"cert": a_certificate("leaf", by="other")},
        {"cert": a_certificate("leaf", by="authority", until=NOW - timedelta(days=2))},
        {"cert": b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"},
        {"cert": b""},
        {"cert": b"\x00" * 70_000},
        {"chain": b"nothing"},
        {"chain": a_certificate("authority", by="authority")},
        {
            "chain": a_certificate(
                "authority", by="authority", is_authority=True, until=NOW - timedelta(days=2)
            )
        },
    ],
    ids=["other", "old", "no DER", "empty", "large", "no chain", "no authority", "old authority"],
)
def test_a_certificate_that_the_authority_did_not_give_out_proves_nothing(
    pages: dict[str, bytes],
) -> None:
    """Anybody can make a certificate."""
    adapter = an_adapter(Upstream(**pages))
    assert refusal(signed(a_record()), adapter) is SignatureErrorType.MALFORMED_KEY


@pytest.mark.parametrize(
    "url",
    [
        "http://messaging.s3.fr-par.scw.cloud/cert-1.pem",
        "https://messaging.s3.fr-par.scw.cloud.evil.test/cert-1.pem",
        "https://messaging.s3.fr-par.scw.cloud@evil.test/cert-1.pem",
        "https://evil.s3.fr-par.scw.cloud/cert-1.pem",
        "https://messaging.s3.fr-par.scw.cloud/../evil/cert-1.pem",
        "https://messaging.s3.fr-par.scw.cloud/cert-1.pem?x",
        "https://messaging.s3.fr-par.scw.cloud/cert-1.pem\n",
        7,
        None,
    ],
)
def test_a_certificate_elsewhere_is_not_fetched(url: object) -> None:
    """A forged message must not make us call an address of its choice."""
    upstream = Upstream()
    request = signed(a_record(SigningCertURL=url))
    assert refusal(request, an_adapter(upstream)) is SignatureErrorType.MALFORMED_HEADER
    assert upstream.asked == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"Message": "{}"}, SignatureErrorType.BAD_SIGNATURE),
        ({"Subject": "More"}, SignatureErrorType.BAD_SIGNATURE),
        ({"Signature": "AAAA"}, SignatureErrorType.BAD_SIGNATURE),
        ({"Signature": "not*base64"}, SignatureErrorType.MALFORMED_HEADER),
        ({"Signature": None}, SignatureErrorType.MISSING_HEADER),
        ({"SignatureVersion": "3"}, SignatureErrorType.MALFORMED_HEADER),
        ({"SignatureVersion": 2}, SignatureErrorType.MALFORMED_HEADER),
        ({"Timestamp": "yesterday"}, SignatureErrorType.MALFORMED_HEADER),
        ({"Message": 7}, SignatureErrorType.MALFORMED_HEADER),
        ({"Type": "Other"}, SignatureErrorType.MALFORMED_HEADER),
        ({"Type": ["Notification"]}, SignatureErrorType.MALFORMED_HEADER),
        ({"TopicArn": ARN + "2"}, SignatureErrorType.BAD_CREDENTIALS),
        ({"TopicArn": [ARN]}, SignatureErrorType.BAD_CREDENTIALS),
    ],
)
def test_a_changed_message_is_refused(
    changed: dict[str, Any], expected: SignatureErrorType
) -> None:
    """Whatever is wrong is a typed refusal."""
    assert refusal(signed(a_record(), **changed)) is expected


@pytest.mark.parametrize("minutes", [-6, 24 * 60 + 6])
def test_a_message_of_another_time_is_refused(minutes: int) -> None:
    """From the future, or older than Scaleway repeats it."""
    at = (NOW - timedelta(minutes=minutes)).isoformat()
    assert refusal(signed(a_record(Timestamp=at))) is SignatureErrorType.TIMESTAMP_SKEW


def test_sha1_can_be_refused() -> None:
    """A topic that signs with version 2 never sends version 1."""
    request = signed(a_record(SignatureVersion="1"))
    found = refusal(request, an_adapter(accepts_sha1=False))
    assert found is SignatureErrorType.MALFORMED_HEADER


def test_nothing_is_believed_without_a_topic() -> None:
    """Whoever has an account can have Scaleway sign messages."""
    with pytest.raises(ConfigError) as caught:
        an_adapter(topic_arns=[]).verify(signed(a_record()))
    assert caught.value.type is ConfigErrorType.WEBHOOK_VERIFICATION_KEY_MISSING


def test_a_topic_that_is_none_is_refused_at_once() -> None:
    """One of Amazon's, for example."""
    with pytest.raises(ConfigError) as caught:
        an_adapter(topic_arns=["arn:aws:sns:eu-west-1:123456789012:mail"])
    assert caught.value.type is ConfigErrorType.INVALID


def test_a_certificate_that_cannot_be_fetched_is_no_forgery() -> None:
    """The message may be genuine, and comes again."""
    upstream = Upstream()
    del upstream.pages[CERTIFICATE]
    with pytest.raises(SendError):
        an_adapter(upstream).verify(signed(a_record()))


def test_a_subscription_is_confirmed() -> None:
    """At the address in the verified request."""
    upstream = Upstream()
    assert an_adapter(upstream).confirm(confirmation())
    assert upstream.asked[-1] == CONFIRM


def test_a_subscription_is_not_confirmed_when_that_is_switched_off() -> None:
    """Nor is a notification ever."""
    assert not an_adapter(confirms_subscriptions=False).confirm(confirmation())
    assert not an_adapter().confirm(signed(a_record()))


def test_a_confirmation_elsewhere_is_refused() -> None:
    """The address must be of the topic's own region."""
    for url in (CONFIRM.replace("fr-par", "nl-ams"), "https://evil.test/?a", "http" + CONFIRM[5:]):
        with pytest.raises(SignatureError):
            an_adapter().confirm(confirmation(SubscribeURL=url))


@pytest.mark.parametrize(
    ("word", "kind", "reason", "is_permanent"),
    [
        ("email_queued", EventType.QUEUED, None, False),
        ("email_delivered", EventType.DELIVERED, None, False),
        ("email_deferred", EventType.DEFERRED, None, False),
        ("email_dropped", EventType.BOUNCED, RejectReason.BOUNCED, True),
        ("email_mailbox_not_found", EventType.BOUNCED, RejectReason.BOUNCED, True),
        ("email_spam", EventType.REJECTED, RejectReason.SPAM, False),
        ("email_blocklisted", EventType.REJECTED, RejectReason.BLOCKED, False),
        ("unknown_type", EventType.UNKNOWN, None, False),
    ],
)
def test_every_word_has_its_meaning(
    word: str, kind: EventType, reason: RejectReason | None, *, is_permanent: bool
) -> None:
    """A word that is not known is unknown, and is kept."""
    event = reported(type=word)
    assert (event.type, event.reject_reason) == (kind, reason)
    assert (event.is_permanent, event.word) == (is_permanent, word)


def test_labels_come_back_in_the_header_fields() -> None:
    """Whatever else stands there is somebody else's."""
    token = "0197a000-0000-7000-8000-000000000001"
    pairs = {
        "x-metadata": '{"order": "7"}',
        "X-TAGS": '["receipt"]',
        "X-Mailglass-Delivery": token,
    }
    listed = [{"name": name, "value": value} for name, value in pairs.items()]
    event = reported(type="email_queued", email_headers=listed)
    assert (event.tags, dict(event.metadata)) == (("receipt",), {"order": "7"})
    assert str(event.delivery_token) == token


def test_the_servers_reply_is_kept() -> None:
    """With its code; older payloads have one text."""
    said = {"email_response_code": 550, "email_response_message": "no"}
    assert reported(type="email_dropped", **said).mta_response == "550 no"
    assert reported(type="email_dropped", email_error="550 no").mta_response == "550 no"


@pytest.mark.parametrize(
    "record", [a_record(Message="{"), a_record(Message="[]"), a_record(Message=7)]
)
def test_a_notification_without_an_event_is_refused(record: dict[str, Any]) -> None:
    """Nothing but a typed refusal leaves the adapter."""
    with pytest.raises(SignatureError):
        an_adapter().events(a_webhook(record))


def test_a_change_of_the_blocklist_is_no_event() -> None:
    """It is about an address and not about a mail."""
    record = a_record(Message=json.dumps({"type": "blocklist_created"}))
    assert an_adapter().events(a_webhook(record)) == ()
