"""The webhook routes, ``POST /webhooks/<provider>[/<endpoint>]``, as ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from mailglass.clock import Clock, system_clock
from mailglass.webhook import BODY_BYTES_MAX
from mailglass.webhooks.answers import Answer, Take, answered, busy

BODY_TIMEOUT_S: Final = 30.0
"""How long a provider may take for a batch of a few MB; SNS itself gives up after 15 s."""


def webhook_routes(
    take: Take,
    *,
    path: str = "/webhooks",
    clock: Clock = system_clock,
    body_bytes_max: int | Callable[[str], int] = BODY_BYTES_MAX,
) -> list[Route]:
    """Return the routes for an application of yours; leave them out of CSRF checks and of login.

    ``body_bytes_max`` is what is read of a request, or finds it by the endpoint, such as
    ``Mailglass.webhook_bytes_max`` does.

    The caller's address and the URL are those that the server tells: behind a proxy, have it trust
    the proxy's headers, and no others.
    """

    async def hook(request: Request) -> Response:
        known = body_bytes_max
        most = known if isinstance(known, int) else known(request.path_params["endpoint"])
        body = await _body(request, most)
        if body is None:
            return _response(busy(request.path_params["endpoint"].partition("/")[0]))
        if isinstance(body, Response):
            return body
        answer = await run_in_threadpool(
            answered,
            take,
            request.path_params["endpoint"],
            method=request.method,
            url=str(request.url),
            headers=_headers(request),
            body=body,
            remote_ip=request.client.host if request.client else None,
            now=clock(),
        )
        return _response(answer)

    methods = ["GET", "HEAD", "POST"]
    return [Route(f"{path.rstrip('/')}/{{endpoint:path}}", hook, methods=methods)]


def webhook_app(
    take: Take,
    *,
    path: str = "/webhooks",
    clock: Clock = system_clock,
    body_bytes_max: int | Callable[[str], int] = BODY_BYTES_MAX,
) -> Starlette:
    """Return an application with the webhook routes and nothing else."""
    app = Starlette(
        routes=webhook_routes(take, path=path, clock=clock, body_bytes_max=body_bytes_max)
    )
    # A redirect would lose the POST of a provider.
    app.router.redirect_slashes = False
    return app


def _headers(request: Request) -> list[tuple[str, str]]:
    return [
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw
    ]


def _response(answer: Answer) -> Response:
    return Response(answer.body, status_code=answer.status, headers=dict(answer.headers))


async def _body(request: Request, bytes_max: int) -> bytes | Response | None:
    """Return the body, the answer for one that is too long or cut off, None for one too slow.

    A slow one is not refused: the provider has to send it again.
    """
    read = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.stream():
                read += chunk
                if len(read) > bytes_max:
                    return Response(status_code=413)
    except TimeoutError:
        return None
    except ClientDisconnect:
        return Response(status_code=400)
    return bytes(read)
