"""Spoils requests for as long as it is told to: ``python -m tests.conformance.fuzz COUNT [FIRST_SEED]``."""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from mutated import finding, subjects


def main(count: int, first: int) -> int:
    """Try ``count`` seeds on each provider; print what was found, and return how much it was."""
    found_total = 0
    for provider in sorted(subjects()):
        began = time.perf_counter()
        found = [
            one
            for seed in range(first, first + count)
            if (one := finding(provider, seed)) is not None
        ]
        took_s = time.perf_counter() - began
        sys.stdout.write(
            f"{provider:<14}{count:>8} requests {len(found):>5} findings {took_s:>7.1f} s\n"
        )
        sys.stdout.writelines(f"  {one}\n" for one in found)
        found_total += len(found)
    return found_total


if __name__ == "__main__":
    given = [int(one) for one in sys.argv[1:]]
    sys.exit(1 if main(*(given + [1_000, 0][len(given) :])) else 0)
