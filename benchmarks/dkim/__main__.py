"""Sign mails beside dkimpy and beside one bare RSA operation: ``python benchmarks/dkim``.

Needs mailglass with the extras ``dkim`` and ``test``. Times are medians of interleaved rounds in one
process; read the ratios, not the times. With ``--check`` the exit code is 1 when the 40 kB mail costs
more than 1.8 RSA operations, or more than a tenth of what dkimpy takes.
"""

# ruff: noqa: INP001, T201 - a script, run as a folder, that prints its findings
from __future__ import annotations

import argparse
import hashlib
import random
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from statistics import median
from typing import Final

import dkim
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

from mailglass import Attachment, Message
from mailglass.compliance.dkim import OVERSIGNED, SIGNED_WHEN_PRESENT, sign
from mailglass.compliance.dkim_keys import DkimAlgorithm, generate_key, private_pem
from mailglass.rendering.mime import build

ROUND_S: Final = 0.05
"""How long one contestant runs before the next has its turn."""
NOW: Final = datetime(2026, 3, 1, tzinfo=UTC)
RSA: Final = generate_key(DkimAlgorithm.RSA_SHA256, domain="shop.example", selector="r")
ED25519: Final = generate_key(DkimAlgorithm.ED25519_SHA256, domain="shop.example", selector="e")
CHECKED: Final = "40 kB, dense HTML"
RSA_OPERATIONS_MAX: Final = 1.8
DKIMPY_TIMES_MIN: Final = 10.0
SIGNED_HEADERS: Final = [name.encode() for name in (*OVERSIGNED, *SIGNED_WHEN_PRESENT)]
ONE_OPERATION: Final = "one RSA-2048 operation"
OURS: Final = "mailglass RSA-2048"
DKIMPY: Final = "dkimpy RSA-2048"
_WORDS: Final = ["amber", "basin", "cedar", "délta", "ember", "fjord", "grove", "harbour", "inlet"]


def mails() -> dict[str, bytes]:
    """Return the mails: what an inliner leaves, indented HTML, base64, a big attachment."""
    draw = random.Random(20260301)  # noqa: S311 - made-up mails

    def rows(count: int, indent: str) -> str:
        cell = '<td style="padding:9px 0;color:#444b57;font-size:15px">'
        return "\n".join(
            f"{indent}<tr>{cell}{' '.join(draw.choices(_WORDS, k=8))}</td></tr>"
            for _ in range(count)
        )

    big = Attachment(filename="a.bin", content=draw.randbytes(5_000_000))
    return {
        "6 kB, dense HTML": _mail(rows(44, "")),
        CHECKED: _mail(rows(328, "")),
        "40 kB, indented HTML": _mail(rows(300, " " * 12)),
        "40 kB, base64": _mail("é日本" * 3_700),
        "400 kB, dense HTML": _mail(rows(3_300, "")),
        "40 kB and 5 MB attached": _mail(rows(328, ""), big),
    }


def _mail(html: str, *attachments: Attachment) -> bytes:
    message = Message(
        sender="Shop <hello@shop.example>",
        to="Zoë <zoe@mail.example>",
        subject="Your receipt",
        text="Thank you.",
        html=f"<html><body><table>{html}</table></body></html>",
        attachments=attachments,
    )
    leave = [
        ("List-Unsubscribe", "<https://shop.example/u/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA>"),
        ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
    ]
    return build(
        message, message_id="<1@shop.example>", date=NOW, extra_headers=leave, boundary_seed=b"x"
    )


def measured(contestants: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median microseconds of each, taken in turns."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for run in contestants.values():
        run()
    for _ in range(rounds):
        for name, run in contestants.items():
            calls, begun = 0, time.perf_counter()
            while (spent := time.perf_counter() - begun) < ROUND_S or calls == 0:
                run()
                calls += 1
            times[name].append(spent / calls * 1e6)
    return {name: median(found) for name, found in times.items()}


def contestants(payload: bytes) -> dict[str, Callable[[], object]]:
    """Return the ways to sign one mail, and the least that any way needs."""
    key = RSA.private_key
    assert isinstance(key, RSAPrivateKey)  # noqa: S101 - made above
    pem = private_pem(RSA)

    def by_dkimpy() -> object:
        return dkim.sign(
            payload, b"r", b"shop.example", pem,
            canonicalize=(b"relaxed", b"relaxed"), include_headers=SIGNED_HEADERS,
        )  # fmt: skip

    return {
        ONE_OPERATION: lambda: key.sign(b"x" * 32, PKCS1v15(), SHA256()),
        "SHA-256 of the mail": lambda: hashlib.sha256(payload).digest(),
        OURS: lambda: sign(payload, [RSA], now=NOW),
        "mailglass Ed25519": lambda: sign(payload, [ED25519], now=NOW),
        "mailglass, both keys": lambda: sign(payload, [RSA, ED25519], now=NOW),
        DKIMPY: by_dkimpy,
    }


def main() -> int:
    """Measure every mail and print a table for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--check", action="store_true", help="exit 1 when the goal is missed")
    options = parser.parse_args()
    is_met = True
    for name, payload in mails().items():
        found = measured(contestants(payload), options.rounds)
        print(f"\n### {name} ({len(payload):,} bytes)\n")
        print("| way | us | x one operation | times faster than dkimpy |\n|---|---:|---:|---:|")
        for way, spent in found.items():
            operations, faster = spent / found[ONE_OPERATION], found[DKIMPY] / spent
            print(f"| {way} | {spent:.1f} | {operations:.2f} | {faster:.1f} |")
        if name == CHECKED:
            is_met = found[OURS] <= RSA_OPERATIONS_MAX * found[ONE_OPERATION] and (
                found[DKIMPY] >= DKIMPY_TIMES_MIN * found[OURS]
            )
    print(f"\nthe goal for {CHECKED} is {'met' if is_met else 'missed'}")
    return 1 if options.check and not is_met else 0


if __name__ == "__main__":
    sys.exit(main())
