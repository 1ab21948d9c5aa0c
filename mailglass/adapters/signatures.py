"""How providers prove that a webhook is theirs: credentials, networks, MACs and signatures.

Every secret is compared in constant time, every key is tried, and whatever is wrong with a request
is a SignatureError. Several keys at once let a key be replaced without losing an event.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from mailglass.errors import ConfigError, ConfigErrorType, SignatureError, SignatureErrorType
from mailglass.webhook import WebhookRequest, decoded_base64, malformed, refused, same

TOLERANCE_S: Final = 300.0
_PRINTABLE: Final = re.compile("[!-~]+(?: [!-~]+)*")


class Secret:
    """A value that is told to the provider and to nobody else; its repr shows nothing.

    A callable is asked at each use, so that a secret can be replaced while the process runs.
    """

    __slots__ = ("_key", "_source")

    def __init__(self, source: str | Callable[[], str] | Secret, *, key: str) -> None:
        self._source: str | Callable[[], str] = (
            source.plain if isinstance(source, Secret) else source
        )
        self._key = key

    def __repr__(self) -> str:
        """Show that there is one."""
        return "Secret('**********')"

    def plain(self) -> str:
        """Return the value, which may have lines, as a key in PEM has.

        Raises:
            ConfigError: ``missing`` when it is empty.

        """
        value = self._source() if callable(self._source) else self._source
        if not value:
            raise ConfigError("a secret is empty", type=ConfigErrorType.MISSING, key=self._key)
        return value

    def reveal(self) -> str:
        """Return the value for a header.

        Raises:
            ConfigError: ``missing`` when it is empty, ``invalid`` when a header cannot carry it.

        """
        value = self.plain()
        if _PRINTABLE.fullmatch(value) is None:
            raise ConfigError(
                "a secret begins or ends with a space, or holds a character that no header carries",
                type=ConfigErrorType.INVALID,
                key=self._key,
            )
        return value


SecretSource = str | Callable[[], str] | Secret
"""A secret, or a callable that returns it at each use."""


SIGNED_PARTS: Final[Mapping[str, str]] = MappingProxyType(
    {"keys": "webhook_key", "url": "webhook_url", "tolerance_s": "webhook_tolerance_s"}
)
"""The parts of WebhookAuth that say something to a provider that signs, and to no other, by option."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookAuth:
    """What proves that a webhook comes from the provider.

    ``keys`` are the provider's signing keys, each of them valid; ``credentials`` are
    ``user:password`` for Basic or a token for Bearer, any one of which must come with the request
    when some are given; ``networks`` are CIDR blocks, one of which must hold the caller.
    ``url`` is the address that the provider was told, where it signs it and a proxy changes it.
    """

    keys: Sequence[SecretSource] = field(default=(), repr=False)
    credentials: Sequence[SecretSource] = field(default=(), repr=False)
    networks: Sequence[str] = ()
    tolerance_s: float = TOLERANCE_S
    url: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse a network that is none."""
        for network in self.networks:
            _network(network)

    def refuse_unused(self, provider: str, used: Collection[str]) -> None:
        """Refuse what the provider's check never looks at: it would be trusted and prove nothing.

        Raises:
            ConfigError: ``invalid``, with the option's name in ``key``.

        """
        given = {"keys": bool(self.keys), "url": self.url is not None}
        given["tolerance_s"] = self.tolerance_s != TOLERANCE_S
        for part, name in SIGNED_PARTS.items():
            if given[part] and part not in used:
                raise ConfigError(
                    f"the webhooks of {provider} are not checked with {name}",
                    type=ConfigErrorType.INVALID,
                    key=name,
                    hint="Take it out; guides/adapters.md says what proves this provider's webhooks.",
                )

    def secrets(self, provider: str) -> list[str]:
        """Return the signing keys.

        Raises:
            ConfigError: ``webhook_verification_key_missing`` when there is none.

        """
        if not self.keys:
            raise _nothing_to_check(provider)
        return [Secret(key, key="webhook_key").plain() for key in self.keys]

    def optional_secrets(self, provider: str) -> list[str]:
        """Return the signing keys of a provider that signs only when it is asked to.

        Without any, credentials must be set: they are then all that proves a request.

        Raises:
            ConfigError: ``webhook_verification_key_missing`` when there is neither.

        """
        return [] if self.credentials and not self.keys else self.secrets(provider)

    def check_origin(self, request: WebhookRequest, *, provider: str) -> None:
        """Check network and credentials, as far as any are given.

        Raises:
            SignatureError: ``ip_disallowed``, ``missing_header``, ``malformed_header`` or
                ``bad_credentials``.

        """
        if self.networks:
            self._check_network(request, provider)
        if self.credentials:
            self._check_credentials(request, provider)

    def require_credentials(self, provider: str) -> None:
        """Refuse to trust a provider that signs nothing when no credentials are set.

        Raises:
            ConfigError: ``webhook_verification_key_missing``.

        """
        if not self.credentials:
            raise _nothing_to_check(provider)

    def _check_network(self, request: WebhookRequest, provider: str) -> None:
        try:
            caller = ipaddress.ip_address(request.remote_ip or "")
        except ValueError:
            raise refused(SignatureErrorType.IP_DISALLOWED, provider, "no address") from None
        known = getattr(caller, "ipv4_mapped", None) or caller
        if not any(known in _network(network) for network in self.networks):
            raise refused(SignatureErrorType.IP_DISALLOWED, provider, "another network")

    def _check_credentials(self, request: WebhookRequest, provider: str) -> None:
        given = request.header("Authorization", provider=provider)
        scheme, _, rest = given.partition(" ")
        match scheme.lower():
            case "basic":
                shown = decoded_base64(rest.strip(), provider=provider, detail="authorization")
            case "bearer":
                shown = rest.strip().encode("utf-8", "replace")
            case _:
                raise malformed(provider, "authorization")
        known = [Secret(one, key="webhook_credentials").plain() for one in self.credentials]
        if not any([same(shown, one.encode()) for one in known]):  # noqa: C419 - each is compared
            raise refused(SignatureErrorType.BAD_CREDENTIALS, provider, "authorization")


def _network(text: str) -> Any:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise ConfigError(
            "a network is not a CIDR block",
            type=ConfigErrorType.INVALID,
            key="webhook_networks",
        ) from None


def _nothing_to_check(provider: str) -> ConfigError:
    return ConfigError(
        f"nothing is set that would prove a webhook of {provider} to be genuine",
        type=ConfigErrorType.WEBHOOK_VERIFICATION_KEY_MISSING,
        key="webhooks",
        hint="Give the adapter WebhookAuth with a key or credentials.",
    )


def check_mac(given: bytes, expected: Sequence[bytes], *, provider: str) -> None:
    """Refuse a MAC that no key made.

    Raises:
        SignatureError: ``bad_signature``.

    """
    if not any([same(given, one) for one in expected]):  # noqa: C419 - each is compared
        raise refused(SignatureErrorType.BAD_SIGNATURE, provider, "signature")


def check_hmac_hex(
    given: str, payload: bytes, keys: Sequence[str], *, provider: str, digest: str = "sha256"
) -> None:
    """Check a MAC that came as hexadecimal digits.

    Raises:
        SignatureError: ``malformed_header`` when it is no such text, or ``bad_signature``.

    """
    digits = hashlib.new(digest, usedforsecurity=False).digest_size * 2
    if re.fullmatch(f"[0-9a-fA-F]{{{digits}}}", given, re.ASCII) is None:
        raise malformed(provider, "signature")
    macs = [hmac.digest(key.encode(), payload, digest) for key in keys]
    check_mac(bytes.fromhex(given), macs, provider=provider)


def check_public_key(
    signature: bytes, payload: bytes, keys: Sequence[str], *, provider: str, digest: str = "sha256"
) -> None:
    """Check an ECDSA or RSA PKCS#1 v1.5 signature against public keys in PEM or base64 DER.

    Raises:
        SignatureError: ``bad_signature``, or ``malformed_key`` for a key that is none.

    """
    if not any(is_signed(signature, payload, _loaded(key, provider), digest) for key in keys):
        raise refused(SignatureErrorType.BAD_SIGNATURE, provider, "signature")


def is_signed(signature: bytes, payload: bytes, key: Any, digest: str) -> bool:
    """Tell whether a loaded public key, ECDSA or RSA, made the signature."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm  # noqa: PLC0415 - heavy
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - heavy
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa  # noqa: PLC0415 - heavy

    known: dict[str, hashes.HashAlgorithm] = {"sha256": hashes.SHA256(), "sha1": hashes.SHA1()}  # noqa: S303 - the provider's choice, and never the only check
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, payload, ec.ECDSA(known[digest]))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, payload, padding.PKCS1v15(), known[digest])
        else:
            return False
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


def _loaded(key: str, provider: str) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - heavy
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 - heavy
        load_der_public_key,
    )

    try:
        return load_der_public_key(
            decoded_base64(_unarmoured(key), provider=provider, detail="key")
        )
    except (SignatureError, UnsupportedAlgorithm, ValueError):
        raise refused(SignatureErrorType.MALFORMED_KEY, provider, "key") from None


def _unarmoured(key: str) -> str:
    lines = key.replace("\\n", "\n").split("\n")
    return "".join(line.strip() for line in lines if not line.startswith("-----"))
