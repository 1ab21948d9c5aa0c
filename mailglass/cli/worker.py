"""``mailglass worker``: sends queued mail until SIGTERM or Ctrl-C, in one process or in several."""

from __future__ import annotations

import signal
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from mailglass.cli import EXIT_MISUSED, EXIT_REFUSED
from mailglass.cli.database import database_option

if TYPE_CHECKING:
    from mailglass.message import Stream


@click.command("worker")
@click.option("--processes", type=click.IntRange(1, 64), default=1, show_default=True)
@click.option("--threads", type=click.IntRange(1, 256), default=4, show_default=True)
@click.option(
    "--streams", metavar="LIST", help="Only these, by commas: transactional,operational,bulk."
)
@click.option("--drain", is_flag=True, help="End when nothing is due, instead of waiting for more.")
@database_option
@click.pass_context
def command(  # noqa: PLR0913 - one parameter an option
    ctx: click.Context,
    *,
    processes: int,
    threads: int,
    streams: str | None,
    drain: bool,
    database_url: str | None,
) -> None:
    """Send queued mail until it is told to stop; what is in flight is finished first.

    Run it on as many hosts as you like: they share nothing but the database. With
    MAILGLASS_BROKER_URL it hears of mail from Redis or RabbitMQ, and sweeps beside. A process that
    dies is replaced.
    """
    from mailglass.settings import load_settings

    given = {} if database_url is None else {"database_url": database_url}
    settings = load_settings(**given)
    work = _Work(database_url=database_url, threads=threads, streams=streams, drain=drain)
    work.chosen()
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    if processes == 1 and not settings.broker_prometheus:
        work.run(stopped)
        return
    ctx.exit(_run_crew(work, stopped, processes=processes, counts=settings.broker_prometheus))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What each process does; all of it is opened in the process."""

    database_url: str | None
    threads: int
    streams: str | None
    drain: bool

    def chosen(self) -> tuple[Stream, ...]:
        """Return the streams that were asked for, in their own order."""
        from mailglass.message import Stream

        if self.streams is None:
            return tuple(Stream)
        asked = {one.strip() for one in self.streams.split(",")}
        unknown = asked - {one.value for one in Stream}
        if unknown:
            raise click.BadParameter(f"there is no stream {min(unknown)!r}", param_hint="--streams")
        return tuple(one for one in Stream if one.value in asked)

    def run(self, stopped: threading.Event) -> None:
        """Work in this process, and say how many mails were tried."""
        from mailglass.app import Mailglass
        from mailglass.telemetry import export_by_otel
        from mailglass.worker.running import drain, keep_collector_quiet, work

        with Mailglass.from_env(database_url=self.database_url) as mail:
            click.echo(f"mailglass: using {mail.database.describe()}", err=True)
            if mail.settings.otel:
                export_by_otel()
            keep_collector_quiet()
            if self.drain:
                tried = drain(mail, stopped)
            else:
                tried = work(mail, stopped, threads=self.threads, streams=self.chosen())
        click.echo(f"tried {tried}")

    def run_as_child(self, stopped: threading.Event) -> int:
        """Work in a forked process, and return its exit code."""
        from mailglass.cli.failures import told
        from mailglass.errors import ConfigError

        try:
            self.run(stopped)
        except ConfigError as error:
            click.echo(f"mailglass: {error} {error.hint or ''}".rstrip(), err=True)
            return EXIT_MISUSED
        except Exception as error:  # noqa: BLE001 - said, and the parent starts another process
            text, code = told(error)
            # A database that was never reached has its advice; of all else only the kind is said.
            is_known = code == EXIT_MISUSED
            kind = f"mailglass: a worker ended with {type(error).__name__}"
            click.echo(text if is_known else kind, err=True)
            return EXIT_REFUSED
        return 0


def _run_crew(work: _Work, stopped: threading.Event, *, processes: int, counts: bool) -> int:
    import os

    from mailglass.errors import ConfigError, ConfigErrorType
    from mailglass.ledger.database import choose_database
    from mailglass.worker.processes import Crew

    if choose_database(work.database_url, os.environ, allows_embedded=False) is None:
        raise ConfigError(
            "several processes need a database that is there before them",
            type=ConfigErrorType.MISSING,
            key="database_url",
            hint="Set MAILGLASS_DATABASE_URL, or use one process.",
        )
    bodies = [work.run_as_child] * processes
    if counts:
        from mailglass.worker.running import show_counts

        bodies.append(show_counts)
    return Crew(bodies, stopped, is_restarted_when_done=not work.drain).run()
