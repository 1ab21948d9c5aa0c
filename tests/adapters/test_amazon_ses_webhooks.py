"""Amazon SES through SNS: which messages are believed, and what they report."""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

from mailglass.adapters.amazon_ses import AmazonSesAdapter, AwsCredentials
from mailglass.adapters.api import WebhookAuth
from mailglass.errors import (
    ConfigError,
    ConfigErrorType,
    MailglassError,
    SendError,
    SignatureError,
    SignatureErrorType,
)
from mailglass.events import EventType, RejectReason
from mailglass.webhook import TOKEN_KEY, ProviderEvent, WebhookRequest
from mailglass.webhooks.normalise import suppression_of
from tests.adapters.wire import NOW, Wire, a_webhook, basic

TOPIC: Final = "arn:aws:sns:eu-west-1:111122223333:mail-events"
HOST: Final = "https://sns.eu-west-1.amazonaws.com"
CERTIFICATE: Final = f"{HOST}/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"
SIGNED: Final = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": (
        "Message",
        "MessageId",
        "SubscribeURL",
        "Timestamp",
        "Token",
        "TopicArn",
        "Type",
    ),
}


@functools.cache
def a_key() -> rsa.RSAPrivateKey:
    """Return the key that signs for SNS in these tests."""
    return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)


def a_certificate(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | None = None,
    *,
    ends: datetime | None = None,
) -> bytes:
    """Return a certificate of the key in PEM."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key((key or a_key()).public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=30))
        .not_valid_after(ends or NOW + timedelta(days=30))
        .sign(key or a_key(), hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


def a_record(message: object = None, **given: Any) -> dict[str, Any]:
    """Return an SNS message without its signature; None takes a field away."""
    shown = message if isinstance(message, str) else json.dumps(message or {})
    record = {
        "Type": "Notification",
        "MessageId": "sns-1",
        "TopicArn": TOPIC,
        "Message": shown,
        "Timestamp": "2026-11-21T11:59:58.000Z",
        "SignatureVersion": "2",
        "SigningCertURL": CERTIFICATE,
    } | given
    return {name: value for name, value in record.items() if value is not None}


def signature_of(record: dict[str, Any]) -> str:
    """Return the signature as Amazon's documentation describes it."""
    names = SIGNED.get(record["Type"], SIGNED["SubscriptionConfirmation"])
    to_sign = "".join(f"{name}\n{record[name]}\n" for name in names if name in record)
    digest: hashes.HashAlgorithm = (
        hashes.SHA1() if record.get("SignatureVersion") == "1" else hashes.SHA256()  # noqa: S303 - version 1 is SNS's own
    )
    made = a_key().sign(to_sign.encode(), padding.PKCS1v15(), digest)
    return base64.b64encode(made).decode()


def posted(record: dict[str, Any], **given: Any) -> WebhookRequest:
    """Return the request that brings a record, signed unless it has a signature."""
    whole = record if "Signature" in record else {**record, "Signature": signature_of(record)}
    return a_webhook(whole, **given)


def an_adapter(
    fetch: Callable[[str], bytes] | None = None, wire: Wire | None = None, **given: Any
) -> AmazonSesAdapter:
    """Return an adapter that believes one topic and knows one certificate."""
    usual: dict[str, Any] = {"topic_arns": [TOPIC]}
    return AmazonSesAdapter(
        region="eu-west-1",
        credentials=AwsCredentials(access_key_id="a", secret_access_key="b"),
        fetch_certificate=fetch or (lambda _: a_certificate()),
        transport=wire or Wire(b""),
        **(usual | given),
    )


def refusal(adapter: AmazonSesAdapter, request: WebhookRequest) -> SignatureErrorType:
    """Return why a request is refused."""
    with pytest.raises(SignatureError) as caught:
        adapter.verify(request)
    return caught.value.type


def never(url: str) -> bytes:
    """Fail the test: nothing may be fetched."""
    raise AssertionError(url)


@pytest.mark.parametrize(
    "record",
    [
        a_record(),
        a_record(Subject="Amazon SES Email Event"),
        a_record("text with\nlines and ünicode"),
        a_record(Type="SubscriptionConfirmation", Token="t", SubscribeURL=f"{HOST}/?a=b"),
        a_record(Type="UnsubscribeConfirmation", Token="t", SubscribeURL=f"{HOST}/?a=b"),
    ],
    ids=["notification", "subject", "text", "subscribe", "unsubscribe"],
)
def test_what_sns_signed_is_believed(record: dict[str, Any]) -> None:
    """Each kind of message signs other fields."""
    an_adapter().verify(posted(record))


def test_version_1_is_believed_only_when_asked_for() -> None:
    """It signs with SHA-1."""
    request = posted(a_record(SignatureVersion="1"))
    assert refusal(an_adapter(never), request) is SignatureErrorType.MALFORMED_HEADER
    an_adapter(accepts_sha1=True).verify(request)


def test_the_version_cannot_be_changed_afterwards() -> None:
    """A signature is checked with the digest of the version that it names."""
    record = a_record()
    changed = {**record, "Signature": signature_of(record), "SignatureVersion": "1"}
    adapter = an_adapter(accepts_sha1=True)
    assert refusal(adapter, posted(changed)) is SignatureErrorType.BAD_SIGNATURE


def test_another_topic_is_refused_before_anything_is_fetched() -> None:
    """Whoever has an account can have SNS sign."""
    other = a_record(TopicArn="arn:aws:sns:eu-west-1:999999999999:mail-events")
    assert refusal(an_adapter(never), posted(other)) is SignatureErrorType.BAD_CREDENTIALS


def test_nothing_is_believed_without_a_topic() -> None:
    """A signature alone says only that SNS sent it for somebody."""
    with pytest.raises(ConfigError) as caught:
        an_adapter(topic_arns=[]).verify(posted(a_record()))
    assert caught.value.type is ConfigErrorType.WEBHOOK_VERIFICATION_KEY_MISSING


@pytest.mark.parametrize("arn", ["", "mail-events", "arn:aws:s3:::bucket", TOPIC + "\n"])
def test_what_is_no_topic_is_refused(arn: str) -> None:
    """A slip in the settings shows at the start."""
    with pytest.raises(ConfigError):
        an_adapter(topic_arns=[arn])


def test_one_of_several_topics_is_enough() -> None:
    """A topic can be replaced without losing an event."""
    an_adapter(topic_arns=[f"{TOPIC}-2", TOPIC]).verify(posted(a_record()))


@pytest.mark.parametrize(
    "url",
    [
        CERTIFICATE.replace("https", "http"),
        CERTIFICATE.replace("sns.", "s3."),
        CERTIFICATE.replace("eu-west-1", "us-east-1"),
        CERTIFICATE.replace(".com/", ".com.evil.test/"),
        CERTIFICATE.replace(".com/", ".com@evil.test/"),
        CERTIFICATE.replace(".com/", ".com:8443/"),
        CERTIFICATE.replace(".com/", ".com.cn/"),
        CERTIFICATE.replace("https://", "https://evil.test/"),
        CERTIFICATE.replace("https://", "https://sns.evil.test#"),
        CERTIFICATE.replace("/Simple", "/bucket/Simple"),
        CERTIFICATE.replace("/Simple", "/../Simple"),
        CERTIFICATE.replace("-0123", "-%2e%2e"),
        CERTIFICATE + "?a=b",
        CERTIFICATE + "#a",
        CERTIFICATE + "\n",
        CERTIFICATE.upper(),
        "http://169.254.169.254/latest/meta-data/",
        "file:///etc/passwd",
        "//evil.test/x.pem",
        "",
        7,
        None,
    ],
)
def test_a_certificate_from_elsewhere_is_not_fetched(url: object) -> None:
    """One host, one path, nothing else: not even SNS in another region."""
    record = a_record(SigningCertURL=url)
    assert refusal(an_adapter(never), posted(record)) is SignatureErrorType.MALFORMED_HEADER


def test_china_has_a_host_of_its_own() -> None:
    """The topic's partition names it."""
    topic = TOPIC.replace("aws:", "aws-cn:").replace("eu-west-1", "cn-north-1")
    url = CERTIFICATE.replace("eu-west-1", "cn-north-1").replace(".com/", ".com.cn/")
    an_adapter(topic_arns=[topic]).verify(posted(a_record(TopicArn=topic, SigningCertURL=url)))


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"Message": "{}x"}, SignatureErrorType.BAD_SIGNATURE),
        ({"Subject": "added"}, SignatureErrorType.BAD_SIGNATURE),
        ({"Signature": None}, SignatureErrorType.MISSING_HEADER),
        ({"Signature": "YW*Jj"}, SignatureErrorType.MALFORMED_HEADER),
        ({"Signature": "é"}, SignatureErrorType.MALFORMED_HEADER),
        ({"Signature": "YWJj"}, SignatureErrorType.BAD_SIGNATURE),
        ({"SignatureVersion": "3"}, SignatureErrorType.MALFORMED_HEADER),
        ({"SignatureVersion": 2}, SignatureErrorType.MALFORMED_HEADER),
        ({"SignatureVersion": None}, SignatureErrorType.MALFORMED_HEADER),
        ({"Message": None}, SignatureErrorType.MALFORMED_HEADER),
        ({"Message": 7}, SignatureErrorType.MALFORMED_HEADER),
        ({"Timestamp": None}, SignatureErrorType.MALFORMED_HEADER),
        ({"Timestamp": "yesterday"}, SignatureErrorType.MALFORMED_HEADER),
        ({"Type": "Advertisement"}, SignatureErrorType.MALFORMED_HEADER),
        ({"Type": None}, SignatureErrorType.MALFORMED_HEADER),
        ({"Type": ["Notification"]}, SignatureErrorType.MALFORMED_HEADER),
        ({"TopicArn": [TOPIC]}, SignatureErrorType.BAD_CREDENTIALS),
    ],
)
def test_a_changed_message_is_refused(
    changed: dict[str, Any], expected: SignatureErrorType
) -> None:
    """Whatever is wrong is a typed refusal."""
    record = a_record()
    whole = {**record, "Signature": signature_of(record)} | changed
    body = {name: value for name, value in whole.items() if value is not None}
    assert refusal(an_adapter(), a_webhook(body)) is expected


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"null", b"\xff\xfe"])
def test_a_body_that_is_no_message_is_refused(body: bytes) -> None:
    """Nothing but a typed refusal leaves the adapter."""
    assert refusal(an_adapter(), a_webhook(body)) is SignatureErrorType.MALFORMED_HEADER


@pytest.mark.parametrize(
    ("age_s", "passes"), [(0, True), (3_899, True), (3_901, False), (-299, True), (-301, False)]
)
def test_a_message_may_be_as_old_as_sns_repeats_it(age_s: int, *, passes: bool) -> None:
    """SNS repeats a message to an HTTP endpoint for an hour at most."""
    stamp = (NOW - timedelta(seconds=age_s)).isoformat().replace("+00:00", "Z")
    request = posted(a_record(Timestamp=stamp))
    if passes:
        an_adapter().verify(request)
    else:
        assert refusal(an_adapter(never), request) is SignatureErrorType.TIMESTAMP_SKEW


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"no certificate",
        b"-----BEGIN CERTIFICATE-----\nYQ==\n-----END CERTIFICATE-----\n",
        a_certificate() + b" " * 16_384,
        a_certificate(ends=NOW - timedelta(seconds=1)),
    ],
    ids=["empty", "text", "rubbish", "too large", "ended"],
)
def test_a_certificate_that_is_none_is_refused(pem: bytes) -> None:
    """It must be small, readable and still valid."""
    adapter = an_adapter(lambda _: pem)
    assert refusal(adapter, posted(a_record())) is SignatureErrorType.MALFORMED_KEY


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        rsa.generate_private_key(public_exponent=65_537, key_size=2_048),
    ],
    ids=["another kind", "another key"],
)
def test_another_key_does_not_verify(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> None:
    """The signature must be that key's."""
    adapter = an_adapter(lambda _: a_certificate(key))
    assert refusal(adapter, posted(a_record())) is SignatureErrorType.BAD_SIGNATURE


def test_a_certificate_is_fetched_once() -> None:
    """A webhook does not wait for the network each time."""
    asked: list[str] = []

    def fetch(url: str) -> bytes:
        asked.append(url)
        return a_certificate()

    adapter = an_adapter(fetch)
    for _ in range(3):
        adapter.verify(posted(a_record()))
    assert asked == [CERTIFICATE]


def test_a_certificate_that_cannot_be_fetched_may_be_asked_for_again() -> None:
    """The message may be genuine; SNS repeats it after an answer such as 503."""
    wire = Wire(b"", status=503)
    adapter = AmazonSesAdapter(
        region="eu-west-1",
        credentials=AwsCredentials(access_key_id="a", secret_access_key="b"),
        topic_arns=[TOPIC],
        transport=wire,
    )
    with pytest.raises(SendError) as caught:
        adapter.verify(posted(a_record()))
    assert caught.value.retryable
    assert [(one.method, one.url) for one in wire.requests] == [("GET", CERTIFICATE)]


def test_credentials_are_asked_for_in_addition() -> None:
    """They do not stand in for the signature."""
    adapter = an_adapter(webhooks=WebhookAuth(credentials=["user:word"]))
    adapter.verify(posted(a_record(), headers=basic("user:word")))
    assert refusal(adapter, posted(a_record())) is SignatureErrorType.MISSING_HEADER


@pytest.mark.parametrize(
    "headers", [{"x-amz-sns-message-type": "Notification2"}, {"x-amz-sns-message-id": "sns-2"}]
)
def test_headers_that_say_something_else_are_refused(headers: dict[str, str]) -> None:
    """SNS says type and id twice."""
    with pytest.raises(SignatureError):
        an_adapter().events(posted(a_record(), headers=headers))


@pytest.mark.parametrize("number", [None, "", 7, {}])
def test_a_message_without_its_id_is_refused(number: object) -> None:
    """Two events without one would be taken for the same, and the second be lost."""
    with pytest.raises(SignatureError) as caught:
        an_adapter().events(posted(a_record({"eventType": "Delivery"}, MessageId=number)))
    assert caught.value.type is SignatureErrorType.MALFORMED_HEADER


def a_confirmation(**given: Any) -> dict[str, Any]:
    """Return a request to confirm a subscription."""
    usual = {"Token": "t", "SubscribeURL": f"{HOST}/?Action=ConfirmSubscription&Token=t"}
    return a_record("You have chosen …", Type="SubscriptionConfirmation", **(usual | given))


def test_a_subscription_is_confirmed_on_snss_own_host() -> None:
    """One GET, after everything was checked."""
    wire = Wire(b"<ConfirmSubscriptionResponse/>")
    assert an_adapter(wire=wire).confirm(posted(a_confirmation()))
    assert [one.url for one in wire.requests] == [f"{HOST}/?Action=ConfirmSubscription&Token=t"]


def test_a_person_may_confirm_instead() -> None:
    """Then nothing is called."""
    wire = Wire(b"")
    assert not an_adapter(wire=wire, confirms_subscriptions=False).confirm(posted(a_confirmation()))
    assert wire.requests == []


@pytest.mark.parametrize(
    "record",
    [
        a_confirmation(SubscribeURL="https://evil.test/?a=b"),
        a_confirmation(SubscribeURL="https://sns.us-east-1.amazonaws.com/?a=b"),
        a_confirmation(SubscribeURL=f"{HOST}.evil.test/?a=b"),
        a_confirmation(SubscribeURL=f"{HOST}/path?a=b"),
        a_confirmation(TopicArn=f"{TOPIC}-2"),
        a_confirmation(Signature="YWJj"),
    ],
    ids=["host", "region", "suffix", "path", "topic", "signature"],
)
def test_a_subscription_of_others_is_not_confirmed(record: dict[str, Any]) -> None:
    """Nothing is called."""
    wire = Wire(b"")
    with pytest.raises(MailglassError):
        an_adapter(wire=wire).confirm(posted(record))
    assert wire.requests == []


def test_a_notification_confirms_nothing() -> None:
    """Only one kind of message asks for it."""
    wire = Wire(b"")
    assert not an_adapter(wire=wire).confirm(posted(a_record()))
    assert wire.requests == []


MAIL: Final = {
    "messageId": "0102-m-1",
    "destination": ["ada@r.test", "bob@r.test"],
    "headers": [
        {"name": "X-Tag", "value": "one"},
        {"name": "x-tag", "value": "two"},
        {"name": "X-Metadata", "value": '{"order": "7"}'},
    ],
    "tags": {TOKEN_KEY: ["0197a000-0000-7000-8000-000000000001"]},
}


def reported(word: str, /, **details: Any) -> tuple[ProviderEvent, ...]:
    """Return the events of a notice about the mail."""
    notice = {"eventType": word, "mail": MAIL} | details
    return an_adapter().events(posted(a_record(notice)))


@pytest.mark.parametrize(
    ("word", "kind", "reason"),
    [
        ("Send", EventType.SENT, None),
        ("Delivery", EventType.DELIVERED, None),
        ("Bounce", EventType.BOUNCED, RejectReason.BOUNCED),
        ("Complaint", EventType.COMPLAINED, RejectReason.SPAM),
        ("Reject", EventType.REJECTED, RejectReason.BLOCKED),
        ("Open", EventType.OPENED, None),
        ("Click", EventType.CLICKED, None),
        ("Rendering Failure", EventType.FAILED, None),
        ("DeliveryDelay", EventType.DEFERRED, None),
        ("SomethingNew", EventType.UNKNOWN, None),
    ],
)
def test_every_word_has_its_meaning(
    word: str, kind: EventType, reason: RejectReason | None
) -> None:
    """Where nobody is named it is about everyone whom the mail went to."""
    events = reported(word)
    assert [(one.type, one.reject_reason, one.recipient, one.word) for one in events] == [
        (kind, reason, "ada@r.test", word),
        (kind, reason, "bob@r.test", word),
    ]


def test_an_event_carries_what_ses_says() -> None:
    """SNS's time and id, the mail's id, its labels and our own id."""
    event = reported("Send")[0]
    assert event.occurred_at == datetime(2026, 11, 21, 11, 59, 58, tzinfo=UTC)
    assert (event.provider_event_id, event.provider_message_ids) == ("sns-1", ("0102-m-1",))
    assert (event.tags, dict(event.metadata)) == (("one", "two"), {"order": "7"})
    assert str(event.delivery_token) == "0197a000-0000-7000-8000-000000000001"


def test_identity_notifications_use_another_key() -> None:
    """The older kind of notice says the same."""
    notice = {
        "notificationType": "Delivery",
        "mail": MAIL,
        "delivery": {"recipients": ["b@r.test"]},
    }
    (event,) = an_adapter().events(posted(a_record(notice)))
    assert (event.type, event.recipient) == (EventType.DELIVERED, "b@r.test")


@pytest.mark.parametrize(
    ("kind", "is_permanent"), [("Permanent", True), ("Transient", False), ("Undetermined", False)]
)
def test_only_a_permanent_bounce_is_permanent(kind: str, *, is_permanent: bool) -> None:
    """A full mailbox must not suppress anybody."""
    bounced = [{"emailAddress": "bob@r.test", "diagnosticCode": "smtp; 550 no"}]
    (event,) = reported(
        "Bounce",
        bounce={"bounceType": kind, "bounceSubType": "General", "bouncedRecipients": bounced},
    )
    assert (event.type, event.is_permanent) == (EventType.BOUNCED, is_permanent)
    assert (event.recipient, event.mta_response) == ("bob@r.test", "smtp; 550 no")
    assert event.description == f"{kind}: General"


@pytest.mark.parametrize(
    ("word", "details", "description"),
    [
        ("Complaint", {"complaint": {"complaintFeedbackType": "abuse"}}, "abuse"),
        ("Reject", {"reject": {"reason": "Bad content"}}, "Bad content"),
        ("Rendering Failure", {"failure": {"errorMessage": "no variable"}}, "no variable"),
        ("DeliveryDelay", {"deliveryDelay": {"delayType": "MailboxFull"}}, "MailboxFull"),
    ],
)
def test_each_kind_says_why_in_its_own_place(
    word: str, details: dict[str, Any], description: str
) -> None:
    """The object's name is not always the word's."""
    assert reported(word, **details)[0].description == description


@pytest.mark.parametrize("kind", ["not-spam", "auth-failure"])
def test_a_report_in_which_nobody_complains_is_no_complaint(kind: str) -> None:
    """A mailbox provider reports a mail that is no spam, or one that failed DKIM, in the same way."""
    who = [{"emailAddress": "bob@r.test"}]
    (event,) = reported(
        "Complaint", complaint={"complaintFeedbackType": kind, "complainedRecipients": who}
    )
    assert (event.type, event.reject_reason) == (EventType.UNKNOWN, None)
    assert (event.recipient, event.description, suppression_of(event)) == ("bob@r.test", kind, None)


@pytest.mark.parametrize("kind", ["abuse", "fraud", "virus", "other", "new", None])
def test_any_other_report_is_a_complaint(kind: str | None) -> None:
    """One without a kind is, too: whoever reports it wants no more."""
    events = reported("Complaint", complaint={"complaintFeedbackType": kind})
    assert {event.type for event in events} == {EventType.COMPLAINED}


def test_a_delay_names_whom_it_holds_up() -> None:
    """Not everybody whom the mail went to."""
    delay = {"delayedRecipients": [{"emailAddress": "bob@r.test", "diagnosticCode": "452 full"}]}
    (event,) = reported("DeliveryDelay", deliveryDelay=delay)
    assert (event.recipient, event.mta_response) == ("bob@r.test", "452 full")


@pytest.mark.parametrize(
    ("preferences", "kind"),
    [
        ({"unsubscribeAll": True}, EventType.UNSUBSCRIBED),
        ({"topicSubscriptionStatus": [{"subscriptionStatus": "OptOut"}]}, EventType.UNSUBSCRIBED),
        ({"topicSubscriptionStatus": [{"subscriptionStatus": "OptIn"}]}, EventType.SUBSCRIBED),
    ],
)
def test_a_subscription_says_which_way(preferences: dict[str, Any], kind: EventType) -> None:
    """One word for joining and leaving."""
    events = reported("Subscription", subscription={"newTopicPreferences": preferences})
    assert {event.type for event in events} == {kind}


def _chosen(*, all_off: bool = False, **topics: str) -> dict[str, Any]:
    listed = [{"topicName": name, "subscriptionStatus": one} for name, one in topics.items()]
    return {"unsubscribeAll": all_off, "topicSubscriptionStatus": listed}


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (
            _chosen(a="OptOut", b="OptOut"),
            _chosen(a="OptOut", b="OptIn"),
            EventType.SUBSCRIBED,
        ),
        (_chosen(a="OptOut", b="OptIn"), _chosen(a="OptOut", b="OptOut"), EventType.UNSUBSCRIBED),
        (_chosen(a="OptOut", b="OptIn"), _chosen(a="OptIn", b="OptOut"), EventType.UNSUBSCRIBED),
        (_chosen(all_off=True, a="OptOut"), _chosen(a="OptOut"), EventType.SUBSCRIBED),
        (_chosen(a="OptIn"), _chosen(all_off=True, a="OptIn"), EventType.UNSUBSCRIBED),
    ],
)
def test_what_somebody_had_left_before_is_not_left_again(
    before: dict[str, Any], after: dict[str, Any], kind: EventType
) -> None:
    """Both states are whole lists: only a topic that is newly off is left."""
    states = {"oldTopicPreferences": before, "newTopicPreferences": after}
    assert {event.type for event in reported("Subscription", subscription=states)} == {kind}


def test_a_click_brings_its_address_and_browser() -> None:
    """Both are the provider's facts."""
    click = {"link": "https://a.test/?t=1", "userAgent": "Browser"}
    event = reported("Click", click=click)[0]
    assert (event.click_url, event.user_agent) == ("https://a.test/?t=1", "Browser")


@pytest.mark.parametrize(
    "record",
    [
        a_record("Successfully validated SNS topic for Amazon SES event publishing."),
        a_record("{}"),
        a_record({"notificationType": "Received"}),
        a_confirmation(),
    ],
    ids=["first message", "nothing", "received mail", "confirmation"],
)
def test_what_is_about_no_sent_mail_has_no_event(record: dict[str, Any]) -> None:
    """It is taken all the same."""
    assert an_adapter().events(posted(record)) == ()


def test_a_notice_that_cannot_be_read_is_unknown() -> None:
    """It is kept and not asked for again."""
    (event,) = an_adapter().events(posted(a_record('{"eventType": NaN}')))
    assert event.type is EventType.UNKNOWN


def test_metadata_that_is_no_json_is_kept_as_text() -> None:
    """The field may be somebody else's."""
    mail = {**MAIL, "headers": [{"name": "X-Metadata", "value": "plain"}]}
    notice = {"eventType": "Send", "mail": mail}
    event = an_adapter().events(posted(a_record(notice)))[0]
    assert dict(event.metadata) == {"X-Metadata": "plain"}
