"""DKIM keys: made, read from PEM, shown as DNS records, and found for a tenant and a domain."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from mailglass.address import parse_address
from mailglass.errors import ConfigError, ConfigErrorType, SendError

RSA_BITS: Final = 2048
"""What a new RSA key gets, and the least that is taken; RFC 8301 §3.2 recommends it."""
RSA_BITS_MAX: Final = 4096
"""Verifiers need not take longer keys (RFC 8301 §3.2)."""
TXT_STRING_OCTETS_MAX: Final = 255
"""One character-string of a TXT record (RFC 1035 §3.3)."""
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_SELECTOR: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_SELECTOR_CHARS_MAX: Final = 63


@unique
class DkimAlgorithm(StrEnum):
    """How a mail is signed; publish both and sign with both while some verifiers know RSA alone."""

    RSA_SHA256 = "rsa-sha256"
    ED25519_SHA256 = "ed25519-sha256"


_KEY_TYPES: Final = {DkimAlgorithm.RSA_SHA256: "rsa", DkimAlgorithm.ED25519_SHA256: "ed25519"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DkimKey:
    """A private key and where its public half is published: ``selector._domainkey.domain``.

    ``tenant_id`` None means that every tenant may sign with it.

    Raises:
        ConfigError: ``invalid`` for a selector or domain that is no DNS name, and for an RSA key
            of other than 2048 to 4096 bits (RFC 8301 §3.2).

    """

    domain: str
    selector: str
    private_key: RSAPrivateKey | Ed25519PrivateKey = field(repr=False)
    tenant_id: str | None = None

    def __post_init__(self) -> None:
        """Bring the names into the form that DNS knows, and refuse a weak key."""
        if len(self.selector) > _SELECTOR_CHARS_MAX or not _SELECTOR.fullmatch(self.selector):
            raise _wrong("a DKIM selector is not a DNS name", "dkim_selector")
        object.__setattr__(self, "domain", _domain(self.domain))
        key = self.private_key
        if isinstance(key, RSAPrivateKey) and not RSA_BITS <= key.key_size <= RSA_BITS_MAX:
            raise _wrong("a DKIM RSA key has not 2048 to 4096 bits", "dkim_key")

    @classmethod
    def from_pem(
        cls, pem: bytes, *, domain: str, selector: str, tenant_id: str | None = None
    ) -> DkimKey:
        """Read an unencrypted private key in PEM, PKCS #8 or PKCS #1.

        Raises:
            ConfigError: ``invalid`` for anything but an RSA or an Ed25519 key.

        """
        try:
            key = load_pem_private_key(pem, password=None)
        except (TypeError, ValueError, UnsupportedAlgorithm):
            # What the reader says about a wrong key may hold a part of it.
            raise _wrong(
                "a DKIM key is not an unencrypted private key in PEM", "dkim_key"
            ) from None
        if not isinstance(key, RSAPrivateKey | Ed25519PrivateKey):
            raise _wrong("a DKIM key is neither RSA nor Ed25519", "dkim_key")
        return cls(domain=domain, selector=selector, private_key=key, tenant_id=tenant_id)

    @property
    def algorithm(self) -> DkimAlgorithm:
        """Return what the key signs with."""
        if isinstance(self.private_key, RSAPrivateKey):
            return DkimAlgorithm.RSA_SHA256
        return DkimAlgorithm.ED25519_SHA256

    @property
    def record(self) -> DnsRecord:
        """Return the TXT record that publishes the public half (RFC 6376 §3.6.1, RFC 8463 §4)."""
        public = self.private_key.public_key()
        if isinstance(self.private_key, RSAPrivateKey):
            raw = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        else:
            raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return DnsRecord(
            name=f"{self.selector}._domainkey.{self.domain}",
            value=f"v=DKIM1; k={_KEY_TYPES[self.algorithm]}; p={base64.b64encode(raw).decode()}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsRecord:
    """A TXT record; ``value`` is the whole text, as the forms of DNS hosts take it."""

    name: str
    value: str

    @property
    def zone_line(self) -> str:
        """Return the line of a zone file, in strings of at most 255 octets (RFC 1035 §3.3.14)."""
        cut = range(0, len(self.value), TXT_STRING_OCTETS_MAX)
        strings = (f'"{self.value[at : at + TXT_STRING_OCTETS_MAX]}"' for at in cut)
        return f"{self.name}. IN TXT ( {' '.join(strings)} )"


class DkimKeys:
    """The keys of all tenants; whoever sends gets those that may sign for the From domain."""

    __slots__ = ("_by_owner",)

    def __init__(self, keys: Iterable[DkimKey]) -> None:
        """Take keys in the order in which their signatures are to stand.

        Raises:
            ConfigError: ``conflicting`` when two keys are published at the same name.

        """
        self._by_owner: dict[tuple[str | None, str], tuple[DkimKey, ...]] = {}
        names: set[str] = set()
        for key in keys:
            if key.record.name in names:
                raise ConfigError(
                    "two DKIM keys have the same selector and domain",
                    type=ConfigErrorType.CONFLICTING,
                    key="dkim_selector",
                )
            names.add(key.record.name)
            owner = (key.tenant_id, key.domain)
            self._by_owner[owner] = (*self._by_owner.get(owner, ()), key)

    def of(self, *, tenant_id: str, domain: str) -> tuple[DkimKey, ...]:
        """Return the keys for mail from ``domain``: of the domain itself, else of its parents.

        The tenant's own keys go before those of everybody; another tenant's are never used. A
        parent's signature is aligned under DMARC's relaxed mode (RFC 7489 §3.1.1).
        """
        labels = domain.lower().split(".")
        for at in range(len(labels) - 1):
            parent = ".".join(labels[at:])
            for owner in (tenant_id, None):
                if found := self._by_owner.get((owner, parent)):
                    return found
        return ()


def generate_key(
    algorithm: DkimAlgorithm, *, domain: str, selector: str, tenant_id: str | None = None
) -> DkimKey:
    """Return a new key from the system's randomness."""
    key: RSAPrivateKey | Ed25519PrivateKey
    if algorithm is DkimAlgorithm.RSA_SHA256:
        key = generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    else:
        key = Ed25519PrivateKey.generate()
    return DkimKey(domain=domain, selector=selector, private_key=key, tenant_id=tenant_id)


def private_pem(key: DkimKey) -> bytes:
    """Return the private key as unencrypted PKCS #8 in PEM: keep it as you keep a password."""
    return key.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _domain(domain: str) -> str:
    try:
        return parse_address(f"postmaster@{domain}").domain_key
    except SendError as error:
        raise _wrong("a DKIM domain is not a DNS name", "dkim_domain") from error


def _wrong(message: str, key: str) -> ConfigError:
    return ConfigError(message, type=ConfigErrorType.INVALID, key=key)
