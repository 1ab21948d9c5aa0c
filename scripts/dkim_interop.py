"""Sign mails of all shapes and let opendkim verify them, whole and tampered with."""

# ruff: noqa: INP001, T201, S311, S603, S607 - a script: it prints, draws made-up mails and starts one program
from __future__ import annotations

import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from mailglass import Attachment, Message
from mailglass.compliance.dkim import sign
from mailglass.compliance.dkim_keys import DkimAlgorithm, DkimKey, generate_key
from mailglass.rendering.mime import build

_PIECES: Final = [
    "word",
    "  ",
    "\t",
    " \n",
    "\n",
    "\n\n",
    "é",
    "<p class='x'>",
    "=20",
    ".",
    "x" * 90,
]
_VERDICT: Final = re.compile(r"dkim=(\w+)[^;]*header\.a=([a-z0-9-]+)")
_BATCH: Final = 50
_TIMEOUT_S: Final = 60.0
_SEED: Final = 20260301


def mails(count: int, now: datetime) -> Iterator[bytes]:
    """Make mails: plain, with HTML, with attachments, with and without unsubscribe headers."""
    draw = random.Random(_SEED)
    for number in range(count):
        text = "".join(draw.choices(_PIECES, k=draw.randrange(1, 300))) + "."
        message = Message(
            sender="Shop <hello@shop.example>",
            to="zoe@mail.example" if number % 2 else "Zoë Ångström <zoe@mail.example>",
            cc=[f"cc{one}@mail.example" for one in range(draw.randrange(3))],
            subject="".join(draw.choices(["Receipt ", "Zoë ", "word "], k=draw.randrange(1, 20))),
            text=text,
            html=f"<p>{text}</p>" if number % 3 else None,
            attachments=[Attachment(filename="a.bin", content=draw.randbytes(500))][number % 2 :],
        )
        leave = [
            ("List-Unsubscribe", f"<https://shop.example/u/{'t' * draw.randrange(20, 90)}>"),
            ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
        ]
        yield build(
            message,
            message_id=f"<{number}@shop.example>",
            date=now,
            extra_headers=leave[: number % 2 * 2],
            boundary_seed=number.to_bytes(4, "big"),
        )


def tampered(payload: bytes, number: int) -> bytes:
    """Change one thing: add a From, add an unsubscribe header, or append to the body."""
    lines = [b"From: intruder@evil.example\r\n", b"List-Unsubscribe: <https://evil.example/>\r\n"]
    return payload + b"more\r\n" if number % 3 == 2 else lines[number % 3] + payload  # noqa: PLR2004 - of three


def verdicts(folder: Path, payloads: list[bytes]) -> list[list[tuple[str, str]]]:
    """Return what opendkim says of each signature of each mail: verdict and algorithm."""
    files = []
    for number, payload in enumerate(payloads):
        files.append(folder / f"{number}.eml")
        files[-1].write_bytes(payload)
    told = subprocess.run(
        ["opendkim", "-x", str(folder / "conf"), "-vvv", "-t", ",".join(map(str, files))],
        capture_output=True, text=True, check=True, timeout=_TIMEOUT_S,
    ).stdout  # fmt: skip
    return [_VERDICT.findall(one) for one in told.split("### INSHEADER")[1:]]


def configured(folder: Path, keys: list[DkimKey]) -> None:
    """Write the records where opendkim looks instead of in DNS."""
    records = "".join(f"{key.record.name} {key.record.value}\n" for key in keys)
    (folder / "keys").write_text(records, "utf-8")
    text = f"Mode v\nSyslog no\nOn-Default accept\nTestPublicKeys {folder / 'keys'}\n"
    (folder / "conf").write_text(text, "utf-8")


def main(count: int) -> int:
    """Verify ``count`` mails and as many tampered ones; return 1 when one verdict is wrong."""
    now = datetime.now(UTC)
    keys = [generate_key(one, domain="shop.example", selector=one.value) for one in DkimAlgorithm]
    signed = [sign(mail, keys, now=now, valid_for=timedelta(days=7)) for mail in mails(count, now)]
    wanted = [("pass", key.algorithm.value) for key in keys]
    wrong = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        configured(folder, keys)
        for at in range(0, count, _BATCH):
            batch = signed[at : at + _BATCH]
            changed = [tampered(one, number) for number, one in enumerate(batch)]
            good, bad = verdicts(folder, batch), verdicts(folder, changed)
            wrong += sum(found != wanted for found in good) + abs(len(good) - len(batch))
            wrong += sum(verdict == "pass" for found in bad for verdict, _ in found)
            wrong += abs(len(bad) - len(batch))
    print(
        f"opendkim: {count} mails and {count} tampered ones, {len(keys)} signatures each: {wrong} wrong"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200))
