"""The group of commands, and how an error of ours is shown: one line and a hint."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Final

import click

from mailglass import __version__
from mailglass.cli import EXIT_MISUSED, EXIT_REFUSED

_COMMANDS: Final = {
    "adapters": "List providers, show a request without sending it, see and close breakers.",
    "deliveries": "List deliveries, or show one.",
    "demo": "Send real mail through a real SMTP server on this machine.",
    "dkim": "Make DKIM keys and show their DNS records.",
    "doctor": "Check settings, database, traffic, mailables and DNS.",
    "erase": "Forget a person: no table holds the address any more.",
    "events": "Show the history of a delivery.",
    "export": "Print everything held on a person, as one JSON document.",
    "features": "Switch features, and sending itself, on and off; say why one is.",
    "install": "Write a mailing package into an application, or update it.",
    "ledger": "Check that deliveries are what their events say.",
    "limits": "Show how fast mail may leave, what is used up, and who asked to wait.",
    "lint": "Check mails before anybody gets them; exit 1 when something must be changed.",
    "migrate": "Bring the database's schema up to date.",
    "new": "Begin a mailable.",
    "outbox": "Look at mail that has not left, and steer it.",
    "publish-check": "Check what must hold before a deploy; accept what was reviewed.",
    "reconcile": "Link reports of providers that came before their delivery was known.",
    "render": "Render a mailable's preview exactly as it would be sent.",
    "streams": "List the rules of each stream.",
    "suppressions": "Say who gets no mail, why, and who said so.",
    "templates": "List templates: compiled once or inlined per mail, and why.",
    "uninstall": "Take away what install wrote.",
    "webhooks": "List, show, replay and prune what providers sent; verify one request.",
    "worker": "Send queued mail until it is told to stop.",
}
_DEBUG: Final = "--debug"


class LazyGroup(click.Group):
    """Loads a command's module when the command runs, so that ``--help`` stays quick."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted(_COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in _COMMANDS:
            return None
        module = import_module(f"mailglass.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mailglass")
@click.option(
    _DEBUG,
    is_flag=True,
    expose_value=False,
    help="Show the traceback of an error; it may stand behind the command too.",
)
def mailglass() -> None:
    """Transactional email with an append-only event ledger in Postgres."""


def run() -> None:
    """Run the group; an error becomes one line and a hint on standard error.

    ``--debug`` counts wherever it stands, before ``--``: who meets an error adds it at the end.
    """
    words, debug = _without_debug(sys.argv[1:])
    try:
        ended = mailglass.main(words, prog_name="mailglass", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("mailglass: stopped", err=True)
        sys.exit(EXIT_REFUSED)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_MISUSED)
    except Exception as error:
        if debug:
            raise
        from mailglass.cli.failures import told

        text, code = told(error)
        click.echo(text, err=True)
        sys.exit(code)
    # Without its standalone mode click returns the code that a command exited with.
    sys.exit(ended if isinstance(ended, int) else 0)


def _without_debug(words: list[str]) -> tuple[list[str], bool]:
    """Return the words without ``--debug``, and whether it was there."""
    end = words.index("--") if "--" in words else len(words)
    kept = [word for word in words[:end] if word != _DEBUG]
    return kept + words[end:], len(kept) < end
