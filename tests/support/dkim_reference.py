"""DKIM as others see it: dkimpy as the verifier, and canonical bodies written out as the RFC says."""

from __future__ import annotations

import re
from collections.abc import Sequence

import dkim

from mailglass.compliance.dkim_keys import DkimAlgorithm, DkimKey, generate_key

RSA = generate_key(DkimAlgorithm.RSA_SHA256, domain="shop.example", selector="r1")
ED25519 = generate_key(DkimAlgorithm.ED25519_SHA256, domain="shop.example", selector="e1")


def verified(payload: bytes, keys: Sequence[DkimKey] = (RSA, ED25519)) -> list[bool]:
    """Return what dkimpy says about each signature, the topmost first."""
    records = {f"{key.record.name}.".encode(): key.record.value.encode() for key in keys}

    def dns(name: bytes, timeout: int = 0) -> bytes | None:
        return records.get(name)

    count = len(re.findall(rb"(?im)^DKIM-Signature:", payload.partition(b"\r\n\r\n")[0]))
    return [_verified(payload, index, dns) for index in range(count)]


def _verified(payload: bytes, index: int, dns: object) -> bool:
    try:
        return bool(dkim.DKIM(payload).verify(idx=index, dnsfunc=dns))
    except dkim.DKIMException:
        return False


def relaxed_body(body: bytes) -> bytes:
    """Return the relaxed body line by line, in the words of RFC 6376 §3.4.4."""
    lines = [re.sub(rb"[ \t]+", b" ", line).rstrip(b" ") for line in body.split(b"\r\n")]
    while lines and lines[-1] == b"":
        lines.pop()
    return b"".join(line + b"\r\n" for line in lines)
