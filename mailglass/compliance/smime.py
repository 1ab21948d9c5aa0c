"""S/MIME: a finished mail becomes a signed one that readers without S/MIME can read (RFC 8551 §3.5.3).

An option for senders who have a certificate for their address. Sign before DKIM, which covers the
result. Nothing is encrypted.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.hazmat.primitives.serialization.pkcs7 import (
    PKCS7Options,
    PKCS7SignatureBuilder,
)
from cryptography.x509.oid import NameOID

from mailglass.address import Address, parse_address
from mailglass.errors import ConfigError, ConfigErrorType, SendError
from mailglass.headers import refuse

_LINE_CHARS: Final = 76


@dataclass(frozen=True, slots=True, kw_only=True)
class SmimeSigner:
    """A certificate with its private key, and the certificates that lead to a known authority.

    Raises:
        ConfigError: ``invalid`` when key and certificate do not belong together, or the certificate
            names no mail address.

    """

    certificate: x509.Certificate = field(repr=False)
    private_key: RSAPrivateKey | EllipticCurvePrivateKey = field(repr=False)
    chain: tuple[x509.Certificate, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        """Refuse what no reader could verify."""
        if self.certificate.public_key() != self.private_key.public_key():
            raise _wrong("the S/MIME key does not belong to the certificate")
        if not self.address_keys:
            raise _wrong("the S/MIME certificate names no mail address")

    @classmethod
    def from_pem(cls, certificates: bytes, key: bytes) -> SmimeSigner:
        """Read the certificate, first, with its chain, and an unencrypted private key.

        Raises:
            ConfigError: ``invalid`` for anything else, a key other than RSA or elliptic-curve too.

        """
        try:
            first, *chain = x509.load_pem_x509_certificates(certificates)
            private_key = load_pem_private_key(key, password=None)
        except (TypeError, ValueError, UnsupportedAlgorithm):
            # What the reader says about a wrong key may hold a part of it.
            raise _wrong("the S/MIME certificate or key is not in PEM") from None
        if not isinstance(private_key, RSAPrivateKey | EllipticCurvePrivateKey):
            raise _wrong("the S/MIME key is neither RSA nor elliptic-curve")
        return cls(certificate=first, private_key=private_key, chain=tuple(chain))

    @property
    def address_keys(self) -> frozenset[str]:
        """Return the keys of the addresses that the certificate is for (RFC 8550 §3)."""
        return frozenset(_keys(self.certificate))


def sign_smime(payload: bytes, signer: SmimeSigner, *, sender: Address, now: datetime) -> bytes:
    """Return the mail as ``multipart/signed`` with a detached signature over SHA-256.

    The headers stay outside and are not covered, as with every S/MIME mail; DKIM covers them. The
    signature holds the machine's time, so two calls give two mails: freeze the result.

    Raises:
        SendError: ``serialization_failed`` with code ``smime_sender`` when the certificate is not the
            sender's, ``smime_expired`` when it does not hold now, ``smime_eight_bit`` for a body that
            a relay might encode anew, ``bare_line_end`` or ``malformed_header``.

    """
    if sender.key not in signer.address_keys:
        raise refuse("the S/MIME certificate is not the sender's", code="smime_sender")
    valid = signer.certificate
    if not valid.not_valid_before_utc <= now <= valid.not_valid_after_utc:
        raise refuse("the S/MIME certificate does not hold now", code="smime_expired")
    outside, inside = _split(payload)
    signature = _signature(signer, inside)
    boundary = _boundary(inside)
    return b"".join(
        [
            *outside,
            b'Content-Type: multipart/signed; protocol="application/pkcs7-signature";\r\n',
            b' micalg=sha-256; boundary="%b"\r\n\r\n' % boundary,
            b"--%b\r\n%b\r\n--%b\r\n" % (boundary, inside, boundary),
            b'Content-Type: application/pkcs7-signature; name="smime.p7s"\r\n',
            b"Content-Transfer-Encoding: base64\r\n",
            b'Content-Disposition: attachment; filename="smime.p7s"\r\n\r\n',
            signature,
            b"\r\n--%b--\r\n" % boundary,
        ]
    )


def _split(payload: bytes) -> tuple[list[bytes], bytes]:
    """Return the fields that stay outside, and the part that is signed."""
    head, blank, body = payload.partition(b"\r\n\r\n")
    if not blank:
        raise refuse("the mail has no body", code="malformed_header")
    if not payload.count(b"\r\n") == payload.count(b"\r") == payload.count(b"\n"):
        raise refuse("the mail holds a bare line end", code="bare_line_end")
    fields = list(_fields(head))
    inner = [one for one in fields if one.lower().startswith(b"content-")]
    # The line end before a boundary belongs to the boundary (RFC 2046 §5.1.1).
    inside = b"".join([*inner, b"\r\n", body.removesuffix(b"\r\n")])
    if not inside.isascii():
        raise refuse("a body to be signed is not 7-bit", code="smime_eight_bit")
    return [one for one in fields if not one.lower().startswith(b"content-")], inside


def _fields(head: bytes) -> Iterator[bytes]:
    """Return each field with all its lines and line ends."""
    lines: list[bytes] = []
    for line in head.split(b"\r\n"):
        if line[:1] not in {b" ", b"\t"} and lines:
            yield b"\r\n".join([*lines, b""])
            lines = []
        lines.append(line)
    yield b"\r\n".join([*lines, b""])


def _signature(signer: SmimeSigner, inside: bytes) -> bytes:
    builder = PKCS7SignatureBuilder().set_data(inside)
    builder = builder.add_signer(signer.certificate, signer.private_key, SHA256())
    for one in signer.chain:
        builder = builder.add_certificate(one)
    raw = builder.sign(Encoding.DER, [PKCS7Options.DetachedSignature, PKCS7Options.Binary])
    text = base64.b64encode(raw)
    cut = range(0, len(text), _LINE_CHARS)
    return b"\r\n".join(text[at : at + _LINE_CHARS] for at in cut)


def _boundary(inside: bytes) -> bytes:
    names = (hashlib.sha256(b"smime %d " % attempt + inside).hexdigest() for attempt in count())
    # It ends: a part of n octets holds fewer than n boundaries.
    return next(name for name in (f"=_{one[:32]}".encode() for one in names) if name not in inside)


def _keys(certificate: x509.Certificate) -> Iterator[str]:
    """Return the key of every address that can be read; another kind of name is no address of ours."""
    found = [
        str(one.value) for one in certificate.subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS)
    ]
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found += names.get_values_for_type(x509.RFC822Name)
    except x509.ExtensionNotFound:
        pass
    for text in found:
        try:
            yield parse_address(text).key
        except SendError:
            continue


def _wrong(message: str) -> ConfigError:
    return ConfigError(message, type=ConfigErrorType.INVALID, key="smime")
