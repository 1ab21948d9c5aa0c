"""Spoils requests for as long as it is told to: ``python -m tests.conformance.fuzz COUNT [FIRST_SEED]``.

Each is read by its adapter, and one of ten goes the whole way in, on a database of its own.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from mailglass.ledger.embedded import EmbeddedServer
from mailglass.ledger.migrations import migrate
from mutated import finding, subjects
from mutated_ingest import endpoints, ingest_finding
from webhook_requests import hooked

_INGESTED = 10
"""One of so many goes through the whole way as well: the database takes most of its time."""


def main(count: int, first: int) -> int:
    """Try ``count`` seeds on each provider; print what was found, and return how much it was."""
    logging.getLogger("mailglass").setLevel(logging.CRITICAL)  # each refusal would be a line
    found = sum(_tried("read", one, finding, count, first) for one in sorted(subjects()))
    with tempfile.TemporaryDirectory(prefix="mg-fuzz-") as folder:
        Path(folder).chmod(0o755)
        server = EmbeddedServer.start(Path(folder) / "server", durable=False)
        try:
            return found + _ingested(server.url("postgres"), count // _INGESTED, first)
        finally:
            server.stop()


def _ingested(url: str, count: int, first: int) -> int:
    migrate(url)
    with hooked(url, endpoints=endpoints()) as mail:

        def tried(provider: str, seed: int) -> str | None:
            return ingest_finding(mail.ingest, provider, seed)

        return sum(_tried("ingested", one, tried, count, first) for one in sorted(subjects()))


def _tried(
    way: str, provider: str, find: Callable[[str, int], str | None], count: int, first: int
) -> int:
    began = time.perf_counter()
    seeds = range(first, first + count)
    found = [one for one in (find(provider, seed) for seed in seeds) if one is not None]
    took_s = time.perf_counter() - began
    sys.stdout.write(
        f"{provider:<14}{way:<10}{count:>8} requests {len(found):>5} findings {took_s:>7.1f} s\n"
    )
    sys.stdout.writelines(f"  {one}\n" for one in found)
    return len(found)


if __name__ == "__main__":
    given = [int(one) for one in sys.argv[1:]]
    sys.exit(1 if main(*(given + [1_000, 0][len(given) :])) else 0)
