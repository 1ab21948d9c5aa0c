"""SNS: the envelope in which Amazon's events come, and the proof that they are from our topic.

The topic is checked before anything else: whoever has an AWS account can have SNS sign messages.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from mailglass.adapters.signatures import is_signed
from mailglass.adapters.sns_certificates import Certificates
from mailglass.errors import ConfigError, ConfigErrorType, SignatureErrorType
from mailglass.webhook import (
    WebhookRequest,
    check_age,
    decoded_base64,
    from_iso,
    malformed,
    mapping,
    parse_json,
    refused,
    text,
)

PROVIDER: Final = "amazon_ses"
CERTIFICATE_BYTES_MAX: Final = 16_384
_RETRIED_S: Final = 3_600.0
"""SNS repeats a request to an HTTP endpoint for an hour at most, under its first timestamp."""
_ARN: Final = re.compile(
    r"arn:(aws(?:-[a-z]+)*):sns:([a-z0-9-]{1,32}):[0-9]{12}:[\w-]{1,256}", re.ASCII
)
_CERTIFICATE_PATH: Final = re.compile(
    r"/SimpleNotificationService-[A-Za-z0-9]{1,64}\.pem", re.ASCII
)
_SUBSCRIBE_PATH: Final = re.compile(r"/\?[!-~]{1,4096}", re.ASCII)
_SIGNED_KEYS: Final = {
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
_SIGNED_KEYS["UnsubscribeConfirmation"] = _SIGNED_KEYS["SubscriptionConfirmation"]
_OPTIONAL: Final = "Subject"
_DIGESTS: Final = {"1": "sha1", "2": "sha256"}


@dataclass(slots=True)
class Sns:
    """Verifies messages of our topics; certificates are fetched once and kept.

    ``fetch`` gets an address on SNS's own host in the topic's region, so many times a minute. What
    it raises passes through ``verify``: the message may be genuine, and SNS repeats it after an
    answer such as 503.
    """

    topic_arns: tuple[str, ...]
    accepts_sha1: bool
    tolerance_s: float
    fetch: Callable[[str], bytes] = field(repr=False)
    _certificates: Certificates = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse a topic that is none."""
        self._certificates = Certificates(provider=PROVIDER, fetch=self.fetch)
        for arn in self.topic_arns:
            if _ARN.fullmatch(arn) is None:
                raise ConfigError(
                    "an SNS topic is not an ARN", type=ConfigErrorType.INVALID, key="topic_arns"
                )

    def verify(self, request: WebhookRequest) -> None:
        """Check topic, age and signature, in this order: nothing is fetched for another's topic.

        Raises:
            SignatureError: whatever is wrong.
            SendError: retryable, the certificate cannot be fetched now.
            ConfigError: ``webhook_verification_key_missing`` when no topic is allowed.

        """
        record = self._of_our_topic(request)
        digest = self._digest(record)
        self._check_age(record, request)
        url, given = record.get("SigningCertURL"), record.get("Signature")
        if not _is_on_sns(url, record, _CERTIFICATE_PATH):
            raise malformed(PROVIDER, "certificate address")
        if not isinstance(given, str):
            raise refused(SignatureErrorType.MISSING_HEADER, PROVIDER, "signature")
        signature = decoded_base64(given, provider=PROVIDER, detail="signature")
        signed = _signed_text(record)
        if not is_signed(signature, signed, self._key(str(url), request), digest):
            raise refused(SignatureErrorType.BAD_SIGNATURE, PROVIDER, "signature")

    def confirmation_url(self, request: WebhookRequest) -> str | None:
        """Return the address of a confirmation that stands on SNS's own host."""
        record = _record(request)
        if record.get("Type") != "SubscriptionConfirmation":
            return None
        url = record.get("SubscribeURL")
        if not _is_on_sns(url, record, _SUBSCRIBE_PATH):
            raise malformed(PROVIDER, "subscribe address")
        return str(url)

    def _of_our_topic(self, request: WebhookRequest) -> dict[str, Any]:
        if not self.topic_arns:
            raise ConfigError(
                "no SNS topic is allowed",
                type=ConfigErrorType.WEBHOOK_VERIFICATION_KEY_MISSING,
                key="topic_arns",
                hint="Give the adapter the ARNs of its topics.",
            )
        record = _record(request)
        if record.get("TopicArn") not in self.topic_arns:
            raise refused(SignatureErrorType.BAD_CREDENTIALS, PROVIDER, "topic")
        return record

    def _digest(self, record: dict[str, Any]) -> str:
        version = record.get("SignatureVersion")
        digest = _DIGESTS.get(version) if isinstance(version, str) else None
        if digest is None or (digest == "sha1" and not self.accepts_sha1):
            raise malformed(PROVIDER, "signature version")
        return digest

    def _check_age(self, record: dict[str, Any], request: WebhookRequest) -> None:
        published = from_iso(record.get("Timestamp"))
        if published is None:
            raise malformed(PROVIDER, "timestamp")
        check_age(
            published.timestamp(),
            now=request.now,
            tolerance_s=self.tolerance_s,
            provider=PROVIDER,
            retried_s=_RETRIED_S,
        )

    def _key(self, url: str, request: WebhookRequest) -> Any:
        from cryptography.x509 import load_pem_x509_certificate  # noqa: PLC0415 - heavy

        pem = self._certificates.pem(url, request)
        if not 0 < len(pem) <= CERTIFICATE_BYTES_MAX:
            raise refused(SignatureErrorType.MALFORMED_KEY, PROVIDER, "certificate size")
        try:
            certificate = load_pem_x509_certificate(pem)
            key = certificate.public_key()
        except ValueError:
            raise refused(SignatureErrorType.MALFORMED_KEY, PROVIDER, "certificate") from None
        if not certificate.not_valid_before_utc <= request.now <= certificate.not_valid_after_utc:
            raise refused(SignatureErrorType.MALFORMED_KEY, PROVIDER, "certificate expired")
        self._certificates.keep(url, pem)
        return key


def _is_on_sns(url: Any, record: dict[str, Any], path: re.Pattern[str]) -> bool:
    """Tell whether an address is SNS's own, in the region of the message's topic."""
    topic = _ARN.fullmatch(str(record.get("TopicArn")))
    if topic is None or not isinstance(url, str):
        return False
    suffix = ".cn" if topic[1] == "aws-cn" else ""
    host = f"https://sns.{topic[2]}.amazonaws.com{suffix}"
    return url.startswith(host) and path.fullmatch(url.removeprefix(host)) is not None


def parsed_notification(request: WebhookRequest) -> dict[str, Any]:
    """Return the SNS message.

    Raises:
        SignatureError: ``malformed_header`` when it has no id, or headers and body disagree on what it is.

    """
    record = _record(request)
    kind = request.headers.first("x-amz-sns-message-type")
    number = request.headers.first("x-amz-sns-message-id")
    if kind is not None and kind != record.get("Type"):
        raise malformed(PROVIDER, "message type")
    own = record.get("MessageId")
    if not (isinstance(own, str) and text(own)) or (number is not None and number != own):
        raise malformed(PROVIDER, "message id")
    return record


def _record(request: WebhookRequest) -> dict[str, Any]:
    record = mapping(parse_json(request.body, provider=PROVIDER))
    if text(record.get("Type")) not in _SIGNED_KEYS:
        raise malformed(PROVIDER, "message type")
    return record


def _signed_text(record: dict[str, Any]) -> bytes:
    lines = []
    for name in _SIGNED_KEYS[record["Type"]]:
        value = record.get(name)
        if value is None and name == _OPTIONAL:
            continue
        if not isinstance(value, str):
            raise malformed(PROVIDER, name.lower())
        lines.append(f"{name}\n{value}\n")
    return "".join(lines).encode("utf-8", "replace")
