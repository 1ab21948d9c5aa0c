"""Amazon SES: what is asked of it, how it is signed, and what its answers mean."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from mailglass.adapters.amazon_ses import AmazonSesAdapter, AwsCredentials
from mailglass.adapters.aws_signing import signed
from mailglass.adapters.http import Request
from mailglass.errors import ConfigError, ConfigErrorType, FailureClass, SendError
from mailglass.message import Attachment, StoredTemplate, Tracking
from mailglass.webhook import TOKEN_KEY
from tests.adapters.wire import NOW, PAYLOAD, Wire, a_message, body_of, enveloped

URL: Final = "https://email.eu-west-1.amazonaws.com/v2/email/outbound-emails"
OK: Final = {"MessageId": "0102-m-1"}
CREDENTIALS: Final = AwsCredentials(access_key_id="AKIDEXAMPLE", secret_access_key="secret/Key+1")


def an_adapter(wire: Wire | None = None, **given: Any) -> AmazonSesAdapter:
    """Return an adapter in Ireland."""
    usual: dict[str, Any] = {"region": "eu-west-1", "credentials": CREDENTIALS}
    return AmazonSesAdapter(transport=wire or Wire(OK), clock=lambda: NOW, **(usual | given))


def asked(**given: Any) -> dict[str, Any]:
    """Return the body of the request for a message."""
    return body_of(an_adapter().request(enveloped(a_message(**given))))


def raw_of(body: dict[str, Any]) -> bytes:
    """Return the mail's bytes in a request."""
    return base64.b64decode(body["Content"]["Raw"]["Data"])


def test_the_frozen_bytes_travel_as_they_are() -> None:
    """Nothing is built anew."""
    assert raw_of(asked()) == PAYLOAD


def test_the_recipients_travel_apart_from_the_bytes() -> None:
    """A Bcc recipient is in no header."""
    body = asked(to=["Ada <ada@r.test>", "bob@r.test"], cc="cy@r.test", bcc="di@r.test")
    assert body["Destination"] == {
        "ToAddresses": ["ada@r.test", "bob@r.test"],
        "CcAddresses": ["cy@r.test"],
        "BccAddresses": ["di@r.test"],
    }
    assert b"di@r.test" not in raw_of(body)


def test_tags_and_metadata_are_header_fields() -> None:
    """SES brings header fields back with its events."""
    raw = raw_of(asked(tags=["one", "two"], metadata={"order": "7"}))
    assert raw == b'X-Tag: one\r\nX-Tag: two\r\nX-Metadata: {"order": "7"}\r\n' + PAYLOAD


def test_our_own_id_is_an_email_tag() -> None:
    """Event publishing brings it back."""
    envelope = enveloped(a_message())
    body = body_of(an_adapter(configuration_set="events").request(envelope))
    known_as = str(envelope.recipients[0].delivery_id)
    assert body["EmailTags"] == [{"Name": TOKEN_KEY, "Value": known_as}]
    assert body["ConfigurationSetName"] == "events"


@pytest.mark.parametrize(
    "given",
    [
        {"tags": ["größe"]},
        {"metadata": {"k": "v" * 1_000}},
        {"tracking": Tracking(opens=True)},
        {"tracking": Tracking(clicks=True)},
        {"to": "señor@r.test"},
        {"provider_send_at": NOW},
    ],
)
def test_what_ses_cannot_carry_is_refused(given: dict[str, Any]) -> None:
    """Nothing is dropped in silence."""
    with pytest.raises(SendError) as caught:
        asked(**given)
    assert caught.value.code == "unsupported_feature"


@pytest.mark.parametrize(
    ("token", "names", "signature"),
    [
        (
            None,
            "content-type;host;x-amz-date",
            "d5418d129e001469d3d5597ee769f8bb4d4f9c828646e69fd1719a50bc051cb2",
        ),
        (
            "session",
            "content-type;host;x-amz-date;x-amz-security-token",
            "eff1772ef75f5ba68ade6d6111431be03af332331e8524a4ecc2cb08b8c628f0",
        ),
    ],
)
def test_the_signature_is_the_one_that_amazons_own_client_makes(
    token: str | None, names: str, signature: str
) -> None:
    """The values come from botocore, for the same request, keys and time."""
    keys = AwsCredentials(
        access_key_id="AKIDEXAMPLE", secret_access_key="secret/Key+1", session_token=token
    )
    request = Request(url=URL, headers=(("content-type", "application/json"),), body=b'{"a":1}')
    at = datetime(2026, 11, 21, 12, tzinfo=UTC)
    made = signed(request, credentials=keys, region="eu-west-1", now=at, service="ses")
    headers = dict(made.headers)
    assert headers["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261121/eu-west-1/ses/aws4_request, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    assert headers.get("x-amz-security-token") == token


def test_the_signature_of_an_object_is_the_one_in_amazons_own_manual() -> None:
    """S3's example of a GET, whose header fields are signed with the digest of its empty body.

    https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
    """
    keys = AwsCredentials(
        access_key_id="AKIAIOSFODNN7EXAMPLE",
        secret_access_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    )
    request = Request(
        method="GET",
        url="https://examplebucket.s3.amazonaws.com/test.txt",
        headers=(("Range", "bytes=0-9"),),
    )
    at = datetime(2013, 5, 24, tzinfo=UTC)
    made = signed(request, credentials=keys, region="us-east-1", now=at, service="s3")
    assert dict(made.headers)["authorization"].endswith(
        "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    )


def test_credentials_may_change_while_the_process_runs() -> None:
    """Temporary keys end after hours."""
    keys = iter(["first", "second"])
    adapter = an_adapter(
        credentials=lambda: AwsCredentials(access_key_id=next(keys), secret_access_key="s")
    )
    claims = [
        dict(adapter.request(enveloped(a_message())).headers)["authorization"] for _ in range(2)
    ]
    assert ["Credential=first/" in claims[0], "Credential=second/" in claims[1]] == [True, True]


def test_secrets_are_not_shown() -> None:
    """Neither the adapter nor its credentials tell them."""
    keys = AwsCredentials(access_key_id="id", secret_access_key="hush-1", session_token="hush-2")
    assert "hush" not in f"{keys!r} {an_adapter(credentials=keys)!r}"


@pytest.mark.parametrize("region", ["", "eu", "eu-west-1.evil.test/", "EU-WEST-1"])
def test_what_is_no_region_is_refused(region: str) -> None:
    """It becomes part of the address that is called."""
    with pytest.raises(ConfigError):
        an_adapter(region=region)


def test_acceptance_brings_the_message_id() -> None:
    """Events name the mail by this id."""
    (verdict,) = an_adapter().send(enveloped(a_message())).verdicts
    assert (verdict.is_accepted, verdict.provider_message_id) == (True, "0102-m-1")


@pytest.mark.parametrize(
    ("status", "name", "said", "expected"),
    [
        (429, "TooManyRequestsException", "Too many requests", FailureClass.NOT_SENT),
        (400, "ThrottlingException", "Maximum sending rate exceeded.", FailureClass.NOT_SENT),
        (500, "InternalFailure", "", FailureClass.NOT_SENT),
        (400, "MessageRejected", "Message contains a virus", FailureClass.PERMANENT),
        (400, "BadRequestException", "Missing final '@domain'", FailureClass.PERMANENT),
        (404, "NotFoundException", "Configuration set does not exist", FailureClass.PERMANENT),
        (400, "SomethingNewException", "", FailureClass.PERMANENT),
    ],
)
def test_an_exception_is_classed_by_its_name(
    status: int, name: str, said: str, expected: FailureClass
) -> None:
    """The header names it, with a namespace behind it at times."""
    headers = {"x-amzn-ErrorType": f"{name}:http://internal.amazon.com/coral/"}
    wire = Wire({"message": said}, status=status, headers=headers)
    (verdict,) = an_adapter(wire).send(enveloped(a_message())).verdicts
    assert verdict.failure_class is expected
    assert verdict.code == f"http {status} {name}"


@pytest.mark.parametrize(
    ("status", "name", "said"),
    [
        (403, "AccessDeniedException", ""),
        (400, "ExpiredTokenException", ""),
        (400, "AccountSuspendedException", ""),
        (400, "SendingPausedException", ""),
        (400, "MailFromDomainNotVerifiedException", ""),
        (400, "MessageRejected", "Email address is not verified. The following identities …"),
        (400, "ThrottlingException", "Daily message quota exceeded."),
    ],
)
def test_an_account_that_may_not_send_is_a_matter_of_settings(
    status: int, name: str, said: str
) -> None:
    """No other attempt helps, and the text is not repeated."""
    wire = Wire({"__type": f"com.amazonaws.ses#{name}", "message": said}, status=status)
    with pytest.raises(ConfigError) as caught:
        an_adapter(wire).send(enveloped(a_message()))
    assert caught.value.type is ConfigErrorType.INVALID
    assert not said or said not in str(caught.value)


def test_an_answer_without_id_is_unknown() -> None:
    """A 200 that says nothing of the mail proves nothing."""
    (verdict,) = an_adapter(Wire({})).send(enveloped(a_message())).verdicts
    assert verdict.failure_class is FailureClass.UNKNOWN


STORED: Final = StoredTemplate(
    id="welcome", variables={"site": "Shop"}, per_recipient={"ada@r.test": {"name": "Ada"}}
)
TEMPLATED: Final[dict[str, Any]] = {"stored_template": STORED, "subject": "", "text": None}


def test_a_stored_template_is_sent_in_bulk() -> None:
    """One entry a To recipient, with the variables of their own and a tag with their own id."""
    envelope = enveloped(
        a_message(
            **TEMPLATED,
            to=["ada@r.test", "Bob <bob@r.test>"],
            cc="cy@r.test",
            reply_to="help@s.test",
            tags=["one"],
            metadata={"order": "7"},
            headers={"X-A": "b"},
        )
    )
    request = an_adapter().request(envelope)
    body = body_of(request)
    assert request.url.endswith("/v2/email/outbound-bulk-emails")
    assert body["FromEmailAddress"] == "Shop <shop@sender.test>"
    assert body["ReplyToAddresses"] == ["help@s.test"]
    assert body["DefaultContent"] == {
        "Template": {"TemplateName": "welcome", "TemplateData": '{"site":"Shop"}'}
    }
    headers = [
        {"Name": "X-A", "Value": "b"},
        {"Name": "X-Tag", "Value": "one"},
        {"Name": "X-Metadata", "Value": '{"order": "7"}'},
    ]
    assert body["BulkEmailEntries"] == [
        {
            "Destination": {"ToAddresses": [to], "CcAddresses": ["cy@r.test"]},
            "ReplacementEmailContent": {
                "ReplacementTemplate": {"ReplacementTemplateData": variables}
            },
            "ReplacementHeaders": headers,
            "ReplacementTags": [{"Name": TOKEN_KEY, "Value": str(one.delivery_id)}],
        }
        for to, variables, one in zip(
            ("ada@r.test", "Bob <bob@r.test>"),
            ('{"name":"Ada"}', "{}"),
            envelope.recipients[:2],
            strict=True,
        )
    ]


def test_without_variables_of_their_own_everyone_is_in_one_mail() -> None:
    """They see each other, as in any mail."""
    given = TEMPLATED | {"stored_template": StoredTemplate(id="welcome")}
    (entry,) = asked(**given, to=["ada@r.test", "bob@r.test"])["BulkEmailEntries"]
    assert entry["Destination"] == {"ToAddresses": ["ada@r.test", "bob@r.test"]}


def test_a_name_that_is_not_ascii_is_an_encoded_word() -> None:
    """SES builds the header from what it is told."""
    (entry,) = asked(**TEMPLATED, to="Zoë <zoe@r.test>")["BulkEmailEntries"]
    assert entry["Destination"]["ToAddresses"] == ["=?utf-8?q?Zo=C3=AB?= <zoe@r.test>"]


@pytest.mark.parametrize(
    "given",
    [
        {"subject": "Mine"},
        {"text": "Mine"},
        {"html": "<p>Mine</p>"},
        {"attachments": [Attachment(filename="a", content=b"a")]},
        {"stored_template": StoredTemplate(variables={"a": 1}), "text": "Mine"},
    ],
)
def test_what_a_stored_template_holds_itself_is_refused(given: dict[str, Any]) -> None:
    """SES would drop it in silence; and it fills in nothing elsewhere."""
    with pytest.raises(SendError) as caught:
        asked(**(TEMPLATED | given))
    assert caught.value.code == "unsupported_feature"


def test_each_mail_of_a_template_has_its_own_verdict() -> None:
    """Whoever is copied has that of the first mail that was taken."""
    results = [
        {"Status": "ACCOUNT_DAILY_QUOTA_EXCEEDED", "Error": "Daily message quota exceeded"},
        {"Status": "SUCCESS", "MessageId": "m-2"},
    ]
    message = a_message(**TEMPLATED, to=["ada@r.test", "bob@r.test"], bcc="di@r.test")
    wire = Wire({"BulkEmailEntryResults": results})
    verdicts = an_adapter(wire).send(enveloped(message)).verdicts
    assert [(one.failure_class, one.provider_message_id) for one in verdicts] == [
        (FailureClass.CONFIGURATION, None),
        (None, "m-2"),
        (None, "m-2"),
    ]


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"Status": "MESSAGE_REJECTED"}, FailureClass.PERMANENT),
        ({"Status": "TEMPLATE_NOT_FOUND"}, FailureClass.PERMANENT),
        ({"Status": "ACCOUNT_SUSPENDED"}, FailureClass.CONFIGURATION),
        ({"Status": "ACCOUNT_THROTTLED"}, FailureClass.NOT_SENT),
        ({"Status": "TRANSIENT_FAILURE"}, FailureClass.NOT_SENT),
        ({"Status": "SOMETHING_NEW"}, FailureClass.UNKNOWN),
        ({"Status": "SUCCESS"}, FailureClass.UNKNOWN),
        ({}, FailureClass.UNKNOWN),
    ],
)
def test_the_result_of_a_mail_is_classed(result: dict[str, str], expected: FailureClass) -> None:
    """A success without an id proves nothing."""
    wire = Wire({"BulkEmailEntryResults": [result]})
    (verdict,) = an_adapter(wire).send(enveloped(a_message(**TEMPLATED))).verdicts
    assert verdict.failure_class is expected


def test_a_missing_result_leaves_everything_unknown() -> None:
    """Nobody can tell whose it is."""
    message = a_message(**TEMPLATED, to=["ada@r.test", "bob@r.test"])
    wire = Wire({"BulkEmailEntryResults": [{"Status": "SUCCESS", "MessageId": "1"}]})
    verdicts = an_adapter(wire).send(enveloped(message)).verdicts
    assert {one.failure_class for one in verdicts} == {FailureClass.UNKNOWN}


def test_bounces_are_forwarded_to_the_envelope_sender() -> None:
    """SES takes it for nothing else."""
    body = asked(envelope_sender="bounces@s.test")
    assert body["FeedbackForwardingEmailAddress"] == "bounces@s.test"


def test_the_tag_may_have_a_name_of_its_own() -> None:
    """Event publishing then brings it back as an email tag."""
    body = body_of(an_adapter(tag_name="Campaign").request(enveloped(a_message(tags=["welcome"]))))
    assert body["EmailTags"][0] == {"Name": "Campaign", "Value": "welcome"}


@pytest.mark.parametrize("tags", [["one", "two"], ["two words"]])
def test_a_tag_that_is_no_email_tag_is_refused(tags: list[str]) -> None:
    """One a name, of few characters."""
    with pytest.raises(SendError) as caught:
        an_adapter(tag_name="Campaign").request(enveloped(a_message(tags=tags)))
    assert caught.value.code == "unsupported_feature"


def test_options_of_the_provider_are_merged_into_the_request() -> None:
    """Over what is there."""
    body = asked(provider_options={"ConfigurationSetName": "mine", "TenantName": "t"})
    assert (body["ConfigurationSetName"], body["TenantName"]) == ("mine", "t")
