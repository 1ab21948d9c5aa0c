"""The public pages as ASGI applications; the only module that knows starlette."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from mailglass.web.answers import Answer
from mailglass.web.tracking import TrackingPages
from mailglass.web.unsubscribe import BODY_BYTES_MAX, UnsubscribePage

BODY_TIMEOUT_S: Final = 10.0
"""How long a client may take for its few bytes."""


_Endpoint = Callable[[Request], Awaitable[Response]]


def unsubscribe_routes(page: UnsubscribePage) -> list[Route]:
    """Return the page's route, at the path that its links have, for an application of yours.

    Exempt it from CSRF checks and from login: mailbox providers bring neither cookie nor token (RFC
    8058 §3.2). Do not let your router redirect, not even for a slash.
    """
    path = urlsplit(page.links.url).path

    async def show(request: Request) -> Response:
        language = request.headers.get("accept-language", "")
        token = request.path_params["token"]
        return _response(await run_in_threadpool(page.show, token, accept_language=language))

    async def act(request: Request) -> Response:
        body = await _body(request)
        if isinstance(body, Response):
            return body
        answer = await run_in_threadpool(
            page.act,
            request.path_params["token"],
            body,
            content_type=request.headers.get("content-type", ""),
            accept_language=request.headers.get("accept-language", ""),
        )
        return _response(answer)

    return [_route(f"{path}/{{token}}", show, act)]


def unsubscribe_app(page: UnsubscribePage) -> Starlette:
    """Return an application with the unsubscribe page and nothing else."""
    return _app(unsubscribe_routes(page))


def tracking_routes(pages: TrackingPages) -> list[Route]:
    """Return the routes of the pixel and of clicks, for an application on a host of its own."""
    path = urlsplit(pages.links.url).path

    def endpoint(answer: Callable[..., Answer]) -> _Endpoint:
        async def answered(request: Request) -> Response:
            # Nothing here waits: the token is checked in microseconds, the write comes afterwards.
            is_head = request.method == "HEAD"
            token = request.path_params["token"]
            return _response(answer(token, headers=request.headers, is_head=is_head))

        return answered

    return [
        Route(f"{path}/o/{{token}}.gif", endpoint(pages.pixel), methods=["GET"]),
        Route(f"{path}/c/{{token}}", endpoint(pages.click), methods=["GET"]),
    ]


def tracking_app(pages: TrackingPages) -> Starlette:
    """Return an application with the tracking endpoints and nothing else."""
    return _app(tracking_routes(pages))


def _route(path: str, show: _Endpoint, act: _Endpoint) -> Route:
    async def either(request: Request) -> Response:
        return await (act if request.method == "POST" else show)(request)

    return Route(path, either, methods=["GET", "POST"])


def _app(routes: list[Route]) -> Starlette:
    app = Starlette(routes=routes)
    # A redirect would lose the POST of a mailbox provider.
    app.router.redirect_slashes = False
    return app


async def _body(request: Request) -> bytes | Response:
    """Return the body, or the answer for one that is too long or too slow."""
    read = b""
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.stream():
                read += chunk
                if len(read) > BODY_BYTES_MAX:
                    return _response(Answer(status=413))
    except TimeoutError:
        return _response(Answer(status=408))
    except ClientDisconnect:
        return _response(Answer(status=400))
    return read


def _response(answer: Answer) -> Response:
    return Response(
        answer.body,
        status_code=answer.status,
        headers=dict(answer.headers),
        background=None if answer.after is None else BackgroundTask(answer.after),
    )
