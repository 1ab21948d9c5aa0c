"""Flask: ``FlaskMailglass(app)`` or ``init_app``, with its commands, its pages and its tenants."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final

from mailglass.app import Mailglass
from mailglass.contrib import pages
from mailglass.contrib.extras import lacking
from mailglass.contrib.holder import Holder
from mailglass.contrib.trial import refuse_unknown_keys, refuse_wrong_settings
from mailglass.settings import PREFIX, Settings
from mailglass.tenancy import tenant
from mailglass.web.answers import Answer
from mailglass.web.page import Theme
from mailglass.web.unsubscribe import BODY_BYTES_MAX as FORM_BYTES_MAX
from mailglass.webhook import HeaderMap

try:
    import click
    from flask import Blueprint, Flask, Request, Response, current_app, g, request
    from flask.cli import with_appcontext
except ModuleNotFoundError as error:
    raise lacking(error, extra="flask") from error

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
        """Register with an application whose configuration is complete; nothing connects yet.

        Raises:
            ConfigError: for settings that are missing or wrong, and for a ``MAILGLASS_…`` key of the
                configuration that is none.

        """
        refuse_unknown_keys(app.config)
        refuse_wrong_settings(settings_of(app) | self._given)
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


def mail_pages(
    *,
    webhooks: str = pages.WEBHOOKS_PATH,
    unsubscribe: str = pages.UNSUBSCRIBE_PATH,
    theme: Theme | None = None,
) -> Blueprint:
    """Return a blueprint with the webhooks and the unsubscribe page, for ``app.register_blueprint``.

    ``unsubscribe`` is the path of ``MAILGLASS_UNSUBSCRIBE_URL`` as the application sees it. Leave the
    blueprint out of login and CSRF checks, as ``CSRFProtect.exempt`` does. Behind a proxy, have
    werkzeug's ``ProxyFix`` tell the caller's address.
    """
    blueprint = Blueprint(EXTENSION, __name__)

    def hook(endpoint: str) -> Response:
        mail = _mail()
        asked = _asked(request, mail.webhook_bytes_max(endpoint.strip("/")))
        return _response(pages.webhook(mail, endpoint, asked))

    def leave(token: str) -> Response:
        asked = _asked(request, FORM_BYTES_MAX)
        return _response(pages.unsubscribe(_mail(), token, asked, theme=theme))

    for path, name, view in ((webhooks, "endpoint", hook), (unsubscribe, "token", leave)):
        blueprint.add_url_rule(
            f"{path.rstrip('/')}/<path:{name}>",
            view_func=view,
            methods=pages.METHODS,
            merge_slashes=False,  # a redirect would lose the POST
        )
    return blueprint


def set_tenant(app: Flask, tenant_of: Callable[[Request], str | None]) -> None:
    """Set the tenant around each request: ``tenant_of`` returns it, or None where there is none.

    Call it after whatever authenticates has registered itself, so that it runs later.
    """

    @app.before_request
    def enter() -> None:
        found = tenant_of(request)
        if found is not None:
            g.mailglass_tenant = ExitStack()
            g.mailglass_tenant.enter_context(tenant(found))

    @app.teardown_request
    def leave(_error: BaseException | None) -> None:
        entered: ExitStack | None = g.pop("mailglass_tenant", None)
        if entered is not None:
            entered.close()


def _mail() -> Mailglass:
    return holder_of(current_app).get()


def _asked(given: Request, bytes_max: int) -> pages.Asked:
    """Return the request with its raw body; Flask answers 413 to one that is too long."""
    given.max_content_length = bytes_max  # in place of the application's own limit
    return pages.Asked(
        method=given.method,
        url=given.url,
        headers=HeaderMap(list(given.headers.items())),
        body=given.get_data(cache=False),
        remote_ip=given.remote_addr,
    )


def _response(answer: Answer) -> Response:
    return Response(answer.body, status=answer.status, headers=list(answer.headers))


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

    run(list(arguments), settings_of(current_app), said_by="the application's configuration")
