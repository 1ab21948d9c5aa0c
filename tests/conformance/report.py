"""Prints, for each provider, how many cases are as they should be: ``python -m tests.conformance.report``."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from recorded import (
    cases,
    deviations,
    send_differences,
    webhook_differences,
    written,
    written_differences,
)
from recorded_inbound import inbound_cases, inbound_differences

Result = tuple[str, str, bool]


def _row(name: str, results: Iterable[Result]) -> None:
    known = deviations()
    total: Counter[str] = Counter()
    right: Counter[str] = Counter()
    explained: Counter[str] = Counter()
    for provider, case, is_right in results:
        for one in (provider, "all"):
            total[one] += 1
            right[one] += is_right
            explained[one] += not is_right and case in known
    sys.stdout.write(f"{name}\n")
    for provider in sorted(total, key=lambda one: (one == "all", one)):
        share = (right[provider] + explained[provider]) / total[provider]
        sys.stdout.write(
            f"  {provider:<14}{right[provider]:>4} of {total[provider]:<4}"
            f" {explained[provider]:>3} explained {share:>8.1%}\n"
        )


def main() -> None:
    """Print the four tables."""
    _row("written webhooks", [(p, "", not written_differences(p, c)) for p, c in written()])
    hooks = cases("webhook_cases.json")
    _row("recorded webhooks", [(c["esp"], c["id"], not webhook_differences(c)) for c in hooks])
    mails = [one for one in inbound_cases() if one["category"] != "error_500"]
    _row("recorded received mail", [(c["esp"], c["id"], not inbound_differences(c)) for c in mails])
    sends = [(case, send_differences(case)) for case in cases("send_cases.json")]
    compared = [(c["esp"], c["id"], not found) for c, found in sends if found is not None]
    _row("recorded messages", compared)
    sys.stdout.write(f"  {len(sends) - len(compared)} are not comparable\n")


if __name__ == "__main__":
    main()
