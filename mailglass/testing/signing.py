"""Signing as providers do: keys that are made for the run, and the proofs that adapters ask for."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlencode

from mailglass.testing.facts import Fact

CREDENTIALS: Final = "mailglass:a-password-of-the-testing-kit"
KEY: Final = base64.b64encode(b"a signing key of the testing kit").decode()
"""A secret of each provider that shares one; it is base64, as Resend's has to be."""
SES_TOPIC: Final = "arn:aws:sns:eu-west-1:111122223333:mailglass-testing"
SCALEWAY_TOPIC: Final = "arn:scw:sns:fr-par:project-mailglass:testing"
_SES_CERTIFICATE: Final = (
    "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-mailglasstesting.pem"
)
_SCALEWAY_CERTIFICATE: Final = (
    "https://messaging.s3.fr-par.scw.cloud/fr-par/sns/mailglass-testing.pem"
)
_SNS_FIELDS: Final = ("Message", "MessageId", "Timestamp", "TopicArn", "Type")
_JSON: Final = ("Content-Type", "application/json")
_FORM: Final = ("Content-Type", "application/x-www-form-urlencoded")
_TEXT: Final = ("Content-Type", "text/plain; charset=UTF-8")
_RSA_BITS: Final = 2_048


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsigned:
    """What is to be signed: the provider's words, where they go, when, and the shared secret."""

    written: Any
    fact: Fact
    url: str
    now: datetime
    secret: str


Signed = tuple[list[tuple[str, str]], bytes]
"""The headers and the body of a request."""


def _bytes(written: object) -> bytes:
    return json.dumps(written).encode()


def by_credentials(given: Unsigned) -> Signed:
    """Return a request with Basic credentials: the provider signs nothing."""
    shown = base64.b64encode(given.secret.encode()).decode()
    return [_JSON, ("Authorization", f"Basic {shown}")], _bytes(given.written)


def by_hex_mac(header: str) -> Callable[[Unsigned], Signed]:
    """Return what signs the body by a MAC in hexadecimal digits."""

    def sign(given: Unsigned) -> Signed:
        body = _bytes(given.written)
        return [_JSON, (header, _mac(given.secret, body, "sha256").hex())], body

    return sign


def as_mailgun(given: Unsigned) -> Signed:
    """Return a request with a MAC over its time and its token."""
    stamp, token = str(int(given.now.timestamp())), given.fact.event_id
    signature = _mac(given.secret, f"{stamp}{token}".encode(), "sha256").hex()
    proof = {"timestamp": stamp, "token": token, "signature": signature}
    return [_JSON], _bytes({"signature": proof, "event-data": given.written})


def as_mandrill(given: Unsigned) -> Signed:
    """Return a form with a MAC over the address and its fields."""
    told = json.dumps(given.written)
    mac = _mac(given.secret, f"{given.url}mandrill_events{told}".encode(), "sha1")
    shown = base64.b64encode(mac).decode()
    return [_FORM, ("X-Mandrill-Signature", shown)], urlencode({"mandrill_events": told}).encode()


def as_resend(given: Unsigned) -> Signed:
    """Return a request signed as Svix does, over id, time and body."""
    body, moment = _bytes(given.written), str(int(given.now.timestamp()))
    key = base64.b64decode(given.secret.removeprefix("whsec_"))
    signed = f"{given.fact.event_id}.{moment}.".encode() + body
    mac = base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
    headers = [("svix-id", given.fact.event_id), ("svix-timestamp", moment)]
    return [_JSON, *headers, ("svix-signature", f"v1,{mac}")], body


def as_unisender_go(given: Unsigned) -> Signed:
    """Return a request with a digest over its body, in which the key stands where the digest will."""
    keyed = _bytes({"auth": given.secret, **given.written})
    digest = hashlib.md5(keyed, usedforsecurity=False).hexdigest()
    return [_JSON], keyed.replace(f'"{given.secret}"'.encode(), f'"{digest}"'.encode(), 1)


def as_sendgrid(given: Unsigned) -> Signed:
    """Return a request with an ECDSA signature over time and body."""
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - heavy
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - heavy

    body, stamp = _bytes(given.written), str(int(given.now.timestamp()))
    made = _ecdsa_key().sign(stamp.encode() + body, ec.ECDSA(hashes.SHA256()))
    return [
        _JSON,
        ("X-Twilio-Email-Event-Webhook-Timestamp", stamp),
        ("X-Twilio-Email-Event-Webhook-Signature", base64.b64encode(made).decode()),
    ], body


def as_postal(given: Unsigned) -> Signed:
    """Return a request with an RSA signature over the body."""
    body = _bytes(given.written)
    return [_JSON, ("X-Postal-Signature-256", _rsa_signature(body))], body


def by_topic(topic: str, certificate_url: str) -> Callable[[Unsigned], Signed]:
    """Return what signs a message of a topic, as SNS and what speaks its protocol do."""

    def sign(given: Unsigned) -> Signed:
        record = {
            "Type": "Notification",
            "MessageId": given.fact.event_id,
            "TopicArn": topic,
            "Message": json.dumps(given.written),
            "Timestamp": given.now.astimezone(UTC).isoformat(timespec="milliseconds"),
            "SignatureVersion": "2",
            "SigningCertURL": certificate_url,
        }
        signed = "".join(f"{name}\n{record[name]}\n" for name in _SNS_FIELDS).encode()
        return [_TEXT], _bytes(record | {"Signature": _rsa_signature(signed)})

    return sign


SIGNERS: Final[Mapping[str, Callable[[Unsigned], Signed]]] = MappingProxyType(
    {
        "amazon_ses": by_topic(SES_TOPIC, _SES_CERTIFICATE),
        "brevo": by_credentials,
        "mailersend": by_hex_mac("Signature"),
        "mailgun": as_mailgun,
        "mailjet": by_credentials,
        "mailtrap": by_hex_mac("Mailtrap-Signature"),
        "mandrill": as_mandrill,
        "postal": as_postal,
        "postmark": by_credentials,
        "resend": as_resend,
        "scaleway": by_topic(SCALEWAY_TOPIC, _SCALEWAY_CERTIFICATE),
        "sendgrid": as_sendgrid,
        "sparkpost": by_credentials,
        "unisender_go": as_unisender_go,
    }
)
BY_CREDENTIALS: Final = frozenset(
    name for name, signs in SIGNERS.items() if signs is by_credentials
)
BY_TOPIC: Final = MappingProxyType({"amazon_ses": SES_TOPIC, "scaleway": SCALEWAY_TOPIC})


def public_key(provider: str) -> str | None:
    """Return the public key, in PEM, of a provider that has one."""
    if provider == "sendgrid":
        return _pem(_ecdsa_key())
    return _pem(_rsa_key()) if provider == "postal" else None


@cache
def certificate() -> bytes:
    """Return a certificate, in PEM, of the RSA key; it is its own authority and valid for long."""
    from cryptography import x509  # noqa: PLC0415 - heavy
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - heavy
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415 - heavy

    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mailglass testing")])
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(_rsa_key().public_key())
        .serial_number(1)
        .not_valid_before(datetime(2000, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2100, 1, 1, tzinfo=UTC))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    made: bytes = built.sign(_rsa_key(), hashes.SHA256()).public_bytes(Encoding.PEM)
    return made


def _mac(secret: str, payload: bytes, digest: str) -> bytes:
    return hmac.digest(secret.encode(), payload, digest)


def _rsa_signature(payload: bytes) -> str:
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - heavy
    from cryptography.hazmat.primitives.asymmetric import padding  # noqa: PLC0415 - heavy

    made = _rsa_key().sign(payload, padding.PKCS1v15(), hashes.SHA256())
    return base64.b64encode(made).decode()


@cache
def _rsa_key() -> Any:
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415 - heavy

    return rsa.generate_private_key(public_exponent=65_537, key_size=_RSA_BITS)


@cache
def _ecdsa_key() -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - heavy

    return ec.generate_private_key(ec.SECP256R1())


def _pem(key: Any) -> str:
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 - heavy
        Encoding,
        PublicFormat,
    )

    shown = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return str(shown, "ascii")
