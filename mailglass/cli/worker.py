"""``mailglass worker``: sends queued mail until SIGTERM or Ctrl-C."""

from __future__ import annotations

import signal
import threading

import click

from mailglass.cli.database import database_option


@click.command("worker")
@click.option("--threads", type=click.IntRange(1, 256), default=4, show_default=True)
@click.option("--drain", is_flag=True, help="End when nothing is due, instead of waiting for more.")
@database_option
def command(*, threads: int, drain: bool, database_url: str | None) -> None:
    """Send queued mail until it is told to stop; what is in flight is finished first.

    Run it on as many hosts as you like: they share nothing but the database.
    """
    from mailglass.app import Mailglass
    from mailglass.worker import Worker

    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with Mailglass.from_env(database_url=database_url) as mail:
        click.echo(f"mailglass: using {mail.database.describe()}", err=True)
        if drain:
            tried = 0
            mail.sweep()
            while not stopped.is_set() and (found := mail.dispatch_due()):
                tried += found
        else:
            tried = Worker(mail=mail, threads=threads).run(stopped)
    click.echo(f"tried {tried}")
