"""DKIM keys and their records."""

from __future__ import annotations

import re

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dkim_reference import ED25519, RSA
from mailglass import ConfigError
from mailglass.compliance.dkim_keys import DkimAlgorithm, DkimKey, DkimKeys, private_pem
from mailglass.errors import ConfigErrorType


def _key(domain: str, selector: str, tenant_id: str | None = None) -> DkimKey:
    return DkimKey(
        domain=domain, selector=selector, private_key=ED25519.private_key, tenant_id=tenant_id
    )


@pytest.mark.parametrize("key", [RSA, ED25519])
def test_a_key_survives_its_file(key: DkimKey) -> None:
    """Written as PEM and read again it is the same key."""
    read = DkimKey.from_pem(private_pem(key), domain=key.domain, selector=key.selector)
    assert read.record == key.record
    assert read.algorithm is key.algorithm


def test_an_older_rsa_file_is_read() -> None:
    """PKCS #1, as openssl genrsa used to write it."""
    assert isinstance(RSA.private_key, rsa.RSAPrivateKey)
    pem = RSA.private_key.private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
    )
    read = DkimKey.from_pem(pem, domain="shop.example", selector="r1")
    assert read.algorithm is DkimAlgorithm.RSA_SHA256


def test_the_record_is_what_dns_needs() -> None:
    """RFC 6376 §3.6.1 and RFC 8463 §4: an Ed25519 key is its 32 bytes alone."""
    assert RSA.record.name == "r1._domainkey.shop.example"
    assert RSA.record.value.startswith("v=DKIM1; k=rsa; p=MIIB")
    assert re.fullmatch(r"v=DKIM1; k=ed25519; p=[A-Za-z0-9+/]{43}=", ED25519.record.value)


def test_a_long_record_is_cut_into_strings() -> None:
    """RFC 1035 §3.3: a string holds 255 octets at most, and a reader joins them."""
    strings = re.findall(r'"([^"]*)"', RSA.record.zone_line)
    assert len(strings) == 2
    assert max(map(len, strings)) == 255
    assert "".join(strings) == RSA.record.value


def _pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"canary",
        b"-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----\n",
        _pem(rsa.generate_private_key(public_exponent=65537, key_size=1024)),  # noqa: S505 - refused below
        _pem(ec.generate_private_key(ec.SECP256R1())),
    ],
)
def test_a_wrong_key_is_refused_without_showing_it(pem: bytes) -> None:
    """Rows 14, 82: too short, of another kind, or no key at all."""
    with pytest.raises(ConfigError) as caught:
        DkimKey.from_pem(pem, domain="shop.example", selector="a")
    assert caught.value.type is ConfigErrorType.INVALID
    assert "canary" not in repr(caught.value)


@pytest.mark.parametrize("selector", ["", "-a", "a-", "a b", "a;b", "a..b", "é", "a" * 64, "a\r\n"])
def test_a_wrong_selector_is_refused(selector: str) -> None:
    """Nothing but a DNS name goes into the header."""
    with pytest.raises(ConfigError):
        _key("shop.example", selector)


@pytest.mark.parametrize("domain", ["", "a b", "shop.example;", "shop..example", "x\r\ny"])
def test_a_wrong_domain_is_refused(domain: str) -> None:
    """Nothing but a domain goes into the header."""
    with pytest.raises(ConfigError):
        _key(domain, "a")


def test_a_domain_in_unicode_is_its_a_label() -> None:
    """RFC 8616 §3: older verifiers know the ASCII form alone."""
    assert _key("münchen.example", "a").domain == "xn--mnchen-3ya.example"


def test_each_tenant_has_its_own_keys() -> None:
    """Want 30: two tenants never share a key, and what belongs to nobody is everybody's."""
    ours, theirs, shared = (
        _key("shop.example", "a", "ours"),
        _key("shop.example", "b", "theirs"),
        _key("shop.example", "c"),
    )
    keys = DkimKeys([ours, theirs, shared])
    assert keys.of(tenant_id="ours", domain="shop.example") == (ours,)
    assert keys.of(tenant_id="theirs", domain="shop.example") == (theirs,)
    assert keys.of(tenant_id="third", domain="shop.example") == (shared,)


def test_several_selectors_sign_together() -> None:
    """All keys of a domain sign, in the order in which they were given."""
    both = (_key("shop.example", "new"), _key("shop.example", "old"))
    assert DkimKeys(both).of(tenant_id="t", domain="SHOP.example") == both


def test_a_parent_domain_signs_for_its_children() -> None:
    """DMARC aligns them; a neighbour and the top-level domain do not."""
    parent, child = _key("shop.example", "a"), _key("mail.shop.example", "b")
    keys = DkimKeys([parent, child])
    assert keys.of(tenant_id="t", domain="news.shop.example") == (parent,)
    assert keys.of(tenant_id="t", domain="mail.shop.example") == (child,)
    assert keys.of(tenant_id="t", domain="othershop.example") == ()
    assert keys.of(tenant_id="t", domain="example") == ()


def test_two_keys_at_one_name_are_refused() -> None:
    """DNS can hold one of them."""
    with pytest.raises(ConfigError) as caught:
        DkimKeys([_key("shop.example", "a"), _key("SHOP.example", "a", "t")])
    assert caught.value.type is ConfigErrorType.CONFLICTING


def test_no_repr_holds_the_key() -> None:
    """Row 82: a key may be logged by accident without harm."""
    assert "private" not in repr(RSA)
