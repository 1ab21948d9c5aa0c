"""Flask: ``FlaskMailglass(app)`` or ``init_app``, configured by ``MAILGLASS_…`` keys, with commands."""

from __future__ import annotations

from typing import Any, Final

import click
from flask import Flask, current_app
from flask.cli import with_appcontext

from mailglass.app import Mailglass
from mailglass.contrib.holder import Holder
from mailglass.settings import PREFIX, Settings

EXTENSION: Final = "mailglass"


class FlaskMailglass:
    """The Mailglass of a Flask application; make one at import and call ``init_app`` in the factory.

    Settings are the application's ``MAILGLASS_…`` configuration, then environment variables. Keywords
    go to ``Mailglass.from_env``: ``adapters``, ``tenancy``.
    """

    def __init__(self, app: Flask | None = None, **given: Any) -> None:
        self._given = given
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Register with an application; nothing connects before the first mail."""
        app.extensions[EXTENSION] = Holder(
            lambda: Mailglass.from_env(**settings_of(app), **self._given)
        )
        app.cli.add_command(_commands)

    @property
    def mail(self) -> Mailglass:
        """Return the Mailglass of the current application.

        Raises:
            RuntimeError: outside an application context, or when ``init_app`` was not called.

        """
        return holder_of(current_app).get()


def holder_of(app: Flask) -> Holder:
    """Return what holds an application's Mailglass; a test gives it another with ``using``.

    Raises:
        RuntimeError: when ``init_app`` was not called.

    """
    found = app.extensions.get(EXTENSION)
    if not isinstance(found, Holder):
        raise RuntimeError("call FlaskMailglass.init_app(app) first")  # noqa: TRY004 - it is an order of calls
    return found


def settings_of(app: Flask) -> dict[str, Any]:
    """Return the settings among an application's configuration, under their own names."""
    names = Settings.model_fields
    return {
        name: app.config[key] for name in names if (key := f"{PREFIX}{name.upper()}") in app.config
    }


@click.command(
    "mailglass",
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@with_appcontext
def _commands(*, arguments: tuple[str, ...]) -> None:
    """Run a command of mailglass, such as migrate, doctor or worker."""
    from mailglass.contrib.commands import run  # noqa: PLC0415 - only for the command

    run(list(arguments), settings_of(current_app))
