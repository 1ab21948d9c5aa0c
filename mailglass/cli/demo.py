"""``mailglass demo``: the main job end to end on this machine, in a few seconds."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event as Flag
from typing import TYPE_CHECKING, Any

import click

from mailglass.cli import EXIT_REFUSED
from mailglass.cli.database import database_option

if TYPE_CHECKING:
    from mailglass.app import Mailglass


@click.command("demo")
@click.option("--keep", is_flag=True, help="Keep the database, and leave it up until Ctrl-C.")
@click.option(
    "--migrate", "may_migrate", is_flag=True, help="Allow to migrate a database that was named."
)
@database_option
def command(*, keep: bool, may_migrate: bool, database_url: str | None) -> None:
    """Send real mail through a real SMTP server and show what the ledger says of it."""
    from mailglass.demo.mailables import PHYSICAL_ADDRESS
    from mailglass.demo.story import compare_bytes, receiver, show_timelines, tell
    from mailglass.settings import load_settings
    from mailglass.telemetry import logger

    logger.addHandler(logging.NullHandler())  # the story tells of the refusals that it brings about
    _need_the_server()
    load_settings()  # what is wrong with them is said before anything is started
    with receiver() as server, _folder(keep=keep) as folder:
        click.echo(f"An SMTP server listens on 127.0.0.1:{server.port}, in a process of its own.")
        with _mailglass(database_url, folder, server.port, PHYSICAL_ADDRESS) as mail:
            click.echo(f"Using {mail.database.describe()}.")
            if not mail.database.is_embedded:
                _prepare_named(mail.database.url, may_migrate=may_migrate)
            tally = tell(mail, click.echo)
            show_timelines(mail, tally, click.echo)
            compare_bytes(tally, server.collect(), click.echo)
            stopped = _stop_signal() if keep else None
            if stopped is not None:
                _say_how_to_look(mail, tally.sent[0].id)
            click.echo(
                f"demo ok: {len(tally.sent)} sent, {tally.failed} failed, {tally.refused} refused, "
                f"{tally.ledger_refusals} attempts on the ledger refused"
            )
            if stopped is not None:
                stopped.wait()


def _need_the_server() -> None:
    """Refuse before anything is started where the SMTP server of the demo is not installed.

    Raises:
        ConfigError: ``optional_dep_missing``.

    """
    from importlib.util import find_spec

    from mailglass.errors import ConfigError, ConfigErrorType

    if find_spec("aiosmtpd") is None:
        raise ConfigError(
            "the demo's SMTP server needs aiosmtpd",
            type=ConfigErrorType.OPTIONAL_DEP_MISSING,
            dep="aiosmtpd",
            hint="pip install 'mailglass[demo]'",
        )


def _prepare_named(url: str, *, may_migrate: bool) -> None:
    """Migrate a database that is not ours only when we were asked to."""
    from mailglass.ledger.migrations import migrate, status

    if may_migrate:
        migrate(url)
    elif status(url).pending:
        click.echo(
            "this database is not migrated; allow it with --migrate, or unset its variable to use "
            "the embedded server",
            err=True,
        )
        raise click.exceptions.Exit(EXIT_REFUSED)


@contextmanager
def _folder(*, keep: bool) -> Iterator[Path | None]:
    """Yield a folder for a database that is thrown away, or None for the one that stays."""
    if keep:
        yield None
        return
    base = Path("/var/tmp" if os.geteuid() == 0 else tempfile.gettempdir())  # noqa: S108 - a fresh folder below it
    folder = Path(tempfile.mkdtemp(prefix="mailglass-demo-", dir=base))
    folder.chmod(0o711)  # the server runs as another user when we are root; it must pass through
    try:
        yield folder / "postgres"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _mailglass(database_url: str | None, folder: Path | None, port: int, address: str) -> Mailglass:
    from mailglass.app import Mailglass
    from mailglass.settings import AdapterName, RateLimit, SmtpSecuritySetting

    given: dict[str, Any] = {} if database_url is None else {"database_url": database_url}
    return Mailglass.from_env(
        embedded_folder=folder,
        adapter=AdapterName.SMTP,
        smtp_host="127.0.0.1",
        smtp_port=port,
        smtp_security=SmtpSecuritySetting.NONE,
        smtp_username=None,
        smtp_password=None,
        physical_address=address,
        unsubscribe_url="https://leave.example.com/u",
        token_secrets=[secrets.token_hex(32)],
        rate_limit_per_domain=RateLimit(capacity=2, per_s=0.01),
        retry_base_s=0.2,
        **given,
    )


def _say_how_to_look(mail: Mailglass, delivery_id: object) -> None:
    click.echo("\nThe database stays up until Ctrl-C, and its data stay after that. To look:")
    click.echo("  mailglass deliveries")
    click.echo(f"  mailglass events {delivery_id}")
    if mail.database.is_embedded:
        click.echo(f"  psql '{mail.database.url}'")


def _stop_signal() -> Flag:
    """Return a flag that Ctrl-C and SIGTERM raise from now on."""
    stopped = Flag()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    return stopped
