"""S/MIME signatures, checked by OpenSSL."""

from __future__ import annotations

import base64
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from dkim_reference import ED25519, RSA, verified
from mailglass import Attachment, ConfigError, Message, SendError, parse_address
from mailglass.compliance.dkim import sign
from mailglass.compliance.smime import SmimeSigner, sign_smime
from mailglass.rendering.mime import build

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
NOW = datetime.now(UTC)
SENDER = parse_address("Shop <hello@shop.example>")
AUTHORITY_KEY = ec.generate_private_key(ec.SECP256R1())


def _certificate(key: Key, *names: str, signs: bool = False) -> x509.Certificate:
    own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CA" if signs else "Shop")])
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CA")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(own)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=signs, path_length=None), critical=True)
    )
    if names:
        addresses = [x509.RFC822Name(name) for name in names]
        builder = builder.add_extension(x509.SubjectAlternativeName(addresses), critical=False)
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(usage, critical=False)
    return builder.sign(AUTHORITY_KEY, SHA256())


AUTHORITY = _certificate(AUTHORITY_KEY, signs=True)
KEYS: dict[str, Key] = {
    "rsa": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ec": ec.generate_private_key(ec.SECP256R1()),
}


def _signer(kind: str = "ec", *names: str) -> SmimeSigner:
    key = KEYS[kind]
    certificate = _certificate(key, *(names or ("hello@shop.example",)))
    return SmimeSigner(certificate=certificate, private_key=key, chain=(AUTHORITY,))


def _mail(**changes: object) -> bytes:
    parts: dict[str, object] = {
        "sender": SENDER, "to": "zoe@mail.example", "subject": "Zoë", "text": "Hello  é \n\n",
        "html": "<p>é</p>", "attachments": [Attachment(filename="a.bin", content=b"\x00\xff")],
    }  # fmt: skip
    message = Message(**(parts | changes))  # type: ignore[arg-type]  # the parts of a message
    return build(message, message_id="<1@shop.example>", date=NOW, boundary_seed=b"x")


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """Return the file of the certificate that OpenSSL trusts."""
    file = tmp_path / "ca.pem"
    file.write_bytes(AUTHORITY.public_bytes(Encoding.PEM))
    return file


def _verify(payload: bytes, authority: Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["openssl", "cms", "-verify", "-CAfile", str(authority), "-purpose", "smimesign"],
        input=payload, capture_output=True, check=False, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize(
    "changes",
    [{}, {"attachments": []}, {"attachments": [], "html": None}, {"text": "x\n.\n" * 500}],
)
def test_openssl_verifies_every_shape(
    authority: Path, kind: str, changes: dict[str, object]
) -> None:
    """RFC 8551: one part or many, RSA or elliptic-curve."""
    signed = sign_smime(_mail(**changes), _signer(kind), sender=SENDER, now=NOW)
    told = _verify(signed, authority)
    assert told.returncode == 0, told.stderr


def test_what_was_signed_is_the_whole_content(authority: Path) -> None:
    """OpenSSL gives back the part with all its headers."""
    payload = _mail()
    told = _verify(sign_smime(payload, _signer(), sender=SENDER, now=NOW), authority)
    head, _, body = payload.partition(b"\r\n\r\n")
    inner = head[head.index(b"Content-Type") :]
    assert told.stdout == inner + b"\r\n\r\n" + body.removesuffix(b"\r\n")


def test_the_signature_is_apart_from_the_content() -> None:
    """A reader without S/MIME shows the mail, which is there once."""
    signed = sign_smime(_mail(text="unique words"), _signer(), sender=SENDER, now=NOW)
    raw = base64.b64decode(signed.split(b"\r\n\r\n")[-1].rpartition(b"\r\n--")[0])
    assert b"unique words" not in raw
    assert signed.count(b"unique words") == 1


def test_a_changed_part_does_not_verify(authority: Path) -> None:
    """One letter is enough."""
    signed = sign_smime(
        _mail(text="Hello", html=None, attachments=[]), _signer(), sender=SENDER, now=NOW
    )
    assert _verify(signed.replace(b"Hello", b"Hallo"), authority).returncode != 0


def test_the_headers_stay_as_they_were() -> None:
    """Outside, once each, in their order."""
    payload = _mail()
    signed = sign_smime(payload, _signer(), sender=SENDER, now=NOW)
    head = payload.partition(b"Content-Type")[0]
    assert signed.startswith(head)
    assert signed.partition(b"\r\n\r\n")[0].count(b"Content-Type: multipart/signed") == 1


def test_dkim_signs_what_smime_made(authority: Path) -> None:
    """Both hold on one mail."""
    signed = sign_smime(_mail(), _signer(), sender=SENDER, now=NOW)
    both = sign(signed, [RSA, ED25519], now=NOW)
    assert verified(both) == [True, True]
    assert _verify(both, authority).returncode == 0


def _refusal(payload: bytes, signer: SmimeSigner, *, now: datetime = NOW) -> str | None:
    with pytest.raises(SendError) as caught:
        sign_smime(payload, signer, sender=SENDER, now=now)
    return caught.value.code


def test_a_certificate_for_another_address_is_refused() -> None:
    """RFC 8550 §3: readers compare it with From."""
    assert _refusal(_mail(), _signer("ec", "other@shop.example")) == "smime_sender"


def test_one_of_several_addresses_is_enough(authority: Path) -> None:
    """And capitals in a domain make no difference."""
    signer = _signer("ec", "other@shop.example", "hello@SHOP.example")
    signed = sign_smime(_mail(), signer, sender=SENDER, now=NOW)
    assert _verify(signed, authority).returncode == 0


@pytest.mark.parametrize("days", [-2, 2])
def test_a_certificate_that_does_not_hold_is_refused(days: int) -> None:
    """Too early or too late; readers would warn."""
    assert _refusal(_mail(), _signer(), now=NOW + timedelta(days=days)) == "smime_expired"


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"From: a@shop.example\r\n", "malformed_header"),
        (b"From: a@shop.example\r\n\r\na\nb\r\n", "bare_line_end"),
        (b"From: a@shop.example\r\n\r\n\xc3\xa9\r\n", "smime_eight_bit"),
    ],
)
def test_what_would_not_arrive_as_signed_is_refused(payload: bytes, code: str) -> None:
    """A broken signature is worse than none."""
    assert _refusal(payload, _signer()) == code


def _pem(key: Key | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_a_signer_is_read_from_pem() -> None:
    """The certificate first, then its chain."""
    signer = _signer()
    pem = b"".join(one.public_bytes(Encoding.PEM) for one in (signer.certificate, AUTHORITY))
    read = SmimeSigner.from_pem(pem, _pem(signer.private_key))
    assert read.certificate == signer.certificate
    assert read.chain == (AUTHORITY,)
    assert read.address_keys == {"hello@shop.example"}


@pytest.mark.parametrize(
    "wrong", ["none", "canary", "foreign key", "key of another kind", "no address"]
)
def test_a_wrong_signer_is_refused_without_showing_it(wrong: str) -> None:
    """Row 82: when it is made, not when a mail should leave."""
    certificate = _signer().certificate.public_bytes(Encoding.PEM)
    key = _pem(KEYS["ec"])
    pair = {
        "none": (b"", b""),
        "canary": (
            certificate,
            b"-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----\n",
        ),
        "foreign key": (certificate, _pem(KEYS["rsa"])),
        "key of another kind": (certificate, _pem(ed25519.Ed25519PrivateKey.generate())),
        "no address": (_certificate(KEYS["ec"]).public_bytes(Encoding.PEM), key),
    }[wrong]
    with pytest.raises(ConfigError) as caught:
        SmimeSigner.from_pem(*pair)
    assert "canary" not in repr(caught.value)


def test_a_server_certificate_is_no_senders() -> None:
    """What a web server has names hosts, not addresses."""
    issued = trustme.CA().issue_cert("shop.example")
    with pytest.raises(ConfigError):
        SmimeSigner.from_pem(issued.cert_chain_pems[0].bytes(), issued.private_key_pem.bytes())


def test_no_repr_holds_the_key() -> None:
    """Row 82."""
    assert repr(_signer()) == "SmimeSigner()"
