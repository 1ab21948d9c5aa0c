"""Starlette, and whatever is built on it: a lifespan that holds a Mailglass, its pages and tenants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

from mailglass.app import Mailglass
from mailglass.contrib.extras import lacking
from mailglass.contrib.pages import METHODS, UNSUBSCRIBE_PATH, WEBHOOKS_PATH, page_of
from mailglass.tenancy import tenant
from mailglass.web.page import Theme

try:
    from starlette.applications import Starlette
    from starlette.requests import HTTPConnection, Request
    from starlette.responses import Response
    from starlette.routing import Route
    from starlette.types import ASGIApp, Receive, Scope, Send

    from mailglass.web.asgi import unsubscribe_routes
    from mailglass.web.webhooks import webhook_routes
except ModuleNotFoundError as error:
    raise lacking(error, extra="web") from error

STATE: Final = "mailglass"
Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]


def lifespan_with(make: Callable[[], Mailglass], inner: Lifespan | None = None) -> Lifespan:
    """Return a lifespan that makes a Mailglass at start and closes it at the end.

    ``inner`` is a lifespan of your own, which runs inside it. A Mailglass that stands in
    ``app.state.mailglass`` already, as a test puts it there, is used and not closed.
    """

    @asynccontextmanager
    async def run(app: Starlette) -> AsyncIterator[None]:
        given = getattr(app.state, STATE, None)
        mail = given if given is not None else await asyncio.to_thread(make)
        setattr(app.state, STATE, mail)
        try:
            if inner is None:
                yield
            else:
                async with inner(app):
                    yield
        finally:
            if given is None:
                delattr(app.state, STATE)
                await asyncio.to_thread(mail.close)

    return run


def lifespan(app: Starlette) -> AbstractAsyncContextManager[None]:
    """Hold a Mailglass made from ``MAILGLASS_…`` variables as long as the application runs."""
    return lifespan_with(Mailglass.from_env)(app)


def mailglass_of(connection: HTTPConnection) -> Mailglass:
    """Return the Mailglass of the application that serves a request.

    Raises:
        RuntimeError: when the application runs without the lifespan; a mounted application gets
            none of its own, so give the lifespan to the outermost.

    """
    state: Any = connection.app.state
    found = getattr(state, STATE, None)
    if not isinstance(found, Mailglass):
        raise RuntimeError("the application runs without mailglass' lifespan")  # noqa: TRY004 - it is how it was started
    return found


def mail_routes(
    *,
    webhooks: str = WEBHOOKS_PATH,
    unsubscribe: str = UNSUBSCRIBE_PATH,
    theme: Theme | None = None,
    mail_of: Callable[[HTTPConnection], Mailglass] = mailglass_of,
) -> list[Route]:
    """Return the routes of the webhooks and of the unsubscribe page, for an application of yours.

    ``unsubscribe`` is the path of ``MAILGLASS_UNSUBSCRIBE_URL`` as the application sees it. Leave both
    out of login and CSRF checks. The caller's address and the URL are those that the server tells:
    behind a proxy, have it trust the proxy's headers, and no others.
    """

    async def hook(request: Request) -> Response:
        mail, endpoint = mail_of(request), request.path_params["endpoint"].strip("/")
        request.path_params["endpoint"] = endpoint
        (route,) = webhook_routes(mail.ingest, body_bytes_max=mail.webhook_bytes_max(endpoint))
        return await _served(route, request)

    async def leave(request: Request) -> Response:
        page = page_of(mail_of(request), theme)
        if page is None:
            return Response(status_code=404)
        request.path_params["token"] = request.path_params["token"].strip("/")
        (route,) = unsubscribe_routes(page)
        return await _served(route, request)

    methods = list(METHODS)
    return [
        Route(f"{webhooks.rstrip('/')}/{{endpoint:path}}", hook, methods=methods),
        # A whole path, so that a slash at the end makes the router redirect nobody.
        Route(f"{unsubscribe.rstrip('/')}/{{token:path}}", leave, methods=methods),
    ]


async def _served(route: Route, request: Request) -> Response:
    answer: Response = await route.endpoint(request)
    return answer


class TenantMiddleware:
    """Sets the tenant around each request: ``tenant_of`` returns it, or None where there is none.

    Add it inside whatever authenticates: ``Middleware(TenantMiddleware, tenant_of=…)``. Background
    tasks of the response run inside it too.
    """

    def __init__(self, app: ASGIApp, *, tenant_of: Callable[[HTTPConnection], str | None]) -> None:
        self._app = app
        self._tenant_of = tenant_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or socket under its tenant.

        Raises:
            TenancyError: ``unstamped`` for a tenant that is no id.

        """
        is_request = scope["type"] in {"http", "websocket"}
        found = self._tenant_of(HTTPConnection(scope)) if is_request else None
        if found is None:
            await self._app(scope, receive, send)
            return
        with tenant(found):
            await self._app(scope, receive, send)
