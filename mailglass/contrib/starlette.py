"""Starlette, and whatever is built on it: a lifespan that holds a Mailglass, and how to reach it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import HTTPConnection

from mailglass.app import Mailglass

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
