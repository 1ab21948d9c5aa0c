"""Scaleway's Topics and Events: the envelope of its webhooks, and the proof that it is from our topic.

It speaks the protocol of Amazon SNS with certificates of an authority of its own, which are replaced
at least once a year: https://www.scaleway.com/en/docs/topics-and-events/reference-content/verifying-webhooks/.
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
)

PROVIDER: Final = "scaleway"
CERTIFICATE_BYTES_MAX: Final = 65_536
AUTHORITIES_MAX: Final = 8
_RETRIED_S: Final = 86_400.0
"""How long a request may come again under its first time; Scaleway documents no bound."""
_ARN: Final = re.compile(r"arn:scw:sns:([a-z]{2}-[a-z]{3}):[\w-]{1,64}:[\w-]{1,256}", re.ASCII)
_CERTIFICATE_URL: Final = re.compile(
    r"https://messaging\.s3\.fr-par\.scw\.cloud/(?!.*\.\.)[A-Za-z0-9/_.-]{1,256}\.pem"
)
_CHAIN_URL: Final = "https://messaging.s3.fr-par.scw.cloud/{region}/sns/sns-trust-chain.pem"
_SUBSCRIBE_URL: Final = r"https://sns\.mnq\.{region}\.scaleway\.com/?\?[!-~]{{1,4096}}"
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
class Topics:
    """Verifies messages of our topics; certificates are fetched once and kept.

    ``authorities`` are Scaleway's own certificates in PEM, as it publishes them; without any they
    are fetched from where it does. What ``fetch`` raises passes through ``verify``: the message may
    be genuine, and comes again.
    """

    topic_arns: tuple[str, ...]
    authorities: tuple[str, ...] = field(repr=False)
    accepts_sha1: bool
    tolerance_s: float
    fetch: Callable[[str], bytes] = field(repr=False)
    _certificates: Certificates = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse a topic that is none."""
        self._certificates = Certificates(provider=PROVIDER, fetch=self.fetch)
        if not all(map(_ARN.fullmatch, self.topic_arns)):
            raise ConfigError(
                "a topic of Scaleway is not an ARN", type=ConfigErrorType.INVALID, key="topic_arns"
            )

    def verify(self, request: WebhookRequest) -> None:
        """Check topic, age, certificate and signature, in this order.

        Raises:
            SignatureError: whatever is wrong.
            SendError: retryable, a certificate cannot be fetched now.
            ConfigError: ``webhook_verification_key_missing`` when no topic is allowed.

        """
        record, region = self._of_our_topic(request)
        digest = self._digest(record)
        self._check_age(record, request)
        given = record.get("Signature")
        if not isinstance(given, str):
            raise refused(SignatureErrorType.MISSING_HEADER, PROVIDER, "signature")
        signature = decoded_base64(given, provider=PROVIDER, detail="signature")
        signed = _signed_text(record)
        if not is_signed(signature, signed, self._key(record, region, request), digest):
            raise refused(SignatureErrorType.BAD_SIGNATURE, PROVIDER, "signature")

    def _of_our_topic(self, request: WebhookRequest) -> tuple[dict[str, Any], str]:
        if not self.topic_arns:
            raise ConfigError(
                "no topic of Scaleway is allowed",
                type=ConfigErrorType.WEBHOOK_VERIFICATION_KEY_MISSING,
                key="topic_arns",
                hint="Give the adapter the ARNs of its topics.",
            )
        record = record_of(request)
        arn = record.get("TopicArn")
        found = _ARN.fullmatch(arn) if isinstance(arn, str) else None
        if found is None or arn not in self.topic_arns:
            raise refused(SignatureErrorType.BAD_CREDENTIALS, PROVIDER, "topic")
        return record, found[1]

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

    def _key(self, record: dict[str, Any], region: str, request: WebhookRequest) -> Any:
        """Return the key of a certificate that Scaleway's authority gave out and that is valid."""
        url = record.get("SigningCertURL")
        if not isinstance(url, str) or _CERTIFICATE_URL.fullmatch(url) is None:
            raise malformed(PROVIDER, "certificate address")
        chain_url = _CHAIN_URL.format(region=region)
        chains = [one.encode() for one in self.authorities] or [
            self._certificates.pem(chain_url, request)
        ]
        pem = self._certificates.pem(url, request)
        leaf = _certificates(pem)[0]
        known = [one for chain in chains for one in _certificates(chain)]
        current = [one for one in known if _is_current(one, request)]
        if not (_is_current(leaf, request) and _is_issued(leaf, current)):
            raise refused(SignatureErrorType.MALFORMED_KEY, PROVIDER, "certificate")
        self._certificates.keep(url, pem)
        if not self.authorities:
            self._certificates.keep(chain_url, chains[0])
        return leaf.public_key()


def confirmation_url(record: dict[str, Any]) -> str | None:
    """Return the address of a confirmation, which stands on the host of the topic's own region.

    Raises:
        SignatureError: ``malformed_header`` when it stands elsewhere.

    """
    if record.get("Type") != "SubscriptionConfirmation":
        return None
    url, topic = record.get("SubscribeURL"), _ARN.fullmatch(str(record.get("TopicArn")))
    host = _SUBSCRIBE_URL.format(region=topic[1]) if topic else ""
    if not host or not isinstance(url, str) or re.fullmatch(host, url) is None:
        raise malformed(PROVIDER, "subscribe address")
    return url


def record_of(request: WebhookRequest) -> dict[str, Any]:
    """Return the message of the topic.

    Raises:
        SignatureError: ``malformed_header`` when it is none.

    """
    record = mapping(parse_json(request.body, provider=PROVIDER))
    kind = record.get("Type")
    if not isinstance(kind, str) or kind not in _SIGNED_KEYS:
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


def _certificates(pem: bytes) -> list[Any]:
    from cryptography.x509 import load_pem_x509_certificates  # noqa: PLC0415 - heavy

    if not 0 < len(pem) <= CERTIFICATE_BYTES_MAX:
        raise refused(SignatureErrorType.MALFORMED_KEY, PROVIDER, "certificate size")
    try:
        return list(load_pem_x509_certificates(pem))[:AUTHORITIES_MAX]
    except ValueError:
        raise refused(SignatureErrorType.MALFORMED_KEY, PROVIDER, "certificate") from None


def _is_current(certificate: Any, request: WebhookRequest) -> bool:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return bool(start <= request.now <= end)


def _is_issued(leaf: Any, authorities: list[Any]) -> bool:
    """Tell whether one of the authorities gave out the certificate, and may give out any."""
    return any(_may_issue(one) and _has_issued(one, leaf) for one in authorities)


def _may_issue(authority: Any) -> bool:
    from cryptography.x509 import BasicConstraints, ExtensionNotFound  # noqa: PLC0415 - heavy

    try:
        found = authority.extensions.get_extension_for_class(BasicConstraints)
    except (ExtensionNotFound, ValueError):
        return False
    return bool(found.value.ca)


def _has_issued(authority: Any, leaf: Any) -> bool:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm  # noqa: PLC0415 - heavy

    try:
        leaf.verify_directly_issued_by(authority)
    except (InvalidSignature, UnsupportedAlgorithm, TypeError, ValueError):
        return False
    return True
