"""Import a long list, then check a batch against a longer one: ``python benchmarks/suppressions``.

It starts a durable PostgreSQL of its own in a temporary folder, needs about 400 MB there for each
million rows held, and says what it measured. Times belong to this machine; read the ratios and what
they were measured with.
"""

# ruff: noqa: INP001, T201 - a script, run as a folder, that prints its findings
from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Final

import psycopg

from mailglass import Mailable, Mailglass, Message, Stream
from mailglass.adapters.fake import FakeAdapter
from mailglass.ledger.database import DatabaseChoice
from mailglass.ledger.embedded import EmbeddedServer
from mailglass.ledger.migrations import migrate
from mailglass.ledger.store import Store
from mailglass.settings import load_settings
from mailglass.suppression import asked_values

BATCH: Final = 10_000
"""Mails that are queued together."""
FILL: Final = 500_000
"""Rows in one statement of the filling."""
BAD_EVERY: Final = 1_000
ROUNDS: Final = 9
TEMPLATE: Final = (
    "<style>p { color: #333 } .total { font-weight: bold }</style>"
    "<p>Hello {{ number }},</p><p>your order is on its way.</p>"
    "{% for line in range(20) %}<p>{{ line }}: a thing</p>{% endfor %}<p class=total>42</p>"
)


class Order(Mailable):
    """A small receipt, whose recipient has a number for a name."""

    stream = Stream.OPERATIONAL
    sender = "Shop <orders@shop.example>"
    subject = "Your order {{ number }}"
    template = "order.html.jinja"

    number: int

    def to(self) -> str:
        """Return a customer."""
        return f"customer{self.number}@mail{self.number % 97}.example"


def written_list(folder: Path, rows: int) -> Path:
    """Write a list as SendGrid exports it: four columns, a date, one wrong line in a thousand."""
    path = folder / "bounces.csv"
    with path.open("w", encoding="utf-8") as out:
        out.write("status,reason,email,created\n")
        for number in range(rows):
            name = (
                "not an address"
                if (number + 1) % BAD_EVERY == 0
                else f"User{number}@Mail{number % 5003}.example"
            )
            out.write(f'5.1.1,"550 5.1.1 no such mailbox, sorry",{name},{1_600_000_000 + number}\n')
    return path


def imported(url: str, path: Path) -> tuple[float, str]:
    """Run the command as a person does; return seconds, start of the interpreter included."""
    began = time.perf_counter()
    told = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-c", "from mailglass.cli import main; main()", "suppressions", "import",
         str(path), "--format", "sendgrid", "--list", "bounces", "--database-url", url],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return time.perf_counter() - began, told.stdout.strip() or told.stderr


def filled(url: str, rows: int) -> None:
    """Fill the list up by SQL, without history, since only the check is measured on it."""
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("alter table mailglass.suppressions disable trigger user")
        for start in range(0, rows, FILL):
            owner.execute(
                "insert into mailglass.suppressions (id, tenant_id, scope, value, reason, source)"
                " select gen_random_uuid(), 'default', 'address',"
                " md5(n::text) || '@held' || n %% 5003 || '.example', 'hard_bounce', 'benchmark'"
                " from generate_series(%s::int, %s::int) n on conflict do nothing",
                (start, min(start + FILL, rows) - 1),
            )
        owner.execute("alter table mailglass.suppressions enable trigger user")
        owner.execute("vacuum analyze mailglass.suppressions")


def checked(url: str, messages: list[Message]) -> list[float]:
    """Return the milliseconds of the one statement for the whole batch, the first one cold."""
    addresses = [message.to[0].key for message in messages]
    values = sorted(asked_values(addresses, tenant_id="default", erasure_key=None))
    times = []
    with Store(url, role="mailglass_app") as store:
        for _ in range(ROUNDS):
            began = time.perf_counter()
            store.matching_suppressions("default", values, Stream.OPERATIONAL)
            times.append((time.perf_counter() - began) * 1000)
    return times


def queued(url: str, folder: Path) -> tuple[float, list[Message]]:
    """Return the seconds that rendering, checking and queueing the batch takes, and its messages."""
    (folder / "order.html.jinja").write_text(TEMPLATE, "utf-8")
    settings = load_settings(
        database_role="mailglass_app", templates=(folder,), rate_limit_per_domain=None
    )
    choice = DatabaseChoice(url=url, source="benchmark", is_embedded=False)
    with Mailglass(settings, database=choice, adapters={"default": FakeAdapter()}) as mail:
        mail.deliver_many([Order(number=-1)])
        messages = [mail.render(Order(number=number)) for number in range(BATCH)]
        began = time.perf_counter()
        mail.deliver_many([Order(number=number) for number in range(BATCH)])
        return time.perf_counter() - began, messages


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--imported", type=int, default=1_000_000, help="rows to import")
    parser.add_argument("--held", type=int, default=10_000_000, help="rows to check against")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mg-bench-", dir="/tmp") as place:
        folder = Path(place)
        folder.chmod(0o755)
        server = EmbeddedServer.start(folder / "server", durable=True)
        try:
            url = server.url()
            migrate(url)
            path = written_list(folder, asked.imported)
            for turn in ("first", "again"):
                seconds, told = imported(url, path)
                print(
                    f"import, {turn}: {seconds:.1f} s ({asked.imported / seconds:,.0f} rows/s): {told}"
                )
            began = time.perf_counter()
            filled(url, asked.held)
            with psycopg.connect(url) as owner:
                row = owner.execute(
                    "select count(*), pg_size_pretty(pg_table_size('mailglass.suppressions')),"
                    " pg_size_pretty(pg_indexes_size('mailglass.suppressions'))"
                    " from mailglass.suppressions"
                ).fetchone()
            print(f"held: {row} filled in {time.perf_counter() - began:.0f} s")
            whole_s, messages = queued(url, folder)
            times = checked(url, messages)
            print(
                f"check of {BATCH:,} mails, one statement: first {times[0]:.0f} ms, median "
                f"{median(times):.0f} ms, slowest {max(times):.0f} ms; the whole batch {whole_s:.1f} s; "
                f"share {median(times) / whole_s / 10:.2f} % (first {times[0] / whole_s / 10:.2f} %)"
            )
        finally:
            server.stop()


if __name__ == "__main__":
    main()
